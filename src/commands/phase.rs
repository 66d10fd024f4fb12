//! `rig phase`: the phase file of an issue's session, for agents, people and scripts.

mod self_test;

use super::{CommandResult, Context, runtime, wire, words};
use crate::{
    adapters::phase_watch::{
        PhaseWatch,
        file::{Observed, look, read_phase, write_phase},
    },
    cli::{PhaseCommand, PhaseSetArgs, PhaseTarget},
    config::{Root, root::AttemptDir},
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, Seq},
        phase::{PhaseReport, PhaseText},
        run::{Run, Step, begin, step},
    },
    engine::resume,
    output::{Exit, Failure, Printer},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Newest runs of a project among which an issue's are looked for.
const MOST_RUNS: u32 = 10_000;

/// Runs one of the phase commands.
pub fn run(context: &Context, command: PhaseCommand) -> CommandResult {
    match command {
        PhaseCommand::Path(target) => path(context, &target),
        PhaseCommand::Get(target) => get(context, &target),
        PhaseCommand::Set(args) => set(context, args),
        PhaseCommand::Watch(target) => runtime()?.block_on(watch(context, &target)),
        PhaseCommand::Log(target) => runtime()?.block_on(log(context, &target)),
        PhaseCommand::Test => runtime()?.block_on(self_test::run(context.printer)),
    }
}

fn path(context: &Context, target: &PhaseTarget) -> CommandResult {
    let phase = phase_file(context, target)?;
    context.printer.line(phase.display().to_string());
    context.printer.json(&json!({ "path": phase }));
    Ok(Exit::Ok)
}

fn get(context: &Context, target: &PhaseTarget) -> CommandResult {
    let phase = phase_file(context, target)?;
    let (words, document) = describe(read_phase(&phase).as_ref());
    if let Some(error) = document["error"].as_str() {
        return Err(Failure::user(format!("{}: {error}", phase.display())));
    }
    context.printer.line(words);
    context.printer.json(&document);
    Ok(Exit::Ok)
}

fn set(context: &Context, args: PhaseSetArgs) -> CommandResult {
    let target = PhaseTarget { issue: args.issue, project: args.project };
    let phase = phase_file(context, &target)?;
    let report = PhaseReport { phase: args.phase, reason: args.reason };
    // Made for nothing but its signals: a file that may not grow is then told.
    let _runtime = runtime()?;
    write_phase(&phase, &phase.with_file_name("phase.log"), &report, Timestamp::now()).map_err(|error| {
        Failure::outside(format!("{}: {error}", phase.display())).hint("check the disk's space and who owns the folder")
    })?;
    context.printer.talk(format!("phase {} is set", report.phase));
    context.printer.json(&json!({ "phase": report.phase, "reason": report.reason, "path": phase }));
    Ok(Exit::Ok)
}

/// Prints each phase once, those of the log and those that were written in other ways, until it is interrupted.
async fn watch(context: &Context, target: &PhaseTarget) -> CommandResult {
    let phase = phase_file(context, target)?;
    let log = phase.with_file_name("phase.log");
    let mut watch = PhaseWatch::new();
    watch.add(phase.parent().unwrap_or(Path::new(".")));
    if let Some(trouble) = watch.trouble() {
        context.printer.talk(format!("{trouble}; looking every second instead"));
    }
    let mut offset = fs::metadata(&log).map_or(0, |meta| meta.len());
    let mut told = None;
    while !context.printer.reader_is_gone() {
        for seen in look(&phase, &log, offset).unwrap_or_default() {
            match seen.log_offset {
                Some(end) => offset = end,
                // The file keeps its content until the next one is in place, be the log ahead or not.
                None => {
                    let key = (seen.observed.inode, seen.observed.mtime_ns);
                    if told.replace(key) == Some(key) {
                        continue;
                    }
                }
            }
            match &seen.observed.content {
                PhaseText::Report(report) => print_report(context.printer, report),
                _ => {
                    let (words, document) = describe(Some(&seen.observed));
                    context.printer.line(words);
                    context.printer.json(&document);
                }
            }
        }
        if !context.printer.reader_is_gone() {
            watch.changed().await;
        }
    }
    Ok(Exit::Ok)
}

