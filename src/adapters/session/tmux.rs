//! Sessions on a tmux server of rig's own. Every call is one short tmux command that names its session exactly; the server
//! starts with a small environment, and reads nobody's configuration.
//!
//! Which attempt a session runs is written on the session by the same command that makes it. The agent's pane is marked
//! too, so that panes which a person opens beside it are never typed into or taken for the agent.

mod pane;
mod place;

pub use place::TmuxPlace;

use self::pane::Pane;
use super::{
    agent::Agent,
    launch::{self, LaunchPlace, Starter},
    processes::{self, MARK},
    setup,
};
use crate::{
    adapters::process::{Output, ProcessError, Program, Scope},
    config::root::Root,
    domain::ids::{Attempt, RunId},
    ports::session::{
        Liveness, PromptLine, SessionError, SessionName, SessionPlan, SessionResult, Sessions, SetUp, SetUpEnd, Signals,
    },
};
use async_trait::async_trait;
use rustix::process::Signal;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tmux_interface::{CapturePane, KillSession, ListPanes, LoadBuffer, NewSession, PasteBuffer, TmuxCommand};

/// Lines that a pane keeps: a long agent's day.
const HISTORY_LINES: u32 = 50_000;
/// Most lines of history that one look at the screen returns.
const SCREEN_HISTORY_LINES: u32 = 5_000;
/// Size of a pane that nobody looks at: wide enough that the agent's lines seldom wrap.
const COLUMNS: usize = 200;
const ROWS: usize = 50;
/// Bytes kept of a screen; the end counts.
const SCREEN_BYTES: usize = 2 * 1024 * 1024;
/// Longest line that is typed: such a line names a file, so more is a mistake.
const LINE_BYTES: usize = 4 * 1024;
/// Time that the pane's process may take until it becomes the agent, on a machine that is busy.
const EXEC_TIMEOUT: Duration = Duration::from_secs(20);
const EXEC_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Time between asking the processes of a session to end, and insisting: enough for the agent's own end-of-session hooks.
const END_GRACE: Duration = Duration::from_secs(3);
const TERMINATE_GRACE: Duration = Duration::from_millis(500);
const KILL_GRACE: Duration = Duration::from_secs(3);
const NO_TMUX: &str = "`tmux` is not installed: install it with your package manager, such as `apt-get install tmux`";

/// The session port on tmux, for one kind of agent.
#[derive(Debug, Clone)]
pub struct TmuxSessions {
    place: TmuxPlace,
    /// Absolute path of rig itself.
    rig: PathBuf,
    root: PathBuf,
    agent: Arc<dyn Agent>,
}

impl TmuxSessions {
    pub fn new(place: TmuxPlace, rig: PathBuf, root: PathBuf, agent: impl Agent + 'static) -> Self {
        Self { place, rig, root, agent: Arc::new(agent) }
    }

    /// Returns what tmux calls itself and its version.
    pub async fn version(&self) -> SessionResult<String> {
        self.run_ok("server", Program::new("tmux").arg("-V")).await.map(|output| output.text())
    }

    /// Ends the server when it has no session, or whatever it has; for temporary places only.
    pub async fn end_server(&self) -> SessionResult<()> {
        let output = self.run("server", self.place.program().arg("kill-server")).await?;
        if output.status.success() || self.place.has_no_server() {
            return Ok(());
        }
        Err(refused("server", &output))
    }

    /// Shows a session in this terminal, to look at or to write in. This process becomes tmux; returns only on failure.
    pub fn attach(&self, name: &SessionName, write: bool) -> String {
        let target = format!("={}", name.for_tmux());
        let mut program = self.place.program().args(["attach-session", "-t", &target]);
        if !write {
            program = program.arg("-r");
        }
        program.exec().to_string()
    }

    async fn run(&self, session: &str, program: Program) -> SessionResult<Output> {
        program.run().await.map_err(|error| match error {
            ProcessError::NotInstalled { .. } => SessionError::Unusable { message: NO_TMUX.to_owned() },
            other => SessionError::Failed { session: session.to_owned(), message: other.to_string() },
        })
    }

    async fn run_ok(&self, session: &str, program: Program) -> SessionResult<Output> {
        let output = self.run(session, program).await?;
        if output.status.success() { Ok(output) } else { Err(refused(session, &output)) }
    }

