//! A person's word to rig's own gate in a chat, on a room that keeps its own time and delivers late.

use crate::{
    root_support::{TestRoot, program},
    run_events::{begun, claim_at, possible, run_id, sha},
    store_support::{at, plain, project},
};
use async_trait::async_trait;
use jiff::Timestamp;
use rig::{
    adapters::{store::sqlite::SqliteStore, system_clock::SystemClock},
    commands::wire,
    domain::{
        chat::{Channel, Letter},
        ids::{IssueNumber, ProjectName, Seq, Sha},
        repository::RepositoryKey,
        run::{Event, Fact, Policy, Run, Step, step},
    },
    engine::{
        bridge::{
            Bridge, Room,
            orders::{Asker, Commands, Orders},
        },
        commit,
    },
    ports::{
        chat::{Batch, Chat, ChatError, ChatResult, Content, Incoming, Sender, Written},
        outbox::{Body, Outbox, Outgoing},
        store::{NewEvent, RunRow, Store},
    },
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

const ROOM: &str = "!room:example.org";
const ANN: &str = "@ann:example.org";
const RIG: &str = "@rig:example.org";

/// A room on a homeserver that gives each message the next second.
#[derive(Default)]
struct Homeserver {
    said: Mutex<Vec<Incoming>>,
    /// Messages of `said` that were delivered.
    delivered: Mutex<usize>,
    /// Single messages are not found.
    is_forgetful: Mutex<bool>,
}

impl Homeserver {
    /// Takes a message. Returns its event; the same event again is the first.
    fn take(&self, event: String, sender: &str, thread: Option<String>, text: &str) -> String {
        let mut said = self.said.lock().unwrap();
        if said.iter().all(|known| known.event != event) {
            let at = at(i64::try_from(said.len()).unwrap());
            said.push(Incoming {
                room: ROOM.into(),
                event: event.clone(),
                at,
                sender: sender.into(),
                sender_name: String::new(),
                thread,
                answers: None,
                mentions_me: false,
                what: Written::Text(text.into()),
            });
        }
        event
    }

    fn last_words(&self) -> String {
        match &self.said.lock().unwrap().last().unwrap().what {
            Written::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl Sender for Homeserver {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        let Content::Letter { letter, place } = content else { panic!("{content:?}") };
        Ok(self.take(format!("$of-{id}"), RIG, place.thread.clone(), &letter.plain))
    }
}

#[async_trait]
impl Chat for Homeserver {
    fn user(&self) -> &str {
        RIG
    }

    async fn events(&self, _: Option<&str>, _: Duration) -> ChatResult<Batch> {
        let (said, mut delivered) = (self.said.lock().unwrap(), self.delivered.lock().unwrap());
        let incoming = said[*delivered..].to_vec();
        *delivered = said.len();
        Ok(Batch { next: delivered.to_string(), incoming })
    }

    async fn read_again(&self, room: &str, event: &str) -> ChatResult<Option<Incoming>> {
        if *self.is_forgetful.lock().unwrap() {
            return Err(ChatError::Unavailable { message: "not now".into() });
        }
        Ok(self.said.lock().unwrap().iter().find(|one| one.room == room && one.event == event).cloned())
    }
}

struct NoCommands;

#[async_trait]
impl Commands for NoCommands {
    async fn why(&self, _: &[ProjectName], _: IssueNumber) -> String {
        String::new()
    }

    async fn retry(&self, _: &RunRow, _: &Asker) -> String {
        String::new()
    }
}

/// A run whose pull request changes what the gate rests on, and the bridge to its people.
struct Asking {
    _root: TestRoot,
    homeserver: Arc<Homeserver>,
    store: Arc<SqliteStore>,
    bridge: Bridge,
    run: Run,
}

impl Asking {
    /// People are asked about the first commit, and told so.
    async fn about_a() -> Self {
        let root = TestRoot::new();
        let store = Arc::new(SqliteStore::open(&root.root().database(), "host").await.unwrap());
        let homeserver = Arc::new(Homeserver::default());
        let machine = wire::machine(&root.root(), PathBuf::from(program()));
        let orders = Orders {
            store: store.clone(),
            outbox: store.clone(),
            chat: homeserver.clone(),
            machine: machine.clone(),
            commands: Arc::new(NoCommands),
        };
        let room = Room { project: project("widget"), room: ROOM.into(), allowed_users: vec![ANN.into()] };
        let bridge = Bridge {
            account: RIG.into(),
            rooms: vec![room],
            chat: homeserver.clone(),
            outbox: store.clone(),
            store: store.clone(),
            clock: Arc::new(SystemClock::default()),
            machine,
            control: Arc::new(orders),
        };
        let run = begun();
        let mut asking = Self { _root: root, homeserver, store, bridge, run };
        asking.append(Seq(0), &claim_at(Policy::default(), Timestamp::UNIX_EPOCH)).await;
        asking.sees(|event| *event == Event::ClaimConfirmed).await;
        asking
            .sees(|event| matches!(event, Event::PriorWorkSurveyed { head: Some(head), .. } if *head == sha('a')))
            .await;
        asking.asks().await;
        asking.bridge.send_due().await.unwrap();
        asking
    }

    /// The branch moves, and people are asked about the new commit; the question waits to be sent.
    async fn moves_to_b(&mut self) {
        self.sees(|event| *event == Event::HeadMoved { head: sha('b') }).await;
        self.asks().await;
    }

    async fn asks(&mut self) {
        self.sees(|event| matches!(event, Event::CiFinished { verdict: rig::domain::ci::CiVerdict::Green, .. })).await;
        self.sees(|event| matches!(event, Event::PersonWanted { .. })).await;
        let wanted = self.run.person_wanted.as_ref().unwrap();
        let letter = Letter::text(&format!("a person must accept it at {}", wanted.head.short()));
        let question = Outgoing {
            id: wanted.asked.clone(),
            channel: Channel::Matrix,
            project: self.run.project.clone(),
            issue: Some(self.run.issue),
            run: Some(self.run.id.clone()),
            body: Body::Threaded { letter, opening: Letter::text("opening") },
            at: at(0),
        };
        self.store.queue(&[question]).await.unwrap();
    }

    /// Moves the run by one of the events that are possible now.
    async fn sees(&mut self, is_it: impl Fn(&Event) -> bool) {
        let all = possible(&self.run);
        let kinds = || all.iter().map(|fact| fact.event.kind()).collect::<Vec<_>>();
        let fact = all.iter().find(|fact| is_it(&fact.event)).unwrap_or_else(|| panic!("only {:?}", kinds()));
        let Step::Moved { run, .. } = step(&self.run, fact) else { panic!("{fact:?} is ignored") };
        let expected = self.run.seq;
        self.run = *run;
        self.append(expected, fact).await;
    }

    async fn append(&self, expected: Seq, fact: &Fact) {
        let body = serde_json::to_value(fact).unwrap();
        let event = NewEvent { at: fact.at, kind: fact.event.kind().into(), version: 1, body };
        let row = commit::row(&self.run, RepositoryKey::stored("https://git.example.org/acme/widget"));
        self.store.append(plain(&row, expected.0, &[event])).await.unwrap();
    }

    /// Ann writes in the run's thread.
    async fn writes(&self, text: &str) {
        let thread = self.store.thread(&run_id()).await.unwrap().unwrap().root;
        let event = format!("$ann-{}", self.homeserver.said.lock().unwrap().len());
        self.homeserver.take(event, ANN, Some(thread), text);
    }

    /// The bridge reads what came, and answers. Returns the answer.
    async fn reads(&self) -> String {
        self.bridge.begin().await.unwrap();
        self.bridge.send_due().await.unwrap();
        self.homeserver.last_words()
    }

    /// Returns the commits for which a word waits for the driver.
    async fn accepted(&self) -> Vec<Sha> {
        let inputs = self.store.waiting_inputs(&run_id()).await.unwrap();
        inputs
            .into_iter()
            .map(|input| match serde_json::from_value(input.body).unwrap() {
                Event::HumanAccepted { head, .. } => head,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[tokio::test]
async fn a_word_in_answer_to_the_question_accepts_its_commit() {
    let asking = Asking::about_a().await;
    asking.writes("approve").await;
    let answer = asking.reads().await;
    assert!(answer.starts_with("Accepted: the change of .ci/run"), "{answer}");
    assert_eq!(asking.accepted().await, [sha('a')]);
}

#[tokio::test]
async fn a_word_that_was_written_before_the_question_accepts_no_commit_that_its_writer_cannot_have_seen() {
    for is_sent in [false, true] {
        let mut asking = Asking::about_a().await;
        asking.writes("approve").await;
        // The bridge was away: the question about the next commit is there before it reads.
        asking.moves_to_b().await;
        if is_sent {
            asking.bridge.send_due().await.unwrap();
        }
        let answer = asking.reads().await;
        assert_eq!(asking.accepted().await, [], "sent: {is_sent}");
        for words in ["accepts nothing", ".ci/run at bbbbbbbbbb", "write `approve bbbbbbbbbb`"] {
            assert!(answer.contains(words), "{answer}");
        }
        asking.writes("approve").await;
        assert!(asking.reads().await.starts_with("Accepted"));
        assert_eq!(asking.accepted().await, [sha('b')], "sent: {is_sent}");
    }
}

#[tokio::test]
async fn a_word_that_names_its_commit_needs_no_question_and_is_for_no_other() {
    let mut asking = Asking::about_a().await;
    asking.writes("approve aaaaaaa").await;
    asking.moves_to_b().await;
    let answer = asking.reads().await;
    assert!(answer.contains("at bbbbbbbbbb, not at aaaaaaa"), "{answer}");
    *asking.homeserver.is_forgetful.lock().unwrap() = true;
    asking.writes("approve").await;
    assert!(asking.reads().await.contains("accepts nothing"), "when the question was asked cannot be told");
    assert_eq!(asking.accepted().await, []);
    asking.writes("approve BBBBBBB").await;
    assert!(asking.reads().await.starts_with("Accepted"));
    assert_eq!(asking.accepted().await, [sha('b')]);
}
