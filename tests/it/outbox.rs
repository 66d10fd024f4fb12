//! The outbox with a channel that misbehaves: whatever fails in between, each message is shown once, and those of a lane in order.

use crate::store_support::{at, project, run_id};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::chat::{Channel, Letter},
    engine::pump::Pump,
    ports::{
        chat::{ChatError, ChatResult, Content, Sender},
        clock::Clock,
        outbox::{Body, NewInput, Outbox, Outgoing, Reading, Thread},
        store::Store,
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// A room that shows each id once and answers as it is told.
#[derive(Default)]
struct Room {
    /// What each next call comes to: 0 works, 1 is lost before, 2 is taken and its answer lost, 3 is a limit.
    faults: Mutex<Vec<u8>>,
    /// Id, thread and text, in the order of their showing.
    shown: Mutex<Vec<(String, Option<String>, String)>>,
    /// Nobody answers.
    is_down: AtomicBool,
    tries: AtomicU32,
}

#[async_trait]
impl Sender for Room {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let next = || self.faults.lock().unwrap().pop().unwrap_or(0);
        let fault = if self.is_down.load(Ordering::Relaxed) { 1 } else { next() };
        let lost = || ChatError::Unavailable { message: "lost".into() };
        if fault == 1 {
            return Err(lost());
        }
        if fault == 3 {
            return Err(ChatError::Limited { retry_after: Some(Duration::from_secs(90)) });
        }
        let Content::Letter { letter, place } = content else {
            return Err(ChatError::Impossible { message: "no".into() });
        };
        let mut shown = self.shown.lock().unwrap();
        if shown.iter().all(|(known, ..)| known != id) {
            shown.push((id.to_owned(), place.thread.clone(), letter.plain.clone()));
        }
        if fault == 2 { Err(lost()) } else { Ok(format!("$of-{id}")) }
    }
}

/// A clock that a test moves.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn message(lane: u32, number: u32) -> Outgoing {
    let body = Body::Threaded { letter: Letter::text(&format!("{lane}:{number}")), opening: Letter::text("opening") };
    Outgoing {
        id: format!("{lane}-{number}"),
        channel: Channel::Matrix,
        project: project("widget"),
        issue: None,
        run: Some(run_id(lane)),
        body,
        at: at(0),
    }
}

async fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(&folder.path().join("rig.db"), "host").await.unwrap(), folder)
}

async fn empty(store: &SqliteStore, room: &Room, clock: &Hands) -> u64 {
    let name = project("widget");
    let pump =
        Pump { outbox: store, sender: room, clock, channel: Channel::Matrix, project: &name, room: Some("!room") };
    pump.empty().await.unwrap()
}

/// Sends until nothing waits, moving the clock on when everything is put off.
async fn empty_all(store: &SqliteStore, room: &Room, clock: &Hands) {
    while store.outbox_state(Channel::Matrix).await.unwrap().waiting > 0 {
        if empty(store, room, clock).await == 0 {
            let mut now = clock.0.lock().unwrap();
            *now = now.checked_add(SignedDuration::from_secs(61)).unwrap();
        }
    }
}

fn lanes(room: &Room) -> BTreeMap<String, Vec<String>> {
    let mut lanes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, thread, text) in room.shown.lock().unwrap().iter() {
        lanes.entry(thread.clone().unwrap_or_default()).or_default().push(text.clone());
    }
    lanes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_message_is_shown_once_and_in_the_order_of_its_lane(
        faults in prop::collection::vec(0_u8..4, 0..60),
        lane_of in prop::collection::vec(0_u32..4, 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ((store, _folder), clock) = (store().await, Hands(Mutex::new(at(0))));
            let room = Room { faults: Mutex::new(faults), ..Room::default() };
            let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
            for lane in lane_of {
                let number = counts.entry(lane).or_default();
                // Fewer than become one.
                if *number < 20 {
                    store.queue(&[message(lane, *number)]).await.unwrap();
                    let root = format!("$of-thread-{}-0", run_id(lane));
                    expected.entry(root).or_default().push(format!("{lane}:{number}"));
                    *number += 1;
                }
            }
            empty_all(&store, &room, &clock).await;
            let mut shown = lanes(&room);
            let openings = shown.remove("").unwrap_or_default();
            assert_eq!(openings.len(), expected.len(), "one first message for each thread");
            assert_eq!(shown, expected);
        });
    }
}

