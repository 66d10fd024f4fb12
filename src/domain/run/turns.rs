//! Turns that end in other ways than by their own hook: at a usage limit, by a person at the terminal, or unseen.

use super::{
    MessageKind, Session, Stage,
    policy::{HANDS_OFF_SECS, USAGE_RETRY_MOST_SECS, USAGE_RETRY_SECS, USAGE_SLACK_SECS},
    step::{Mover, Taken},
    work::is_nudge_order,
};
use crate::domain::{ids::Attempt, prompts};
use jiff::{SignedDuration, Timestamp};

impl Mover {
    /// Waits until the limit is over and lets the agent go on then. Costs neither an attempt nor a strike, and the limits
    /// of observed time rest meanwhile.
    pub(super) fn usage_limited(&mut self, attempt: Attempt, offset: u64, resets_at: Option<Timestamp>) -> Taken {
        self.present(attempt)?;
        self.read_to(offset)?;
        self.only_in(!self.run.stage.is_over())?;
        self.run.busy = false;
        self.run.background = false;
        let until = self.limit_over(resets_at);
        self.run.used.usage_limits += 1;
        self.run.usage_limit = Some(until);
        let how =
            if resets_at.is_some() { "it says that it is over by then" } else { "it does not say when it is over" };
        self.notify(format!("the agent's usage limit is reached; rig goes on at {until:.0} ({how})"), false);
        self.cancel(is_nudge_order);
        // At rest with a phase told, the agent had nothing more to do.
        if matches!(self.run.stage, Stage::Working) || !self.run.phase_in_turn {
            self.tell_later(MessageKind::Nudge, prompts::usage_limit_over(), Some(until));
        }
        Ok(())
    }

    /// When to go on: at the reset, and never sooner than a pause that grows with each limit that comes at once again.
    fn limit_over(&self, resets_at: Option<Timestamp>) -> Timestamp {
        let later = |from: Timestamp, secs: i64| from.checked_add(SignedDuration::from_secs(secs)).unwrap_or(from);
        let again = self.run.used.usage_limits;
        let pause = |doublings: u32| (USAGE_RETRY_SECS << doublings.min(6)).min(USAGE_RETRY_MOST_SECS);
        match resets_at {
            None => later(self.at, pause(again)),
            Some(resets_at) if again == 0 => later(resets_at.max(self.at), USAGE_SLACK_SECS),
            Some(resets_at) => later(resets_at, USAGE_SLACK_SECS).max(later(self.at, pause(again - 1))),
        }
    }

    /// A start waits until the limit that another session has met is over.
    pub(super) fn usage_paused(&mut self, until: Timestamp) -> Taken {
        self.only_in(self.run.session == Session::Starting && until > self.at)?;
        self.only_in(self.run.usage_limit.is_none_or(|known| known < until))?;
        self.run.usage_limit = Some(until);
        Ok(())
    }

    pub(super) fn usage_limit_over(&mut self) {
        self.run.usage_limit = None;
        // What could not begin has its whole time from now on.
        self.run.stage_ms = if matches!(self.run.stage, Stage::Starting) { 0 } else { self.run.stage_ms };
    }

    /// The turn is over and nobody said so. Whoever broke it off at the terminal wants to do something there: rig leaves
    /// the session alone for a while, and only then asks the agent to go on.
    pub(super) fn found_idle(&mut self, attempt: Attempt, secs: u64) -> Taken {
        self.present(attempt)?;
        self.only_in(!self.run.stage.is_over() && self.run.busy && self.run.prompted)?;
        if self.run.background {
            self.notify(format!("tasks in the agent's background gave no sign for {} minutes", secs / 60), false);
            self.turn_is_over();
            return Ok(());
        }
        self.run.busy = false;
        let until = self.at.checked_add(SignedDuration::from_secs(HANDS_OFF_SECS)).unwrap_or(self.at);
        self.run.hands_off_until = Some(until);
        let silent =
            matches!(self.run.stage, Stage::Working) && !self.run.phase_in_turn && self.run.messages().next().is_none();
        if silent && self.run.used.nudges < self.run.policy.nudges {
            self.run.used.nudges += 1;
            self.tell_later(MessageKind::Nudge, prompts::broken_off(), Some(until));
        } else if silent {
            self.strike("the agent's turns end without a phase, reminders included", true);
        }
        Ok(())
    }
}
