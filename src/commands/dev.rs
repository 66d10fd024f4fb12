//! `rig dev poll` and `rig dev agent`: one tick over the projects, and the driver of one issue.

use super::{CommandResult, Context, load_failure, runtime, switch, tell_problems, wire};
use crate::{
    cli::{AgentArgs, PollArgs},
    config::{self, Root, settings::Project},
    domain::{
        ids::{IssueNumber, Login},
        issue::OpenOrClosed,
        run::{End, Event, Run, Stage},
    },
    engine::{
        World, comments,
        driver::{self, Ended},
        launch::{self, Claimed, Way},
        resume, snapshot,
        tick::{self, Report},
    },
    output::{Exit, Failure, Printer},
    ports::{
        forge::ForgeError,
        lock::{Held, LockError, LockName},
        store::Store,
    },
};
use futures::{StreamExt, stream};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Projects that one tick looks at side by side.
const PROJECTS_AT_ONCE: usize = 4;
/// Longest time that a tick spends on one project; the next tick goes on.
const PROJECT_TIME: Duration = Duration::from_secs(240);
/// Time that a driver waits for the one before to leave.
const RUN_LOCK_WAIT: Duration = Duration::from_secs(2);
/// Time that a start by hand waits for another process that chooses in the same repository.
const DISPATCH_WAIT: Duration = Duration::from_secs(20);

/// One tick over the projects.
pub fn poll(context: &Context, args: PollArgs) -> CommandResult {
    let root = context.root()?;
    let printer = context.printer;
    if !switch::is_on(&root)? {
        printer.talk("the dev loop is off; rig dev start switches it on");
        printer.json(&json!({ "switch": "off" }));
        return Ok(Exit::Ok);
    }
    let loaded = config::load(&root, &args.projects);
    tell_problems(&printer, &loaded.problems);
    printer.json(&json!({ "switch": "on", "problems": loaded.problems }));
    let mut worst = if loaded.problems.is_empty() { Exit::Ok } else { Exit::User };
    let mut wrong: Vec<String> = loaded.problems.iter().map(|problem| problem.project.clone()).collect();
    let projects: Vec<Project> = loaded.projects.into_iter().filter(|project| project.enabled).collect();
    if projects.is_empty() {
        if wrong.is_empty() && printer.talks_to_person() {
            printer.talk(format!("no project to work on in {}", root.projects_dir().display()));
        }
        conclude(&printer, worst, &wrong);
        return Ok(worst);
    }
    root.ensure_state().map_err(super::root_failure)?;
    wire::log(&root, &projects)?;
    let results = runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let ticks = projects.into_iter().map(|project| {
            let (root, store) = (root.clone(), store.clone());
            async move { (project.name.clone(), tick_project(&root, project, store).await) }
        });
        Ok::<_, Failure>(stream::iter(ticks).buffer_unordered(PROJECTS_AT_ONCE).collect::<Vec<_>>().await)
    })?;
    for (project, result) in results {
        match result {
            Ok(report) => {
                print_report(&printer, project.as_str(), &report);
                if !report.problems.is_empty() {
                    worst = worse(worst, Exit::Outside);
                    wrong.push(project.to_string());
                }
            }
            Err(failure) => {
                let failure = failure.context(format!("project {project}"));
                tracing::error!(%project, error = failure.message, "the tick failed");
                printer.failure(&failure);
                worst = worse(worst, failure.exit);
                wrong.push(project.to_string());
            }
        }
    }
    conclude(&printer, worst, &wrong);
    Ok(worst)
}

fn conclude(printer: &Printer, worst: Exit, wrong: &[String]) {
    printer.conclude(worst, format!("something is wrong with {}", wrong.join(", ")));
}

async fn tick_project(root: &Root, project: Project, store: Arc<dyn Store>) -> Result<Report, Failure> {
    if let Some(failure) = wire::missing_programs(&project) {
        return Err(failure);
    }
    let world = wire::world(root, project, store).await?;
    let work = async {
        check_accounts(&world).await?;
        tick::tick(&world).await.map_err(tick_failure)
    };
    tokio::time::timeout(PROJECT_TIME, work)
        .await
        .unwrap_or_else(|_| Err(Failure::outside(format!("not done within {} s", PROJECT_TIME.as_secs()))))
}

/// Of two exits the one that says more: a fault of rig before a service's, a service's before the user's.
fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Ok => 0,
        Exit::Held => 1,
        Exit::User => 2,
        Exit::Usage => 3,
        Exit::Outside => 4,
        Exit::Internal => 5,
    };
    if rank(b) > rank(a) { b } else { a }
}

fn print_report(printer: &Printer, project: &str, report: &Report) {
    for line in &report.lines {
        printer.json(&json!({
            "project": project, "subject": line.subject_kind, "number": line.subject, "code": line.code, "words": line.words,
        }));
        if printer.talks_to_person() {
            let kind = if line.subject_kind == "issue" { "issue" } else { "pull request" };
            printer.talk(format!("{project}: {kind} #{}: {} ({})", line.subject, line.words, line.code));
        }
    }
    for problem in &report.problems {
        printer.talk(format!("{project}: {problem}"));
        printer.json(&json!({ "project": project, "problem": problem }));
    }
}

