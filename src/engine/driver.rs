//! Leads one run: one loop that observes, commits, and carries out what was ordered. It is the only writer of its run.
//! Hints (file changes, results of orders) make it fast; looking again at intervals makes it right.

use super::{
    World, commit,
    commit::Committed,
    deliver::{Delivery, Next, Typed, type_line},
    dispatch::{self, DispatchError},
    notices,
    observe::{self, Seen},
};
use crate::{
    domain::{
        ids::{EffectId, RunId, Sha},
        run::{Due, Effect, Event, Lane, Run, Session, Stage},
    },
    ports::{
        run_files::{RunFiles, RunFilesError},
        store::{DriverRow, StoreError},
    },
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(30);
/// Time between two looks at whether the session lives; its end also shows in a hook.
const LIVENESS: Duration = Duration::from_secs(5);
/// First pause after an order that may succeed later; doubled with each try.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest pause between two tries of an order.
const RETRY_MOST: Duration = Duration::from_secs(60);
/// While the agent works there is little news on the forge: looked at so many times more seldom.
const WORKING_FACTOR: u32 = 6;
/// Wall and monotonic time that have parted by more than this tell of a suspended machine or a set clock.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// Time without a look at the forge after which the run's own deadlines count all the same.
const BLIND: Duration = Duration::from_secs(600);
/// Time in which a phase that is being written comes to rest.
const SETTLE: Duration = Duration::from_millis(100);
/// Longest sleep of the loop.
const NAP: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Files(#[from] RunFilesError),
    /// The forge does not take the token any more; the run waits for a driver with another.
    #[error("{message}")]
    Token { message: String },
}

/// How a driver ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The run has ended.
    Run(Box<Run>),
    /// It was asked to stop; the run goes on with the next driver.
    Asked,
}

/// What a person at a terminal, or a demo, is told of each change.
pub type Watcher = Arc<dyn Fn(&Run, &Event) + Send + Sync>;

/// Leads a run until it ends or until `stop` resolves. The caller holds the run's lock.
pub async fn drive(
    world: World,
    run: Run,
    files: Arc<dyn RunFiles>,
    watcher: Watcher,
    stop: impl Future<Output = ()>,
) -> Result<Ended, DriverError> {
    let now = world.clock.monotonic();
    let (results, incoming) = mpsc::unbounded_channel();
    let mut driver = Driver {
        inbox: world.root.run(&run.project, run.issue).inbox(),
        delivery: Delivery::begin(now, run.session == Session::Started),
        files,
        run,
        watcher,
        results,
        in_flight: BTreeMap::new(),
        retries: BTreeMap::new(),
        counted_to: now,
        hooks_read_to: None,
        alive_at: now,
        looked_at: now,
        forge_at: now,
        beat_at: now,
        liveness_at: now,
        observed_once: false,
        typing: false,
        notices_due: true,
        telling: false,
        looking_at_forge: false,
        looking_at_session: false,
        clocks: (world.clock.now(), now),
        last_forge_stage: String::new(),
        told_unavailable: BTreeSet::new(),
        world,
    };
    let ended = driver.go(incoming, stop).await;
    driver.world.store.remove_driver(&driver.run.id).await?;
    ended
}

/// Something that a task of the driver came to.
enum Outcome {
    Order {
        id: EffectId,
        lane: Lane,
        result: Result<Option<Seen>, DispatchError>,
    },
    Typed {
        id: EffectId,
        typed: Typed,
    },
    /// `None` when the forge could not be looked at.
    Forge(Option<Vec<Seen>>),
    Liveness(Option<Seen>),
    GaveUp(Seen),
    Beaten,
    Told,
}

