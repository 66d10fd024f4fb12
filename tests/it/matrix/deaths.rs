//! The bridge dies at a named step in the middle of a conversation. Each time the next one goes on from what is written down: every
//! message is shown once, every reply reaches the session once, and is confirmed once.

use super::world::{MatrixWorld, body};
use crate::{by_hand_support::until, root_support::program};
use async_trait::async_trait;
use rig::{
    adapters::{bridge::lock, flock::FileLock},
    commands::wire,
    config,
    domain::ids::{IssueNumber, ProjectName, RunId},
    engine::bridge::Bridge,
    ports::{
        chat::{Batch, Chat, ChatResult, Content, Incoming, Sender},
        launch::{Errand, LaunchError, Machine, ProcessIdentity},
    },
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Where it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    BeforeASend,
    AfterASendBeforeItIsRecorded,
    AfterTheSyncBeforeTheReplyIsStored,
    AfterTheReplyIsStoredBeforeItIsBrought,
    BeforeTheConfirmation,
    AfterTheConfirmationBeforeItIsRecorded,
}

#[test]
fn a_bridge_that_dies_around_a_send_shows_each_message_once() {
    lives_through(&[Step::BeforeASend, Step::AfterASendBeforeItIsRecorded]);
}

#[test]
fn a_bridge_that_dies_with_a_reply_in_its_hands_brings_it_once() {
    lives_through(&[Step::AfterTheSyncBeforeTheReplyIsStored, Step::AfterTheReplyIsStoredBeforeItIsBrought]);
}

#[test]
fn a_bridge_that_dies_around_a_confirmation_confirms_once() {
    lives_through(&[Step::BeforeTheConfirmation, Step::AfterTheConfirmationBeforeItIsRecorded]);
}

fn lives_through(steps: &[Step]) {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    for step in steps {
        conversation(&matrix, *step);
    }
}

/// One run with a question and its answer, through the death of the bridge.
fn conversation(matrix: &MatrixWorld, step: Step) {
    let issue = matrix.world.issue(&format!("Ask, {step:?}"), "Please.", &["backlog"]);
    let held = the_only_bridge(matrix);
    let mortal = Mortal::begins(matrix, step);
    matrix.poll();
    let says = || matrix.ann.reply(&matrix.room, &matrix.thread(issue), "use port 8080");
    let answer = match step {
        Step::BeforeASend | Step::AfterASendBeforeItIsRecorded => {
            mortal.join().unwrap();
            None
        }
        _ => {
            until_asked(matrix, issue);
            let answer = says();
            mortal.join().unwrap();
            Some(answer)
        }
    };
    drop(held);
    matrix.poll();
    until_asked(matrix, issue);
    let answer = answer.unwrap_or_else(says);
    matrix.until_confirmed(&answer);
    matrix.until_merged(issue);
    let root = matrix.thread(issue);
    until("the thread is told of the merge", || {
        matrix.told_in(&root).iter().any(|text| text.contains("is merged")).then_some(())
    });
    // It is told beside the tidying up; the next conversation needs the slot.
    until("the run has ended", || matrix.world.runs(false).is_empty().then_some(()));
    let opening = format!("widget #{issue}: ");
    assert_eq!(matrix.told().iter().filter(|event| body(event).starts_with(&opening)).count(), 1, "{step:?}");
    let told = matrix.told_in(&root);
    for words in ["claimed", "which port?", "is open", "CI passed", "approved", "is merged"] {
        assert_eq!(told.iter().filter(|text| text.contains(words)).count(), 1, "{step:?}, {words}: {told:?}");
    }
    assert_eq!(matrix.confirmations(&answer), 1, "{step:?}");
    let inbox = matrix.inbox(issue);
    assert_eq!(inbox.iter().filter(|text| text.contains("use port 8080")).count(), 1, "{step:?}: {inbox:?}");
}

fn until_asked(matrix: &MatrixWorld, issue: u64) {
    let root = matrix.thread(issue);
    until("it is asked", || matrix.told_in(&root).iter().any(|text| text.contains("which port?")).then_some(()));
}

/// Ends the bridge and takes its place, so that nobody starts another.
fn the_only_bridge(matrix: &MatrixWorld) -> FileLock {
    until("no other bridge runs", || {
        matrix.kill_bridge();
        lock(&matrix.world.root.root()).unwrap()
    })
}

