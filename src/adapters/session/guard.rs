//! The guard inside a session: what it is confined to is written down once for each attempt (`guard.json`, 0600), and
//! `rig hook pre-tool-use FILE` judges each use of a tool by it, with one small file read and nothing else of rig loaded.
//!
//! Whatever goes wrong refuses: a file that is missing or garbled, a payload that makes no sense, a judgement that does not
//! end. The command that is registered refuses too when rig itself is not there, crashes, or hangs.

use super::{
    files::{read_bounded, shell_quote, write_private},
    hooks::Reporter,
    launch::LaunchPlace,
    processes,
};
use crate::{
    adapters::shell_parse,
    domain::guard::{
        Confines, GUARD_VERSION, Surroundings, ToolUse, Verdict, judge_tool,
        tree::{Node, Unreadable},
    },
    ports::session::SessionPlan,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env, io,
    io::Read,
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// The event's name on the command line.
pub const EVENT: &str = "pre-tool-use";
/// Time after which a judgement refuses; it takes milliseconds, and the agent waits for it.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds after which the registered command ends a rig that does not even end itself, and those until it is killed.
const HANG_SECS: u32 = 8;
const KILL_SECS: u32 = 1;
/// Seconds that the agent waits for the hook; beyond them it would go on as if nothing had been said.
const HOOK_TIMEOUT_SECS: u32 = 60;
const FILE_BYTES: u64 = 256 * 1024;
/// Most of a file of git's references, and of the names of hosts, that is read; they grow with the repository.
const REFERENCES_BYTES: u64 = 16 * 1024 * 1024;
/// Largest payload: a file of several megabytes that the agent writes, escaped.
const PAYLOAD_BYTES: u64 = 32 * 1024 * 1024;
/// Most links followed in one path, as the kernel does.
const LINKS: usize = 40;

/// Returns the registration of the guard for an agent's settings: for every tool, so that none that comes later is missed.
pub fn registration(rig: &Path, place: &LaunchPlace) -> Value {
    let quoted = |path: &Path| shell_quote(&path.display().to_string());
    let call = format!("{} hook {EVENT} {}", quoted(rig), quoted(&place.guard()));
    // `timeout` answers 124 or 137, and a shell 127 where it is not installed: all of them refuse.
    let command = format!("timeout -k {KILL_SECS} {HANG_SECS} {call} || exit 2");
    json!([{ "hooks": [{ "type": "command", "command": command, "timeout": HOOK_TIMEOUT_SECS }] }])
}

/// Writes down what the session is confined to.
pub(crate) fn write(
    plan: &SessionPlan,
    place: &LaunchPlace,
    rig: &Path,
    root: &Path,
    tmux_socket: &str,
) -> io::Result<()> {
    let mut writable = vec![place.phase(), place.summary()];
    writable.extend(plan.guard.writable.iter().cloned());
    let confines = Confines {
        version: GUARD_VERSION,
        worktree: plan.worktree.clone(),
        branch: plan.guard.branch.clone(),
        primary_branch: plan.guard.primary_branch.clone(),
        forge_url: plan.guard.forge_url.clone(),
        root: root.to_owned(),
        rig: rig.to_owned(),
        tmux_socket: tmux_socket.to_owned(),
        writable,
        policy: plan.guard.policy.clone(),
    };
    write_private(&place.guard(), &serde_json::to_vec(&confines)?)
}

/// Judges the use of a tool that `payload` tells of. Returns why it is refused, or nothing. A refusal is put on record.
pub fn refusal(file: &Path, payload: impl Read) -> Option<String> {
    let mut content = Vec::new();
    let read = payload.take(PAYLOAD_BYTES + 1).read_to_end(&mut content);
    let payload: Option<Value> = serde_json::from_slice(&content).ok();
    let reason = match (read, &payload) {
        (Ok(_), Some(payload)) if content.len() as u64 <= PAYLOAD_BYTES => judged(file, payload),
        _ => Some("rig's guard cannot read what the agent is about to do, so it refuses it.".to_owned()),
    };
    if let Some(reason) = &reason {
        record(&payload.unwrap_or_default(), reason);
    }
    reason
}

fn judged(file: &Path, payload: &Value) -> Option<String> {
    let confines = match load(file) {
        Ok(confines) => confines,
        Err(error) => {
            return Some(format!(
                "rig's guard cannot read {}: {error}. Everything is refused until it is there again: stop, and report the \
                 phase escalate.",
                file.display()
            ));
        }
    };
    let input = &payload["tool_input"];
    let folder = payload["cwd"].as_str().map_or_else(|| confines.worktree.clone(), PathBuf::from);
    let (Some(tool), true) = (payload["tool_name"].as_str(), input.is_object() && folder.is_absolute()) else {
        return Some("rig's guard does not understand which tool is used, so it refuses it.".to_owned());
    };
    for name in ["command", "file_path", "notebook_path"] {
        if !matches!(input[name], Value::Null | Value::String(_)) {
            return Some(format!("rig's guard does not understand the {name} of {tool}, so it refuses it."));
        }
    }
    let files = ["file_path", "notebook_path"].iter().filter_map(|name| input[*name].as_str()).collect();
    let (command, isolation) = (input["command"].as_str(), input["isolation"].as_str());
    let tool = ToolUse { tool, folder: &folder, command, files, isolation };
    match judge_tool(&tool, &confines, &Here::new()) {
        Verdict::Allow => None,
        Verdict::Deny(refusal) => Some(format!("rig refuses this: {}", refusal.reason)),
    }
}

fn load(file: &Path) -> Result<Confines, String> {
    let content = read_bounded(file, FILE_BYTES).map_err(|error| error.to_string())?;
    let confines: Confines = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    if confines.version != GUARD_VERSION {
        return Err(format!("it has version {}, this rig knows {GUARD_VERSION}", confines.version));
    }
    Ok(confines)
}

/// Returns what tells the agent's program that a use of a tool is refused.
pub fn answer(reason: &str) -> String {
    let decision = json!({
        "hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason,
    });
    json!({ "hookSpecificOutput": decision }).to_string()
}

/// A refusal is put among the run's lifecycle events; that this fails changes nothing about the refusal.
fn record(payload: &Value, reason: &str) {
    let Some(reporter) = Reporter::from_env() else { return };
    let input = &payload["tool_input"];
    let what = ["command", "file_path", "notebook_path"].iter().find_map(|name| input[*name].as_str());
    // Cut to size by the record itself, once its secrets are out.
    let what = what.unwrap_or_default();
    let line = json!({ "session_id": payload["session_id"], "message": what, "reason": reason });
    let _ = reporter.append("PreToolUse", &line, Timestamp::now());
}

/// This machine, as far as the judge asks about it.
#[derive(Debug)]
pub struct Here {
    variables: BTreeMap<String, String>,
    mark: Option<String>,
    /// Where this machine keeps names of hosts.
    hosts: PathBuf,
}

impl Here {
    fn new() -> Self {
        let variables: BTreeMap<String, String> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::with(variables)
    }

    /// Returns this machine with other variables than this process has.
    pub fn with(variables: BTreeMap<String, String>) -> Self {
        let mark = variables.get(processes::MARK).map(|value| format!("{}={value}", processes::MARK));
        Self { variables, mark, hosts: PathBuf::from("/etc/hosts") }
    }

    /// Returns it with another table of hosts.
    pub fn with_hosts(self, hosts: PathBuf) -> Self {
        Self { hosts, ..self }
    }
}

impl Surroundings for Here {
    fn parse(&self, text: &str) -> Result<Node, Unreadable> {
        shell_parse::parse(text)
    }

    fn real_path(&self, path: &Path, follow_last: bool) -> PathBuf {
        resolve(path, follow_last, &mut 0)
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn current_branch(&self, folder: &Path) -> Option<String> {
        let head = read_text(&git_folder(folder)?.join("HEAD"))?;
        head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned)
    }

    fn has_branch(&self, folder: &Path, name: &str) -> bool {
        let Some(git) = git_folder(folder) else { return false };
        let shared = read_text(&git.join("commondir")).map_or_else(|| git.clone(), |common| git.join(common.trim()));
        let packed = read_text(&shared.join("packed-refs")).unwrap_or_default();
        ["refs/heads", "refs/tags"].iter().any(|kind| {
            let full = format!("{kind}/{name}");
            let is_loose = !name.contains("..") && shared.join(&full).is_file();
            is_loose || packed.lines().any(|line| line.split_once(' ').is_some_and(|(_, packed)| packed == full))
        })
    }

    fn same_host(&self, one: &str, other: &str) -> bool {
        let hosts = read_text(&self.hosts).unwrap_or_default();
        let (one, other) = (addresses(&hosts, one), addresses(&hosts, other));
        one.iter().any(|address| other.contains(address))
    }

    fn is_own_process(&self, id: u32) -> bool {
        let Ok(id) = i32::try_from(id) else { return false };
        // The agent itself carries the mark too, and its hooks know its id.
        let agent = self.variables.get("CLAUDE_PID").and_then(|agent| agent.parse().ok());
        agent != Some(id) && self.mark.as_deref().is_some_and(|mark| processes::carries(id, mark))
    }

    fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(read_bounded(path, REFERENCES_BYTES).ok()?).ok()
}

/// Returns the folder of git's own files for a checkout.
fn git_folder(folder: &Path) -> Option<PathBuf> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|git| git.symlink_metadata().is_ok())?;
    if git.is_dir() {
        return Some(git);
    }
    let link = read_text(&git)?;
    Some(git.parent()?.join(link.trim().strip_prefix("gitdir:")?.trim()))
}

/// Returns the addresses that a table of hosts gives a name, and the name itself, which may be one.
fn addresses(hosts: &str, name: &str) -> Vec<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut found = vec![name.to_ascii_lowercase()];
    for line in lines {
        let mut words = line.split_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) {
            found.push(address.to_ascii_lowercase());
        }
    }
    found
}

/// Follows the links of an absolute path; after as many as the kernel follows the rest is taken as it stands.
fn resolve(path: &Path, follow_last: bool, links: &mut usize) -> PathBuf {
    let mut real = PathBuf::from("/");
    let parts: Vec<Component<'_>> = path.components().collect();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => {
                real.push(name);
                let follow = follow_last || index + 1 < parts.len();
                while follow
                    && *links < LINKS
                    && let Ok(target) = std::fs::read_link(&real)
                {
                    *links += 1;
                    real.pop();
                    // Canonical where it exists; else what it would lead to.
                    real = std::fs::canonicalize(real.join(&target))
                        .unwrap_or_else(|_| resolve(&real.join(&target), false, links));
                }
            }
            _ => {}
        }
    }
    real
}
