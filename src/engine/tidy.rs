//! Removes what nobody comes back to: worktrees of issues that were closed after their run had ended, and the folders of runs
//! that ended long ago. A few at each tick, under the lock of the issue; what only a worktree has is kept first.

use super::{World, dispatch::DispatchError, resume};
use crate::{
    domain::{ids::IssueNumber, issue::OpenOrClosed},
    ports::{
        forge::ForgeError,
        lock::{LockError, LockName},
        store::{RunRow, StoreResult},
    },
};
use jiff::SignedDuration;
use std::{collections::BTreeSet, time::Duration};

/// Worktrees whose issue one tick asks the forge about.
const WORKTREES: usize = 3;
/// Folders that one tick looks at; each is one look into the store.
const FOLDERS: usize = 50;
/// A run that ended less than this long ago may still be gone on with by hand.
const SETTLED: SignedDuration = SignedDuration::from_hours(1);
/// Time for which the folder of an issue's runs is kept after the end of the last one.
const FOLDER_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Removes a few of the things that are over. What cannot be removed now is logged, and looked at again.
pub(super) async fn tidy(world: &World) -> StoreResult<()> {
    let with_worktree = world.workspace.worktrees();
    let open: BTreeSet<IssueNumber> = world.open_runs().await?.into_iter().map(|row| row.issue).collect();
    let is_over = |number: &IssueNumber| !open.contains(number);
    let over: Vec<IssueNumber> = with_worktree.iter().copied().filter(is_over).collect();
    for number in in_turn(world, &over, WORKTREES) {
        if has_ended_before(world, number, SETTLED).await?
            && let Err(error) = remove_of_closed(world, number).await
        {
            tracing::warn!(issue = number.0, %error, "the worktree of a closed issue stays for now");
        }
    }
    let folders: Vec<IssueNumber> = world.machine.run_folders(&world.project.name);
    let folders: Vec<IssueNumber> =
        folders.into_iter().filter(|number| is_over(number) && !with_worktree.contains(number)).collect();
    for number in in_turn(world, &folders, FOLDERS) {
        if has_ended_before(world, number, FOLDER_KEPT).await?
            && let Err(error) = forget_folder(world, number).await
        {
            tracing::warn!(issue = number.0, %error, "the folder of runs that ended long ago stays for now");
        }
    }
    Ok(())
}

/// Returns some of them, others at another minute: what stays must not keep the rest from their turn.
fn in_turn(world: &World, all: &[IssueNumber], most: usize) -> Vec<IssueNumber> {
    let minute = usize::try_from(world.clock.now().as_second() / 60).unwrap_or_default();
    let first = if all.is_empty() { 0 } else { minute % all.len() };
    all.iter().cycle().skip(first).take(most.min(all.len())).copied().collect()
}

async fn has_ended_before(world: &World, number: IssueNumber, age: SignedDuration) -> StoreResult<bool> {
    let last = world.store.latest_run(&world.project.name, number).await?;
    let now = world.clock.now();
    Ok(last.is_some_and(|row| !row.open && now.duration_since(row.changed_at) >= age))
}

async fn remove_of_closed(world: &World, number: IssueNumber) -> Result<(), DispatchError> {
    match world.forge.issue(number).await {
        Ok(issue) if issue.state == OpenOrClosed::Closed => remove_worktree(world, number).await,
        // An issue that is not there may be there again: a forge that is restored says so of all.
        Ok(_) | Err(ForgeError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the worktree of an issue that no run works on; what is nowhere else is kept first. Gone is gone.
pub(super) async fn remove_worktree(world: &World, number: IssueNumber) -> Result<(), DispatchError> {
    if !world.workspace.worktrees().contains(&number) {
        return Ok(());
    }
    let Some((_lock, last)) = alone_with(world, number).await? else { return Ok(()) };
    if let Some(branch) = resume::load(world, &last.run).await?.branch {
        world.workspace.remove(number, &branch).await?;
        tracing::info!(issue = number.0, "the worktree of an issue that is over is removed");
    }
    Ok(())
}

async fn forget_folder(world: &World, number: IssueNumber) -> Result<(), DispatchError> {
    let Some((_lock, _)) = alone_with(world, number).await? else { return Ok(()) };
    let failed = |error: std::io::Error| {
        DispatchError::Store(crate::ports::store::StoreError::NotWritable { message: error.to_string() })
    };
    world.machine.forget_run_folder(&world.project.name, number).map_err(failed)
}

/// Takes the lock of an issue. Returns it with the last run, if that has ended and nobody else has the lock.
async fn alone_with(
    world: &World,
    number: IssueNumber,
) -> Result<Option<(Box<dyn crate::ports::lock::Held>, RunRow)>, DispatchError> {
    let lock = match world.locks.take(LockName::Run(number), Duration::ZERO).await {
        Err(LockError::Held { .. }) => return Ok(None),
        lock => lock?,
    };
    let last = world.store.latest_run(&world.project.name, number).await?;
    let is_open = world.open_runs().await?.iter().any(|row| row.issue == number);
    Ok(last.filter(|row| !row.open && !is_open).map(|row| (lock, row)))
}
