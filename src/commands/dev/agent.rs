//! `rig dev agent`: the driver of one issue, started by a tick or by hand.

use super::{
    accounts::{check_accounts, check_bot},
    asked_to_stop, forge_failure, tick_failure,
};
use crate::{
    cli::AgentArgs,
    commands::{CommandResult, Context, load_failure, root_failure, runtime, wire},
    config,
    domain::{
        code::Code,
        ids::IssueNumber,
        issue::OpenOrClosed,
        run::{End, Event, Run, Stage},
    },
    engine::{
        World,
        driver::{self, Ended},
        hopeless,
        launch::{self, Claimed, Way},
        resume, snapshot,
    },
    output::{Exit, Failure, Printer},
    ports::{
        forge::ForgeError,
        lock::{Held, LockError, LockName},
        store::RunRow,
    },
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Time that a driver waits for the one before to leave.
const RUN_LOCK_WAIT: Duration = Duration::from_secs(2);
/// Time that a start by hand waits for another process that chooses in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(20);

/// Works on one issue until it needs nothing more, or until it is told to stop.
pub fn agent(context: &Context, args: AgentArgs) -> CommandResult {
    let root = context.root()?;
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    if let Some(failure) = wire::missing_programs(&project) {
        return Err(failure);
    }
    root.ensure_state().map_err(root_failure)?;
    wire::log(&root, std::slice::from_ref(&project))?;
    let printer = context.printer;
    runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let world = wire::world(&root, project, store).await?;
        let issue = args.issue;
        let _run_lock = take_run_lock(&world, issue).await?;
        let run = match args.run {
            Some(id) => {
                check_bot(&world).await?;
                resume::load(&world, &id).await.map_err(|error| wire::store_failure(&error))?
            }
            None => {
                check_accounts(&world).await?;
                claim_by_hand(&world, issue, &printer).await?
            }
        };
        if run.stage.is_ended() {
            printer.talk(format!("run {} of issue {issue} has ended: {}", run.id, run.stage.name()));
            return Ok(Exit::Ok);
        }
        lead(&world, run, printer).await
    })
}

/// Holds the lock for the driver's life. Who comes second leaves.
async fn take_run_lock(world: &World, issue: IssueNumber) -> Result<Box<dyn Held>, Failure> {
    world.locks.take(LockName::Run(issue), RUN_LOCK_WAIT).await.map_err(|error| match error {
        LockError::Held { path } => {
            Failure::new(Exit::Held, format!("another rig works on issue {issue} (lock {path})"))
                .hint("rig status shows it")
        }
        error @ LockError::Failed { .. } => Failure::user(error).hint("check that the folder of the locks is writable"),
    })
}

/// Returns the issue's open run, or claims the issue.
async fn claim_by_hand(world: &World, issue: IssueNumber, printer: &Printer) -> Result<Run, Failure> {
    let store_failure = |error| wire::store_failure(&error);
    let open = world.open_runs().await.map_err(store_failure)?;
    if let Some(row) = open.iter().find(|row| row.issue == issue) {
        if row.project != world.project.name {
            return Err(led_by_other_project(row));
        }
        printer.talk(format!("going on with run {} ({})", row.run, row.stage));
        return resume::load(world, &row.run).await.map_err(store_failure);
    }
    let found = world.forge.issue(issue).await.map_err(|error| match error {
        ForgeError::NotFound { .. } => Failure::user(format!("{} has no issue {issue}", world.project.repository))
            .hint("look at its number on the forge"),
        error => forge_failure(error),
    })?;
    if found.is_pull_request {
        return Err(Failure::user(format!("{issue} is a pull request, and no issue"))
            .hint("name the issue that it is for; rig gate shows what a pull request lacks"));
    }
    if found.state == OpenOrClosed::Closed {
        return Err(Failure::user(format!("issue {issue} is closed")).hint("open it again if there is work left"));
    }
    let dispatch = world.locks.take(LockName::Dispatch, DISPATCH_WAIT).await.map_err(|error| {
        Failure::new(Exit::Held, error).hint("another rig is choosing an issue; try again in a moment")
    })?;
    let queue = snapshot::base(world, &open, Vec::new());
    match launch::claim_under_lock(world, &queue, issue, Way::ByHand).await.map_err(tick_failure)? {
        Claimed::Yes(mut run) => {
            launch::confirm(world, &mut run, dispatch.as_ref()).await.map_err(tick_failure)?;
            Ok(*run)
        }
        // A tick has claimed it in between; this process leads that run.
        Claimed::No { code: Code::OpenRun, .. } if open.iter().all(|row| row.issue != issue) => {
            let open = world.open_runs().await.map_err(store_failure)?;
            match open.iter().find(|row| row.issue == issue) {
                Some(row) if row.project != world.project.name => Err(led_by_other_project(row)),
                Some(row) => resume::load(world, &row.run).await.map_err(store_failure),
                None => Err(Failure::new(Exit::Held, format!("a run of issue {issue} has just ended"))),
            }
        }
        Claimed::No { code, words } => {
            if is_about_dependencies(code)
                && let Err(error) = hopeless::say(world, issue, &words).await
            {
                tracing::warn!(issue = issue.0, %error, "the comment on the issue has to wait");
            }
            Err(Failure::user(format!("issue {issue} cannot be worked on: {words}")).hint(hint_for(code)))
        }
    }
}

