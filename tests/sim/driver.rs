//! A driver: leads one run by the real machine's rules: observe, append, then act; let time pass only once everything was
//! looked at. Its memory dies with it.

use super::{
    agent::{Hook, HookKind, Told},
    dispatch::{self, Answer},
    observe,
    sim::{Fail, Lock, Shared, TaskId, Tooth, act, pause},
};
use jiff::Timestamp;
use rig::domain::{
    ids::{Attempt, EffectId, RunId},
    phase::{Phase, PhaseText, read_phase_text},
    run::{Due, Effect, Event, Fact, Lane, Run, Session, Stage, Step, stage::read_refusal, step},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

pub(crate) const FORGE_INTERVAL_MS: u64 = 10_000;
const LIVENESS_MS: u64 = 5_000;
const IDLE_SCREEN_MS: u64 = 45_000;
const IDLE_LIMIT_MS: u64 = 600_000;
const ACKNOWLEDGE_MS: u64 = 10_000;
const LOOK_AGAIN_MS: u64 = 250;
const UNTYPABLE_MS: u64 = 180_000;
const TYPINGS: u32 = 4;
/// Answers of one order that may mean nothing to the run before that is a busy loop.
const MEANINGLESS: u32 = 3;

/// An event, the order that it answers and the input that it was.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub event: Event,
    pub completes: Option<EffectId>,
    pub input: Option<u64>,
}

impl Seen {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, completes: None, input: None }
    }
}

/// What a task of the driver came to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Order {
        id: EffectId,
        lane: Lane,
        answer: Answer,
    },
    Typed {
        id: EffectId,
        submitted: bool,
    },
    Forge(Vec<Seen>),
    /// The attempt that is lost, if it is, and whether the machine was restarted since it began.
    Lost(Option<(Attempt, bool)>),
    /// Whether the screen shows an idle agent.
    Screen(bool),
    GaveUp(Seen),
    Noticed,
}

pub(crate) type Inbox = Rc<RefCell<Vec<Outcome>>>;

/// The driver is to stop: somebody else wrote, or the store does not answer.
#[derive(Debug)]
pub(crate) struct Stopped;

struct Delivery {
    current: Option<(EffectId, u32, u64)>,
    not_before: u64,
}

struct Driver {
    sim: Shared,
    me: TaskId,
    run: Run,
    inbox: Inbox,
    in_flight: BTreeMap<Lane, (EffectId, TaskId)>,
    retries: BTreeMap<EffectId, (u32, u64)>,
    meaningless: BTreeMap<EffectId, u32>,
    counted_to: u64,
    alive_at: u64,
    idle_since: Option<u64>,
    forge_at: u64,
    liveness_at: u64,
    notices_at: u64,
    observed_once: bool,
    typing: bool,
    delivery: Delivery,
}

/// Leads the run of an issue, if nobody does.
pub(crate) async fn drive(sim: Shared, me: TaskId, id: RunId) {
    let issue = sim.borrow().live[&id].issue.0;
    let locked = sim.borrow().plan.tooth != Tooth::NoRunLock;
    let _lock = match Lock::try_take(&sim, &format!("run-{issue}"), me) {
        Some(lock) => Some(lock),
        None if locked => return,
        None => None,
    };
    pause().await;
    let (run, now) = {
        let mut state = sim.borrow_mut();
        let run = state.load(&id);
        let words = format!("driver {me} leads #{issue} from {}", run.stage.name());
        state.say(&words);
        (run, state.mono_ms)
    };
    let mut driver = Driver {
        sim,
        me,
        run,
        inbox: Rc::default(),
        in_flight: BTreeMap::new(),
        retries: BTreeMap::new(),
        meaningless: BTreeMap::new(),
        counted_to: now,
        alive_at: now,
        idle_since: None,
        forge_at: now,
        liveness_at: now,
        notices_at: now,
        observed_once: false,
        typing: false,
        delivery: Delivery { current: None, not_before: now + 1_500 },
    };
    let _ = driver.go().await;
}

