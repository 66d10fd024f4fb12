//! The way from a branch to an accepted pull request: the branch, CI, reviews, conflicts.

use super::{
    Effect, End, Heard, Ignored, MessageKind, Session, Stage,
    policy::{CI_BREAKS, CI_RETRY_SECS, HELD_RETRY_SECS},
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
use std::collections::BTreeSet;

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
        } else if self.run.red_at.as_ref() == Some(local) {
            Some(prompts::head_not_moved(local, uncommitted))
        } else {
            None
        };
        if let Some(text) = problem {
            self.tell(MessageKind::BranchNotReady, text);
            self.work();
            return Ok(());
        }
        self.take_head(local);
        if self.run.pull_request.is_none() {
            self.order(Effect::OpenPullRequest { head: local.clone() });
        } else {
            self.await_ci(local);
        }
        Ok(())
    }

    /// Waits for CI at a commit, or goes on when it was green there already; what the agent has to hear comes first.
    pub(super) fn await_ci(&mut self, head: &Sha) {
        self.take_head(head);
        self.run.interrupted = None;
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

    /// What the forge refused at one commit says nothing of another.
    pub(super) fn take_head(&mut self, head: &Sha) {
        if self.run.head.as_ref() != Some(head) {
            self.run.used.merge_refusals = 0;
            self.run.merge_not_before = None;
        }
        self.run.head = Some(head.clone());
    }

    pub(super) fn head_moved(&mut self, head: &Sha) -> Taken {
        if self.run.head.as_ref() == Some(head) {
            return Err(Ignored::Duplicate);
        }
        match self.run.stage {
            Stage::AwaitingCi { .. }
            | Stage::AwaitingReview { .. }
            | Stage::Merging { .. }
            | Stage::Rebasing { .. } => self.await_ci(head),
            // Somebody else than the agent has pushed: that is an answer, too.
            Stage::Escalated { .. } if !self.run.busy => self.await_ci(head),
            _ => return Err(Ignored::NotNow),
        }
        Ok(())
    }

    /// What the agent pushed before it asked is no answer: the question stands.
    pub(super) fn own_push_seen(&mut self, head: &Sha) -> Taken {
        if self.run.head.as_ref() == Some(head) {
            return Err(Ignored::Duplicate);
        }
        self.only_in(matches!(self.run.stage, Stage::Escalated { .. }))?;
        self.take_head(head);
        Ok(())
    }

    /// What CI says anew is followed like any verdict; of anything else people are told, once, since no review will end it.
    pub(super) fn gate_held(&mut self, head: &Sha, codes: &BTreeSet<String>, words: &str) -> Taken {
        let Some(pull_request) = self.run.pull_request else { return Err(Ignored::NotNow) };
        if !matches!(&self.run.stage, Stage::AwaitingReview { head: awaited } if awaited == head) {
            return Err(Ignored::StaleHead);
        }
        let held = Some((head.clone(), codes.clone()));
        if self.run.gate_held == held {
            return Err(Ignored::Duplicate);
        }
        self.run.gate_held = held;
        if codes.iter().any(|code| code.starts_with("ci_")) {
            self.run.green_at = None;
            self.notify(format!("CI has changed its mind at {}: {words}", head.short()), false);
            self.await_ci(head);
            return Ok(());
        }
        self.notify(format!("pull request {pull_request} cannot be merged as it is: {words}"), true);
        Ok(())
    }

    pub(super) fn ci_finished(&mut self, head: &Sha, verdict: &CiVerdict, is_asked_for: bool) -> Taken {
        // While a person is asked CI is asked only where it is for that person to let it go on.
        let escalated = matches!(self.run.stage, Stage::Escalated { .. });
        let awaited = matches!(&self.run.stage, Stage::AwaitingCi { head: awaited } if awaited == head);
        if !(awaited || escalated && is_asked_for) {
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
            CiVerdict::Held { why } => {
                self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
                if !escalated {
                    self.escalate(format!(
                        "CI goes on only by a person's hand: {why}; rig goes on by itself when CI does"
                    ));
                }
                // Asked on and on: what the person does on the CI server is the answer.
                self.ask_ci_after(head, HELD_RETRY_SECS);
            }
            CiVerdict::Broken { why } => {
                self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
                self.run.used.ci_breaks += 1;
                if self.run.used.ci_breaks > CI_BREAKS {
                    self.escalate(format!("CI itself fails again and again: {why}"));
                    return Ok(());
                }
                let pause = CI_RETRY_SECS << (self.run.used.ci_breaks - 1).min(6);
                self.ask_ci_after(head, pause);
            }
        }
        Ok(())
    }

    fn ci_green(&mut self, head: &Sha) {
        self.cancel(|effect| matches!(effect, Effect::RunCi { .. }));
        self.run.green_at = Some(head.clone());
        self.run.gate_held = None;
        self.run.used.ci_fixes = 0;
        self.run.used.ci_breaks = 0;
        self.notify(format!("CI passed at {}; waiting for review", head.short()), false);
        if self.run.session == Session::Started {
            self.tell_later(MessageKind::CiPassed, prompts::ci_passed(head, self.run.pull_request), None);
        }
        // While a person was asked, a review or an answer may have come that the agent has not heard.
        if self.owes_agent() {
            return self.hand_over();
        }
        self.enter(Stage::AwaitingReview { head: head.clone() });
    }

    fn ask_ci_after(&mut self, head: &Sha, secs: i64) {
        let not_before = self.at.checked_add(SignedDuration::from_secs(secs)).ok();
        self.order(Effect::RunCi { head: head.clone(), not_before });
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

    pub(super) fn review_received(&mut self, id: u64, reviewer: &Login, heard: Heard, text: &str) -> Taken {
        self.only_in(!self.run.stage.is_over())?;
        if !self.run.seen_reviews.insert(id) {
            return Err(Ignored::Duplicate);
        }
        let Heard { verdict, commit, findings } = heard;
        if verdict == Verdict::None {
            return Err(Ignored::NotNow);
        }
        let about = commit.clone().or_else(|| self.run.head.clone());
        let now = Heard { verdict, commit: about, findings };
        let last = self.run.heard.get(&reviewer.as_str().to_ascii_lowercase()).cloned();
        // The same verdict by another way, such as a marker comment beside the review: taken in, and told no second time.
        if last.as_ref().is_some_and(|last| now.is_said_by(last)) {
            if verdict == Verdict::Approved {
                self.run.merge_not_before = None;
            }
            return Ok(());
        }
        self.run.heard.insert(reviewer.as_str().to_ascii_lowercase(), now.clone());
        match verdict {
            Verdict::Approved => {
                self.run.merge_not_before = None;
                self.notify(format!("{reviewer} approved"), false);
                return Ok(());
            }
            Verdict::ChangesRequested | Verdict::Comment | Verdict::None => {}
        }
        let message = prompts::review(reviewer, verdict, commit.as_ref(), self.run.head.as_ref(), text);
        self.run.used.reviews += 1;
        if self.run.used.reviews > self.run.policy.review_rounds {
            self.tell_later(MessageKind::Review, message, None);
            let rounds = self.run.policy.review_rounds;
            self.escalate(format!("{rounds} rounds of review did not converge"));
            return Ok(());
        }
        if last.is_some_and(|last| now.repeats(&last)) {
            self.tell_later(MessageKind::Review, message, None);
            self.escalate(format!(
                "{reviewer} finds again what the last review found, and nothing else: either the agent does not get it mended, or \
                 the reviewer is wrong"
            ));
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
            Stage::Escalated { .. } | Stage::Merging { .. } | Stage::Rebasing { .. } => {
                self.tell_later(MessageKind::Review, message, None);
            }
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

impl Heard {
    /// Returns whether another review of the same reviewer has said all this of the same commit.
    fn is_said_by(&self, last: &Heard) -> bool {
        let says_no_more = match self.verdict {
            Verdict::Approved => true,
            _ => !self.findings.is_empty() && self.findings.is_subset(&last.findings),
        };
        self.verdict == last.verdict && self.commit == last.commit && says_no_more
    }

    /// Returns whether it finds, at another commit, only what the last round has found.
    fn repeats(&self, last: &Heard) -> bool {
        self.commit != last.commit && !self.findings.is_empty() && self.findings.is_subset(&last.findings)
    }
}
