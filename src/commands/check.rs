//! `rig dev check`: the CI of this machine for pull requests that no run leads. A tick starts it as a process of its own.

use super::{
    CommandResult, Context,
    dev::{asked_to_stop, forge_failure},
    load_failure, runtime, switch, wire,
};
use crate::{
    cli::CheckArgs,
    config,
    domain::ci::CiVerdict,
    engine::checks::{self, CheckError},
    output::{Exit, Failure, Printer},
    ports::{forge::ForgeError, lock::LockError, store::CheckRow},
};
use serde_json::json;

pub fn run(context: &Context, args: &CheckArgs) -> CommandResult {
    let root = context.root()?;
    let printer = context.printer;
    if args.number.is_none() && !switch::is_on(&root)? {
        printer.talk("nothing is checked: the dev loop is off; rig dev start switches it on");
        printer.json(&json!({ "switch": "off" }));
        return Ok(Exit::Ok);
    }
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    root.ensure_state().map_err(super::root_failure)?;
    wire::log(&root, std::slice::from_ref(&project))?;
    let (name, repository) = (project.name.clone(), project.repository.clone());
    let found = runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let world = wire::world(&root, project, store).await?;
        let checking = async {
            match args.number {
                Some(number) => checks::check_again(&world, number).await.map(|row| vec![row]),
                None => checks::check_waiting(&world).await,
            }
        };
        // Whoever is told to stop leaves no verdict, and ends the command that was running.
        tokio::select! {
            found = checking => found.map(Some).map_err(|error| failure(error, &repository.to_string())),
            () = asked_to_stop()? => Ok(None),
        }
    });
    let found = match found {
        Err(held) if held.exit == Exit::Held && args.waiting => return Ok(Exit::Ok),
        found => found?,
    };
    let Some(found) = found else {
        printer.talk("stopped; the next tick checks what is left");
        return Ok(Exit::Ok);
    };
    if !args.waiting {
        print(&printer, name.as_str(), &found);
    }
    let failed = found.iter().any(|row| row.verdict != CiVerdict::Green);
    Ok(if failed && args.number.is_some() { Exit::User } else { Exit::Ok })
}

fn failure(error: CheckError, repository: &str) -> Failure {
    match error {
        CheckError::Forge(error @ ForgeError::NotFound { .. }) => {
            Failure::user(error).hint(format!("look at the numbers of the pull requests of {repository}"))
        }
        CheckError::Forge(error) => forge_failure(error),
        CheckError::Store(error) => wire::store_failure(&error),
        CheckError::Lock(error @ LockError::Held { .. }) => {
            Failure::new(Exit::Held, error).hint("another process is checking; it takes one after the other")
        }
        CheckError::Lock(error) => Failure::user(error).hint("check that the folder of the locks is writable"),
        CheckError::NotForThis(words) => Failure::user(words)
            .hint("a run sees to the CI of its own pull request; the others are those of `forge.chore_authors`"),
    }
}

fn print(printer: &Printer, project: &str, found: &[CheckRow]) {
    for row in found {
        let (state, words) = match &row.verdict {
            CiVerdict::Green => ("green", "CI passed".to_owned()),
            CiVerdict::Red { steps } => (
                "red",
                format!("CI failed: {}", steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ")),
            ),
            CiVerdict::Broken { why } | CiVerdict::Held { why } => {
                ("broken", format!("it could not be checked: {why}"))
            }
            CiVerdict::Pending { missing } => ("pending", missing.join(", ")),
        };
        printer.line(format!("pull request {} at {}: {words}", row.pull_request, row.head.short()));
        printer.json(&json!({
            "project": project, "pull_request": row.pull_request, "head": row.head, "state": state, "words": words,
        }));
    }
    if found.is_empty() {
        printer.talk("nothing waits for a check");
    }
}
