//! The selection: from a snapshot to one decision for every candidate.
//!
//! The order is: orphans (labelled in progress, claimed by this root, without an open run), then `priority` + `backlog`,
//! then `backlog`; first in, first out within each, by the time of creation, then by number. The order of the input does
//! not matter. A candidate is selected while slots are free; a fact that is unknown never selects, and never stops another
//! candidate.
//!
//! Some facts cost a request each, so they are asked for only where they decide: the states of dependencies that are no
//! candidates, and the forge's own dependency links once all written dependencies are closed. The caller repeats
//!
//! ```text
//! loop { let selection = select(&snapshot); if selection.asks.is_empty() { launch(selection.selected()); break }
//!        fetch selection.asks into snapshot.issues and snapshot.links, failures as Known::Unknown }
//! ```
//!
//! A round asks for the links of at most as many candidates as slots are free. Where one that would be taken still needs the
//! states of its dependencies, those of the candidates behind it are asked for at once, more of them in each round: twenty
//! issues that all wait cost two rounds, not twenty. Nothing is asked for again that is in the snapshot, so the loop ends.
//! What a round selects stays selected in later rounds.

use super::{
    Decision, QueueSnapshot, Reason, Tier,
    standing::{Standing, View, fact},
};
use crate::domain::ids::IssueNumber;
use jiff::Timestamp;

/// Candidates behind the free slots whose dependencies the first round asks for.
const ASKED_AHEAD: usize = 8;
/// The same of a later round at most: a queue in which thousands wait is read in steps.
const MOST_ASKED_AHEAD: usize = 400;

/// Facts that the selection still needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asks {
    /// Issues to be fetched into `QueueSnapshot::issues`.
    pub issues: Vec<IssueNumber>,
    /// Candidates whose dependency links are to be fetched into `QueueSnapshot::links`.
    pub links: Vec<IssueNumber>,
}

impl Asks {
    /// Returns whether nothing is left to be fetched.
    pub fn is_empty(&self) -> bool {
        self.issues.is_empty() && self.links.is_empty()
    }
}

/// The decisions: of the queue in its order, then of all other candidates by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub decisions: Vec<Decision>,
    /// While this is not empty, the decisions are not final.
    pub asks: Asks,
}

impl Selection {
    /// Returns the issues to start now, in order.
    pub fn selected(&self) -> impl Iterator<Item = IssueNumber> + '_ {
        self.decisions.iter().filter(|decision| matches!(decision.reason, Reason::Selected(_))).map(|d| d.issue)
    }
}

/// Decides for every candidate of the snapshot.
pub fn select(snapshot: &QueueSnapshot) -> Selection {
    let view = View::new(snapshot);
    let mut queued = Vec::new();
    let mut rest = Vec::new();
    for (number, candidate) in &view.candidates {
        match view.place(candidate) {
            Ok((tier, created_at)) => queued.push((tier, created_at, *number)),
            Err(reason) => rest.push(Decision { issue: *number, reason }),
        }
    }
    queued.sort();
    let mut asks = Asks::default();
    let mut decisions = fill_slots(&view, &queued, &mut asks);
    decisions.extend(rest);
    asks.issues.sort();
    asks.issues.dedup();
    Selection { decisions, asks }
}

/// Walks the queue and gives the free slots away; one that still needs facts keeps a slot free until they are there.
fn fill_slots(view: &View<'_>, queued: &[(Tier, Timestamp, IssueNumber)], asks: &mut Asks) -> Vec<Decision> {
    let capacity = capacity(view.snapshot);
    let mut free = capacity.as_ref().copied().unwrap_or(0);
    let mut ahead = (ASKED_AHEAD + 2 * view.snapshot.issues.len()).min(MOST_ASKED_AHEAD);
    let mut decisions = Vec::new();
    for (tier, _, issue) in queued {
        let standing = view.standing(*issue);
        let reason = match (standing, &capacity) {
            (Standing::Waits(reason), _) => reason,
            (_, Err(standstill)) => standstill.clone(),
            (Standing::NeedsIssues(numbers), Ok(_)) if free == 0 && ahead > 0 && !asks.issues.is_empty() => {
                ahead -= 1;
                asks.issues.extend(numbers);
                Reason::NotReached
            }
            (_, Ok(_)) if free == 0 => Reason::NotReached,
            (Standing::Ready, Ok(_)) => {
                free -= 1;
                Reason::Selected(*tier)
            }
            (Standing::NeedsIssues(numbers), Ok(_)) => {
                free -= 1;
                asks.issues.extend(numbers);
                Reason::NotReached
            }
            (Standing::NeedsLinks, Ok(_)) => {
                free -= 1;
                asks.links.push(*issue);
                Reason::NotReached
            }
        };
        decisions.push(Decision { issue: *issue, reason });
    }
    decisions
}

/// Returns how many sessions may start now, at least one; or why none may.
fn capacity(snapshot: &QueueSnapshot) -> Result<u32, Reason> {
    let QueueSnapshot { max_agents, min_free_memory_mb: min_mb, .. } = *snapshot;
    if !*fact(&snapshot.switched_on)? {
        return Err(Reason::SwitchedOff);
    }
    if let Some(until) = snapshot.usage_limit {
        return Err(Reason::UsageLimit { until });
    }
    let taken = *fact(&snapshot.slots_taken)?;
    let waiting = fact(&snapshot.waiting_pull_requests)?;
    let free_mb = *fact(&snapshot.free_memory_mb)?;
    match max_agents.saturating_sub(taken) {
        0 if waiting.is_empty() => Err(Reason::NoFreeSlot { taken, max_agents }),
        0 => {
            let mut waiting = waiting.clone();
            waiting.sort();
            Err(Reason::HeldByWaitingPullRequest(waiting))
        }
        _ if free_mb < min_mb => Err(Reason::MemoryLow { free_mb, min_mb }),
        free => Ok(free),
    }
}
