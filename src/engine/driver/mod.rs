//! Leads one run: one loop that observes, commits, and carries out what was ordered. It is the only writer of its run.
//! Hints (file changes, results of orders) make it fast; looking again at intervals makes it right.

mod clocks;
mod idle;
mod looks;
mod orders;
mod record;
mod screens;

pub(super) use record::keep_screen;

use self::clocks::{RunClock, Watch};
use super::{
    World, commit,
    commit::Committed,
    deliver::{Delivery, Typed},
    dispatch::DispatchError,
    notices,
    observe::{self, Seen},
    outgoing,
    screen_watch::ScreenWatch,
};
use crate::{
    domain::{
        ids::{Attempt, EffectId, Sha},
        run::{Event, Lane, Run, Session, Stage},
        usage::Usage,
    },
    ports::{
        clock::Clock,
        run_files::{RunFiles, RunFilesError},
        store::StoreError,
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
    mut world: World,
    run: Run,
    files: Arc<dyn RunFiles>,
    watcher: Watcher,
    stop: impl Future<Output = ()>,
) -> Result<Ended, DriverError> {
    let machine_clock = world.clock.clone();
    world.clock = Arc::new(RunClock::new(machine_clock.clone(), run.changed_at));
    let now = world.clock.monotonic();
    let (results, incoming) = mpsc::unbounded_channel();
    // The driver before may have ended between a stop of the agent and the record of it.
    let run_is_older = run.session == Session::Started;
    let mut driver = Driver {
        inbox: world.root.run(&run.project, run.issue).inbox(),
        delivery: Delivery::default(),
        files,
        run,
        watcher,
        results,
        in_flight: BTreeMap::new(),
        retries: BTreeMap::new(),
        counted_to: now,
        hooks_read_to: None,
        alive_at: now,
        idle_since: None,
        looked_at: now,
        forge_at: now,
        beat_at: now,
        liveness_at: now,
        started_at: now,
        screen_at: now,
        screen_watch: ScreenWatch::new(),
        looking_at_screen: false,
        observed_once: false,
        typing: false,
        notices_due: true,
        telling: false,
        looking_at_forge: false,
        looking_at_session: false,
        look_is_old: false,
        clocks: (machine_clock.now(), now),
        watch: Watch { wall: world.clock.now(), since: now },
        machine_clock,
        last_forge_stage: String::new(),
        told_unavailable: BTreeSet::new(),
        ci_unreachable: None,
        record_due: run_is_older,
        recording: false,
        held_up: false,
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
    /// The screen of an attempt, if it could be read.
    Screen(Attempt, Option<String>),
    /// What the screen of an idle agent shows; `None` for any other screen.
    IdleScreen(Option<[u8; 32]>),
    GaveUp(Seen),
    Beaten,
    Told,
    /// The screen is kept, and this is what the agent has used.
    Recorded(Vec<Usage>),
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
    /// Since when the screen shows the same idle agent, while its hooks say that it is at work.
    idle_since: Option<(Duration, [u8; 32])>,
    forge_at: Duration,
    beat_at: Duration,
    liveness_at: Duration,
    /// When the present attempt was started, as far as this driver knows.
    started_at: Duration,
    /// When the screen of an agent without hooks is looked at next.
    screen_at: Duration,
    screen_watch: ScreenWatch,
    looking_at_screen: bool,
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
    /// The look at the forge that is under way began before a gap in the watch.
    look_is_old: bool,
    /// The clock of this machine; that of the world is the run's.
    machine_clock: Arc<dyn Clock>,
    /// Wall and monotonic time of the last turn of the loop.
    clocks: (Timestamp, Duration),
    watch: Watch,
    last_forge_stage: String,
    told_unavailable: BTreeSet<EffectId>,
    /// Why CI could not be asked the last time; none where it answered.
    ci_unreachable: Option<String>,
    /// The agent has stopped since its screen and its usage were last recorded.
    record_due: bool,
    recording: bool,
    /// A person writes in the session, and a message waits for the end of that.
    held_up: bool,
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
            self.look_at_intervals();
            // The wall first: a sleep after it makes nothing due, and one before it shows in the comparison.
            let wall = self.world.clock.now();
            self.compare_clocks();
            if self.observed_once {
                self.let_time_pass(wall).await?;
            }
            let nap = self.nap(deliver_in);
            let files = self.files.clone();
            let outcome = tokio::select! {
                Some(outcome) = incoming.recv() => Some(outcome),
                () = files.changed() => None,
                () = tokio::time::sleep(nap) => None,
                () = &mut stop => return Ok(Ended::Asked),
            };
            // Before anything is made of what woke the loop: it may have slept longer than it meant to.
            self.compare_clocks();
            if let Some(outcome) = outcome {
                self.take(outcome).await?;
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
            outgoing::say(&self.world, &self.run, &hook).await?;
            self.idle_since = None;
            if let Some(seen) =
                observe::hook_event(&self.run, &hook, &self.inbox, self.world.clock.now(), &self.world.redactor)
            {
                self.commit(seen).await?;
            }
        }
        Ok(())
    }

    async fn end_when_done(&mut self) -> Result<(), DriverError> {
        if matches!(self.run.stage, Stage::Finishing { .. }) && self.run.pending.is_empty() {
            // What the agent used last counts too; after its end a run takes nothing in.
            let usage = record::usage(&self.world, &self.run).await;
            self.take_usage(usage).await?;
            self.commit(Seen::new(Event::RunEnded)).await?;
        }
        Ok(())
    }

    async fn take(&mut self, outcome: Outcome) -> Result<(), DriverError> {
        match outcome {
            Outcome::Order { id, lane, result } => self.take_result(id, lane, result).await,
            Outcome::Typed { id, typed } => {
                self.typing = false;
                self.note_writer(typed == Typed::PersonWrites);
                self.delivery.typed(&id, typed, self.world.clock.monotonic());
                Ok(())
            }
            Outcome::Forge(seen) => {
                self.looking_at_forge = false;
                let now = self.world.clock.monotonic();
                let is_new = !std::mem::take(&mut self.look_is_old);
                if seen.is_some() && is_new {
                    self.looked_at = now;
                }
                // Time cannot rest for ever because there is nothing to be seen: a forge that has lost the issue stays so.
                self.observed_once |= (seen.is_some() && is_new) || now.saturating_sub(self.looked_at) > BLIND;
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
            Outcome::Screen(attempt, screen) => self.take_screen(attempt, screen).await,
            Outcome::IdleScreen(screen) => self.take_idle_screen(screen).await,
            Outcome::GaveUp(seen) => self.commit(seen).await,
            Outcome::Beaten => Ok(()),
            Outcome::Recorded(usage) => {
                self.recording = false;
                self.take_usage(usage).await
            }
            Outcome::Told => {
                self.telling = false;
                Ok(())
            }
        }
    }

    /// Commits an event. When somebody else has written to the run, it is read anew and the event judged again.
    async fn commit(&mut self, seen: Seen) -> Result<(), DriverError> {
        // The machine may have slept in the middle of a turn of the loop, too.
        self.compare_clocks();
        let now = self.clocks.1;
        let observed = now.saturating_sub(self.counted_to);
        let observed_ms = u64::try_from(observed.as_millis()).unwrap_or(u64::MAX);
        let inputs: Vec<i64> = seen.input.into_iter().collect();
        let head_before: Option<Sha> = self.run.head.clone();
        let was_at_work = is_at_work(&self.run, self.world.clock.now());
        loop {
            let event = seen.event.clone();
            match commit::commit(&self.world, &mut self.run, observed_ms, event, seen.completes.clone(), &inputs).await
            {
                Ok(Committed::Moved) => {
                    self.counted_to = now;
                    self.notices_due = true;
                    self.record_due |= record::is_due_after(&seen.event);
                    if !was_at_work && is_at_work(&self.run, self.world.clock.now()) {
                        // What it was quiet about while nobody expected anything of it does not count.
                        self.alive_at = now;
                    }
                    if self.run.head != head_before {
                        self.forge_at = self.forge_at.min(now + self.forge_interval());
                    }
                    (self.watcher)(&self.run, &seen.event);
                    return Ok(());
                }
                Ok(Committed::Ignored(_)) => {
                    if let Some(late) = outgoing::too_late(&self.world, &self.run, &seen.event) {
                        self.world.outbox.queue(&[late]).await?;
                        self.world.machine.ensure_bridge();
                    }
                    // What nothing comes of must not wait for ever.
                    if !inputs.is_empty() {
                        self.world.store.drop_inputs(&self.run.id, &inputs).await?;
                    }
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => {
                    self.run = super::resume::load(&self.world, &self.run.id).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Returns whether a sign of life is to be expected of the agent.
fn is_at_work(run: &Run, now: Timestamp) -> bool {
    matches!(run.stage, Stage::Working)
        && run.usage_limit.is_none()
        && run.hands_off_until.is_none_or(|until| until <= now)
}
