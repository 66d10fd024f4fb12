//! The agent's part of a run: sessions, turns, messages, strikes, and the phases that it reports.

use super::{
    Effect, End, Ignored, Message, MessageKind, Refusal, Session, Stage,
    policy::{REFUSALS_TOLD, RESTARTS, STRIKES, TURN_FAILURES},
    step::{Mover, Taken},
};
use crate::domain::{
    ids::{Attempt, EffectId},
    phase::{Phase, PhaseReport},
    prompts,
};
use jiff::{SignedDuration, Timestamp};

/// First pause after a turn that failed on the agent's API; doubled each time.
const TURN_RETRY_SECS: i64 = 30;

impl Mover {
    /// Orders a message; a session is started for it when there is none. Before the branch is known the first prompt
    /// will hold it.
    pub(super) fn tell(&mut self, kind: MessageKind, text: String) {
        self.tell_later(kind, text, None);
        if self.run.session == Session::Absent && self.run.branch.is_some() {
            self.start_session(false);
        }
    }

    /// Returns whether the agent must hear something before anything else can be waited for. That CI passed is no such
    /// thing: it asks for nothing.
    pub(super) fn owes_agent(&self) -> bool {
        let waiting = self.run.messages().any(|(_, message)| message.kind != MessageKind::CiPassed);
        waiting || (self.run.session == Session::Absent && !self.run.unfinished.is_empty())
    }

    /// Gives the word to the agent; to a new session when there is none.
    pub(super) fn hand_over(&mut self) {
        if self.run.session == Session::Absent { self.start_session(false) } else { self.work() }
    }

    /// Orders a message without starting a session for it.
    pub(super) fn tell_later(&mut self, kind: MessageKind, text: String, not_before: Option<Timestamp>) {
        let text = self.with_news_of_branch(text);
        self.order(Effect::Deliver { message: Message { kind, text }, not_before });
    }

    /// The next word is the agent's.
    pub(super) fn work(&mut self) {
        self.enter(match self.run.session {
            Session::Started => Stage::Working,
            Session::Starting | Session::Absent => Stage::Starting,
        });
    }

    /// Orders the next attempt: the agent's own session goes on, or a fresh one.
    pub(super) fn start_session(&mut self, fresh: bool) {
        self.cancel(|effect| matches!(effect, Effect::StartSession { .. } | Effect::InspectBranch { .. }));
        let resume = (!fresh && !self.run.resume_failed && self.run.attempt >= self.run.agent_session)
            .then_some(self.run.agent_session);
        self.run.attempt = self.run.attempt.next();
        if resume.is_none() {
            self.run.agent_session = self.run.attempt;
        }
        self.run.session = Session::Starting;
        self.run.resume_unproven = resume.is_some();
        self.run.prompted = false;
        self.run.busy = false;
        self.run.background = false;
        self.run.hands_off_until = None;
        self.run.phase_in_turn = false;
        self.run.used.nudges = 0;
        self.enter(Stage::Starting);
        self.order(Effect::StartSession { attempt: self.run.attempt, resume });
    }

    pub(super) fn session_started(&mut self, attempt: Attempt, told: &[EffectId], boot: &str) -> Taken {
        if attempt != self.run.attempt || self.run.session != Session::Starting {
            return Err(Ignored::StaleAttempt);
        }
        self.cancel(|effect| matches!(effect, Effect::StartSession { .. }));
        self.run.session = Session::Started;
        self.run.boot = boot.to_owned();
        self.run.busy = true;
        for id in told {
            if let Some(Effect::Deliver { message, .. }) = self.run.pending.remove(id) {
                self.run.unfinished.push((id.clone(), message));
            }
        }
        if matches!(self.run.stage, Stage::Starting) {
            self.enter(Stage::Working);
        }
        Ok(())
    }

    pub(super) fn session_lost(&mut self, attempt: Attempt, how: &str, restarted: bool) -> Taken {
        self.present(attempt)?;
        self.only_in(!self.run.stage.is_over())?;
        self.run.session = Session::Absent;
        self.run.busy = false;
        self.run.background = false;
        self.run.hands_off_until = None;
        if restarted {
            self.run.used.restarts += 1;
        }
        match self.run.stage {
            // Nothing that the agent did: it goes on where it was, and a resume that was cut off is tried again.
            Stage::Working | Stage::Starting if restarted && self.run.used.restarts <= RESTARTS => {
                self.notify("the machine was restarted; the session is brought back".into(), false);
                self.start_session(false);
            }
            Stage::Working | Stage::Starting if self.run.resume_unproven => {
                self.run.resume_failed = true;
                self.start_session(true);
            }
            Stage::Working | Stage::Starting => self.strike(&format!("the session was lost: {how}"), false),
            _ => {
                // At rest a new session starts only when there is something to say. A phase in the lost turn was its
                // answer; without one, what the turn was about is said again.
                if self.run.phase_in_turn {
                    self.run.unfinished.clear();
                }
                self.run.unfinished.retain(|(_, message)| message.kind != MessageKind::CiPassed);
                self.cancel(|effect| {
                    matches!(effect, Effect::Deliver { message: Message { kind: MessageKind::CiPassed, .. }, .. })
                });
                // Who waits for a person or for the merge decides afterwards.
                let waits =
                    matches!(self.run.stage, Stage::Escalated { .. } | Stage::Merging { .. } | Stage::Rebasing { .. });
                if self.owes_agent() && !waits {
                    self.start_session(false);
                }
            }
        }
        Ok(())
    }

