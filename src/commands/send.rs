//! `rig send`: queues a message for an issue's session, in the same way as any other: in order, once, acknowledged.

use super::{
    CommandResult, Context,
    handle::{Answer, Handle, ended, this_person},
    runtime, wire,
};
use crate::{
    cli::SendArgs,
    domain::run::{Event, Session, Stage},
    engine::deliver::WRITER_IDLE,
    output::{Exit, Failure},
    ports::session::Sessions,
};
use serde_json::json;
use std::io::Read;

/// Largest message: the agent reads it from a file in one go.
const MESSAGE_BYTES: usize = 64 * 1024;
/// Longest key.
const KEY_CHARS: usize = 200;

pub fn run(context: &Context, args: SendArgs) -> CommandResult {
    let text = message(&args.text)?;
    if args.key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > KEY_CHARS) {
        return Err(Failure::new(Exit::Usage, format!("--key takes 1 to {KEY_CHARS} characters")));
    }
    runtime()?.block_on(send(context, args, text))
}

async fn send(context: &Context, args: SendArgs, text: String) -> CommandResult {
    let handle = Handle::find(context, args.issue, args.project.as_ref()).await?;
    let issue = handle.run.issue;
    if !handle.run.open {
        return Err(ended(&handle.run, "has ended: nobody would read the message"));
    }
    let before = handle.folded().await?;
    if before.stage.is_over() {
        return Err(ended(&handle.run, "is ending: nobody would read the message"));
    }
    let own = format!("send-{}", args.key.clone().unwrap_or_else(|| ulid::Ulid::new().to_string()));
    let (input, driver) = handle.ask(&own, &Event::HumanReplied { id: own.clone(), who: this_person(), text }).await?;
    let is_it = |event: &Event| matches!(event, Event::HumanReplied { id, .. } if *id == own);
    let (state, words) = match handle.answer(input, is_it).await? {
        Answer::Refused => {
            return Err(Failure::user(format!("the run of issue {issue} did not take the message: it is ending"))
                .hint(format!("`rig logs {}` shows how", issue.0)));
        }
        Answer::Waits => {
            ("waiting", "its driver has not looked at it yet; it is kept, and taken by the next one".to_owned())
        }
        Answer::Taken => ("queued", what_comes(&handle, &before.stage, before.session).await),
    };
    context.printer.line(format!("the message for issue {issue} is {state}: {words}"));
    context
        .printer
        .json(&json!({ "issue": issue, "id": own, "state": state, "driver": driver.as_str(), "words": words }));
    Ok(Exit::Ok)
}

/// Says what happens with a message in the situation that it came to.
async fn what_comes(handle: &Handle, stage: &Stage, session: Session) -> String {
    if session == Session::Started && writer(handle).await {
        return "somebody writes in the session; the agent gets it when they detach or are idle for ten minutes".into();
    }
    match (stage, session) {
        (Stage::Escalated { .. }, Session::Absent) => {
            "it is the answer that was waited for; a session is started for it".into()
        }
        (Stage::Escalated { .. }, _) => "it is the answer that was waited for; the agent gets it next".into(),
        (Stage::Merging { .. }, _) => {
            "the pull request is being merged; the agent gets it only if that is refused".into()
        }
        (Stage::Claiming | Stage::Surveying, _) | (_, Session::Starting) => {
            "the agent gets it with its first prompt or right after".into()
        }
        (_, Session::Absent) => "the session had ended; it is started again with the message".into(),
        (_, Session::Started) => "the agent gets it as soon as it is idle".into(),
    }
}

async fn writer(handle: &Handle) -> bool {
    let idle = wire::any_sessions(&handle.root).writer_idle(&handle.session()).await;
    idle.ok().flatten().is_some_and(|idle| idle < WRITER_IDLE)
}

/// Returns the text that was given, from standard input for `-`, without what no agent could read: control characters, and
/// bytes that are no text.
fn message(given: &str) -> Result<String, Failure> {
    let text = if given == "-" { standard_input()? } else { given.to_owned() };
    if text.len() > MESSAGE_BYTES {
        let (size, limit) = (text.len() / 1024, MESSAGE_BYTES / 1024);
        return Err(Failure::user(format!("the message has {size} KiB or more; {limit} KiB is the most"))
            .hint("put the text where the agent can read it, and send its place"));
    }
    let clean: String =
        text.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    match clean.trim() {
        "" => Err(Failure::new(Exit::Usage, "the message is empty")
            .hint("rig send 123 \"use port 8080\", or `-` for standard input")),
        clean => Ok(clean.to_owned()),
    }
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::user(format!("standard input cannot be read: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_agent() {
        assert_eq!(message("a\x1b[201~\r\n\tb\0\x07").unwrap(), "a[201~\n\tb");
        for empty in ["", "  \n", "\x1b\0"] {
            assert_eq!(message(empty).unwrap_err().exit, Exit::Usage, "{empty:?}");
        }
    }

    #[test]
    fn a_message_has_a_limit() {
        assert!(message(&"x".repeat(MESSAGE_BYTES)).is_ok());
        assert!(message(&"x".repeat(MESSAGE_BYTES + 1)).unwrap_err().message.contains("64 KiB"));
    }
}
