//! The only place that prints. Human mode writes lines and tables; JSON mode writes one JSON document a line to stdout.

use super::error::{Exit, Failure};
use serde::Serialize;
use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whoever read stdout has closed it.
static READER_IS_GONE: AtomicBool = AtomicBool::new(false);

/// Prints for one command.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    /// Returns a printer; colour only at a terminal and when NO_COLOR is unset or empty.
    pub fn new(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, colour: !json && !no_colour && std::io::stdout().is_terminal() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether the other side has closed stdout; a command that prints without end then ends.
    pub fn reader_is_gone(&self) -> bool {
        READER_IS_GONE.load(Ordering::Relaxed)
    }

    /// Returns whether stdout is a terminal that takes colour and live lines.
    pub fn is_live(&self) -> bool {
        self.colour
    }

    /// Returns whether a person sits at stdin and stdout, whatever they want of colours.
    pub fn is_at_terminal(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    /// Returns whether somebody watches what is said: stderr is a terminal. Under cron only what is wrong is said.
    pub fn talks_to_person(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Prints a line of data for people; nothing in JSON mode.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            write_data(text.as_ref());
        }
    }

    /// Prints one JSON document on a line; nothing in human mode.
    pub fn json(&self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
            write_data(&text);
        }
    }

    /// Shows a line that the next one replaces, at a terminal only; an empty one takes it away.
    pub fn live(&self, text: &str) {
        if self.is_live() {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
        }
    }

    /// Prints exactly these bytes as data, in both modes.
    pub fn raw(&self, text: &str) {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// Prints a line of data in both modes, for a reader that must have it: that it did not get there is an error.
    pub fn data(&self, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush())
    }

    /// Says something to the person at the terminal, on stderr.
    pub fn talk(&self, text: impl AsRef<str>) {
        write_line(&mut std::io::stderr().lock(), text.as_ref());
    }

    /// Asks the person at the terminal for something, on stderr, and stays on the line.
    pub fn prompt(&self, text: impl AsRef<str>) {
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    }

    /// Prints a table for people, without borders; nothing in JSON mode.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header(header).add_rows(rows);
        let text = table.to_string();
        for line in text.lines() {
            self.line(line.trim_end());
        }
    }

    /// Returns text in a colour (an ANSI number such as 32) where colour is wanted.
    pub fn paint(&self, ansi: u8, text: &str) -> String {
        if self.colour { format!("\x1b[{ansi}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Prints a failure: on stderr for people, and in JSON mode also as the last line of stdout.
    pub fn failure(&self, failure: &Failure) {
        let mut stderr = std::io::stderr().lock();
        write_line(&mut stderr, &format!("error: {}", failure.message));
        if !failure.hint.is_empty() {
            write_line(&mut stderr, &format!("  hint: {}", failure.hint));
        }
        self.json(&serde_json::json!({
            "error": failure.message, "hint": failure.hint, "exit": failure.exit as u8
        }));
    }

    /// Ends JSON output whose lines have told already what is wrong: the last line says so, with the exit code.
    pub fn conclude(&self, exit: Exit, message: impl AsRef<str>) {
        if exit != Exit::Ok {
            self.json(&serde_json::json!({ "error": message.as_ref(), "hint": "", "exit": exit as u8 }));
        }
    }
}

fn write_data(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}")
        && error.kind() == ErrorKind::BrokenPipe
    {
        READER_IS_GONE.store(true, Ordering::Relaxed);
    }
}

/// A closed pipe on the other side is the reader's choice, not an error.
fn write_line(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
}
