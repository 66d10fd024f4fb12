//! Tells a driver to look again: a watch on the folders in which phases, hooks and wake-ups arrive, and a slow poll beside
//! it. A signal is a hint and carries nothing; several become one. Whoever is told reads everything and compares.
//!
//! Folders are watched, not files: a watch on a file ends with the first rename over it. Where the system has no watch to
//! give, the poll becomes quick instead, so that nothing is lost but speed.

pub mod file;

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// Time after which one looks without having been told: watches can be lost, when a folder is replaced for one.
const SLOW_POLL: Duration = Duration::from_secs(30);
/// The same while there is no watch.
const QUICK_POLL: Duration = Duration::from_secs(1);
/// Names whose change means something; others, such as temporary files, are passed over.
const NAMES: [&str; 4] = ["phase", "phase.log", "summary", "wake"];

/// The watch of one driver. One per process is enough: folders are added to it.
#[derive(Debug)]
pub struct PhaseWatch {
    watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
    changed: Arc<Notify>,
    trouble: Option<String>,
}

impl PhaseWatch {
    /// Starts a watch without folders. It never fails: without a watcher it polls, see [`PhaseWatch::trouble`].
    pub fn new() -> Self {
        let changed = Arc::new(Notify::new());
        let signal = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may mean that events were lost: that is a reason to look, too.
            if event.as_ref().map_or(true, matters) {
                signal.notify_one();
            }
        });
        let (watcher, trouble) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(format!("files cannot be watched: {error}"))),
        };
        Self { watcher, folders: Vec::new(), changed, trouble }
    }

    /// Adds a folder, such as that of a run or of its newest attempt. One that does not exist yet is tried again with
    /// every poll. What changed before now may have gone unseen: look once after this.
    pub fn add(&mut self, folder: &Path) {
        if !self.folders.iter().any(|known| known == folder) {
            self.folders.push(folder.to_owned());
        }
        self.watch_all();
    }

    /// Forgets a folder, such as that of an attempt that has ended.
    pub fn remove(&mut self, folder: &Path) {
        self.folders.retain(|known| known != folder);
        if let Some(watcher) = &mut self.watcher {
            // Not watched any more is what is wanted.
            let _ = watcher.unwatch(folder);
        }
    }

    /// Returns why changes are only polled for; `None` when all folders are watched.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Waits for the next hint, or for the poll. Safe to be dropped and called again: a hint in between is kept.
    pub async fn changed(&mut self) {
        let poll = if self.trouble.is_some() { QUICK_POLL } else { SLOW_POLL };
        if tokio::time::timeout(poll, self.changed.notified()).await.is_err() {
            self.watch_all();
        }
    }

    /// Watches each folder (again): one that was replaced is another folder under the same name.
    fn watch_all(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.trouble = None;
        for folder in &self.folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                self.trouble = Some(format!("{} cannot be watched: {error}", folder.display()));
            }
        }
    }
}

impl Default for PhaseWatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether an event can mean new content under one of the names. Reading, rig's own for one, never does.
fn matters(event: &Event) -> bool {
    let changes = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    let named = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(is_known);
    changes && (event.need_rescan() || event.paths.iter().any(named))
}

/// Returns whether a file's name is one of those, or that of a run's hooks.
fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with("hooks") && name.ends_with(".jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn is_told(watch: &mut PhaseWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.is_ok()
    }

    async fn is_quiet(watch: &mut PhaseWatch) -> bool {
        tokio::time::timeout(Duration::from_millis(100), watch.changed()).await.is_err()
    }

    #[tokio::test]
    async fn every_way_of_writing_a_phase_is_told_and_reading_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phase");
        let mut watch = PhaseWatch::new();
        watch.add(folder.path());
        assert_eq!(watch.trouble(), None);
        for round in 0..3 {
            fs::write(&path, format!("PHASE:done {round}\n")).unwrap();
            assert!(is_told(&mut watch).await, "truncate and write");
            let new = folder.path().join(".phase.new");
            fs::write(&new, "PHASE:failed\n").unwrap();
            fs::rename(&new, &path).unwrap();
            assert!(is_told(&mut watch).await, "rename over");
        }
        while !is_quiet(&mut watch).await {}
        fs::read(&path).unwrap();
        fs::write(folder.path().join("notes"), "x").unwrap();
        assert!(is_quiet(&mut watch).await, "reading and other files");
    }

    #[tokio::test]
    async fn a_folder_that_comes_later_is_watched_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let attempt = folder.path().join("attempt-2");
        let mut watch = PhaseWatch::new();
        watch.add(&attempt);
        assert!(watch.trouble().is_some());
        fs::create_dir(&attempt).unwrap();
        assert!(is_told(&mut watch).await, "the quick poll");
        assert_eq!(watch.trouble(), None);
        for name in ["wake", "hooks-01ARZ3NDEKTSV4RRFFQ69G5FAV.jsonl"] {
            fs::write(attempt.join(name), "").unwrap();
            assert!(is_told(&mut watch).await, "{name}");
            while !is_quiet(&mut watch).await {}
        }
    }
}
