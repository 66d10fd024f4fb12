//! Locks between processes of one user: flock on files that lie outside every root, so that all roots and projects which work on
//! one repository share them. The kernel frees a lock with its holder, whatever ended it. Deliberately absent: deleting a lock
//! file (a loser could remove the winner's), probing who holds one, and trust in a process id written somewhere.

use crate::{
    domain::{ids::RepositoryPath, repository::normal_url},
    ports::lock::{Held, LockError, LockName, Locks},
};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Digits of the hash that name a repository's folder: 64 bits, far beyond what one user's repositories can collide in.
const HASH_DIGITS: usize = 16;
/// First pause between two attempts; most locks are held for milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Longest pause: the most that a waiter adds to the time a lock is free.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The locks of one repository on one forge.
#[derive(Debug, Clone)]
pub struct FlockLocks {
    folder: PathBuf,
}

impl FlockLocks {
    /// Returns the locks of a repository below `base`, which is `rig/locks` in the user's XDG state folder. Makes nothing yet.
    pub fn new(base: &Path, forge_url: &str, repository: &RepositoryPath) -> Self {
        Self { folder: base.join(folder_name(forge_url, repository)) }
    }

    /// Returns the file of a lock.
    pub fn path(&self, name: LockName) -> PathBuf {
        self.folder.join(match name {
            LockName::Dispatch => "dispatch".to_owned(),
            LockName::Merge => "merge".to_owned(),
            LockName::Notices => "notices".to_owned(),
            LockName::Channels => "channels".to_owned(),
            LockName::Checks => "checks".to_owned(),
            LockName::Mirror(digest) => format!("mirror-{digest:016x}"),
            LockName::Run(issue) => format!("run-{}", issue.0),
        })
    }

