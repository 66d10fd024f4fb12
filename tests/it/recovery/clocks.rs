//! Clocks that part: a machine that sleeps over a weekend, a process that is stopped, a wall clock that is put back. What came
//! meanwhile is looked at before anything is due. A run is brought to its stage by the real program, and then led on in this
//! process with a clock that the test sets.

use super::{
    agent::{note, phase, plan, push, quick, rule, run},
    world::World,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rig::{
    adapters::{flock::FlockLocks, system_clock::SystemClock},
    commands::wire,
    config::{self, settings::Matrix},
    domain::{
        chat::Stream,
        ci::CiVerdict,
        ids::{IssueNumber, ProjectName, RunId, Sha},
        run::{Event, Timer},
    },
    engine::{
        World as Engine,
        driver::{self, Ended},
        resume,
    },
    ports::{
        ci::{Ci, CiError},
        clock::Clock,
        launch::{Errand, LaunchError, Machine, ProcessIdentity},
        store::Store,
    },
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// More than any limit of a run but the one of reviews: from Friday to Monday.
const WEEKEND: SignedDuration = SignedDuration::from_hours(60);
/// More than a review may take.
const HOLIDAYS: SignedDuration = SignedDuration::from_hours(24 * 9);

/// A real clock whose hands can be put elsewhere.
#[derive(Default)]
pub(super) struct Hands {
    real: SystemClock,
    wall_secs: AtomicI64,
    monotonic_secs: AtomicI64,
    /// The process is stopped for a weekend whenever its monotonic clock was read so often; never where it is 0.
    stops_every: AtomicI64,
    readings: AtomicI64,
    stops: AtomicI64,
}

impl Hands {
    /// The machine sleeps: its monotonic clock rests.
    pub(super) fn sleep(&self, time: SignedDuration) {
        self.wall_secs.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// How far the monotonic hand was put forward.
    pub(super) fn put_forward(&self) -> Duration {
        Duration::from_secs(self.monotonic_secs.load(Ordering::SeqCst).unsigned_abs())
    }

    /// Both go on.
    pub(super) fn pass(&self, time: SignedDuration) {
        self.sleep(time);
        self.monotonic_secs.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.real.now() + SignedDuration::from_secs(self.wall_secs.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let every = self.stops_every.load(Ordering::SeqCst);
        if every > 0 && self.readings.fetch_add(1, Ordering::SeqCst) % every == every - 1 {
            self.pass(WEEKEND);
            self.stops.fetch_add(1, Ordering::SeqCst);
        }
        self.real.monotonic() + self.put_forward()
    }
}

/// CI that says nothing before it is told to be green.
#[derive(Default)]
struct SlowCi(AtomicBool);

#[async_trait]
impl Ci for SlowCi {
    async fn run(&self, _: &Sha) -> Result<CiVerdict, CiError> {
        Ok(match self.0.load(Ordering::SeqCst) {
            true => CiVerdict::Green,
            false => CiVerdict::Pending { missing: vec!["ci".into()] },
        })
    }

    fn runs_here(&self) -> bool {
        false
    }
}

/// The machine, on which this process starts nothing: it is no rig.
struct Still(Arc<dyn Machine>);

impl Machine for Still {
    fn launch_driver(&self, _: &ProjectName, issue: IssueNumber, _: &RunId) -> Result<(), LaunchError> {
        Err(LaunchError { issue, message: "a test leads it".into() })
    }

    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber) {
        self.0.wake_driver(project, issue);
    }

    fn ensure_bridge(&self) {}

    fn start_errand(&self, project: &ProjectName, errand: Errand) -> std::io::Result<()> {
        self.0.start_errand(project, errand)
    }

    fn is_switched_on(&self) -> bool {
        self.0.is_switched_on()
    }

    fn switch(&self, on: bool) -> std::io::Result<bool> {
        self.0.switch(on)
    }

    fn this_process(&self) -> ProcessIdentity {
        self.0.this_process()
    }

    fn is_alive(&self, process: &ProcessIdentity) -> bool {
        self.0.is_alive(process)
    }

    fn end(&self, _: &ProcessIdentity) {}

    fn available_memory_mb(&self) -> Option<u64> {
        self.0.available_memory_mb()
    }

    fn forget_hooks(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> std::io::Result<()> {
        self.0.forget_hooks(project, issue, run)
    }

    fn run_folders(&self, project: &ProjectName) -> Vec<IssueNumber> {
        self.0.run_folders(project)
    }

    fn forget_run_folder(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<()> {
        self.0.forget_run_folder(project, issue)
    }

    fn new_run_id(&self) -> RunId {
        self.0.new_run_id()
    }
}

/// A driver in this process.
pub(super) struct Led {
    pub(super) hands: Arc<Hands>,
    ci: Arc<SlowCi>,
    pub(super) engine: Engine,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Ended>,
}

impl Led {
    /// Leads the run of issue 1, whose real drivers are gone, and has looked once at everything. The forge is not looked at
    /// again by itself for an hour.
    pub(super) async fn from_here(world: &World, change: impl FnOnce(&mut Engine, &Arc<Hands>)) -> Self {
        world.kill_drivers().await;
        let project = config::load_one(&world.root, None).unwrap();
        let store = wire::store(&world.root).await.unwrap();
        let mut engine = wire::world(&world.root, project, store).await.unwrap();
        let (hands, ci) = (Arc::new(Hands::default()), Arc::new(SlowCi::default()));
        let mut project = engine.project.as_ref().clone();
        project.forge.poll_interval = Duration::from_secs(3_600);
        let locks = FlockLocks::new(&world.path("locks"), &project.forge_url, &project.repository);
        (engine.project, engine.locks) = (Arc::new(project), Arc::new(locks));
        (engine.clock, engine.ci) = (hands.clone(), ci.clone());
        engine.machine = Arc::new(Still(engine.machine));
        change(&mut engine, &hands);
        let run = resume::load(&engine, &world.run().await.unwrap().id).await.unwrap();
        let files = wire::run_files(&world.root, &run.project, run.issue, &run.id).unwrap();
        world.forget_requests().await;
        let (stop, asked) = oneshot::channel::<()>();
        let asked = async { drop(asked.await) };
        let drive = driver::drive(engine.clone(), run, files, Arc::new(|_, _| {}), asked);
        let task = tokio::spawn(async move { drive.await.unwrap() });
        let led = Self { hands, ci, engine, stop, task };
        world.until("everything is looked at", || world.was_asked_for("/repos/acme/greeter/issues/1/comments")).await;
        led
    }

    /// Makes the driver look at its files and its clocks now.
    pub(super) async fn wake(&self, world: &World) {
        let run = world.run().await.unwrap();
        self.engine.machine.wake_driver(&run.project, run.issue);
    }

    pub(super) async fn leave(self) -> Ended {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

impl World {
    async fn control(&self, method: &str) -> Value {
        let url = format!("{}/api/v1/-/requests", self.forge.url());
        let request = reqwest::Client::new().request(method.parse().unwrap(), url);
        let text = request.header("authorization", format!("token {}", self.admin)).send().await.unwrap().text().await;
        serde_json::from_str(&text.unwrap()).unwrap_or_default()
    }

    pub(super) async fn forget_requests(&self) {
        self.control("DELETE").await;
    }

    pub(super) async fn was_asked_for(&self, path: &str) -> bool {
        let asked = self.control("GET").await;
        asked["requests"].as_array().unwrap().iter().any(|one| one["path"].as_str().unwrap().ends_with(path))
    }

    pub(super) async fn timers(&self) -> Vec<Timer> {
        let timer = |event: Event| match event {
            Event::TimePassed { timer } => Some(timer),
            _ => None,
        };
        self.facts().await.into_iter().filter_map(|fact| timer(fact.event)).collect()
    }

    async fn answer(&self, text: &str) {
        self.owner_call("POST", "/issues/1/comments", json!({ "body": format!("@dev-bot: {text}") })).await;
    }
}

fn asking() -> super::world::Plan {
    plan(vec![
        rule("A person answered", &[note("answered"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), phase("escalate", "which colour?")]),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_came_over_a_weekend_is_delivered_and_nobody_is_given_up_on() {
    let world = World::new(&asking()).await;
    world.poll().await;
    world.until_stage("escalated").await;
    world.until("the agent rests", || async { !world.run().await.unwrap().busy }).await;
    let led = Led::from_here(&world, |_, _| {}).await;
    world.answer("blue").await;
    led.hands.sleep(WEEKEND);
    led.wake(&world).await;
    world.until("the answer is with the agent", || async { world.notes().contains(&"1 answered".into()) }).await;
    assert_eq!(world.timers().await, [], "it had come before anything was due");
    // The journal is a weekend ahead of the real clock now: the next driver goes on all the same.
    led.leave().await;
    super::world::beside(
        async {
            world.poll().await;
            world.expect_merged().await;
        },
        world.reviewing(&["APPROVED"]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_the_weekend_counts_once_everything_was_looked_at() {
    let world = World::new(&asking()).await;
    world.poll().await;
    world.until_stage("escalated").await;
    let led = Led::from_here(&world, |_, _| {}).await;
    led.hands.sleep(WEEKEND);
    led.wake(&world).await;
    world.until_stage("blocked").await;
    assert_eq!(world.timers().await, [Timer::Escalation; 3]);
    assert!(matches!(led.leave().await, Ended::Run(_)));
}

/// A bridge brings what was said in a chat a while after the machine is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_by_chat_has_its_time_to_be_read() {
    let world = World::new(&asking()).await;
    world.poll().await;
    world.until_stage("escalated").await;
    let led = Led::from_here(&world, |engine, _| {
        let mut project = engine.project.as_ref().clone();
        project.matrix = Some(Matrix {
            homeserver: "http://127.0.0.1:1".into(),
            room: "!room:example.org".into(),
            bot_user: None,
            token: None,
            mention_user: None,
            second_contact: None,
            allowed_users: Vec::new(),
            stream: Stream::None,
        });
        engine.project = Arc::new(project);
    })
    .await;
    world.forget_requests().await;
    led.hands.sleep(WEEKEND);
    led.wake(&world).await;
    world.until("the forge is looked at", || world.was_asked_for("/repos/acme/greeter/issues/1/comments")).await;
    led.hands.pass(SignedDuration::from_secs(40));
    let run = world.run().await.unwrap();
    let reply = Event::HumanReplied { id: "chat-1".into(), who: "@ada:example.org".into(), text: "blue".into() };
    let body = serde_json::to_value(&reply).unwrap();
    world.store.put_input(&run.id, "chat-1", reply.kind(), &body).await.unwrap();
    led.wake(&world).await;
    world.until("the answer is with the agent", || async { world.notes().contains(&"1 answered".into()) }).await;
    assert_eq!(world.timers().await, []);
    led.leave().await;
}

/// Returns a world whose agent works until the file `go` is there, and then waits for CI.
pub(super) async fn at_work() -> World {
    let go_on =
        [note("begun"), run("touch \"$NOTES/ready\""), json!({ "wait_until": { "command": "test -e \"$NOTES/go\"" } })];
    let actions: Vec<Value> = go_on.into_iter().chain([push("touch work.txt"), phase("awaiting_ci", "")]).collect();
    let world = World::new(&plan(vec![rule("Title: Task", &actions)])).await;
    world.poll().await;
    world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
    world
}

/// Holds for a machine that slept and for a process that was stopped.
async fn what_the_agent_did_meanwhile_counts(pause: impl Fn(&Hands)) {
    let world = at_work().await;
    let led = Led::from_here(&world, |_, _| {}).await;
    pause(&led.hands);
    led.wake(&world).await;
    std::fs::write(world.path("notes/go"), "").unwrap();
    world.until_stage("awaiting_ci").await;
    assert_eq!((world.timers().await, world.count("AgentQuiet").await), (vec![], 0));
    let worked = world.run().await.unwrap().used.agent_ms;
    assert!(worked < 600_000, "{worked} ms were watched");
    // CI ends while nobody watches, and has not timed out.
    led.ci.0.store(true, Ordering::SeqCst);
    pause(&led.hands);
    led.wake(&world).await;
    world.until_stage("awaiting_review").await;
    assert_eq!(world.timers().await, []);
    led.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_agent_nor_ci_times_out_while_the_machine_sleeps() {
    what_the_agent_did_meanwhile_counts(|hands| hands.sleep(WEEKEND)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_agent_nor_ci_times_out_while_the_driver_is_stopped() {
    what_the_agent_did_meanwhile_counts(|hands| hands.pass(WEEKEND)).await;
}

/// In the middle of a turn of the loop, before an event is written down, while time is let pass: it is never the agent's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_is_stopped_again_and_again_at_whatever_moment_counts_none_of_it() {
    let world = at_work().await;
    let led = Led::from_here(&world, |_, _| {}).await;
    // Seldom enough that everything is looked at in between, and time is let pass.
    for every in [53, 67, 79, 97] {
        let before = led.hands.stops.load(Ordering::SeqCst);
        led.hands.stops_every.store(every, Ordering::SeqCst);
        world
            .until("it was stopped often", || async {
                led.wake(&world).await;
                led.hands.stops.load(Ordering::SeqCst) >= before + 10
            })
            .await;
    }
    // Often, while much is written down.
    led.hands.stops_every.store(7, Ordering::SeqCst);
    let run = world.run().await.unwrap().id;
    for number in 0..20 {
        let id = format!("chat-{number}");
        let replied = Event::HumanReplied { id: id.clone(), who: "@ada:example.org".into(), text: "blue".into() };
        for (key, event) in
            [(format!("{id}-said"), replied), (format!("{id}-taken-back"), Event::ReplyWithdrawn { id })]
        {
            world.store.put_input(&run, &key, event.kind(), &serde_json::to_value(&event).unwrap()).await.unwrap();
        }
        led.wake(&world).await;
        world.until("it is taken back", || async { world.count("ReplyWithdrawn").await == number + 1 }).await;
    }
    assert_eq!((world.timers().await, world.count("AgentQuiet").await), (vec![], 0));
    std::fs::write(world.path("notes/go"), "").unwrap();
    world
        .until("the agent's work is seen", || async {
            led.wake(&world).await;
            world.stage().await == "awaiting_ci"
        })
        .await;
    led.hands.stops_every.store(0, Ordering::SeqCst);
    assert_eq!((world.timers().await, world.count("AgentQuiet").await), (vec![], 0));
    let worked = world.run().await.unwrap().used.agent_ms;
    assert!(worked < 600_000, "{worked} ms were watched");
    led.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_that_came_over_the_holidays_leads_to_the_merge_and_asks_nobody() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let led = Led::from_here(&world, |_, _| {}).await;
    led.ci.0.store(true, Ordering::SeqCst);
    let head = world.run().await.unwrap().head.unwrap();
    let review = json!({ "event": "APPROVED", "commit_id": head.as_str(), "body": "Good." });
    let answer = world.as_account(&world.reviewer, "POST", "/pulls/2/reviews", review).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    led.hands.sleep(HOLIDAYS);
    led.wake(&world).await;
    world.until("it is merged", || async { world.count("Merged").await == 1 }).await;
    assert_eq!(world.timers().await, []);
    // The journal is ahead of the real clock by all that time; what is left to do is done all the same.
    led.leave().await;
    world.poll().await;
    world.expect_merged().await;
}

/// A pause of half a minute is not one of two days because the clock was two days wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_put_back_makes_no_pause_longer() {
    let world = World::new(&plan(vec![
        rule("cut off by an error", &[note("again"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule(
            "Title: Task",
            &[
                note("begun"),
                json!({ "wait_until": { "command": "test -e \"$NOTES/go\"" } }),
                json!({ "api_error": "overloaded" }),
            ],
        ),
    ]))
    .await;
    world.poll().await;
    world.until("the agent works", || async { world.notes() == ["1 begun"] }).await;
    let led = Led::from_here(&world, |_, _| {}).await;
    std::fs::write(world.path("notes/go"), "").unwrap();
    world.until("the turn has failed", || async { world.count("TurnFailed").await == 1 }).await;
    led.hands.sleep(-WEEKEND);
    led.wake(&world).await;
    led.hands.pass(SignedDuration::from_secs(40));
    led.wake(&world).await;
    world.until("it goes on", || async { world.notes().contains(&"1 again".into()) }).await;
    let facts = world.facts().await;
    assert!(facts.is_sorted_by_key(|fact| fact.at), "time went back");
    led.leave().await;
}
