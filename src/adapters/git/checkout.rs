//! Clean checkouts of one commit, for CI: a repository without any remote that borrows its objects from `rig.git`. A folder's
//! name says which process made it, so that those of dead ones can be told and cleared, with whatever still runs in them.

use super::{
    GitWorkspace,
    command::{failed, local, run_local},
    repositories::{make_folder, write},
    stale,
};
use crate::{domain::ids::Sha, ports::workspace::WorkspaceResult};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Environment variable that names the checkout to whatever runs in it; processes of a dead CI run are found by it.
pub const CHECKOUT_VARIABLE: &str = "RIG_CHECKOUT";

impl GitWorkspace {
    pub(super) async fn check_out(&self, commit: &Sha) -> WorkspaceResult<PathBuf> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let checkouts = self.plan.git_dir.join("checkouts");
        make_folder(&checkouts)?;
        let dead = checkouts.clone();
        let _ = tokio::task::spawn_blocking(move || clear_dead(&dead)).await;
        self.ensure_commit(commit).await?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = checkouts.join(format!("{}.{}.{count}", commit.short(), owner()));
        let made = self.fill(&path, commit).await;
        if made.is_err() {
            let half_made = path.clone();
            let _ = tokio::task::spawn_blocking(move || stale::delete(&half_made)).await;
        }
        made.map(|()| path)
    }

    /// Fetches a commit unless it is here: with the branches of the forge, or else by its name alone.
    async fn ensure_commit(&self, commit: &Sha) -> WorkspaceResult<()> {
        let _rig = self.lock_rig().await?;
        self.ensure_rig().await?;
        if self.has_commit(commit).await? {
            return Ok(());
        }
        self.fetch_locked().await?;
        self.fetch_commit_locked(commit).await
    }

    /// Fetches a commit by its name alone unless it is here, for who holds the lock of `rig.git`.
    pub(super) async fn fetch_commit_locked(&self, commit: &Sha) -> WorkspaceResult<()> {
        if self.has_commit(commit).await? {
            return Ok(());
        }
        let what = format!("fetching commit {commit} from {}", self.remote.url());
        self.fetch_refs(&what, self.plan.network_timeout, &[&format!("+{commit}:refs/rig/ci/{commit}")]).await
    }

    async fn fill(&self, path: &Path, commit: &Sha) -> WorkspaceResult<()> {
        let git = path.join(".git");
        make_folder(path)?;
        let what = format!("checking out {} in {}", commit.short(), path.display());
        run_local(what.as_str(), local(&git).args(["init", "--quiet", "--template=", "--initial-branch=ci"]).cwd(path))
            .await?;
        make_folder(&git.join("objects/info"))?;
        write(&git.join("objects/info/alternates"), &format!("{}\n", self.rig_git().join("objects").display()))?;
        let check_out =
            local(&git).env("GIT_WORK_TREE", path).cwd(path).args(["checkout", "--quiet", "--force", "--detach"]);
        run_local(what.as_str(), check_out.arg(commit.as_str())).await?;
        let head = self.resolve(&git, "HEAD").await?;
        if head.as_ref() == Some(commit) { Ok(()) } else { Err(failed(what, "HEAD is another commit")) }
    }
}

/// Returns this process as `PID-START`: process ids are used again, start times within one boot are not.
fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", process_start(pid).unwrap_or_default())
}

/// Returns the start time of a living process in clock ticks since boot: field 22 of `/proc/PID/stat`.
fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may hold spaces and parentheses itself.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Removes the checkouts of processes that live no more. A name that is not understood is left alone.
fn clear_dead(checkouts: &Path) {
    for entry in std::fs::read_dir(checkouts).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, start)) = name.split('.').nth(1).and_then(|owner| owner.split_once('-')) else { continue };
        let (Ok(pid), Ok(start)) = (pid.parse(), start.parse()) else { continue };
        if process_start(pid) != Some(start) {
            tracing::info!(checkout = %entry.path().display(), "removing the checkout of a CI run that was killed");
            remove_checkout(&entry.path());
        }
    }
}

/// Ends whatever still runs in a checkout, then deletes it.
pub fn remove_checkout(checkout: &Path) {
    end_processes_of(checkout);
    stale::delete(checkout);
}

/// Ends every process that carries the checkout in its environment: the command of a CI run whose rig was killed, and
/// whatever it started.
fn end_processes_of(checkout: &Path) {
    let wanted = format!("{CHECKOUT_VARIABLE}={}", checkout.display());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
