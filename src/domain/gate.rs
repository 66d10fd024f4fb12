//! The gate: whether a pull request may be merged, and at which commit; or every reason why not.
//!
//! One pure function of a snapshot. Only it makes a `ReadyAt`, and merging takes nothing else, so that what is merged is
//! what was judged. A fact that is unknown never makes a pull request ready. Deliberately absent: what the forge itself
//! demands beyond this (it answers the merge), and what to do about a reason.

mod approvals;
mod changes;
mod ci_files;
mod closing;
mod code_owners;
mod conditions;

pub use approvals::{is_officially_by, marker_review};
pub use changes::{Changes, FOUNDATIONS};
pub use ci_files::ci_files;
pub use closing::{closed_issues, closes_issue};
pub use code_owners::{CodeOwners, Owner, PLACES as CODE_OWNERS_PLACES};
pub use conditions::{CONDITIONS, Condition, NotReady, needs_no_ci};

use super::{
    ci::CiVerdict,
    ids::{IssueNumber, Login, Sha},
    known::Known,
    pull_request::{PullRequest, Review},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a project demands of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatePolicy {
    pub primary_branch: String,
    pub required_approvals: u32,
    /// Accounts whose verdict counts; empty means everyone whom the forge calls official.
    pub reviewers: Vec<Login>,
    /// The issue that the pull request must say it closes; `None` when it needs to close none.
    pub must_close: Option<IssueNumber>,
    /// Files that have owners need the approval of one of them.
    pub require_code_owners: bool,
    /// Globs of files beyond `FOUNDATIONS` whose change a person must approve.
    pub protected_paths: Vec<String>,
    /// Files that the command of CI names, which are protected like those.
    pub ci_files: BTreeSet<String>,
    /// Globs: a change that lies wholly within them needs no CI.
    pub docs_only_paths: Vec<String>,
    /// Accounts whose approval is not a person's.
    pub bots: Vec<Login>,
    /// The account by which rig acts. Its word never counts: an agent may have got hold of its token.
    pub bot: Login,
}

/// A person's word to rig itself that a change of what the gate rests on may pass; never a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceptance {
    pub who: String,
    pub head: Sha,
}

/// The facts about one pull request.
#[derive(Debug, Clone)]
pub struct GateSnapshot {
    pub pull_request: PullRequest,
    /// The verdict of CI, and the commit that it is about.
    pub ci: Known<(Sha, CiVerdict)>,
    /// All reviews in any order, those from marker comments included where the project allows them (see `marker_review`).
    pub reviews: Known<Vec<Review>>,
    pub changes: Known<Changes>,
    /// What people have accepted, at any head.
    pub accepted: Vec<Acceptance>,
    pub policy: GatePolicy,
}

/// Proof that a pull request passed the gate at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyAt(Sha);

impl ReadyAt {
    /// Returns the commit that was judged.
    pub fn head(&self) -> &Sha {
        &self.0
    }
}

/// The answer of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    Ready(ReadyAt),
    /// Every reason, in the order of the conditions; never empty.
    NotReady(Vec<NotReady>),
}

/// What one condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub condition: &'static str,
    /// What was seen, in words, where the condition holds; else why it does not.
    pub outcome: Result<String, NotReady>,
}

/// Judges a pull request by all conditions.
pub fn gate(snapshot: &GateSnapshot) -> Gate {
    evaluate_with(CONDITIONS, snapshot)
}

/// Returns what every condition came to, in their order.
pub fn findings(snapshot: &GateSnapshot) -> Vec<Finding> {
    let find = |condition: &Condition| Finding { condition: condition.name, outcome: (condition.judge)(snapshot) };
    CONDITIONS.iter().map(find).collect()
}

/// Judges by the given conditions only. For tests that leave one out to see that its absence is noticed; everything else
/// calls `gate`.
pub fn evaluate_with(conditions: &[Condition], snapshot: &GateSnapshot) -> Gate {
    let reasons: Vec<NotReady> = conditions.iter().filter_map(|condition| (condition.judge)(snapshot).err()).collect();
    if reasons.is_empty() { Gate::Ready(ReadyAt(snapshot.pull_request.head.clone())) } else { Gate::NotReady(reasons) }
}
