//! What one attempt needs on disk before tmux is called, and the step that turns the process in the pane into the agent.
//!
//! `env` in the attempt's folder (0600) is one JSON document, `Launch`: `version`, `run`, `attempt`, `program`, `args`,
//! `cwd`, and `env` as pairs. It holds everything that the agent is given, so neither tmux nor any argument list carries it.
//! The push token is not in it: it lies in `push-token`, for the credential helper alone.
//!
//! `started` is written by the pane's process right before it becomes the agent. An attempt that has it is never started
//! again: a repeated start after a lost answer finds the session alive, or leaves it to be reported as gone.

use super::{
    agent::{Agent, Environment, Start},
    credential,
    files::{make_private_folder, read_bounded, remove_if_there, write_private},
    guard, prompt,
};
use crate::{
    adapters::process::Program,
    domain::ids::{Attempt, RunId},
    ports::session::SessionPlan,
};
use serde::{Deserialize, Serialize};
use std::{
    env, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Version of the launch file's format.
const LAUNCH_VERSION: u32 = 1;
/// Largest launch file that is read: a prompt of 100 KiB as an argument, escaped, and the environment.
const LAUNCH_BYTES: u64 = 4 * 1024 * 1024;
/// Largest `started` or `exec-error` that is read: one line, with paths in it.
const NOTE_BYTES: u64 = 64 * 1024;
/// Variables of the starter that reach the agent; everything else is left behind.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "USER", "SHELL", "TMPDIR"];
/// Terminal type inside a pane, when tmux did not say.
const DEFAULT_TERM: &str = "screen-256color";
/// Character set when the starter has none, as under cron: the agent's screen is not ASCII.
const DEFAULT_LANG: &str = "C.UTF-8";

/// The files of one attempt that this module owns, by the names that the rest of rig knows them by.
#[derive(Debug, Clone)]
pub struct LaunchPlace(PathBuf);

impl LaunchPlace {
    pub fn new(attempt_dir: impl Into<PathBuf>) -> Self {
        Self(attempt_dir.into())
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    pub fn env(&self) -> PathBuf {
        self.0.join("env")
    }

    pub fn prompt(&self) -> PathBuf {
        self.0.join("prompt.md")
    }

    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// Returns the file that says what the session is confined to.
    pub fn guard(&self) -> PathBuf {
        self.0.join("guard.json")
    }

    pub fn phase(&self) -> PathBuf {
        self.0.join("phase")
    }

    pub fn phase_log(&self) -> PathBuf {
        self.0.join("phase.log")
    }

    pub fn summary(&self) -> PathBuf {
        self.0.join("summary")
    }

    /// Returns the file of the push token and the remote that it is for.
    pub fn push_token(&self) -> PathBuf {
        self.0.join("push-token")
    }

    /// Returns the file that says which run and attempt became an agent here.
    pub fn started(&self) -> PathBuf {
        self.0.join("started")
    }

    /// Returns the file that says why no agent came of the process in the pane.
    pub fn exec_error(&self) -> PathBuf {
        self.0.join("exec-error")
    }

    /// Returns whether this attempt became an agent once.
    pub(crate) fn was_started(&self, run: &RunId, attempt: Attempt) -> bool {
        let text = read_bounded(&self.started(), NOTE_BYTES);
        text.is_ok_and(|text| text.trim_ascii_end() == started_text(run, attempt).as_bytes())
    }

    /// Returns why the pane's process could not become the agent.
    pub(crate) fn failure(&self) -> Option<String> {
        let text = read_bounded(&self.exec_error(), NOTE_BYTES).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }
}

/// Everything that the agent of one attempt is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    version: u32,
    run: RunId,
    attempt: Attempt,
    program: String,
    args: Vec<String>,
    cwd: PathBuf,
    env: Vec<(String, String)>,
}

/// What every start on this machine has in common.
#[derive(Debug)]
pub(crate) struct Starter<'a> {
    pub(crate) agent: &'a dyn Agent,
    /// Absolute path of rig itself.
    pub(crate) rig: &'a Path,
    pub(crate) root: &'a Path,
    /// `NAME=value` by which processes of the session are found.
    pub(crate) mark: (&'a str, String),
    /// Name of rig's own tmux socket.
    pub(crate) tmux_socket: &'a str,
}

/// Writes the attempt's files. What another run left in the folder is removed first, so that no old phase or answer is
/// taken for one of this attempt.
pub(crate) async fn prepare(plan: &SessionPlan, starter: &Starter<'_>) -> io::Result<()> {
    let place = LaunchPlace::new(&plan.attempt_dir);
    make_private_folder(place.folder())?;
    for stale in [place.exec_error(), place.started(), place.phase(), place.phase_log(), place.summary()] {
        remove_if_there(&stale)?;
    }
    write_private(&place.prompt(), prompt::clean_prompt(&plan.prompt).as_bytes())?;
    credential::write(&place, &plan.remote_url, &plan.push_token)?;
    let env = environment(plan, &place, starter)?;
    let version = match find_program(starter.agent.program(), search_path(&env)) {
        Some(program) => starter.agent.version(&program, &env).await,
        None => None,
    };
    let start = Start { plan, place: &place, rig: starter.rig, environment: &env, version };
    guard::write(plan, &place, starter.rig, starter.root, starter.tmux_socket)?;
    starter.agent.write_files(&start)?;
    let launch = Launch {
        version: LAUNCH_VERSION,
        run: plan.run.clone(),
        attempt: plan.attempt,
        program: starter.agent.program().to_owned(),
        args: starter.agent.arguments(plan, &place),
        cwd: plan.worktree.clone(),
        env,
    };
    write_private(&place.env(), &serde_json::to_vec(&launch)?)
}

fn search_path(environment: &Environment) -> &str {
    environment.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value)
}

