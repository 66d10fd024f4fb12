//! Asks CI about a run's commit: not at all where only documents change, and anew after the machinery broke, unless it breaks
//! for everybody. What a verdict means for the run is the domain's.

use super::{World, dispatch::DispatchError, gate};
use crate::{
    domain::{
        ci::{CiVerdict, brake},
        ids::Sha,
        run::Run,
    },
    ports::{ci::CiError, ci_breaks::Break},
};

/// Returns the verdict on a commit; `None` when CI is to be left alone for now.
pub(super) async fn verdict(world: &World, run: &Run, head: &Sha) -> Result<Option<CiVerdict>, DispatchError> {
    let breaks = run.used.ci_breaks;
    if breaks > 0 {
        if is_held(world, run.id.as_str()) {
            return Ok(None);
        }
        world.ci.restart(head, breaks).await?;
    }
    let verdict = ask(world, head, run.issue.0).await?;
    note(world, run.id.as_str(), &verdict);
    Ok(Some(verdict))
}

/// Returns CI's verdict; people find a log of it by the number. Where CI is but watched, git is asked for the files only when there is something to be gained.
pub(super) async fn ask(world: &World, head: &Sha, number: u64) -> Result<CiVerdict, CiError> {
    let runs_here = world.ci.runs_here();
    if runs_here && gate::is_docs_only(world, head).await {
        return Ok(CiVerdict::Green);
    }
    let verdict = world.ci.run_for(head, number).await?;
    let spared = !runs_here && verdict != CiVerdict::Green && gate::is_docs_only(world, head).await;
    Ok(if spared { CiVerdict::Green } else { verdict })
}

/// Returns whether what has broken is to be left alone, since CI breaks for many on this host.
pub(super) fn is_held(world: &World, who: &str) -> bool {
    let now = world.clock.now();
    let breaks = world.ci_breaks.since(brake::counts_since(now)).unwrap_or_else(|error| {
        tracing::warn!(%error, "what CI broke for lately on this host cannot be read; nothing is held back");
        Vec::new()
    });
    let held = brake::holds(who, breaks.iter().map(|broken| (broken.who.as_str(), broken.at)), now);
    if held {
        tracing::warn!(who, "CI breaks for many on this host; it is not started anew yet");
    }
    held
}

/// Notes for the whole host that CI broke for a run or a check, if it did.
pub(super) fn note(world: &World, who: &str, verdict: &CiVerdict) {
    if !matches!(verdict, CiVerdict::Broken { .. }) {
        return;
    }
    let broken = Break { who: who.to_owned(), at: world.clock.now() };
    if let Err(error) = world.ci_breaks.note(&broken) {
        tracing::warn!(%error, who, "that CI broke cannot be noted; others are not held back by it");
    }
}
