//! Turns: the work on the prompts that were taken, one after the other, as the script says.

use super::{
    hook_runner::Hooks,
    options::Options,
    script::{Action, Run, Script, WaitUntil},
    transcript::Transcript,
};
use crate::adapters::process::Program;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};

/// Most often that a Stop hook can send the agent on in one turn.
const STOP_BLOCKS: u32 = 8;
/// Time between two looks of a waiting action.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Most characters of a command's output that are shown.
const SHOWN_CHARS: usize = 2_000;
/// Largest file that stands for a prompt.
const PROMPT_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// What all parts of the agent share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) options: Options,
    pub(super) hooks: Hooks,
    pub(super) script: Script,
    pub(super) transcript: Transcript,
}

/// What a turn tells the terminal.
#[derive(Debug)]
pub(super) enum Shown {
    Text(String),
    /// Nothing is left to do.
    Idle,
    /// The agent crashes with this exit code.
    Crash(i32),
}

/// The prompts that wait, and those whose hooks still run.
#[derive(Debug, Default)]
struct Waiting {
    prompts: VecDeque<String>,
    on_their_way: u32,
}

/// Takes prompts and works through them.
#[derive(Debug)]
pub(super) struct Worker {
    session: Arc<Session>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    interrupted: Notify,
    shown: mpsc::UnboundedSender<Shown>,
}

/// How an action leaves the turn.
enum Flow {
    Next,
    EndTurn,
    ApiError(String),
}

/// What an action waits for.
enum Awaited {
    File(PathBuf),
    Success(Program),
}

impl Awaited {
    async fn is_there(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Success(program) => program.clone().run().await.is_ok_and(|output| output.status.success()),
        }
    }
}

impl Worker {
    pub(super) fn new(session: Arc<Session>, shown: mpsc::UnboundedSender<Shown>) -> Self {
        let (wake, interrupted) = (Notify::new(), Notify::new());
        Self { session, waiting: Mutex::default(), wake, interrupted, shown }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether no prompt waits.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.prompts.is_empty() && waiting.on_their_way == 0
    }

