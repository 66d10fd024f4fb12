//! A root with a tmux server of its own and the stand-in as its agent; both end with it.

use rig::{
    adapters::session::{Agent, ClaudeAgent, TmuxPlace, TmuxSessions, hooks},
    config::root::Root,
    domain::ids::{Attempt, IssueNumber, ProjectName, RunId},
    ports::session::{HookEvent, HookKind, PromptLine, SessionName, SessionPlan, Sessions},
};
use secrecy::SecretString;
use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Long enough for a machine that builds something else at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
pub(crate) const AGENT_SESSION: &str = "00000000-0000-4000-8000-000000000001";

pub(crate) struct Terminals {
    folder: tempfile::TempDir,
    place: TmuxPlace,
    pub(crate) sessions: TmuxSessions,
}

impl Terminals {
    pub(crate) fn new() -> Self {
        Self::with_agent(ClaudeAgent { command: rig(), args: vec!["stand-in".into()], model: None })
    }

    pub(crate) fn with_agent(agent: impl Agent + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tmux", "home", "worktree", "run"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let place = TmuxPlace { socket: "rig-test".into(), folder: Some(folder.path().join("tmux")) };
        let sessions = TmuxSessions::new(place.clone(), PathBuf::from(rig()), folder.path().to_owned(), agent);
        Self { folder, place, sessions }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn worktree(&self) -> PathBuf {
        self.path().join("worktree")
    }

    pub(crate) fn attempt_dir(&self, attempt: u32) -> PathBuf {
        Root::at(self.path()).run(&name().project, name().issue).attempt(Attempt(attempt)).path().to_owned()
    }

    /// Returns a plan whose agent follows `script`, the rules of a stand-in script.
    pub(crate) fn plan(&self, attempt: u32, script: serde_json::Value) -> SessionPlan {
        let file = self.path().join(format!("script-{attempt}.json"));
        std::fs::write(&file, serde_json::json!({"version": 1, "rules": script}).to_string()).unwrap();
        SessionPlan {
            name: name(),
            run: run(),
            attempt: Attempt(attempt),
            worktree: self.worktree(),
            attempt_dir: self.attempt_dir(attempt),
            hooks_file: self.path().join("run/hooks.jsonl"),
            prompt: "Fix the widget".into(),
            agent_session: AGENT_SESSION.into(),
            resume: false,
            env: vec![
                ("HOME".into(), self.path().join("home").display().to_string()),
                ("RIG_STAND_IN_SCRIPT".into(), file.display().to_string()),
            ],
            push_token: SecretString::from("push-token-of-the-test"),
            remote_url: "http://127.0.0.1:1/acme/widget.git".into(),
            guard: rig::ports::session::GuardPlan {
                branch: "fix/issue-7".into(),
                primary_branch: "main".into(),
                forge_url: "http://127.0.0.1:1".into(),
                ..Default::default()
            },
        }
    }

    pub(crate) fn hooks(&self) -> Vec<HookEvent> {
        hooks::read_hooks(&self.path().join("run/hooks.jsonl"), 0, &run(), None).unwrap().events
    }

    /// Returns the prompts that the agent took, in order.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let prompt = |event: HookEvent| match event.kind {
            HookKind::PromptTaken { prompt } => Some(prompt),
            _ => None,
        };
        self.hooks().into_iter().filter_map(prompt).collect()
    }

    pub(crate) fn turns_ended(&self) -> usize {
        self.hooks().iter().filter(|event| matches!(event.kind, HookKind::TurnEnded { .. })).count()
    }

    pub(crate) async fn screen(&self) -> String {
        self.sessions.screen(&name(), 1_000).await.unwrap_or_else(|error| format!("({error})"))
    }

    /// Waits until this many turns have ended and a line can be typed.
    pub(crate) async fn until_idle(&self, turns: usize) {
        self.until("the agent is idle", async || {
            self.turns_ended() >= turns && self.sessions.prompt_line(&self.screen().await) == PromptLine::Empty
        })
        .await;
    }

    /// Waits for a condition; fails with the screen and the hooks when it does not come.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            if Instant::now() > deadline {
                let screen = self.screen().await;
                panic!("waited in vain until {what}\nhooks: {:#?}\nscreen:\n{screen}", self.hooks());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs a tmux command on this server only. Returns its standard output.
    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", self.place.folder.as_ref().unwrap())
            .args(["-L", &self.place.socket])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns the process id of the agent.
    pub(crate) fn agent_process(&self) -> u32 {
        self.tmux(&["list-panes", "-t", "=dev-widget-7:", "-F", "#{pane_pid}"]).parse().unwrap()
    }
}

impl Drop for Terminals {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

pub(crate) fn rig() -> String {
    env!("CARGO_BIN_EXE_rig").to_owned()
}

pub(crate) fn name() -> SessionName {
    SessionName { project: ProjectName::new("widget").unwrap(), issue: IssueNumber(7) }
}

pub(crate) fn run() -> RunId {
    RunId::new(RUN).unwrap()
}

/// Returns whether a process runs; a zombie has ended.
pub(crate) fn process_lives(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
