//! Why a candidate was or was not selected: a stable code for programs, words for people.
//! The codes are those of `domain::code`, where each is explained.

use crate::domain::{
    code::Code,
    ids::{IssueNumber, PullRequestNumber},
};
use jiff::Timestamp;
use std::fmt::Display;

/// Steps in which free memory is told.
const MEMORY_STEP_MB: u64 = 256;

/// The place of a candidate in the queue; earlier ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Begun by this root and left without a run.
    Orphan,
    Priority,
    Backlog,
}

/// Why a candidate was or was not selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Selected(Tier),
    OpenRun,
    PullRequest,
    Closed,
    NotClaimableLabel(String),
    InProgressElsewhere(Option<String>),
    NotInBacklog,
    SelfDependency,
    /// The cycle, from the candidate onwards.
    DependencyCycle(Vec<IssueNumber>),
    /// Written numbers that the forge does not know.
    DependencyUnknown(Vec<IssueNumber>),
    /// What it waits for: `#4`, or `owner/name#4` elsewhere.
    DependencyOpen(Vec<String>),
    Unknown(String),
    SwitchedOff,
    MemoryLow {
        free_mb: u64,
        min_mb: u64,
    },
    HeldByWaitingPullRequest(Vec<PullRequestNumber>),
    /// The agent's account has used up what it may use.
    UsageLimit {
        until: Timestamp,
    },
    NoFreeSlot {
        taken: u32,
        max_agents: u32,
    },
    NotReached,
}

impl Reason {
    /// Returns the code, which stays the same across versions.
    pub fn code(&self) -> Code {
        match self {
            Self::Selected(_) => Code::Selected,
            Self::OpenRun => Code::OpenRun,
            Self::PullRequest => Code::PullRequest,
            Self::Closed => Code::Closed,
            Self::NotClaimableLabel(_) => Code::NotClaimableLabel,
            Self::InProgressElsewhere(_) => Code::InProgressElsewhere,
            Self::NotInBacklog => Code::NotInBacklog,
            Self::SelfDependency => Code::SelfDependency,
            Self::DependencyCycle(_) => Code::DependencyCycle,
            Self::DependencyUnknown(_) => Code::DependencyUnknown,
            Self::DependencyOpen(_) => Code::DependencyOpen,
            Self::Unknown(_) => Code::Unknown,
            Self::SwitchedOff => Code::SwitchedOff,
            Self::MemoryLow { .. } => Code::MemoryLow,
            Self::HeldByWaitingPullRequest(_) => Code::HeldByWaitingPullRequest,
            Self::NoFreeSlot { .. } => Code::NoFreeSlot,
            Self::UsageLimit { .. } => Code::UsageLimit,
            Self::NotReached => Code::NotReached,
        }
    }

    /// Returns the reason in words, with what it depended on.
    pub fn words(&self) -> String {
        match self {
            Self::Selected(Tier::Orphan) => "picked up again: begun here and left without a run".into(),
            Self::Selected(Tier::Priority) => "next in the queue, with priority".into(),
            Self::Selected(Tier::Backlog) => "next in the queue".into(),
            Self::OpenRun => "a run works on it already".into(),
            Self::PullRequest => "it is a pull request".into(),
            Self::Closed => "it is closed".into(),
            Self::NotClaimableLabel(label) => format!("the label `{label}` keeps it from being taken"),
            Self::InProgressElsewhere(Some(owner)) => format!("in progress, claimed by {owner}"),
            Self::InProgressElsewhere(None) => "marked as in progress, and not by this root".into(),
            Self::NotInBacklog => "it does not carry the backlog label".into(),
            Self::SelfDependency => "it names itself as its dependency".into(),
            Self::DependencyCycle(cycle) => {
                let back = cycle.iter().chain(cycle.first());
                format!("its dependencies form a cycle: {}", listed(back, " -> "))
            }
            Self::DependencyUnknown(numbers) => format!("it waits for {}, which does not exist", listed(numbers, ", ")),
            Self::DependencyOpen(names) => format!("it waits for {}, still open", listed(names, ", ")),
            Self::Unknown(why) => format!("not decided, because a fact is unknown: {why}"),
            Self::SwitchedOff => "the dev loop is switched off".into(),
            Self::MemoryLow { free_mb, min_mb } => {
                // In steps: a figure that differs at each tick would be a new decision each time.
                let below = min_mb.min(&((free_mb / MEMORY_STEP_MB + 1) * MEMORY_STEP_MB)).to_owned();
                format!("less than {below} MiB of memory are free, and a session needs {min_mb} MiB")
            }
            Self::HeldByWaitingPullRequest(waiting) => {
                format!("held until {} has its CI result and review", listed(waiting, ", "))
            }
            Self::NoFreeSlot { taken, max_agents } => format!("{taken} of {max_agents} agents are at work"),
            Self::UsageLimit { until } => format!("the agent's usage limit is reached, until {until:.0}"),
            Self::NotReached => "candidates before it take the free slots".into(),
        }
    }
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

/// What was decided for one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub issue: IssueNumber,
    pub reason: Reason,
}
