//! How a run ends, and how it asks a human.

use super::{
    Effect, End, IssueState, MessageKind, Refusal, Stage,
    step::{Mover, Taken},
};
use crate::domain::prompts;

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
                if self.run.policy.delete_branch {
                    self.order(Effect::DeleteBranch);
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
        self.run.escalations.push(why.clone());
        self.enter(Stage::Escalated { why: why.clone(), reminders: 0 });
        self.notify(format!("needs a human: {why}"), true);
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
            Stage::Merging { .. } => self.tell_later(MessageKind::HumanReply, message, None),
            // What a person wants said comes before whatever is waited for, as with a review.
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Escalated { .. } => {
                self.tell(MessageKind::HumanReply, message);
                self.work();
            }
            _ => self.tell(MessageKind::HumanReply, message),
        }
        Ok(())
    }
}
