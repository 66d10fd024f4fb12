//! A run: rig's work on one issue, from the claim to its end, as the fold of its journal.
//! `step` is the only thing that changes a run; it is total and pure. Deliberately absent: I/O, clocks, chance, and every
//! judgement of the world that is not in an event.

mod acceptance;
pub mod effect;
pub mod event;
mod finish;
pub mod policy;
pub mod stage;
mod step;
mod work;

pub use effect::{Effect, IssueState, Lane, Message, MessageKind};
pub use event::{Event, Fact, MergeRefusal, Timer};
pub use policy::Policy;
pub use stage::{End, Refusal, Stage};
pub use step::{Ignored, Step, begin, fold, step};

use super::ids::{Attempt, BranchName, EffectId, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq, Sha};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The agent's session, as far as the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// None is wanted yet, or the last one is known to be gone.
    Absent,
    /// A start of this attempt is ordered.
    Starting,
    /// This attempt is known to have started.
    Started,
}

/// What a run has used up of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    pub ci_fixes: u32,
    pub reviews: u32,
    pub respawns: u32,
    /// Reminders in the present turn.
    pub nudges: u32,
    pub rebases: u32,
    pub strikes: u32,
    pub ci_breaks: u32,
    pub ci_timeouts: u32,
    pub merge_refusals: u32,
    pub turn_failures: u32,
    /// Time that the agent was watched at work.
    pub agent_ms: u64,
}

/// The fold of a run's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    pub id: RunId,
    pub project: ProjectName,
    pub issue: IssueNumber,
    pub title: String,
    pub policy: Policy,
    pub seq: Seq,
    pub stage: Stage,
    pub claimed_at: Timestamp,
    pub changed_at: Timestamp,
    /// When the present stage began.
    pub since: Timestamp,
    /// Time that a driver has watched the present stage, in milliseconds.
    pub stage_ms: u64,
    /// People were told that the present stage does not get on.
    pub stuck_told: bool,
    pub attempt: Attempt,
    pub session: Session,
    /// Attempt that began the agent's own session; a resumed attempt continues it.
    pub agent_session: Attempt,
    /// The present attempt resumes, and has not shown yet that it took its prompt.
    pub resume_unproven: bool,
    /// Resuming failed once in this run: every further attempt starts afresh.
    pub resume_failed: bool,
    pub branch: Option<BranchName>,
    pub pull_request: Option<PullRequestNumber>,
    pub prior: Vec<PullRequestNumber>,
    /// Last head of the branch on the forge that the run knows of.
    pub head: Option<Sha>,
    /// Commit that CI was green at.
    pub green_at: Option<Sha>,
    /// Last commit that CI was red at.
    pub red_at: Option<Sha>,
    /// The agent has reported a phase since it took its last prompt.
    pub phase_in_turn: bool,
    /// The agent is in a turn, by its own hooks.
    pub busy: bool,
    pub last_phase: Option<super::phase::PhaseReport>,
    pub used: Used,
    /// Orders without an answer: the outbox.
    pub pending: BTreeMap<EffectId, Effect>,
    /// Messages that the agent took and whose turn has not ended; told again after a respawn.
    pub unfinished: Vec<(EffectId, Message)>,
    pub seen_sightings: BTreeSet<String>,
    pub seen_reviews: BTreeSet<u64>,
    pub seen_replies: BTreeSet<String>,
    /// Bytes of the hooks file that the journal has taken in.
    pub hooks_offset: u64,
    /// Since when the present head waits for its review; merges that are refused do not renew it.
    pub review_since: Option<Timestamp>,
    /// The gate's word does not count before this: the forge has just refused the merge.
    pub merge_not_before: Option<Timestamp>,
    /// The escalation that a merge interrupted; it stands again when the merge is refused.
    pub interrupted: Option<(Stage, Timestamp)>,
    /// Reasons of earlier escalations of this run, for the prompt of a new attempt.
    pub escalations: Vec<String>,
}

/// When a timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At this wall time.
    At(Timestamp),
    /// After so much more time that a driver watches.
    Watched(Duration),
}

impl Run {
    /// Returns the timers of the present stage. Every stage that is not an end has one.
    pub fn deadlines(&self) -> Vec<(Timer, Due)> {
        let policy = &self.policy;
        let watched = |limit_secs: u64, used_ms: u64| {
            Due::Watched(Duration::from_millis((limit_secs.saturating_mul(1_000)).saturating_sub(used_ms)))
        };
        let wall_from = |since: Timestamp, secs: u64| {
            let span = SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX / 4));
            Due::At(since.checked_add(span).unwrap_or(Timestamp::MAX))
        };
        let wall = |secs: u64| wall_from(self.since, secs);
        match &self.stage {
            Stage::Working => vec![(Timer::AgentTotal, watched(policy.agent_timeout_secs, self.used.agent_ms))],
            Stage::AwaitingCi { .. } => {
                vec![(Timer::Ci, watched(policy.ci_timeout_secs + policy::CI_SLACK_SECS, self.stage_ms))]
            }
            Stage::AwaitingReview { .. } => {
                let since = self.review_since.unwrap_or(self.since);
                vec![(Timer::Review, wall_from(since, policy.review_timeout_secs))]
            }
            Stage::Escalated { reminders, .. } => vec![(
                Timer::Escalation,
                wall(match reminders {
                    0 => policy.escalate_reminder_secs,
                    1 => policy.escalate_second_secs,
                    _ => policy.escalate_timeout_secs,
                }),
            )],
            Stage::Claiming
            | Stage::Surveying
            | Stage::Starting
            | Stage::Inspecting { .. }
            | Stage::Merging { .. }
            | Stage::Finishing { .. } => {
                let limit = if self.stuck_told { policy::GIVE_UP_SECS } else { policy::STUCK_SECS };
                vec![(Timer::Stuck, watched(limit, self.stage_ms))]
            }
            Stage::Ended { .. } => Vec::new(),
        }
    }

    /// Returns the pending messages to the agent in the order of their making.
    pub fn messages(&self) -> impl Iterator<Item = (&EffectId, &Message)> {
        self.pending.iter().filter_map(|(id, effect)| match effect {
            Effect::Deliver { message, .. } => Some((id, message)),
            _ => None,
        })
    }

    /// Returns whether some pending order matches.
    pub fn has_pending(&self, matches: impl Fn(&Effect) -> bool) -> bool {
        self.pending.values().any(matches)
    }
}