impl Driver {
    async fn go(&mut self) -> Result<(), Stopped> {
        let policy = self.sim.borrow().policy.clone();
        if policy != self.run.policy {
            self.commit(Seen::new(Event::PolicyAdopted { policy })).await?;
        }
        loop {
            self.observe_inputs().await?;
            self.observe_files().await?;
            if matches!(self.run.stage, Stage::Finishing { .. }) && self.run.pending.is_empty() {
                self.commit(Seen::new(Event::RunEnded)).await?;
            }
            if self.run.stage.is_ended() {
                let _ = dispatch::send_notices(&self.sim, self.me).await;
                return Ok(());
            }
            self.start_orders();
            self.deliver();
            self.look_at_intervals();
            if self.observed_once {
                self.let_time_pass().await?;
            }
            pause().await;
            while let Some(outcome) = self.next_outcome() {
                self.take(outcome).await?;
            }
        }
    }

    /// Takes what has come in, in any order, sometimes late and sometimes twice.
    fn next_outcome(&mut self) -> Option<Outcome> {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.is_empty() {
            return None;
        }
        let mut sim = self.sim.borrow_mut();
        if !sim.ending && sim.rng.chance(350) {
            return None;
        }
        let index = sim.rng.below(inbox.len());
        // A failure that came twice would free a lane in which the next try is under way.
        let failure = matches!(inbox[index], Outcome::Order { answer: Answer::Unknown | Answer::NotYet, .. });
        if !sim.ending && !failure && sim.rng.chance(80) {
            return Some(inbox[index].clone());
        }
        Some(inbox.swap_remove(index))
    }

    fn mono(&self) -> u64 {
        self.sim.borrow().mono_ms
    }

    async fn observe_inputs(&mut self) -> Result<(), Stopped> {
        let inputs: Vec<Seen> = {
            let sim = self.sim.borrow();
            let own = sim.inputs.iter().filter(|(_, run, _)| *run == self.run.id);
            own.map(|(id, _, event)| Seen { event: event.clone(), completes: None, input: Some(*id) }).collect()
        };
        for input in inputs {
            self.commit(input).await?;
        }
        Ok(())
    }

    async fn observe_files(&mut self) -> Result<(), Stopped> {
        if self.run.session != Session::Started {
            return Ok(());
        }
        let hooks = self.new_hooks();
        for phase in self.new_phases() {
            self.alive_at = self.mono();
            self.commit(phase).await?;
        }
        for (offset, hook) in hooks {
            self.alive_at = self.mono();
            self.idle_since = None;
            let seen = self.hook_event(offset, &hook);
            self.commit(seen).await?;
        }
        Ok(())
    }

    fn new_hooks(&self) -> Vec<(u64, Hook)> {
        let mut sim = self.sim.borrow_mut();
        let hooks = &sim.files(self.run.issue.0).hooks;
        let offsets = (1_u64..).zip(hooks.iter().cloned());
        offsets.filter(|(at, hook)| *at > self.run.hooks_offset && hook.attempt == self.run.attempt).collect()
    }

    fn new_phases(&self) -> Vec<Seen> {
        let attempt = self.run.attempt;
        let mut sim = self.sim.borrow_mut();
        let files = sim.files(self.run.issue.0);
        let writings = files.phases.get(&attempt).cloned().unwrap_or_default();
        let summary = files.summaries.get(&attempt).cloned().unwrap_or_default();
        let last = writings.len();
        (1..)
            .zip(writings)
            .filter(|(at, (_, logged))| *logged || *at == last)
            .filter(|(at, _)| !self.run.seen_sightings.contains(&format!("{attempt}:{at}")))
            .filter_map(|(at, (content, _))| {
                let sighting = at.to_string();
                Some(Seen::new(match read_phase_text(&content) {
                    PhaseText::Nothing => return None,
                    PhaseText::Report(report) => {
                        let refusal = (report.phase == Phase::Failed).then(|| read_refusal(&summary)).flatten();
                        Event::PhaseReported { attempt, report, sighting, refusal }
                    }
                    PhaseText::Malformed(unknown) => Event::PhaseMalformed { attempt, word: unknown.word, sighting },
                }))
            })
            .collect()
    }

