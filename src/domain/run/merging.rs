//! The way from a gate that is open to a merge, or back from one that the forge refused.

use super::{
    Effect, Ignored, MergeRefusal, MessageKind, Session, Stage,
    policy::{MERGE_REFUSALS, MERGE_RETRY_MOST_SECS, MERGE_RETRY_SECS},
    step::{Mover, Taken},
};
use crate::domain::{ids::Sha, prompts};
use jiff::SignedDuration;

impl Mover {
    pub(super) fn gate_passed(&mut self, head: &Sha) -> Taken {
        let Some(pull_request) = self.run.pull_request else { return Err(Ignored::NotNow) };
        self.only_in(matches!(self.run.stage, Stage::AwaitingReview { .. } | Stage::Escalated { .. }))?;
        if self.run.head.as_ref() != Some(head) || self.run.green_at.as_ref() != Some(head) {
            return Err(Ignored::StaleHead);
        }
        if self.run.merge_not_before.is_some_and(|when| self.at < when) {
            return Err(Ignored::NotNow);
        }
        if matches!(self.run.stage, Stage::Escalated { .. }) {
            self.run.interrupted = Some((self.run.stage.clone(), self.run.since));
        }
        self.enter(Stage::Merging { head: head.clone() });
        self.order(Effect::Merge { pull_request, head: head.clone() });
        Ok(())
    }

    pub(super) fn merge_refused(&mut self, head: &Sha, why: &MergeRefusal) -> Taken {
        if !matches!(&self.run.stage, Stage::Merging { head: judged } if judged == head) {
            return Err(Ignored::StaleHead);
        }
        let pause = (MERGE_RETRY_SECS << self.run.used.merge_refusals.min(10)).min(MERGE_RETRY_MOST_SECS);
        self.run.merge_not_before = self.at.checked_add(SignedDuration::from_secs(pause)).ok();
        self.run.used.merge_refusals += 1;
        let interrupted = self.run.interrupted.take();
        match why {
            MergeRefusal::Conflict => self.ask_for_rebase(),
            MergeRefusal::Outdated { message } => self.bring_up_to_date(head, message, interrupted),
            MergeRefusal::Protected { message } => {
                self.escalate_unless_known(format!("the forge does not let rig merge: {message}"), interrupted);
            }
            MergeRefusal::TryAgain { .. } if self.run.used.merge_refusals > MERGE_REFUSALS => {
                self.escalate("the forge refuses the merge again and again".into());
            }
            // A review may have come while the merge was under way.
            MergeRefusal::NotReady { .. } | MergeRefusal::TryAgain { .. } if self.owes_agent() => self.hand_over(),
            MergeRefusal::NotReady { .. } | MergeRefusal::TryAgain { .. } => match interrupted {
                Some((escalated, since)) => {
                    self.enter(escalated);
                    self.run.since = since;
                }
                None => self.enter(Stage::AwaitingReview { head: head.clone() }),
            },
        }
        Ok(())
    }

    pub(super) fn not_merged(&mut self) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        let text = prompts::not_merged(self.run.pull_request);
        match (&self.run.stage, self.run.session) {
            (Stage::Working | Stage::Starting, _) => {
                self.tell(MessageKind::NotMerged, text);
                self.work();
            }
            // What the run waits for goes on; who said it is told so.
            (_, Session::Started) => self.tell_later(MessageKind::NotMerged, text, None),
            (_, Session::Starting | Session::Absent) => {}
        }
        Ok(())
    }
}
