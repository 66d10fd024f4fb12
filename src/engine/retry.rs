//! Another try of an issue whose last run has ended: a person's word, kept among the decisions, that what earlier runs have
//! used up does not count any more. The next tick takes the issue like any other.

use super::{World, claim};
use crate::{
    domain::{code::Code, ids::IssueNumber, run::IssueState},
    ports::{
        forge::ForgeError,
        store::{DecisionRow, StoreError, StoreResult},
    },
};
use jiff::Timestamp;

/// Newest decisions about an issue among which the word is looked for.
const DECISIONS: u32 = 500;

#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

/// Makes an issue claimable again: what held it back is forgiven first, then its label says so. Safe to repeat.
pub async fn release(world: &World, issue: IssueNumber, who: &str) -> Result<(), RetryError> {
    let at = world.clock.now();
    let decision = DecisionRow {
        project: world.project.name.clone(),
        subject_kind: "issue".into(),
        subject: issue.0,
        code: Code::RetryAsked.name().into(),
        // With its time, since a decision that repeats the last one is not kept.
        words: format!("{who} asked for another try at {at:.0}"),
        at,
    };
    world.store.record_decisions(&[decision]).await?;
    claim::set_state(world, issue, IssueState::Backlog).await?;
    claim::unassign(world, issue).await?;
    Ok(())
}

/// Returns when a person last asked for another try of an issue.
pub async fn asked_at(world: &World, issue: IssueNumber) -> StoreResult<Option<Timestamp>> {
    let decisions = world.store.decisions(&world.project.name, Some(issue.0), DECISIONS).await?;
    Ok(decisions
        .into_iter()
        .filter(|row| row.subject_kind == "issue" && row.code == Code::RetryAsked.name())
        .map(|row| row.at)
        .max())
}
