//! People who write in a session, and what waits for them. A real tmux client is attached; how long it has been idle is what
//! tmux says of it, and the time that the test lets pass.

use super::{
    agent::{note, phase, plan, rule},
    clocks::{Hands, Led},
    world::World,
};
use async_trait::async_trait;
use jiff::SignedDuration;
use rig::{
    domain::ids::{Attempt, RunId},
    engine::session::name_of,
    ports::session::{
        Liveness, PromptLine, SessionName, SessionPlan, SessionResult, Sessions, SetUp, SetUpEnd, Signals,
    },
};
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The sessions, where whoever is attached grows idle by the hands of the test's clock.
struct Ageing {
    real: Arc<dyn Sessions>,
    hands: Arc<Hands>,
    /// How often it was asked who writes.
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Sessions for Ageing {
    async fn set_up(&self, plan: &SessionPlan, set_up: &SetUp) -> SessionResult<SetUpEnd> {
        self.real.set_up(plan, set_up).await
    }

    fn signals(&self) -> Signals {
        self.real.signals()
    }

    fn first_line(&self, attempt_dir: &Path) -> Option<String> {
        self.real.first_line(attempt_dir)
    }

    fn known_start(&self, screen: &str) -> Option<&'static str> {
        self.real.known_start(screen)
    }

    async fn start(&self, plan: &SessionPlan) -> SessionResult<()> {
        self.real.start(plan).await
    }

    async fn liveness(&self, name: &SessionName, run: &RunId, attempt: Attempt) -> SessionResult<Liveness> {
        self.real.liveness(name, run, attempt).await
    }

    async fn screen(&self, name: &SessionName, history: u32) -> SessionResult<String> {
        self.real.screen(name, history).await
    }

    fn prompt_line(&self, screen: &str) -> PromptLine {
        self.real.prompt_line(screen)
    }

    async fn type_line(&self, name: &SessionName, line: &str) -> SessionResult<()> {
        self.real.type_line(name, line).await
    }

    async fn writer_idle(&self, name: &SessionName) -> SessionResult<Option<Duration>> {
        let idle = self.real.writer_idle(name).await?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(idle.map(|idle| idle + self.hands.put_forward()))
    }

    async fn end(&self, name: &SessionName) -> SessionResult<()> {
        self.real.end(name).await
    }
}

/// A person's terminal: a tmux server of its own around `rig attach --write`.
struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("TMUX_TMPDIR", self.folder.path()).args(["-L", "person", "-f", "/dev/null"]);
        String::from_utf8_lossy(&command.args(args).output().unwrap().stdout).into_owned()
    }

    fn attached(world: &World) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let variables = [
            format!("HOME={}", world.path("home").display()),
            format!("RIG_ROOT={}", world.root.path().display()),
            "PATH=/usr/bin:/bin".to_owned(),
            "TERM=screen-256color".to_owned(),
        ];
        let mut words = vec!["new-session", "-d", "-s", "person", "-x", "150", "-y", "40", "env", "-i"];
        words.extend(variables.iter().map(String::as_str));
        words.extend([env!("CARGO_BIN_EXE_rig"), "attach", "1", "--write"]);
        terminal.tmux(&words);
        terminal
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_a_person_who_writes_until_ten_idle_minutes_have_passed() {
    let world = World::new(&plan(vec![rule("look at the tests", &[note("told"), phase("awaiting_review", "")])])).await;
    world.poll().await;
    world.until("the agent rests", || async { world.notes().contains(&"1 passed".into()) }).await;
    world.until_stage("awaiting_review").await;
    world.until("its turn is over", || async { !world.run().await.unwrap().busy }).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let led = Led::from_here(&world, |engine, hands| {
        let real = engine.sessions.clone();
        engine.sessions = Arc::new(Ageing { real, hands: hands.clone(), asked: asked.clone() });
    })
    .await;
    let person = Terminal::attached(&world);
    let name = name_of(&world.run().await.unwrap());
    world.until("somebody writes", || async { led.engine.sessions.writer_idle(&name).await.unwrap().is_some() }).await;
    assert!(world.rig(&["send", "1", "look at the tests"]).await.status.success());
    led.wake(&world).await;
    let looked_again = async |what: &str| {
        let before = asked.load(Ordering::SeqCst);
        world.until(what, || async { asked.load(Ordering::SeqCst) >= before + 2 }).await;
        assert!(!world.notes().contains(&"1 told".into()), "{what}: {}", world.story().await);
    };
    looked_again("it waits").await;
    led.hands.pass(SignedDuration::from_mins(5));
    led.wake(&world).await;
    looked_again("it still waits after five minutes").await;
    led.hands.pass(SignedDuration::from_mins(5));
    led.wake(&world).await;
    world.until("it is delivered", || async { world.notes().contains(&"1 told".into()) }).await;
    assert!(person.tmux(&["list-sessions"]).contains("person"), "they are attached all the while");
    led.leave().await;
}
