//! `rig status`: what rig is doing. Reads the store and the switch, asks neither the forge nor for a token.

use super::{CommandResult, Context, load_failure, runtime, switch, usage as usage_command, wire};
use crate::{
    cli::StatusArgs,
    config::{self, LoadError, Root},
    domain::{
        ids::{ProjectName, RunId, Seq},
        run::fold,
        usage::{self, Usage},
    },
    engine::{deliver::WRITER_IDLE, resume},
    output::{Exit, Failure, Printer},
    ports::{
        session::{SessionName, Sessions},
        store::{DriverRow, MirrorRow, RunRow, Store},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most runs that `--all` shows: what fits on a few screens.
const MOST_RUNS: u32 = 200;
/// A driver that gave no sign of life for so long is stale; a tick ends it and adopts its run.
const STALE_AFTER_SECS: i64 = 5 * 60;

/// What the store says, at one moment.
struct Seen {
    runs: Vec<(RunRow, Driver)>,
    /// The systemd scopes of the drivers that have one, by their runs.
    scopes: BTreeMap<RunId, String>,
    behind: Vec<MirrorRow>,
    /// What the agents' models have used, by run.
    used: BTreeMap<RunId, Vec<Usage>>,
    /// Messages that wait while a person writes in a session, by run.
    held_up: BTreeMap<RunId, usize>,
}

/// How the process that leads a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Alive,
    /// Lives, but has given no sign for so many seconds.
    Silent(i64),
    /// Has ended without taking its leave; the next tick adopts the run.
    Gone,
    /// Nobody leads the run.
    None,
}

pub fn run(context: &Context, args: StatusArgs) -> CommandResult {
    let root = context.root()?;
    let now = Timestamp::now();
    let seen = runtime()?.block_on(look(&root, &args, now))?;
    if let Some(name) = &args.project {
        check_name(&root, name, seen.as_ref())?;
    }
    let on = switch::is_on(&root)?;
    print_json(&context.printer, &root, on, seen.as_ref(), now);
    let state = if on { "on" } else { "off (rig dev start switches it on)" };
    context.printer.line(format!("dev loop of {}: {state}", root.path().display()));
    match seen {
        None => context.printer.line("nothing has run yet"),
        Some(seen) => print(&context.printer, &seen, args.all, now),
    }
    Ok(Exit::Ok)
}

async fn look(root: &Root, args: &StatusArgs, now: Timestamp) -> Result<Option<Seen>, Failure> {
    let Some(store) = wire::existing_store(root).await? else { return Ok(None) };
    read(store.as_ref(), root, args, now).await.map(Some)
}

async fn read(store: &dyn Store, root: &Root, args: &StatusArgs, now: Timestamp) -> Result<Seen, Failure> {
    let failed = |error| wire::store_failure(&error);
    let project = args.project.as_ref();
    let runs = match args.all {
        true => store.recent_runs(project, MOST_RUNS).await.map_err(failed)?,
        false => store.open_runs(project).await.map_err(failed)?,
    };
    let drivers = store.drivers().await.map_err(failed)?;
    let mut names: BTreeSet<ProjectName> = runs.iter().map(|run| run.project.clone()).collect();
    names.extend(project.map_or_else(|| config::names(root), |name| vec![name.clone()]));
    let mut behind = Vec::new();
    for name in names {
        let mirrors = store.mirrors(&name).await.map_err(failed)?;
        behind.extend(mirrors.into_iter().filter(|mirror| !mirror.error.is_empty()));
    }
    let scopes = drivers.iter().filter_map(|row| Some((row.run.clone(), wire::driver_scope(row)?))).collect();
    let with_driver = |run: RunRow| {
        let driver = Driver::of(drivers.iter().find(|driver| driver.run == run.run), now, wire::driver_lives);
        (run, driver)
    };
    let held_up = held_up(store, root, &runs).await;
    let used = usage_command::by_run(store, None).await?;
    Ok(Seen { runs: runs.into_iter().map(with_driver).collect(), scopes, behind, used, held_up })
}

/// Counts the messages that wait because somebody writes in the session; nearly always nobody does.
async fn held_up(store: &dyn Store, root: &Root, runs: &[RunRow]) -> BTreeMap<RunId, usize> {
    let sessions = wire::any_sessions(root);
    let mut held_up = BTreeMap::new();
    for run in runs.iter().filter(|run| run.open && run.attempt.0 > 0) {
        let name = SessionName { project: run.project.clone(), issue: run.issue };
        let idle = sessions.writer_idle(&name).await.ok().flatten();
        if idle.is_none_or(|idle| idle >= WRITER_IDLE) {
            continue;
        }
        let events = store.events(&run.run, Seq(0)).await.unwrap_or_default();
        let facts: Vec<_> = events.iter().filter_map(|event| resume::read(event).ok()).collect();
        let waiting = fold(&run.run, &facts).map_or(0, |run| run.messages().count());
        held_up.insert(run.run.clone(), waiting);
    }
    held_up
}

/// A name that neither a file nor a run knows is a slip of the pen, not an empty table.
fn check_name(root: &Root, name: &ProjectName, seen: Option<&Seen>) -> Result<(), Failure> {
    if seen.is_some_and(|seen| !seen.runs.is_empty()) {
        return Ok(());
    }
    match config::one_name(root, Some(name)) {
        Err(error @ LoadError::Unknown { .. }) => Err(load_failure(error)),
        _ => Ok(()),
    }
}

impl Driver {
    fn of(row: Option<&DriverRow>, now: Timestamp, lives: impl Fn(&DriverRow) -> bool) -> Self {
        let Some(row) = row else { return Driver::None };
        if !lives(row) {
            return Driver::Gone;
        }
        match seconds_between(row.beat_at, now) {
            silent if silent > STALE_AFTER_SECS => Driver::Silent(silent),
            _ => Driver::Alive,
        }
    }

    fn words(self) -> String {
        match self {
            Driver::Alive => "alive".to_owned(),
            Driver::Silent(secs) => format!("silent for {}", age(secs)),
            Driver::Gone => "gone".to_owned(),
            Driver::None => "none".to_owned(),
        }
    }
}

fn print(printer: &Printer, seen: &Seen, all: bool, now: Timestamp) {
    if seen.runs.is_empty() {
        printer.line(if all { "no run yet" } else { "no open run (--all shows those that ended)" });
    } else {
        let header = ["PROJECT", "ISSUE", "STAGE", "AGE", "ATTEMPT", "PR", "DRIVER", "TOKENS", "WAITS FOR", "TITLE"];
        let rows: Vec<_> =
            seen.runs.iter().map(|(run, driver)| row(run, *driver, seen.used.get(&run.run), now)).collect();
        printer.table(&header, &rows);
    }
    for (run, _) in &seen.runs {
        if let Some(waiting) = seen.held_up.get(&run.run) {
            let messages = match waiting {
                0 => "messages to the agent wait until they leave".to_owned(),
                1 => "1 message to the agent waits".to_owned(),
                more => format!("{more} messages to the agent wait"),
            };
            printer
                .line(format!("somebody writes in the session of issue {} ({}): {messages}", run.issue, run.project));
        }
    }
    for mirror in &seen.behind {
        let at =
            mirror.sha.as_ref().map_or_else(|| "has nothing yet".to_owned(), |sha| format!("is at {}", sha.short()));
        printer.line(format!(
            "mirror {} of {} is behind: {at}; {}",
            mirror.mirror,
            mirror.project,
            plain(&mirror.error)
        ));
    }
}

fn row(run: &RunRow, driver: Driver, used: Option<&Vec<Usage>>, now: Timestamp) -> Vec<String> {
    let number = run.pull_request.map_or_else(|| "-".to_owned(), |number| number.to_string());
    vec![
        run.project.to_string(),
        run.issue.to_string(),
        plain(&run.stage),
        age(seconds_between(run.claimed_at, now)),
        run.attempt.to_string(),
        number,
        if run.open { driver.words() } else { "-".to_owned() },
        used.map_or_else(|| "-".to_owned(), |used| usage_command::short(usage::sum(used).0.total())),
        if run.open { plain(&run.waits_for) } else { "-".to_owned() },
        plain(&run.title),
    ]
}

fn print_json(printer: &Printer, root: &Root, on: bool, seen: Option<&Seen>, now: Timestamp) {
    let runs: Vec<Value> = seen.map_or_else(Vec::new, |seen| {
        let document = |(run, driver): &(RunRow, Driver)| {
            let mut document = json!(run);
            let used = seen.used.get(&run.run).map(usage::sum);
            document["usage"] = json!(used.map(|(tokens, messages, turns)| {
                json!({ "turns": turns, "messages": messages, "tokens": tokens })
            }));
            document["messages_held_up"] = json!(seen.held_up.get(&run.run));
            document["age_secs"] = json!(seconds_between(run.claimed_at, now));
            document["driver"] = match driver {
                Driver::Alive => json!("alive"),
                Driver::Silent(_) => json!("silent"),
                Driver::Gone => json!("gone"),
                Driver::None => json!("none"),
            };
            document["driver_scope"] = json!(seen.scopes.get(&run.run));
            document
        };
        seen.runs.iter().map(document).collect()
    });
    let behind = seen.map(|seen| seen.behind.as_slice()).unwrap_or_default();
    let switch = if on { "on" } else { "off" };
    printer.json(&json!({ "root": root.path(), "switch": switch, "runs": runs, "mirrors_behind": behind }));
}

/// Titles come from the forge: a control character in one must not reach the terminal.
pub(super) fn plain(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    one_line.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    (later.as_second() - earlier.as_second()).max(0)
}

/// Returns a length of time in its two largest units.
pub(super) fn age(secs: i64) -> String {
    match secs {
        ..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_what_its_process_and_its_beat_say() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let row = |ago: i64| DriverRow {
            run: RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
            pid: 1,
            process_start: 1,
            boot_id: "boot".to_owned(),
            beat_at: Timestamp::from_second(1_000_000 - ago).unwrap(),
        };
        assert_eq!(Driver::of(None, now, |_| true), Driver::None);
        assert_eq!(Driver::of(Some(&row(30)), now, |_| true), Driver::Alive);
        assert_eq!(Driver::of(Some(&row(-30)), now, |_| true), Driver::Alive);
        assert_eq!(Driver::of(Some(&row(301)), now, |_| true), Driver::Silent(301));
        assert_eq!(Driver::of(Some(&row(1)), now, |_| false), Driver::Gone);
    }

    #[test]
    fn ages_are_short_and_titles_harmless() {
        assert_eq!(
            [0, 59, 60, 3_599, 3_660, 86_400 * 3 + 3_600].map(age),
            ["0s", "59s", "1m", "59m", "1h01m", "3d01h"]
        );
        assert_eq!(plain("a\x1b[31m\nb\t\u{9b}c"), "a [31m b c");
    }
}
