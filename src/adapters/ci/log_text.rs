//! The log of a command as people read it: without colours, without what was overwritten on the screen, and its end.

/// Lines of a log's end: what shows a failure and fits into a prompt.
const TAIL_LINES: usize = 100;
/// Bytes of a log's end.
const TAIL_BYTES: usize = 8 * 1024;

/// Returns the log as text without control sequences; of a line that was written over, its last state.
pub(super) fn plain(log: &[u8]) -> String {
    let text = without_escapes(&String::from_utf8_lossy(log));
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let line = line.trim_end_matches('\r');
        let last_state = line.rsplit('\r').next().unwrap_or(line);
        lines.push(last_state.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>());
    }
    lines.join("\n")
}

/// Returns the last lines, whole ones as far as the bound allows.
pub(super) fn tail(text: &str) -> String {
    let text = text.trim_end();
    let from_line = text.rmatch_indices('\n').nth(TAIL_LINES - 1).map_or(0, |(at, _)| at + 1);
    let text = &text[from_line..];
    if text.len() <= TAIL_BYTES {
        return text.to_owned();
    }
    let cut = text.ceil_char_boundary(text.len() - TAIL_BYTES);
    let short = &text[cut..];
    // One endless line is cut within; otherwise the first, broken line goes.
    short.split_once('\n').map_or(short, |(_, rest)| rest).to_owned()
}

/// Takes out the escape sequences of terminals (ECMA-48): CSI, the string kinds (OSC, DCS, PM, APC), and two-character ones.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let introducer = match c {
            '\x1b' => chars.next(),
            '\u{9b}' => Some('['),
            _ => {
                plain.push(c);
                continue;
            }
        };
        match introducer {
            // Parameters, then one final byte. A line's end within is a broken sequence, not a part of it.
            Some('[') => {
                while let Some(next) = chars.next_if(|next| *next != '\n') {
                    if ('\x40'..='\x7e').contains(&next) {
                        break;
                    }
                }
            }
            Some(']' | 'P' | '^' | '_' | 'X') => {
                while let Some(next) = chars.next_if(|next| *next != '\n') {
                    if next == '\x07' || next == '\u{9c}' {
                        break;
                    }
                    if next == '\x1b' {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                }
            }
            Some('(' | ')' | '#' | '%') => {
                chars.next_if(|next| *next != '\n');
            }
            Some('\n') => plain.push('\n'),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_overwritten_progress_leave_no_trace() {
        for (log, text) in [
            (&b"\x1b[1;31merror\x1b[0m: x"[..], "error: x"),
            (b" 10%\r 50%\r100%\r\ndone", "100%\ndone"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 after", "link after"),
            (b"\x1b]0;title\nnext", "\nnext"),
            (b"a\x1b(Bb\x08\x07\tc", "ab\tc"),
            (b"\x1b[38;5;1\nline", "\nline"),
            (b"\xff\xfe ok", "\u{fffd}\u{fffd} ok"),
            (b"\x1b[2K\x1b[1Gx\x1b", "x"),
        ] {
            assert_eq!(plain(log), text, "{:?}", String::from_utf8_lossy(log));
        }
    }

    #[test]
    fn a_tail_is_bounded_in_lines_and_bytes() {
        let many: String = (0..500).map(|line| format!("{line}\n")).collect();
        let last = tail(&many);
        assert_eq!((last.lines().count(), last.lines().next()), (100, Some("400")));
        let wide = format!("{}\n{}", "ä".repeat(9_000), "last");
        assert_eq!(tail(&wide), "last");
        assert!(tail(&"ä".repeat(9_000)).len() <= TAIL_BYTES);
        assert_eq!((tail("short\n\n"), tail("")), ("short".to_owned(), String::new()));
    }
}
