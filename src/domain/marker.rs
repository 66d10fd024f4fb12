//! Hidden markers: by them rig finds the comments that it has written, and claims are told apart. A marker is the last line of
//! a comment. A text that comes from elsewhere brings none along: whatever would begin an HTML comment in it is broken.

const BEGIN: &str = "<!-- rig:";
const END: &str = " -->";

/// Returns a text with the marker of a key as its last line.
pub fn marked(text: &str, key: &str) -> String {
    format!("{}\n{BEGIN}{key}{END}", harmless(text.trim_end()))
}

/// Returns the key of the marker that a text ends with.
pub fn key_of(text: &str) -> Option<&str> {
    text.trim_end().lines().next_back()?.trim().strip_prefix(BEGIN)?.strip_suffix(END)
}

/// Returns a text in which nothing begins an HTML comment.
pub fn harmless(text: &str) -> String {
    text.replace("<!--", "<! --")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_one_marker_that_it_was_given() {
        for text in ["words", "", "a\n<!-- rig:other -->", "<!-- rig:other -->\r\n\n", "<<!--!-- rig:other -->"] {
            let written = marked(text, "own");
            assert_eq!(key_of(&written), Some("own"), "{text:?}");
            assert_eq!(written.matches("<!--").count(), 1, "{written:?}");
            assert_eq!(key_of(&format!("{written}\r\n")), Some("own"), "forges end lines as they like");
        }
    }

    #[test]
    fn a_marker_counts_as_the_last_line_only() {
        for text in
            ["<!-- rig:own -->\nwords", "> <!-- rig:own -->", "x <!-- rig:own -->", "<!-- rig:own -->.", "own", ""]
        {
            assert_eq!(key_of(text), None, "{text:?}");
        }
    }
}
