//! The chat port: what sends a message to people by a channel, and what also hears them. Matrix, a webhook and a command are
//! alternatives behind `Sender`; only a chat room answers.

use crate::domain::chat::Letter;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The other side wants fewer messages.
    #[error("the other side wants a pause")]
    Limited { retry_after: Option<Duration> },
    /// It is down, slow, or did not understand; the same may succeed later.
    #[error("{message}")]
    Unavailable { message: String },
    /// The thread's first message is not there any more.
    #[error("the thread is gone")]
    ThreadGone,
    /// This account or its device is not accepted any more; nothing can be sent until somebody acts.
    #[error("{message}")]
    Account { message: String, hint: String },
    /// The room does not take messages of this account; somebody has to change that.
    #[error("{message}")]
    Refused { message: String, hint: String },
    /// This message will never be taken.
    #[error("{message}")]
    Impossible { message: String },
}

impl ChatError {
    /// Returns what a person can do about it; empty when nothing.
    pub fn hint(&self) -> &str {
        match self {
            Self::Account { hint, .. } | Self::Refused { hint, .. } => hint,
            Self::Limited { .. } | Self::Unavailable { .. } | Self::ThreadGone | Self::Impossible { .. } => "",
        }
    }

    /// Returns the pause that the other side asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after } => *retry_after,
            _ => None,
        }
    }
}

pub type ChatResult<T> = Result<T, ChatError>;

/// Where in a chat something is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub room: String,
    /// First message of the thread.
    pub thread: Option<String>,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Letter {
        letter: Letter,
        place: Place,
    },
    /// Tells who wrote a message that it has arrived.
    Confirmation {
        of: String,
        place: Place,
    },
    /// For programs.
    News {
        news: serde_json::Value,
    },
}

#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends. The same id twice is shown once. Returns where it can be found; empty when the channel does not say.
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String>;
}

/// How an account stands in a room.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RoomReport {
    pub user: String,
    pub device: String,
    /// The homeserver knows the keys of the device; `None` when it should have none.
    pub device_keys_match: Option<bool>,
    pub room: String,
    pub joined: bool,
    pub members: Vec<String>,
    /// Algorithm; `None` for a room without encryption.
    pub encryption: Option<String>,
    pub power: i64,
    pub power_to_send: i64,
}

/// Something that was written in a room, or done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    pub room: String,
    pub event: String,
    /// When it was written, by the server of its sender; the beginning of time when that is not told.
    pub at: Timestamp,
    pub sender: String,
    /// Name that the sender goes by in the room.
    pub sender_name: String,
    /// First message of the thread that it stands in.
    pub thread: Option<String>,
    /// Message that it answers.
    pub answers: Option<String>,
    /// It mentions this account.
    pub mentions_me: bool,
    pub what: Written,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Text(String),
    /// An earlier message reads so now.
    Edit {
        of: String,
        text: String,
    },
    Deletion {
        of: String,
    },
    /// It cannot be decrypted, yet or ever.
    Unreadable,
}

/// What came since a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub next: String,
    pub incoming: Vec<Incoming>,
}

#[async_trait]
pub trait Chat: Sender {
    /// Returns who this is, as rooms show it.
    fn user(&self) -> &str;
    /// Waits for what is new since a position, up to `wait`. Without a position only the present one is returned: what was
    /// written before rig came is not for it.
    async fn events(&self, after: Option<&str>, wait: Duration) -> ChatResult<Batch>;
    /// Reads a message again: one that could not be decrypted, or one of this account's own. `None` when it cannot be decrypted.
    async fn read_again(&self, room: &str, event: &str) -> ChatResult<Option<Incoming>>;
}
