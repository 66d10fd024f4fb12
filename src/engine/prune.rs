//! Forgets what nobody needs of runs that ended long ago: the files of their hooks, and what people were told. A part of each tick,
//! some runs at a time. The journal stays, and so does everything of a run that is open.

use super::World;
use crate::ports::store::StoreResult;
use jiff::{SignedDuration, Timestamp};

/// Time for which it is kept: nothing of a run is repeated so long after its end, and nobody looks for it by then.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Forgets what may go now. Files first: what is still in the store is found again by the next tick.
pub(super) async fn prune(world: &World) -> StoreResult<()> {
    let before = world.clock.now().checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let old = world.store.told_long_ago(before).await?;
    if old.is_empty() {
        return Ok(());
    }
    let mut gone = Vec::new();
    for run in old.runs {
        match world.machine.forget_hooks(&run.project, run.issue, &run.run) {
            Ok(()) => gone.push(run.run),
            Err(error) => tracing::warn!(run = %run.run, %error, "the file of a run's hooks stays"),
        }
    }
    world.store.forget_told(&gone, before).await?;
    tracing::debug!(runs = gone.len(), "what was told long ago is forgotten");
    Ok(())
}
