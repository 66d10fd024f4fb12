//! What a run orders from the outside. Every effect is safe to do twice; each says how. The order's id is the key.

use super::policy::WhenBehind;
use crate::domain::ids::{Attempt, PullRequestNumber, Sha};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Effect {
    /// Tells the forge of the claim and reads back whose it is. Twice: labels and assignees are sets, the comment has a marker.
    ConfirmClaim,
    /// Looks for an open pull request of the issue and for prior art; picks the branch. A pull request that the run goes on with
    /// is made to say that it closes the issue. Twice: what is said is not said again.
    SurveyPriorWork,
    /// Makes the worktree and starts a session. Twice: the attempt number is a fencing token; the same attempt starts once.
    StartSession { attempt: Attempt, resume: Option<Attempt> },
    /// Brings a message to the agent. Twice: the inbox file has the order's id, and the agent's hook acknowledges it.
    Deliver { message: Message, not_before: Option<Timestamp> },
    /// Asks how the branch stands here and on the forge. Reads only.
    InspectBranch { phase: crate::domain::phase::Phase },
    /// Opens the pull request. Twice: found before it is created; "there is one" counts as found.
    OpenPullRequest { head: Sha },
    /// Gets the verdict of CI, not before a time. Twice: CI runs anew for the same commit.
    RunCi { head: Sha, not_before: Option<Timestamp> },
    /// Reads whether the pull request is merged. Reads only.
    VerifyMerged,
    /// Judges once more and merges under the merge lock. Twice: it names the commit; "merged already" counts as merged.
    Merge { pull_request: PullRequestNumber, head: Sha },
    /// Puts the branch onto the primary branch, or merges that into it, and pushes it with a lease on the old head. Twice: the
    /// head on the forge is the truth; what was made for the old head is remembered, found there, and not made again.
    Rebase { head: Sha, how: WhenBehind },
    /// Sets the issue's one state label. Twice: labels are a set, read back.
    SetState { state: IssueState },
    /// Writes on the issue. Twice: the comment carries the order's id in a hidden marker.
    Comment { body: String },
    /// Writes on the issue what went wrong, with the end of the session's screen. Twice: like `Comment`.
    Diagnose { why: String },
    /// Closes the issue, if the forge has not done so. Twice: closed is closed.
    CloseIssue,
    /// Pushes the primary branch to every mirror once; ticks go on with what fails. Twice: a push of the same commit.
    PushMirrors,
    /// Deletes the merged branch on the forge. Twice: gone is gone.
    DeleteBranch,
    /// Looks whether the merge brought about all that it should, repairing once what rig can. Twice: everything that it
    /// repairs is an act that is safe twice.
    Audit { pull_request: PullRequestNumber },
    /// Ends the session. Twice: gone is gone.
    EndSession,
    /// Saves what only the worktree has, then removes it. Twice: gone is gone.
    RemoveWorkspace,
    /// Tells people. Kept in the store's table of notices, not among the pending effects; sent at least once, shown once.
    Notify {
        text: String,
        /// Somebody must act.
        urgent: bool,
        /// It is written on the issue too; otherwise another order says it there.
        on_issue: bool,
    },
}

/// State of an issue as its label shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueState {
    InProgress,
    Backlog,
    Blocked,
    Underspecified,
    /// No state label: the issue is done.
    Done,
}

/// What the agent is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub kind: MessageKind,
    /// Rendered text, as it goes into the inbox file.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    CiPassed,
    CiFailed,
    CiTimedOut,
    Review,
    Nudge,
    HumanReply,
    BranchNotReady,
    NotMerged,
    Conflict,
    UnknownPhase,
}

/// Things that are done one at a time and in order; different lanes run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Forge,
    Session,
    Delivery,
    Ci,
    Mirror,
    Audit,
}

impl Effect {
    pub fn lane(&self) -> Lane {
        match self {
            Effect::StartSession { .. }
            | Effect::InspectBranch { .. }
            | Effect::Diagnose { .. }
            | Effect::EndSession
            | Effect::Rebase { .. }
            | Effect::RemoveWorkspace
            // Behind the worktree's: what only the branch has is saved before it goes.
            | Effect::DeleteBranch => Lane::Session,
            Effect::Deliver { .. } => Lane::Delivery,
            Effect::RunCi { .. } => Lane::Ci,
            Effect::PushMirrors => Lane::Mirror,
            Effect::Audit { .. } => Lane::Audit,
            Effect::ConfirmClaim
            | Effect::SurveyPriorWork
            | Effect::OpenPullRequest { .. }
            | Effect::VerifyMerged
            | Effect::Merge { .. }
            | Effect::SetState { .. }
            | Effect::Comment { .. }
            | Effect::CloseIssue
            | Effect::Notify { .. } => Lane::Forge,
        }
    }

    /// Returns the effect in words, for logs and for people.
    pub fn words(&self) -> &'static str {
        match self {
            Effect::ConfirmClaim => "confirm the claim",
            Effect::SurveyPriorWork => "look for earlier work",
            Effect::StartSession { .. } => "start the session",
            Effect::Deliver { .. } => "deliver a message",
            Effect::InspectBranch { .. } => "look at the branch",
            Effect::OpenPullRequest { .. } => "open the pull request",
            Effect::RunCi { .. } => "get the verdict of CI",
            Effect::VerifyMerged => "see whether it is merged",
            Effect::Merge { .. } => "merge",
            Effect::Rebase { .. } => "bring the branch up to date",
            Effect::Audit { .. } => "look what the merge brought about",
            Effect::SetState { .. } => "set the issue's label",
            Effect::Comment { .. } => "comment on the issue",
            Effect::Diagnose { .. } => "write the diagnosis",
            Effect::CloseIssue => "close the issue",
            Effect::PushMirrors => "push to the mirrors",
            Effect::DeleteBranch => "delete the branch",
            Effect::EndSession => "end the session",
            Effect::RemoveWorkspace => "remove the worktree",
            Effect::Notify { .. } => "tell people",
        }
    }
}
