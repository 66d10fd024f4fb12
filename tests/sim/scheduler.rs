//! Interleaves everything: which task goes on, what time it is, who dies. One seed, one interleaving.

use super::{
    sim::{Manner, Plan, Shared, Sim, TaskFuture, TaskId},
    tick::tick,
};
use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Waker},
};

/// Steps with faults, and the most that everything may take to come to rest without them.
const FAULT_STEPS: u64 = 2_500;
const ENDING_STEPS: u64 = 20_000;
/// Ticks that cron lets run side by side.
const MOST_TICKS: usize = 3;
/// Steps without news after which time runs faster.
const QUIET_STEPS: u64 = 150;
/// Steps in which neither a run is open nor a tick finds work: the end.
const IDLE_STEPS: u64 = 400;

struct Task {
    id: TaskId,
    parent: Option<TaskId>,
    future: TaskFuture,
}

/// What came of a simulation.
pub(crate) struct Report {
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub summary: Vec<String>,
    pub merges: u32,
    pub events: usize,
}

/// Simulates a plan to its end, or to the first violation.
pub(crate) fn simulate(plan: Plan) -> Report {
    let mut scheduler = Scheduler {
        sim: Rc::new(RefCell::new(Sim::new(plan))),
        tasks: Vec::new(),
        idle: 0,
        next_tick_ms: 0,
        quiet: false,
        ticks: Vec::new(),
    };
    scheduler.go();
    scheduler.tasks.clear();
    let mut sim = scheduler.sim.borrow_mut();
    if sim.oracle.violations.is_empty() {
        sim.check_end();
    }
    Report {
        violations: std::mem::take(&mut sim.oracle.violations),
        trace: std::mem::take(&mut sim.trace),
        summary: sim.summary(),
        merges: sim.oracle.merges,
        events: sim.journal.values().map(Vec::len).sum(),
    }
}

struct Scheduler {
    sim: Shared,
    tasks: Vec<Task>,
    idle: u64,
    next_tick_ms: u64,
    /// Nothing is journaled any more: time runs fast, and every task gets its turn.
    quiet: bool,
    ticks: Vec<TaskId>,
}

impl Scheduler {
    fn go(&mut self) {
        for step in 0..FAULT_STEPS + ENDING_STEPS {
            self.pass_time(step);
            let choice = self.sim.borrow_mut().rng.weighted(&[80, 14, 3, 3]);
            match choice {
                0 if self.quiet => self.poll_all(),
                0 => self.poll_one(),
                1 => self.sim.borrow_mut().agent_step(),
                2 => self.sim.borrow_mut().people_step(),
                _ => self.fault(),
            }
            self.cron();
            self.take_in();
            self.sim.borrow_mut().check_world();
            if step > FAULT_STEPS && step % 16 == 0 {
                self.sim.borrow_mut().check_waiting();
            }
            if !self.sim.borrow().oracle.violations.is_empty() || self.rests() {
                return;
            }
        }
    }

    fn pass_time(&mut self, step: u64) {
        let mut sim = self.sim.borrow_mut();
        sim.step = step;
        let ends = sim.plan.manner == Manner::Diligent { faults: false } || step >= FAULT_STEPS;
        if ends && !sim.ending {
            sim.ending = true;
            sim.say("the ending: no more faults");
        }
        self.quiet = step.saturating_sub(sim.last_news) > QUIET_STEPS;
        let most = if self.quiet { 20_000 } else { 600 };
        let passed = sim.rng.below(most) as u64;
        sim.mono_ms += passed;
        sim.wall_ms += i64::try_from(passed).unwrap_or(0);
    }

    fn poll_one(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let index = self.sim.borrow_mut().rng.below(self.tasks.len());
        let id = self.tasks[index].id;
        self.poll(id);
    }

    fn poll_all(&mut self) {
        let ids: Vec<TaskId> = self.tasks.iter().map(|task| task.id).collect();
        ids.into_iter().for_each(|id| self.poll(id));
        self.take_in();
    }

