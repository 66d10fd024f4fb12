//! Sessions and the agents in them: they work, write phases, stop silently, crash, hang, lie, refuse. What they did is in
//! the run's files, which outlive drivers.

use super::{forge::Branch, sim::Sim};
use jiff::{SignedDuration, Timestamp};
use rig::domain::{
    ids::{Attempt, EffectId, RunId},
    phase::{Phase, PhaseReport, write_phase_text},
};
use std::collections::{BTreeMap, BTreeSet};

/// A line of the hooks file.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub attempt: Attempt,
    pub kind: HookKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HookKind {
    /// The message that was typed, or none for the first prompt.
    PromptTaken(Option<EffectId>),
    TurnEnded,
    TurnFailed(&'static str),
    /// The account has used up what it may use; says when that is over, or does not.
    UsageLimited(Option<Timestamp>),
}

/// The files of an issue.
#[derive(Debug, Default, Clone)]
pub(crate) struct Files {
    pub hooks: Vec<Hook>,
    /// Writings of the phase file by attempt: content, and whether it is also in the log of `rig phase set`.
    pub phases: BTreeMap<Attempt, Vec<(String, bool)>>,
    pub summaries: BTreeMap<Attempt, String>,
    pub told: BTreeMap<Attempt, Vec<EffectId>>,
}

/// What a message wants, as far as the agent understands it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub id: EffectId,
    pub text: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub issue: u64,
    pub run: RunId,
    pub attempt: Attempt,
    pub branch: String,
    pub alive: bool,
    pub hung: bool,
    /// Steps left of the present turn; `None` when the agent waits.
    pub turn: Option<Turn>,
    /// A line that is typed and not taken yet.
    pub typed: Option<Told>,
}

#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub steps: u32,
    pub messages: Vec<Told>,
}

const HANG: u32 = 15;
const CRASH: u32 = 30;
const BREAK_OFF: u32 = 15;
const LOST_HOOK: u32 = 20;
const USAGE_LIMIT: u32 = 20;

impl Sim {
    /// Lets one agent do its next small thing.
    pub(crate) fn agent_step(&mut self) {
        let alive: Vec<usize> =
            (0..self.sessions.len()).filter(|i| self.sessions[*i].alive && !self.sessions[*i].hung).collect();
        if alive.is_empty() {
            return;
        }
        let index = alive[self.rng.below(alive.len())];
        let mut session = self.sessions[index].clone();
        self.agent_goes_on(&mut session);
        self.sessions[index] = session;
    }

    fn agent_goes_on(&mut self, session: &mut Session) {
        match session.turn.take() {
            None => {
                if let Some(told) = session.typed.take() {
                    self.hook(session, HookKind::PromptTaken(Some(told.id.clone())));
                    self.oracle.taken(session, std::slice::from_ref(&told));
                    session.turn = Some(Turn { steps: self.rng.below(4) as u32, messages: vec![told] });
                }
            }
            Some(turn) if turn.steps > 0 => {
                session.turn = Some(Turn { steps: turn.steps - 1, ..turn });
                if self.wild() && self.rng.chance(CRASH) {
                    self.say(&format!("agent of #{} crashes", session.issue));
                    session.alive = false;
                } else if self.wild() && self.rng.chance(HANG) {
                    self.say(&format!("agent of #{} hangs", session.issue));
                    session.hung = true;
                } else if self.wild() && self.rng.chance(BREAK_OFF) {
                    self.say(&format!("a person breaks off the turn of #{}", session.issue));
                    session.turn = None;
                }
            }
            Some(turn) => self.agent_ends_turn(session, &turn),
        }
    }

    fn agent_ends_turn(&mut self, session: &mut Session, turn: &Turn) {
        if self.wild() && self.rng.chance(40) {
            self.say(&format!("turn of #{} fails", session.issue));
            return self.hook(session, HookKind::TurnFailed("overloaded"));
        }
        if self.wild() && self.account_is_used_up() {
            let tells = self.rng.chance(750);
            self.say(&format!("agent of #{} meets the usage limit", session.issue));
            return self.hook(session, HookKind::UsageLimited(self.account_limit.filter(|_| tells)));
        }
        let says = |words: &str| turn.messages.iter().any(|told| told.text.contains(words));
        let only_ci_passed = says("CI passed at") && turn.messages.len() == 1;
        if only_ci_passed && (!self.wild() || self.rng.chance(850)) {
            self.phase(session, Phase::AwaitingReview, "");
        } else if self.wild() && !self.rng.chance(600) {
            self.agent_misbehaves(session);
        } else {
            self.commit(session);
            self.agent_pushes(session);
            self.phase(session, Phase::AwaitingCi, "");
        }
        if self.wild() && self.rng.chance(30) {
            // The phase is written, and the session dies before its turn has ended.
            self.say(&format!("agent of #{} crashes at the end of its turn", session.issue));
            session.alive = false;
            return;
        }
        if self.wild() && self.rng.chance(LOST_HOOK) {
            self.say(&format!("the hook of #{} is lost", session.issue));
            return;
        }
        // What a session does after it was given up counts for nothing.
        let present = self.live.get(&session.run).is_some_and(|run| run.attempt == session.attempt);
        if present {
            self.oracle.turn_ended(session, &turn.messages);
        }
        self.hook(session, HookKind::TurnEnded);
    }

