//! `rig stop`: ends the work on an issue and gives it back. The run's driver does it; this only asks, and waits a while.

use super::{
    CommandResult, Context,
    handle::{Answer, Handle, this_person},
    runtime,
};
use crate::{
    cli::StopArgs,
    domain::run::Event,
    output::{Exit, Failure},
};
use serde_json::json;

/// Most characters of a reason: it goes into a notice.
const REASON_CHARS: usize = 1_000;
/// One wish to stop is enough for a run.
const KEY: &str = "stop";

pub fn run(context: &Context, args: StopArgs) -> CommandResult {
    if args.reason.chars().count() > REASON_CHARS {
        return Err(Failure::new(Exit::Usage, format!("the reason is longer than {REASON_CHARS} characters")));
    }
    runtime()?.block_on(stop(context, args))
}

async fn stop(context: &Context, args: StopArgs) -> CommandResult {
    let printer = context.printer;
    let mut handle = Handle::find(context, args.issue, args.project.as_ref()).await?;
    let (issue, number) = (handle.run.issue, handle.run.issue.0);
    let document = |stopped: bool, changed: bool, stage: &str, driver: Option<&str>| json!({ "issue": issue, "stopped": stopped, "changed": changed, "stage": stage, "driver": driver });
    if !handle.run.open {
        printer.line(format!("issue {issue} is not worked on: its run has ended ({})", handle.run.stage));
        printer.json(&document(true, false, &handle.run.stage, None));
        return Ok(Exit::Ok);
    }
    let reason =
        args.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned();
    let (input, driver) = handle.ask(KEY, &Event::StopRequested { who: this_person(), reason }).await?;
    let answer = handle.answer(input, |event| matches!(event, Event::StopRequested { .. } | Event::RunEnded)).await?;
    if matches!(answer, Answer::Refused) {
        handle.refresh().await?;
        let stage = &handle.run.stage;
        printer.line(format!("issue {issue} ends already ({stage}); `rig logs {number}` shows how"));
        printer.json(&document(!handle.run.open, false, stage, Some(driver.as_str())));
        return Ok(Exit::Ok);
    }
    let ended = match answer {
        Answer::Taken => handle.wait_for_end().await?,
        Answer::Refused | Answer::Waits => false,
    };
    let stage = &handle.run.stage;
    printer.line(match ended {
        true => format!("issue {issue} is stopped ({stage}): its session has ended, and it is given back to the queue"),
        false => format!(
            "issue {issue} is being stopped; its driver (which {}) goes on with it: see `rig logs {number} --follow`",
            driver.as_str()
        ),
    });
    if ended && stage == "given_back" {
        printer.talk(format!(
            "the queue takes it again in its turn, at the soonest in an hour (at once when it has a pull request, or with \
             `rig retry {number}`); take the label away, or close the issue, to keep it out"
        ));
    }
    printer.json(&document(ended, true, stage, Some(driver.as_str())));
    Ok(Exit::Ok)
}
