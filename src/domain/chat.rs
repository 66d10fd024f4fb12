//! What people are told by a channel of the project and what they may say there: letters, the commands of a chat, and the
//! order in which an outbox is emptied. Deliberately absent: how any channel works.

pub mod letter;
pub mod order;
pub mod pace;

pub use letter::Letter;

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A way to people beside the log and the issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Matrix,
    Webhook,
    Command,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Matrix => "matrix",
            Channel::Webhook => "webhook",
            Channel::Command => "command",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no channel")]
pub struct UnknownChannel(String);

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        [Channel::Matrix, Channel::Webhook, Channel::Command]
            .into_iter()
            .find(|channel| channel.as_str() == text)
            .ok_or_else(|| UnknownChannel(text.to_owned()))
    }
}

/// How much of what the agent says goes into the run's thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    None,
    /// The first paragraph of its last message of each turn.
    Summary,
    /// Its last message of each turn.
    Full,
}
