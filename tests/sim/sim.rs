//! The simulated machine and the world around it: what outlives processes (journal, files, forge, sessions), time, locks,
//! and the one gate through which every side effect goes, where it can fail, be lost, or be the last thing that is done.

use super::{
    agent::{Files, Session},
    forge::{CiTruth, Forge},
    oracle::Oracle,
    rng::Rng,
};
use jiff::Timestamp;
use rig::domain::{
    ids::{EffectId, RunId, Sha},
    run::{Fact, Policy, Run, fold},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    rc::Rc,
    task::Poll,
};

pub(crate) type Shared = Rc<RefCell<Sim>>;
pub(crate) type TaskId = u64;
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// 2026-01-01, in seconds: where every simulation begins.
const EPOCH_SECS: i64 = 1_767_225_600;

/// What is broken on purpose, to see that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tooth {
    None,
    GateWithoutCi,
    GateWithoutApprovals,
    /// Merging does not name the head that was judged.
    MergeUnnamed,
    /// Orders are carried out before the append that makes them orders.
    DispatchBeforeAppend,
    /// What was seen of an attempt is reported of whichever attempt is the present one.
    NoAttemptFence,
    /// Drivers do not take the run's lock.
    NoRunLock,
    /// A comment is posted without looking for it first.
    PostBlindly,
    /// The issue is closed without reading whether its pull request is merged, whenever a run ends.
    CloseOnWord,
}

/// How people, agents and the outside behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything that can go wrong does, until the ending.
    Wild,
    /// Agents, CI and people do what they should; only processes die and answers are lost.
    Diligent { faults: bool },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub seed: u64,
    pub manner: Manner,
    pub tooth: Tooth,
    pub trace: bool,
}

/// Why a side effect gave no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fail {
    /// Nobody knows whether it was done.
    Unknown,
    /// It was understood and refused.
    Refused(&'static str),
}

pub(crate) struct NewTask {
    pub id: TaskId,
    pub parent: Option<TaskId>,
    pub future: TaskFuture,
}

pub(crate) struct Sim {
    pub plan: Plan,
    pub rng: Rng,
    pub step: u64,
    pub wall_ms: i64,
    pub mono_ms: u64,
    /// The ending: no more faults, and everybody means well.
    pub ending: bool,
    pub error_rate: u32,
    pub forge: Forge,
    pub base: Sha,
    pub sessions: Vec<Session>,
    pub run_files: BTreeMap<u64, Files>,
    /// Facts as they are stored, by run.
    pub journal: BTreeMap<RunId, Vec<String>>,
    /// The runs as their writers have them: what folding must give.
    pub live: BTreeMap<RunId, Run>,
    pub inputs: Vec<(u64, RunId, rig::domain::run::Event)>,
    pub notices: BTreeMap<EffectId, (u64, String, bool)>,
    pub locks: BTreeMap<String, TaskId>,
    pub judging: BTreeMap<u64, u64>,
    pub spawned: Vec<NewTask>,
    pub aborted: BTreeSet<TaskId>,
    next_task: TaskId,
    pub next_run: u64,
    pub policy: Policy,
    pub oracle: Oracle,
    pub trace: Vec<String>,
    pub last_news: u64,
    pub tokens: u64,
    /// Counts the restarts of the machine.
    pub boot: u64,
    /// The account of all agents has used up what it may use, until then.
    pub account_limit: Option<Timestamp>,
}

