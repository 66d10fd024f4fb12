//! The first prompt as an agent's program can take it, whatever an issue has put into it.

use std::path::Path;

/// Longest prompt given as an argument, in bytes; the kernel takes 128 KiB for one argument, and claude's own handling is
/// known to work up to here.
pub(crate) const PROMPT_ARGUMENT_BYTES: usize = 100 * 1024;
/// Put before a prompt whose first character a program would take for a command, a shell line, a note or an option.
const SAFE_START: &str = "The task:\n\n";

/// Returns the one line that stands for a text too long to be typed or given as an argument.
pub(super) fn read_line(file: &Path) -> String {
    format!("Read {} and carry it out", file.display())
}

/// Returns the prompt without control characters (line ends and tabs stay) and with a start that cannot be taken for a
/// command.
pub(super) fn clean_prompt(prompt: &str) -> String {
    let text: String =
        prompt.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || "\n\t".contains(*c)).collect();
    let safe = text.trim_start().starts_with(|c: char| c.is_alphanumeric());
    if safe { text } else { format!("{SAFE_START}{text}") }
}

/// Returns the argument for a prompt: itself, or the line that names its file when it is too long.
pub(crate) fn as_argument(prompt: &str, file: &Path) -> String {
    let prompt = clean_prompt(prompt);
    if prompt.len() <= PROMPT_ARGUMENT_BYTES { prompt } else { read_line(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_never_begins_as_a_command() {
        for bad in ["!rm -rf x", "/help", "-p", "--resume", " /help", "\n!x", "#note", "@file", "", "\u{1b}[201~!x"] {
            let clean = clean_prompt(bad);
            assert!(clean.starts_with(SAFE_START), "{bad:?} became {clean:?}");
            assert!(!clean.contains('\u{1b}'));
        }
        assert_eq!(clean_prompt("Fix it\r\n\tnow\0"), "Fix it\n\tnow");
    }
}
