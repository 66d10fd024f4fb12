//! What happened, as a run sees it. Facts in the past tense; whatever can go stale names its attempt or its head.
//! This is the journal's format: fields are only added, with defaults, and kinds are never renamed.

use super::{policy::Policy, stage::Refusal};
use crate::domain::{
    ci::CiVerdict,
    ids::{Attempt, BranchName, EffectId, IssueNumber, Login, ProjectName, PullRequestNumber, Sha},
    phase::{Phase, PhaseReport},
    pull_request::Verdict,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the format of an event's body.
pub const EVENT_VERSION: u32 = 1;

/// An event with when it was seen and which order it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub at: Timestamp,
    /// Time that a driver has watched the run since the run's event before, in milliseconds.
    #[serde(default)]
    pub observed_ms: u64,
    /// The order that this answers; an answer to an order that is not pending is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes: Option<EffectId>,
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Event {
    IssueClaimed {
        project: ProjectName,
        issue: IssueNumber,
        title: String,
        /// Number of this run's first attempt: attempts are counted over all runs of an issue, so that nothing that an
        /// earlier run left behind can be taken for this one's.
        first_attempt: Attempt,
        policy: Policy,
    },
    /// A driver goes on under other rules than the run had.
    PolicyAdopted {
        policy: Policy,
    },
    ClaimConfirmed,
    ClaimLost {
        to: String,
    },
    PriorWorkSurveyed {
        branch: BranchName,
        /// Open pull request of the bot for this issue that the run goes on with.
        adopted: Option<PullRequestNumber>,
        head: Option<Sha>,
        /// Closed or foreign pull requests that are shown to the agent.
        prior: Vec<PullRequestNumber>,
        /// CI fixes that earlier runs spent on the adopted pull request.
        #[serde(default)]
        ci_fixes_spent: u32,
    },
    SessionStarted {
        attempt: Attempt,
        /// Messages that its first prompt contained.
        told: Vec<EffectId>,
    },
    SessionLost {
        attempt: Attempt,
        how: String,
    },
    /// The agent took a prompt: the first of its session, or a message (then `completes` names it).
    PromptTaken {
        attempt: Attempt,
        #[serde(default)]
        offset: u64,
    },
    /// A message could not be brought to the agent within its tries.
    DeliveryFailed {
        attempt: Attempt,
        why: String,
    },
    TurnEnded {
        attempt: Attempt,
        #[serde(default)]
        offset: u64,
        #[serde(default)]
        background_tasks: u32,
    },
    TurnFailed {
        attempt: Attempt,
        error: String,
        #[serde(default)]
        offset: u64,
    },
    /// No sign of life for as long as the configuration allows.
    AgentQuiet {
        attempt: Attempt,
        secs: u64,
    },
    PhaseReported {
        attempt: Attempt,
        report: PhaseReport,
        /// Which writing of the file this was: inode and time; each is journaled once.
        sighting: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refusal: Option<(Refusal, String)>,
    },
    PhaseMalformed {
        attempt: Attempt,
        word: String,
        sighting: String,
    },
    BranchInspected {
        phase: Phase,
        local: Sha,
        remote: Option<Sha>,
        base: Sha,
        ahead: u32,
        uncommitted: u32,
    },
    PullRequestOpened {
        number: PullRequestNumber,
        head: Sha,
    },
    /// The pull request's head on the forge is another than the run knew.
    HeadMoved {
        head: Sha,
    },
    CiFinished {
        head: Sha,
        verdict: CiVerdict,
    },
    ReviewReceived {
        id: u64,
        reviewer: Login,
        verdict: Verdict,
        commit: Option<Sha>,
        text: String,
    },
    GatePassed {
        head: Sha,
    },
    Merged {
        pull_request: PullRequestNumber,
        commit: Option<Sha>,
    },
    MergeRefused {
        head: Sha,
        why: MergeRefusal,
    },
    /// The agent said done, and the forge says not merged.
    NotMerged,
    PullRequestClosed {
        pull_request: PullRequestNumber,
    },
    IssueClosed,
    HumanReplied {
        id: String,
        who: String,
        text: String,
    },
    StopRequested {
        who: String,
    },
    TimePassed {
        timer: Timer,
    },
    /// An order without a result of its own was carried out.
    EffectDone,
    /// An order cannot be carried out, however often it is tried.
    EffectFailed {
        error: String,
    },
    RunEnded,
}

/// Why the forge, or the gate at the last moment, did not merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum MergeRefusal {
    /// The gate does not hold any more; the reasons in words.
    NotReady { reasons: Vec<String> },
    /// The branch conflicts with the primary branch.
    Conflict,
    /// A rule of the forge that rig cannot satisfy.
    Protected { message: String },
    /// Still refused after several tries, for a reason that may pass.
    TryAgain { message: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    AgentTotal,
    Ci,
    Review,
    Escalation,
    Stuck,
}

impl Event {
    /// Returns the kind's name, as the journal stores it.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::IssueClaimed { .. } => "IssueClaimed",
            Event::PolicyAdopted { .. } => "PolicyAdopted",
            Event::ClaimConfirmed => "ClaimConfirmed",
            Event::ClaimLost { .. } => "ClaimLost",
            Event::PriorWorkSurveyed { .. } => "PriorWorkSurveyed",
            Event::SessionStarted { .. } => "SessionStarted",
            Event::SessionLost { .. } => "SessionLost",
            Event::PromptTaken { .. } => "PromptTaken",
            Event::DeliveryFailed { .. } => "DeliveryFailed",
            Event::TurnEnded { .. } => "TurnEnded",
            Event::TurnFailed { .. } => "TurnFailed",
            Event::AgentQuiet { .. } => "AgentQuiet",
            Event::PhaseReported { .. } => "PhaseReported",
            Event::PhaseMalformed { .. } => "PhaseMalformed",
            Event::BranchInspected { .. } => "BranchInspected",
            Event::PullRequestOpened { .. } => "PullRequestOpened",
            Event::HeadMoved { .. } => "HeadMoved",
            Event::CiFinished { .. } => "CiFinished",
            Event::ReviewReceived { .. } => "ReviewReceived",
            Event::GatePassed { .. } => "GatePassed",
            Event::Merged { .. } => "Merged",
            Event::MergeRefused { .. } => "MergeRefused",
            Event::NotMerged => "NotMerged",
            Event::PullRequestClosed { .. } => "PullRequestClosed",
            Event::IssueClosed => "IssueClosed",
            Event::HumanReplied { .. } => "HumanReplied",
            Event::StopRequested { .. } => "StopRequested",
            Event::TimePassed { .. } => "TimePassed",
            Event::EffectDone => "EffectDone",
            Event::EffectFailed { .. } => "EffectFailed",
            Event::RunEnded => "RunEnded",
        }
    }
}
