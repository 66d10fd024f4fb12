//! How a run ends, and how it asks a human.

use super::{
    AuditFinding, Effect, End, IssueState, MessageKind, Refusal, Session, Stage, Used,
    step::{Mover, Taken},
    work::is_nudge_order,
};
use crate::domain::prompts;
use jiff::Timestamp;

impl Mover {
    /// Decides the end and orders everything that it takes. Whatever else was pending is withdrawn.
    pub(super) fn finish(&mut self, end: End) {
        self.cancel(|_| true);
        self.run.unfinished.clear();
        self.enter(Stage::Finishing { end: end.clone() });
        match end {
            End::Merged { .. } => {
                self.order(Effect::PushMirrors);
                self.order(Effect::CloseIssue);
                self.set_state(IssueState::Done);
                self.order(Effect::EndSession);
                self.order(Effect::RemoveWorkspace);
                // Last: what the branch alone has is found while the branch is there.
                if self.run.policy.delete_branch {
                    self.order(Effect::DeleteBranch);
                }
                if let Some(pull_request) = self.run.pull_request.filter(|_| self.run.policy.audit) {
                    self.order(Effect::Audit { pull_request });
                }
                let what = self.run.pull_request.map(|number| format!("pull request {number} is merged"));
                self.notify(what.unwrap_or_else(|| "merged".into()), false);
            }
            End::Blocked { why } => {
                self.order(Effect::Diagnose { why: why.clone() });
                self.set_state(IssueState::Blocked);
                self.order(Effect::EndSession);
                self.notify_of_comment(format!("blocked: {why}"));
            }
            End::Refused { refusal, reason } => self.finish_refused(refusal, &reason),
            End::GivenBack { why } => {
                self.set_state(IssueState::Backlog);
                self.order(Effect::EndSession);
                self.notify(format!("given back to the queue: {why}"), true);
            }
            End::ClaimLost { .. } => {}
            End::Closed { what } => {
                self.set_state(IssueState::Done);
                self.order(Effect::EndSession);
                self.order(Effect::RemoveWorkspace);
                self.notify(format!("ended: {what}"), false);
            }
        }
    }

    /// What is not as it should be after a merge is told, once and together; the run ends all the same.
    pub(super) fn merge_audited(&mut self, findings: &[AuditFinding]) -> Taken {
        self.only_in(matches!(self.run.stage, Stage::Finishing { end: End::Merged { .. } }))?;
        self.cancel(|effect| matches!(effect, Effect::Audit { .. }));
        let wrong: Vec<&str> = findings
            .iter()
            .filter(|one| !one.holds && one.item != AuditFinding::MIRRORS)
            .map(|one| one.words.as_str())
            .collect();
        if !wrong.is_empty() {
            self.notify(format!("merged, and yet not all is well: {}", wrong.join("; ")), true);
        }
        Ok(())
    }

    fn finish_refused(&mut self, refusal: Refusal, reason: &str) {
        self.order(Effect::Comment { body: prompts::refusal_comment(refusal, reason) });
        self.set_state(match refusal {
            Refusal::TooLarge => IssueState::Underspecified,
            Refusal::UnmetDependency | Refusal::AlreadyDone => IssueState::Blocked,
        });
        self.order(Effect::EndSession);
        self.order(Effect::RemoveWorkspace);
        self.notify_of_comment(format!("the agent refused the issue ({}): {reason}", refusal.as_str()));
    }

    /// Tells people of what another order writes on the issue.
    fn notify_of_comment(&mut self, text: String) {
        self.order(Effect::Notify { text, urgent: true, on_issue: false });
    }

    /// Asks a human and waits; the session, if there is one, is kept.
    pub(super) fn escalate(&mut self, why: String) {
        self.cancel(|effect| matches!(effect, Effect::Merge { .. } | Effect::RunCi { .. }));
        // The same question still stands: it is asked once, and its clock goes on.
        if matches!(&self.run.stage, Stage::Escalated { why: standing, .. } if *standing == why) {
            return;
        }
        let again = self.run.escalations.contains(&why);
        let text = match again {
            true => format!("needs a human once more, for the same reason as before: {why}"),
            false => format!("needs a human: {why}"),
        };
        self.run.escalations.push(why.clone());
        self.enter(Stage::Escalated { why, reminders: 0 });
        self.notify(text, true);
    }