    /// Returns all panes of the session; none when there is no such session or no server at all.
    async fn panes(&self, name: &str) -> SessionResult<Vec<Pane>> {
        let mut last = None;
        // A server that is about to exit refuses once and is gone at the second look.
        for _ in 0..2 {
            let list = ListPanes::new().all().format(Pane::FORMAT).build();
            let output = self.run(name, with(self.place.program(), &list)).await?;
            if output.status.success() {
                let text = output.text();
                return Ok(text.lines().filter_map(Pane::read).filter(|pane| pane.session == name).collect());
            }
            if self.place.has_no_server() {
                return Ok(Vec::new());
            }
            last = Some(refused(name, &output));
        }
        Err(last.unwrap_or_else(|| failed(name, "unknown")))
    }

    async fn agents_pane(&self, name: &str) -> SessionResult<Option<Pane>> {
        let panes = self.panes(name).await?;
        let exists = !panes.is_empty();
        let pane = panes.into_iter().find(|pane| pane.is_agents);
        if exists && pane.is_none() {
            tracing::debug!(session = name, "the session has no pane of an agent");
        }
        Ok(pane)
    }

    async fn live_pane(&self, name: &str) -> SessionResult<Pane> {
        let pane = self.agents_pane(name).await?.filter(Pane::lives);
        pane.ok_or_else(|| failed(name, "there is no such session, or its agent has ended"))
    }

    fn mark_value(&self, name: &str) -> String {
        format!("{}:{name}", self.place.path().display())
    }

    /// Starts the server in a scope of its own, where there are scopes: who starts it decides whose end would end it. Without,
    /// the command that makes the first session starts it.
    async fn start_server(&self) {
        if !self.place.has_no_server() {
            return;
        }
        let Some(scope) = Scope::new(&format!("rig-tmux-{}", self.place.socket)) else { return };
        // An empty server would end at once; the command that makes a session gives it its usual end again.
        let program = self.place.program().args(["start-server", ";", "set-option", "-s", "exit-empty", "off"]);
        match program.in_scope(&scope).run_ok().await {
            Ok(_) => tracing::info!(scope = scope.unit(), "the tmux server has a scope of its own"),
            Err(error) => tracing::warn!(%error, "the tmux server gets no scope"),
        }
    }

    /// Makes the session and writes on it, in the same command, whose it is.
    async fn create(&self, plan: &SessionPlan, name: &str) -> SessionResult<()> {
        self.start_server().await;
        let (rig, attempt_dir) = (self.rig.display().to_string(), plan.attempt_dir.display().to_string());
        let mut new_session = NewSession::new()
            .detached()
            .print()
            .format("#{session_name}")
            .session_name(name)
            .width(COLUMNS)
            .height(ROWS)
            .start_directory("/")
            .build();
        // More than one word is run as it is, by no shell.
        new_session.push_param(&rig).push_param("session-exec").push_param(&attempt_dir);
        let pane = format!("={name}:");
        let (history, attempt) = (HISTORY_LINES.to_string(), plan.attempt.to_string());
        let mut program = self.place.program().arg("start-server");
        for option in [
            ["-g", "history-limit", &history],
            ["-g", "default-terminal", "screen-256color"],
            ["-g", "destroy-unattached", "off"],
            ["-gw", "remain-on-exit", "off"],
            ["-s", "exit-empty", "on"],
        ] {
            program = program.args([";", "set-option"]).args(option);
        }
        program = with(program.arg(";"), &new_session)
            .args([";", "set-option", "-t", &pane, "@rig_run", plan.run.as_str()])
            .args([";", "set-option", "-t", &pane, "@rig_attempt", &attempt])
            .args([";", "set-option", "-p", "-t", &pane, "@rig_agent", "1"]);
        let output = self.run_ok(name, program).await?;
        let made = output.text();
        if made == name { Ok(()) } else { Err(failed(name, &format!("tmux named it `{made}`"))) }
    }

