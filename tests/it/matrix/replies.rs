//! A reply that the agent has not taken yet is still its writer's: to change, and to take back.

use super::world::MatrixWorld;
use crate::by_hand_support::until;
use rig::{adapters::store::sqlite::SqliteStore, ports::store::Store};
use serde_json::json;

/// Returns how many events of a kind the journal has.
fn journaled(matrix: &MatrixWorld, kind: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&matrix.world.root.root().database(), "test").await.unwrap();
        store.events_of_kind(kind, None).await.unwrap().len()
    })
}

/// Says that an earlier message reads otherwise now.
fn edit(matrix: &MatrixWorld, of: &str, text: &str) {
    let new = json!({ "msgtype": "m.text", "body": text });
    let relation = json!({ "rel_type": "m.replace", "event_id": of });
    let content =
        json!({ "msgtype": "m.text", "body": format!("* {text}"), "m.new_content": new, "m.relates_to": relation });
    matrix.ann.send(&matrix.room, "m.room.message", &content);
}

#[test]
fn a_reply_is_changed_or_taken_back_until_the_agent_has_it() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let issue = matrix.world.issue("Busy for a while", "Please.", &["backlog"]);
    matrix.poll();
    let root = matrix.thread(issue);
    until("the agent works", || matrix.world.runs(false).iter().any(|run| run["stage"] == "working").then_some(()));
    let changed = matrix.ann.reply(&matrix.room, &root, "use port 1111");
    let withdrawn = matrix.ann.reply(&matrix.room, &root, "use port 2222");
    until("both have reached the run", || (journaled(&matrix, "HumanReplied") == 2).then_some(()));
    edit(&matrix, &changed, "use port 8080");
    matrix.ann.redact(&matrix.room, &withdrawn);
    until("the run knows of both", || {
        (journaled(&matrix, "ReplyChanged") == 1 && journaled(&matrix, "ReplyWithdrawn") == 1).then_some(())
    });
    std::fs::write(matrix.world.root.path().join("go"), "").unwrap();
    matrix.until_confirmed(&changed);

    // From now on it is the agent's.
    edit(&matrix, &changed, "use port 3333");
    matrix.until_merged(issue);
    matrix.until_told("is merged");
    let inbox = matrix.inbox(issue);
    assert_eq!(inbox.iter().filter(|text| text.contains("use port 8080")).count(), 1, "{inbox:?}");
    for never in ["1111", "2222", "3333"] {
        assert!(!inbox.iter().any(|text| text.contains(never)), "{never}: {inbox:?}");
    }
    assert_eq!(matrix.confirmations(&withdrawn), 0);
}
