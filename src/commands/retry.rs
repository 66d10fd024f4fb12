//! `rig retry`: another try of an issue. A run that has ended is followed by a new one from the queue; one that is open and
//! waits for people begins another attempt.

use super::{
    CommandResult, Context, dev,
    handle::{Answer, Handle, this_person},
    load_failure, runtime, switch, wire,
};
use crate::{
    cli::RetryArgs,
    config,
    domain::{
        issue::OpenOrClosed,
        run::{Event, Stage},
    },
    engine::retry::{self, RetryError},
    output::{Exit, Failure},
};
use serde_json::json;

/// What came of asking for another try.
pub(super) struct Asked {
    pub(super) words: String,
    /// What else there is to know; empty when nothing.
    pub(super) note: String,
    json: serde_json::Value,
}

pub fn run(context: &Context, args: RetryArgs) -> CommandResult {
    runtime()?.block_on(async {
        let handle = Handle::find(context, args.issue, args.project.as_ref()).await?;
        let asked = ask(&handle, &this_person(), args.fresh, None).await?;
        context.printer.line(asked.words);
        if !asked.note.is_empty() {
            context.printer.talk(asked.note);
        }
        context.printer.json(&asked.json);
        Ok(Exit::Ok)
    })
}

/// Asks for another try of the issue of a run. `key` tells the wish from all others, so that a repeat is the same wish; without
/// one there is one wish for each state of the run.
pub(super) async fn ask(handle: &Handle, who: &str, fresh: bool, key: Option<&str>) -> Result<Asked, Failure> {
    if handle.run.open { another_attempt(handle, who, fresh, key).await } else { another_run(handle, who).await }
}

/// Gives the issue back to the queue, with all that earlier runs have used up forgiven.
async fn another_run(handle: &Handle, who: &str) -> Result<Asked, Failure> {
    let issue = handle.run.issue;
    let project = config::load_one(&handle.root, Some(&handle.run.project)).map_err(load_failure)?;
    let world = wire::world(&handle.root, project, handle.store.clone()).await?;
    let found = world.forge.issue(issue).await.map_err(dev::forge_failure)?;
    if found.state == OpenOrClosed::Closed {
        return Err(Failure::user(format!("issue {issue} is closed; its last run ended as {}", handle.run.stage))
            .hint("open it again on the forge if there is work left"));
    }
    retry::release(&world, issue, who).await.map_err(|error| match error {
        RetryError::Store(error) => wire::store_failure(&error),
        RetryError::Forge(error) => dev::forge_failure(error),
    })?;
    let on = switch::is_on(&handle.root)?;
    let (label, before) = (&world.project.labels.backlog, &handle.run.stage);
    Ok(Asked {
        words: format!(
            "issue {issue} (last run: {before}) is labelled {label} again; the next rig dev poll takes it in its turn"
        ),
        note: if on { String::new() } else { "the dev loop is off: rig dev start switches it on".to_owned() },
        json: json!({ "issue": issue, "retry": "queued", "last_stage": before, "switch": if on { "on" } else { "off" } }),
    })
}

/// Begins another attempt of the run that is open, where that makes sense.
async fn another_attempt(handle: &Handle, who: &str, fresh: bool, key: Option<&str>) -> Result<Asked, Failure> {
    let issue = handle.run.issue;
    let run = handle.folded().await?;
    let waits = matches!(run.stage, Stage::Escalated { .. });
    if !waits && !fresh {
        return Ok(Asked {
            words: format!("issue {issue} is in work: it waits for {} (attempt {})", handle.run.waits_for, run.attempt),
            note: format!("`rig retry {} --fresh` ends its session and begins a new attempt", issue.0),
            json: json!({ "issue": issue, "retry": "in_work", "stage": run.stage.name(), "attempt": run.attempt }),
        });
    }
    // One wish for each state of the run, so that a repeat after a lost answer is the same wish.
    let own = key.map_or_else(|| format!("retry-{}-{}", run.attempt, run.since.as_millisecond()), str::to_owned);
    let event = Event::RetryRequested { id: own.clone(), who: who.to_owned(), fresh };
    let (input, driver) = handle.ask(&own, &event).await?;
    let is_it = |event: &Event| matches!(event, Event::RetryRequested { id, .. } if *id == own);
    let next = run.attempt.next();
    let (state, words) = match handle.answer(input, is_it).await? {
        Answer::Taken => ("started", format!("attempt {next} begins")),
        Answer::Waits => {
            ("waiting", "its driver has not looked at it yet; it is kept, and taken by the next one".to_owned())
        }
        Answer::Refused => {
            return Err(Failure::user(format!(
                "the run of issue {issue} cannot begin another attempt now: it waits for {}",
                handle.run.waits_for
            ))
            .hint(format!("`rig status` shows it; `rig stop {}` gives the issue back", issue.0)));
        }
    };
    Ok(Asked {
        words: format!("issue {issue}: {words}"),
        note: String::new(),
        json: json!({ "issue": issue, "retry": state, "attempt": next, "driver": driver.as_str() }),
    })
}