impl Sim {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let mut forge = Forge::default();
        let base = forge.sha();
        let error_rate = match plan.manner {
            Manner::Wild => [0, 5, 30, 120][rng.below(4)],
            Manner::Diligent { faults } => {
                if faults {
                    60
                } else {
                    0
                }
            }
        };
        let policy = Policy {
            audit: true,
            agent_timeout_secs: 3_000,
            ci_timeout_secs: 900,
            review_timeout_secs: 6_000,
            escalate_reminder_secs: 300,
            escalate_second_secs: 600,
            escalate_timeout_secs: 1_500,
            ..Policy::default()
        };
        let mut sim = Self {
            plan,
            rng,
            step: 0,
            wall_ms: 0,
            mono_ms: 0,
            ending: false,
            error_rate,
            forge,
            base,
            sessions: Vec::new(),
            run_files: BTreeMap::new(),
            journal: BTreeMap::new(),
            live: BTreeMap::new(),
            inputs: Vec::new(),
            notices: BTreeMap::new(),
            locks: BTreeMap::new(),
            judging: BTreeMap::new(),
            spawned: Vec::new(),
            aborted: BTreeSet::new(),
            next_task: 0,
            next_run: 0,
            policy,
            oracle: Oracle::default(),
            trace: Vec::new(),
            last_news: 0,
            tokens: 0,
            boot: 1,
            account_limit: None,
        };
        let issues = 1 + sim.rng.below(3) as u64;
        for number in 1..=issues {
            let body =
                if number > 1 && sim.rng.chance(200) { format!("Depends on #{}", number - 1) } else { String::new() };
            let at = sim.now();
            sim.forge.add_issue(number, body, at);
            if sim.rng.chance(300) {
                sim.forge.add_label(number, "priority");
            }
        }
        sim
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(EPOCH_SECS * 1_000 + self.wall_ms).unwrap()
    }

    /// Returns whether agents and people may misbehave now.
    pub(crate) fn wild(&self) -> bool {
        self.plan.manner == Manner::Wild && !self.ending
    }

    pub(crate) fn say(&mut self, words: &str) {
        if self.plan.trace {
            let line = format!("{:>6} {:>8}s {words}", self.step, self.wall_ms / 1_000);
            self.trace.push(line);
        }
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.say(&format!("WRONG: {what}"));
        self.oracle.violations.push(what);
    }

    /// What CI will say of a new commit.
    pub(crate) fn draw_ci(&mut self) -> CiTruth {
        if !self.wild() {
            return CiTruth { pending: self.rng.below(3) as u32, breaks: 0, green: true };
        }
        let pending = if self.rng.chance(30) { u32::MAX } else { self.rng.below(5) as u32 };
        let breaks = if self.rng.chance(120) { 1 + self.rng.below(9) as u32 } else { 0 };
        CiTruth { pending, breaks, green: self.rng.chance(650) }
    }

    pub(crate) fn new_task(&mut self, parent: Option<TaskId>, make: impl FnOnce(TaskId) -> TaskFuture) -> TaskId {
        self.next_task += 1;
        let id = self.next_task;
        let future = make(id);
        self.spawned.push(NewTask { id, parent, future });
        id
    }

    /// Appends when the writer knows the last event, else says so. The same for the first event of a run.
    pub(crate) fn append(&mut self, run: &Run, expected: u64, fact: &Fact) -> Result<(), Fail> {
        let stream = self.journal.entry(run.id.clone()).or_default();
        if stream.len() as u64 != expected {
            return Err(Fail::Refused("conflict"));
        }
        stream.push(serde_json::to_string(fact).unwrap());
        self.live.insert(run.id.clone(), run.clone());
        self.last_news = self.step;
        self.say(&format!("  #{} {} {:?} -> {}", run.issue.0, run.seq.0, fact.event, run.stage.name()));
        Ok(())
    }

    /// Folds a journal, and sees that it gives the run that its writer had.
    pub(crate) fn load(&mut self, id: &RunId) -> Run {
        let facts: Vec<Fact> = self.journal[id].iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let run = fold(id, &facts).unwrap();
        if run != self.live[id] {
            self.wrong(format!("folding the journal of {id} gives another run than its writer had"));
        }
        run
    }

    /// Returns the end of the usage limit that the runs know of.
    pub(crate) fn usage_limit(&self) -> Option<Timestamp> {
        self.live.values().filter_map(|run| run.usage_limit).max().filter(|until| *until > self.now())
    }

    pub(crate) fn open_runs(&self) -> Vec<Run> {
        self.live.values().filter(|run| !run.stage.is_ended()).cloned().collect()
    }

    pub(crate) fn latest_run(&self, issue: u64) -> Option<&Run> {
        self.live.values().rfind(|run| run.issue.0 == issue)
    }

    pub(crate) fn token(&mut self, issue: u64) -> String {
        self.tokens += 1;
        format!("token-{}-of-issue-{issue}-", self.tokens)
    }
}

/// Lets every other task go on first.
pub(crate) async fn pause() {
    let mut once = false;
    std::future::poll_fn(move |_| {
        let ready = once;
        once = true;
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Does one thing to the world. Before and after it the process may be killed; it may fail, or its answer be lost.
pub(crate) async fn act<T>(
    sim: &Shared,
    what: &str,
    apply: impl FnOnce(&mut Sim) -> Result<T, Fail>,
) -> Result<T, Fail> {
    pause().await;
    let (fails, lost) = {
        let mut sim = sim.borrow_mut();
        let rate = if sim.ending { 0 } else { sim.error_rate };
        (sim.rng.chance(rate), sim.rng.chance(rate))
    };
    if fails {
        sim.borrow_mut().say(&format!("    {what}: fails"));
        return Err(Fail::Unknown);
    }
    let result = apply(&mut sim.borrow_mut());
    pause().await;
    if lost {
        sim.borrow_mut().say(&format!("    {what}: done, and its answer is lost"));
        return Err(Fail::Unknown);
    }
    result
}

/// A lock as the kernel keeps it: whoever dies gives it up.
pub(crate) struct Lock {
    sim: Shared,
    name: String,
    owner: TaskId,
}

impl Lock {
    pub(crate) fn try_take(sim: &Shared, name: &str, owner: TaskId) -> Option<Self> {
        let mut state = sim.borrow_mut();
        if state.locks.contains_key(name) {
            return None;
        }
        state.locks.insert(name.to_owned(), owner);
        Some(Self { sim: sim.clone(), name: name.to_owned(), owner })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut sim = self.sim.borrow_mut();
        if sim.locks.get(&self.name) != Some(&self.owner) {
            let name = self.name.clone();
            sim.wrong(format!("the lock {name} was not its owner's when it gave it up"));
        }
        sim.locks.remove(&self.name);
    }
}
