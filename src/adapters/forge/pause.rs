//! Until when a forge wants to be left alone, by what it said with `Retry-After`. Known to all requests of this process; a
//! pause that no request can wait for is kept in a file, so that no later process asks before it is over.

use crate::adapters::{
    flock::FileLock,
    session::files::{make_private_folder, read_bounded, write_private},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Longest pause that a forge gets, whatever it asks for: a wrong clock or a wrong unit must not end the work for ever.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(6);
/// Version of the file's format.
const VERSION: u32 = 1;
/// Most that is read of the file.
const MOST_BYTES: u64 = 4 * 1024;
/// Longest wait for the file's lock. It is held for milliseconds; after this long its holder is stopped or its disk hangs.
const LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    noted_at: Timestamp,
    until: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Pause {
    file: Option<PathBuf>,
    noted: Mutex<Option<Timestamp>>,
}

impl Pause {
    pub(super) fn kept_in(file: PathBuf) -> Self {
        Self { file: Some(file), noted: Mutex::default() }
    }

    /// Returns until when nothing may be asked; `None` when it may.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let noted = *self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.file.as_deref().and_then(|file| kept(file, now));
        [noted, kept].into_iter().flatten().filter(|until| *until > now).max()
    }

    /// Remembers what the forge asked for; with `keep` also for other processes. Returns until when. A longer pause that
    /// is known already stays.
    pub(super) async fn note(&self, now: Timestamp, asked: SignedDuration, keep: bool) -> Timestamp {
        let until = now.saturating_add(asked.min(LONGEST)).unwrap_or(now);
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            *noted = (*noted).max(Some(until));
        }
        if let Some(file) = self.file.as_deref().filter(|_| keep)
            && let Err(error) = write(file, now, until).await
        {
            tracing::warn!(file = %file.display(), %error, "the forge's pause is not kept");
        }
        until
    }
}

/// Returns the pause in the file. What cannot be read pauses nothing, and is overwritten by the next one; one that was noted
/// in the future comes from a clock that was wrong.
fn kept(file: &Path, now: Timestamp) -> Option<Timestamp> {
    let bytes = read_bounded(file, MOST_BYTES).ok()?;
    let stored: Stored = serde_json::from_slice(&bytes).ok()?;
    let longest = stored.noted_at.saturating_add(LONGEST).ok()?;
    (stored.noted_at <= now).then_some(stored.until.min(longest))
}

async fn write(file: &Path, now: Timestamp, until: Timestamp) -> io::Result<()> {
    make_private_folder(file.parent().unwrap_or(Path::new(".")))?;
    // Held for the time of one small write; never across a request.
    let _lock = FileLock::take_within(&file.with_extension("lock"), LOCK_WAIT).await?;
    if kept(file, now).is_some_and(|there| there >= until) {
        return Ok(());
    }
    write_private(file, &serde_json::to_vec(&Stored { version: VERSION, noted_at: now, until })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(secs: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(secs)
    }

    #[tokio::test]
    async fn a_long_pause_holds_for_other_processes_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pauses/one.json");
        let first = Pause::kept_in(file.clone());
        assert_eq!(first.until(NOW), None);
        assert_eq!(first.note(NOW, SignedDuration::from_secs(60), true).await, later(60));
        let second = Pause::kept_in(file);
        assert_eq!(second.until(later(59)), Some(later(60)));
        assert_eq!(second.until(later(60)), None);
        // A shorter one does not shorten it.
        second.note(later(1), SignedDuration::from_secs(5), true).await;
        assert_eq!(first.until(later(30)), Some(later(60)));
    }

    #[tokio::test]
    async fn a_short_pause_is_this_process_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.json");
        let pause = Pause::kept_in(file.clone());
        pause.note(NOW, SignedDuration::from_secs(2), false).await;
        assert_eq!((pause.until(later(1)), pause.until(later(2))), (Some(later(2)), None));
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn no_pause_is_for_ever_and_no_damage_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.json");
        let pause = Pause::kept_in(file.clone());
        pause.note(NOW, SignedDuration::from_hours(1_000_000), true).await;
        assert_eq!(Pause::kept_in(file.clone()).until(NOW), Some(NOW + LONGEST));
        std::fs::write(&file, r#"{"version":1,"noted_at":"2100-01-01T00:00:00Z","until":"2100-01-02T00:00:00Z"}"#)
            .unwrap();
        assert_eq!(Pause::kept_in(file.clone()).until(NOW), None);
        for damaged in ["", "{", "\u{0}\u{0}", r#"{"version":1}"#] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(Pause::kept_in(file.clone()).until(NOW), None, "{damaged:?}");
        }
        let fresh = Pause::kept_in(file.clone());
        fresh.note(NOW, SignedDuration::from_secs(60), true).await;
        assert_eq!(Pause::kept_in(file).until(NOW), Some(later(60)));
    }
}