struct Driver {
    world: World,
    run: Run,
    files: Arc<dyn RunFiles>,
    watcher: Watcher,
    inbox: PathBuf,
    delivery: Delivery,
    results: mpsc::UnboundedSender<Outcome>,
    /// Orders under way, one in each lane.
    in_flight: BTreeMap<Lane, (EffectId, tokio::task::AbortHandle)>,
    /// Tries of orders that failed for a passing reason, and when to try again.
    retries: BTreeMap<EffectId, (u32, Duration)>,
    /// Until when the observed time is in the journal.
    counted_to: Duration,
    /// Bytes of the hooks file that this driver has read.
    hooks_read_to: Option<u64>,
    /// Last sign of life of the agent.
    alive_at: Duration,
    forge_at: Duration,
    beat_at: Duration,
    liveness_at: Duration,
    /// When the forge was last looked at with success, or the driver began.
    looked_at: Duration,
    /// Everything was looked at once since the start; before that no time passes.
    observed_once: bool,
    typing: bool,
    /// The run has ordered notices since the outbox was last looked at.
    notices_due: bool,
    /// Looks that are under way; a slow answer is waited for, not asked for again.
    telling: bool,
    looking_at_forge: bool,
    looking_at_session: bool,
    /// Wall and monotonic time of the last turn of the loop.
    clocks: (Timestamp, Duration),
    last_forge_stage: String,
    told_unavailable: BTreeSet<EffectId>,
}

