//! `rig phase test`: runs the phase protocol through on this machine, with a real tmux server of its own, the real watch,
//! and the stand-in as the agent. Everything lies in a temporary folder and ends with the command.

use crate::{
    adapters::{
        phase_watch::{
            PhaseWatch,
            file::{read_phase, read_phase_log},
        },
        session::{ClaudeAgent, TmuxPlace, TmuxSessions, hooks::read_hooks},
    },
    commands::CommandResult,
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, RunId},
        phase::{Phase, PhaseText},
    },
    output::{Exit, Failure, Printer},
    ports::session::{GuardPlan, HookKind, Liveness, PromptLine, SessionName, SessionPlan, Sessions},
};
use secrecy::SecretString;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Time that each step may take on a busy machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two looks at what no watch tells of.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const ATTEMPT: Attempt = Attempt(1);
/// The made-up run of the test.
const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const AGENT_SESSION: &str = "00000000-0000-4000-8000-000000000001";
const MESSAGE: &str = "Go on; this line holds $(nothing) `special`, \"quotes\" and ü";

const INSTALL_TMUX: &str = "install tmux with your package manager, such as `apt-get install tmux`";
const LOOK_AT_TMUX: &str =
    "check that tmux starts by hand (`tmux new-session`), and that the temporary folder can be written";
const LOOK_AT_HOOKS: &str = "the agent's hooks call this binary: check that its path can be executed by `sh`";
const LOOK_AT_FILES: &str = "check that the temporary folder is on a local disk with space; rig falls back to polling";
const LOOK_AT_PASTE: &str = "tmux 3.2 or newer is needed for pastes in brackets; `tmux -V` says which one this is";
const LOOK_AT_PROCESSES: &str = "processes could not be ended: look for them with `ps -ef`";

type Step = Result<String, String>;

/// Prints each step as it is done.
struct Report {
    printer: Printer,
    failed: u32,
}

impl Report {
    /// Prints a step. Returns `None` when it failed, so that `?` leaves out those that build on it.
    fn step(&mut self, name: &str, remedy: &str, step: Step) -> Option<()> {
        let (ok, detail) = match step {
            Ok(detail) => (true, detail),
            Err(why) => (false, why),
        };
        let word = if ok { self.printer.paint(32, "ok    ") } else { self.printer.paint(31, "FAILED") };
        let shown = if detail.is_empty() { String::new() } else { format!("  ({detail})") };
        self.printer.line(format!("{word}  {name}{shown}"));
        if !ok {
            self.failed += 1;
            self.printer.line(format!("        {remedy}"));
        }
        let remedy = if ok { "" } else { remedy };
        self.printer.json(&json!({ "check": name, "ok": ok, "detail": detail, "remedy": remedy }));
        ok.then_some(())
    }
}

/// The temporary root and its session.
struct Stage {
    folder: PathBuf,
    sessions: TmuxSessions,
    plan: SessionPlan,
}

pub(super) async fn run(printer: Printer) -> CommandResult {
    let folder = tempfile::tempdir().map_err(|error| Failure::outside(format!("no temporary folder: {error}")))?;
    let stage = Stage::new(folder.path())?;
    let mut report = Report { printer, failed: 0 };
    if steps(&mut report, &stage).await.is_none() {
        // What was started ends in any case; that it did was a step of its own where all went well.
        let _ = stage.sessions.end(&stage.plan.name).await;
    }
    let _ = stage.sessions.end_server().await;
    if report.failed > 0 {
        return Err(Failure::outside("the phase protocol does not work on this machine"));
    }
    Ok(Exit::Ok)
}

async fn steps(report: &mut Report, stage: &Stage) -> Option<()> {
    let version = stage.sessions.version().await.map_err(|error| error.to_string());
    report.step("tmux is installed", INSTALL_TMUX, version)?;
    let mut watch = PhaseWatch::new();
    watch.add(&stage.folder);
    fs::create_dir_all(&stage.plan.attempt_dir).ok()?;
    watch.add(&stage.plan.attempt_dir);
    let watched = watch.trouble().map_or(Ok(String::new()), |trouble| Err(trouble.to_owned()));
    // Not the end: without a watch rig is slower and still right.
    report.step("files can be watched", LOOK_AT_FILES, watched);
    report.step("a session starts", LOOK_AT_TMUX, stage.start().await)?;
    report.step(
        "a phase that the agent writes is seen",
        LOOK_AT_FILES,
        stage.phase(&mut watch, Phase::AwaitingCi).await,
    )?;
    report.step("the agent's hooks tell of its turn", LOOK_AT_HOOKS, stage.turns(&mut watch, 1).await)?;
    report.step("a message is submitted once and exactly", LOOK_AT_PASTE, stage.message(&mut watch).await)?;
    report.step("`rig phase set` works and loses no phase", LOOK_AT_FILES, stage.logged(&mut watch).await)?;
    report.step("a crash is seen", LOOK_AT_TMUX, stage.crash().await)?;
    report.step("nothing is left of an ended session", LOOK_AT_PROCESSES, stage.end().await)
}

