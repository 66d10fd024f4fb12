//! Where a run stands, and how it can end.

use crate::domain::{ids::Sha, phase::Phase};
use serde::{Deserialize, Serialize};

/// Stage of a run. Every stage that is not an end has a deadline (see `Run::deadlines`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Stage {
    /// The journal has the claim; the forge is being told.
    Claiming,
    /// What others left of this issue is being looked for: an open pull request, prior art.
    Surveying,
    /// A session is being started.
    Starting,
    /// The agent works, or has to be told something before it can.
    Working,
    /// The agent says that its branch is ready; rig looks at the branch and opens the pull request.
    Inspecting {
        phase: Phase,
    },
    AwaitingCi {
        head: Sha,
    },
    AwaitingReview {
        head: Sha,
    },
    /// The gate was passed at this commit; the merge is under way.
    Merging {
        head: Sha,
    },
    /// The branch at this commit is being brought up to date with the primary branch.
    Rebasing {
        head: Sha,
    },
    /// A human was asked; the run gives up its slot meanwhile.
    Escalated {
        why: String,
        reminders: u32,
    },
    /// The end is decided; what it takes is being done.
    Finishing {
        end: End,
    },
    Ended {
        end: End,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum End {
    Merged {
        commit: Option<Sha>,
    },
    /// A human must look; the issue is marked so.
    Blocked {
        why: String,
    },
    /// The agent refused the issue.
    Refused {
        refusal: Refusal,
        reason: String,
    },
    /// The issue goes back to the queue.
    GivenBack {
        why: String,
    },
    /// Another's claim was there first; nothing of the other's is touched.
    ClaimLost {
        to: String,
    },
    /// A human closed the issue or its pull request.
    Closed {
        what: String,
    },
}

/// Why an agent refuses an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    TooLarge,
    UnmetDependency,
    AlreadyDone,
}

impl Refusal {
    /// Returns the word that the agent writes.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::TooLarge => "too_large",
            Refusal::UnmetDependency => "unmet_dependency",
            Refusal::AlreadyDone => "already_done",
        }
    }
}

/// Reads a refusal from a summary file: line 1 `Refusal: too_large|unmet_dependency|already_done`, the rest the reason
/// (a leading `Reason:` is dropped). Returns `None` when the file says something else.
pub fn read_refusal(summary: &str) -> Option<(Refusal, String)> {
    let (first, rest) = summary.trim_start().split_once('\n').unwrap_or((summary.trim_start(), ""));
    let (key, word) = first.split_once(':')?;
    if !key.trim().eq_ignore_ascii_case("refusal") {
        return None;
    }
    let refusal = [Refusal::TooLarge, Refusal::UnmetDependency, Refusal::AlreadyDone]
        .into_iter()
        .find(|refusal| refusal.as_str() == word.trim())?;
    let reason = rest.trim();
    let reason = reason.strip_prefix("Reason:").unwrap_or(reason).trim();
    Some((refusal, reason.chars().take(2_000).collect()))
}

impl Stage {
    /// Returns the stable name, as the store and tools show it.
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Claiming => "claiming",
            Stage::Surveying => "surveying",
            Stage::Starting => "starting",
            Stage::Working => "working",
            Stage::Inspecting { .. } => "inspecting",
            Stage::AwaitingCi { .. } => "awaiting_ci",
            Stage::AwaitingReview { .. } => "awaiting_review",
            Stage::Merging { .. } => "merging",
            Stage::Rebasing { .. } => "rebasing",
            Stage::Escalated { .. } => "escalated",
            Stage::Finishing { .. } => "finishing",
            Stage::Ended { end } => end.name(),
        }
    }

    /// Returns what the run waits for in this stage, in words.
    pub fn waits_for(&self) -> String {
        match self {
            Stage::Claiming => "the claim on the forge".into(),
            Stage::Surveying => "a look at earlier work".into(),
            Stage::Starting => "the session to start".into(),
            Stage::Working => "the agent".into(),
            Stage::Inspecting { .. } => "a look at the branch".into(),
            Stage::AwaitingCi { head } => format!("CI at {}", head.short()),
            Stage::AwaitingReview { head } => format!("approval of {}", head.short()),
            Stage::Merging { head } => format!("the merge of {}", head.short()),
            Stage::Rebasing { head } => format!("{} to be brought up to date", head.short()),
            Stage::Escalated { why, .. } => format!("a human: {why}"),
            Stage::Finishing { end } => format!("tidying up ({})", end.name()),
            Stage::Ended { .. } => "nothing".into(),
        }
    }

    pub fn is_ended(&self) -> bool {
        matches!(self, Stage::Ended { .. })
    }

    /// Returns whether the end is decided.
    pub fn is_over(&self) -> bool {
        matches!(self, Stage::Finishing { .. } | Stage::Ended { .. })
    }

    /// Returns whether the run counts towards the project's limit of agents.
    pub fn holds_slot(&self) -> bool {
        !matches!(self, Stage::Escalated { .. } | Stage::Ended { .. })
    }
}

impl End {
    /// Returns the stable name.
    pub fn name(&self) -> &'static str {
        match self {
            End::Merged { .. } => "merged",
            End::Blocked { .. } => "blocked",
            End::Refused { .. } => "refused",
            End::GivenBack { .. } => "given_back",
            End::ClaimLost { .. } => "claim_lost",
            End::Closed { .. } => "closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_only_from_its_exact_form() {
        assert_eq!(
            read_refusal("Refusal: too_large\nReason: three\nthings"),
            Some((Refusal::TooLarge, "three\nthings".into()))
        );
        assert_eq!(read_refusal("refusal: already_done\n"), Some((Refusal::AlreadyDone, String::new())));
        for other in ["", "I refuse", "Refusal: lazy\nno", "This is too_large", "Notes\nRefusal: too_large"] {
            assert_eq!(read_refusal(other), None, "{other:?}");
        }
    }
}