    fn account_is_used_up(&mut self) -> bool {
        if self.account_limit.is_none() && self.rng.chance(USAGE_LIMIT) {
            let secs = 60 + self.rng.below(1_500) as i64;
            self.account_limit = self.now().checked_add(SignedDuration::from_secs(secs)).ok();
        }
        self.account_limit = self.account_limit.filter(|until| *until > self.now());
        self.account_limit.is_some()
    }

    fn agent_misbehaves(&mut self, session: &Session) {
        match self.rng.weighted(&[14, 10, 10, 4, 2, 2, 6, 6, 5, 4]) {
            0 => {}
            1 => self.phase(session, Phase::AwaitingReview, ""),
            2 => {
                self.commit(session);
                self.phase(session, Phase::AwaitingCi, "");
            }
            3 => self.phase(session, Phase::Done, ""),
            4 => self.phase(session, Phase::Failed, "it is beyond me"),
            5 => {
                let words = ["too_large", "unmet_dependency", "already_done"];
                let word = words[self.rng.below(words.len())];
                self.files(session.issue).summaries.insert(session.attempt, format!("Refusal: {word}\nso it is"));
                self.phase(session, Phase::Failed, "");
            }
            6 => self.phase(session, Phase::Escalate, "which way?"),
            7 => self.write(session, "PHASE:finished\n".into()),
            8 => {
                self.phase(session, Phase::Done, "");
                self.phase(session, Phase::Escalate, "or what?");
            }
            _ => {
                // Fast successive ones, and a push after the phase.
                self.commit(session);
                self.agent_pushes(session);
                self.phase(session, Phase::AwaitingCi, "");
                self.commit(session);
                self.agent_pushes(session);
            }
        }
    }

    /// Makes a commit in the worktree.
    fn commit(&mut self, session: &Session) {
        let sha = self.forge.sha();
        if let Some(branch) = self.forge.branches.get_mut(&session.branch) {
            branch.local = sha.clone();
            branch.ahead += 1;
        }
        let truth = self.draw_ci();
        self.forge.ci.insert(sha, truth);
    }

    fn agent_pushes(&mut self, session: &Session) {
        let Some(local) = self.forge.branches.get(&session.branch).map(|branch| branch.local.clone()) else { return };
        let now = self.step;
        self.say(&format!("agent of #{} pushes {}", session.issue, local.short()));
        self.forge.push(&session.branch, &local, now);
    }

    fn phase(&mut self, session: &Session, phase: Phase, reason: &str) {
        self.write(session, write_phase_text(&PhaseReport { phase, reason: reason.into() }));
    }

    fn write(&mut self, session: &Session, content: String) {
        self.say(&format!("agent of #{} writes {:?}", session.issue, content.lines().next().unwrap_or_default()));
        let logged = self.rng.chance(500);
        self.files(session.issue).phases.entry(session.attempt).or_default().push((content, logged));
    }

    fn hook(&mut self, session: &Session, kind: HookKind) {
        let hook = Hook { attempt: session.attempt, kind };
        self.files(session.issue).hooks.push(hook);
    }

    pub(crate) fn files(&mut self, issue: u64) -> &mut Files {
        self.run_files.entry(issue).or_default()
    }

    /// Makes the worktree of a branch, as it is on the forge or new from the primary branch.
    pub(crate) fn prepare_branch(&mut self, branch: &str) {
        if !self.forge.branches.contains_key(branch) {
            let base = self.base.clone();
            self.forge.branches.insert(branch.to_owned(), Branch { local: base, remote: None, ahead: 0 });
        }
    }

    /// Returns the attempts of an issue that live.
    pub(crate) fn live_attempts(&self, issue: u64) -> BTreeSet<Attempt> {
        self.sessions.iter().filter(|one| one.issue == issue && one.alive).map(|one| one.attempt).collect()
    }
}
