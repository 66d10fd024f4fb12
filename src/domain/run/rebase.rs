//! Bringing an accepted branch up to date with the primary branch: by rig where git can, by the agent where it cannot.
//! Deliberately absent: when a branch counts as outdated; that is the merge's answer.

use super::{
    Effect, MessageKind, RebaseRefusal, Stage, WhenBehind,
    step::{Mover, Taken},
};
use crate::domain::{ids::Sha, prompts};
use jiff::Timestamp;

impl Mover {
    /// Orders the rebase, unless the agent has something to do first. Counts as one of `limits.rebases`.
    pub(super) fn bring_up_to_date(&mut self, head: &Sha, message: &str, interrupted: Option<(Stage, Timestamp)>) {
        if self.owes_agent() {
            return self.hand_over();
        }
        // An agent in its turn may be changing files: the merge is asked for again later.
        if self.run.busy {
            return self.enter(Stage::AwaitingReview { head: head.clone() });
        }
        if self.run.used.rebases >= self.run.policy.rebases {
            let times = self.run.policy.rebases;
            let why = format!("the branch is outdated, and {times} rebases are used up: {message}");
            return self.escalate_unless_known(why, interrupted);
        }
        self.run.used.rebases += 1;
        let how = match self.run.policy.when_behind {
            WhenBehind::Update => WhenBehind::Update,
            WhenBehind::AsIs | WhenBehind::Rebase => WhenBehind::Rebase,
        };
        self.enter(Stage::Rebasing { head: head.clone() });
        self.order(Effect::Rebase { head: head.clone(), how });
    }

    /// CI and review begin again at the new head.
    pub(super) fn rebased(&mut self, old: &Sha, new: &Sha) -> Taken {
        self.only_in(matches!(&self.run.stage, Stage::Rebasing { head } if head == old))?;
        self.cancel(|effect| matches!(effect, Effect::Rebase { .. }));
        let first = self.run.moved.take().map_or_else(|| old.clone(), |(first, _)| first);
        self.run.moved = Some((first, new.clone()));
        self.notify(format!("the branch is up to date at {}; CI and review begin again", new.short()), false);
        self.await_ci(new);
        Ok(())
    }

    pub(super) fn rebase_failed(&mut self, head: &Sha, why: &RebaseRefusal) -> Taken {
        self.only_in(matches!(&self.run.stage, Stage::Rebasing { head: wanted } if wanted == head))?;
        self.cancel(|effect| matches!(effect, Effect::Rebase { .. }));
        match why {
            RebaseRefusal::UpToDate if self.owes_agent() => self.hand_over(),
            RebaseRefusal::UpToDate => self.enter(Stage::AwaitingReview { head: head.clone() }),
            RebaseRefusal::Conflict { message } | RebaseRefusal::NotClean { message } => {
                self.tell(MessageKind::Conflict, prompts::rebase_by_hand(message));
                self.work();
            }
            RebaseRefusal::Refused { message } => {
                self.escalate(format!("rig may not bring the branch up to date: {message}"));
            }
        }
        Ok(())
    }

    /// Says in front of a message that rig has moved the branch, once.
    pub(super) fn with_news_of_branch(&mut self, text: String) -> String {
        match self.run.moved.take() {
            Some((old, new)) => format!("{}\n\n{text}", prompts::branch_moved(&old, &new)),
            None => text,
        }
    }
}
