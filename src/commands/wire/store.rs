//! Opens the root's store.

use super::host;
use crate::{
    adapters::store::sqlite::SqliteStore,
    config::{self, Root},
    output::{Exit, Failure},
    ports::store::{Store, StoreError, StoreResult},
};
use std::sync::Arc;

/// Opens the root's store when there is one. Makes none: a command that only looks leaves no trace.
pub async fn existing_store(root: &Root) -> Result<Option<Arc<dyn Store>>, Failure> {
    let path = root.database();
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => {
            return Err(Failure::user(format!("the store {} cannot be reached: {error}", path.display()))
                .hint("run rig as the user who owns the state folder"));
        }
    }
    let store = SqliteStore::open(&path, &host()).await.map_err(|error| store_failure(&error))?;
    Ok(Some(Arc::new(store)))
}

/// Opens the root's store, making it when there is none.
pub async fn store(root: &Root) -> Result<Arc<dyn Store>, Failure> {
    root.ensure_state().map_err(super::super::root_failure)?;
    let store = SqliteStore::open(&root.database(), &host()).await.map_err(|error| store_failure(&error))?;
    name_repositories(root, &store).await.map_err(|error| store_failure(&error))?;
    Ok(Arc::new(store))
}

/// Writes down which repository the runs of an older rig work on, so that no project of the same one begins them again.
async fn name_repositories(root: &Root, store: &dyn Store) -> StoreResult<()> {
    let open = store.open_runs(None).await?;
    if open.iter().all(|row| !row.repository.is_unknown()) {
        return Ok(());
    }
    for project in config::load(root, &[]).projects {
        store.name_repository(&project.name, &project.key()).await?;
    }
    Ok(())
}

/// Returns what a failing store is to people.
pub fn store_failure(error: &StoreError) -> Failure {
    let (exit, hint) = match error {
        StoreError::NewerSchema { .. } => (Exit::User, "this root was used by a newer rig: update this one"),
        StoreError::NotWritable { .. } => {
            (Exit::User, "check that the state folder is writable and its disk is not full")
        }
        StoreError::Damaged { .. } => (Exit::Internal, "keep a copy of state/rig.db before anything else"),
        StoreError::RunEnded { .. } => (Exit::User, "rig retry begins another run"),
        StoreError::Conflict { .. } | StoreError::AlreadyOpen { .. } | StoreError::NoSlot { .. } => (Exit::Held, ""),
        StoreError::Failed { .. } => (Exit::Internal, "try again; if it stays, look at state/rig.db and its disk"),
    };
    Failure::new(exit, error).hint(hint)
}
