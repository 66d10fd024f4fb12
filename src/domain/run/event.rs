//! What happened, as a run sees it. Facts in the past tense; whatever can go stale names its attempt or its head.
//! This is the journal's format: fields are only added, with defaults, and kinds are never renamed.

use super::{policy::Policy, stage::Refusal};
use crate::domain::{
    ci::CiVerdict,
    ids::{Attempt, BranchName, EffectId, IssueNumber, Login, ProjectName, PullRequestNumber, Sha},
    phase::{Phase, PhaseReport},
    pull_request::Verdict,
    usage::Usage,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Claims of others stand on the issue, and it is not in progress: those up to this comment do not count.
    EarlierClaimsDead {
        up_to: u64,
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
        /// Boot of the machine that it runs in; empty when unknown.
        #[serde(default)]
        boot: String,
        /// What `copy_files` names and the checkout does not have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_copied: Vec<String>,
    },
    SessionLost {
        attempt: Attempt,
        how: String,
        /// The machine was restarted since the session began: nothing that the agent did.
        #[serde(default)]
        restarted: bool,
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
        /// Kind of the error, as the agent's program names it.
        error: String,
        #[serde(default)]
        offset: u64,
        /// What the program said of it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// The turn was cut off because the account has used up what it may use.
    UsageLimited {
        attempt: Attempt,
        #[serde(default)]
        offset: u64,
        message: String,
        /// When the limit is over; `None` when the message does not say so.
        resets_at: Option<Timestamp>,
    },
    /// No session may start before this: another one has reached the usage limit.
    UsagePaused {
        until: Timestamp,
    },
    /// The screen has shown an idle agent for so long, although no hook told of the end of its turn: a person has broken
    /// it off, or the hook was lost, or tasks in the background do not come to an end.
    AgentFoundIdle {
        attempt: Attempt,
        secs: u64,
    },
    /// The agent's program has cut its own conversation short; its hook has put the protocol back.
    ContextCompacted {
        attempt: Attempt,
        #[serde(default)]
        offset: u64,
    },
    /// The guard refused the use of a tool, and has told the agent why.
    ToolRefused {
        attempt: Attempt,
        #[serde(default)]
        offset: u64,
        /// The command or the file, bounded and without secrets.
        what: String,
        why: String,
    },
    /// The attempt has not taken its first prompt within its time: what its screen shows is no start that rig knows.
    SessionNotReady {
        attempt: Attempt,
        /// What the screen says, bounded and without secrets.
        screen: String,
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
    /// That head is what the agent itself had committed before it asked a person: nobody has answered.
    OwnPushSeen {
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
        /// What it finds, as digests by which two reviews are compared. Absent in journals of before.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        findings: BTreeSet<String>,
    },
    GatePassed {
        head: Sha,
    },
    /// CI was green at the head, and now something keeps it from its merge that no review ends.
    GateHeld {
        head: Sha,
        /// Codes of the gate's reasons.
        codes: BTreeSet<String>,
        /// The same for people.
        words: String,
    },
    Merged {
        pull_request: PullRequestNumber,
        commit: Option<Sha>,
    },
    /// A person has merged it into a branch that is not the primary one.
    MergedElsewhere {
        pull_request: PullRequestNumber,
        into: String,
    },
    MergeRefused {
        head: Sha,
        why: MergeRefusal,
    },
    /// rig has brought the branch up to date; the forge has the new head.
    Rebased {
        old: Sha,
        new: Sha,
    },
    /// rig has left the branch as it is.
    RebaseFailed {
        head: Sha,
        why: RebaseRefusal,
    },
    /// What the merge should have brought about, item by item.
    MergeAudited {
        findings: Vec<AuditFinding>,
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
    /// Who wrote a reply has written it anew. Counts while the agent has not taken it.
    ReplyChanged {
        id: String,
        who: String,
        text: String,
    },
    /// Who wrote a reply has deleted it. Counts while the agent has not taken it.
    ReplyWithdrawn {
        id: String,
    },
    /// Nothing keeps the pull request from its merge but that a person has to accept what it changes.
    PersonWanted {
        head: Sha,
        files: Vec<String>,
    },
    /// A person accepted, at a commit, the change of what the gate rests on. Never a review.
    HumanAccepted {
        id: String,
        who: String,
        head: Sha,
    },
    /// A person wrote `approve` on the issue while nothing waited for it.
    AcceptanceRefused {
        id: String,
        who: String,
    },
    StopRequested {
        who: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A person wants another attempt of a run that is open; what it has used up of its limits is forgiven.
    RetryRequested {
        id: String,
        who: String,
        /// Not the agent's old conversation but a new one.
        fresh: bool,
    },
    /// What the agent's model has used since the beginning of each of its sessions; absolute counts.
    UsageMeasured {
        attempt: Attempt,
        usage: Vec<Usage>,
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
    /// The branch lacks commits of the primary branch, and the forge or the configuration wants them in.
    Outdated { message: String },
    /// A rule of the forge that rig cannot satisfy.
    Protected { message: String },
    /// Still refused after several tries, for a reason that may pass.
    TryAgain { message: String },
}

impl MergeRefusal {
    /// Returns the refusal in words, as a fragment.
    pub fn words(&self) -> String {
        match self {
            Self::NotReady { reasons } => format!("the gate does not hold any more: {}", reasons.join("; ")),
            Self::Conflict => "it conflicts with the primary branch".into(),
            Self::Outdated { message } => format!("the branch is outdated: {message}"),
            Self::Protected { message } => format!("a rule of the forge forbids it: {message}"),
            Self::TryAgain { message } => format!("the forge did not merge it for now: {message}"),
        }
    }
}

/// Why rig did not bring a branch up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum RebaseRefusal {
    /// It has everything of the primary branch already.
    UpToDate,
    /// git cannot do it without somebody's judgement.
    Conflict { message: String },
    /// The worktree has what the old head has not; moving it would put that at risk.
    NotClean { message: String },
    /// The forge does not take the push.
    Refused { message: String },
}

/// One thing that a merge should have brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// Stable name, such as `issue_closed`.
    pub item: String,
    pub holds: bool,
    /// What was seen, for people.
    pub words: String,
}

impl AuditFinding {
    /// The item of mirrors: people are told of each by its own notice.
    pub const MIRRORS: &'static str = "mirrors";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    AgentTotal,
    Ci,
    Review,
    Escalation,
    Stuck,
    UsageLimit,
}

impl Event {
    /// Returns the kind's name, as the journal stores it.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::IssueClaimed { .. } => "IssueClaimed",
            Event::PolicyAdopted { .. } => "PolicyAdopted",
            Event::EarlierClaimsDead { .. } => "EarlierClaimsDead",
            Event::ClaimConfirmed => "ClaimConfirmed",
            Event::ClaimLost { .. } => "ClaimLost",
            Event::PriorWorkSurveyed { .. } => "PriorWorkSurveyed",
            Event::SessionStarted { .. } => "SessionStarted",
            Event::SessionLost { .. } => "SessionLost",
            Event::PromptTaken { .. } => "PromptTaken",
            Event::DeliveryFailed { .. } => "DeliveryFailed",
            Event::TurnEnded { .. } => "TurnEnded",
            Event::TurnFailed { .. } => "TurnFailed",
            Event::UsageLimited { .. } => "UsageLimited",
            Event::UsagePaused { .. } => "UsagePaused",
            Event::AgentFoundIdle { .. } => "AgentFoundIdle",
            Event::ContextCompacted { .. } => "ContextCompacted",
            Event::ToolRefused { .. } => "ToolRefused",
            Event::SessionNotReady { .. } => "SessionNotReady",
            Event::AgentQuiet { .. } => "AgentQuiet",
            Event::PhaseReported { .. } => "PhaseReported",
            Event::PhaseMalformed { .. } => "PhaseMalformed",
            Event::BranchInspected { .. } => "BranchInspected",
            Event::PullRequestOpened { .. } => "PullRequestOpened",
            Event::HeadMoved { .. } => "HeadMoved",
            Event::OwnPushSeen { .. } => "OwnPushSeen",
            Event::GateHeld { .. } => "GateHeld",
            Event::MergedElsewhere { .. } => "MergedElsewhere",
            Event::CiFinished { .. } => "CiFinished",
            Event::ReviewReceived { .. } => "ReviewReceived",
            Event::GatePassed { .. } => "GatePassed",
            Event::Merged { .. } => "Merged",
            Event::MergeRefused { .. } => "MergeRefused",
            Event::Rebased { .. } => "Rebased",
            Event::RebaseFailed { .. } => "RebaseFailed",
            Event::MergeAudited { .. } => "MergeAudited",
            Event::NotMerged => "NotMerged",
            Event::PullRequestClosed { .. } => "PullRequestClosed",
            Event::IssueClosed => "IssueClosed",
            Event::HumanReplied { .. } => "HumanReplied",
            Event::ReplyChanged { .. } => "ReplyChanged",
            Event::ReplyWithdrawn { .. } => "ReplyWithdrawn",
            Event::PersonWanted { .. } => "PersonWanted",
            Event::HumanAccepted { .. } => "HumanAccepted",
            Event::AcceptanceRefused { .. } => "AcceptanceRefused",
            Event::StopRequested { .. } => "StopRequested",
            Event::RetryRequested { .. } => "RetryRequested",
            Event::UsageMeasured { .. } => "UsageMeasured",
            Event::TimePassed { .. } => "TimePassed",
            Event::EffectDone => "EffectDone",
            Event::EffectFailed { .. } => "EffectFailed",
            Event::RunEnded => "RunEnded",
        }
    }
}