    /// The same, but for a reason that people were asked about already: that escalation stands again, and nobody is told twice.
    pub(super) fn escalate_unless_known(&mut self, why: String, interrupted: Option<(Stage, Timestamp)>) {
        match interrupted {
            Some((escalated @ Stage::Escalated { .. }, since)) if matches!(&escalated, Stage::Escalated { why: known, .. } if *known == why) =>
            {
                self.enter(escalated);
                self.run.since = since;
            }
            _ => self.escalate(why),
        }
    }

    /// Gives the issue back; what only the worktree has is kept first, since nobody may come back to it for long.
    pub(super) fn stop_requested(&mut self, who: &str, reason: &str) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        self.finish(End::GivenBack { why: format!("{who} stopped it{because}") });
        self.order(Effect::RemoveWorkspace);
        Ok(())
    }

    /// Begins another attempt. A run that works on is left alone unless a fresh attempt is asked for; one that waits for a
    /// usage limit goes on at once, in the session that it has: the account may be another by now.
    pub(super) fn retry_requested(&mut self, id: &str, who: &str, fresh: bool) -> Taken {
        let waits_for_people = matches!(self.run.stage, Stage::Escalated { .. });
        let before_any_session = matches!(self.run.stage, Stage::Claiming | Stage::Surveying);
        let merging = matches!(self.run.stage, Stage::Merging { .. } | Stage::Rebasing { .. });
        let limited = self.run.usage_limit.is_some();
        self.only_in(
            !self.run.stage.is_over() && !before_any_session && !merging && (fresh || waits_for_people || limited),
        )?;
        self.only_in(self.run.branch.is_some())?;
        if !self.run.seen_replies.insert(id.to_owned()) {
            return Err(super::Ignored::Duplicate);
        }
        self.run.usage_limit = None;
        if limited && !fresh && !waits_for_people && self.run.session == Session::Started {
            self.run.used.usage_limits = 0;
            self.run.hands_off_until = None;
            self.cancel(is_nudge_order);
            self.notify(format!("{who} asked to go on before the usage limit is over"), false);
            self.tell(MessageKind::Nudge, prompts::usage_limit_over());
            return Ok(());
        }
        // This start is itself one after the first.
        self.run.used = Used { respawns: 1, ..Used::default() };
        self.notify(format!("{who} asked for another attempt"), false);
        self.start_session(fresh);
        Ok(())
    }

    pub(super) fn human_replied(&mut self, id: &str, who: &str, text: &str) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_replies.insert(id.to_owned()) {
            return Err(super::Ignored::Duplicate);
        }
        self.run.used.strikes = 0;
        let message = prompts::human_reply(who, text);
        match self.run.stage {
            // A merge that is under way goes on; the word is heard when it is refused.
            Stage::Merging { .. } | Stage::Rebasing { .. } => self.tell_later(MessageKind::HumanReply, message, None),
            // What a person wants said comes before whatever is waited for, as with a review.
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Escalated { .. } => {
                self.tell(MessageKind::HumanReply, message);
                self.work();
            }
            _ => self.tell(MessageKind::HumanReply, message),
        }
        let told = self.orders.iter().rev().find(|(_, order)| matches!(order, Effect::Deliver { .. }));
        if let Some((order, _)) = told {
            self.run.replies.insert(order.clone(), id.to_owned());
        }
        Ok(())
    }

    /// A reply that the agent has not taken reads otherwise now.
    pub(super) fn reply_changed(&mut self, id: &str, who: &str, text: &str) -> Taken {
        let order = self.waiting_reply(id)?;
        match self.run.pending.get_mut(&order) {
            Some(Effect::Deliver { message, .. }) => message.text = prompts::human_reply(who, text),
            _ => return Err(super::Ignored::NotNow),
        }
        Ok(())
    }

    /// A reply that the agent has not taken is not said.
    pub(super) fn reply_withdrawn(&mut self, id: &str) -> Taken {
        let order = self.waiting_reply(id)?;
        self.run.pending.remove(&order);
        let rests = self.run.session == Session::Started && !self.run.busy;
        if matches!(self.run.stage, Stage::Working) && rests && !self.owes_agent() {
            // The word was the agent's because of this reply alone.
            self.escalate("the answer was deleted before the agent had read it".into());
        }
        Ok(())
    }

    fn waiting_reply(&self, id: &str) -> Result<crate::domain::ids::EffectId, super::Ignored> {
        let waits = |order: &&crate::domain::ids::EffectId| self.run.pending.contains_key(*order);
        let found = self.run.replies.iter().find(|(_, reply)| *reply == id).map(|(order, _)| order);
        found.filter(waits).cloned().ok_or(super::Ignored::NotNow)
    }
}