impl Driver {
    async fn go(
        &mut self,
        mut incoming: mpsc::UnboundedReceiver<Outcome>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, DriverError> {
        tokio::pin!(stop);
        if self.run.session == Session::Started {
            self.files.open_attempt(self.run.attempt)?;
        }
        self.adopt_policy().await?;
        loop {
            self.observe_files().await?;
            self.end_when_done().await?;
            if self.run.stage.is_ended() {
                notices::send(&self.world).await?;
                return Ok(Ended::Run(Box::new(self.run.clone())));
            }
            self.start_orders();
            let deliver_in = self.deliver();
            self.compare_clocks();
            self.look_at_intervals();
            if self.observed_once {
                self.let_time_pass().await?;
            }
            let nap = self.nap(deliver_in);
            let files = self.files.clone();
            tokio::select! {
                Some(outcome) = incoming.recv() => self.take(outcome).await?,
                () = files.changed() => {}
                () = tokio::time::sleep(nap) => {}
                () = &mut stop => return Ok(Ended::Asked),
            }
        }
    }

    /// The configuration may have changed since the claim; the run goes on under the present one.
    async fn adopt_policy(&mut self) -> Result<(), DriverError> {
        let policy = self.world.policy();
        if policy != self.run.policy {
            self.commit(Seen::new(Event::PolicyAdopted { policy })).await?;
        }
        Ok(())
    }

    /// Reads phases, then hooks, then inputs: what explains a stop comes before the stop.
    async fn observe_files(&mut self) -> Result<(), DriverError> {
        for input in observe::inputs(&self.world, &self.run).await? {
            self.commit(input).await?;
        }
        // Hooks are read first and judged last: a phase written before a stop is seen before the stop is.
        let hooks = observe::hooks(&self.run, self.files.as_ref(), &mut self.hooks_read_to)?;
        for phase in observe::phases(&self.run, self.files.as_ref())? {
            self.alive_at = self.world.clock.monotonic();
            self.commit(phase).await?;
        }
        for hook in hooks {
            self.alive_at = self.world.clock.monotonic();
            if let Some(seen) = observe::hook_event(&self.run, &hook, &self.inbox) {
                self.commit(seen).await?;
            }
        }
        Ok(())
    }

    async fn end_when_done(&mut self) -> Result<(), DriverError> {
        if matches!(self.run.stage, Stage::Finishing { .. }) && self.run.pending.is_empty() {
            self.commit(Seen::new(Event::RunEnded)).await?;
        }
        Ok(())
    }

    /// Starts the oldest pending order of each free lane, and ends tasks whose order was withdrawn.
    fn start_orders(&mut self) {
        let pending = &self.run.pending;
        self.in_flight.retain(|_, (id, task)| {
            let wanted = pending.contains_key(id);
            if !wanted {
                task.abort();
            }
            wanted
        });
        self.retries.retain(|id, _| pending.contains_key(id));
        let now = self.world.clock.monotonic();
        let wall = self.world.clock.now();
        let mut busy: BTreeSet<Lane> = self.in_flight.keys().copied().collect();
        for (id, effect) in self.run.pending.clone() {
            let lane = effect.lane();
            if lane == Lane::Delivery || !busy.insert(lane) {
                continue;
            }
            let waits = self.retries.get(&id).is_some_and(|(_, when)| *when > now);
            let early = matches!(&effect, Effect::RunCi { not_before: Some(when), .. } if *when > wall);
            if !waits && !early {
                self.start_order(lane, id, effect);
            }
        }
    }

    fn start_order(&mut self, lane: Lane, id: EffectId, effect: Effect) {
        let (world, run, files) = (self.world.clone(), self.run.clone(), self.files.clone());
        let results = self.results.clone();
        let order = id.clone();
        let task = tokio::spawn(async move {
            let result = dispatch::carry_out(&world, &run, files.as_ref(), &order, &effect).await;
            let _ = results.send(Outcome::Order { id: order, lane, result });
        });
        self.in_flight.insert(lane, (id, task.abort_handle()));
    }

    /// Types the next message when the time has come. Returns when to look again.
    fn deliver(&mut self) -> Option<Duration> {
        if self.typing {
            return None;
        }
        let now = self.world.clock.monotonic();
        match self.delivery.next(&self.run, self.files.as_ref(), now, self.world.clock.now()) {
            Next::Nothing => None,
            Next::Wait(wait) => Some(wait),
            Next::Type { id, line } => {
                self.typing = true;
                let (world, run, results) = (self.world.clone(), self.run.clone(), self.results.clone());
                tokio::spawn(async move {
                    let typed = type_line(&world, &run, &line).await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "a line cannot be typed now");
                        Typed::NotNow
                    });
                    let _ = results.send(Outcome::Typed { id, typed });
                });
                None
            }
            Next::GiveUp(why) => {
                self.delivery = Delivery::begin(now, false);
                let event = Event::DeliveryFailed { attempt: self.run.attempt, why };
                let _ = self.results.send(Outcome::GaveUp(Seen::new(event)));
                None
            }
        }
    }

    /// A machine that slept has news for rig: everything is looked at before any time is let pass.
    fn compare_clocks(&mut self) {
        let (wall, now) = (self.world.clock.now(), self.world.clock.monotonic());
        let passed = wall.duration_since(self.clocks.0).unsigned_abs();
        if passed.abs_diff(now.saturating_sub(self.clocks.1)) > CLOCKS_APART {
            tracing::info!(run = %self.run.id, "the clocks have parted; everything is looked at first");
            self.observed_once = false;
            (self.forge_at, self.liveness_at) = (now, now);
        }
        self.clocks = (wall, now);
    }

    /// Looks at what gives no hint of its own: the forge, the session, the outbox; and shows that the driver lives.
    fn look_at_intervals(&mut self) {
        let now = self.world.clock.monotonic();
        if self.last_forge_stage != self.run.stage.name() {
            self.last_forge_stage = self.run.stage.name().to_owned();
            if matches!(self.run.stage, Stage::AwaitingReview { .. }) {
                self.forge_at = now;
            }
        }
        let wanted = self.wants_forge();
        // Where there is nothing to be seen there, nothing can be missed.
        self.observed_once |= !wanted;
        if now >= self.forge_at && wanted && !self.looking_at_forge {
            self.looking_at_forge = true;
            self.forge_at = now + self.forge_interval();
            self.spawn(|world, run| async move {
                match observe::forge(&world, &run).await {
                    Ok(seen) => Outcome::Forge(Some(seen)),
                    Err(error) => {
                        tracing::warn!(run = %run.id, %error, "the forge cannot be looked at now");
                        Outcome::Forge(None)
                    }
                }
            });
        }
        if now >= self.liveness_at && !self.looking_at_session {
            self.looking_at_session = true;
            self.liveness_at = now + LIVENESS;
            self.spawn(|world, run| async move {
                match observe::session_loss(&world, &run).await {
                    Ok(seen) => Outcome::Liveness(seen),
                    Err(error) => {
                        tracing::warn!(run = %run.id, %error, "nobody knows whether the session lives");
                        Outcome::Liveness(None)
                    }
                }
            });
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT;
            self.spawn(|world, run| async move {
                if let Err(error) = beat(&world, &run.id).await {
                    tracing::error!(run = %run.id, %error, "the sign of life cannot be written");
                }
                Outcome::Beaten
            });
            // What the forge did not take is tried again.
            self.notices_due = true;
        }
        if self.notices_due && !self.telling {
            (self.notices_due, self.telling) = (false, true);
            self.spawn(|world, run| async move {
                if let Err(error) = notices::send(&world).await {
                    tracing::warn!(run = %run.id, %error, "notices wait");
                }
                Outcome::Told
            });
        }
    }

    fn forge_interval(&self) -> Duration {
        let interval = self.world.project.forge.poll_interval;
        match self.run.stage {
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Escalated { .. } => interval,
            _ => interval * WORKING_FACTOR,
        }
    }

    fn spawn<F: Future<Output = Outcome> + Send + 'static>(&self, task: impl FnOnce(World, Run) -> F) {
        let future = task(self.world.clone(), self.run.clone());
        let results = self.results.clone();
        tokio::spawn(async move {
            let _ = results.send(future.await);
        });
    }

    async fn take(&mut self, outcome: Outcome) -> Result<(), DriverError> {
        match outcome {
            Outcome::Order { id, lane, result } => self.take_result(id, lane, result).await,
            Outcome::Typed { id, typed } => {
                self.typing = false;
                self.delivery.typed(&id, typed, self.world.clock.monotonic());
                Ok(())
            }
            Outcome::Forge(seen) => {
                self.looking_at_forge = false;
                let now = self.world.clock.monotonic();
                if seen.is_some() {
                    self.looked_at = now;
                }
                // Time cannot rest for ever because there is nothing to be seen: a forge that has lost the issue stays so.
                self.observed_once |= seen.is_some() || now.saturating_sub(self.looked_at) > BLIND;
                for seen in seen.into_iter().flatten() {
                    self.commit(seen).await?;
                }
                Ok(())
            }
            Outcome::Liveness(seen) => {
                self.looking_at_session = false;
                if let Some(seen) = seen {
                    // What the agent wrote last counts before its end does.
                    self.observe_files().await?;
                    if self.files.is_settled(self.run.attempt) {
                        self.commit(seen).await?;
                    } else {
                        self.liveness_at = self.world.clock.monotonic() + SETTLE;
                    }
                }
                Ok(())
            }
            Outcome::GaveUp(seen) => self.commit(seen).await,
            Outcome::Beaten => Ok(()),
            Outcome::Told => {
                self.telling = false;
                Ok(())
            }
        }
    }

    async fn take_result(
        &mut self,
        id: EffectId,
        lane: Lane,
        result: Result<Option<Seen>, DispatchError>,
    ) -> Result<(), DriverError> {
        if self.in_flight.get(&lane).is_some_and(|(current, _)| *current == id) {
            self.in_flight.remove(&lane);
        }
        let now = self.world.clock.monotonic();
        match result {
            Ok(Some(seen)) => {
                self.retries.remove(&id);
                if matches!(seen.event, Event::SessionStarted { .. }) {
                    self.alive_at = now;
                    self.liveness_at = now + LIVENESS;
                }
                self.commit(seen).await
            }
            Ok(None) => {
                self.retries.insert(id, (0, now + self.world.project.forge.poll_interval));
                Ok(())
            }
            Err(error) if error.is_refused_token() => {
                // This process has the token that it began with; the next driver reads the new one.
                Err(DriverError::Token { message: error.to_string() })
            }
            Err(error) if error.is_transient() => {
                let tries = self.retries.get(&id).map_or(0, |(tries, _)| *tries);
                let pause = (RETRY_FIRST * 2_u32.pow(tries.min(10))).min(RETRY_MOST);
                if self.told_unavailable.insert(id.clone()) {
                    tracing::warn!(run = %self.run.id, order = %id, %error, "an order waits and is tried again");
                }
                self.retries.insert(id, (tries + 1, now + pause));
                Ok(())
            }
            Err(error) => {
                tracing::error!(run = %self.run.id, order = %id, %error, "an order cannot be carried out");
                let words = self.run.pending.get(&id).map_or("an order", Effect::words);
                self.commit(dispatch::failed(&id, &format!("cannot {words}: {error}"))).await
            }
        }
    }

    /// Timers count only after everything was observed once, so that nothing times out that has in fact arrived.
    async fn let_time_pass(&mut self) -> Result<(), DriverError> {
        let now = self.world.clock.monotonic();
        let watched = now.saturating_sub(self.counted_to);
        let wall = self.world.clock.now();
        let due: Vec<_> = self
            .run
            .deadlines()
            .into_iter()
            .filter(|(_, due)| match due {
                Due::At(when) => *when <= wall,
                Due::Watched(left) => *left <= watched,
            })
            .map(|(timer, _)| timer)
            .collect();
        for timer in due {
            self.commit(Seen::new(Event::TimePassed { timer })).await?;
        }
        let quiet = now.saturating_sub(self.alive_at);
        if matches!(self.run.stage, Stage::Working) && quiet >= self.world.project.agent.idle_timeout {
            let event = Event::AgentQuiet { attempt: self.run.attempt, secs: quiet.as_secs() };
            self.alive_at = now;
            self.commit(Seen::new(event)).await?;
        }
        Ok(())
    }

    /// Commits an event. When somebody else has written to the run, it is read anew and the event judged again.
    async fn commit(&mut self, seen: Seen) -> Result<(), DriverError> {
        let now = self.world.clock.monotonic();
        let observed = now.saturating_sub(self.counted_to);
        let observed_ms = u64::try_from(observed.as_millis()).unwrap_or(u64::MAX);
        let inputs: Vec<i64> = seen.input.into_iter().collect();
        let head_before: Option<Sha> = self.run.head.clone();
        let was_working = matches!(self.run.stage, Stage::Working);
        loop {
            let event = seen.event.clone();
            match commit::commit(&self.world, &mut self.run, observed_ms, event, seen.completes.clone(), &inputs).await
            {
                Ok(Committed::Moved) => {
                    self.counted_to = now;
                    self.notices_due = true;
                    if !was_working && matches!(self.run.stage, Stage::Working) {
                        // What it was quiet about while nobody expected anything of it does not count.
                        self.alive_at = now;
                    }
                    if self.run.head != head_before {
                        self.forge_at = self.forge_at.min(now + self.forge_interval());
                    }
                    (self.watcher)(&self.run, &seen.event);
                    return Ok(());
                }
                Ok(Committed::Ignored(_)) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {
                    self.run = super::resume::load(&self.world, &self.run.id).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns how long the loop may sleep when nothing wakes it. What is under way wakes it by itself.
    fn nap(&self, deliver_in: Option<Duration>) -> Duration {
        let now = self.world.clock.monotonic();
        let wall = self.world.clock.now();
        let watched = now.saturating_sub(self.counted_to);
        let timers = self.run.deadlines().into_iter().filter(|_| self.observed_once).map(|(_, due)| match due {
            Due::At(when) => when.duration_since(wall).max(jiff::SignedDuration::ZERO).unsigned_abs(),
            Due::Watched(left) => left.saturating_sub(watched),
        });
        let under_way = |id: &EffectId| self.in_flight.values().any(|(current, _)| current == id);
        let retries =
            self.retries.iter().filter(|(id, _)| !under_way(id)).map(|(_, (_, when))| when.saturating_sub(now));
        let later = self.run.pending.values().filter_map(|effect| match effect {
            Effect::RunCi { not_before: Some(when), .. } => {
                Some(when.duration_since(wall).max(jiff::SignedDuration::ZERO).unsigned_abs())
            }
            _ => None,
        });
        let waits_for_ci = self.in_flight.contains_key(&Lane::Ci);
        let later = later.filter(|_| !waits_for_ci);
        let session = (!self.looking_at_session).then(|| self.liveness_at.saturating_sub(now));
        let forge = (self.wants_forge() && !self.looking_at_forge).then(|| self.forge_at.saturating_sub(now));
        let fixed = [NAP, self.beat_at.saturating_sub(now)];
        let floor = Duration::from_millis(5);
        timers
            .chain(retries)
            .chain(later)
            .chain(fixed)
            .chain(session)
            .chain(forge)
            .chain(deliver_in)
            .min()
            .unwrap_or(NAP)
            .max(floor)
    }

    /// Before the claim is confirmed and after the end is decided there is nothing to be seen on the forge.
    fn wants_forge(&self) -> bool {
        !self.run.stage.is_over() && !matches!(self.run.stage, Stage::Claiming)
    }
}

async fn beat(world: &World, run: &RunId) -> Result<(), StoreError> {
    let process = world.machine.this_process();
    let row = DriverRow {
        run: run.clone(),
        pid: process.pid,
        process_start: process.start,
        boot_id: process.boot_id,
        beat_at: world.clock.now(),
    };
    world.store.beat(&row).await
}