    fn hook_event(&self, offset: u64, hook: &Hook) -> Seen {
        let attempt = hook.attempt;
        match &hook.kind {
            HookKind::PromptTaken(id) => {
                let completes = id.clone().filter(|id| self.run.messages().any(|(pending, _)| pending == id));
                Seen { event: Event::PromptTaken { attempt, offset }, completes, input: None }
            }
            HookKind::TurnEnded => Seen::new(Event::TurnEnded { attempt, offset, background_tasks: 0 }),
            HookKind::UsageLimited(resets_at) => {
                Seen::new(Event::UsageLimited { attempt, offset, message: String::new(), resets_at: *resets_at })
            }
            HookKind::TurnFailed(error) => {
                Seen::new(Event::TurnFailed { attempt, error: (*error).to_owned(), offset, message: String::new() })
            }
        }
    }

    fn start_orders(&mut self) {
        let pending = self.run.pending.clone();
        let mut sim = self.sim.borrow_mut();
        self.in_flight.retain(|_, (id, task)| {
            let wanted = pending.contains_key(id);
            if !wanted {
                sim.aborted.insert(*task);
            }
            wanted
        });
        self.retries.retain(|id, _| pending.contains_key(id));
        let (now, wall) = (sim.mono_ms, sim.now());
        drop(sim);
        let mut busy: BTreeSet<Lane> = self.in_flight.keys().copied().collect();
        for (id, effect) in pending {
            let lane = effect.lane();
            if lane == Lane::Delivery || !busy.insert(lane) {
                continue;
            }
            let waits = self.retries.get(&id).is_some_and(|(_, when)| *when > now);
            let early = match &effect {
                Effect::RunCi { not_before, .. } => not_before.is_some_and(|when| when > wall),
                Effect::StartSession { .. } => self.run.usage_limit.is_some_and(|until| until > wall),
                _ => false,
            };
            if !waits && !early {
                self.start_order(lane, id, effect);
            }
        }
    }

    fn start_order(&mut self, lane: Lane, id: EffectId, effect: Effect) {
        let (sim, run, inbox, order) = (self.sim.clone(), self.run.clone(), self.inbox.clone(), id.clone());
        let task = self.sim.borrow_mut().new_task(Some(self.me), |me| {
            Box::pin(async move {
                let answer = dispatch::carry_out(&sim, me, &run, &order, &effect).await;
                inbox.borrow_mut().push(Outcome::Order { id: order, lane, answer });
            })
        });
        self.in_flight.insert(lane, (id, task));
    }

