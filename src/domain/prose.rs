//! What a Markdown text says in its author's own words: the text without code, quotes, comments and what is struck out.
//! Owns the reading of `#N` references in such text. Reading is total: every text has prose, if only an empty one.
//! Deliberately absent: a Markdown renderer; indented code stays, because it cannot be told from a nested list by line.

use super::ids::IssueNumber;
use regex::Regex;
use std::{collections::BTreeSet, sync::LazyLock};

/// Stands where inline code stood, so that the words around it do not close up into a phrase.
const CODE: char = '\u{fffc}';
/// Longest run of backticks that can open inline code. Nobody writes more, and it bounds the search for the other end.
const BACKTICKS: usize = 32;
/// Elements whose content is code, quoted, or struck out.
const HIDDEN_ELEMENTS: [&str; 7] = ["blockquote", "strike", "code", "del", "pre", "kbd", "s"];

static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"!?\[([^\[\]\n]*)\]\([^()\n]*\)").expect("the pattern is a literal"));

static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)</?(?:details|summary|strong|em|b|i|u|p|br|h[1-6])(?:\s[^<>]*)?/?>")
        .expect("the pattern is a literal")
});

/// Returns the prose of a Markdown text, line by line as written, without code (fenced, inline, `<code>`, `<pre>`),
/// quotes, HTML comments and struck-out text. Marks of lists, headings and emphasis stay.
pub fn prose(markdown: &str) -> String {
    let text = markdown.replace("\r\n", "\n").replace('\r', "\n");
    Scanner { lower: text.to_ascii_lowercase(), text: &text, at: 0, paragraph_end: 0, unclosed: BTreeSet::new() }.run()
}

/// Returns the text without marks of emphasis and tags of layout, and with links reduced to their words.
pub fn plain(prose: &str) -> String {
    let text = TAG.replace_all(prose, "");
    let text = LINK.replace_all(&text, "$1");
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut before = None;
    while let Some(c) = characters.next() {
        let inside_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let emphasis = c == '*' || (c == '_' && !(inside_word(before) && inside_word(characters.peek().copied())));
        if !emphasis {
            plain.push(c);
        }
        before = Some(c);
    }
    plain
}

/// Returns the line without the list marks, task boxes left in place, that it begins with; `None` when there is no mark.
pub fn strip_list_mark(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits > 0 && digits < 10 {
        line[digits..].strip_prefix(['.', ')'])?
    } else {
        line.strip_prefix(['-', '*', '+'])?
    };
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim_start())
}

/// Reads the reference whose `#` stands at byte `at`: its number, and where it ends. What stands before is not looked at.
pub fn reference_at(text: &str, at: usize) -> Option<(IssueNumber, usize)> {
    let digits = text[at..].strip_prefix('#')?;
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let mut after = digits[length..].chars();
    let (next, second) = (after.next(), after.next());
    let goes_on = match next {
        Some(c) if c.is_alphanumeric() || c == '_' || c == CODE => true,
        Some('-' | '/') => second.is_some_and(char::is_alphanumeric),
        Some('.') => second.is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    };
    // A number that is too long is that of no issue, but it was written: it must be reported, not dropped.
    let number = digits[..length].parse().unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs());
    (length > 0 && !goes_on).then_some((IssueNumber(number), at + 1 + length))
}

/// Returns every reference of the text to an issue of the same repository, in order.
pub fn references(text: &str) -> Vec<IssueNumber> {
    text.match_indices('#')
        .filter(|(at, _)| !belongs_to_a_word(&text[..*at]))
        .filter_map(|(at, _)| Some(reference_at(text, at)?.0))
        .collect()
}

/// Whether a `#` after this text belongs to what stands before it: `other/repo#16`, `page#4`, `\#4`, `&#35;`.
fn belongs_to_a_word(before: &str) -> bool {
    before
        .chars()
        .rev()
        .take_while(|c| c.is_alphanumeric() || "_-./\\&#".contains(*c) || *c == CODE)
        .any(|c| c != '-' && c != '.')
}

struct Scanner<'a> {
    text: &'a str,
    /// The same in lower case, byte for byte.
    lower: String,
    at: usize,
    /// Where the paragraph ends that `at` is in.
    paragraph_end: usize,
    /// Elements that are known not to be closed in the rest of the text.
    unclosed: BTreeSet<&'static str>,
}

