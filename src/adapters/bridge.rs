//! The one bridge process of a root: the lock that it holds for its life, the file whose touch makes it look, and its start
//! by whoever has queued something. Deliberately absent: what a bridge does.

use super::{
    flock::FileLock,
    process::{Program, Scope},
    session::files::{append_to_regular, make_private_folder},
};
use crate::config::root::Root;
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Time for which a bridge that failed is not started again: its log tells why, and whoever mends it starts it by hand.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Largest log of bridges that is added to, in bytes; a new one begins then.
const LARGEST_LOG: u64 = 1024 * 1024;

/// Takes the lock of the root's bridge. `None` when another process has it.
pub fn lock(root: &Root) -> io::Result<Option<FileLock>> {
    make_private_folder(&root.matrix_dir())?;
    FileLock::attempt(&root.matrix_dir().join("bridge.lock"))
}

/// Returns the folder whose file `wake` is touched when something was queued.
pub fn wake_folder(root: &Root) -> PathBuf {
    root.matrix_dir()
}

/// Notes that the bridge failed, so that it is not started again at once; or that all is well.
pub fn note_failure(root: &Root, why: Option<&str>) {
    let path = failure_file(root);
    // Only a hint for who would start it.
    let _ = match why {
        Some(why) => super::session::files::write_private(&path, why.as_bytes()),
        None => super::session::files::remove_if_there(&path),
    };
}

/// Returns why the bridge failed last, unless it has worked since.
pub fn last_failure(root: &Root) -> Option<String> {
    std::fs::read_to_string(failure_file(root)).ok().map(|text| text.trim().to_owned())
}

/// Wakes the bridge, starting one when none lives. Without the Matrix client in this program it does nothing.
pub(super) fn ensure(rig: &Path, root: &Root) -> io::Result<()> {
    if !cfg!(feature = "matrix") {
        return Ok(());
    }
    let Some(free) = lock(root)? else {
        return std::fs::write(root.matrix_dir().join("wake"), b"");
    };
    drop(free);
    if failed_lately(root) {
        return Ok(());
    }
    let log = root.matrix_dir().join("bridge.log");
    if log.metadata().is_ok_and(|meta| meta.len() > LARGEST_LOG) {
        std::fs::remove_file(&log)?;
    }
    let (log, _) = append_to_regular(&log)?;
    Program::new(rig)
        .args(["matrix", "run", "--while-needed"])
        .env("RIG_ROOT", root.path())
        .cwd(root.path())
        .spawn_detached(log, Scope::new("rig-matrix").as_ref())
        .map(drop)
        .map_err(|error| io::Error::other(error.to_string()))
}

fn failure_file(root: &Root) -> PathBuf {
    root.matrix_dir().join("failed")
}

fn failed_lately(root: &Root) -> bool {
    let modified = failure_file(root).metadata().and_then(|meta| meta.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < AFTER_FAILURE))
}
