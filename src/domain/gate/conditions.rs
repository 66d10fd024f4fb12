//! The conditions of the gate, one pure function each.
//!
//! | condition | codes of its reasons |
//! |---|---|
//! | `open` | `merged`, `closed` |
//! | `not_draft` | `draft` |
//! | `targets_primary` | `other_base` |
//! | `ci` | `ci_unknown`, `ci_at_other_head`, `ci_pending`, `ci_red`, `ci_broken` |
//! | `approvals` | `reviews_unknown`, `approvals_missing` |
//! | `no_request_for_changes` | `reviews_unknown`, `changes_requested` |
//! | `closes_issue` | `closes_missing` |
//! | `mergeable` | `not_mergeable` |

use super::{GateSnapshot, approvals, closes_issue};
use crate::domain::{
    ci::CiVerdict,
    ids::{IssueNumber, Login, Sha},
    issue::OpenOrClosed,
    known::Known,
};

/// One thing that must hold before a merge.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    pub name: &'static str,
    /// Returns why the condition does not hold; `None` when it does.
    pub unmet: fn(&GateSnapshot) -> Option<NotReady>,
}

/// All conditions, cheapest to understand first.
pub const CONDITIONS: &[Condition] = &[
    Condition { name: "open", unmet: open },
    Condition { name: "not_draft", unmet: not_draft },
    Condition { name: "targets_primary", unmet: targets_primary },
    Condition { name: "ci", unmet: ci },
    Condition { name: "approvals", unmet: enough_approvals },
    Condition { name: "no_request_for_changes", unmet: no_request_for_changes },
    Condition { name: "closes_issue", unmet: closes },
    Condition { name: "mergeable", unmet: mergeable },
];

/// Why a pull request is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    Merged,
    Closed,
    Draft,
    OtherBase { base: String, primary: String },
    CiUnknown(String),
    CiAtOtherHead { judged: Sha, head: Sha },
    CiPending { missing: Vec<String> },
    CiRed { steps: Vec<String> },
    CiBroken(String),
    ReviewsUnknown(String),
    ApprovalsMissing { at_head: u32, required: u32 },
    ChangesRequested { by: Vec<Login> },
    ClosesMissing(IssueNumber),
    NotMergeable,
}

impl NotReady {
    /// Returns the code, which stays the same across versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Closed => "closed",
            Self::Draft => "draft",
            Self::OtherBase { .. } => "other_base",
            Self::CiUnknown(_) => "ci_unknown",
            Self::CiAtOtherHead { .. } => "ci_at_other_head",
            Self::CiPending { .. } => "ci_pending",
            Self::CiRed { .. } => "ci_red",
            Self::CiBroken(_) => "ci_broken",
            Self::ReviewsUnknown(_) => "reviews_unknown",
            Self::ApprovalsMissing { .. } => "approvals_missing",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::ClosesMissing(_) => "closes_missing",
            Self::NotMergeable => "not_mergeable",
        }
    }

    /// Returns the reason in words, with what it depended on.
    pub fn words(&self) -> String {
        match self {
            Self::Merged => "it is merged already".into(),
            Self::Closed => "it is closed".into(),
            Self::Draft => "it is a draft".into(),
            Self::OtherBase { base, primary } => format!("it targets `{base}`, not `{primary}`"),
            Self::CiUnknown(why) => format!("the result of CI is unknown: {why}"),
            Self::CiAtOtherHead { judged, head } => {
                format!("CI judged {}, but the head is {}", judged.short(), head.short())
            }
            Self::CiPending { missing } if missing.is_empty() => "CI has not finished".into(),
            Self::CiPending { missing } => format!("CI has not finished: {}", missing.join(", ")),
            Self::CiRed { steps } if steps.is_empty() => "CI failed".into(),
            Self::CiRed { steps } => format!("CI failed: {}", steps.join(", ")),
            Self::CiBroken(why) => format!("CI could not judge it: {why}"),
            Self::ReviewsUnknown(why) => format!("its reviews are unknown: {why}"),
            Self::ApprovalsMissing { at_head, required } => {
                format!("{at_head} of {required} required approvals at its head")
            }
            Self::ChangesRequested { by } => {
                let by: Vec<&str> = by.iter().map(Login::as_str).collect();
                format!("changes requested by {}", by.join(", "))
            }
            Self::ClosesMissing(issue) => format!("its text does not say `Closes {issue}`"),
            Self::NotMergeable => "the forge does not call it mergeable (a conflict, or still being computed)".into(),
        }
    }
}

fn open(snapshot: &GateSnapshot) -> Option<NotReady> {
    let pull_request = &snapshot.pull_request;
    if pull_request.merged {
        return Some(NotReady::Merged);
    }
    (pull_request.state == OpenOrClosed::Closed).then_some(NotReady::Closed)
}

fn not_draft(snapshot: &GateSnapshot) -> Option<NotReady> {
    snapshot.pull_request.draft.then_some(NotReady::Draft)
}

fn targets_primary(snapshot: &GateSnapshot) -> Option<NotReady> {
    let (base, primary) = (&snapshot.pull_request.base_branch, &snapshot.policy.primary_branch);
    (base != primary).then(|| NotReady::OtherBase { base: base.clone(), primary: primary.clone() })
}

fn ci(snapshot: &GateSnapshot) -> Option<NotReady> {
    let head = &snapshot.pull_request.head;
    match &snapshot.ci {
        Known::Unknown(why) => Some(NotReady::CiUnknown(why.clone())),
        Known::Known((judged, _)) if judged != head => {
            Some(NotReady::CiAtOtherHead { judged: judged.clone(), head: head.clone() })
        }
        Known::Known((_, verdict)) => match verdict {
            CiVerdict::Green => None,
            CiVerdict::Pending { missing } => Some(NotReady::CiPending { missing: missing.clone() }),
            CiVerdict::Red { steps } => {
                Some(NotReady::CiRed { steps: steps.iter().map(|step| step.name.clone()).collect() })
            }
            CiVerdict::Broken { why } => Some(NotReady::CiBroken(why.clone())),
        },
    }
}

fn enough_approvals(snapshot: &GateSnapshot) -> Option<NotReady> {
    let reviews = match &snapshot.reviews {
        Known::Unknown(why) => return Some(NotReady::ReviewsUnknown(why.clone())),
        Known::Known(reviews) => reviews,
    };
    let approving = approvals::approving_at_head(&snapshot.pull_request, reviews, &snapshot.policy);
    let at_head = u32::try_from(approving.len()).unwrap_or(u32::MAX);
    let required = snapshot.policy.required_approvals;
    (at_head < required).then_some(NotReady::ApprovalsMissing { at_head, required })
}

fn no_request_for_changes(snapshot: &GateSnapshot) -> Option<NotReady> {
    let reviews = match &snapshot.reviews {
        Known::Unknown(why) => return Some(NotReady::ReviewsUnknown(why.clone())),
        Known::Known(reviews) => reviews,
    };
    let by = approvals::requesting_changes(&snapshot.pull_request, reviews, &snapshot.policy);
    (!by.is_empty()).then_some(NotReady::ChangesRequested { by })
}

fn closes(snapshot: &GateSnapshot) -> Option<NotReady> {
    let issue = snapshot.policy.must_close?;
    (!closes_issue(&snapshot.pull_request.body, issue)).then_some(NotReady::ClosesMissing(issue))
}

fn mergeable(snapshot: &GateSnapshot) -> Option<NotReady> {
    (!snapshot.pull_request.mergeable).then_some(NotReady::NotMergeable)
}
