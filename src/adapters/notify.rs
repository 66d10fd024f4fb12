//! Ways to people that need no chat: a webhook and a command. Both get the news as one JSON document, and neither answers.

mod command;
mod webhook;

pub use command::NotifyCommand;
pub use webhook::Webhook;

use crate::ports::chat::{ChatError, ChatResult, Content};

/// Returns what programs are sent; a chat's messages are for chats.
fn news(content: &Content) -> ChatResult<&serde_json::Value> {
    match content {
        Content::News { news } => Ok(news),
        Content::Letter { .. } | Content::Confirmation { .. } => {
            Err(ChatError::Impossible { message: "only a chat takes letters".to_owned() })
        }
    }
}
