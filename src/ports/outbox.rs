//! The outbox port: what waits to be sent by a channel, the threads of runs, and how far a chat was read. Kept in the store, so
//! that messages are queued in one transaction with what they tell, and replies are taken in one with the position.

use super::store::StoreResult;
use crate::domain::{
    chat::{Channel, Letter},
    ids::{IssueNumber, ProjectName, RunId},
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A message before it is queued.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Unique for its channel; a repeat is dropped.
    pub id: String,
    pub channel: Channel,
    pub project: ProjectName,
    pub issue: Option<IssueNumber>,
    /// Whose thread it belongs to.
    pub run: Option<RunId>,
    pub body: Body,
    pub at: Timestamp,
}

/// What is sent, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Body {
    /// Goes into the run's thread, which begins with `opening`.
    Threaded { letter: Letter, opening: Letter },
    /// Goes where somebody wrote.
    Answer { letter: Letter, room: String, thread: Option<String> },
    /// Tells who wrote a message in the run's thread that the session has it.
    Confirmation { of: String },
    /// For programs.
    News { news: serde_json::Value },
}

impl Body {
    /// Returns what is sent in place of a message that asked people for something and need not any more; `None` for one that
    /// asked nobody.
    pub fn settled(&self) -> Option<Self> {
        Some(match self {
            Self::Threaded { letter, opening } => {
                Self::Threaded { letter: letter.settled()?, opening: opening.clone() }
            }
            Self::News { news } if news["urgent"] == true => {
                let mut news = news.clone();
                news["urgent"] = false.into();
                news["settled"] = true.into();
                Self::News { news }
            }
            Self::Answer { .. } | Self::Confirmation { .. } | Self::News { .. } => return None,
        })
    }
}

impl Outgoing {
    /// Returns what is sent in order: the thread of a run, a room, or all of a project's news.
    pub fn lane(&self) -> String {
        match (&self.run, &self.body) {
            (_, Body::News { .. }) => format!("project:{}", self.project),
            (Some(run), _) => format!("run:{run}"),
            (None, Body::Answer { room, .. }) => format!("room:{room}"),
            (None, Body::Threaded { .. } | Body::Confirmation { .. }) => format!("project:{}", self.project),
        }
    }
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub position: i64,
    pub lane: String,
    pub attempts: u32,
    pub message: Outgoing,
}

/// The thread of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub run: RunId,
    /// From 0; a thread that was lost has a successor.
    pub generation: u32,
    pub room: String,
    pub root: String,
    /// It was deleted.
    pub gone: bool,
}

/// A reply, or what becomes of one, for a run's driver.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInput {
    pub run: RunId,
    pub key: String,
    pub kind: String,
    pub body: serde_json::Value,
    /// Told instead when the run has ended meanwhile.
    pub otherwise: Option<Outgoing>,
}

/// What reading a chat came to, written all or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    pub account: String,
    /// Where to go on reading; unchanged when empty.
    pub next: String,
    pub inputs: Vec<NewInput>,
    pub answers: Vec<Outgoing>,
    /// Room and first message of threads that were deleted.
    pub lost_threads: Vec<(String, String)>,
    /// Room and event of messages that could not be decrypted.
    pub unreadable: Vec<(String, String)>,
    /// Events that need not be read again.
    pub settled: Vec<String>,
}

/// How an outbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OutboxState {
    pub waiting: u64,
    /// What went wrong with the oldest message that waits; empty when nothing did.
    pub error: String,
}

/// What has become of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageState {
    /// It was sent, or left out for good.
    pub is_sent: bool,
    /// Where it can be found.
    pub event: String,
    /// What went wrong with the last try.
    pub error: String,
}

#[async_trait]
pub trait Outbox: Send + Sync {
    /// Queues messages; one whose id is known is dropped.
    async fn queue(&self, messages: &[Outgoing]) -> StoreResult<()>;
    /// Returns messages of a channel that may be sent now, in order; lanes whose first message waits for a later time are left
    /// out, and so are the projects other than `project` when one is named.
    async fn due(
        &self,
        channel: Channel,
        project: Option<&ProjectName>,
        now: Timestamp,
        limit: u32,
    ) -> StoreResult<Vec<Waiting>>;
    /// Returns the untried messages of lanes in which more than `most` wait, in order.
    async fn crowded(&self, channel: Channel, most: u32) -> StoreResult<Vec<Waiting>>;
    /// Returns when the next message is due that may not be sent yet.
    async fn next_due(&self, channel: Channel) -> StoreResult<Option<Timestamp>>;
    async fn outbox_state(&self, channel: Channel) -> StoreResult<OutboxState>;
    async fn message_state(&self, channel: Channel, id: &str) -> StoreResult<Option<MessageState>>;
    async fn mark_sent(&self, position: i64, event: &str) -> StoreResult<()>;
    /// Counts a failed try and puts the lane off.
    async fn put_off(&self, position: i64, until: Timestamp, error: &str) -> StoreResult<()>;
    /// Leaves a message out for good.
    async fn give_up(&self, position: i64, error: &str) -> StoreResult<()>;
    /// Puts one message in place of many of its lane.
    async fn fold(&self, positions: &[i64], into: &Outgoing) -> StoreResult<()>;

    /// Returns the newest thread of a run, gone or not.
    async fn thread(&self, run: &RunId) -> StoreResult<Option<Thread>>;
    async fn set_thread(&self, thread: &Thread) -> StoreResult<()>;
    /// Returns whose thread begins with this message, or whose message this is.
    async fn run_of(&self, room: &str, event: &str) -> StoreResult<Option<RunId>>;

    /// Returns the input that a person's message became, and whose it is.
    async fn input_of(&self, event: &str) -> StoreResult<Option<(RunId, serde_json::Value)>>;

    async fn chat_position(&self, account: &str) -> StoreResult<Option<String>>;
    async fn take_reading(&self, reading: &Reading, at: Timestamp) -> StoreResult<()>;
    /// Returns room, event and time of what could not be decrypted yet.
    async fn unreadable(&self, account: &str) -> StoreResult<Vec<(String, String, Timestamp)>>;
}
