//! The state machine: one event moves a run, or is ignored for a reason. Total: there is no event that it cannot take.

use super::{Effect, End, Event, Fact, Heard, IssueState, Policy, Run, Session, Stage, Used};
use crate::domain::{
    ids::{Attempt, EffectId, RunId, Seq},
    usage,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What an event did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The run as it is now, and the orders that are new with it (they are also in `pending`, but for notices).
    Moved {
        run: Box<Run>,
        orders: Vec<(EffectId, Effect)>,
    },
    Ignored(Ignored),
}

/// Why an event changed nothing. None of these is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// The run has ended.
    Ended,
    /// It speaks of another attempt than the present one.
    StaleAttempt,
    /// It speaks of another commit than the one that is waited for.
    StaleHead,
    /// It answers an order that is not pending: answered before, or withdrawn.
    NotOrdered,
    /// It was taken in before.
    Duplicate,
    /// It means nothing in this stage.
    NotNow,
}

/// Starts a run from its first event. Returns `None` when the fact is not a claim.
pub fn begin(id: &RunId, fact: &Fact) -> Option<(Run, Vec<(EffectId, Effect)>)> {
    let Event::IssueClaimed { project, issue, title, first_attempt, policy } = &fact.event else { return None };
    let run = Run {
        id: id.clone(),
        project: project.clone(),
        issue: *issue,
        title: title.clone(),
        policy: policy.clone(),
        seq: Seq(1),
        stage: Stage::Claiming,
        claimed_at: fact.at,
        changed_at: fact.at,
        since: fact.at,
        stage_ms: 0,
        stuck_told: false,
        attempt: Attempt(first_attempt.0.saturating_sub(1)),
        session: Session::Absent,
        agent_session: *first_attempt,
        resume_unproven: false,
        resume_failed: false,
        prompted: false,
        branch: None,
        pull_request: None,
        prior: Vec::new(),
        claims_dead_up_to: 0,
        head: None,
        green_at: None,
        red_at: None,
        phase_in_turn: false,
        busy: false,
        background: false,
        hands_off_until: None,
        usage_limit: None,
        boot: String::new(),
        last_phase: None,
        used: Used::default(),
        pending: BTreeMap::new(),
        unfinished: Vec::new(),
        seen_sightings: BTreeSet::new(),
        seen_reviews: BTreeSet::new(),
        heard: BTreeMap::new(),
        seen_replies: BTreeSet::new(),
        replies: BTreeMap::new(),
        hooks_offset: 0,
        review_since: None,
        merge_not_before: None,
        interrupted: None,
        moved: None,
        person_wanted: None,
        gate_held: None,
        accepted: Vec::new(),
        escalations: Vec::new(),
        usage: Vec::new(),
    };
    let mut mover = Mover { run, at: fact.at, orders: Vec::new(), answered: None };
    mover.order(Effect::ConfirmClaim);
    Some((mover.run, mover.orders))
}

/// Folds a journal. Events that the run ignores are passed over. Returns `None` for a journal that begins without a claim.
pub fn fold<'a>(id: &RunId, facts: impl IntoIterator<Item = &'a Fact>) -> Option<Run> {
    let mut facts = facts.into_iter();
    let (first, _) = begin(id, facts.next()?)?;
    Some(facts.fold(first, |run, fact| match step(&run, fact) {
        Step::Moved { run, .. } => *run,
        Step::Ignored(_) => Run { seq: run.seq.next(), ..run },
    }))
}

/// Moves a run by one event.
pub fn step(run: &Run, fact: &Fact) -> Step {
    if run.stage.is_ended() {
        return Step::Ignored(Ignored::Ended);
    }
    if fact.completes.as_ref().is_some_and(|id| !run.pending.contains_key(id)) {
        return Step::Ignored(Ignored::NotOrdered);
    }
    let mut mover = Mover::new(run, fact);
    match mover.take(&fact.event, fact.completes.as_ref()) {
        Ok(()) => Step::Moved { run: Box::new(mover.run), orders: mover.orders },
        Err(ignored) => Step::Ignored(ignored),
    }
}

/// A run while one event moves it.
pub(super) struct Mover {
    pub(super) run: Run,
    pub(super) at: Timestamp,
    pub(super) orders: Vec<(EffectId, Effect)>,
    /// The order that the event answers.
    pub(super) answered: Option<Effect>,
}

