//! A run's folder on disk: the phase file and its log, the hooks, the inbox, notes and summary, and a watch on them.

use super::{
    phase_watch::{
        PhaseWatch,
        file::{Observed, look, read_phase},
    },
    session::{
        files::{make_private_folder, open_regular, read_bounded, remove_if_there, write_private},
        hooks::read_hooks,
        last_write,
    },
};
use crate::{
    config::root::RunDir,
    domain::ids::{Attempt, EffectId, RunId},
    ports::{
        run_files::{PhaseSighting, RunFiles, RunFilesError, RunFilesResult},
        session::{HookKind, HooksRead},
    },
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::Instant,
};

/// Most that is read of a summary or of notes: what fits into a pull request and a prompt.
const TEXT_BYTES: u64 = 64 * 1024;
/// Size from which on the log of setting up begins anew: some full outputs.
const SETUP_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// Time for which a text that may be half a writing must stay the same before it is judged: a shell that writes two lines
/// with two commands is done by then, and nobody waits for long.
const SETTLE: Duration = Duration::from_millis(100);

/// The folder of one issue's run, watched.
pub struct LocalRunFiles {
    folder: RunDir,
    run: RunId,
    watch: AsyncMutex<PhaseWatch>,
    /// Folders that the watch does not have yet; it may be waiting just now.
    new_folders: Mutex<Vec<PathBuf>>,
    poke: Notify,
    /// The text that may be half a writing, and since when it has been seen.
    unsettled: Mutex<Option<(String, Instant)>>,
    /// When to look again without having been told.
    again_at: Mutex<Option<Instant>>,
    again_moved: Notify,
}

impl LocalRunFiles {
    /// Opens the folder, making it if it is missing.
    pub fn open(folder: RunDir, run: RunId) -> RunFilesResult<Self> {
        make_folder(folder.path())?;
        make_folder(&folder.inbox())?;
        let mut watch = PhaseWatch::new();
        watch.add(folder.path());
        if let Some(trouble) = watch.trouble() {
            tracing::warn!(trouble, "changes are polled for");
        }
        Ok(Self {
            folder,
            run,
            watch: AsyncMutex::new(watch),
            new_folders: Mutex::default(),
            poke: Notify::new(),
            unsettled: Mutex::default(),
            again_at: Mutex::default(),
            again_moved: Notify::new(),
        })
    }

    fn typed_file(&self, id: &EffectId) -> PathBuf {
        self.folder.inbox().join(format!("{id}.typed"))
    }

    fn told_file(&self, attempt: Attempt) -> PathBuf {
        self.folder.attempt(attempt).path().join("told")
    }

    fn adopt_new_folders(&self, watch: &mut PhaseWatch) {
        let new = self.new_folders.lock().map(|mut folders| std::mem::take(&mut *folders)).unwrap_or_default();
        for folder in new {
            watch.add(&folder);
        }
    }

    /// Returns whether a writing is whole, or has stayed as it is for long enough; if not, a later look is arranged.
    fn has_settled(&self, seen: &Observed) -> bool {
        // By the file's own time too, so that what was written while nobody looked is settled at once.
        if seen.is_whole || seen.age() >= SETTLE {
            return true;
        }
        let (id, now) = (seen.id(), Instant::now());
        let Ok(mut unsettled) = self.unsettled.lock() else { return true };
        let since = match &*unsettled {
            Some((known, since)) if *known == id => *since,
            _ => unsettled.insert((id, now)).1,
        };
        let settled_at = since + SETTLE;
        if now < settled_at {
            self.look_again_at(settled_at);
        }
        now >= settled_at
    }

    fn look_again_at(&self, when: Instant) {
        if let Ok(mut again) = self.again_at.lock() {
            *again = Some(when);
        }
        self.again_moved.notify_one();
    }

