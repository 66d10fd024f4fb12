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
        run_files::{RunFiles, RunFilesResult},
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

/// Pause before it is asked again whether somebody still writes in the session.
const WRITER_LOOK: Duration = Duration::from_secs(1);
/// Somebody who is attached and has done nothing for this long holds up no message.
pub const WRITER_IDLE: Duration = Duration::from_secs(600);

/// The delivery under way in this process; what is not here is seen again from the hooks.
#[derive(Debug, Default)]
pub struct Delivery {
    current: Option<Current>,
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

/// Returns whether the agent is to be left alone: a person is asked, or its worktree is being moved.
fn is_left_alone(stage: &Stage) -> bool {
    matches!(stage, Stage::Escalated { .. } | Stage::Rebasing { .. })
}

impl Delivery {
    /// Decides what to do about the oldest pending message.
    pub fn next(&mut self, run: &Run, files: &dyn RunFiles, now: Duration, wall: Timestamp) -> Next {
        let deliverable = run.session == Session::Started && !run.stage.is_over() && !is_left_alone(&run.stage);
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
        // A person is at the terminal.
        let due = due.max(run.hands_off_until);
        if let Some(wait) = due.map(|due| due.duration_since(wall)).filter(|wait| wait.is_positive()) {
            return Next::Wait(wait.unsigned_abs());
        }
        let current = match &self.current {
            Some(current) if current.id == *id => current,
            _ => {
                let not_before = now + on_its_way(files.typed_at(id, run.attempt), wall);
                self.current.insert(Current { id: id.clone(), typings: 0, since: now, not_before })
            }
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

    /// Takes time that nobody watched out of what a message has waited.
    pub fn leave_out(&mut self, unwatched: Duration, now: Duration) {
        if let Some(current) = &mut self.current {
            current.since = (current.since + unwatched).min(now);
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
            // However long a person takes, the session is not to blame.
            Typed::PersonWrites => (current.since, current.not_before) = (now, now + WRITER_LOOK),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Submitted,
    /// No empty input line: somebody types, a dialog, or the program is not ready.
    NotNow,
    /// A person is attached and writes.
    PersonWrites,
}

/// Returns whether a person writes in the run's session just now, so that messages have to wait.
pub async fn person_writes(world: &World, run: &Run) -> Result<bool, SessionError> {
    Ok(world.sessions.writer_idle(&name_of(run)).await?.is_some_and(|idle| idle < WRITER_IDLE))
}

/// Returns for how long a line that was typed at a time, by whichever driver, may still be taken by the agent.
fn on_its_way(typed_at: Option<Timestamp>, wall: Timestamp) -> Duration {
    // A clock that went back says nothing of the age.
    let age = |at| Duration::try_from(wall.duration_since(at)).unwrap_or_default();
    typed_at.map_or(Duration::ZERO, |at| ACKNOWLEDGE.saturating_sub(age(at)))
}

/// Looks at the screen and types the line if its input line is exactly empty. `note` writes down that it is typed, right before:
/// the next driver, if this one dies now, then waits for the agent's word before it types the line again.
pub async fn type_line(
    world: &World,
    run: &Run,
    line: &str,
    note: impl FnOnce() -> RunFilesResult<()>,
) -> Result<Typed, SessionError> {
    let name = name_of(run);
    if person_writes(world, run).await? {
        return Ok(Typed::PersonWrites);
    }
    let screen = world.sessions.screen(&name, 0).await?;
    if world.sessions.prompt_line(&screen) != PromptLine::Empty {
        return Ok(Typed::NotNow);
    }
    if let Err(error) = note() {
        tracing::error!(%error, "it cannot be written down that a line is typed");
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