#[tokio::test]
async fn what_waits_too_long_is_folded_behind_what_may_have_been_sent() {
    let ((store, _folder), clock) = (store().await, Hands(Mutex::new(at(0))));
    // The first message of the thread and the first news arrive, their answer does not.
    let room = Room { faults: Mutex::new(vec![2, 0]), ..Room::default() };
    store.queue(&[message(1, 0)]).await.unwrap();
    assert_eq!(empty(&store, &room, &clock).await, 0);
    let more: Vec<Outgoing> = (1..30).map(|number| message(1, number)).collect();
    store.queue(&more).await.unwrap();
    empty_all(&store, &room, &clock).await;
    let texts: Vec<String> = room.shown.lock().unwrap().iter().map(|(.., text)| text.clone()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(texts[1], "1:0");
    assert!(texts[2].starts_with("29 messages") && texts[2].contains("1:29"), "{texts:?}");
}

#[tokio::test]
async fn an_outage_of_an_hour_loses_nothing_costs_few_tries_and_its_end_is_noticed_within_a_minute() {
    let ((store, _folder), clock) = (store().await, Hands(Mutex::new(at(0))));
    let room = Room { is_down: true.into(), ..Room::default() };
    let mut queued = 0;
    while clock.now() < at(3_600) {
        // Something happens in two runs every five minutes.
        if clock.now() >= at(300 * i64::from(queued)) {
            store.queue(&[message(1, queued), message(2, queued)]).await.unwrap();
            queued += 1;
        }
        assert_eq!(empty(&store, &room, &clock).await, 0);
        let next = store.next_due(Channel::Matrix).await.unwrap().unwrap();
        assert!(next > clock.now() && next <= clock.now() + SignedDuration::from_secs(60), "{next}");
        *clock.0.lock().unwrap() = next;
    }
    assert_eq!(queued, 12);
    let tries = room.tries.load(Ordering::Relaxed);
    assert!((60..=140).contains(&tries), "one a minute for each lane, and a few at first: {tries}");
    // It is back right after it was tried in vain.
    assert_eq!(empty(&store, &room, &clock).await, 0);
    room.is_down.store(false, Ordering::Relaxed);
    *clock.0.lock().unwrap() += SignedDuration::from_secs(60);
    assert_eq!(empty(&store, &room, &clock).await, 24);
    let shown = lanes(&room);
    for lane in [1, 2] {
        let expected: Vec<String> = (0..12).map(|number| format!("{lane}:{number}")).collect();
        assert_eq!(shown[&format!("$of-thread-{}-0", run_id(lane))], expected);
    }
}

#[tokio::test]
async fn a_limit_is_obeyed_and_other_lanes_go_on() {
    let ((store, _folder), clock) = (store().await, Hands(Mutex::new(at(0))));
    let room = Room { faults: Mutex::new(vec![3]), ..Room::default() };
    store.queue(&[message(1, 0), message(2, 0)]).await.unwrap();
    assert_eq!(empty(&store, &room, &clock).await, 1);
    for (seconds, sent) in [(60, 0), (89, 0), (91, 1)] {
        *clock.0.lock().unwrap() = at(seconds);
        assert_eq!(empty(&store, &room, &clock).await, sent, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_thread_that_is_gone_or_in_another_room_gets_a_successor() {
    let ((store, _folder), clock) = (store().await, Hands(Mutex::new(at(0))));
    let room = Room::default();
    store.queue(&[message(1, 0)]).await.unwrap();
    empty_all(&store, &room, &clock).await;
    let first = store.thread(&run_id(1)).await.unwrap().unwrap();
    store.set_thread(&Thread { gone: true, ..first.clone() }).await.unwrap();
    store.queue(&[message(1, 1)]).await.unwrap();
    empty_all(&store, &room, &clock).await;
    let second = store.thread(&run_id(1)).await.unwrap().unwrap();
    assert_eq!((second.generation, second.gone), (1, false));
    assert_ne!(first.root, second.root);
    for root in [&first.root, &second.root] {
        assert_eq!(store.run_of("!room", root).await.unwrap(), Some(run_id(1)));
    }
    assert_eq!(store.run_of("!room", "$of-1-1").await.unwrap(), Some(run_id(1)), "a reply to a message of the thread");
}

#[tokio::test]
async fn a_reading_is_taken_with_its_position_and_a_reply_to_an_ended_run_is_answered() {
    let (store, _folder) = store().await;
    let mut row = crate::store_support::row(1, 1);
    crate::store_support::append_one(&store, &row, 0).await.unwrap();
    let input = |key: &str| NewInput {
        run: run_id(1),
        key: key.into(),
        kind: "HumanReplied".into(),
        body: serde_json::json!({}),
        otherwise: Some(message(1, 7)),
    };
    let reading = Reading { account: "bot".into(), next: "s1".into(), inputs: vec![input("$a")], ..Reading::default() };
    store.take_reading(&reading, at(0)).await.unwrap();
    store.take_reading(&reading, at(0)).await.unwrap();
    assert_eq!(store.waiting_inputs(&run_id(1)).await.unwrap().len(), 1, "the same reading twice is one reply");
    assert_eq!(store.chat_position("bot").await.unwrap().as_deref(), Some("s1"));
    assert_eq!(store.outbox_state(Channel::Matrix).await.unwrap().waiting, 0);
    row.open = false;
    crate::store_support::append_one(&store, &row, 1).await.unwrap();
    let late = Reading { next: "s2".into(), inputs: vec![input("$b")], ..reading };
    store.take_reading(&late, at(0)).await.unwrap();
    assert_eq!(store.chat_position("bot").await.unwrap().as_deref(), Some("s2"));
    assert_eq!(store.outbox_state(Channel::Matrix).await.unwrap().waiting, 1);
}