/// Removes the push token and the environment of every attempt in a run's folder; one that is not there is success.
pub(crate) fn forget_secrets(run: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(run) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_attempt = entry.file_name().to_string_lossy().starts_with("attempt-");
        if is_attempt && entry.file_type()?.is_dir() {
            let place = LaunchPlace::new(entry.path());
            remove_if_there(&place.push_token())?;
            remove_if_there(&place.env())?;
        }
    }
    Ok(())
}

/// Becomes the agent of an attempt. Returns only when that failed, with the reason, which is also left in `exec-error`.
pub fn exec(attempt_dir: &Path) -> String {
    let place = LaunchPlace::new(attempt_dir);
    let reason = match become_agent(&place) {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    match write_private(&place.exec_error(), format!("{reason}\n").as_bytes()) {
        Ok(()) => reason,
        Err(error) => format!("{reason} (and {} cannot be written: {error})", place.exec_error().display()),
    }
}

fn become_agent(place: &LaunchPlace) -> Result<std::convert::Infallible, String> {
    let path = place.env();
    let content = read_bounded(&path, LAUNCH_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
    let launch: Launch =
        serde_json::from_slice(&content).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
    if launch.version != LAUNCH_VERSION {
        return Err(format!("{} has version {}, this rig knows {LAUNCH_VERSION}", path.display(), launch.version));
    }
    if !launch.cwd.is_dir() {
        return Err(format!("the worktree {} does not exist", launch.cwd.display()));
    }
    let search = search_path(&launch.env);
    let program = find_program(&launch.program, search)
        .ok_or_else(|| format!("the agent's program `{}` is not installed (PATH is `{search}`)", launch.program))?;
    claim(place, &launch)?;
    let term = env::var("TERM").unwrap_or_else(|_| DEFAULT_TERM.to_owned());
    let mut command = Program::new(program).args(launch.args).cwd(launch.cwd).clear_env().env("TERM", term);
    for (name, value) in launch.env {
        command = command.env(name, value);
    }
    let error = command.exec();
    let _ = remove_if_there(&place.started());
    Err(error.to_string())
}

/// Takes the attempt for this process; a second one finds it taken.
fn claim(place: &LaunchPlace, launch: &Launch) -> Result<(), String> {
    let path = place.started();
    let temporary = place.folder().join(format!(".started.{}.new", std::process::id()));
    let text = started_text(&launch.run, launch.attempt);
    write_private(&temporary, text.as_bytes()).map_err(|error| format!("{}: {error}", temporary.display()))?;
    // A hard link appears whole, and only if there is none yet.
    let claimed = std::fs::hard_link(&temporary, &path);
    let _ = remove_if_there(&temporary);
    claimed.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => "this attempt was started before".to_owned(),
        _ => format!("{}: {error}", path.display()),
    })
}

fn started_text(run: &RunId, attempt: Attempt) -> String {
    format!("{run} {attempt}")
}

/// Returns the agent's environment: what it may inherit, what the plan adds, what its kind wants, and then rig's own, which
/// nothing can override.
pub(crate) fn environment(
    plan: &SessionPlan,
    place: &LaunchPlace,
    starter: &Starter<'_>,
) -> io::Result<Vec<(String, String)>> {
    let mut environment: Vec<(String, String)> = Vec::new();
    set(&mut environment, "LANG", DEFAULT_LANG.to_owned());
    for name in INHERITED {
        if let Ok(value) = env::var(name) {
            set(&mut environment, name, value);
        }
    }
    for (name, value) in &plan.env {
        set(&mut environment, name, value.clone());
    }
    for (name, value) in starter.agent.environment(&environment, starter.root)? {
        set(&mut environment, &name, value);
    }
    let text = |path: &Path| path.display().to_string();
    for (name, value) in [
        (starter.mark.0, starter.mark.1.clone()),
        ("RIG_ROOT", text(starter.root)),
        ("RIG_PROJECT", plan.name.project.to_string()),
        ("RIG_ISSUE", plan.name.issue.0.to_string()),
        ("RIG_RUN", plan.run.to_string()),
        ("RIG_ATTEMPT", plan.attempt.to_string()),
        ("RIG_HOOKS_FILE", text(&plan.hooks_file)),
        ("PHASE_FILE", text(&place.phase())),
        ("SUMMARY_FILE", text(&place.summary())),
    ] {
        set(&mut environment, name, value);
    }
    for (name, value) in credential::git_environment(starter.rig, place.folder(), &plan.remote_url) {
        set(&mut environment, &name, value);
    }
    let path = environment.iter_mut().find(|(name, _)| name == "PATH");
    if let (Some((_, path)), Some(folder)) = (path, starter.rig.parent()) {
        // Last, so that `rig phase set` works without hiding any program of the user's.
        *path = format!("{path}:{}", folder.display());
    }
    Ok(environment)
}

/// Sets a variable; of several of one name the last one counts.
fn set(environment: &mut Vec<(String, String)>, name: &str, value: String) {
    match environment.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => entry.1 = value,
        None => environment.push((name.to_owned(), value)),
    }
}

/// Finds a program as a shell would, in the agent's own PATH.
fn find_program(name: &str, search: &str) -> Option<PathBuf> {
    let runnable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runnable(path));
    }
    search
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(name))
        .find(|path| runnable(path))
}