    fn spawn<F: Future<Output = Outcome> + 'static>(&self, task: impl FnOnce(Shared, TaskId, Run) -> F) {
        let (sim, run, inbox) = (self.sim.clone(), self.run.clone(), self.inbox.clone());
        self.sim.borrow_mut().new_task(Some(self.me), |me| {
            let future = task(sim, me, run);
            Box::pin(async move {
                let outcome = future.await;
                inbox.borrow_mut().push(outcome);
            })
        });
    }

    /// Types the next message when the time has come.
    fn deliver(&mut self) {
        if self.typing {
            return;
        }
        let (now, wall) = (self.mono(), self.sim.borrow().now());
        let run = &self.run;
        let deliverable = run.session == Session::Started
            && !run.busy
            && !run.stage.is_over()
            && !matches!(run.stage, Stage::Escalated { .. });
        let oldest = run.pending.iter().find_map(|(id, effect)| match effect {
            Effect::Deliver { message, not_before } => Some((id.clone(), message.text.clone(), *not_before)),
            _ => None,
        });
        let Some((id, text, due)) = oldest.filter(|_| deliverable) else {
            self.delivery.current = None;
            return;
        };
        if due.max(run.hands_off_until).is_some_and(|due| due > wall) || now < self.delivery.not_before {
            return;
        }
        if self.delivery.current.as_ref().is_none_or(|(current, _, _)| *current != id) {
            self.delivery.current = Some((id.clone(), 0, now));
        }
        let Some((_, typings, since)) = self.delivery.current else { return };
        if typings >= TYPINGS || now.saturating_sub(since) > UNTYPABLE_MS {
            self.delivery = Delivery { current: None, not_before: now };
            let event = Event::DeliveryFailed { attempt: run.attempt, why: "it is not taken".into() };
            self.inbox.borrow_mut().push(Outcome::GaveUp(Seen::new(event)));
            return;
        }
        self.typing = true;
        self.spawn(|sim, _, run| async move {
            let told = Told { id: id.clone(), text };
            let submitted = type_line(&sim, &run, told).await;
            Outcome::Typed { id, submitted }
        });
    }

    fn look_at_intervals(&mut self) {
        let now = self.mono();
        let begins = matches!(self.run.stage, Stage::Claiming);
        if now >= self.forge_at && !self.run.stage.is_over() && !begins {
            self.forge_at = now + FORGE_INTERVAL_MS;
            self.spawn(|sim, _, run| async move {
                match observe::forge(&sim, &run).await {
                    Ok(seen) => Outcome::Forge(seen),
                    Err(_) => Outcome::Noticed,
                }
            });
        }
        if now >= self.liveness_at {
            self.liveness_at = now + LIVENESS_MS;
            self.spawn(|sim, _, run| async move {
                match observe::session_loss(&sim, &run).await {
                    Ok(None) if run.busy => Outcome::Screen(observe::shows_idle(&sim, &run).await.unwrap_or(false)),
                    Ok(lost) => Outcome::Lost(lost),
                    Err(_) => Outcome::Noticed,
                }
            });
        }
        if now >= self.notices_at {
            self.notices_at = now + 30_000;
            self.spawn(|sim, me, _| async move {
                let _ = dispatch::send_notices(&sim, me).await;
                Outcome::Noticed
            });
        }
    }

    async fn take(&mut self, outcome: Outcome) -> Result<(), Stopped> {
        match outcome {
            Outcome::Order { id, lane, answer } => self.take_answer(id, lane, answer).await,
            Outcome::Typed { id, submitted } => {
                self.typing = false;
                let now = self.mono();
                if let Some((current, typings, since)) = &mut self.delivery.current
                    && *current == id
                {
                    if submitted {
                        (*typings, *since) = (*typings + 1, now);
                    }
                    self.delivery.not_before = now + if submitted { ACKNOWLEDGE_MS } else { LOOK_AGAIN_MS };
                }
                Ok(())
            }
            Outcome::Forge(seen) => {
                self.observed_once = true;
                for seen in seen {
                    self.commit(seen).await?;
                }
                Ok(())
            }
            Outcome::Screen(idle) => self.take_screen(idle).await,
            Outcome::Lost(Some((attempt, restarted))) => {
                self.observe_files().await?;
                let fenced = self.sim.borrow().plan.tooth != Tooth::NoAttemptFence;
                let attempt = if fenced { attempt } else { self.run.attempt };
                self.commit(Seen::new(Event::SessionLost { attempt, how: "it is gone".into(), restarted })).await
            }
            Outcome::GaveUp(seen) => {
                self.observe_files().await?;
                self.commit(seen).await
            }
            Outcome::Lost(None) | Outcome::Noticed => {
                self.observed_once |= self.run.pull_request.is_none();
                Ok(())
            }
        }
    }

    /// Hooks say that the agent is at work, and the screen that it is not.
    async fn take_screen(&mut self, idle: bool) -> Result<(), Stopped> {
        let now = self.mono();
        let since = *self.idle_since.get_or_insert(now);
        if !idle {
            self.idle_since = None;
        } else if now - since >= IDLE_SCREEN_MS {
            self.observe_files().await?;
            if self.idle_since.take().is_some() && self.run.busy {
                let event = Event::AgentFoundIdle { attempt: self.run.attempt, secs: (now - since) / 1_000 };
                self.commit(Seen::new(event)).await?;
            }
        }
        Ok(())
    }

    async fn take_answer(&mut self, id: EffectId, lane: Lane, answer: Answer) -> Result<(), Stopped> {
        if self.in_flight.get(&lane).is_some_and(|(current, _)| *current == id) {
            self.in_flight.remove(&lane);
        }
        let now = self.mono();
        match answer {
            Answer::Event(event) => {
                self.retries.remove(&id);
                if matches!(event, Event::SessionStarted { .. }) {
                    (self.alive_at, self.liveness_at) = (now, now + LIVENESS_MS);
                }
                if matches!(event, Event::UsagePaused { .. }) {
                    // The start stays ordered; the run holds it back.
                    self.retries.insert(id, (0, now + FORGE_INTERVAL_MS));
                    return self.commit(Seen::new(event)).await;
                }
                self.commit(Seen { event, completes: Some(id.clone()), input: None }).await?;
                self.note_meaningless(&id);
            }
            Answer::NotYet => {
                self.retries.insert(id, (0, now + FORGE_INTERVAL_MS));
            }
            Answer::Unknown => {
                let tries = self.retries.get(&id).map_or(0, |(tries, _)| *tries);
                self.retries.insert(id, (tries + 1, now + (500 << tries.min(7))));
            }
        }
        Ok(())
    }

    /// An order that was answered and still stands would be carried out for ever.
    fn note_meaningless(&mut self, id: &EffectId) {
        if !self.run.pending.contains_key(id) {
            return;
        }
        let times = self.meaningless.entry(id.clone()).or_default();
        *times += 1;
        if *times == MEANINGLESS {
            let effect = self.run.pending[id].words();
            let what =
                format!("#{}: \"{effect}\" is answered and stays ordered in {:?}", self.run.issue.0, self.run.stage);
            self.sim.borrow_mut().wrong(what);
        }
    }

    async fn let_time_pass(&mut self) -> Result<(), Stopped> {
        let now = self.mono();
        let watched = now.saturating_sub(self.counted_to);
        let wall = self.sim.borrow().now();
        let due = self.run.deadlines().into_iter().filter(|(_, due)| match due {
            Due::At(when) => *when <= wall,
            Due::Watched(left) => left.as_millis() <= u128::from(watched),
        });
        for (timer, _) in due.collect::<Vec<_>>() {
            self.commit(Seen::new(Event::TimePassed { timer })).await?;
        }
        let quiet = now.saturating_sub(self.alive_at);
        if at_work(&self.run, wall) && quiet >= IDLE_LIMIT_MS {
            self.alive_at = now;
            let event = Event::AgentQuiet { attempt: self.run.attempt, secs: quiet / 1_000 };
            self.commit(Seen::new(event)).await?;
        }
        Ok(())
    }

    /// Step, append, swap.
    async fn commit(&mut self, seen: Seen) -> Result<(), Stopped> {
        let (now, at) = (self.mono(), self.sim.borrow().now());
        let observed_ms = now.saturating_sub(self.counted_to);
        let fact = Fact { at, observed_ms, completes: seen.completes, event: seen.event };
        let Step::Moved { run, orders } = step(&self.run, &fact) else { return Ok(()) };
        if self.sim.borrow().plan.tooth == Tooth::DispatchBeforeAppend {
            let before = std::mem::replace(&mut self.run, (*run).clone());
            self.start_orders();
            pause().await;
            pause().await;
            self.run = before;
        }
        let (before, input) = (self.run.clone(), seen.input);
        let moved = (*run).clone();
        let appended = act(&self.sim, "append", move |sim| {
            sim.append(&moved, before.seq.0, &fact)?;
            sim.check_moved(&before, &moved, &fact.event);
            dispatch::queue_notices(sim, &moved, &orders);
            sim.inputs.retain(|(id, _, _)| Some(*id) != input);
            Ok(())
        })
        .await;
        match appended {
            Ok(()) => {
                if run.head != self.run.head {
                    self.forge_at = self.forge_at.min(now + FORGE_INTERVAL_MS);
                }
                if at_work(&run, at) && !at_work(&self.run, at) {
                    // While it had nothing to do the agent was rightly quiet.
                    self.alive_at = now;
                }
                self.run = *run;
                self.counted_to = now;
                Ok(())
            }
            Err(_) => Err(Stopped),
        }
    }
}

/// Looks whether the input line is empty, and types into it.
async fn type_line(sim: &Shared, run: &Run, told: Told) -> bool {
    let issue = run.issue.0;
    let empty = act(sim, "look at the screen", |sim| {
        let session = sim.sessions.iter().find(|session| session.issue == issue && session.alive);
        session.map(|session| session.turn.is_none() && session.typed.is_none()).ok_or(Fail::Refused("no session"))
    })
    .await;
    if empty != Ok(true) {
        return false;
    }
    let typed = act(sim, "type a line", move |sim| {
        sim.check_ordered(&told.id);
        let session = sim.sessions.iter_mut().find(|session| session.issue == issue && session.alive);
        session.map(|session| session.typed = Some(told)).ok_or(Fail::Refused("no session"))
    });
    typed.await.is_ok()
}

/// Returns whether a sign of life is to be expected of the agent.
fn at_work(run: &Run, now: Timestamp) -> bool {
    run.stage == Stage::Working && run.usage_limit.is_none() && run.hands_off_until.is_none_or(|until| until <= now)
}
