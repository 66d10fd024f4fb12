//! What others write, from the homeserver's news: decrypted, in order, without gaps.

use super::{MatrixChat, failed};
use crate::ports::chat::{Batch, Chat, ChatError, ChatResult, Incoming, Written};
use async_trait::async_trait;
use jiff::Timestamp;
use matrix_sdk::{
    Room, RoomState,
    config::{SyncSettings, SyncToken},
    deserialized_responses::TimelineEvent,
    room::MessagesOptions,
    ruma::{EventId, RoomId, UInt, UserId, api::client::filter::FilterDefinition},
    store::{StateStoreDataKey, StateStoreDataValue},
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// Events of a room in one piece of news; older ones are fetched.
const TIMELINE: u32 = 100;
/// Pages of a gap that are fetched, of as many events each: a week of a busy room.
const GAP_PAGES: u32 = 50;

#[async_trait]
impl Chat for MatrixChat {
    fn user(&self) -> &str {
        &self.user
    }

    async fn events(&self, after: Option<&str>, wait: Duration) -> ChatResult<Batch> {
        self.know_rooms(after.is_some()).await?;
        let taken = self.taken_up_to().await?;
        let token = after.map_or(SyncToken::NoToken, |after| SyncToken::Specific(after.to_owned()));
        let settings = self.settings(wait).token(token);
        let answer = self.client.sync_once(settings).await.map_err(failed)?;
        let mut batch = Batch { next: answer.next_batch, incoming: Vec::new() };
        let Some(after) = after else { return Ok(batch) };
        // The SDK makes nothing of news that it has taken already, as it has when a life ended before they were written down.
        if batch.next != after && taken.as_ref() == Some(&batch.next) {
            for room in self.rooms.iter().filter_map(|id| self.client.get_room(id)) {
                for event in gap(&room, batch.next.clone(), after).await? {
                    batch.incoming.extend(self.incoming(&room, &event).await);
                }
            }
            return Ok(batch);
        }
        for (id, update) in answer.rooms.joined {
            let Some(room) = self.client.get_room(&id).filter(|_| self.rooms.contains(&id)) else { continue };
            let mut events = Vec::new();
            if let Some(before) = update.timeline.prev_batch.filter(|_| update.timeline.limited) {
                events = gap(&room, before, after).await?;
            }
            events.extend(update.timeline.events);
            for event in events {
                batch.incoming.extend(self.incoming(&room, &event).await);
            }
        }
        Ok(batch)
    }

    async fn read_again(&self, room: &str, event: &str) -> ChatResult<Option<Incoming>> {
        let room = self.room(room)?;
        let id = EventId::parse(event).map_err(super::unusable)?;
        let event = room.event(&id, None).await.map_err(failed)?;
        Ok(self.incoming(&room, &event).await.filter(|incoming| incoming.what != Written::Unreadable))
    }
}

impl MatrixChat {
    /// Makes sure that the rooms are joined and known. Invitations to others are left alone.
    async fn know_rooms(&self, has_position: bool) -> ChatResult<()> {
        for id in &self.rooms {
            let state = self.client.get_room(id).map(|room| room.state());
            match state {
                Some(RoomState::Joined) => {}
                // A position tells of changes only, and what they change is not known here yet.
                None if has_position => {
                    let settings = self.settings(Duration::ZERO).token(SyncToken::NoToken);
                    self.client.sync_once(settings).await.map_err(failed)?;
                    self.join(id).await;
                }
                _ => self.join(id).await,
            }
        }
        Ok(())
    }

    /// Returns the position up to which the SDK has taken the news.
    async fn taken_up_to(&self) -> ChatResult<Option<String>> {
        let value = self.client.state_store().get_kv_data(StateStoreDataKey::SyncToken).await;
        let value = value.map_err(|error| ChatError::Unavailable { message: format!("matrix: {error}") })?;
        Ok(value.and_then(StateStoreDataValue::into_sync_token))
    }

    async fn join(&self, id: &RoomId) {
        if self.client.get_room(id).is_some_and(|room| room.state() == RoomState::Joined) {
            return;
        }
        if let Err(error) = self.client.join_room_by_id(id).await {
            tracing::debug!(room = %id, %error, "the room cannot be entered now");
        }
    }

    fn settings(&self, wait: Duration) -> SyncSettings {
        let mut filter = FilterDefinition::default();
        filter.room.rooms = Some(self.rooms.clone());
        filter.room.timeline.limit = Some(UInt::from(TIMELINE));
        SyncSettings::new().timeout(wait).filter(filter.into())
    }

    async fn incoming(&self, room: &Room, event: &TimelineEvent) -> Option<Incoming> {
        let value: Value = serde_json::from_str(event.raw().json().get()).ok()?;
        let content = &value["content"];
        let sender = value["sender"].as_str()?.to_owned();
        let relation = &content["m.relates_to"];
        let thread = (relation["rel_type"] == "m.thread").then(|| relation["event_id"].as_str()).flatten();
        let what = if event.kind.is_utd() { Written::Unreadable } else { written(&value)? };
        let mentioned = content["m.mentions"]["user_ids"].as_array();
        let body = content["body"].as_str().unwrap_or_default();
        Some(Incoming {
            room: room.room_id().to_string(),
            event: value["event_id"].as_str()?.to_owned(),
            at: written_at(&value),
            sender_name: name(room, &sender).await,
            thread: thread.map(str::to_owned),
            answers: relation["m.in_reply_to"]["event_id"].as_str().map(str::to_owned),
            mentions_me: mentioned.is_some_and(|list| list.iter().any(|one| one == self.user.as_str()))
                || body.contains(&self.user),
            sender,
            what,
        })
    }
}

/// Returns when an event was written: milliseconds since 1970, in the spec's `origin_server_ts`.
fn written_at(value: &Value) -> Timestamp {
    let told = value["origin_server_ts"].as_i64().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    told.unwrap_or(Timestamp::MIN)
}

/// Returns the events between a position and what came since, oldest first.
async fn gap(room: &Room, before: String, after: &str) -> ChatResult<Vec<TimelineEvent>> {
    let mut events = Vec::new();
    let mut from = before;
    for _ in 0..GAP_PAGES {
        let mut options = MessagesOptions::backward().from(from.as_str());
        options.to = Some(after.to_owned());
        options.limit = UInt::from(TIMELINE);
        let page = room.messages(options).await.map_err(failed)?;
        let is_empty = page.chunk.is_empty();
        events.extend(page.chunk);
        match page.end.filter(|end| !is_empty && *end != from) {
            Some(end) => from = end,
            None => break,
        }
    }
    events.reverse();
    // The homeserver may tell an event on two pages.
    let mut seen = BTreeSet::new();
    events.retain(|event| event.event_id().is_none_or(|id| seen.insert(id)));
    Ok(events)
}

/// Returns what an event says, if it is one that says something.
fn written(value: &Value) -> Option<Written> {
    let content = &value["content"];
    match value["type"].as_str()? {
        "m.room.redaction" => {
            let of = value["redacts"].as_str().or_else(|| content["redacts"].as_str())?;
            Some(Written::Deletion { of: of.to_owned() })
        }
        "m.room.message" => {
            let relation = &content["m.relates_to"];
            if relation["rel_type"] == "m.replace" {
                let text = text_of(&content["m.new_content"])?;
                return Some(Written::Edit { of: relation["event_id"].as_str()?.to_owned(), text });
            }
            let text = text_of(content)?;
            let quotes = !relation["m.in_reply_to"].is_null() && relation["is_falling_back"] != true;
            Some(Written::Text(if quotes { without_quote(&text) } else { text }))
        }
        _ => None,
    }
}

/// Returns a message's words. Other programs' notices are none, so that two of them never talk with each other.
fn text_of(content: &Value) -> Option<String> {
    let body = content["body"].as_str()?;
    match content["msgtype"].as_str()? {
        "m.text" | "m.emote" => Some(body.to_owned()),
        "m.notice" => None,
        _ => Some(format!("(a file, which rig does not hand on: {body})")),
    }
}

/// Returns a reply without the words that it answers, which older clients put before it.
fn without_quote(text: &str) -> String {
    let rest: Vec<&str> = text.lines().skip_while(|line| line.starts_with("> ")).collect();
    if rest.len() == text.lines().count() { text.to_owned() } else { rest.join("\n").trim().to_owned() }
}

async fn name(room: &Room, user: &str) -> String {
    let Ok(id) = UserId::parse(user) else { return user.to_owned() };
    match room.get_member_no_sync(&id).await {
        Ok(Some(member)) => member.display_name().unwrap_or(user).to_owned(),
        _ => user.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(content: Value) -> Option<Written> {
        written(&json!({ "type": "m.room.message", "content": content }))
    }

    #[test]
    fn a_time_that_is_not_told_is_before_all_others() {
        let told = written_at(&json!({ "origin_server_ts": 1_790_000_000_123_i64 }));
        assert_eq!(told, Timestamp::from_millisecond(1_790_000_000_123).unwrap());
        for nothing in [json!({}), json!({ "origin_server_ts": "soon" }), json!({ "origin_server_ts": i64::MAX })] {
            assert!(written_at(&nothing) < told);
        }
    }

    #[test]
    fn words_edits_and_deletions_are_told_apart() {
        let text = |text: &str| Some(Written::Text(text.into()));
        assert_eq!(said(json!({ "msgtype": "m.text", "body": "> not a quote" })), text("> not a quote"));
        let reply = json!({ "m.in_reply_to": { "event_id": "$a" } });
        assert_eq!(
            said(json!({ "msgtype": "m.text", "body": "> <@a:b> x\n> y\n\nyes", "m.relates_to": reply })),
            text("yes")
        );
        assert_eq!(said(json!({ "msgtype": "m.notice", "body": "beep" })), None);
        assert!(
            matches!(said(json!({ "msgtype": "m.image", "body": "a.png" })), Some(Written::Text(text)) if text.contains("a.png"))
        );
        let edit = json!({ "msgtype": "m.text", "body": "* b", "m.new_content": { "msgtype": "m.text", "body": "b" },
                           "m.relates_to": { "rel_type": "m.replace", "event_id": "$a" } });
        assert_eq!(said(edit), Some(Written::Edit { of: "$a".into(), text: "b".into() }));
        for redaction in [
            json!({ "type": "m.room.redaction", "redacts": "$a", "content": {} }),
            json!({ "type": "m.room.redaction", "content": { "redacts": "$a" } }),
        ] {
            assert_eq!(written(&redaction), Some(Written::Deletion { of: "$a".into() }));
        }
        for nothing in [
            json!({}),
            json!({ "type": "m.room.message", "content": {} }),
            json!({ "type": "m.room.member", "content": {} }),
        ] {
            assert_eq!(written(&nothing), None);
        }
    }
}
