//! One session with an agent of some kind, and how each kind shows what reached it.

use crate::{
    real_claude::VARIABLES,
    scripted_api::{self, Asked},
    terminal::{Terminals, name},
};
use rig::{
    adapters::session::{ClaudeAgent, CommandAgent},
    ports::session::{PromptLine, SessionPlan, Sessions},
};
use serde_json::json;
use std::{future::Future, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

#[derive(Debug, Clone)]
pub(super) enum Kind {
    StandIn,
    Command,
    /// The real program.
    Claude(String),
}

/// Starts a child that outlives every patience, and notes its process.
const HANG: &str = "tail -f /dev/null & echo $! > hanging.new && mv hanging.new hanging; wait";

/// An agent in shell: it notes each prompt that it takes in a file of its own, and hangs when it is told to.
const SHELL: &str = r#"#!/bin/sh
cp "$1" "$TAKEN/1"
number=1
while printf 'agent> ' && IFS= read -r line; do
    number=$((number + 1))
    printf '%s' "$line" > "$TAKEN/new" && mv "$TAKEN/new" "$TAKEN/$number"
    case $line in "Hang now") HANG ;; esac
done
"#;

pub(super) struct Subject {
    pub(super) terminals: Terminals,
    kind: Kind,
    plan: SessionPlan,
    asked: Asked,
    /// Prompts that attempts before the present one took.
    earlier: Vec<String>,
}

impl Subject {
    /// Starts a session whose first prompt is this.
    pub(super) async fn start(kind: Kind, prompt: &str) -> Self {
        let mut asked = Asked::default();
        let hangs = json!([{ "contains": "Hang now", "actions": [{ "run": HANG }] },
            { "turn": 1, "actions": [{ "run": "cp \"$STAND_IN_PROMPT_FILE\" \"$TAKEN/1\"" }] },
            { "regex": "", "repeat": true, "actions": ["stop"] }]);
        let terminals = match &kind {
            Kind::StandIn => Terminals::new(),
            Kind::Command => {
                let program = write_program();
                Terminals::with_agent(CommandAgent {
                    command: "sh".into(),
                    args: vec![program.display().to_string(), "{prompt_file}".into()],
                    ready: CommandAgent::pattern("^agent> ").unwrap(),
                    quiet: Duration::from_millis(100),
                })
            }
            Kind::Claude(program) => {
                Terminals::with_agent(ClaudeAgent { command: program.clone(), args: Vec::new(), model: None })
            }
        };
        let mut plan = terminals.plan(1, hangs);
        plan.prompt = prompt.to_owned();
        let taken = terminals.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        plan.env.push(("TAKEN".into(), taken.display().to_string()));
        // What shows the prompt lies outside of the worktree, where the guard refuses whatever it is not told of.
        plan.guard.writable.extend(["1", "read"].map(|name| taken.join(name)));
        if matches!(kind, Kind::Claude(_)) {
            let url;
            (url, asked) = scripted_api::serve_and_note(|prompt| match prompt.contains("Hang now") {
                true => vec![HANG.to_owned()],
                false => Vec::new(),
            })
            .await;
            plan.env.extend(VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())));
            plan.env.push(("ANTHROPIC_BASE_URL".into(), url));
            let copy = format!("tee '{}' < \"$1\"\n", taken.join("read").display());
            std::fs::write(plan.worktree.join("keep-a-copy"), copy).unwrap();
        }
        terminals.sessions.start(&plan).await.unwrap();
        Self { terminals, kind, plan, asked, earlier: Vec::new() }
    }

    /// Starts the next attempt, which goes on with the agent's own session if it has one.
    pub(super) async fn start_again(&mut self, prompt: &str) {
        self.earlier = self.taken();
        self.plan.attempt = self.plan.attempt.next();
        self.plan.attempt_dir = self.terminals.attempt_dir(self.plan.attempt.0);
        self.plan.prompt = prompt.to_owned();
        self.plan.resume = true;
        if matches!(self.kind, Kind::Command) {
            for entry in std::fs::read_dir(self.folder()).unwrap().flatten() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        self.terminals.sessions.start(&self.plan).await.unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.terminals.path().join("taken")
    }

    /// Returns the prompts that the agent took, in order.
    pub(super) fn taken(&self) -> Vec<String> {
        if !matches!(self.kind, Kind::Command) {
            return self.terminals.prompts();
        }
        let read = |number: usize| std::fs::read_to_string(self.folder().join(number.to_string())).ok();
        self.earlier.iter().cloned().chain((1..).map_while(read)).collect()
    }

    /// Returns the first prompt as it reached the agent, whichever way.
    pub(super) fn first_prompt(&self) -> String {
        let text = |name: &str| std::fs::read_to_string(self.folder().join(name)).ok();
        match self.kind {
            Kind::StandIn | Kind::Command => text("1").unwrap_or_default(),
            // What it read from a file, or else what it was asked, among what the program adds by itself.
            Kind::Claude(_) => text("read").unwrap_or_else(|| {
                let asked = self.asked.lock().unwrap();
                let prompt = asked.last().cloned().unwrap_or_default();
                let plain = prompt.rsplit_once("</system-reminder>\n").map_or(prompt.as_str(), |(_, rest)| rest);
                plain.trim_matches('\n').to_owned()
            }),
        }
    }

    pub(super) async fn line(&self) -> PromptLine {
        self.terminals.sessions.prompt_line(&self.terminals.sessions.screen(&name(), 0).await.unwrap())
    }

    /// Waits until so many prompts were taken and a line can be typed.
    pub(super) async fn until_ready(&self, prompts: usize) {
        self.until("it is ready", async || {
            let ended = matches!(self.kind, Kind::Command) || self.terminals.turns_ended() >= prompts;
            self.taken().len() >= prompts && ended && self.line().await == PromptLine::Empty
        })
        .await;
    }

    /// Waits until the agent has written down what a later attempt goes on from.
    pub(super) async fn until_resumable(&self) {
        let Kind::Claude(_) = self.kind else { return };
        let home = self.terminals.path();
        let name = format!("{}.jsonl", self.plan.agent_session);
        self.until("the answer is in the transcript", async || {
            ["home/.claude/projects", "state/claude/projects"].iter().any(|folder| {
                let folders = std::fs::read_dir(home.join(folder)).into_iter().flatten().flatten();
                let mut files = folders.map(|folder| folder.path().join(&name));
                files.any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("Done.")))
            })
        })
        .await;
    }

    pub(super) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        self.terminals.until(what, condition).await;
    }
}

/// Writes the shell agent where it outlives the session that is about to be made.
fn write_program() -> PathBuf {
    use std::sync::OnceLock;
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contract-agent.sh");
            let draft = path.with_extension(std::process::id().to_string());
            std::fs::write(&draft, SHELL.replace("HANG", HANG)).unwrap();
            std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(draft, &path).unwrap();
            path
        })
        .clone()
}
