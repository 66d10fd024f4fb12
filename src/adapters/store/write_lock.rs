//! The flock that orders the writers of one store, across processes. SQLite alone would do for safety, but its waiters poll with
//! growing pauses, so that under load one of them waits for seconds; here the kernel wakes the next one.

use super::error::file_error;
use crate::ports::store::{StoreError, StoreResult};
use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Longest wait for the lock. A writer holds it for milliseconds; after this long its holder is stopped or its disk hangs.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// The lock of one process on the store's lock file.
#[derive(Debug)]
pub(super) struct WriteLock {
    path: PathBuf,
    /// A thread that still waits for the lock on behalf of an earlier caller, who gave up.
    waiting: Option<oneshot::Receiver<io::Result<File>>>,
}

/// The lock, held until this value is dropped.
#[derive(Debug)]
pub(super) struct HeldWriteLock {
    file: File,
}

impl Drop for HeldWriteLock {
    fn drop(&mut self) {
        // Closing would do, but not while a child of this process is between its fork and its exec.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

impl WriteLock {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, waiting: None }
    }

    /// Takes the lock, waiting without blocking the runtime. Safe to be dropped while it waits.
    pub(super) async fn take(&mut self) -> StoreResult<HeldWriteLock> {
        if self.waiting.is_none() {
            let file = open(&self.path).map_err(|error| file_error(&self.path, &error))?;
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(HeldWriteLock { file }),
                Err(error) if is_held(&error) => self.waiting = Some(wait_for(file)),
                Err(error) => return Err(file_error(&self.path, &error)),
            }
        }
        let Some(receiver) = self.waiting.as_mut() else { return Err(self.thread_lost()) };
        let Ok(answer) = timeout(WAIT_LIMIT, receiver).await else {
            return Err(StoreError::Failed {
                message: format!(
                    "another process has held {} for over {} s",
                    self.path.display(),
                    WAIT_LIMIT.as_secs()
                ),
            });
        };
        self.waiting = None;
        match answer {
            Ok(Ok(file)) => Ok(HeldWriteLock { file }),
            Ok(Err(error)) => Err(file_error(&self.path, &error)),
            Err(_) => Err(self.thread_lost()),
        }
    }

    fn thread_lost(&self) -> StoreError {
        StoreError::Failed { message: format!("no thread could wait for {}", self.path.display()) }
    }
}

/// Opens the lock file anew for each use, so that one that somebody removed and made again is followed.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_held(error: &io::Error) -> bool {
    error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

/// Waits on a thread of its own, not in the runtime's pool: the runtime would wait for that thread when the process ends.
/// When nobody takes the answer any more, the file is closed and so unlocked.
fn wait_for(file: File) -> oneshot::Receiver<io::Result<File>> {
    let (sender, receiver) = oneshot::channel();
    let wait = move || {
        let answer = loop {
            match fs2::FileExt::lock_exclusive(&file) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        // A receiver that is gone means that the process no longer wants the lock.
        let _ = sender.send(answer.map(|()| file));
    };
    // When no thread can be started, the sender is dropped and the receiver reports it.
    let _ = std::thread::Builder::new().name("store-lock".to_owned()).spawn(wait);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_that_gave_up_leaves_the_lock_usable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.lock");
        let (mut first, mut second) = (WriteLock::new(path.clone()), WriteLock::new(path));
        let held = first.take().await.unwrap();
        let given_up = timeout(Duration::from_millis(20), second.take()).await;
        assert!(given_up.is_err(), "the lock was held");
        drop(held);
        let held = second.take().await.expect("the waiting thread's lock is used");
        assert!(timeout(Duration::from_millis(20), first.take()).await.is_err());
        drop(held);
        first.take().await.expect("dropping the value releases the lock");
    }
}
