//! The terminal: raw mode, keys and bracketed pastes in, an input box under a growing history out.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    io::{Read, Write, stdin, stdout},
    sync::Arc,
};
use tokio::sync::mpsc;

const PASTE_START: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";
/// Lines of the box: a rule, the input line, a rule, the footer.
const LINES_ABOVE_FOOTER: usize = 3;
/// Longest rule drawn, and the width of a terminal that does not tell its own.
const RULE_COLUMNS: usize = 120;
/// Most unread input that is kept while the end of a paste is missing.
const PENDING_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Paste(String),
    Enter,
    Backspace,
    ClearLine,
    Escape,
    Interrupt,
    EndOfInput,
}

/// Splits bytes into keys; what is incomplete waits for the next bytes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
    pasting: bool,
}

impl Keys {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > PENDING_BYTES {
            self.pending.clear();
        }
        std::iter::from_fn(|| self.next()).flatten().collect()
    }

    /// Returns whether a lone escape waits to be either a key or the start of a sequence.
    pub(super) fn waits(&self) -> bool {
        !self.pasting && self.pending == b"\x1b"
    }

    /// Takes the lone escape as a key.
    pub(super) fn settle(&mut self) -> Option<Key> {
        self.waits().then(|| {
            self.pending.clear();
            Key::Escape
        })
    }

    /// Returns the next key; an inner `None` for bytes that are none.
    fn next(&mut self) -> Option<Option<Key>> {
        if self.pasting {
            let end = self.pending.windows(PASTE_END.len()).position(|window| window == PASTE_END)?;
            let text = String::from_utf8_lossy(&self.pending[..end]).replace("\r\n", "\n").replace('\r', "\n");
            self.pending.drain(..end + PASTE_END.len());
            self.pasting = false;
            return Some(Some(Key::Paste(text)));
        }
        let first = *self.pending.first()?;
        let (length, key) = match first {
            b'\x1b' => return self.escape(),
            b'\r' | b'\n' => (1, Some(Key::Enter)),
            0x03 => (1, Some(Key::Interrupt)),
            0x04 => (1, Some(Key::EndOfInput)),
            0x15 => (1, Some(Key::ClearLine)),
            0x7f | 0x08 => (1, Some(Key::Backspace)),
            0..0x20 => (1, None),
            _ => self.character(first)?,
        };
        self.pending.drain(..length);
        Some(key)
    }

    fn escape(&mut self) -> Option<Option<Key>> {
        if self.pending.starts_with(PASTE_START) {
            self.pending.drain(..PASTE_START.len());
            self.pasting = true;
            return Some(None);
        }
        if self.pending.len() == 1 || PASTE_START.starts_with(&self.pending) {
            return None;
        }
        if self.pending[1] != b'[' {
            self.pending.drain(..1);
            return Some(Some(Key::Escape));
        }
        // Arrow keys and the like mean nothing here.
        let end = self.pending[2..].iter().position(|byte| (0x40..=0x7e).contains(byte))?;
        self.pending.drain(..end + 3);
        Some(None)
    }

    fn character(&self, first: u8) -> Option<(usize, Option<Key>)> {
        let length = match first {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            _ => 1,
        };
        let text = std::str::from_utf8(self.pending.get(..length)?).ok();
        Some((length, text.and_then(|text| text.chars().next()).map(Key::Char)))
    }
}

/// The terminal in raw mode; given back when dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Arc<Termios>,
    drawn: bool,
}

impl Terminal {
    /// Takes the terminal over. Input typed before now is thrown away, as the original does.
    pub(super) fn take() -> Result<Self, String> {
        let before = tcgetattr(stdin()).map_err(|_| "standard input is no terminal".to_owned())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Flush, &raw).map_err(|error| format!("raw mode: {error}"))?;
        write("\x1b[?2004h");
        Ok(Self { before: Arc::new(before), drawn: false })
    }

    /// Returns the bytes typed; an empty chunk means that the terminal is gone.
    pub(super) fn input() -> mpsc::UnboundedReceiver<Vec<u8>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let count = stdin().lock().read(&mut chunk).unwrap_or(0);
                if sender.send(chunk[..count].to_vec()).is_err() || count == 0 {
                    return;
                }
            }
        });
        receiver
    }

    /// Adds text to the history, above the box.
    pub(super) fn say(&mut self, text: &str) {
        let plain: String = text.chars().filter(|c| !c.is_control() || "\n\t".contains(*c)).collect();
        let erased = self.erased();
        write(&format!("{erased}{}\r\n", plain.replace('\n', "\r\n")));
    }

    /// Draws the box.
    pub(super) fn draw(&mut self, typed: &str, busy: bool) {
        let columns = tcgetwinsize(stdin()).map_or(RULE_COLUMNS, |size| usize::from(size.ws_col)).max(20);
        let rule = "─".repeat(columns.min(RULE_COLUMNS) - 1);
        let room = columns - 4;
        let shown: String = match typed.lines().count() {
            0 | 1 => typed.chars().rev().take(room).collect::<Vec<_>>().into_iter().rev().collect(),
            lines => format!("[Pasted text +{lines} lines]").chars().take(room).collect(),
        };
        let footer =
            if busy { "  ⏵⏵ bypass permissions on · esc to interrupt" } else { "  ⏵⏵ bypass permissions on" };
        let erased = self.erased();
        write(&format!("{erased}{rule}\r\n❯\u{a0}{shown}\r\n{rule}\r\n{footer}"));
        self.drawn = true;
    }

    fn erased(&mut self) -> String {
        if std::mem::take(&mut self.drawn) { format!("\r\x1b[{LINES_ABOVE_FOOTER}A\x1b[J") } else { String::new() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write("\x1b[?2004l\r\n");
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// A terminal that is gone is noticed by reading.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracketed_paste_is_one_key_however_it_is_cut() {
        let bytes = "\u{1b}[200~a\rb ❯\u{1b}[201~\r".as_bytes();
        for cut in 0..=bytes.len() {
            let mut keys = Keys::default();
            let mut read = keys.feed(&bytes[..cut]);
            read.extend(keys.feed(&bytes[cut..]));
            assert_eq!(read, [Key::Paste("a\nb ❯".into()), Key::Enter], "cut at {cut}");
        }
    }

    #[test]
    fn without_brackets_every_line_end_is_enter() {
        let read = Keys::default().feed(b"a\nb\r\x1b[A\x7f");
        let expected = [Key::Char('a'), Key::Enter, Key::Char('b'), Key::Enter, Key::Backspace];
        assert_eq!(read, expected);
        let mut keys = Keys::default();
        assert!(keys.feed(b"\x1b").is_empty() && keys.waits());
        assert_eq!(keys.settle(), Some(Key::Escape));
    }
}
