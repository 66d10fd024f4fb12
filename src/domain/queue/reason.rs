//! Why a candidate was or was not selected: a stable code for programs, words for people.
//!
//! | code | meaning |
//! |---|---|
//! | `selected` | a session is to be started now |
//! | `open_run` | the journal has an open run for it |
//! | `pull_request`, `closed` | no open issue |
//! | `not_claimable_label` | a label makes it somebody else's, or marks it as blocked |
//! | `in_progress_elsewhere` | another owner works on it |
//! | `not_in_backlog` | it lacks the backlog label |
//! | `self_dependency`, `dependency_cycle`, `dependency_unknown` | what it waits for can never come: a person must edit it |
//! | `dependency_open` | what it waits for is open |
//! | `unknown` | a fact could not be fetched |
//! | `switched_off`, `memory_low` | nothing starts now |
//! | `held_by_waiting_pull_request`, `no_free_slot` | the limit of work in progress is reached |
//! | `not_reached` | candidates before it take the free slots |

use crate::domain::ids::{IssueNumber, PullRequestNumber};
use std::fmt::Display;

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
    NoFreeSlot {
        taken: u32,
        max_agents: u32,
    },
    NotReached,
}

impl Reason {
    /// Returns the code, which stays the same across versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Selected(_) => "selected",
            Self::OpenRun => "open_run",
            Self::PullRequest => "pull_request",
            Self::Closed => "closed",
            Self::NotClaimableLabel(_) => "not_claimable_label",
            Self::InProgressElsewhere(_) => "in_progress_elsewhere",
            Self::NotInBacklog => "not_in_backlog",
            Self::SelfDependency => "self_dependency",
            Self::DependencyCycle(_) => "dependency_cycle",
            Self::DependencyUnknown(_) => "dependency_unknown",
            Self::DependencyOpen(_) => "dependency_open",
            Self::Unknown(_) => "unknown",
            Self::SwitchedOff => "switched_off",
            Self::MemoryLow { .. } => "memory_low",
            Self::HeldByWaitingPullRequest(_) => "held_by_waiting_pull_request",
            Self::NoFreeSlot { .. } => "no_free_slot",
            Self::NotReached => "not_reached",
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
                format!("only {free_mb} MiB of memory are free, and a session needs {min_mb} MiB")
            }
            Self::HeldByWaitingPullRequest(waiting) => {
                format!("held until {} has its CI result and review", listed(waiting, ", "))
            }
            Self::NoFreeSlot { taken, max_agents } => format!("{taken} of {max_agents} agents are at work"),
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
