//! What all requests share: the store, the folder, the root URL, the locks of the repositories, what is being checked.

use super::{faults::Faults, git::Git, mergeability::Mergeability, store::Store};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

/// The running forge.
#[derive(Debug)]
pub(super) struct Forge {
    pub(super) store: Store,
    pub(super) folder: PathBuf,
    /// Without a slash at its end.
    pub(super) root_url: String,
    pub(super) mergeability: Mergeability,
    pub(super) faults: Option<Faults>,
    locks: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>,
}

/// Proof that nobody else changes the refs and pull requests of a repository.
pub(super) struct RepositoryLock {
    _guard: OwnedMutexGuard<()>,
}

impl Forge {
    pub(super) fn new(store: Store, folder: PathBuf, root_url: &str, faults: bool) -> Self {
        Self {
            store,
            folder,
            root_url: root_url.trim_end_matches('/').to_owned(),
            mergeability: Mergeability::default(),
            faults: faults.then(Faults::default),
            locks: Mutex::default(),
        }
    }

    /// Returns the absolute URL of a path that begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root_url)
    }

    pub(super) fn repositories(&self) -> PathBuf {
        self.folder.join("repositories")
    }

    /// Returns the bare repository with this id; folders are named by id, so that a rename moves nothing.
    pub(super) fn git(&self, repository: i64) -> Git {
        Git::at(self.repositories().join(format!("{repository}.git")))
    }

    pub(super) async fn lock(&self, repository: i64) -> RepositoryLock {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(repository).or_default().clone()
        };
        RepositoryLock { _guard: lock.lock_owned().await }
    }
}

/// Returns the current time in whole seconds, as the API counts.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Returns seconds as the API writes them.
pub(super) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// Returns the seconds of a time in a query; what is no time counts as not given.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}