    /// The first strike brings a new attempt, the second a human.
    pub(super) fn strike(&mut self, why: &str, fresh: bool) {
        self.run.used.strikes += 1;
        if self.run.used.strikes >= STRIKES || self.run.used.respawns >= self.run.policy.respawns {
            self.escalate(format!("{why} (strike {})", self.run.used.strikes));
            return;
        }
        self.run.used.respawns += 1;
        self.notify(format!("{why}; a new attempt begins"), false);
        self.start_session(fresh);
    }

    pub(super) fn prompt_taken(&mut self, attempt: Attempt, offset: u64, completes: Option<&EffectId>) -> Taken {
        self.present(attempt)?;
        self.read_to(offset)?;
        self.run.busy = true;
        self.run.background = false;
        self.run.hands_off_until = None;
        self.run.usage_limit = None;
        self.run.phase_in_turn = false;
        self.run.resume_unproven = false;
        self.run.prompted = true;
        if completes.is_none() {
            // Somebody has typed something: the agent is at work again without being told to.
            self.cancel(is_nudge_order);
        }
        let mut is_nudge = false;
        if let (Some(id), Some(Effect::Deliver { message, .. })) = (completes, self.answered.take()) {
            is_nudge = message.kind == MessageKind::Nudge;
            self.run.unfinished.push((id.clone(), message));
        }
        if !is_nudge {
            self.run.used.nudges = 0;
        }
        Ok(())
    }

    /// The agent knows it already and goes on by itself; people read it. One that runs against the guard without end does
    /// not fill the journal.
    pub(super) fn tool_refused(&mut self, attempt: Attempt, offset: u64) -> Taken {
        self.present(attempt)?;
        self.only_in(self.run.used.tool_refusals < REFUSALS_TOLD)?;
        self.read_to(offset)?;
        self.run.used.tool_refusals += 1;
        Ok(())
    }

    /// A start that rig does not know is never answered with a key press: another attempt may come through, and after that
    /// a person sees what the screen says.
    pub(super) fn session_not_ready(&mut self, attempt: Attempt, screen: &str) -> Taken {
        self.present(attempt)?;
        self.only_in(matches!(self.run.stage, Stage::Working) && !self.run.prompted)?;
        self.strike(&prompts::not_ready(screen), true);
        Ok(())
    }

    pub(super) fn turn_ended(&mut self, attempt: Attempt, offset: u64, background_tasks: u32) -> Taken {
        self.present(attempt)?;
        self.read_to(offset)?;
        self.run.prompted = true;
        if background_tasks > 0 {
            self.run.background = true;
            return Ok(());
        }
        self.run.used.turn_failures = 0;
        self.run.used.usage_limits = 0;
        self.run.used.restarts = 0;
        self.turn_is_over();
        Ok(())
    }

    /// Nothing more comes of the turn. Without a phase, and without a message that waits, the agent is reminded.
    pub(super) fn turn_is_over(&mut self) {
        self.run.busy = false;
        self.run.background = false;
        self.run.unfinished.clear();
        let silent =
            matches!(self.run.stage, Stage::Working) && !self.run.phase_in_turn && self.run.messages().next().is_none();
        if silent && self.run.used.nudges < self.run.policy.nudges {
            self.run.used.nudges += 1;
            self.tell(MessageKind::Nudge, prompts::nudge());
        } else if silent {
            self.strike("the agent stopped without a phase, reminders included", true);
        }
    }