/// A bridge's chat and machine, up to the step at which it dies.
#[derive(Clone)]
struct Mortal {
    chat: Arc<dyn Chat>,
    machine: Arc<dyn Machine>,
    dies_at: Step,
    died: Arc<Notify>,
}

impl Mortal {
    /// Leads a bridge in a thread of its own, which ends with its death.
    fn begins(matrix: &MatrixWorld, dies_at: Step) -> std::thread::JoinHandle<()> {
        let root = matrix.world.root.root();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let project = config::load_one(&root, None).unwrap();
                let store = wire::store(&root).await.unwrap();
                let bridge = wire::bridges(&root, &[project], &store).await.unwrap().pop().unwrap();
                let machine = wire::machine(&root, PathBuf::from(program()));
                let mortal = Self { chat: bridge.chat.clone(), machine, dies_at, died: Arc::default() };
                let died = mortal.died.clone();
                let mortal = Arc::new(mortal);
                let bridge = Bridge { chat: mortal.clone(), machine: mortal, ..bridge };
                bridge.begin().await.unwrap();
                tokio::select! {
                    result = bridge.work(wire::bridge_wake(&root)) => panic!("it ends by itself: {result:?}"),
                    () = died.notified() => {}
                }
            });
        })
    }

    /// At its step it does nothing any more.
    async fn live(&self, step: Step) {
        if step == self.dies_at {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Sender for Mortal {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        let (before, after) = match content {
            Content::Confirmation { .. } => (Step::BeforeTheConfirmation, Step::AfterTheConfirmationBeforeItIsRecorded),
            Content::Letter { .. } | Content::News { .. } => (Step::BeforeASend, Step::AfterASendBeforeItIsRecorded),
        };
        self.live(before).await;
        let sent = self.chat.send(id, content).await?;
        self.live(after).await;
        Ok(sent)
    }
}

#[async_trait]
impl Chat for Mortal {
    fn user(&self) -> &str {
        self.chat.user()
    }

    async fn events(&self, after: Option<&str>, wait: Duration) -> ChatResult<Batch> {
        let batch = self.chat.events(after, wait).await?;
        if batch.incoming.iter().any(|incoming| incoming.sender != self.user()) {
            self.live(Step::AfterTheSyncBeforeTheReplyIsStored).await;
        }
        Ok(batch)
    }

    async fn read_again(&self, room: &str, event: &str) -> ChatResult<Option<Incoming>> {
        self.chat.read_again(room, event).await
    }
}

impl Machine for Mortal {
    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber) {
        match self.dies_at {
            Step::AfterTheReplyIsStoredBeforeItIsBrought => self.died.notify_one(),
            _ => self.machine.wake_driver(project, issue),
        }
    }

    fn launch_driver(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> Result<(), LaunchError> {
        self.machine.launch_driver(project, issue, run)
    }

    fn ensure_bridge(&self) {
        self.machine.ensure_bridge();
    }

    fn start_errand(&self, project: &ProjectName, errand: Errand) -> std::io::Result<()> {
        self.machine.start_errand(project, errand)
    }

    fn is_switched_on(&self) -> bool {
        self.machine.is_switched_on()
    }

    fn switch(&self, on: bool) -> std::io::Result<bool> {
        self.machine.switch(on)
    }

    fn this_process(&self) -> ProcessIdentity {
        self.machine.this_process()
    }

    fn is_alive(&self, process: &ProcessIdentity) -> bool {
        self.machine.is_alive(process)
    }

    fn end(&self, process: &ProcessIdentity) {
        self.machine.end(process);
    }

    fn available_memory_mb(&self) -> Option<u64> {
        self.machine.available_memory_mb()
    }

    fn forget_hooks(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> std::io::Result<()> {
        self.machine.forget_hooks(project, issue, run)
    }

    fn run_folders(&self, project: &ProjectName) -> Vec<IssueNumber> {
        self.machine.run_folders(project)
    }

    fn forget_run_folder(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<()> {
        self.machine.forget_run_folder(project, issue)
    }

    fn new_run_id(&self) -> RunId {
        self.machine.new_run_id()
    }
}
