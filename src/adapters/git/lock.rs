//! Locks around changes of the bare repositories: several processes of rig use them at once, and git's own lock files make
//! the second one fail instead of wait. They end with their holder.

use super::command::failed;
use crate::ports::workspace::{WorkspaceError, WorkspaceResult};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

/// Longest wait: two fetches of others that run into their time limit.
const LONGEST_WAIT: Duration = Duration::from_secs(150);
/// Time between two looks; a flock cannot be waited for without a thread.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A lock that is held until this value is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

/// Takes the lock file, which is never removed.
pub(super) async fn take(path: &Path) -> WorkspaceResult<FolderLock> {
    let what = || format!("locking {}", path.display());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(what(), &error.to_string()))?;
    let start = Instant::now();
    loop {
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => return Ok(FolderLock { _file: file }),
            Err(error) if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() => {
                return Err(failed(what(), &error.to_string()));
            }
            Err(_) if start.elapsed() > LONGEST_WAIT => {
                let message = format!("another process kept it for {} s", LONGEST_WAIT.as_secs());
                return Err(WorkspaceError::Unavailable { what: what(), message });
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
