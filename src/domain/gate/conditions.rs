//! The conditions of the gate, one pure function each.
//!
//! | condition | codes of its reasons |
//! |---|---|
//! | `open` | `merged`, `closed` |
//! | `not_draft` | `draft` |
//! | `targets_primary` | `other_base` |
//! | `ci` | `ci_unknown`, `ci_at_other_head`, `ci_pending`, `ci_red`, `ci_broken`, `ci_held` |
//! | `approvals` | `reviews_unknown`, `approvals_missing` |
//! | `no_request_for_changes` | `reviews_unknown`, `changes_requested` |
//! | `closes_issue` | `closes_missing` |
//! | `code_owners` | `changes_unknown`, `code_owners_unreadable`, `code_owners_missing` |
//! | `foundations` | `changes_unknown`, `reviews_unknown`, `person_missing` |
//! | `mergeable` | `not_mergeable` |

use super::{
    Changes, GateSnapshot, approvals,
    changes::{lies_within, resting_on},
    closes_issue,
};
use crate::domain::{
    ci::CiVerdict,
    ids::{IssueNumber, Login, Sha},
    issue::OpenOrClosed,
    known::Known,
    pull_request::Review,
};
use std::collections::BTreeSet;

/// Files that a reason names; a change of thousands would fill every page.
const FILES_NAMED: usize = 5;

/// One thing that must hold before a merge.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    pub name: &'static str,
    /// Returns what was seen where the condition holds, in words; else why it does not.
    pub judge: fn(&GateSnapshot) -> Result<String, NotReady>,
}

/// All conditions, cheapest to understand first.
pub const CONDITIONS: &[Condition] = &[
    Condition { name: "open", judge: open },
    Condition { name: "not_draft", judge: not_draft },
    Condition { name: "targets_primary", judge: targets_primary },
    Condition { name: "ci", judge: ci },
    Condition { name: "approvals", judge: enough_approvals },
    Condition { name: "no_request_for_changes", judge: no_request_for_changes },
    Condition { name: "closes_issue", judge: closes },
    Condition { name: "code_owners", judge: code_owners },
    Condition { name: "foundations", judge: foundations },
    Condition { name: "mergeable", judge: mergeable },
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
    CiHeld(String),
    ReviewsUnknown(String),
    ApprovalsMissing { at_head: u32, required: u32 },
    ChangesRequested { by: Vec<Login> },
    ClosesMissing(IssueNumber),
    ChangesUnknown(String),
    CodeOwnersUnreadable { lines: Vec<usize> },
    CodeOwnersMissing { owners: Vec<String>, files: Vec<String> },
    PersonMissing { files: Vec<String> },
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
            Self::CiHeld(_) => "ci_held",
            Self::ReviewsUnknown(_) => "reviews_unknown",
            Self::ApprovalsMissing { .. } => "approvals_missing",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::ClosesMissing(_) => "closes_missing",
            Self::ChangesUnknown(_) => "changes_unknown",
            Self::CodeOwnersUnreadable { .. } => "code_owners_unreadable",
            Self::CodeOwnersMissing { .. } => "code_owners_missing",
            Self::PersonMissing { .. } => "person_missing",
            Self::NotMergeable => "not_mergeable",
        }
    }

    /// Returns whether a fact is lacking, rather than against the pull request.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::CiUnknown(_) | Self::ReviewsUnknown(_) | Self::ChangesUnknown(_))
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
            Self::CiHeld(why) => format!("CI waits for a person: {why}"),
            Self::ReviewsUnknown(why) => format!("its reviews are unknown: {why}"),
            Self::ApprovalsMissing { at_head, required } => {
                format!("{at_head} of {required} required approvals at its head")
            }
            Self::ChangesRequested { by } => {
                let by: Vec<&str> = by.iter().map(Login::as_str).collect();
                format!("changes requested by {}", by.join(", "))
            }
            Self::ClosesMissing(issue) => format!("its text does not say `Closes {issue}`"),
            Self::ChangesUnknown(why) => format!("what it changes is unknown: {why}"),
            Self::CodeOwnersUnreadable { lines } => {
                let lines: Vec<String> = lines.iter().take(FILES_NAMED).map(usize::to_string).collect();
                format!("CODEOWNERS cannot be read (line {}); mend it on the primary branch", lines.join(", "))
            }
            Self::CodeOwnersMissing { owners, files } => {
                format!("none of {} has approved its head, who own {}", owners.join(", "), some_of(files))
            }
            Self::PersonMissing { files } => {
                format!("it changes what the gate rests on ({}); a person must approve its head", some_of(files))
            }
            Self::NotMergeable => "the forge does not call it mergeable (a conflict, or still being computed)".into(),
        }
    }
}

