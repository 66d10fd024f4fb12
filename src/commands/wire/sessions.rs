//! Connects a project with its agent's sessions, and a root with all of them.

use crate::{
    adapters::session::{
        claude::ClaudeAgent,
        command::CommandAgent,
        processes,
        tmux::{TmuxPlace, TmuxSessions},
    },
    config::{
        Root,
        settings::{AgentKind, Project},
    },
    output::Failure,
    ports::session::SessionError,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Time for what runs in a root that is about to go, to end by itself once its terminal is gone.
const GRACE: Duration = Duration::from_secs(1);

/// Returns the name of the root's own tmux socket.
pub fn tmux_socket(root: &Root) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(root.path().as_os_str().as_encoded_bytes());
    format!("rig-{}", hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Returns the root's sessions, to look at and to end; to start one takes a project.
pub fn any_sessions(root: &Root) -> TmuxSessions {
    let rig = std::env::current_exe().unwrap_or_default();
    TmuxSessions::new(TmuxPlace::named(tmux_socket(root)), rig, root.path().to_owned(), ClaudeAgent::default())
}

/// Connects to tmux with the project's kind of agent.
pub(super) fn sessions(root: &Root, project: &Project, rig: PathBuf) -> Result<TmuxSessions, Failure> {
    let (place, folder) = (TmuxPlace::named(tmux_socket(root)), root.path().to_owned());
    let (command, args) = (project.agent.command.clone(), project.agent.args.clone());
    Ok(match &project.agent.kind {
        AgentKind::Claude => {
            TmuxSessions::new(place, rig, folder, ClaudeAgent { command, args, model: project.agent.model.clone() })
        }
        AgentKind::Command { ready_pattern, idle_time } => {
            let ready = CommandAgent::pattern(ready_pattern)
                .map_err(|error| Failure::user(error).context(format!("project {}", project.name)))?;
            TmuxSessions::new(place, rig, folder, CommandAgent { command, args, ready, quiet: *idle_time })
        }
    })
}

/// Ends whatever was started for a root that is about to go: its tmux server, then every process that has the root in its
/// environment. Returns how many do not end.
pub async fn end_all(root: &Root) -> Result<usize, SessionError> {
    any_sessions(root).end_server().await?;
    let mark = format!("RIG_ROOT={}", root.path().display());
    Ok(processes::end_marked(&mark, GRACE).await)
}

/// Returns what is missing on this machine for working on issues: tmux, git, or the project's agent.
pub fn missing_programs(project: &Project) -> Option<Failure> {
    let agent = project.agent.command.as_str();
    let hint = |program: &str| match program {
        "tmux" | "git" => format!("install it: apt-get install {program}"),
        _ => format!("install it, or name another program in [agent] command of {}.toml", project.name),
    };
    ["git", "tmux", agent]
        .into_iter()
        .find(|program| !is_installed(program))
        .map(|program| Failure::user(format!("`{program}` is not installed")).hint(hint(program)))
}

/// Returns whether a program is on the PATH, or there when it is a path.
pub fn is_installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Returns the folder of the agent's own files, as the agent itself finds it unless rig lends it another.
pub(super) fn agents_folder(project: &Project) -> PathBuf {
    let given = |name: &str| {
        let value = project.agent.env.iter().find(|(known, _)| known == name);
        value.map(|(_, value)| PathBuf::from(secrecy::ExposeSecret::expose_secret(value)))
    };
    let home = || given("HOME").or_else(|| std::env::var_os("HOME").map(PathBuf::from)).unwrap_or_default();
    given("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home().join(".claude"))
}
