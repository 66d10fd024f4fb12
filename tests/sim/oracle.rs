//! What must hold, whatever happened: of every run after every event, of every act at the moment it is done, and of the
//! forge at the end.

use super::{
    agent::{Session, Told},
    forge::{BOT, Forge, STATE_LABELS},
    run_rules::malformed,
    sim::{Manner, Sim},
};
use rig::domain::{
    ids::{Attempt, EffectId, PullRequestNumber, RunId, Sha},
    issue::OpenOrClosed,
    run::{End, Event, Run, Stage, policy::RESTARTS},
};
use std::collections::{BTreeMap, BTreeSet};

/// Time in which an answer must be heard, drivers that die included.
const MOST_UNHEARD_MS: u64 = 1_500_000;
/// Time in which a message must be brought: a session that takes nothing is found out, and its follower too.
const MOST_WAITING_MS: u64 = 4_000_000;

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub violations: Vec<String>,
    /// Messages whose turn came to its end, and the attempt that it was of.
    finished: BTreeMap<EffectId, Attempt>,
    /// Every message that an agent took.
    pub taken: BTreeSet<EffectId>,
    pub merges: u32,
    /// Answers to escalations, as comments.
    pub answers: Vec<(RunId, String, u64)>,
    over_since: BTreeMap<RunId, u64>,
    /// Since when a message of a run that could take it has waited.
    waiting: BTreeMap<EffectId, u64>,
}

impl Oracle {
    /// An agent took messages: its own, and none that it has dealt with.
    pub(crate) fn taken(&mut self, session: &Session, messages: &[Told]) {
        for told in messages {
            self.taken.insert(told.id.clone());
            if told.id.run != session.run {
                self.violations.push(format!("a message of run {} reached run {}", told.id.run, session.run));
            }
            for foreign in told.text.match_indices("-of-issue-").map(|(at, word)| &told.text[at + word.len()..]) {
                if !foreign.starts_with(&format!("{}-", session.issue)) {
                    self.violations
                        .push(format!("the agent of #{} was told what was meant for another", session.issue));
                }
            }
            // A start whose session died before the start was journaled is done again, and tells the same.
            if self.finished.get(&told.id).is_some_and(|attempt| *attempt != session.attempt) {
                self.violations.push(format!("message {} reached the agent again after its turn had ended", told.id));
            }
        }
    }

    pub(crate) fn turn_ended(&mut self, session: &Session, messages: &[Told]) {
        for told in messages {
            self.finished.insert(told.id.clone(), session.attempt);
        }
    }
}

impl Sim {
    /// A run moved: it must make sense, and what it says of sessions must be true.
    pub(crate) fn check_moved(&mut self, before: &Run, run: &Run, event: &Event) {
        if let Some(what) = malformed(run) {
            self.wrong(format!("#{} after {event:?}: {what}", run.issue.0));
        }
        if let Event::SessionLost { attempt, .. } = event
            && self.live_attempts(run.issue.0).contains(attempt)
        {
            self.wrong(format!("attempt {attempt} of #{} is taken for lost and lives", run.issue.0));
        }
        let free = match event {
            Event::UsageLimited { .. } | Event::UsagePaused { .. } => true,
            Event::ContextCompacted { .. } | Event::ToolRefused { .. } => true,
            Event::SessionLost { restarted, .. } => *restarted && run.used.restarts <= RESTARTS,
            _ => false,
        };
        if free && (run.used.strikes, run.used.respawns) != (before.used.strikes, before.used.respawns) {
            self.wrong(format!("#{} was charged for {event:?}", run.issue.0));
        }
        if run.stage.is_over() {
            let now = self.mono_ms;
            self.oracle.over_since.entry(run.id.clone()).or_insert(now);
        }
        if before.stage.is_over() && !run.stage.is_over() {
            self.wrong(format!("#{} came back from its end by {event:?}", run.issue.0));
        }
        if run.used.ci_fixes > run.policy.ci_fixes {
            self.wrong(format!("#{} has had {} CI fixes", run.issue.0, run.used.ci_fixes));
        }
        if let Event::CiFinished { verdict: rig::domain::ci::CiVerdict::Broken { .. }, .. } = event
            && run.used.ci_fixes > before.used.ci_fixes
        {
            self.wrong(format!("#{} was charged for CI's own failure", run.issue.0));
        }
    }

    /// Something is done that a journaled order must stand behind.
    pub(crate) fn check_ordered(&mut self, id: &EffectId) {
        let journaled = self.journal.get(&id.run).map_or(0, Vec::len) as u64;
        if journaled < id.seq.0 {
            self.wrong(format!("order {id} is carried out and not in the journal"));
        }
    }

    /// A merge happened: of what was judged, green and approved while it was judged.
    pub(crate) fn check_merge(&mut self, number: u64, named: &Sha, head: &Sha) {
        self.oracle.merges += 1;
        if named != head {
            self.wrong(format!("{} was judged, {} was merged as {number}", named.short(), head.short()));
        }
        let began = self.judging.get(&number).copied().unwrap_or(0);
        let ready = self.forge.ready_at(number).as_ref() == Some(head)
            || self.forge.was_ready.get(&number).is_some_and(|(sha, when)| sha == head && *when >= began);
        if !ready {
            self.wrong(format!("{} was merged as {number}, not green or not approved", head.short()));
        }
    }

    /// At any moment.
    pub(crate) fn check_world(&mut self) {
        let mut live: BTreeMap<u64, u32> = BTreeMap::new();
        for session in self.sessions.iter().filter(|session| session.alive) {
            *live.entry(session.issue).or_default() += 1;
        }
        if let Some((issue, count)) = live.into_iter().find(|(_, count)| *count > 1) {
            self.wrong(format!("{count} sessions live for #{issue}"));
        }
    }

