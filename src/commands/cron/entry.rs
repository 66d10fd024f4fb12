//! What is to stand in the crontab for a root: a line that needs nothing of cron's own environment but HOME.

use super::super::wire;
use crate::{
    config::{Root, settings::Project},
    domain::crontab::{LONGEST_COMMAND, minutes, quoted},
    output::Failure,
};
use sha2::{Digest, Sha256};
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where programs are on every machine; at the end of the PATH whatever the present one is.
const STANDARD: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// Where the locks are: it must not differ from that of a call by hand, since they exclude each other through the locks.
const LOCKS_BELOW: &str = "XDG_STATE_HOME";

/// Lines for the crontab.
pub(super) struct Entry {
    pub(super) lines: Vec<String>,
    /// Programs that are needed and not found.
    pub(super) missing: Vec<String>,
}

/// Makes a root's lines, with this environment's PATH.
pub(super) fn entry(root: &Root, projects: &[Project]) -> Result<Entry, Failure> {
    let mut programs = vec!["git", "tmux", "setsid"];
    programs.extend(projects.iter().filter(|project| project.enabled).map(|project| project.agent.command.as_str()));
    programs.sort_unstable();
    programs.dedup();
    let rig = called_as(&wire::this_program()?);
    let present = folders_of_path();
    let (whole, needed) = (path(present.clone())?, path(needed_folders(&present, &rig, &programs))?);
    // The agent finds under cron what it finds now, unless that is more than cron takes.
    let command = match command(root, &rig, &whole)? {
        command if command.len() <= LONGEST_COMMAND => command,
        _ => command(root, &rig, &needed)?,
    };
    if command.len() > LONGEST_COMMAND {
        return Err(Failure::user(format!(
            "the line for cron would be {} bytes long, more than the {LONGEST_COMMAND} that cron takes",
            command.len()
        ))
        .hint("call this with a shorter PATH, or move the root to a shorter path"));
    }
    let missing = programs.into_iter().filter(|program| !wire::is_installed(program)).map(str::to_owned).collect();
    let lines = vec![
        "# One tick of rig's dev loop every ten minutes. rig cron install renews these lines, rig cron remove takes them away."
            .to_owned(),
        format!("{} * * * * {command}", minutes(number_of(root))),
    ];
    Ok(Entry { lines, missing })
}

/// `env` sets the variables, so that it does not matter which shell cron is told to use.
fn command(root: &Root, rig: &Path, path: &str) -> Result<String, Failure> {
    let mut words = vec!["/usr/bin/env".to_owned(), format!("PATH={path}")];
    if let Some(folder) = env::var_os(LOCKS_BELOW).filter(|folder| Path::new(folder).is_absolute()) {
        words.push(format!("{LOCKS_BELOW}={}", text(folder)?));
    }
    words.extend([format!("RIG_ROOT={}", text(root.path())?), text(rig)?]);
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    Ok(format!("{} dev poll >>{} 2>&1", words.join(" "), quoted(&text(root.cron_log())?)))
}

/// Returns a path as a line of a crontab can hold it.
pub(super) fn text(path: impl AsRef<OsStr>) -> Result<String, Failure> {
    let path = path.as_ref();
    path.to_str().filter(|text| !text.contains(['\n', '\r', '\0'])).map(str::to_owned).ok_or_else(|| {
        Failure::user(format!("a crontab cannot hold the path {}", path.to_string_lossy().escape_debug()))
            .hint("use a path of plain text without line breaks")
    })
}

/// Returns the absolute folders of the present PATH that exist, each once.
fn folders_of_path() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        if folder.is_absolute() && folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// Returns the folders where the programs are found now, in the order of the PATH.
fn needed_folders(present: &[PathBuf], rig: &Path, programs: &[&str]) -> Vec<PathBuf> {
    let found_in = |program: &&str| present.iter().find(|folder| folder.join(program).is_file());
    let used: Vec<&PathBuf> = programs.iter().filter_map(found_in).collect();
    present.iter().filter(|folder| used.contains(folder) || rig.parent() == Some(folder.as_path())).cloned().collect()
}

fn path(mut folders: Vec<PathBuf>) -> Result<String, Failure> {
    for folder in STANDARD.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let joined =
        env::join_paths(&folders).map_err(|error| Failure::user(format!("the PATH cannot be written: {error}")))?;
    text(joined)
}

/// Returns the path by which rig is found on the PATH, when that leads to this very program: it stays when an update puts
/// another program behind it.
fn called_as(this: &Path) -> PathBuf {
    let found = folders_of_path().into_iter().map(|folder| folder.join("rig")).find(|path| path.is_file());
    let is_this =
        |path: &PathBuf| path.canonicalize().is_ok_and(|real| this.canonicalize().is_ok_and(|this| this == real));
    found.filter(is_this).unwrap_or_else(|| this.to_owned())
}

/// Returns a number that differs between roots and hosts, so that they do not all call one forge at the same minute.
fn number_of(root: &Root) -> u64 {
    let mut hash = Sha256::new();
    hash.update(wire::host().as_bytes());
    hash.update([0]);
    hash.update(root.path().as_os_str().as_encoded_bytes());
    hash.finalize().iter().take(4).fold(0, |number, byte| number * 256 + u64::from(*byte))
}
