//! A run's folder on disk: the phase file and its log, the hooks, the inbox, notes and summary, and a watch on them.

use super::{
    phase_watch::{
        PhaseWatch,
        file::{SeenPhase, look},
    },
    session::hooks::read_hooks,
};
use crate::{
    config::root::RunDir,
    domain::ids::{Attempt, EffectId, RunId},
    ports::{
        run_files::{PhaseSighting, RunFiles, RunFilesError, RunFilesResult},
        session::HookEvent,
    },
};
use async_trait::async_trait;
use std::{
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// Most that is read of a summary or of notes: what fits into a pull request and a prompt.
const TEXT_BYTES: u64 = 64 * 1024;

/// The folder of one issue's run, watched.
pub struct LocalRunFiles {
    folder: RunDir,
    run: RunId,
    watch: AsyncMutex<PhaseWatch>,
    /// Folders that the watch does not have yet; it may be waiting just now.
    new_folders: Mutex<Vec<PathBuf>>,
    poke: Notify,
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
        Ok(Self { folder, run, watch: AsyncMutex::new(watch), new_folders: Mutex::default(), poke: Notify::new() })
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
        }
        self.adopt_new_folders(&mut watch);
    }

    fn phases(&self, attempt: Attempt) -> RunFilesResult<Vec<PhaseSighting>> {
        let folder = self.folder.attempt(attempt);
        let seen =
            look(&folder.phase(), &folder.phase_log(), 0).map_err(|error| failed(&folder.phase_log(), &error))?;
        Ok(seen
            .into_iter()
            .map(|SeenPhase { observed, .. }| PhaseSighting {
                id: format!("{}:{}", observed.inode, observed.mtime_ns),
                text: observed.content,
            })
            .collect())
    }

    fn hooks(&self, from: u64) -> RunFilesResult<Vec<HookEvent>> {
        read_hooks(&self.folder.hooks(), from, &self.run, None).map_err(|error| failed(&self.folder.hooks(), &error))
    }

    fn summary(&self, attempt: Attempt) -> String {
        read_text(&self.folder.attempt(attempt).summary())
    }

    fn scratch(&self) -> String {
        read_text(&self.folder.scratch())
    }

    fn put_message(&self, id: &EffectId, text: &str) -> RunFilesResult<PathBuf> {
        let path = self.folder.inbox().join(format!("{id}.md"));
        put(&path, text.as_bytes())?;
        Ok(path)
    }

    fn remember_told(&self, attempt: Attempt, told: &[EffectId]) -> RunFilesResult<Vec<EffectId>> {
        let path = self.told_file(attempt);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, &error)),
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
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(path, &error))
}

/// Puts a whole file in place: readers see the old one or the new one.
fn put(path: &Path, bytes: &[u8]) -> RunFilesResult<()> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| failed(path, &error))
}

fn read_text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
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
}