/// Returns the first of some files, for people.
fn some_of(files: &[String]) -> String {
    let mut named: Vec<&str> = files.iter().take(FILES_NAMED).map(String::as_str).collect();
    let more = files.len() - named.len();
    let more = format!("{more} more");
    if files.len() > FILES_NAMED {
        named.push(&more);
    }
    named.join(", ")
}

fn names(logins: &[Login]) -> String {
    logins.iter().map(Login::as_str).collect::<Vec<_>>().join(", ")
}

fn open(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let pull_request = &snapshot.pull_request;
    if pull_request.merged {
        return Err(NotReady::Merged);
    }
    if pull_request.state == OpenOrClosed::Closed {
        return Err(NotReady::Closed);
    }
    Ok("it is open".into())
}

fn not_draft(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    if snapshot.pull_request.draft { Err(NotReady::Draft) } else { Ok("it is no draft".into()) }
}

fn targets_primary(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let (base, primary) = (&snapshot.pull_request.base_branch, &snapshot.policy.primary_branch);
    if base != primary {
        return Err(NotReady::OtherBase { base: base.clone(), primary: primary.clone() });
    }
    Ok(format!("it targets `{primary}`"))
}

fn ci(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let head = &snapshot.pull_request.head;
    if let Known::Known(changes) = &snapshot.changes
        && needs_no_ci(changes, &snapshot.policy.docs_only_paths)
    {
        return Ok("it changes only files that need no CI (`ci.docs_only_paths`)".into());
    }
    match &snapshot.ci {
        Known::Unknown(why) => Err(NotReady::CiUnknown(why.clone())),
        Known::Known((judged, _)) if judged != head => {
            Err(NotReady::CiAtOtherHead { judged: judged.clone(), head: head.clone() })
        }
        Known::Known((_, verdict)) => match verdict {
            CiVerdict::Green => Ok(format!("CI passed at {}", head.short())),
            CiVerdict::Pending { missing } => Err(NotReady::CiPending { missing: missing.clone() }),
            CiVerdict::Red { steps } => {
                Err(NotReady::CiRed { steps: steps.iter().map(|step| step.name.clone()).collect() })
            }
            CiVerdict::Broken { why } => Err(NotReady::CiBroken(why.clone())),
            CiVerdict::Held { why } => Err(NotReady::CiHeld(why.clone())),
        },
    }
}

/// Returns whether a change needs no CI: all its files, and there are some, match the globs.
pub fn needs_no_ci(changes: &Changes, docs_only_paths: &[String]) -> bool {
    let globs: Vec<&str> = docs_only_paths.iter().map(String::as_str).collect();
    lies_within(&changes.files, &globs)
}

fn known_reviews(snapshot: &GateSnapshot) -> Result<&[Review], NotReady> {
    match &snapshot.reviews {
        Known::Unknown(why) => Err(NotReady::ReviewsUnknown(why.clone())),
        Known::Known(reviews) => Ok(reviews),
    }
}

fn known_changes(snapshot: &GateSnapshot) -> Result<&Changes, NotReady> {
    match &snapshot.changes {
        Known::Unknown(why) => Err(NotReady::ChangesUnknown(why.clone())),
        Known::Known(changes) => Ok(changes),
    }
}

