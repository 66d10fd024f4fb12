//! Reviewers, owners of issues, and others who write where they should not; and what befalls the forge by itself.

use super::{
    forge::{BOT, Forge, REVIEWERS},
    sim::{Manner, Sim},
};
use rig::domain::{
    ids::RunId,
    issue::OpenOrClosed,
    pull_request::Verdict,
    run::{Event, Stage},
};

impl Sim {
    /// Somebody does something.
    pub(crate) fn people_step(&mut self) {
        match self.plan.manner {
            Manner::Wild if !self.ending => self.people_do_anything(),
            _ => self.people_mean_well(),
        }
    }

    fn people_mean_well(&mut self) {
        for number in self.forge.open_numbers() {
            let found = self.forge.pull_requests[&number].clone();
            let green = self.forge.ci.get(&found.head).is_some_and(|ci| ci.green && ci.pending == 0 && ci.breaks == 0);
            if green && self.forge.ready_at(number).is_none() {
                let reviewers: Vec<&str> = REVIEWERS.into_iter().filter(|one| self.must_speak(number, one)).collect();
                for reviewer in reviewers {
                    let when = (self.step, self.now());
                    self.forge.review(number, (reviewer, Verdict::Approved), found.head.clone(), String::new(), when);
                }
            }
        }
        if self.ending {
            self.answer_escalations(700);
            self.settle_ci();
        }
    }

    /// The first reviewer approves; the others take back their request for changes.
    fn must_speak(&self, number: u64, reviewer: &str) -> bool {
        let reviews = self.forge.reviews.get(&number).cloned().unwrap_or_default();
        let objects =
            reviews.iter().any(|one| one.reviewer.as_str() == reviewer && one.verdict == Verdict::ChangesRequested);
        reviewer == REVIEWERS[0] || objects
    }

    /// What hung is judged after all.
    fn settle_ci(&mut self) {
        for truth in self.forge.ci.values_mut() {
            truth.pending = truth.pending.min(3);
        }
    }

    fn people_do_anything(&mut self) {
        match self.rng.weighted(&[30, 12, 8, 6, 3, 10, 10, 1, 1, 3, 3, 3, 5]) {
            0 => self.review(REVIEWERS[0], Verdict::Approved, false),
            1 => self.review(REVIEWERS[1], Verdict::ChangesRequested, false),
            2 => self.review(REVIEWERS[0], Verdict::Approved, true),
            3 => self.review("eve", Verdict::Approved, false),
            4 => self.review(BOT, Verdict::Approved, false),
            5 => self.review(REVIEWERS[0], Verdict::Comment, false),
            6 => self.answer_escalations(1_000),
            7 => {
                let number = self.any_issue();
                self.say(&format!("a person closes #{number}"));
                self.forge.close_issue(number, "ann");
            }
            8 => self.close_a_pull_request(),
            9 => self.push_by_hand(),
            10 => self.send_input(),
            11 => self.flip_ci(),
            _ => self.relabel(),
        }
    }

    fn any_issue(&mut self) -> u64 {
        let count = self.forge.issues.len();
        1 + self.rng.below(count) as u64
    }

    fn review(&mut self, reviewer: &str, verdict: Verdict, stale: bool) {
        let open = self.forge.open_numbers();
        if open.is_empty() {
            return;
        }
        let number = open[self.rng.below(open.len())];
        let found = self.forge.pull_requests[&number].clone();
        let commit = if stale { self.base.clone() } else { found.head.clone() };
        let text = self.token(Forge::issue_of(&found));
        let when = (self.step, self.now());
        self.say(&format!("{reviewer} says {verdict:?} of {number} at {}", commit.short()));
        self.forge.review(number, (reviewer, verdict), commit, text, when);
    }

    fn answer_escalations(&mut self, per_mille: u32) {
        let asked: Vec<(u64, RunId)> = self
            .open_runs()
            .into_iter()
            .filter(|run| matches!(run.stage, Stage::Escalated { .. }))
            .map(|run| (run.issue.0, run.id))
            .collect();
        for (issue, run) in asked {
            if !self.rng.chance(per_mille) {
                continue;
            }
            let who = if self.ending || self.rng.chance(700) { "ann" } else { "eve" };
            let text = format!("@{BOT} {}", self.token(issue));
            let at = self.now();
            self.say(&format!("{who} answers on #{issue}"));
            let id = self.forge.post_comment(issue, who, text, at);
            if who == "ann" {
                let now = self.mono_ms;
                self.oracle.answers.push((run, format!("comment-{id}"), now));
            }
        }
    }

    fn close_a_pull_request(&mut self) {
        let open = self.forge.open_numbers();
        if let Some(found) = open.first().and_then(|number| self.forge.pull_requests.get_mut(number)) {
            found.state = OpenOrClosed::Closed;
            let number = found.number;
            self.say(&format!("a person closes pull request {number}"));
        }
    }

    fn push_by_hand(&mut self) {
        let open = self.forge.open_numbers();
        let Some(branch) = open.first().and_then(|number| self.forge.pull_requests[number].head_branch.clone()) else {
            return;
        };
        let sha = self.forge.sha();
        let truth = self.draw_ci();
        self.forge.ci.insert(sha.clone(), truth);
        let now = self.step;
        self.say(&format!("a person pushes {} to {branch}", sha.short()));
        self.forge.push(branch.as_str(), &sha, now);
    }

    /// `rig send` and `rig stop`.
    fn send_input(&mut self) {
        let open = self.open_runs();
        if open.is_empty() {
            return;
        }
        let run = &open[self.rng.below(open.len())];
        let id = self.forge.id();
        let event = if self.rng.chance(150) {
            Event::StopRequested { who: "ann".into(), reason: String::new() }
        } else {
            Event::HumanReplied { id: format!("input-{id}"), who: "ann".into(), text: self.token(run.issue.0) }
        };
        self.say(&format!("input for #{}: {}", run.issue.0, event.kind()));
        self.inputs.push((id, run.id.clone(), event));
    }

    /// CI changes its mind about a commit.
    fn flip_ci(&mut self) {
        let open = self.forge.open_numbers();
        let Some(number) = open.first().copied() else { return };
        let now = self.step;
        self.forge.note_readiness(number, now);
        let head = self.forge.pull_requests[&number].head.clone();
        if let Some(truth) = self.forge.ci.get_mut(&head) {
            truth.green = !truth.green;
            self.say(&format!("CI changes its mind about {}", head.short()));
        }
    }

    /// A person gives a blocked issue back to the queue.
    fn relabel(&mut self) {
        let number = self.any_issue();
        let idle = self.latest_run(number).is_none_or(|run| run.stage.is_ended())
            && self.forge.issues[&number].state == OpenOrClosed::Open;
        let labels = self.forge.state_labels(number);
        if idle && labels.iter().any(|label| label == "blocked" || label == "underspecified") {
            self.forge.remove_labels(number, &["blocked", "underspecified"]);
            self.forge.add_label(number, "backlog");
        }
    }
}
