//! A run: rig's work on one issue, from the claim to its end, as the fold of its journal.
//! `step` is the only thing that changes a run; it is total and pure. Deliberately absent: I/O, clocks, chance, and every
//! judgement of the world that is not in an event.

mod acceptance;
mod accepted;
pub mod effect;
pub mod event;
mod finish;
mod merging;
pub mod policy;
mod rebase;
mod settled;
pub mod stage;
mod step;
mod timers;
mod turns;
mod work;

pub use accepted::PersonWanted;
pub use effect::{Effect, IssueState, Lane, Message, MessageKind};
pub use event::{AuditFinding, Event, Fact, MergeRefusal, RebaseRefusal, Timer};
pub use policy::{Policy, WhenBehind};
pub use settled::settled_since;
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
    /// Usage limits in a row, without a turn between them that came to its end.
    pub usage_limits: u32,
    /// Sessions that a restart of the machine has ended, in a row.
    pub restarts: u32,
    /// Uses of tools that the guard refused, as many as are told of.
    pub tool_refusals: u32,
    /// Time that the agent was watched at work.
    pub agent_ms: u64,
}

/// A review, as far as the next one of the same reviewer is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    pub verdict: super::pull_request::Verdict,
    /// The commit that it is about; the branch's head where it names none.
    pub commit: Option<Sha>,
    pub findings: BTreeSet<String>,
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
    /// The present attempt has taken its first prompt.
    pub prompted: bool,
    pub branch: Option<BranchName>,
    pub pull_request: Option<PullRequestNumber>,
    pub prior: Vec<PullRequestNumber>,
    /// Claims of others up to this comment were dead when the run's own began.
    pub claims_dead_up_to: u64,
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
    /// The turn has ended but for tasks in the background, which will wake the agent.
    pub background: bool,
    /// A person is at the agent's terminal: nothing is typed before this.
    pub hands_off_until: Option<Timestamp>,
    /// The agent's account has used up what it may use, until then.
    pub usage_limit: Option<Timestamp>,
    /// Boot of the machine that the present session began in; empty when unknown.
    pub boot: String,
    pub last_phase: Option<super::phase::PhaseReport>,
    pub used: Used,
    /// Orders without an answer: the outbox.
    pub pending: BTreeMap<EffectId, Effect>,
    /// Messages that the agent took and whose turn has not ended; told again after a respawn.
    pub unfinished: Vec<(EffectId, Message)>,
    pub seen_sightings: BTreeSet<String>,
    pub seen_reviews: BTreeSet<u64>,
    /// The last review of each reviewer that the run has taken in, by the reviewer's name in small letters.
    pub heard: BTreeMap<String, Heard>,
    pub seen_replies: BTreeSet<String>,
    /// Messages that are replies of people, with the replies' ids.
    pub replies: BTreeMap<EffectId, String>,
    /// Bytes of the hooks file that the journal has taken in.
    pub hooks_offset: u64,
    /// Since when the present head waits for its review; merges that are refused do not renew it.
    pub review_since: Option<Timestamp>,
    /// The gate's word does not count before this: the forge has just refused the merge.
    pub merge_not_before: Option<Timestamp>,
    /// The escalation that a merge interrupted; it stands again when the merge is refused.
    pub interrupted: Option<(Stage, Timestamp)>,
    /// rig has moved the branch from the first commit to the second since the agent was last told anything.
    pub moved: Option<(Sha, Sha)>,
    /// A change of what the gate rests on, at the head that people were asked about.
    pub person_wanted: Option<PersonWanted>,
    /// What keeps the gate closed at a head that only waits for its merge, as codes: taken in once.
    pub gate_held: Option<(Sha, BTreeSet<String>)>,
    /// What people have accepted, by their word to rig.
    pub accepted: Vec<super::gate::Acceptance>,
    /// Reasons of earlier escalations of this run, for the prompt of a new attempt.
    pub escalations: Vec<String>,
    /// What the agent's model has used in this run.
    pub usage: Vec<super::usage::Usage>,
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
        let limit = self.usage_limit.filter(|_| !self.stage.is_over()).map(|until| (Timer::UsageLimit, Due::At(until)));
        // Nothing can come of these two before the limit is over.
        if let (Some(limit), Stage::Working | Stage::Starting) = (limit, &self.stage) {
            return vec![limit];
        }
        let mut deadlines = match &self.stage {
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
            | Stage::Rebasing { .. }
            | Stage::Finishing { .. } => {
                let limit = if self.stuck_told { policy::GIVE_UP_SECS } else { policy::STUCK_SECS };
                vec![(Timer::Stuck, watched(limit, self.stage_ms))]
            }
            Stage::Ended { .. } => Vec::new(),
        };
        deadlines.extend(limit);
        deadlines
    }

    /// Returns whether the run counts towards the project's limit of agents. The look at what a merge brought about does not.
    pub fn holds_slot(&self) -> bool {
        let holds_nothing_up = |effect: &Effect| matches!(effect, Effect::Audit { .. } | Effect::PushMirrors);
        let only_looks = !self.pending.is_empty() && self.pending.values().all(holds_nothing_up);
        self.stage.holds_slot() && !(matches!(self.stage, Stage::Finishing { .. }) && only_looks)
    }

    /// Returns the pending messages to the agent in the order of their making.
    pub fn messages(&self) -> impl Iterator<Item = (&EffectId, &Message)> {
        self.pending.iter().filter_map(|(id, effect)| match effect {
            Effect::Deliver { message, .. } => Some((id, message)),
            _ => None,
        })
    }

    /// Returns the ids of the replies that the agent has taken and works on.
    pub fn replies_taken(&self) -> impl Iterator<Item = &str> {
        self.unfinished.iter().filter_map(|(id, _)| self.replies.get(id)).map(String::as_str)
    }

    /// Returns whether some pending order matches.
    pub fn has_pending(&self, matches: impl Fn(&Effect) -> bool) -> bool {
        self.pending.values().any(matches)
    }
}