fn enough_approvals(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let approving = approvals::approving_at_head(&snapshot.pull_request, known_reviews(snapshot)?, &snapshot.policy);
    let at_head = u32::try_from(approving.len()).unwrap_or(u32::MAX);
    let required = snapshot.policy.required_approvals;
    if at_head < required {
        return Err(NotReady::ApprovalsMissing { at_head, required });
    }
    let by = if approving.is_empty() { String::new() } else { format!(" (by {})", names(&approving)) };
    Ok(format!("{at_head} of {required} required approvals at its head{by}"))
}

fn no_request_for_changes(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let by = approvals::requesting_changes(&snapshot.pull_request, known_reviews(snapshot)?, &snapshot.policy);
    if by.is_empty() { Ok("nobody requests changes".into()) } else { Err(NotReady::ChangesRequested { by }) }
}

fn closes(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    match snapshot.policy.must_close {
        None => Ok("it need not close an issue".into()),
        Some(issue) if closes_issue(&snapshot.pull_request.body, issue) => Ok(format!("its text closes {issue}")),
        Some(issue) => Err(NotReady::ClosesMissing(issue)),
    }
}

/// Each changed file that has owners needs the approval of one of them, of each list of them that it has.
fn code_owners(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    if !snapshot.policy.require_code_owners {
        return Ok("owners are not asked for (`merge.require_codeowners`)".into());
    }
    let changes = known_changes(snapshot)?;
    let Some(code_owners) = &changes.code_owners else { return Ok("the primary branch has no CODEOWNERS".into()) };
    if !code_owners.damaged_lines.is_empty() {
        return Err(NotReady::CodeOwnersUnreadable { lines: code_owners.damaged_lines.clone() });
    }
    let reviews = known_reviews(snapshot)?;
    let approving = approvals::everyone_approving_at_head(&snapshot.pull_request, reviews, &snapshot.policy);
    let approved = |owner: &super::Owner| match owner {
        super::Owner::Account(login) => approving.iter().any(|approver| approver.is(login)),
        super::Owner::Other(_) => false,
    };
    let (mut owners, mut files) = (BTreeSet::new(), Vec::new());
    for file in &changes.files {
        let mut lists = code_owners.owners_of(file);
        lists.retain(|list| !list.iter().any(approved));
        if !lists.is_empty() {
            files.push(file.clone());
            owners.extend(lists.concat().iter().map(|owner| owner.as_str().to_owned()));
        }
    }
    match files.is_empty() {
        true => Ok("an owner of every file that has owners has approved its head".into()),
        false => Err(NotReady::CodeOwnersMissing { owners: owners.into_iter().collect(), files }),
    }
}

/// What the gate itself rests on changes only with a person's approval, by a review or by a word to rig itself.
fn foundations(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    let changes = known_changes(snapshot)?;
    let protected: Vec<&str> = snapshot.policy.protected_paths.iter().map(String::as_str).collect();
    let shaken = resting_on(&changes.files, &protected, &snapshot.policy.ci_files);
    if shaken.is_empty() {
        return Ok("it changes nothing that the gate rests on".into());
    }
    let head = &snapshot.pull_request.head;
    if let Some(acceptance) = snapshot.accepted.iter().find(|acceptance| acceptance.head == *head) {
        return Ok(format!("{} accepted the change of {} at its head", acceptance.who, shaken.join(", ")));
    }
    let approving = approvals::approving_at_head(&snapshot.pull_request, known_reviews(snapshot)?, &snapshot.policy);
    let is_person = |login: &&Login| !snapshot.policy.bots.iter().any(|bot| bot.is(login));
    match approving.iter().find(is_person) {
        Some(person) => Ok(format!("{person} approved the change of {} at its head", shaken.join(", "))),
        None => Err(NotReady::PersonMissing { files: shaken.into_iter().map(str::to_owned).collect() }),
    }
}

fn mergeable(snapshot: &GateSnapshot) -> Result<String, NotReady> {
    if snapshot.pull_request.mergeable {
        Ok("the forge calls it mergeable".into())
    } else {
        Err(NotReady::NotMergeable)
    }
}
