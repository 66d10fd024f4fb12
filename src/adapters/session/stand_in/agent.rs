//! The agent's own loop: keys, signals and turns, and the screen that shows them.

use super::{
    actions::{Session, Shown, Worker},
    terminal::{Key, Keys, Terminal},
};
use crate::adapters::process::Program;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Time after which a lone escape byte is the key and not the start of a sequence.
const ESCAPE_TIME: Duration = Duration::from_millis(50);
/// Longest text that the input line takes; the rest is dropped.
const TYPED_BYTES: usize = 1024 * 1024;
/// Exit codes of a process that ended on a signal, as shells count them.
const ENDED_BY_HANG_UP: i32 = 129;
const ENDED_BY_TERMINATE: i32 = 143;

pub(super) struct Agent {
    worker: Arc<Worker>,
    session: Arc<Session>,
    shown: mpsc::UnboundedReceiver<Shown>,
    terminal: Terminal,
    keys: Keys,
    typed: String,
    busy: bool,
}

/// What a key asks for.
enum Wish {
    None,
    Leave,
}

impl Agent {
    pub(super) fn new(session: Session, terminal: Terminal) -> Self {
        let session = Arc::new(session);
        let (sender, shown) = mpsc::unbounded_channel();
        let worker = Arc::new(Worker::new(Arc::clone(&session), sender));
        Self { worker, session, shown, terminal, keys: Keys::default(), typed: String::new(), busy: false }
    }

    /// Runs to the end. Returns the exit code. A question is shown first, and only a person could answer it.
    pub(super) async fn run(mut self, question: Option<&str>) -> i32 {
        let mut input = Terminal::input();
        let (Ok(mut hang_up), Ok(mut terminate)) = (signal(SignalKind::hangup()), signal(SignalKind::terminate()))
        else {
            return 1;
        };
        if let Some(question) = question {
            self.terminal.say(&format!(" {question}\n ❯ 1. No, exit\n   2. Yes"));
            return self.refuse(&mut input, &mut hang_up, &mut terminate).await;
        }
        let work = tokio::spawn(Arc::clone(&self.worker).work());
        self.begin().await;
        let (code, reason) = loop {
            let escape = tokio::time::sleep(ESCAPE_TIME);
            tokio::select! {
                _ = hang_up.recv() => break (ENDED_BY_HANG_UP, "other"),
                _ = terminate.recv() => break (ENDED_BY_TERMINATE, "other"),
                chunk = input.recv() => match chunk {
                    Some(bytes) if !bytes.is_empty() => {
                        let keys = self.keys.feed(&bytes);
                        if let Some(Wish::Leave) = self.press(keys).await {
                            break (0, "prompt_input_exit");
                        }
                    }
                    _ => break (ENDED_BY_HANG_UP, "other"),
                },
                () = escape, if self.keys.waits() => {
                    let key = self.keys.settle();
                    self.press(key.into_iter().collect()).await;
                }
                Some(shown) = self.shown.recv() => match shown {
                    Shown::Text(text) => {
                        self.terminal.say(&text);
                        self.draw();
                    }
                    Shown::Idle => {
                        self.busy = !self.worker.is_empty();
                        self.draw();
                    }
                    Shown::Crash(code) => return code,
                },
            }
        };
        work.abort();
        self.worker.fire("SessionEnd", json!({ "reason": reason })).await;
        code
    }

    async fn begin(&mut self) {
        let source = if self.session.options.resume { "resume" } else { "startup" };
        self.terminal.say("stand-in agent");
        let model = &self.session.options.model;
        self.worker.fire("SessionStart", json!({ "source": source, "model": model })).await;
        if let Some(prompt) = self.session.options.prompt.clone() {
            self.submit(prompt).await;
        }
        self.draw();
    }

    /// Presses keys in order. Returns the first wish to leave.
    async fn press(&mut self, keys: Vec<Key>) -> Option<Wish> {
        for key in keys {
            let room = TYPED_BYTES.saturating_sub(self.typed.len());
            match key {
                Key::Char(c) if room > c.len_utf8() => self.typed.push(c),
                Key::Paste(text) if room > text.len() => self.typed.push_str(&text),
                Key::Char(_) | Key::Paste(_) => {}
                Key::Backspace => drop(self.typed.pop()),
                Key::ClearLine | Key::Interrupt if !self.typed.is_empty() => self.typed.clear(),
                Key::ClearLine => {}
                Key::Escape => self.worker.interrupt(),
                Key::Interrupt | Key::EndOfInput => return Some(Wish::Leave),
                Key::Enter => {
                    let line = std::mem::take(&mut self.typed);
                    if let Wish::Leave = self.submit(line).await {
                        return Some(Wish::Leave);
                    }
                }
            }
        }
        self.draw();
        None
    }

    /// Submits a line: a shell line, a command of the agent's own, or a prompt.
    async fn submit(&mut self, line: String) -> Wish {
        let text = line.trim();
        if text.is_empty() {
            return Wish::None;
        }
        self.terminal.say(&format!("❯ {line}"));
        if let Some(command) = text.strip_prefix('!') {
            let output = Program::new("sh").args(["-c", command]).run().await;
            self.terminal.say(&output.map_or_else(|error| error.to_string(), |output| output.text()));
        } else if text == "/exit" || text == "/quit" {
            return Wish::Leave;
        } else if text.starts_with('/') {
            self.terminal.say("  that is a command and no prompt");
        } else {
            self.busy = true;
            self.worker.accept(line);
        }
        Wish::None
    }

    fn draw(&mut self) {
        self.terminal.draw(&self.typed, self.busy);
    }

    /// Stays in front of the question until a key takes its default answer, No.
    async fn refuse(
        &mut self,
        input: &mut mpsc::UnboundedReceiver<Vec<u8>>,
        hang_up: &mut Signal,
        terminate: &mut Signal,
    ) -> i32 {
        loop {
            tokio::select! {
                _ = hang_up.recv() => return ENDED_BY_HANG_UP,
                _ = terminate.recv() => return ENDED_BY_TERMINATE,
                chunk = input.recv() => {
                    let bytes = chunk.unwrap_or_default();
                    if bytes.is_empty() || self.keys.feed(&bytes).contains(&Key::Enter) {
                        return 1;
                    }
                }
            }
        }
    }
}
