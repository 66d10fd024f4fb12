//! `rig gate`: whether a pull request may be merged, condition by condition. Asks the forge, CI and git; changes nothing.

use super::{CommandResult, Context, dev::forge_failure, load_failure, runtime, wire};
use crate::{
    cli::GateArgs,
    config,
    domain::gate::Finding,
    engine::gate::{InspectError, Inspected, inspect},
    output::{Exit, Failure, Printer},
    ports::forge::ForgeError,
};
use serde_json::{Value, json};

pub fn run(context: &Context, args: GateArgs) -> CommandResult {
    let root = context.root()?;
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    root.ensure_state().map_err(super::root_failure)?;
    wire::log(&root, std::slice::from_ref(&project))?;
    let (name, repository) = (project.name.clone(), project.repository.clone());
    let inspected = runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let world = wire::world(&root, project, store).await?;
        inspect(&world, args.number).await.map_err(|error| match error {
            InspectError::Forge(ForgeError::NotFound { .. }) => {
                Failure::user(format!("{repository} has neither a pull request nor an issue {}", args.number))
                    .hint("look at its number on the forge")
            }
            InspectError::Forge(error) => forge_failure(error),
            InspectError::Store(error) => wire::store_failure(&error),
        })
    })?;
    let Some(inspected) = inspected else {
        return Err(Failure::user(format!("issue {} has no pull request of rig's own yet", args.number))
            .hint(format!("rig status shows how far it is; rig dev agent {} works on it now", args.number)));
    };
    context.printer.json(&document(name.as_str(), &inspected));
    print(&context.printer, &inspected);
    Ok(Exit::Ok)
}

fn is_ready(inspected: &Inspected) -> bool {
    inspected.findings.iter().all(|finding| finding.outcome.is_ok())
}

fn document(project: &str, inspected: &Inspected) -> Value {
    let conditions: Vec<Value> = inspected.findings.iter().map(condition).collect();
    json!({
        "project": project,
        "pull_request": inspected.pull_request.number.0,
        "issue": inspected.issue.map(|issue| issue.0),
        "head": inspected.pull_request.head.as_str(),
        "ready": is_ready(inspected),
        "conditions": conditions,
    })
}

fn condition(finding: &Finding) -> Value {
    match &finding.outcome {
        Ok(seen) => json!({ "name": finding.condition, "holds": true, "code": null, "words": seen }),
        Err(reason) => {
            json!({ "name": finding.condition, "holds": false, "code": reason.code(), "words": reason.words() })
        }
    }
}

fn print(printer: &Printer, inspected: &Inspected) {
    let pull_request = &inspected.pull_request;
    let head = pull_request.head.short();
    printer.line(format!("pull request {} at {head}: {}", pull_request.number, pull_request.title));
    let row = |finding: &Finding| {
        let (mark, words) = match &finding.outcome {
            Ok(seen) => ("yes", seen.clone()),
            Err(reason) => ("no", reason.words()),
        };
        vec![finding.condition.to_owned(), mark.to_owned(), words]
    };
    let rows: Vec<Vec<String>> = inspected.findings.iter().map(row).collect();
    printer.table(&["CONDITION", "HOLDS", "SEEN"], &rows);
    printer.line(match is_ready(inspected) {
        true => printer.paint(32, &format!("ready to be merged at {head}")),
        false => printer.paint(33, "not ready"),
    });
}