pub(super) type Taken = Result<(), Ignored>;

impl Mover {
    fn new(run: &Run, fact: &Fact) -> Self {
        let mut run = run.clone();
        run.seq = run.seq.next();
        // Time never goes back, whatever the wall clock does.
        let at = fact.at.max(run.changed_at);
        run.changed_at = at;
        run.stage_ms = run.stage_ms.saturating_add(fact.observed_ms);
        if matches!(run.stage, Stage::Working) && run.usage_limit.is_none() {
            run.used.agent_ms = run.used.agent_ms.saturating_add(fact.observed_ms);
        }
        let answered = fact.completes.as_ref().and_then(|id| run.pending.remove(id));
        Self { run, at, orders: Vec::new(), answered }
    }

    /// The whole machine: every event, whatever the stage.
    fn take(&mut self, event: &Event, completes: Option<&EffectId>) -> Taken {
        match event {
            Event::IssueClaimed { .. } => Err(Ignored::Duplicate),
            Event::PolicyAdopted { policy } => self.adopt_policy(policy),
            Event::EarlierClaimsDead { up_to } => self.earlier_claims_dead(*up_to),
            Event::ClaimConfirmed => self.claim_confirmed(),
            Event::ClaimLost { to } => self.claim_lost(to),
            Event::PriorWorkSurveyed { branch, adopted, head, prior, ci_fixes_spent } => {
                self.only_in(matches!(self.run.stage, Stage::Surveying))?;
                self.run.branch = Some(branch.clone());
                self.run.prior = prior.clone();
                self.run.used.ci_fixes = self.run.used.ci_fixes.max(*ci_fixes_spent);
                if let (Some(number), Some(head)) = (adopted, head) {
                    self.run.pull_request = Some(*number);
                    // A person may have written before the session began; `await_ci` starts one for that.
                    self.await_ci(head);
                } else {
                    self.start_session(true);
                }
                Ok(())
            }
            Event::SessionStarted { attempt, told, boot, not_copied: _ } => self.session_started(*attempt, told, boot),
            Event::SessionLost { attempt, how, restarted } => self.session_lost(*attempt, how, *restarted),
            Event::PromptTaken { attempt, offset } => self.prompt_taken(*attempt, *offset, completes),
            Event::DeliveryFailed { attempt, why } => {
                self.present(*attempt)?;
                self.only_in(!self.run.stage.is_over())?;
                // Nobody is to be told anything before a person has answered or the merge is through.
                let waits =
                    matches!(self.run.stage, Stage::Escalated { .. } | Stage::Merging { .. } | Stage::Rebasing { .. });
                self.only_in(!waits)?;
                self.strike(&format!("a message could not be brought to the agent: {why}"), true);
                Ok(())
            }
            Event::TurnEnded { attempt, offset, background_tasks } => {
                self.turn_ended(*attempt, *offset, *background_tasks)
            }
            Event::TurnFailed { attempt, error, offset, message } => {
                self.turn_failed(*attempt, error, message, *offset)
            }
            Event::UsageLimited { attempt, offset, message: _, resets_at } => {
                self.usage_limited(*attempt, *offset, *resets_at)
            }
            Event::UsagePaused { until } => self.usage_paused(*until),
            Event::AgentFoundIdle { attempt, secs } => self.found_idle(*attempt, *secs),
            Event::ContextCompacted { attempt, offset } => {
                self.present(*attempt)?;
                self.read_to(*offset)
            }
            Event::ToolRefused { attempt, offset, what: _, why: _ } => self.tool_refused(*attempt, *offset),
            Event::SessionNotReady { attempt, screen } => self.session_not_ready(*attempt, screen),
            Event::AgentQuiet { attempt, secs } => {
                self.present(*attempt)?;
                // Nothing is expected of it while it waits for a limit to end or for the person at its terminal.
                self.only_in(
                    self.run.usage_limit.is_none() && self.run.hands_off_until.is_none_or(|until| until <= self.at),
                )?;
                self.only_in(matches!(self.run.stage, Stage::Working))?;
                self.strike(&format!("the agent gave no sign of life for {} minutes", secs / 60), true);
                Ok(())
            }
            Event::PhaseReported { attempt, report, sighting, refusal } => {
                self.phase_reported(*attempt, report, sighting, refusal.as_ref())
            }
            Event::PhaseMalformed { attempt, word, sighting } => self.phase_malformed(*attempt, word, sighting),
            Event::BranchInspected { phase, local, remote, base, ahead, uncommitted } => {
                self.branch_inspected(*phase, local, remote.as_ref(), base, *ahead, *uncommitted)
            }
            Event::PullRequestOpened { number, head } => {
                self.only_in(!self.run.stage.is_over())?;
                self.run.pull_request = Some(*number);
                self.notify(format!("pull request {number} is open"), false);
                self.await_ci(head);
                Ok(())
            }
            Event::HeadMoved { head } => self.head_moved(head),
            Event::OwnPushSeen { head } => self.own_push_seen(head),
            Event::CiFinished { head, verdict } => self.ci_finished(head, verdict, completes.is_some()),
            Event::ReviewReceived { id, reviewer, verdict, commit, text, findings } => {
                let heard = Heard { verdict: *verdict, commit: commit.clone(), findings: findings.clone() };
                self.review_received(*id, reviewer, heard, text)
            }
            Event::GatePassed { head } => self.gate_passed(head),
            Event::GateHeld { head, codes, words } => self.gate_held(head, codes, words),
            Event::Merged { pull_request, commit } => {
                self.only_in(!self.run.stage.is_over())?;
                self.run.pull_request = Some(*pull_request);
                self.finish(End::Merged { commit: commit.clone() });
                Ok(())
            }
            Event::MergeRefused { head, why } => self.merge_refused(head, why),
            Event::Rebased { old, new } => self.rebased(old, new),
            Event::RebaseFailed { head, why } => self.rebase_failed(head, why),
            Event::MergeAudited { findings } => self.merge_audited(findings),
            Event::NotMerged => self.not_merged(),
            Event::PullRequestClosed { pull_request } => {
                self.only_in(!self.run.stage.is_over() && self.run.pull_request == Some(*pull_request))?;
                self.finish(End::Blocked { why: format!("pull request {pull_request} was closed without a merge") });
                Ok(())
            }
            Event::MergedElsewhere { pull_request, into } => {
                self.only_in(!self.run.stage.is_over() && self.run.pull_request == Some(*pull_request))?;
                self.finish(End::Blocked {
                    why: format!(
                        "pull request {pull_request} was merged into `{into}`, which is not the primary branch"
                    ),
                });
                Ok(())
            }
            Event::IssueClosed => {
                self.only_in(!self.run.stage.is_over())?;
                self.finish(End::Closed { what: "the issue was closed by a person".into() });
                Ok(())
            }
            Event::HumanReplied { id, who, text } => self.human_replied(id, who, text),
            Event::ReplyChanged { id, who, text } => self.reply_changed(id, who, text),
            Event::ReplyWithdrawn { id } => self.reply_withdrawn(id),
            Event::PersonWanted { head, files } => self.person_wanted(head, files),
            Event::HumanAccepted { id, who, head } => self.human_accepted(id, who, head),
            Event::AcceptanceRefused { id, who } => self.acceptance_refused(id, who),
            Event::StopRequested { who, reason } => self.stop_requested(who, reason),
            Event::RetryRequested { id, who, fresh } => self.retry_requested(id, who, *fresh),
            Event::UsageMeasured { usage, .. } => match usage::take_in(&mut self.run.usage, usage) {
                true => Ok(()),
                false => Err(Ignored::Duplicate),
            },
            Event::TimePassed { timer } => self.time_passed(*timer),
            Event::EffectDone => completes.map(|_| ()).ok_or(Ignored::NotOrdered),
            Event::EffectFailed { error } => self.effect_failed(error, completes),
            Event::RunEnded => self.run_ended(),
        }
    }

