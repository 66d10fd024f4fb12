//! Brings messages to the agent: in order, one at a time, once. Pastes one short line that names the inbox file, only when
//! the agent is idle and its input line is empty; the agent's own hook acknowledges it.

use super::{World, session::name_of};
use crate::{
    domain::{
        ids::EffectId,
        prompts,
        run::{Effect, Run, Session, Stage},
    },
    ports::{
        run_files::RunFiles,
        session::{PromptLine, SessionError},
    },
};
use jiff::Timestamp;
use std::time::Duration;

/// Time in which the agent's hook must acknowledge a typed line.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// Pause before the screen is looked at again when no line could be typed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Times that a line is typed without an answer before it counts as a failed delivery.
const TYPINGS: u32 = 4;
/// Time in which no line could be typed, although the agent was idle by its hooks, before that counts as failed too.
const UNTYPABLE: Duration = Duration::from_secs(180);
/// Time after a driver's start in which a line that an earlier driver typed may still be acknowledged.
const SETTLE: Duration = Duration::from_millis(1_500);

/// The delivery under way in this process; what is not here is seen again from the hooks.
#[derive(Debug)]
pub struct Delivery {
    current: Option<Current>,
    /// Nothing is typed before this: an earlier driver may have typed just now.
    settled_at: Duration,
}

#[derive(Debug)]
struct Current {
    id: EffectId,
    typings: u32,
    /// Since when the message has waited for an input line.
    since: Duration,
    /// It is not typed before this: the agent may still take it, or its input line come free.
    not_before: Duration,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Type this line for this message.
    Type { id: EffectId, line: String },
    /// Look again after this long at the latest.
    Wait(Duration),
    /// Nothing is to be delivered.
    Nothing,
    /// The message cannot be brought to the agent.
    GiveUp(String),
}

impl Delivery {
    /// Returns the state of a driver that begins at a monotonic time, with a session that an earlier one started or not.
    pub fn begin(now: Duration, session_is_older: bool) -> Self {
        Self { current: None, settled_at: if session_is_older { now + SETTLE } else { now } }
    }

    /// Decides what to do about the oldest pending message.
    pub fn next(&mut self, run: &Run, files: &dyn RunFiles, now: Duration, wall: Timestamp) -> Next {
        let deliverable =
            run.session == Session::Started && !run.stage.is_over() && !matches!(run.stage, Stage::Escalated { .. });
        let Some((id, text, due)) = run.pending.iter().find_map(|(id, effect)| match effect {
            Effect::Deliver { message, not_before } => Some((id, &message.text, *not_before)),
            _ => None,
        }) else {
            self.current = None;
            return Next::Nothing;
        };
        if !deliverable || run.busy {
            self.current = None;
            return Next::Nothing;
        }
        if let Some(wait) = due.map(|due| due.duration_since(wall)).filter(|wait| wait.is_positive()) {
            return Next::Wait(wait.unsigned_abs());
        }
        let current = match &self.current {
            Some(current) if current.id == *id => current,
            _ => self.current.insert(Current { id: id.clone(), typings: 0, since: now, not_before: self.settled_at }),
        };
        if now < current.not_before {
            return Next::Wait(current.not_before - now);
        }
        if current.typings >= TYPINGS {
            return Next::GiveUp(format!("it was typed {TYPINGS} times and never taken"));
        }
        if now.saturating_sub(current.since) > UNTYPABLE {
            return Next::GiveUp("the session shows no empty input line".into());
        }
        match files.put_message(id, text) {
            Ok(path) => Next::Type { id: id.clone(), line: prompts::typed_line(&path.display().to_string()) },
            Err(error) => {
                tracing::error!(%error, "a message cannot be put into the inbox");
                Next::Wait(ACKNOWLEDGE)
            }
        }
    }

    /// Takes note of what typing came to.
    pub fn typed(&mut self, id: &EffectId, outcome: Typed, now: Duration) {
        let Some(current) = self.current.as_mut().filter(|current| current.id == *id) else { return };
        match outcome {
            Typed::Submitted => {
                current.typings += 1;
                current.since = now;
                current.not_before = now + ACKNOWLEDGE;
            }
            Typed::NotNow => current.not_before = now + LOOK_AGAIN,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Submitted,
    /// No empty input line: somebody types, a dialog, or the program is not ready.
    NotNow,
}

/// Looks at the screen and types the line if its input line is exactly empty.
pub async fn type_line(world: &World, run: &Run, line: &str) -> Result<Typed, SessionError> {
    let name = name_of(run);
    let screen = world.sessions.screen(&name, 0).await?;
    if world.sessions.prompt_line(&screen) != PromptLine::Empty {
        return Ok(Typed::NotNow);
    }
    world.sessions.type_line(&name, line).await?;
    Ok(Typed::Submitted)
}

/// Returns which pending message a prompt that the agent took is, if any: it must be exactly the line that was typed.
pub fn acknowledged(run: &Run, inbox: &std::path::Path, prompt: &str) -> Option<EffectId> {
    run.messages()
        .find(|(id, _)| prompts::typed_line(&inbox.join(format!("{id}.md")).display().to_string()) == prompt.trim())
        .map(|(id, _)| id.clone())
}
