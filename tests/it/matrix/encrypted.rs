//! The same in an encrypted room, with a second real client.

use super::world::{GIVEN_AWAY, MatrixWorld, SAID};
use crate::{by_hand_support::until, synapse_support::Person};
use matrix_sdk::{
    Client,
    config::SyncSettings,
    ruma::{RoomId, api::client::filter::FilterDefinition},
};
use serde_json::{Value, json};
use std::{cell::RefCell, time::Duration};

/// A person with a client that encrypts.
struct Phone {
    runtime: tokio::runtime::Runtime,
    /// Taken only at the end: its stores need the runtime to be closed.
    client: Option<Client>,
    room: String,
    /// Every event of the room, decrypted; with whether it was encrypted.
    seen: RefCell<Vec<(Value, bool)>>,
    _store: tempfile::TempDir,
}

impl Phone {
    fn of(person: &Person, homeserver: &str, room: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = tempfile::tempdir().unwrap();
        let client = runtime.block_on(async {
            let client =
                Client::builder().homeserver_url(homeserver).sqlite_store(store.path(), None).build().await.unwrap();
            client.matrix_auth().login_username(&person.id, &person.password).send().await.unwrap();
            client.sync_once(SyncSettings::new().timeout(Duration::ZERO)).await.unwrap();
            client
        });
        Self { runtime, client: Some(client), room: room.to_owned(), seen: RefCell::default(), _store: store }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    fn sync(&self) {
        self.runtime.block_on(async {
            let mut filter = FilterDefinition::default();
            filter.room.timeline.limit = Some(500_u32.into());
            let settings = SyncSettings::new().timeout(Duration::from_millis(200)).filter(filter.into());
            let answer = self.client().sync_once(settings).await.unwrap();
            for (id, update) in answer.rooms.joined {
                if id.as_str() == self.room {
                    for event in update.timeline.events {
                        let value = serde_json::from_str(event.raw().json().get()).unwrap();
                        self.seen.borrow_mut().push((value, event.encryption_info().is_some()));
                    }
                }
            }
        });
    }

    fn until_told(&self, words: &str) -> Value {
        let found = || {
            self.sync();
            let seen = self.seen.borrow();
            let told = seen
                .iter()
                .find(|(event, _)| event["content"]["body"].as_str().is_some_and(|body| body.contains(words)));
            told.map(|(event, encrypted)| {
                assert!(encrypted, "in plain text: {event}");
                event.clone()
            })
        };
        until(&format!("the phone shows `{words}`"), found)
    }

    fn reply(&self, root: &str, text: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": text, "m.relates_to": {
            "rel_type": "m.thread", "event_id": root, "is_falling_back": false, "m.in_reply_to": { "event_id": root } } });
        self.runtime.block_on(async {
            let room = self.client().get_room(&RoomId::parse(&self.room).unwrap()).unwrap();
            room.send_raw("m.room.message", content).await.unwrap().response.event_id.to_string()
        })
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        drop(self.client.take());
    }
}

#[test]
fn an_encrypted_room_works_and_is_never_answered_in_plain_text() {
    let Some(mut matrix) = MatrixWorld::new(true, "stream = \"full\"") else { return };
    let phone = Phone::of(&matrix.ann, &matrix.synapse.url(), &matrix.room);
    matrix.world.rig(&["matrix", "send", "hello in secret"]).success();
    phone.until_told("hello in secret");
    let (code, lines) = matrix.world.json(&["matrix", "check"]);
    assert_eq!((code, &lines[0]["report"]["encryption"]), (0, &json!("m.megolm.v1.aes-sha2")), "{lines:?}");
    assert_eq!(lines[0]["report"]["device_keys_match"], true);

    let issue = matrix.world.issue("Ask in secret", "Please.", &["backlog"]);
    matrix.poll();
    let asked = phone.until_told("which port?");
    assert_eq!(asked["content"]["m.mentions"]["user_ids"], json!([matrix.ann.id]));
    let root = phone.until_told(&format!("widget #{issue}: "))["event_id"].as_str().unwrap().to_owned();
    assert_eq!(asked["content"]["m.relates_to"]["event_id"], root.as_str());

    // The keys survive the bridge and the homeserver.
    matrix.kill_bridge();
    matrix.synapse.stop();
    matrix.synapse.start();
    phone.reply(&root, "use port 8080");
    matrix.poll();
    phone.until_told("The session has your message");
    matrix.until_merged(issue);
    // All of what the agent said, but for the secret in it.
    let said = phone.until_told(SAID[1]);
    assert_eq!(said["content"]["m.relates_to"]["event_id"], root.as_str());
    assert!(said["content"]["body"].as_str().unwrap().contains(SAID[0]), "{said}");
    assert!(said["content"]["formatted_body"].as_str().unwrap().contains("I looked at &lt;config&gt; first"), "{said}");
    assert!(!said.to_string().contains(GIVEN_AWAY), "{said}");
    phone.until_told("is merged");
    let by_bot = |event: &Value| event["sender"] == matrix.bot.id.as_str() && event["state_key"].is_null();
    let events: Vec<Value> = matrix.ann.events(&matrix.room).into_iter().filter(by_bot).collect();
    assert!(events.len() > 5);
    for event in events {
        assert_eq!(event["type"], "m.room.encrypted", "{event}");
    }
}