    /// Waits until the pane's process has become the agent, or has said why it could not.
    async fn wait_for_agent(&self, plan: &SessionPlan, name: &str) -> SessionResult<()> {
        let place = LaunchPlace::new(&plan.attempt_dir);
        let deadline = Instant::now() + EXEC_TIMEOUT;
        loop {
            if let Some(message) = place.failure() {
                return Err(SessionError::Unusable { message });
            }
            if place.was_started(&plan.run, plan.attempt) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let limit = EXEC_TIMEOUT.as_secs();
                return Err(failed(name, &format!("the agent was not started within {limit} s")));
            }
            tokio::time::sleep(EXEC_LOOK_INTERVAL).await;
        }
    }

    /// Removes what only a session that runs needs: the push token and the environment of each attempt of the issue.
    fn forget_secrets(&self, session: &SessionName) -> SessionResult<()> {
        let run = Root::at(&self.root).run(&session.project, session.issue);
        launch::forget_secrets(run.path()).map_err(|error| {
            failed(&session.for_tmux(), &format!("secrets in {} cannot be removed: {error}", run.path().display()))
        })
    }

    fn starter(&self, name: &str) -> Starter<'_> {
        Starter {
            agent: self.agent.as_ref(),
            rig: &self.rig,
            root: &self.root,
            mark: (MARK, self.mark_value(name)),
            tmux_socket: &self.place.socket,
        }
    }

    async fn prepare(&self, plan: &SessionPlan, name: &str) -> SessionResult<()> {
        launch::prepare(plan, &self.starter(name))
            .await
            .map_err(|error| failed(name, &format!("{}: {error}", plan.attempt_dir.display())))
    }
}

#[async_trait]
impl Sessions for TmuxSessions {
    async fn start(&self, plan: &SessionPlan) -> SessionResult<()> {
        let name = plan.name.for_tmux();
        if let Some(pane) = self.agents_pane(&name).await?
            && pane.is_of(&plan.run, plan.attempt)
            && pane.lives()
        {
            return self.wait_for_agent(plan, &name).await;
        }
        let place = LaunchPlace::new(&plan.attempt_dir);
        if place.was_started(&plan.run, plan.attempt) {
            // It has run and ended: that is for the look at its liveness to report, and for no second start.
            return Ok(());
        }
        // Also what an earlier agent of this issue left behind outside any session goes, so that there is one at most.
        self.end(&plan.name).await?;
        self.prepare(plan, &name).await?;
        if let Err(error) = self.create(plan, &name).await {
            // The server may have been on its way out with its last session; anything else would fail again.
            if !self.panes(&name).await?.is_empty() {
                return Err(error);
            }
            self.create(plan, &name).await?;
        }
        self.wait_for_agent(plan, &name).await
    }

    async fn liveness(&self, name: &SessionName, run: &RunId, attempt: Attempt) -> SessionResult<Liveness> {
        let pane = self.agents_pane(&name.for_tmux()).await?;
        Ok(match pane {
            Some(pane) if !pane.lives() => Liveness::Gone,
            Some(pane) if pane.is_of(run, attempt) => Liveness::Alive,
            Some(_) => Liveness::Other,
            None => Liveness::Gone,
        })
    }

    async fn screen(&self, name: &SessionName, history: u32) -> SessionResult<String> {
        let name = name.for_tmux();
        let pane = self.live_pane(&name).await?;
        let start = format!("-{}", history.min(SCREEN_HISTORY_LINES));
        let mut capture = CapturePane::new().stdout().join().target_pane(&pane.id);
        if history > 0 {
            capture = capture.start_line(&start);
        }
        let program = with(self.place.program(), &capture.build()).output_cap(SCREEN_BYTES).keep_tail();
        let output = self.run_ok(&name, program).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn set_up(&self, plan: &SessionPlan, set_up: &SetUp) -> SessionResult<SetUpEnd> {
        let name = plan.name.for_tmux();
        // A set-up that a process which was killed has left behind would work against this one.
        self.end(&plan.name).await?;
        setup::run(plan, set_up, &self.starter(&name)).await.map_err(|error| failed(&name, &error))
    }

    fn signals(&self) -> Signals {
        self.agent.signals()
    }

    fn first_line(&self, attempt_dir: &Path) -> Option<String> {
        self.agent.first_line(LaunchPlace::new(attempt_dir).prompt())
    }

    fn known_start(&self, screen: &str) -> Option<&'static str> {
        self.agent.known_start(screen)
    }