impl Scanner<'_> {
    fn run(mut self) -> String {
        let mut prose = String::with_capacity(self.text.len());
        let mut line_start = true;
        while self.at < self.text.len() {
            if line_start && self.skip_block() {
                prose.push('\n');
                continue;
            }
            if let Some(stand_in) = self.skip_inline() {
                prose.push(stand_in);
                line_start = false;
                continue;
            }
            let Some(c) = self.rest().chars().next() else { break };
            prose.push(c);
            self.at += c.len_utf8();
            line_start = c == '\n';
            if c == '\\' && self.rest().starts_with(|next: char| next.is_ascii_punctuation()) {
                prose.push_str(&self.rest()[..1]);
                self.at += 1;
            }
        }
        prose
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// At the start of a line: skips a fenced block or a line of a quote, its line end included.
    fn skip_block(&mut self) -> bool {
        if self.at >= self.paragraph_end {
            self.paragraph_end = self.at + paragraph_length(self.rest());
        }
        let line = line_of(self.rest());
        let content = content_of(line);
        if content.starts_with('>') {
            self.skip_line();
            return true;
        }
        let Some((mark, length)) = opening_fence(content) else { return false };
        self.skip_line();
        while self.at < self.text.len() {
            let line = line_of(self.rest()).trim();
            let closes = line.len() >= length && line.chars().all(|c| c == mark);
            self.skip_line();
            if closes {
                break;
            }
        }
        true
    }

    fn skip_line(&mut self) {
        self.at = (self.at + line_of(self.rest()).len() + 1).min(self.text.len());
    }

    /// Skips a comment, inline code, struck-out text or a hidden element, and returns what stands in its place.
    fn skip_inline(&mut self) -> Option<char> {
        let rest = self.rest();
        match rest.as_bytes().first()? {
            b'<' if rest.starts_with("<!--") => {
                self.at += rest[4..].find("-->").map_or(rest.len(), |end| end + 7);
                Some(' ')
            }
            b'<' => self.skip_element(),
            b'`' => self.skip_code(),
            b'~' if rest.starts_with("~~") => {
                let paragraph = self.text.get(self.at + 2..self.paragraph_end)?;
                self.at += paragraph.find("~~")? + 4;
                Some(' ')
            }
            _ => None,
        }
    }

    fn skip_code(&mut self) -> Option<char> {
        let run = backticks(self.rest());
        let paragraph = self.text.get(self.at..self.paragraph_end)?;
        if run > BACKTICKS {
            return None;
        }
        let mut end = run;
        loop {
            end += paragraph[end..].find('`')?;
            let closing = backticks(&paragraph[end..]);
            end += closing;
            if closing == run {
                self.at += end;
                return Some(CODE);
            }
        }
    }

    fn skip_element(&mut self) -> Option<char> {
        let rest = &self.lower[self.at..];
        let name = HIDDEN_ELEMENTS
            .into_iter()
            .find(|name| rest[1..].strip_prefix(name).is_some_and(|after| after.starts_with(['>', ' ', '\t', '\n'])))?;
        if self.unclosed.contains(name) {
            return None;
        }
        let closing = format!("</{name}>");
        let Some(end) = rest.find(&closing) else {
            self.unclosed.insert(name);
            return None;
        };
        self.at += end + closing.len();
        Some(CODE)
    }
}

fn line_of(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// Returns the line without indentation and list marks.
fn content_of(line: &str) -> &str {
    let mut content = line.trim_start();
    while let Some(rest) = strip_list_mark(content) {
        content = rest;
    }
    content
}

fn backticks(text: &str) -> usize {
    text.bytes().take_while(|b| *b == b'`').count()
}

fn opening_fence(content: &str) -> Option<(char, usize)> {
    let mark = content.chars().next().filter(|c| "`~".contains(*c))?;
    let length = content.chars().take_while(|c| *c == mark).count();
    let opens = length >= 3 && !(mark == '`' && content[length..].contains('`'));
    opens.then_some((mark, length))
}

/// Returns how far inline marks can reach from here: to the next blank line, list item, heading, quote or fence.
fn paragraph_length(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let begins_another = content.is_empty()
            || content.starts_with('>')
            || strip_list_mark(content).is_some()
            || opening_fence(content).is_some()
            || content.trim_start_matches('#').starts_with(' ') && content.starts_with('#');
        if length > 0 && begins_another {
            break;
        }
        length += line.len();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_by_the_author_is_left_out() {
        for (markdown, expected) in [
            ("a `b` c", "a \u{fffc} c"),
            ("a ``b ` c`` d", "a \u{fffc} d"),
            ("a ` b", "a ` b"),
            ("- `a\n- b` c", "- `a\n- b` c"),
            ("a\n```\nb\n```\nc", "a\n\nc"),
            ("a\n````\n```\nb\n````\nc", "a\n\nc"),
            ("a\n~~~ x\nb", "a\n\n"),
            ("> a\nb", "\nb"),
            ("- > a\nb", "\nb"),
            ("a <!-- b\n\nc --> d", "a   d"),
            ("a <!-- b", "a  "),
            ("a `<!--` b", "a \u{fffc} b"),
            ("~~a~~ b", "  b"),
            ("~~a b", "~~a b"),
            ("<DEL>a</del> b <del>c", "\u{fffc} b <del>c"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\\`a\\`", "\\`a\\`"),
        ] {
            assert_eq!(prose(markdown), expected, "{markdown:?}");
        }
    }

    #[test]
    fn emphasis_and_links_are_reduced_to_their_words() {
        assert_eq!(plain("**a** _b_ c_d [#4](x) ![y](z) <b>e</b> <x>"), "a b c_d #4 y e <x>");
    }

    #[test]
    fn references_are_numbers_of_this_repository_only() {
        let text = "#1 (#2) [#3], #4. #5: x#6 a/b#7 #8a ##9 \\#10 &#11; #12.5 #13-x https://e.org/#14 #15-";
        let numbers: Vec<u64> = references(text).into_iter().map(|number| number.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 15]);
        assert_eq!(references("#99999999999999999999999"), [IssueNumber(i64::MAX as u64)]);
    }
}