/// Works on one issue until it needs nothing more, or until it is told to stop.
pub fn agent(context: &Context, args: AgentArgs) -> CommandResult {
    let root = context.root()?;
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    if let Some(failure) = wire::missing_programs(&project) {
        return Err(failure);
    }
    root.ensure_state().map_err(super::root_failure)?;
    wire::log(&root, std::slice::from_ref(&project))?;
    let printer = context.printer;
    runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let world = wire::world(&root, project, store).await?;
        let issue = args.issue;
        let _run_lock = take_run_lock(&world, issue).await?;
        let run = match args.run {
            Some(id) => resume::load(&world, &id).await.map_err(|error| wire::store_failure(&error))?,
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
    let open = world.store.open_runs(Some(&world.project.name)).await.map_err(store_failure)?;
    if let Some(row) = open.iter().find(|row| row.issue == issue) {
        printer.talk(format!("going on with run {} ({})", row.run, row.stage));
        return resume::load(world, &row.run).await.map_err(store_failure);
    }
    let found = world.forge.issue(issue).await.map_err(|error| match error {
        ForgeError::NotFound { .. } => Failure::user(format!("{} has no issue {issue}", world.project.repository))
            .hint("look at its number on the forge"),
        error => forge_failure(error),
    })?;
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
        Claimed::No { code: "open_run", .. } if open.iter().all(|row| row.issue != issue) => {
            let open = world.store.open_runs(Some(&world.project.name)).await.map_err(store_failure)?;
            match open.iter().find(|row| row.issue == issue) {
                Some(row) => resume::load(world, &row.run).await.map_err(store_failure),
                None => Err(Failure::new(Exit::Held, format!("a run of issue {issue} has just ended"))),
            }
        }
        Claimed::No { code, words } => {
            if code.starts_with("dependency") || code == "self_dependency" {
                tell_on_issue(world, issue, &words).await;
            }
            Err(Failure::user(format!("issue {issue} cannot be worked on: {words}")).hint(hint_for(code)))
        }
    }
}

/// Says on the issue, once for each reason, what has to happen first.
async fn tell_on_issue(world: &World, issue: IssueNumber, words: &str) {
    let body =
        format!("This issue cannot be worked on yet: {words}. Do that first, or change the dependencies in its text.");
    let key = format!("preflight {words}");
    if let Err(error) = comments::post_once(world, issue.0, &key, &body).await {
        tracing::warn!(issue = issue.0, %error, "the comment on the issue has to wait");
    }
}

fn hint_for(code: &str) -> &'static str {
    match code {
        "dependency_open" => "work on what it waits for first",
        "dependency_unknown" | "dependency_cycle" | "self_dependency" => "correct the dependencies in its text",
        "not_claimable_label" => "take the label away if the issue is to be worked on",
        "in_progress_elsewhere" => "somebody else works on it; take the label away if that is not so",
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

/// Resolves on SIGTERM or SIGINT.
fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::internal(format!("signals cannot be listened to: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The token must be the bot's, the reviewer's must be somebody else's, and the repository there and the bot's to push to.
async fn check_accounts(world: &World) -> Result<(), Failure> {
    let project = &world.project;
    let wrong = |who: &Login, what: &str| {
        Failure::user(format!(
            "project {}: {what} belongs to `{who}`, not to the configured bot `{}`",
            project.name, project.forge.bot
        ))
        .hint("check [forge] bot and the variable that [forge] token_env names")
    };
    let (who, repository) = tokio::join!(world.forge.whoami(), world.forge.repository());
    let who = who.map_err(forge_failure)?;
    if !who.is(&project.forge.bot) {
        return Err(wrong(&who, "the token"));
    }
    let repository = repository.map_err(forge_failure)?;
    if repository.archived || !repository.can_push {
        let why = if repository.archived { "is archived" } else { "does not let the bot push" };
        return Err(Failure::user(format!("project {}: the repository {} {why}", project.name, project.repository))
            .hint(format!("give `{}` write access on the forge, or set enabled = false", project.forge.bot)));
    }
    if let Some(token) = &project.forge.review_token {
        let reviewer = wire::reviewer_forge(project, token.clone())?.whoami().await.map_err(forge_failure)?;
        if reviewer.is(&project.forge.bot) {
            return Err(Failure::user(format!("project {}: the review token is the bot's own", project.name)).hint(
                "an agent never approves its own work: give [forge] review_token_env the token of another account",
            ));
        }
    }
    Ok(())
}

fn tick_failure(error: tick::TickError) -> Failure {
    match error {
        tick::TickError::Store(error) => wire::store_failure(&error),
        tick::TickError::Forge(error) => forge_failure(error),
        tick::TickError::Launch(error) => Failure::internal(error),
        tick::TickError::Lock(error) => Failure::new(Exit::Held, error),
    }
}

/// Returns what a forge that does not do what is asked is to people.
pub fn forge_failure(error: ForgeError) -> Failure {
    let (exit, hint) = match &error {
        ForgeError::Unauthorized { .. } => {
            (Exit::User, "put a valid token into the variable that [forge] token_env names, or into state/env")
        }
        ForgeError::Forbidden { .. } => (
            Exit::User,
            "the token needs the scopes write:issue, write:repository and read:user, and the bot write access",
        ),
        ForgeError::NotFound { .. } => (
            Exit::User,
            "check forge_url and repo in the project's file; private repositories look missing to accounts without access",
        ),
        ForgeError::Unavailable { .. } | ForgeError::Garbled { .. } => {
            (Exit::Outside, "check forge_url and whether the forge is up; rig tries again at the next tick")
        }
        ForgeError::RateLimited { .. } => (Exit::Outside, "rig tries again at the next tick"),
        ForgeError::Refused { .. } | ForgeError::Invalid { .. } => (Exit::Outside, ""),
    };
    Failure::new(exit, error).hint(hint)
}