    fn poll(&mut self, id: TaskId) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) else { return };
        if task.future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.kill(id);
        }
    }

    /// Ends a process and everything in it.
    fn kill(&mut self, id: TaskId) {
        let (dead, alive) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition(|task: &Task| task.id == id || task.parent == Some(id));
        self.tasks = alive;
        drop::<Vec<Task>>(dead);
    }

    fn take_in(&mut self) {
        let (spawned, aborted) = {
            let mut sim = self.sim.borrow_mut();
            (std::mem::take(&mut sim.spawned), std::mem::take(&mut sim.aborted))
        };
        for new in spawned {
            let orphan = new.parent.is_some_and(|parent| !self.tasks.iter().any(|task| task.id == parent));
            if !orphan {
                self.tasks.push(Task { id: new.id, parent: new.parent, future: new.future });
            }
        }
        for id in aborted {
            self.kill(id);
        }
    }

    fn cron(&mut self) {
        let now = self.sim.borrow().mono_ms;
        self.ticks.retain(|id| self.tasks.iter().any(|task| task.id == *id));
        if now < self.next_tick_ms || self.ticks.len() >= MOST_TICKS {
            return;
        }
        let (pause, twice) = {
            let mut sim = self.sim.borrow_mut();
            (20_000 + sim.rng.below(40_000) as u64, sim.rng.chance(300))
        };
        self.next_tick_ms = now + pause;
        for _ in 0..=u32::from(twice) {
            let shared = self.sim.clone();
            let id = self.sim.borrow_mut().new_task(None, |me| Box::pin(tick(shared, me)));
            self.ticks.push(id);
        }
    }

    fn fault(&mut self) {
        let (wild, ending) = (self.sim.borrow().wild(), self.sim.borrow().ending);
        if ending {
            return;
        }
        let choice = self.sim.borrow_mut().rng.weighted(&[60, 15, 2, 4, 4]);
        match choice {
            0 => self.kill_a_process(),
            1 if wild => self.sim.borrow_mut().kill_a_session(),
            2 if wild => self.restart_the_machine(),
            3 if wild => self.sim.borrow_mut().jump_the_clock(),
            4 if wild => self.sim.borrow_mut().change_the_policy(),
            _ => {}
        }
    }

    fn kill_a_process(&mut self) {
        let processes: Vec<TaskId> =
            self.tasks.iter().filter(|task| task.parent.is_none()).map(|task| task.id).collect();
        if processes.is_empty() || !self.sim.borrow_mut().rng.chance(300) {
            return;
        }
        let id = processes[self.sim.borrow_mut().rng.below(processes.len())];
        self.sim.borrow_mut().say(&format!("process {id} is killed"));
        self.kill(id);
    }

    fn restart_the_machine(&mut self) {
        let mut sim = self.sim.borrow_mut();
        sim.say("the machine restarts");
        sim.sessions.iter_mut().for_each(|session| session.alive = false);
        sim.mono_ms += 1_000;
        sim.boot += 1;
        drop(sim);
        let dead = std::mem::take(&mut self.tasks);
        drop(dead);
    }

    /// Everything has come to its end, for some time.
    fn rests(&mut self) -> bool {
        let sim = self.sim.borrow();
        let busy = !sim.ending || !sim.open_runs().is_empty() || !sim.notices.is_empty();
        let news = sim.step.saturating_sub(sim.last_news) < IDLE_STEPS;
        self.idle = if busy || news { 0 } else { self.idle + 1 };
        self.idle > IDLE_STEPS
    }
}

impl Sim {
    fn kill_a_session(&mut self) {
        let alive: Vec<usize> = (0..self.sessions.len()).filter(|i| self.sessions[*i].alive).collect();
        if !alive.is_empty() && self.rng.chance(150) {
            let index = alive[self.rng.below(alive.len())];
            self.sessions[index].alive = false;
            self.say(&format!("the session of #{} is killed", self.sessions[index].issue));
        }
    }

    fn jump_the_clock(&mut self) {
        let jump = self.rng.below(900_000) as i64 - 300_000;
        self.wall_ms = (self.wall_ms + jump).max(0);
        self.say(&format!("the wall clock jumps by {} s", jump / 1_000));
    }

    fn change_the_policy(&mut self) {
        self.policy.nudges = self.rng.below(3) as u32;
        self.policy.review_rounds = 1 + self.rng.below(6) as u32;
    }
}