    /// In the ending: what is to be told is told, or a person is asked, within bounded time.
    pub(crate) fn check_waiting(&mut self) {
        let runs: Vec<Run> =
            self.open_runs().into_iter().filter(|run| !matches!(run.stage, Stage::Escalated { .. })).collect();
        let ids: Vec<EffectId> = runs.iter().flat_map(|run| run.messages().map(|(id, _)| id.clone())).collect();
        let now = self.mono_ms;
        self.oracle.waiting.retain(|id, _| ids.contains(id));
        for id in ids {
            let since = *self.oracle.waiting.entry(id.clone()).or_insert(now);
            if now - since > MOST_WAITING_MS {
                self.wrong(format!("message {id} is not brought to its agent"));
            }
        }
    }

    /// rig closes an issue.
    pub(crate) fn check_close(&mut self, issue: u64) {
        let merged = self.forge.pull_requests.values().any(|found| Forge::issue_of(found) == issue && found.merged);
        if !merged {
            self.wrong(format!("#{issue} is closed without a merge"));
        }
    }

    /// After the ending.
    pub(crate) fn check_end(&mut self) {
        if self.plan.manner != Manner::Wild && self.oracle.merges as usize != self.forge.issues.len() {
            self.wrong(format!("{} merges for {} issues", self.oracle.merges, self.forge.issues.len()));
        }
        for number in self.forge.issues.keys().copied().collect::<Vec<_>>() {
            self.check_issue_end(number);
        }
        let runs: Vec<Run> = self.live.values().cloned().collect();
        for (run, comment, written) in std::mem::take(&mut self.oracle.answers) {
            let over = self.oracle.over_since.get(&run).copied().unwrap_or(u64::MAX);
            let run = &self.live[&run];
            if !run.seen_replies.contains(&comment) && over > written + MOST_UNHEARD_MS {
                let what = format!("the answer {comment} on #{} was never heard; {:?}", run.issue.0, run.stage);
                self.wrong(what);
            }
        }
        for run in &runs {
            self.load(&run.id);
            if !run.stage.is_ended() {
                self.wrong(format!("#{} does not come to an end: {:?}", run.issue.0, run.stage));
            }
        }
        if self.notices.values().any(|(_, _, urgent)| *urgent) {
            self.wrong("an urgent notice was never sent".into());
        }
    }

    fn check_issue_end(&mut self, number: u64) {
        let comments = self.forge.comments.get(&number).cloned().unwrap_or_default();
        let markers: Vec<&str> = comments
            .iter()
            .filter(|comment| comment.author.as_str() == BOT)
            .filter_map(|comment| comment.body.split("<!-- ").nth(1))
            .collect();
        let unique: BTreeSet<&&str> = markers.iter().collect();
        if unique.len() != markers.len() {
            self.wrong(format!("#{number} has a comment twice"));
        }
        let own: Vec<_> =
            self.forge.pull_requests.values().filter(|found| Forge::issue_of(found) == number).cloned().collect();
        if own.iter().filter(|found| found.merged || found.state == OpenOrClosed::Open).count() > 1 {
            self.wrong(format!("#{number} has two pull requests"));
        }
        let labels = self.forge.state_labels(number);
        let issue = self.forge.issues[&number].clone();
        let merged = own.iter().any(|found| found.merged);
        let Some(run) = self.latest_run(number).cloned() else { return };
        let Stage::Ended { end } = &run.stage else { return };
        let expected: &[&str] = match end {
            End::Merged { .. } | End::Closed { .. } => &[],
            End::Blocked { .. } => &["blocked"],
            End::Refused { .. } => &["blocked", "underspecified"],
            End::GivenBack { .. } => &["backlog"],
            End::ClaimLost { .. } => &STATE_LABELS,
        };
        let agrees = match labels.as_slice() {
            [] => expected.is_empty(),
            [one] => expected.contains(&one.as_str()),
            _ => false,
        };
        // A pull request that landed after its run had ended takes the issue with it; so does a person who closes it.
        let closed_later =
            issue.state == OpenOrClosed::Closed && !matches!(end, End::Merged { .. } | End::Closed { .. });
        if !agrees && !closed_later {
            self.wrong(format!("#{number} ended as {end:?} and is labelled {labels:?}"));
        }
        let closed = issue.state == OpenOrClosed::Closed;
        if matches!(end, End::Merged { .. }) && !(merged && closed) {
            self.wrong(format!("#{number} ended as merged; merged: {merged}, closed: {closed}"));
        }
        if closed && !merged && self.forge.closed_by.get(&number).is_none_or(|who| who == BOT) {
            self.wrong(format!("#{number} is closed, not merged, and no person closed it"));
        }
        if matches!(self.plan.manner, Manner::Diligent { .. }) && !matches!(end, End::Merged { .. }) {
            self.wrong(format!("#{number} ended as {end:?} although everybody did what they should"));
        }
    }

    /// What must be the same with faults and without: the forge at the end, without numbers and times.
    pub(crate) fn summary(&self) -> Vec<String> {
        self.forge
            .issues
            .values()
            .map(|issue| {
                let number = issue.number.0;
                let own: Vec<_> =
                    self.forge.pull_requests.values().filter(|found| Forge::issue_of(found) == number).collect();
                let comments = self.forge.comments.get(&number).map_or(0, Vec::len);
                let merged = own.iter().filter(|found| found.merged).count();
                let labels = self.forge.state_labels(number);
                let state = issue.state;
                let count = own.len();
                format!("#{number} {state:?} {labels:?}, {comments} comments, {count} pull requests, {merged} merged")
            })
            .collect()
    }
}

/// Returns the number as the domain has it.
pub(crate) fn number(number: u64) -> PullRequestNumber {
    PullRequestNumber(number)
}
