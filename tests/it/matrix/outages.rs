//! Nothing is lost and nothing is said twice when the homeserver or the bridge goes away in the middle.

use super::world::{MatrixWorld, body, thread_of};
use crate::{
    by_hand_support::{end, until},
    store_support::run_id,
};
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::{
        chat::{Channel, Letter},
        ids::{IssueNumber, ProjectName},
    },
    ports::outbox::{Body, Outbox, OutboxState, Outgoing},
};
use std::process::Stdio;

/// Queues so many messages in each of so many threads, as runs would.
pub(super) fn queue(matrix: &MatrixWorld, threads: u32, each: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&matrix.world.root.root().database(), "test").await.unwrap();
        let messages: Vec<Outgoing> =
            (0..each).flat_map(|number| (0..threads).map(move |thread| message(thread, number))).collect();
        store.queue(&messages).await.unwrap();
        // The same again is dropped.
        store.queue(&messages).await.unwrap();
    });
}

fn message(thread: u32, number: u32) -> Outgoing {
    let opening = Letter::thread("widget", u64::from(thread) + 1, "a run", "http://forge/1");
    Outgoing {
        id: format!("test-{thread}-{number}"),
        channel: Channel::Matrix,
        project: ProjectName::new("widget").unwrap(),
        issue: Some(IssueNumber(u64::from(thread) + 1)),
        run: Some(run_id(thread)),
        body: Body::Threaded { letter: Letter::text(&format!("thread {thread} news {number}")), opening },
        at: jiff::Timestamp::now(),
    }
}

pub(super) fn waiting(matrix: &MatrixWorld) -> u64 {
    state(matrix).waiting
}

fn state(matrix: &MatrixWorld) -> OutboxState {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&matrix.world.root.root().database(), "test").await.unwrap();
        store.outbox_state(Channel::Matrix).await.unwrap()
    })
}

/// Every message is there once, in the order of its thread, each thread with one first message.
pub(super) fn all_is_told_once(matrix: &MatrixWorld, threads: u32, each: u32) {
    let told = matrix.told();
    for thread in 0..threads {
        let opening = format!("widget #{}: ", thread + 1);
        let roots: Vec<_> = told.iter().filter(|event| body(event).starts_with(&opening)).collect();
        assert_eq!(roots.len(), 1, "thread {thread}");
        let root = roots[0]["event_id"].as_str();
        let news: Vec<&str> = told.iter().filter(|event| thread_of(event) == root).map(body).collect();
        let expected: Vec<String> = (0..each).map(|number| format!("thread {thread} news {number}")).collect();
        assert_eq!(news, expected);
    }
}

#[test]
fn a_bridge_that_is_killed_again_and_again_sends_everything_once_and_in_order() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    matrix.kill_bridge();
    queue(&matrix, 6, 20);
    let mut kills = 0;
    while waiting(&matrix) > 0 {
        let mut bridge = matrix.world.process(&["matrix", "run"]).stdout(Stdio::null()).spawn().unwrap();
        let before = waiting(&matrix);
        // Killed a little later each time, so that it dies at other steps; each life must get on, or be let live longer.
        let grace = 3 + kills % 5;
        until("it has sent some, or lived for a while", || {
            (waiting(&matrix) + grace <= before || waiting(&matrix) == 0).then_some(())
        });
        end(bridge.id(), "KILL");
        bridge.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 5, "{kills}");
    all_is_told_once(&matrix, 6, 20);
}

#[test]
fn a_homeserver_that_was_down_is_told_everything_afterwards_and_heard_from() {
    let Some(mut matrix) = MatrixWorld::new(false, "") else { return };
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    matrix.synapse.stop();
    let issue = matrix.world.issue("Ask in an outage", "Please.", &["backlog"]);
    matrix.poll();
    until("the run waits for a person", || {
        matrix.world.runs(false).iter().any(|run| run["stage"] == "escalated").then_some(())
    });
    until("messages wait", || (waiting(&matrix) >= 2).then_some(()));
    matrix.kill_bridge();
    matrix.synapse.start();
    matrix.poll();
    let asked = matrix.until_told("which port?");
    let root = matrix.thread(issue);
    assert_eq!(thread_of(&asked), Some(root.as_str()));
    // What is said while no bridge lives is heard by the next.
    matrix.kill_bridge();
    matrix.ann.reply(&matrix.room, &root, "use port 8080");
    matrix.poll();
    matrix.until_merged(issue);
    matrix.until_told("is merged");
    let of_run = matrix.told_in(&root);
    assert_eq!(of_run.iter().filter(|text| text.contains("claimed")).count(), 1, "{of_run:?}");
}

#[test]
fn a_bridge_that_lives_through_an_outage_tells_one_by_one_what_is_little_and_folds_what_is_much() {
    let Some(mut matrix) = MatrixWorld::new(false, "") else { return };
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    let bridge = matrix.bridge().unwrap();
    matrix.synapse.stop();
    queue(&matrix, 6, 10);
    queue(&matrix, 2, 30);
    matrix.poll();
    until("it was tried in vain", || (!state(&matrix).error.is_empty()).then_some(()));
    matrix.synapse.start();
    until("nothing waits", || (waiting(&matrix) == 0).then_some(()));
    assert_eq!(matrix.bridge(), Some(bridge), "it is the same bridge");
    for thread in 0..6 {
        let told = matrix.told_in(&matrix.thread(thread + 1));
        let one_by_one: Vec<String> = (0..10).map(|number| format!("thread {thread} news {number}")).collect();
        if thread >= 2 {
            assert_eq!(told, one_by_one);
            continue;
        }
        // What was tried before the rest came stands by itself.
        let folded = told.last().unwrap();
        assert!(told.len() < 20 && folded.contains("messages could not be sent"), "{told:?}");
        for number in 0..30 {
            let words = format!("thread {thread} news {number}");
            let said = |text: &str| text.lines().any(|line| line.trim_start_matches("- ") == words);
            assert_eq!(told.iter().filter(|text| said(text)).count(), 1, "{words}: {told:?}");
        }
    }
}

#[test]
fn many_messages_of_one_thread_that_could_not_be_sent_become_one() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    queue(&matrix, 1, 30);
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    let folded = matrix.until_told("30 messages could not be sent");
    assert!(body(&folded).contains("thread 0 news 0") && body(&folded).contains("thread 0 news 29"));
    until("nothing waits", || (waiting(&matrix) == 0).then_some(()));
    assert!(!matrix.told().iter().any(|event| body(event) == "thread 0 news 3"));
}
