//! A crash is a restart: the journal is folded into the run, and everything else is observed again.

use super::World;
use crate::{
    domain::{
        ids::{RunId, Seq},
        run::{self, Fact, Run},
    },
    ports::store::{RecordedEvent, Store, StoreError, StoreResult},
};

/// Returns a run as its journal has it.
pub async fn load(world: &World, id: &RunId) -> StoreResult<Run> {
    load_from(&*world.store, id).await
}

/// Returns a run as its journal has it, for those who have no world.
pub async fn load_from(store: &dyn Store, id: &RunId) -> StoreResult<Run> {
    let events = store.events(id, Seq(0)).await?;
    let facts = events.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    run::fold(id, &facts).ok_or_else(|| StoreError::Damaged {
        position: events.first().map_or(0, |event| event.position),
        message: format!("the journal of run {id} does not begin with a claim"),
    })
}

/// Reads the fact that a recorded event holds.
pub fn read(event: &RecordedEvent) -> StoreResult<Fact> {
    serde_json::from_value(event.body.clone()).map_err(|error| StoreError::Damaged {
        position: event.position,
        message: format!("the {} of run {} cannot be read: {error}", event.kind, event.run),
    })
}
