//! Messages on their way out. The transaction id is the message's own: the homeserver shows a repeat once, and answers with
//! the event that it made of the first. In an encrypted room everything that says something is encrypted by the SDK, which
//! looks the room's encryption up when it does not know it.

use super::{MatrixChat, failed};
use crate::{
    domain::chat::Letter,
    ports::chat::{ChatError, ChatResult, Content, Place, Sender},
};
use async_trait::async_trait;
use matrix_sdk::{
    Room,
    ruma::{RoomId, TransactionId},
};
use serde_json::{Value, json};

/// What a message that has reached the session is marked with.
const ARRIVED: &str = "✅";
/// The same in words, where a mark would tell everybody on the way that somebody said something.
const ARRIVED_WORDS: &str = "The session has your message.";

#[async_trait]
impl Sender for MatrixChat {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        match content {
            Content::Letter { letter, place } => {
                let room = self.room(&place.room)?;
                self.post(&room, id, "m.room.message", message(letter, place, None)).await
            }
            Content::Confirmation { of, place } => {
                let room = self.room(&place.room)?;
                // Reactions are never encrypted, so an encrypted room gets words.
                if room.latest_encryption_state().await.map_err(failed)?.is_encrypted() {
                    let words = message(&Letter::text(ARRIVED_WORDS), place, Some(of));
                    return self.post(&room, id, "m.room.message", words).await;
                }
                let relation = json!({ "rel_type": "m.annotation", "event_id": of, "key": ARRIVED });
                match self.post(&room, id, "m.reaction", json!({ "m.relates_to": relation })).await {
                    // It has the mark already.
                    Err(ChatError::Unavailable { message }) if message.contains("M_DUPLICATE_ANNOTATION") => {
                        Ok(String::new())
                    }
                    result => result,
                }
            }
            Content::News { .. } => Err(ChatError::Impossible { message: "a chat takes letters only".into() }),
        }
    }
}

impl MatrixChat {
    pub(super) fn room(&self, id: &str) -> ChatResult<Room> {
        let parsed = RoomId::parse(id).map_err(super::unusable)?;
        self.client.get_room(&parsed).filter(|room| room.state() == matrix_sdk::RoomState::Joined).ok_or_else(|| {
            ChatError::Refused {
                message: format!("{} is not in the room {id}", self.user),
                hint: "invite the account into the room; rig accepts the invitation by itself".into(),
            }
        })
    }

    async fn post(&self, room: &Room, id: &str, kind: &str, content: Value) -> ChatResult<String> {
        let in_thread = content["m.relates_to"]["rel_type"] == "m.thread";
        let transaction: &TransactionId = id.into();
        match room.send_raw(kind, content).with_transaction_id(transaction).await {
            Ok(sent) => Ok(sent.response.event_id.to_string()),
            Err(error) => Err(match failed(error) {
                // What Synapse says of a relation to an event that it does not have, or that cannot begin a thread.
                ChatError::Unavailable { message } if in_thread && is_about_thread(&message) => ChatError::ThreadGone,
                error => error,
            }),
        }
    }
}

fn is_about_thread(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("m_unknown")
        && (message.contains("relation") || message.contains("thread") || message.contains("unknown event"))
}

/// Returns a message's content. `answers`: the message of the thread that it is a reply to.
fn message(letter: &Letter, place: &Place, answers: Option<&str>) -> Value {
    let mut content = json!({
        // Not `m.notice`: by their default rules clients notify nobody of one, mentioned or not.
        "msgtype": "m.text",
        "body": letter.plain,
        "format": "org.matrix.custom.html",
        "formatted_body": letter.html,
        "m.mentions": if letter.mentions.is_empty() { json!({}) } else { json!({ "user_ids": letter.mentions }) },
    });
    if let Some(root) = &place.thread {
        content["m.relates_to"] = json!({
            "rel_type": "m.thread",
            "event_id": root,
            "is_falling_back": answers.is_none(),
            "m.in_reply_to": { "event_id": answers.unwrap_or(root) },
        });
    }
    content
}
