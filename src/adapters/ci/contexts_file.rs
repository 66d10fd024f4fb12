//! Where the contexts that count are remembered beyond the life of a process: one small file for each project, changed under
//! a lock, because the drivers of all its runs look at the same branch. One that cannot be read is an error, never empty:
//! what is not remembered would not be required.

use crate::{
    adapters::{
        flock::FileLock,
        session::files::{make_private_folder, read_bounded, write_private},
    },
    domain::ci::KnownContexts,
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Version of the format.
const VERSION: u32 = 1;
/// Most that is read: every remembered context with its absences and long names fits many times.
const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// Longest wait for the lock. It is held for milliseconds; after this long its holder is stopped or its disk hangs.
const LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    known: KnownContexts,
}

/// The version alone, which must be understood before the rest is.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The file and its lock beside it.
#[derive(Debug)]
pub(super) struct ContextsFile {
    path: PathBuf,
}

impl ContextsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Changes what is remembered, and writes it when it is different. Returns it with what `change` answered.
    pub(super) async fn change<T: Send>(
        &self,
        change: impl FnOnce(&mut KnownContexts) -> T + Send,
    ) -> Result<(KnownContexts, T), String> {
        let failed = |error: io::Error| format!("{}: {error}", self.path.display());
        make_private_folder(self.path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        // Held for the time of one small write; never across a request.
        let _lock = FileLock::take_within(&self.path.with_extension("lock"), LOCK_WAIT).await.map_err(failed)?;
        let before = self.read()?;
        let mut known = before.clone();
        let answer = change(&mut known);
        if known != before {
            let stored = Stored { version: VERSION, known: known.clone() };
            let text = serde_json::to_vec_pretty(&stored).map_err(|error| failed(error.into()))?;
            write_private(&self.path, &text).map_err(failed)?;
        }
        Ok((known, answer))
    }

    fn read(&self) -> Result<KnownContexts, String> {
        let path = self.path.display();
        let bytes = match read_bounded(&self.path, MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KnownContexts::default()),
            Err(error) => return Err(format!("{path}: {error}")),
        };
        let damaged = |error: serde_json::Error| {
            format!("{path} is damaged ({error}); remove it to learn the checks anew from the primary branch")
        };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(format!("{path} was written by a newer rig (format {version}, this one knows {VERSION})"));
        }
        Ok(serde_json::from_slice::<Stored>(&bytes).map_err(damaged)?.known)
    }
}