    /// Takes a prompt: its hook fires at once, also while a turn runs; then it waits for its turn or joins the running one.
    pub(super) fn accept(self: &Arc<Self>, prompt: String) {
        self.waiting().on_their_way += 1;
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let said = worker.fire("UserPromptSubmit", json!({ "prompt": prompt })).await;
            let mut waiting = worker.waiting();
            waiting.on_their_way -= 1;
            match said.block {
                Some(reason) => worker.show(format!("  prompt refused by a hook: {reason}")),
                None => waiting.prompts.push_back(prompt),
            }
            drop(waiting);
            worker.wake.notify_one();
        });
    }

    /// Breaks off the running turn; no hook tells of it.
    pub(super) fn interrupt(&self) {
        self.interrupted.notify_waiters();
    }

    /// Works for ever; ended by being dropped.
    pub(super) async fn work(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            if !self.waiting().prompts.is_empty() {
                tokio::select! {
                    () = self.turn() => {}
                    () = self.interrupted.notified() => self.show("  interrupted".to_owned()),
                }
            }
            let more = !self.waiting().prompts.is_empty();
            if more {
                self.wake.notify_one();
            } else {
                let _ = self.shown.send(Shown::Idle);
            }
        }
    }

    /// One turn: all waiting prompts, those that join meanwhile, and then Stop, whose hooks may send the agent on.
    async fn turn(&self) {
        let mut last_message = String::new();
        for round in 0..=STOP_BLOCKS {
            while let Some(prompt) = self.next_prompt() {
                self.session.transcript.user(&prompt);
                if let Flow::ApiError(error) = self.follow_script(&prompt, &mut last_message).await {
                    let details = json!({ "error": error, "last_assistant_message": last_message });
                    self.fire("StopFailure", details).await;
                    return;
                }
            }
            let details = json!({
                "stop_hook_active": round > 0, "last_assistant_message": last_message, "background_tasks": [],
            });
            match self.fire("Stop", details).await.block {
                Some(reason) if round < STOP_BLOCKS => self.waiting().prompts.push_front(reason),
                _ => return,
            }
        }
    }

    fn next_prompt(&self) -> Option<String> {
        self.waiting().prompts.pop_front()
    }

    async fn follow_script(&self, prompt: &str, last_message: &mut String) -> Flow {
        let transcript = &self.session.transcript;
        let text = text_of(prompt);
        let mut progress = transcript.progress();
        let actions = self.session.script.take(&mut progress, &text);
        transcript.save_progress(&progress);
        let prompt_file = transcript.keep_prompt(&text);
        let Some(actions) = actions else {
            self.say("My script says nothing about this.", last_message);
            return Flow::Next;
        };
        let shell =
            Program::new("sh").env("STAND_IN_PROMPT_FILE", prompt_file).env("STAND_IN_TURN", progress.turn.to_string());
        for action in actions {
            match self.act(action, &shell, last_message).await {
                Flow::Next => {}
                Flow::EndTurn => break,
                failed @ Flow::ApiError(_) => return failed,
            }
        }
        Flow::Next
    }

    async fn act(&self, action: Action, shell: &Program, last_message: &mut String) -> Flow {
        match action {
            Action::Run(run) => return self.run(&run, shell.clone().args(["-c", &run.command]), last_message).await,
            Action::Write(write) => {
                let path = std::env::current_dir().unwrap_or_default().join(&write.path);
                let input = json!({ "file_path": path, "content": write.text });
                if let Some(flow) = self.refused("Write", input, false, last_message).await {
                    return flow;
                }
                if let Err(error) = std::fs::write(&write.path, write.text) {
                    self.say(&format!("{}: {error}", write.path.display()), last_message);
                    return Flow::EndTurn;
                }
            }
            Action::Say(text) => self.say(&text, last_message),
            Action::WaitForFile(wait) => {
                return self.wait(Awaited::File(wait.path), wait.timeout_secs, last_message).await;
            }
            Action::WaitUntil(WaitUntil { command, timeout_secs }) => {
                return self
                    .wait(Awaited::Success(shell.clone().args(["-c", &command])), timeout_secs, last_message)
                    .await;
            }
            Action::Exit(code) => {
                let _ = self.shown.send(Shown::Crash(code));
                std::future::pending::<()>().await;
            }
            Action::Kill => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
            Action::ApiError(error) => return Flow::ApiError(error),
            Action::Compact => {
                self.fire("PreCompact", json!({ "trigger": "auto" })).await;
                let said = self.fire("SessionStart", json!({ "source": "compact" })).await;
                self.session.transcript.user(&said.output);
            }
            Action::Stop => return Flow::EndTurn,
            Action::Hang => std::future::pending().await,
        }
        Flow::Next
    }

    async fn run(&self, run: &Run, program: Program, last_message: &mut String) -> Flow {
        self.session.transcript.tool_use(&run.command);
        self.show(format!("● Bash({})", shortened(&run.command)));
        let input = json!({ "command": run.command });
        if let Some(flow) = self.refused("Bash", input, run.may_fail, last_message).await {
            return flow;
        }
        let result = program.timeout(Duration::from_secs(run.timeout_secs)).keep_tail().run().await;
        let (success, text) = match result {
            Ok(output) => (output.status.success(), [output.text(), output.error_text()].join("\n")),
            Err(error) => (false, error.to_string()),
        };
        if !text.trim().is_empty() {
            self.show(format!("  ⎿ {}", shortened(text.trim())));
        }
        if success || run.may_fail {
            return Flow::Next;
        }
        self.say(&format!("A command failed: {}", shortened(text.trim())), last_message);
        Flow::EndTurn
    }

    /// Asks the hooks whether a tool may be used. Returns how the turn goes on when they refuse.
    async fn refused(&self, tool: &str, input: Value, may_fail: bool, last_message: &mut String) -> Option<Flow> {
        let reason = self.fire("PreToolUse", json!({ "tool_name": tool, "tool_input": input })).await.block?;
        self.show(format!("  ⎿ {}", shortened(&reason)));
        if may_fail {
            return Some(Flow::Next);
        }
        self.say(&format!("A hook refused what I wanted to do: {}", shortened(&reason)), last_message);
        Some(Flow::EndTurn)
    }

    async fn wait(&self, awaited: Awaited, timeout_secs: u64, last_message: &mut String) -> Flow {
        let deadline = Instant::now() + Duration::from_secs(timeout_secs);
        while !awaited.is_there().await {
            if Instant::now() >= deadline {
                self.say("I waited in vain.", last_message);
                return Flow::EndTurn;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Flow::Next
    }

    /// Fires an event's hooks and shows what went wrong with them.
    pub(super) async fn fire(&self, event: &str, details: serde_json::Value) -> super::hook_runner::Said {
        let said = self.session.hooks.fire(event, details).await;
        said.problems.iter().for_each(|problem| self.show(format!("  {problem}")));
        said
    }

    fn say(&self, text: &str, last_message: &mut String) {
        self.session.transcript.assistant(text);
        text.clone_into(last_message);
        self.show(format!("● {text}"));
    }

    pub(super) fn show(&self, text: String) {
        let _ = self.shown.send(Shown::Text(text));
    }
}

/// Returns the text that a prompt stands for: its own, or that of the file it names.
fn text_of(prompt: &str) -> String {
    let named = prompt.trim().strip_prefix("Read ").and_then(|rest| rest.split_once(" and carry it out"));
    let content = named.and_then(|(path, _)| {
        let path = Path::new(path.trim_matches(['`', '"', '\'']));
        crate::adapters::session::files::read_bounded(path, PROMPT_FILE_BYTES).ok()
    });
    content.map_or_else(|| prompt.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
