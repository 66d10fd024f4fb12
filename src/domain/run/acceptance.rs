//! The way from a branch to an accepted pull request: the branch, CI, reviews, conflicts.

use super::{
    Effect, End, Ignored, MessageKind, Session, Stage,
    policy::{CI_BREAKS, CI_RETRY_SECS},
    step::{Mover, Taken},
};
use crate::domain::{
    ci::CiVerdict,
    ids::{Login, Sha},
    phase::Phase,
    prompts,
    pull_request::Verdict,
};
use jiff::SignedDuration;

impl Mover {
    pub(super) fn branch_inspected(
        &mut self,
        phase: Phase,
        local: &Sha,
        remote: Option<&Sha>,
        base: &Sha,
        ahead: u32,
        uncommitted: u32,
    ) -> Taken {
        self.only_in(matches!(&self.run.stage, Stage::Inspecting { phase: asked } if *asked == phase))?;
        let problem = if ahead == 0 {
            Some(prompts::branch_without_commits(base, uncommitted))
        } else if remote != Some(local) {
            Some(prompts::branch_not_pushed(local, remote, uncommitted))
        } else if self.run.red_at.as_ref() == Some(local) && phase == Phase::AwaitingCi {
            Some(prompts::head_not_moved(local, uncommitted))
        } else {
            None
        };
        if let Some(text) = problem {
            self.tell(MessageKind::BranchNotReady, text);
            self.work();
            return Ok(());
        }
        self.run.head = Some(local.clone());
        if self.run.pull_request.is_none() {
            self.order(Effect::OpenPullRequest { head: local.clone() });
        } else {
            self.await_ci(local);
        }
        Ok(())
    }

    /// Waits for CI at a commit, or goes on when it was green there already; what the agent has to hear comes first.
    pub(super) fn await_ci(&mut self, head: &Sha) {
        self.run.head = Some(head.clone());
        if self.owes_agent() {
            return self.hand_over();
        }
        if self.run.green_at.as_ref() == Some(head) {
            return self.enter(Stage::AwaitingReview { head: head.clone() });
        }
        self.enter(Stage::AwaitingCi { head: head.clone() });
        if !self.run.has_pending(|effect| matches!(effect, Effect::RunCi { .. })) {
            self.order(Effect::RunCi { head: head.clone(), not_before: None });
        }
    }

    pub(super) fn head_moved(&mut self, head: &Sha) -> Taken {
        if self.run.head.as_ref() == Some(head) {
            return Err(Ignored::Duplicate);
        }
        match self.run.stage {
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Merging { .. } => self.await_ci(head),
            _ => return Err(Ignored::NotNow),
        }
        Ok(())
    }

    pub(super) fn ci_finished(&mut self, head: &Sha, verdict: &CiVerdict) -> Taken {
        if !matches!(&self.run.stage, Stage::AwaitingCi { head: awaited } if awaited == head) {
            return Err(Ignored::StaleHead);
        }
        match verdict {
            CiVerdict::Pending { .. } => return Err(Ignored::NotNow),
            CiVerdict::Green => self.ci_green(head),
            CiVerdict::Red { steps } => {
                self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
                self.run.red_at = Some(head.clone());
                if self.run.used.ci_fixes >= self.run.policy.ci_fixes {
                    let fixes = self.run.used.ci_fixes;
                    self.finish(End::Blocked { why: format!("CI is red and all {fixes} fixes are used up") });
                    return Ok(());
                }
                self.run.used.ci_fixes += 1;
                self.notify(format!("CI failed at {}", head.short()), false);
                self.tell(MessageKind::CiFailed, prompts::ci_failed(head, steps));
                self.work();
            }
            CiVerdict::Broken { why } => {
                self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
                self.run.used.ci_breaks += 1;
                if self.run.used.ci_breaks > CI_BREAKS {
                    self.escalate(format!("CI itself fails again and again: {why}"));
                    return Ok(());
                }
                let pause = CI_RETRY_SECS << (self.run.used.ci_breaks - 1).min(6);
                let not_before = self.at.checked_add(SignedDuration::from_secs(pause)).ok();
                self.order(Effect::RunCi { head: head.clone(), not_before });
            }
        }
        Ok(())
    }

    fn ci_green(&mut self, head: &Sha) {
        self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
        self.run.green_at = Some(head.clone());
        self.run.used.ci_fixes = 0;
        self.run.used.ci_breaks = 0;
        self.notify(format!("CI passed at {}; waiting for review", head.short()), false);
        if self.run.session == Session::Started {
            self.tell_later(MessageKind::CiPassed, prompts::ci_passed(head, self.run.pull_request), None);
        }
        self.enter(Stage::AwaitingReview { head: head.clone() });
    }

    pub(super) fn ci_timed_out(&mut self) {
        let Stage::AwaitingCi { head } = self.run.stage.clone() else { return };
        self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
        self.run.used.ci_timeouts += 1;
        if self.run.used.ci_timeouts > self.run.policy.ci_fixes {
            return self.escalate(format!("CI gives no verdict on {}", head.short()));
        }
        self.tell(MessageKind::CiTimedOut, prompts::ci_timed_out(&head, self.run.policy.ci_timeout_secs));
        self.work();
    }

    pub(super) fn review_received(
        &mut self,
        id: u64,
        reviewer: &Login,
        verdict: Verdict,
        commit: Option<&Sha>,
        text: &str,
    ) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_reviews.insert(id) {
            return Err(Ignored::Duplicate);
        }
        match verdict {
            Verdict::None => return Err(Ignored::NotNow),
            Verdict::Approved => {
                self.notify(format!("{reviewer} approved"), false);
                return Ok(());
            }
            Verdict::ChangesRequested | Verdict::Comment => {}
        }
        let message = prompts::review(reviewer, verdict, commit, self.run.head.as_ref(), text);
        self.run.used.reviews += 1;
        if self.run.used.reviews > self.run.policy.review_rounds {
            self.tell_later(MessageKind::Review, message, None);
            let rounds = self.run.policy.review_rounds;
            self.escalate(format!("{rounds} rounds of review did not converge"));
            return Ok(());
        }
        self.notify(
            format!("{reviewer} {}", if verdict == Verdict::Comment { "commented" } else { "asks for changes" }),
            false,
        );
        match self.run.stage {
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } => {
                self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
                self.tell(MessageKind::Review, message);
                self.work();
            }
            Stage::Escalated { .. } | Stage::Merging { .. } => self.tell_later(MessageKind::Review, message, None),
            _ => self.tell(MessageKind::Review, message),
        }
        Ok(())
    }

    pub(super) fn ask_for_rebase(&mut self) {
        self.run.used.rebases += 1;
        if self.run.used.rebases > self.run.policy.rebases {
            return self.escalate("the branch conflicts with the primary branch again and again".into());
        }
        self.tell(MessageKind::Conflict, prompts::conflict());
        self.work();
    }
}
