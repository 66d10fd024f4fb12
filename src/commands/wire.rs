//! The one place that builds adapters for the commands.

use crate::{
    adapters::{process_identity, store::sqlite::SqliteStore},
    config::Root,
    output::{Exit, Failure},
    ports::store::{DriverRow, Store, StoreError},
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

/// Returns this machine's name, as events carry it.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns whether the process that leads a run still lives.
pub fn driver_lives(driver: &DriverRow) -> bool {
    process_identity::lives(driver)
}

/// Returns what a failing store is to people.
pub fn store_failure(error: &StoreError) -> Failure {
    let (exit, hint) = match error {
        StoreError::NewerSchema { .. } => (Exit::User, "this root was used by a newer rig: update this one"),
        StoreError::NotWritable { .. } => {
            (Exit::User, "check that the state folder is writable and its disk is not full")
        }
        StoreError::Damaged { .. } => (Exit::Internal, "keep a copy of state/rig.db before anything else"),
        StoreError::Conflict { .. } | StoreError::AlreadyOpen { .. } | StoreError::NoSlot { .. } => (Exit::Held, ""),
        StoreError::Failed { .. } => (Exit::Internal, "try again; if it stays, look at state/rig.db and its disk"),
    };
    Failure::new(exit, error).hint(hint)
}
