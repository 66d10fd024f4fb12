//! What killed processes leave behind: lock files of git, half-made and half-deleted folders.

use super::{command::failed, repositories::make_folder};
use crate::{domain::ids::BranchName, ports::workspace::WorkspaceResult};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// Age at which a lock file of one worktree is taken for one whose git was killed, when no git runs in the worktree: one
/// that was started from elsewhere (`git -C`) has this long to end.
const OWN_LOCK_AGE: Duration = Duration::from_secs(2);
/// Age at which a lock file that other worktrees share is taken for one whose git was killed; git holds them for a moment.
const SHARED_LOCK_AGE: Duration = Duration::from_secs(30);
/// Age at which a lock file that rig itself runs into is taken for one whose git was killed: rig's own changes are made one
/// after another under a lock, so only a git that outlived its rig, or an agent's, could hold it.
const CLASH_LOCK_AGE: Duration = Duration::from_secs(10);
/// Age at which a temporary folder has no living owner: longer than any git command may take.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Removes lock files that would make every git of the agent fail. Waits for young ones of this worktree to grow up. While
/// a git runs in the worktree its locks are no leftovers: a commit with slow checks holds one for minutes.
pub(super) async fn clear_locks(worktree: &Path, admin: &Path, work_git: &Path, branch: &BranchName) {
    if git_runs_in(worktree) {
        return;
    }
    let mut own: Vec<PathBuf> =
        ["index.lock", "HEAD.lock", "config.worktree.lock"].iter().map(|name| admin.join(name)).collect();
    own.push(work_git.join(format!("refs/heads/{branch}.lock")));
    for lock in own {
        while let Some(age) = age(&lock) {
            if age >= OWN_LOCK_AGE {
                remove_lock(&lock);
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    for name in ["config.lock", "packed-refs.lock", "shallow.lock", "HEAD.lock"] {
        let lock = work_git.join(name);
        if age(&lock).is_some_and(|age| age >= SHARED_LOCK_AGE) {
            remove_lock(&lock);
        }
    }
}

/// Returns whether a process named git has its working folder there.
fn git_runs_in(worktree: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|entry| entry.path()).any(|process| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(worktree))
            && std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("git"))
    })
}

/// Removes the lock file that git says is in its way, if it lies in a repository of rig's and nobody can hold it any more.
pub(super) fn clear_lock_named_in(message: &str) {
    let Some((_, rest)) = message.split_once("nable to create '") else { return };
    let Some(lock) = rest.split_once(".lock'").map(|(path, _)| PathBuf::from(format!("{path}.lock"))) else { return };
    let is_ours = lock.components().any(|part| part.as_os_str() == "rig.git" || part.as_os_str() == "work.git");
    if is_ours && age(&lock).is_some_and(|age| age >= CLASH_LOCK_AGE) {
        remove_lock(&lock);
    }
}

fn age(path: &Path) -> Option<Duration> {
    let changed = path.symlink_metadata().ok()?.modified().ok()?;
    // A time in the future tells nothing of a living git.
    Some(SystemTime::now().duration_since(changed).unwrap_or(OWN_LOCK_AGE))
}

fn remove_lock(lock: &Path) {
    if std::fs::remove_file(lock).is_ok() {
        tracing::warn!(lock = %lock.display(), "removed the lock file of a git that was killed");
    }
}

/// Moves a file or folder into `trash` in one step, to be deleted from there. Nothing there is success.
pub(super) fn discard(path: &Path, trash: &Path) -> WorkspaceResult<()> {
    move_into(path, trash).map(drop)
}

/// Deletes what was discarded, also by a process that died before it came to this. On a thread of its own: the tree of a build
/// takes minutes, and a driver that shows no sign of life meanwhile is ended.
pub(super) async fn empty(trash: PathBuf) {
    let delete_all = move || {
        for entry in std::fs::read_dir(trash).into_iter().flatten().flatten() {
            delete(&entry.path());
        }
    };
    // What is left is deleted with the next.
    let _ = tokio::task::spawn_blocking(delete_all).await;
}

/// Moves something that is in the way into `folder`, where people can find it. Nothing there is success.
pub(super) fn set_aside(path: &Path, folder: &Path) -> WorkspaceResult<()> {
    if let Some(moved) = move_into(path, folder)? {
        tracing::warn!(path = %path.display(), aside = %moved.display(), "set aside what was in the way");
    }
    Ok(())
}

/// Returns a new temporary folder on the same disk as the repositories, after clearing those of killed processes.
pub(super) fn temporary_folder(git_dir: &Path) -> WorkspaceResult<tempfile::TempDir> {
    let parent = git_dir.join("tmp");
    make_folder(&parent)?;
    for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
        if age(&entry.path()).is_some_and(|age| age >= TEMPORARY_AGE) {
            delete(&entry.path());
        }
    }
    tempfile::tempdir_in(&parent).map_err(|error| failed("making a temporary folder", &error.to_string()))
}

fn move_into(path: &Path, folder: &Path) -> WorkspaceResult<Option<PathBuf>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    make_folder(folder)?;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let target = folder.join(format!("{name}.{}.{}.{count}", since_epoch.as_nanos(), std::process::id()));
    std::fs::rename(path, &target)
        .map_err(|error| failed(format!("moving {} away", path.display()), &error.to_string()))?;
    Ok(Some(target))
}

/// Deletes a tree, also where a build took away the right to write in folders. What cannot be deleted is told and left.
pub(super) fn delete(path: &Path) {
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let deleted = if is_folder {
        std::fs::remove_dir_all(path).or_else(|_| {
            make_writable(path);
            std::fs::remove_dir_all(path)
        })
    } else {
        std::fs::remove_file(path)
    };
    match deleted {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot be deleted");
        }
        _ => {}
    }
}

fn make_writable(folder: &Path) {
    let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tree_is_deleted_beside_everything_else_that_the_thread_has_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, trash) = (folder.path().join("7"), folder.path().join(".trash"));
        std::fs::create_dir_all(tree.join("target/debug")).unwrap();
        std::fs::set_permissions(tree.join("target"), std::fs::Permissions::from_mode(0o500)).unwrap();
        discard(&tree, &trash).unwrap();
        assert!(!tree.exists(), "what is half deleted is never taken for an agent's work");
        let mut deleting = std::pin::pin!(empty(trash.clone()));
        assert!(futures::poll!(&mut deleting).is_pending(), "the thread is free");
        deleting.await;
        assert_eq!(std::fs::read_dir(trash).unwrap().count(), 0);
    }
}
