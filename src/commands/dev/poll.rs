//! `rig dev poll`: one tick over all projects, side by side.

use super::{accounts::check_accounts, tick_failure};
use crate::{
    cli::PollArgs,
    commands::{CommandResult, Context, cron, last_tick, root_failure, runtime, switch, tell_problems, wire},
    config::{self, Root, settings::Project},
    domain::ids::ProjectName,
    engine::{
        World, snapshot,
        tick::{self, Report},
    },
    output::{Exit, Failure, Printer},
    ports::{allowance::Allowance, store::Store},
};
use futures::{StreamExt, stream};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Projects that one tick looks at side by side: each waits for its forge most of the time, and some may wait in vain.
const PROJECTS_AT_ONCE: usize = 16;
/// Longest time that a tick spends on one project; the next tick goes on.
const PROJECT_TIME: Duration = Duration::from_secs(240);
/// Longest time of a whole tick, however many projects there are: the next one of cron, ten minutes later, begins anew.
const TICK_TIME: Duration = Duration::from_secs(540);
/// Longest time that a tick reads one project's forge; doing what follows from it has the rest.
const READING_TIME: Duration = Duration::from_secs(60);

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
    root.ensure_state().map_err(root_failure)?;
    wire::log(&root, &projects)?;
    cron::keep_log_bounded(&root);
    runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let names: Vec<ProjectName> = projects.iter().map(|project| project.name.clone()).collect();
        let ticks = projects.into_iter().map(|project| {
            let (root, store) = (root.clone(), store.clone());
            async move { (project.name.clone(), tick_project(&root, project, store).await) }
        });
        side_by_side(names, ticks, TICK_TIME, |project, result| {
            last_tick::write(&root, project, &result);
            let exit = tell(&printer, project.as_str(), result);
            if exit != Exit::Ok {
                worst = worse(worst, exit);
                wrong.push(project.to_string());
            }
        })
        .await;
        Ok::<_, Failure>(())
    })?;
    wrong.sort();
    conclude(&printer, worst, &wrong);
    Ok(worst)
}

/// Makes the ticks of all projects and takes what comes of each as soon as it is there: nobody waits for the slowest to hear of
/// the others. What is not done when the time is over is a failure of its own.
async fn side_by_side<T>(
    names: Vec<ProjectName>,
    ticks: impl Iterator<Item = impl Future<Output = (ProjectName, Result<T, Failure>)>>,
    time: Duration,
    mut take: impl FnMut(&ProjectName, Result<T, Failure>),
) {
    let end = tokio::time::Instant::now() + time;
    let mut left: BTreeSet<ProjectName> = names.into_iter().collect();
    let mut ticks = std::pin::pin!(stream::iter(ticks).buffer_unordered(PROJECTS_AT_ONCE));
    while let Ok(Some((project, result))) = tokio::time::timeout_at(end, ticks.next()).await {
        left.remove(&project);
        take(&project, result);
    }
    for project in &left {
        let words = format!("the {} s of the tick were over before it was done", time.as_secs());
        take(project, Err(Failure::outside(words).hint("the next tick begins anew; what was begun is gone on with")));
    }
}

/// Tells what came of one project's tick. Returns what it means for the exit code.
fn tell(printer: &Printer, project: &str, result: Result<Report, Failure>) -> Exit {
    match result {
        Ok(report) => {
            print_report(printer, project, &report);
            if report.problems.is_empty() { Exit::Ok } else { Exit::Outside }
        }
        Err(failure) => {
            let failure = failure.context(format!("project {project}"));
            tracing::error!(project, error = failure.message, "the tick failed");
            printer.failure(&failure);
            failure.exit
        }
    }
}

fn conclude(printer: &Printer, worst: Exit, wrong: &[String]) {
    printer.conclude(worst, format!("something is wrong with {}", wrong.join(", ")));
}

async fn tick_project(root: &Root, project: Project, store: Arc<dyn Store>) -> Result<Report, Failure> {
    if let Some(failure) = wire::missing_programs(&project) {
        return Err(failure);
    }
    let allowance = Allowance::of_tick(project.limits.api_calls, READING_TIME);
    let world = wire::bounded_world(root, project, store, allowance).await?;
    tokio::time::timeout(PROJECT_TIME, tick_world(&world))
        .await
        .unwrap_or_else(|_| Err(Failure::outside(format!("not done within {} s", PROJECT_TIME.as_secs()))))
}

/// Makes one whole tick over a project that everything outside is connected to.
pub async fn tick_world(world: &World) -> Result<Report, Failure> {
    // Nothing is done before both are there, so neither waits for the other.
    let (accounts, snapshot) = tokio::join!(check_accounts(world), snapshot::fetch(world));
    let mut snapshot = snapshot.map_err(|error| wire::store_failure(&error))?;
    match (accounts, world.allowance.hit()) {
        (Ok(()), _) => {}
        (Err(failure), None) => return Err(failure),
        // Not knowing whose the token is, nothing that it can see counts.
        (Err(_), Some(limit)) => snapshot.forget_forge(&limit.to_string()),
    }
    tick::tick(world, snapshot).await.map_err(tick_failure)
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
    if let Some((code, words)) = &report.ended_early
        && printer.talks_to_person()
        && report.problems.is_empty()
    {
        printer.talk(format!("{project}: nothing is asked: {words} ({code})"));
    }
    for problem in &report.problems {
        printer.talk(format!("{project}: {problem}"));
        printer.json(&json!({ "project": project, "problem": problem }));
    }
    let ended_early = report.ended_early.as_ref().map(|(code, words)| json!({ "code": code, "words": words }));
    printer.json(&json!({ "project": project, "requests": report.requests, "ended_early": ended_early }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{BoxFuture, FutureExt};

    #[tokio::test]
    async fn projects_that_never_end_keep_none_of_the_others_from_being_told_and_end_with_the_tick() {
        let names: Vec<ProjectName> = (0..40).map(|n| format!("p{n}").parse().unwrap()).collect();
        let ticks = names.clone().into_iter().enumerate().map(|(n, name)| -> BoxFuture<_> {
            if n == 7 { std::future::pending().boxed() } else { async move { (name, Ok(n)) }.boxed() }
        });
        let mut told = Vec::new();
        side_by_side(names, ticks, Duration::from_millis(50), |project, result| {
            told.push((project.to_string(), result.is_ok()));
        })
        .await;
        assert_eq!(told.len(), 40);
        assert_eq!(told.last(), Some(&("p7".into(), false)));
        assert_eq!(told.iter().filter(|(_, ok)| *ok).count(), 39);
    }
}