impl Stage {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let internal = |error: std::io::Error| Failure::outside(format!("{}: {error}", folder.display()));
        let rig = std::env::current_exe().map_err(internal)?;
        for name in ["tmux", "worktree"] {
            fs::create_dir(folder.join(name)).map_err(internal)?;
        }
        let script = folder.join("script.json");
        fs::write(&script, script_text().to_string()).map_err(internal)?;
        let name = ProjectName::new("phase-test").map_err(Failure::internal)?;
        let text = |path: &Path| path.display().to_string();
        let plan = SessionPlan {
            name: SessionName { project: name, issue: IssueNumber(1) },
            run: RunId::new(RUN).map_err(Failure::internal)?,
            attempt: ATTEMPT,
            worktree: folder.join("worktree"),
            attempt_dir: folder.join("attempt-1"),
            hooks_file: folder.join("hooks.jsonl"),
            prompt: "Write a phase".to_owned(),
            agent_session: AGENT_SESSION.to_owned(),
            resume: false,
            env: vec![
                ("CLAUDE_CONFIG_DIR".to_owned(), text(&folder.join("agent"))),
                ("RIG_STAND_IN_SCRIPT".to_owned(), text(&script)),
                ("RIG_PROGRAM".to_owned(), text(&rig)),
            ],
            push_token: SecretString::from(String::new()),
            remote_url: String::new(),
            guard: GuardPlan {
                branch: "phase-test".to_owned(),
                primary_branch: "main".to_owned(),
                ..GuardPlan::default()
            },
        };
        let place = TmuxPlace { socket: "rig-phase-test".to_owned(), folder: Some(folder.join("tmux")) };
        let agent = ClaudeAgent { command: text(&rig), args: vec!["stand-in".to_owned()], model: None };
        let sessions = TmuxSessions::new(place, rig, folder.to_owned(), agent);
        Ok(Self { folder: folder.to_owned(), sessions, plan })
    }

    fn hooks(&self) -> Vec<HookKind> {
        let events = read_hooks(&self.plan.hooks_file, 0, &self.plan.run, Some(ATTEMPT)).unwrap_or_default().events;
        events.into_iter().map(|event| event.kind).collect()
    }

    async fn start(&self) -> Step {
        let began = Instant::now();
        self.sessions.start(&self.plan).await.map_err(|error| error.to_string())?;
        Ok(format!("{} ms", began.elapsed().as_millis()))
    }

    async fn phase(&self, watch: &mut PhaseWatch, phase: Phase) -> Step {
        let path = self.plan.attempt_dir.join("phase");
        let shows = || matches!(read_phase(&path), Some(seen) if matches!(&seen.content, PhaseText::Report(r) if r.phase == phase));
        told(watch, shows).await?;
        let written = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        let age = written.and_then(|time| time.elapsed().ok()).unwrap_or_default();
        Ok(format!("{} after {:.1} ms", phase, age.as_secs_f64() * 1_000.0))
    }

    async fn turns(&self, watch: &mut PhaseWatch, wanted: usize) -> Step {
        let ended = || self.hooks().iter().filter(|kind| matches!(kind, HookKind::TurnEnded { .. })).count();
        told(watch, || ended() >= wanted).await?;
        Ok(format!("{} events", self.hooks().len()))
    }

    async fn message(&self, watch: &mut PhaseWatch) -> Step {
        self.ready().await?;
        self.sessions.type_line(&self.plan.name, MESSAGE).await.map_err(|error| error.to_string())?;
        self.turns(watch, 2).await?;
        let is_prompt = |kind: &HookKind| matches!(kind, HookKind::PromptTaken { prompt } if prompt == MESSAGE);
        match self.hooks().iter().filter(|kind| is_prompt(kind)).count() {
            1 => Ok(String::new()),
            count => Err(format!("the agent took it {count} times")),
        }
    }

    async fn ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let screen = self.sessions.screen(&self.plan.name, 0).await.map_err(|error| error.to_string())?;
            if self.sessions.prompt_line(&screen) == PromptLine::Empty {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the agent showed no empty input line".to_owned());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn logged(&self, watch: &mut PhaseWatch) -> Step {
        let phases = || -> Vec<Phase> {
            let lines = read_phase_log(&self.plan.attempt_dir.join("phase.log"), 0).unwrap_or_default();
            lines.into_iter().map(|line| line.report.phase).collect()
        };
        let wanted = [Phase::AwaitingReview, Phase::Escalate];
        told(watch, || phases() == wanted).await.map_err(|why| format!("{why}; the log has {:?}", phases()))?;
        self.phase(watch, Phase::Escalate).await
    }

    async fn crash(&self) -> Step {
        self.ready().await?;
        self.sessions.type_line(&self.plan.name, "crash").await.map_err(|error| error.to_string())?;
        let deadline = Instant::now() + STEP_TIMEOUT;
        while self.liveness().await? != Liveness::Gone {
            if Instant::now() > deadline {
                return Err("the session still counts as alive".to_owned());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(String::new())
    }

    async fn liveness(&self) -> Result<Liveness, String> {
        let liveness = self.sessions.liveness(&self.plan.name, &self.plan.run, ATTEMPT).await;
        liveness.map_err(|error| error.to_string())
    }

    async fn end(&self) -> Step {
        self.sessions.end(&self.plan.name).await.map_err(|error| error.to_string())?;
        Ok(String::new())
    }
}

/// Looks whenever the watch tells to, until `holds`.
async fn told(watch: &mut PhaseWatch, holds: impl Fn() -> bool) -> Result<(), String> {
    let waiting = async {
        while !holds() {
            watch.changed().await;
        }
    };
    let limit = STEP_TIMEOUT.as_secs();
    tokio::time::timeout(STEP_TIMEOUT, waiting).await.map_err(|_| format!("nothing was seen within {limit} s"))
}

/// What the agent does: a phase by `echo`, two by `rig phase set` at once, and a crash that leaves a process behind.
fn script_text() -> serde_json::Value {
    let set =
        "\"$RIG_PROGRAM\" phase set awaiting_review && \"$RIG_PROGRAM\" phase set escalate --reason 'only a test'";
    json!({ "version": 1, "rules": [
        { "turn": 1, "actions": [{ "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" }] },
        { "turn": 2, "actions": [{ "run": set }] },
        { "turn": 3, "actions": [{ "run": "setsid sleep 600 &" }, "kill"] },
    ]})
}
