//! `[notify] command`: a shell command that gets each notice on its standard input. It has done its part when it exits with 0;
//! otherwise it is called again later, with the same id.

use super::news;
use crate::{
    adapters::process::Program,
    ports::chat::{ChatError, ChatResult, Content, Sender},
};
use async_trait::async_trait;
use std::time::Duration;

/// Bytes of its output that are kept for the log.
const OUTPUT: usize = 4 * 1024;
/// Variables of rig's own environment that the command gets; no token is among them.
const VARIABLES: [&str; 4] = ["HOME", "PATH", "LANG", "XDG_RUNTIME_DIR"];

#[derive(Debug)]
pub struct NotifyCommand {
    command: String,
    timeout: Duration,
}

impl NotifyCommand {
    pub fn new(command: &str, timeout: Duration) -> Self {
        Self { command: command.to_owned(), timeout }
    }
}

#[async_trait]
impl Sender for NotifyCommand {
    async fn send(&self, id: &str, content: &Content) -> ChatResult<String> {
        let mut document = news(content)?.to_string();
        document.push('\n');
        let mut program = Program::new("sh")
            .args(["-c", self.command.as_str()])
            .clear_env()
            .env("RIG_NOTICE_ID", id)
            .stdin(document)
            .timeout(self.timeout)
            .output_cap(OUTPUT);
        for name in VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                program = program.env(name, value);
            }
        }
        let unavailable = |message: String| ChatError::Unavailable { message: format!("[notify] command: {message}") };
        program.run_ok().await.map(|_| String::new()).map_err(|error| unavailable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn news() -> Content {
        Content::News { news: json!({ "text": "it's \"done\"; $(touch /tmp/no)" }) }
    }

    #[tokio::test]
    async fn the_command_gets_the_news_as_one_line_and_no_variables_of_rig() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let command = format!("cat > {0}; env >> {0}", out.display());
        NotifyCommand::new(&command, Duration::from_secs(10)).send("id-1", &news()).await.unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        let (first, environment) = text.split_once('\n').unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(first).unwrap()["text"],
            "it's \"done\"; $(touch /tmp/no)"
        );
        assert!(environment.contains("RIG_NOTICE_ID=id-1"));
        assert!(!environment.contains("CARGO"), "{environment}");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_tried_again_later() {
        for command in ["exit 3", "sleep 60", "no-such-program-at-all"] {
            let sent = NotifyCommand::new(command, Duration::from_millis(300)).send("id", &news()).await;
            assert!(matches!(sent, Err(ChatError::Unavailable { .. })), "{command}: {sent:?}");
        }
    }
}