    fn adopt_policy(&mut self, policy: &Policy) -> Taken {
        if self.run.policy == *policy {
            return Err(Ignored::Duplicate);
        }
        self.run.policy = policy.clone();
        Ok(())
    }

    /// The claim itself is still to be confirmed.
    fn earlier_claims_dead(&mut self, up_to: u64) -> Taken {
        self.only_in(matches!(self.run.stage, Stage::Claiming))?;
        if up_to <= self.run.claims_dead_up_to {
            return Err(Ignored::Duplicate);
        }
        self.run.claims_dead_up_to = up_to;
        Ok(())
    }

    fn claim_confirmed(&mut self) -> Taken {
        self.only_in(matches!(self.run.stage, Stage::Claiming))?;
        self.cancel(|effect| matches!(effect, Effect::ConfirmClaim));
        self.enter(Stage::Surveying);
        self.notify("claimed".into(), false);
        self.order(Effect::SurveyPriorWork);
        Ok(())
    }

    fn claim_lost(&mut self, to: &str) -> Taken {
        self.only_in(matches!(self.run.stage, Stage::Claiming))?;
        self.finish(End::ClaimLost { to: to.to_owned() });
        Ok(())
    }

    fn effect_failed(&mut self, error: &str, completes: Option<&EffectId>) -> Taken {
        if completes.is_none() {
            return Err(Ignored::NotOrdered);
        }
        match self.run.stage.clone() {
            // The end stands; what could not be done is told, once.
            Stage::Finishing { .. } => self.notify(format!("left undone: {error}"), true),
            Stage::Claiming => self.finish(End::GivenBack { why: error.to_owned() }),
            _ => self.finish(End::Blocked { why: error.to_owned() }),
        }
        Ok(())
    }

