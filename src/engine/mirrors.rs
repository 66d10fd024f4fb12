//! Keeps mirrors at the primary branch: after a merge, at every tick until each is there, and when a person asks. What stays
//! behind is told once, and so is that it has caught up. Deliberately absent: forcing anything.

use super::{World, dispatch::DispatchError, tick::Report};
use crate::{
    config::settings::Mirror,
    domain::ids::{EffectId, Seq, Sha},
    ports::{
        launch::Errand,
        lock::{LockError, LockName},
        store::{MirrorRow, Notice, StoreResult},
        workspace::{MirrorPush, WorkspaceResult},
    },
};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Longest wait for another process that pushes to the same mirror.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Brings the primary branch and the tags to every mirror that does not have them; a mirror that fails is noted, and ticks go
/// on with it. All mirrors at once, each with its own time.
pub async fn push(world: &World) -> Result<Vec<MirrorRow>, DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = world.project.mirrors.keys().map(String::as_str).collect();
    push_to(world, &names, false).await
}

/// Pushes to chosen mirrors whatever is known of them.
pub async fn push_anyway(world: &World, names: &[&str]) -> Result<Vec<MirrorRow>, DispatchError> {
    push_to(world, names, true).await
}

/// The part of a tick: leaves it to an errand to go on with mirrors that do not have the primary branch's tip. A mirror that
/// hangs holds up no tick.
pub(super) async fn go_on(world: &World, report: &mut Report) -> Result<(), DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(());
    }
    let rows = world.store.mirrors(&world.project.name).await?;
    let tip = world.forge.branch_tip(&world.project.primary_branch).await?;
    if !world.project.mirrors.keys().all(|name| tip.as_ref().is_some_and(|tip| is_there(&rows, name, tip))) {
        start(world, report);
    }
    Ok(())
}

/// Starts the errand.
pub(super) fn start(world: &World, report: &mut Report) {
    if world.project.mirrors.is_empty() {
        return;
    }
    if let Err(error) = world.machine.start_errand(&world.project.name, Errand::Mirrors) {
        report.problem(format!("mirrors: {error}"));
    }
}

fn is_there(rows: &[MirrorRow], name: &str, commit: &Sha) -> bool {
    rows.iter().any(|row| row.mirror == *name && row.sha.as_ref() == Some(commit) && row.error.is_empty())
}

async fn push_to(world: &World, names: &[&str], anyway: bool) -> Result<Vec<MirrorRow>, DispatchError> {
    let commit = world.workspace.fetch_primary().await?;
    let wanted = world.project.mirrors.iter().filter(|(name, _)| names.contains(&name.as_str()));
    let pushes = wanted.map(|(name, mirror)| push_one(world, name, mirror, &commit, anyway));
    let mut rows = Vec::new();
    for pushed in join_all(pushes).await {
        rows.extend(pushed?);
    }
    Ok(rows)
}

/// Pushes to one mirror, unless it is there or another process is at it: one that hangs is waited for by that process alone.
/// `None` when nothing was to be done, or nothing is known of it yet.
async fn push_one(
    world: &World,
    name: &str,
    mirror: &Mirror,
    commit: &Sha,
    anyway: bool,
) -> Result<Option<MirrorRow>, DispatchError> {
    let known = async || -> StoreResult<Option<MirrorRow>> {
        let rows = world.store.mirrors(&world.project.name).await?;
        Ok(rows.into_iter().find(|row| row.mirror == name))
    };
    let _pushing = match world.locks.take(LockName::Mirror(digest(&mirror.url)), LOCK_WAIT).await {
        Ok(held) => held,
        Err(LockError::Held { .. }) => {
            tracing::info!(mirror = name, "another process pushes to the mirror; a tick looks after it");
            return Ok(known().await?);
        }
        Err(error) => return Err(error.into()),
    };
    let before = known().await?;
    if !anyway && before.as_ref().is_some_and(|row| is_there(std::slice::from_ref(row), name, commit)) {
        return Ok(before);
    }
    let pushed = world.workspace.push_mirror(name, &mirror.url, commit).await;
    let (row, news) = judge(world, name, before.as_ref(), pushed);
    if let Some(text) = news {
        tell(world, name, before.as_ref(), text).await?;
    }
    world.store.set_mirror(&row).await?;
    Ok(Some(row))
}

fn digest(url: &str) -> u64 {
    let digest = Sha256::digest(url);
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Returns how the mirror stands now, and what people are to be told of it.
fn judge(
    world: &World,
    name: &str,
    before: Option<&MirrorRow>,
    pushed: WorkspaceResult<MirrorPush>,
) -> (MirrorRow, Option<String>) {
    let (sha, error, is_diverged) = match pushed {
        Ok(MirrorPush::At(sha)) => (Some(sha), String::new(), false),
        Ok(MirrorPush::Diverged(how)) => (None, format!("it has diverged: {how}"), true),
        Ok(MirrorPush::Failed(why)) => (None, why, false),
        Err(error) => (None, error.to_string(), false),
    };
    let error = world.redactor.redact(&error).into_owned();
    let was_told = before.is_some_and(|row| row.told);
    let failed_before = before.is_some_and(|row| !row.error.is_empty());
    let news = match error.is_empty() {
        true => was_told.then(|| format!("mirror {name} has caught up")),
        // One failure may be a passing one; a mirror that has gone its own way stays there until a person comes.
        false => (!was_told && (failed_before || is_diverged)).then(|| format!("mirror {name} stays behind: {error}")),
    };
    let row = MirrorRow {
        project: world.project.name.clone(),
        mirror: name.to_owned(),
        sha: sha.or_else(|| before.and_then(|row| row.sha.clone())),
        told: !error.is_empty() && (was_told || news.is_some()),
        error,
        at: world.clock.now(),
    };
    (row, news)
}

/// Puts a notice into the outbox, by way of the project's newest run. Two processes that find the same out tell it once: the
/// notice's id is made of what both have read.
async fn tell(world: &World, name: &str, before: Option<&MirrorRow>, text: String) -> StoreResult<()> {
    let Some(run) = world.store.recent_runs(Some(&world.project.name), 1).await?.into_iter().next() else {
        tracing::warn!(project = %world.project.name, mirror = name, "{text}");
        return Ok(());
    };
    let place = world.project.mirrors.keys().position(|other| other == name).unwrap_or_default();
    let since = before.map_or(run.claimed_at, |row| row.at);
    let id = EffectId {
        run: run.run,
        seq: Seq(u64::try_from(since.as_millisecond()).unwrap_or_default()),
        index: u16::try_from(place).unwrap_or(u16::MAX),
    };
    let urgent = !text.ends_with("caught up");
    let notice = Notice {
        id,
        project: world.project.name.clone(),
        issue: run.issue,
        text,
        urgent,
        on_issue: true,
        at: world.clock.now(),
    };
    world.store.put_notice(&notice).await
}