    /// Tries once. `None` means that another holds it.
    fn attempt(&self, path: &Path) -> io::Result<Option<HeldFlock>> {
        loop {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            match HeldFlock::attempt(path) {
                // Somebody has removed the folder in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
    }
}

#[async_trait]
impl Locks for FlockLocks {
    async fn take(&self, name: LockName, wait: Duration) -> Result<Box<dyn Held>, LockError> {
        let path = self.path(name);
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(&path) {
                Ok(Some(held)) => return Ok(Box::new(held)),
                Ok(None) => {}
                Err(error) => {
                    let message = error.to_string();
                    return Err(LockError::Failed { path: path.display().to_string(), message });
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LockError::Held { path: path.display().to_string() });
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A lock that is held. The descriptor is closed on exec, so that no child keeps it.
#[derive(Debug)]
struct HeldFlock {
    file: File,
}

impl HeldFlock {
    /// Tries once to take the lock on a file, which is made when it is not there. `None` means that another holds it.
    fn attempt(path: &Path) -> io::Result<Option<Self>> {
        loop {
            // Opened anew each time: while this process waited, somebody may have put another file in its place.
            let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if is_at(&file, path)? {
                return Ok(Some(Self::new(file)));
            }
        }
    }

    /// Notes the process for people who look; nothing reads it, so that a failure to write it does not matter.
    fn new(mut file: File) -> Self {
        let _ = file.set_len(0).and_then(|()| writeln!(file, "pid {}", std::process::id()));
        Self { file }
    }
}

impl Held for HeldFlock {}

impl Drop for HeldFlock {
    fn drop(&mut self) {
        // Closing would do, but not while a child of this process is between its fork and its exec.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

/// A lock on one file, for its holder's life.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "it is held, not looked at")] HeldFlock);

impl FileLock {
    /// Takes the lock, waiting for it without blocking the thread.
    pub async fn take_within(path: &Path, wait: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lock) = Self::attempt(path)? {
                return Ok(lock);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let words = format!("another process has held {} for over {} s", path.display(), wait.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tries once. `None` means that another holds it.
    pub fn attempt(path: &Path) -> io::Result<Option<Self>> {
        Ok(HeldFlock::attempt(path)?.map(Self))
    }
}

/// Returns whether the file is still the one at the path; a lock on one that was removed would exclude nobody.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok(held.nlink() > 0 && (held.dev(), held.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn folder_name(forge_url: &str, repository: &RepositoryPath) -> String {
    let key = format!("{}\n{}", normal_url(forge_url), repository.to_string().to_lowercase());
    let digits = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits[..HASH_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::IssueNumber;

    fn repository(text: &str) -> RepositoryPath {
        text.parse().unwrap()
    }

    #[test]
    fn all_spellings_of_one_repository_share_a_folder() {
        let name = folder_name("https://git.example.org", &repository("acme/widget"));
        assert_eq!(name.len(), HASH_DIGITS);
        for url in ["https://git.example.org/", "HTTPS://Git.Example.ORG", "https://git.example.org:443//"] {
            assert_eq!(folder_name(url, &repository("Acme/Widget")), name, "{url}");
        }
    }

    #[test]
    fn different_repositories_have_different_folders() {
        let mut names = std::collections::BTreeSet::new();
        for url in ["https://a.org", "http://a.org", "https://a.org:8443", "https://a.org/Forge", "https://a.org/forge"]
        {
            for path in ["acme/widget", "acme/gadget", "other/widget"] {
                assert!(names.insert(folder_name(url, &repository(path))), "{url} {path}");
            }
        }
    }

    #[test]
    fn the_name_of_a_folder_never_changes() {
        // An older rig that still runs must meet a newer one at the same files.
        assert_eq!(folder_name("https://git.example.org", &repository("acme/widget")), "6297a66d5f6a1eae");
    }

    #[tokio::test]
    async fn a_loser_leaves_the_winner_alone() {
        let base = tempfile::tempdir().unwrap();
        let locks = FlockLocks::new(base.path(), "https://a.org", &repository("acme/widget"));
        let winner = locks.take(LockName::Merge, Duration::ZERO).await.unwrap();
        for wait in [Duration::ZERO, Duration::from_millis(10)] {
            for _ in 0..3 {
                let lost = locks.take(LockName::Merge, wait).await;
                assert!(matches!(lost, Err(LockError::Held { .. })), "{lost:?}");
            }
        }
        assert!(locks.path(LockName::Merge).exists());
        drop(winner);
        locks.take(LockName::Merge, Duration::ZERO).await.unwrap();
        assert!(locks.path(LockName::Merge).exists(), "the file stays when the lock is released");
    }

    #[tokio::test]
    async fn locks_of_other_names_and_repositories_do_not_meet() {
        let base = tempfile::tempdir().unwrap();
        let widget = FlockLocks::new(base.path(), "https://a.org", &repository("acme/widget"));
        let gadget = FlockLocks::new(base.path(), "https://a.org", &repository("acme/gadget"));
        let mut held = Vec::new();
        for name in [LockName::Dispatch, LockName::Merge, LockName::Run(IssueNumber(1)), LockName::Run(IssueNumber(11))]
        {
            held.push(widget.take(name, Duration::ZERO).await.unwrap());
            held.push(gadget.take(name, Duration::ZERO).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_waiter_gets_the_lock_when_it_is_released() {
        let base = tempfile::tempdir().unwrap();
        let locks = FlockLocks::new(base.path(), "https://a.org", &repository("acme/widget"));
        let held = locks.take(LockName::Dispatch, Duration::ZERO).await.unwrap();
        let waiter = {
            let locks = locks.clone();
            tokio::spawn(async move { locks.take(LockName::Dispatch, Duration::from_secs(30)).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(held);
        waiter.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_lock_of_a_file_is_waited_for_so_long_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.lock");
        let held = FileLock::attempt(&path).unwrap().unwrap();
        let error = FileLock::take_within(&path, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        // On one thread: it is let go only if the waiter lets others run.
        let (taken, ()) = tokio::join!(FileLock::take_within(&path, Duration::from_secs(60)), async { drop(held) });
        taken.unwrap();
    }

    #[tokio::test]
    async fn a_lock_on_a_file_that_was_removed_holds_nothing() {
        let base = tempfile::tempdir().unwrap();
        let locks = FlockLocks::new(base.path(), "https://a.org", &repository("acme/widget"));
        let path = locks.path(LockName::Dispatch);
        let held = locks.take(LockName::Dispatch, Duration::ZERO).await.unwrap();
        let stale = File::open(&path).unwrap();
        assert!(is_at(&stale, &path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&stale, &path).unwrap());
        std::fs::write(&path, "another file").unwrap();
        assert!(!is_at(&stale, &path).unwrap());
        drop(held);
        locks.take(LockName::Dispatch, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, "").unwrap();
        let locks = FlockLocks::new(&file, "https://a.org", &repository("acme/widget"));
        match locks.take(LockName::Dispatch, Duration::ZERO).await {
            Err(LockError::Failed { path, .. }) => assert!(path.starts_with(file.to_str().unwrap()), "{path}"),
            other => panic!("{other:?}"),
        }
    }
}