    fn run_ended(&mut self) -> Taken {
        match self.run.stage.clone() {
            Stage::Finishing { end } if self.run.pending.is_empty() => {
                self.enter(Stage::Ended { end });
                Ok(())
            }
            _ => Err(Ignored::NotNow),
        }
    }

    /// Moves to a stage; its clocks start anew, and what only another stage waits for is withdrawn, so that no answer
    /// comes to a stage that makes nothing of it.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.cancel(|effect| match effect {
            Effect::ConfirmClaim => stage != Stage::Claiming,
            Effect::SurveyPriorWork => stage != Stage::Surveying,
            Effect::InspectBranch { .. } | Effect::OpenPullRequest { .. } => !matches!(stage, Stage::Inspecting { .. }),
            Effect::RunCi { head, .. } => !matches!(&stage, Stage::AwaitingCi { head: awaited } if awaited == head),
            Effect::Merge { head, .. } => !matches!(&stage, Stage::Merging { head: judged } if judged == head),
            Effect::Rebase { head, .. } => !matches!(&stage, Stage::Rebasing { head: wanted } if wanted == head),
            _ => false,
        });
        match &stage {
            Stage::AwaitingReview { .. } => self.run.review_since = self.run.review_since.or(Some(self.at)),
            Stage::Merging { .. } | Stage::Rebasing { .. } | Stage::Escalated { .. } => {}
            _ => self.run.review_since = None,
        }
        self.run.stage = stage;
        self.run.since = self.at;
        self.run.stage_ms = 0;
        self.run.stuck_told = false;
    }

    /// Adds an order to the outbox. A notice has its own durable table and is only handed on.
    pub(super) fn order(&mut self, effect: Effect) -> EffectId {
        let index = u16::try_from(self.orders.len()).unwrap_or(u16::MAX);
        let id = EffectId { run: self.run.id.clone(), seq: self.run.seq, index };
        if !matches!(effect, Effect::Notify { .. }) {
            self.run.pending.insert(id.clone(), effect.clone());
        }
        self.orders.push((id.clone(), effect));
        id
    }

    /// Withdraws pending orders.
    pub(super) fn cancel(&mut self, matches: impl Fn(&Effect) -> bool) {
        self.run.pending.retain(|_, effect| !matches(effect));
    }

    pub(super) fn notify(&mut self, text: String, urgent: bool) {
        self.order(Effect::Notify { text, urgent, on_issue: urgent });
    }

    pub(super) fn set_state(&mut self, state: IssueState) {
        self.order(Effect::SetState { state });
    }

    pub(super) fn only_in(&self, holds: bool) -> Taken {
        if holds { Ok(()) } else { Err(Ignored::NotNow) }
    }

    /// The event must speak of the present attempt, and that one must be known to have started.
    pub(super) fn present(&self, attempt: Attempt) -> Taken {
        match attempt == self.run.attempt && self.run.session == Session::Started {
            true => Ok(()),
            false => Err(Ignored::StaleAttempt),
        }
    }
}