/// Prints what happened to an issue, run by run, as the journal has it: people get what matters in words, `--json` all.
async fn log(context: &Context, target: &PhaseTarget) -> CommandResult {
    let (root, project, issue) = issue_of(context, target)?;
    let no_run = || {
        Failure::user(format!("issue {issue} of {project} has no run yet")).hint("`rig status --all` shows the runs")
    };
    let store = wire::existing_store(&root).await?.ok_or_else(no_run)?;
    let failure = |error| wire::store_failure(&error);
    let mut runs = store.recent_runs(Some(&project), MOST_RUNS).await.map_err(failure)?;
    runs.retain(|run| run.issue == issue);
    runs.sort_by_key(|run| run.claimed_at);
    if runs.is_empty() {
        return Err(no_run());
    }
    let mut rows = Vec::new();
    for run in &runs {
        let mut led: Option<Run> = None;
        for event in store.events(&run.run, Seq(0)).await.map_err(failure)? {
            let fact = resume::read(&event).map_err(failure)?;
            let after = match &led {
                None => begin(&run.run, &fact).map(|(begun, _)| begun),
                Some(before) => match step(before, &fact) {
                    Step::Moved { run, .. } => Some(*run),
                    Step::Ignored(_) => None,
                },
            };
            let words = match &after {
                Some(after) => words::with_consequences(led.as_ref(), &fact.event, after),
                None => words::of(&fact.event).map(|(_, words)| words),
            };
            led = after.or(led);
            let at = format!("{:.0}", event.at);
            rows.extend(words.map(|words| vec![at, event.seq.to_string(), event.kind.clone(), words]));
            context.printer.json(&event);
        }
    }
    context.printer.table(&["AT", "SEQ", "EVENT", "WHAT"], &rows);
    Ok(Exit::Ok)
}

fn print_report(printer: Printer, report: &PhaseReport) {
    let reason = if report.reason.is_empty() { String::new() } else { format!("  {}", report.reason) };
    printer.line(format!("{}{reason}", report.phase));
    printer.json(&json!({ "phase": report.phase, "reason": report.reason, "at": Timestamp::now() }));
}

/// Returns what was seen in words and as a document.
fn describe(seen: Option<&Observed>) -> (String, Value) {
    match seen.map(|seen| &seen.content) {
        None | Some(PhaseText::Nothing) => ("none".to_owned(), json!({ "phase": null, "reason": "" })),
        Some(PhaseText::Malformed(unknown)) => (unknown.to_string(), json!({ "error": unknown.to_string() })),
        Some(PhaseText::Report(PhaseReport { phase, reason })) if reason.is_empty() => {
            (phase.to_string(), json!({ "phase": phase, "reason": "" }))
        }
        Some(PhaseText::Report(PhaseReport { phase, reason })) => {
            (format!("{phase}\nReason: {reason}"), json!({ "phase": phase, "reason": reason }))
        }
    }
}

/// Returns the phase file that is meant: inside a session its own, else that of the issue's newest attempt.
fn phase_file(context: &Context, target: &PhaseTarget) -> Result<PathBuf, Failure> {
    let own =
        |name: &str, given: Option<String>| given.is_none_or(|given| env::var(name).is_ok_and(|own| own == given));
    let is_own = own("RIG_ISSUE", target.issue.map(|issue| issue.0.to_string()))
        && own("RIG_PROJECT", target.project.as_ref().map(ToString::to_string));
    if let Some(path) = env::var_os("PHASE_FILE").filter(|path| is_own && !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let (root, project, issue) = issue_of(context, target)?;
    let run = root.run(&project, issue);
    let newest = attempts(run.path()).last().map(|attempt| run.attempt(*attempt));
    newest.as_ref().map(AttemptDir::phase).ok_or_else(|| no_session(issue, &run.path().display().to_string()))
}

fn issue_of(context: &Context, target: &PhaseTarget) -> Result<(Root, ProjectName, IssueNumber), Failure> {
    let issue = target.issue.ok_or_else(|| {
        Failure::new(Exit::Usage, "no issue is given")
            .hint("name it, such as `rig phase get 123`, or run this inside a session")
    })?;
    let root = context.root()?;
    if let Some(project) = &target.project {
        return Ok((root, project.clone(), issue));
    }
    let runs = root.state_dir().join("run");
    let mut projects = folders(&runs);
    projects.retain(|name| runs.join(name).join(issue.0.to_string()).is_dir());
    match &projects[..] {
        [] => Err(no_session(issue, &runs.display().to_string())),
        [one] => Ok((root, ProjectName::new(one).map_err(Failure::user)?, issue)),
        several => Err(Failure::user(format!("issue {issue} has sessions in {}", several.join(", ")))
            .hint("say which with --project NAME")),
    }
}

fn no_session(issue: IssueNumber, place: &str) -> Failure {
    Failure::user(format!("issue {issue} has no session in {place}"))
        .hint("`rig status` shows the runs; --root names another root")
}

/// Returns the attempts of a run that have a folder, the oldest first.
fn attempts(run: &Path) -> Vec<Attempt> {
    let number = |name: &String| name.strip_prefix("attempt-")?.parse().ok().map(Attempt);
    let mut attempts: Vec<Attempt> = folders(run).iter().filter_map(number).collect();
    attempts.sort();
    attempts
}

fn folders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
