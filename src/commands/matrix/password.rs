//! A password from the terminal without echo, or the first line of what stdin holds.

use crate::output::{Failure, Printer};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use std::io::{IsTerminal, Read, Stdin};

/// Longest password that is read, in bytes.
const LONGEST: u64 = 4_096;

/// Reads the password of an account.
pub(super) fn read(printer: &Printer, user: &str) -> Result<SecretString, Failure> {
    let stdin = std::io::stdin();
    let typed = stdin.is_terminal();
    let echo = if typed {
        printer.prompt(format!("password of {user}: "));
        Echo::off(&stdin)
    } else {
        None
    };
    let line = if typed { read_line(&stdin) } else { read_all(&stdin) };
    if let Some(echo) = echo {
        drop(echo);
        printer.talk("");
    }
    let line = line.map_err(|error| Failure::user(format!("the password cannot be read: {error}")))?;
    let password = line.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Failure::user("no password was given").hint("type it at the prompt, or give it on stdin"));
    }
    Ok(SecretString::from(password.to_owned()))
}

fn read_line(stdin: &Stdin) -> std::io::Result<String> {
    let mut line = String::new();
    stdin.read_line(&mut line).map(|_| line)
}

fn read_all(stdin: &Stdin) -> std::io::Result<String> {
    let mut text = String::new();
    stdin.lock().take(LONGEST).read_to_string(&mut text).map(|_| text)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Echo<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Echo<'a> {
    fn off(stdin: &'a Stdin) -> Option<Self> {
        let before = tcgetattr(stdin).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent).ok()?;
        Some(Self { stdin, before })
    }
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
