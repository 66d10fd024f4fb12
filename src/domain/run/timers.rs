//! What is due: every wait of a run ends, by a question to people if by nothing else.

use super::{
    Due, Effect, End, Ignored, Stage, Timer,
    policy::STUCK_SECS,
    step::{Mover, Taken},
};

impl Mover {
    pub(super) fn time_passed(&mut self, timer: Timer) -> Taken {
        let due = self.run.deadlines().into_iter().find(|(name, _)| *name == timer).map(|(_, due)| due);
        match due {
            Some(Due::At(when)) if when <= self.at => {}
            Some(Due::Watched(left)) if left.is_zero() => {}
            _ => return Err(Ignored::NotNow),
        }
        match timer {
            Timer::AgentTotal => self.finish(End::Blocked { why: "the agent has used up its time".into() }),
            Timer::Ci => self.ci_timed_out(),
            Timer::Review => self.escalate("the pull request waits for its review too long".into()),
            Timer::Escalation => self.escalation_due(),
            Timer::UsageLimit => self.usage_limit_over(),
            Timer::Stuck if self.run.stuck_told => self.give_up(),
            Timer::Stuck => {
                self.run.stuck_told = true;
                let waits = self.run.stage.waits_for();
                self.notify(format!("rig has waited {} minutes for {waits}; see rig status", STUCK_SECS / 60), true);
            }
        }
        Ok(())
    }

    /// What rig itself has to do has not come about for hours: a human has to look, and others get the slot.
    fn give_up(&mut self) {
        let waits = self.run.stage.waits_for();
        match self.run.stage {
            Stage::Claiming | Stage::Surveying => {
                self.finish(End::GivenBack { why: format!("rig waited for hours for {waits}") });
            }
            Stage::Finishing { .. } => {
                let left: Vec<&str> = self.run.pending.values().map(Effect::words).collect();
                let left = left.join(", ");
                self.cancel(|_| true);
                self.notify(format!("left undone: {left}"), true);
            }
            _ => self.escalate(format!("rig waited for hours for {waits}")),
        }
    }

    fn escalation_due(&mut self) {
        let Stage::Escalated { why, reminders } = self.run.stage.clone() else { return };
        match reminders {
            0 => self.notify(format!("still waiting for an answer: {why}"), true),
            1 => self.notify(format!("nobody has answered for hours: {why}"), true),
            _ => return self.finish(End::Blocked { why: format!("nobody answered: {why}") }),
        }
        self.run.stage = Stage::Escalated { why, reminders: reminders + 1 };
    }
}