    fn prompt_line(&self, screen: &str) -> PromptLine {
        self.agent.prompt_line(screen)
    }

    async fn type_line(&self, name: &SessionName, line: &str) -> SessionResult<()> {
        let name = name.for_tmux();
        if line.chars().any(char::is_control) || line.trim().is_empty() || line.len() > LINE_BYTES {
            return Err(failed(&name, "only one short line without control characters can be typed"));
        }
        let pane = self.live_pane(&name).await?;
        let buffer = format!("rig-{name}-{}", std::process::id());
        let load = LoadBuffer::new().buffer_name(&buffer).path("-").build();
        let paste = PasteBuffer::new().delete().bracket_codes().buffer_name(&buffer).target_pane(&pane.id).build();
        // One command list: nobody's death can come between the text and its Enter. A person who scrolls back holds keys
        // up, so that mode is left first.
        let program = with(self.place.program(), &load).args([";", "copy-mode", "-q", "-t", &pane.id, ";"]);
        let program = with(program, &paste).args([";", "send-keys", "-t", &pane.id, "Enter"]);
        self.run_ok(&name, program.stdin(line)).await.map(drop)
    }

    async fn writer_idle(&self, name: &SessionName) -> SessionResult<Option<Duration>> {
        let name = name.for_tmux();
        let format = "#{client_readonly}|#{client_activity}|#{session_name}";
        let program = self.place.program().args(["list-clients", "-F", format]);
        let output = self.run(&name, program).await?;
        if !output.status.success() {
            return if self.place.has_no_server() { Ok(None) } else { Err(refused(&name, &output)) };
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(output.text().lines().filter_map(|line| writer_since(line, &name)).map(|at| now.saturating_sub(at)).min())
    }

    async fn end(&self, session: &SessionName) -> SessionResult<()> {
        let name = session.for_tmux();
        let panes = self.panes(&name).await?;
        let ids: Vec<i32> = panes.iter().map(|pane| pane.process).collect();
        let mark = format!("{MARK}={}", self.mark_value(&name));
        let mut left = processes::members(&ids, &mark);
        if !panes.is_empty() {
            let kill = KillSession::new().target_session(format!("={name}")).build();
            let output = self.run(&name, with(self.place.program(), &kill)).await?;
            if !output.status.success() && !self.panes(&name).await?.is_empty() {
                return Err(refused(&name, &output));
            }
        }
        let grace = if panes.is_empty() { Duration::ZERO } else { END_GRACE };
        left = processes::wait_for_end(left, grace).await;
        for (signal, grace) in [(Signal::TERM, TERMINATE_GRACE), (Signal::KILL, KILL_GRACE)] {
            // Looked for again each time: what was found may have started more.
            left.extend(processes::members(&[], &mark));
            processes::signal_all(&left, signal);
            left = processes::wait_for_end(left, grace).await;
        }
        left.extend(processes::members(&[], &mark));
        self.forget_secrets(session)?;
        if left.is_empty() { Ok(()) } else { Err(failed(&name, &format!("{} processes do not end", left.len()))) }
    }
}

/// Returns when the person behind a line of `list-clients` did something last, since the epoch, if they may type into
/// this session. Whoever came in by tmux itself, without `-r`, counts as well.
fn writer_since(line: &str, session: &str) -> Option<Duration> {
    let mut fields = line.splitn(3, '|');
    let (read_only, activity, name) = (fields.next()?, fields.next()?, fields.next()?);
    let writes = read_only != "1" && name == session;
    writes.then(|| activity.parse().map_or(Duration::ZERO, Duration::from_secs))
}

/// Adds a built tmux command's words to a program.
fn with(program: Program, command: &TmuxCommand<'_>) -> Program {
    // tmux takes a `;` at the end of a word for the end of a command.
    program.args(command.to_vec().iter().map(|word| match word.strip_suffix(';') {
        Some(start) => format!("{start}\\;"),
        None => word.to_string(),
    }))
}

fn failed(session: &str, message: &str) -> SessionError {
    SessionError::Failed { session: session.to_owned(), message: message.to_owned() }
}

fn refused(session: &str, output: &Output) -> SessionError {
    failed(session, &format!("tmux ended with {}: {}", output.status, output.error_text()))
}