    /// Waits until the arranged look is due, for ever when there is none.
    async fn again(&self) {
        loop {
            let when = self.again_at.lock().ok().and_then(|again| *again);
            let due = async {
                match when {
                    Some(when) => tokio::time::sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.again_moved.notified() => {}
                () = due => {
                    if let Ok(mut again) = self.again_at.lock() && *again == when {
                        *again = None;
                    }
                    return;
                }
            }
        }
    }
}

#[async_trait]
impl RunFiles for LocalRunFiles {
    fn open_attempt(&self, attempt: Attempt) -> RunFilesResult<()> {
        let folder = self.folder.attempt(attempt);
        make_folder(folder.path())?;
        if !folder.phase().exists() {
            put(&folder.phase(), b"")?;
        }
        if let Ok(mut folders) = self.new_folders.lock() {
            folders.push(folder.path().to_owned());
        }
        self.poke.notify_one();
        Ok(())
    }

    async fn changed(&self) {
        let mut watch = self.watch.lock().await;
        self.adopt_new_folders(&mut watch);
        tokio::select! {
            () = watch.changed() => {}
            () = self.poke.notified() => {}
            () = self.again() => {}
        }
        self.adopt_new_folders(&mut watch);
    }

    fn phases(&self, attempt: Attempt) -> RunFilesResult<Vec<PhaseSighting>> {
        let folder = self.folder.attempt(attempt);
        let seen =
            look(&folder.phase(), &folder.phase_log(), 0).map_err(|error| failed(&folder.phase_log(), &error))?;
        let settled = seen.into_iter().map(|seen| seen.observed).filter(|seen| self.has_settled(seen));
        Ok(settled.map(|seen| PhaseSighting { id: seen.id(), text: seen.content }).collect())
    }

    fn is_settled(&self, attempt: Attempt) -> bool {
        read_phase(&self.folder.attempt(attempt).phase()).is_none_or(|seen| self.has_settled(&seen))
    }

    fn hooks(&self, from: u64) -> RunFilesResult<HooksRead> {
        let path = self.folder.hooks(&self.run);
        let mut read = read_hooks(&path, from, &self.run, None).map_err(|error| failed(&path, &error))?;
        let ends_turn = |kind: &HookKind| matches!(kind, HookKind::TurnEnded { .. });
        let held_back = read.events.iter().position(|hook| ends_turn(&hook.kind) && !self.is_settled(hook.attempt));
        if let Some(index) = held_back {
            // Before it everything has been read; what lies between two events is read again.
            read.next = if index == 0 { from } else { read.events[index - 1].offset };
            read.events.truncate(index);
        } else if read.more {
            self.poke.notify_one();
        }
        Ok(read)
    }

    fn transcript_written(&self, attempt: Attempt) -> Option<Timestamp> {
        last_write::of_transcript(&self.folder.hooks(&self.run), &self.run, attempt)
    }

    fn summary(&self, attempt: Attempt) -> String {
        read_text(&self.folder.attempt(attempt).summary())
    }

    fn scratch(&self) -> String {
        read_text(&self.folder.scratch())
    }

    fn note_set_up(&self, text: &str) -> RunFilesResult<()> {
        let path = self.folder.setup_log();
        let before = read_bounded(&path, SETUP_LOG_BYTES).unwrap_or_default();
        put(&path, &[&before, text.trim_end().as_bytes(), b"\n"].concat())
    }

    fn put_message(&self, id: &EffectId, text: &str) -> RunFilesResult<PathBuf> {
        let path = self.folder.inbox().join(format!("{id}.md"));
        put(&path, text.as_bytes())?;
        Ok(path)
    }

    fn note_typed(&self, id: &EffectId, attempt: Attempt, at: Timestamp) -> RunFilesResult<()> {
        put(&self.typed_file(id), format!("{attempt} {at}\n").as_bytes())
    }