/// Two projects may work one repository; each run goes by the settings of the one that began it.
fn led_by_other_project(row: &RunRow) -> Failure {
    Failure::new(Exit::Held, format!("project {} works on issue {} already: run {}", row.project, row.issue, row.run))
        .hint(format!("rig dev agent {} --project {}", row.issue, row.project))
}

fn is_about_dependencies(code: Code) -> bool {
    matches!(code, Code::DependencyOpen | Code::DependencyUnknown | Code::DependencyCycle | Code::SelfDependency)
}

fn hint_for(code: Code) -> &'static str {
    match code {
        Code::DependencyOpen => "work on what it waits for first",
        Code::DependencyUnknown | Code::DependencyCycle | Code::SelfDependency => {
            "correct the dependencies in its text"
        }
        Code::NotClaimableLabel => "take the label away if the issue is to be worked on",
        Code::InProgressElsewhere => "somebody else works on it; take the label away if that is not so",
        _ => "",
    }
}

async fn lead(world: &World, run: Run, printer: Printer) -> CommandResult {
    let files = wire::run_files(&world.root, &run.project, run.issue, &run.id)?;
    let watcher: driver::Watcher = Arc::new(move |run: &Run, event: &Event| print_change(&printer, run, event));
    let ended = driver::drive(world.clone(), run, files, watcher, asked_to_stop()?).await;
    match ended {
        Ok(Ended::Asked) => {
            printer.talk("stopped; the session lives on, and the next rig dev poll goes on with it");
            Ok(Exit::Ok)
        }
        Ok(Ended::Run(run)) => Ok(match &run.stage {
            Stage::Ended { end: End::Merged { .. } | End::Closed { .. } } => Exit::Ok,
            other => {
                return Err(Failure::user(format!("issue {} ended as {}", run.issue, other.name()))
                    .hint(format!("rig phase log {} tells what happened", run.issue.0)));
            }
        }),
        Err(driver::DriverError::Store(error)) => Err(wire::store_failure(&error)),
        Err(error @ driver::DriverError::Token { .. }) => Err(Failure::user(error)
            .hint("put a valid token into the variable that [forge] token_env names; the next rig dev poll goes on")),
        Err(driver::DriverError::Files(error)) => {
            Err(Failure::user(error).hint("check that the state folder is writable and its disk is not full"))
        }
    }
}

fn print_change(printer: &Printer, run: &Run, event: &Event) {
    printer.json(&json!({
        "run": run.id, "issue": run.issue, "event": event.kind(), "stage": run.stage.name(), "waits_for": run.stage.waits_for(),
    }));
    if printer.talks_to_person() {
        printer.talk(format!(
            "issue {}: {} -> {} (waits for {})",
            run.issue,
            event.kind(),
            run.stage.name(),
            run.stage.waits_for()
        ));
    }
}