    pub(super) fn turn_failed(&mut self, attempt: Attempt, error: &str, message: &str, offset: u64) -> Taken {
        self.present(attempt)?;
        self.read_to(offset)?;
        self.only_in(!self.run.stage.is_over())?;
        self.run.busy = false;
        self.run.prompted = true;
        self.run.background = false;
        self.run.used.turn_failures += 1;
        let told = if message.is_empty() { String::new() } else { format!(" ({message})") };
        let error = format!("{error}{told}");
        let error = error.as_str();
        self.cancel(is_nudge_order);
        if let Some(why) = needs_a_person(error) {
            self.escalate(format!("{why}: {error}"));
        } else if self.run.used.turn_failures > TURN_FAILURES
            && !passes(error)
            && matches!(self.run.stage, Stage::Working)
        {
            self.run.used.turn_failures = 0;
            self.strike(&format!("the agent's API fails again and again: {error}"), false);
        } else {
            let pause = TURN_RETRY_SECS << (self.run.used.turn_failures - 1).min(5);
            let when = self.at.checked_add(SignedDuration::from_secs(pause)).unwrap_or(self.at);
            self.tell_later(MessageKind::Nudge, prompts::turn_failed(error), Some(when));
        }
        Ok(())
    }

    pub(super) fn phase_reported(
        &mut self,
        attempt: Attempt,
        report: &PhaseReport,
        sighting: &str,
        refusal: Option<&(Refusal, String)>,
    ) -> Taken {
        self.first_sighting(attempt, sighting)?;
        self.run.last_phase = Some(report.clone());
        self.run.used.nudges = 0;
        match (report.phase, &self.run.stage) {
            (
                Phase::AwaitingCi | Phase::AwaitingReview | Phase::Done,
                Stage::Merging { .. } | Stage::Rebasing { .. },
            ) => {}
            (Phase::AwaitingReview, Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. }) => {}
            (phase @ (Phase::AwaitingCi | Phase::AwaitingReview), _) => self.inspect(phase),
            (Phase::Escalate, _) => {
                let reason = if report.reason.is_empty() { "the agent asks for help" } else { &report.reason };
                self.escalate(reason.to_owned());
            }
            (Phase::Done, _) if self.run.pull_request.is_some() => {
                self.order(Effect::VerifyMerged);
            }
            (Phase::Done, _) => {
                self.tell(MessageKind::NotMerged, prompts::not_merged(None));
            }
            (Phase::Failed, _) => self.finish(match refusal {
                Some((refusal, reason)) => End::Refused { refusal: *refusal, reason: reason.clone() },
                None if report.reason.is_empty() => End::Blocked { why: "the agent gave up without a reason".into() },
                None => End::Blocked { why: format!("the agent gave up: {}", report.reason) },
            }),
        }
        Ok(())
    }

    pub(super) fn phase_malformed(&mut self, attempt: Attempt, word: &str, sighting: &str) -> Taken {
        self.first_sighting(attempt, sighting)?;
        self.tell(MessageKind::UnknownPhase, prompts::unknown_phase(word));
        Ok(())
    }

    fn inspect(&mut self, phase: Phase) {
        self.cancel(|effect| matches!(effect, Effect::InspectBranch { .. } | Effect::OpenPullRequest { .. }));
        self.enter(Stage::Inspecting { phase });
        self.order(Effect::InspectBranch { phase });
    }

    /// Each writing of the phase file counts once, and only from the present attempt.
    fn first_sighting(&mut self, attempt: Attempt, sighting: &str) -> Taken {
        self.present(attempt)?;
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_sightings.insert(format!("{attempt}:{sighting}")) {
            return Err(Ignored::Duplicate);
        }
        self.run.phase_in_turn = true;
        self.run.prompted = true;
        Ok(())
    }

    /// Each line of the hooks file counts once; an offset of 0 is none.
    pub(super) fn read_to(&mut self, offset: u64) -> Taken {
        if offset != 0 && offset <= self.run.hooks_offset {
            return Err(Ignored::Duplicate);
        }
        self.run.hooks_offset = self.run.hooks_offset.max(offset);
        Ok(())
    }
}

/// Errors of the agent's API that no waiting mends, and what they mean.
fn needs_a_person(error: &str) -> Option<&'static str> {
    let kinds = [
        ("authentication", "the agent's API refuses its credentials"),
        ("oauth_org_not_allowed", "the agent's API refuses its credentials"),
        ("permission", "the agent's API refuses its credentials"),
        ("billing", "the agent's account cannot be billed"),
        ("invalid_request", "the agent's API does not take its requests"),
        ("model_not_found", "the agent's API does not know the model"),
    ];
    kinds.into_iter().find(|(kind, _)| error.starts_with(kind)).map(|(_, why)| why)
}

/// Returns whether an order brings the agent a reminder to go on.
pub(super) fn is_nudge_order(effect: &Effect) -> bool {
    matches!(effect, Effect::Deliver { message: Message { kind: MessageKind::Nudge, .. }, .. })
}

/// Errors of the agent's API that pass by themselves: limits and outages cost no attempt, however long they last.
fn passes(error: &str) -> bool {
    ["rate_limit", "server_error", "overloaded"].iter().any(|kind| error.starts_with(kind))
}