    fn typed_at(&self, id: &EffectId, attempt: Attempt) -> Option<Timestamp> {
        let text = read_text(&self.typed_file(id));
        let (typed_in, at) = text.trim().split_once(' ')?;
        (typed_in == attempt.to_string()).then(|| at.parse().ok()).flatten()
    }

    fn put_screen(&self, attempt: Attempt, text: &str) -> RunFilesResult<()> {
        put(&self.folder.attempt(attempt).screen(), text.as_bytes())
    }

    fn remember_told(&self, attempt: Attempt, told: &[EffectId]) -> RunFilesResult<Vec<EffectId>> {
        let path = self.told_file(attempt);
        // What is no regular file is nobody's memory of anything, and is replaced below if it can be.
        if open_regular(&path).is_ok() {
            return Ok(read_text(&path).lines().filter_map(|line| line.parse().ok()).collect());
        }
        let text: String = told.iter().map(|id| format!("{id}\n")).collect();
        put(&path, text.as_bytes())?;
        Ok(told.to_vec())
    }
}

fn failed(path: &Path, error: &io::Error) -> RunFilesError {
    RunFilesError { path: path.display().to_string(), message: error.to_string() }
}

fn make_folder(path: &Path) -> RunFilesResult<()> {
    make_private_folder(path).map_err(|error| failed(path, &error))
}

/// Puts a whole file in place: readers see the old one or the new one.
fn put(path: &Path, bytes: &[u8]) -> RunFilesResult<()> {
    if path.is_dir() {
        remove_if_there(path).map_err(|error| failed(path, &error))?;
    }
    write_private(path, bytes).map_err(|error| failed(path, &error))
}

fn read_text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok((file, _)) = open_regular(path) {
        // What cannot be read is as if the agent had written nothing.
        let _ = file.take(TEXT_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phase::PhaseText;
    use crate::{
        config::root::Root,
        domain::ids::{IssueNumber, ProjectName, Seq},
    };

    fn open(root: &Path) -> LocalRunFiles {
        let folder = Root::at(root).run(&ProjectName::new("p").unwrap(), IssueNumber(1));
        LocalRunFiles::open(folder, RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap()).unwrap()
    }

    #[test]
    fn what_a_first_prompt_told_is_remembered_from_its_first_start() {
        let root = tempfile::tempdir().unwrap();
        let files = open(root.path());
        files.open_attempt(Attempt(1)).unwrap();
        let id = |seq| EffectId { run: RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(), seq: Seq(seq), index: 0 };
        assert_eq!(files.remember_told(Attempt(1), &[id(3)]).unwrap(), vec![id(3)]);
        assert_eq!(files.remember_told(Attempt(1), &[id(3), id(4)]).unwrap(), vec![id(3)]);
    }

    #[test]
    fn opening_an_attempt_again_keeps_its_phase() {
        let root = tempfile::tempdir().unwrap();
        let files = open(root.path());
        files.open_attempt(Attempt(2)).unwrap();
        assert!(files.phases(Attempt(2)).unwrap().iter().all(|seen| seen.text == PhaseText::Nothing));
        let phase = files.folder.attempt(Attempt(2)).phase();
        std::fs::write(&phase, "PHASE:done\n").unwrap();
        files.open_attempt(Attempt(2)).unwrap();
        assert!(matches!(files.phases(Attempt(2)).unwrap().last().unwrap().text, PhaseText::Report(_)));
    }

    #[tokio::test]
    async fn an_attempt_that_is_opened_while_one_waits_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let files = std::sync::Arc::new(open(root.path()));
        let waiting = tokio::spawn({
            let files = files.clone();
            async move {
                loop {
                    files.changed().await;
                    let seen = files.phases(Attempt(1)).unwrap_or_default();
                    if seen.iter().any(|seen| matches!(seen.text, PhaseText::Report(_))) {
                        return;
                    }
                }
            }
        });
        files.open_attempt(Attempt(1)).unwrap();
        std::fs::write(files.folder.attempt(Attempt(1)).phase(), "PHASE:done\n").unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.unwrap().unwrap();
    }

    #[test]
    fn what_an_agent_puts_in_the_place_of_its_files_holds_nobody_up() {
        let root = tempfile::tempdir().unwrap();
        let files = open(root.path());
        files.open_attempt(Attempt(1)).unwrap();
        let attempt = files.folder.attempt(Attempt(1));
        let hooks = files.folder.hooks(&files.run);
        let all = [
            attempt.phase(),
            attempt.phase_log(),
            attempt.summary(),
            files.folder.scratch(),
            hooks,
            files.told_file(Attempt(1)),
        ];
        for path in &all {
            remove_if_there(path).unwrap();
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        assert!(files.phases(Attempt(1)).unwrap().is_empty() && files.is_settled(Attempt(1)));
        assert_eq!(files.hooks(0).unwrap(), HooksRead::default());
        assert_eq!(files.summary(Attempt(1)) + files.scratch().as_str(), "");
        let id = EffectId { run: files.run.clone(), seq: Seq(1), index: 0 };
        for _ in 0..2 {
            assert_eq!(files.remember_told(Attempt(1), std::slice::from_ref(&id)).unwrap(), std::slice::from_ref(&id));
        }
    }

    #[tokio::test]
    async fn half_a_writing_is_judged_when_it_has_stayed_and_the_stop_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        let files = open(root.path());
        files.open_attempt(Attempt(1)).unwrap();
        while tokio::time::timeout(Duration::from_millis(200), files.changed()).await.is_ok() {}
        let line =
            serde_json::json!({"v": 1, "at": "1970-01-01T00:00:00Z", "run": files.run, "attempt": 1, "event": "Stop"});
        std::fs::write(files.folder.hooks(&files.run), format!("{line}\n")).unwrap();
        assert_eq!(files.hooks(0).unwrap().events.len(), 1, "an empty phase file explains nothing");
        let phase = files.folder.attempt(Attempt(1)).phase();
        for text in ["PHASE:done", "PHASE:fin", "PHASE:failed\n"] {
            // A time in the future: this machine's clock cannot tell how old it is.
            std::fs::write(&phase, text).unwrap();
            let future = std::time::SystemTime::now() + Duration::from_secs(3600);
            std::fs::File::options().write(true).open(&phase).unwrap().set_modified(future).unwrap();
            assert!(files.phases(Attempt(1)).unwrap().is_empty(), "{text:?}");
            assert_eq!(files.hooks(0).unwrap(), HooksRead::default(), "the stop waits");
            let told = async {
                while files.phases(Attempt(1)).unwrap().is_empty() {
                    files.changed().await;
                }
            };
            // Sooner than the slow poll, which would find it in any case.
            tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
            assert!(files.is_settled(Attempt(1)));
            assert_eq!(files.hooks(0).unwrap().events.len(), 1);
        }
    }

    #[test]
    fn old_half_a_writing_is_judged_at_once() {
        let root = tempfile::tempdir().unwrap();
        let files = open(root.path());
        files.open_attempt(Attempt(1)).unwrap();
        let phase = files.folder.attempt(Attempt(1)).phase();
        std::fs::write(&phase, "PHASE:done").unwrap();
        std::fs::File::options().write(true).open(&phase).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(files.phases(Attempt(1)).unwrap().len(), 1);
    }

    #[test]
    fn each_run_of_an_issue_reads_its_own_hooks_from_the_beginning() {
        let root = tempfile::tempdir().unwrap();
        let first = open(root.path());
        let folder = first.folder.clone();
        std::fs::write(folder.hooks(&first.run), "lines of the first run\n").unwrap();
        let second = LocalRunFiles::open(folder.clone(), RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAW").unwrap()).unwrap();
        assert_eq!(second.hooks(0).unwrap(), HooksRead::default());
        assert_eq!(first.hooks(0).unwrap().next, 23);
    }
}
