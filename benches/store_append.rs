//! How fast many processes write into one store. Prints a table and fails when a write failed or a target is missed.
//! Each writer is this binary again, so that they share nothing but the files.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, RunId, Seq},
        repository::RepositoryKey,
    },
    ports::store::{Append, DriverRow, NewEvent, RunRow, Store},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The targets of eight processes that append at once.
const WANTED_PER_SECOND: f64 = 500.0;
const WANTED_LONGEST: Duration = Duration::from_millis(500);

/// One round: how many processes, and what each does.
struct Round {
    name: &'static str,
    processes: u32,
    appends: u64,
    beats: u64,
}

const ROUNDS: [Round; 3] = [
    Round { name: "one process appends", processes: 1, appends: 1000, beats: 0 },
    Round { name: "eight processes append", processes: 8, appends: 500, beats: 0 },
    Round { name: "fifty processes append and beat", processes: 50, appends: 20, beats: 20 },
];

struct Figures {
    writes_per_second: f64,
    longest: Duration,
    slowest_open: Duration,
    errors: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--writer") {
        write_as_told(&arguments[place + 1..]);
        return ExitCode::SUCCESS;
    }
    println!("{:34} {:>9} {:>12} {:>12} {:>7}", "", "writes/s", "longest", "slowest open", "errors");
    let mut failed = false;
    for round in &ROUNDS {
        let figures = measure(round);
        println!(
            "{:34} {:>9.0} {:>9.1} ms {:>9.1} ms {:>7}",
            round.name,
            figures.writes_per_second,
            millis(figures.longest),
            millis(figures.slowest_open),
            figures.errors
        );
        failed |= figures.errors > 0;
        failed |=
            round.processes == 8 && (figures.writes_per_second < WANTED_PER_SECOND || figures.longest > WANTED_LONGEST);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(round: &Round) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("state/rig.db");
    // The store exists, as it does for all processes but the first ever.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    drop(runtime.block_on(SqliteStore::open(&database, "host")).unwrap());
    let mut writers: Vec<(Child, BufReader<_>)> = (1..=round.processes)
        .map(|number| {
            let mut child = start(&database, number, round);
            let output = BufReader::new(child.stdout.take().unwrap());
            (child, output)
        })
        .collect();
    let mut line = String::new();
    for (_, output) in &mut writers {
        output.read_line(&mut line).unwrap();
    }
    let started = Instant::now();
    for (child, _) in &mut writers {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let mut figures =
        Figures { writes_per_second: 0.0, longest: Duration::ZERO, slowest_open: Duration::ZERO, errors: 0 };
    for (mut child, mut output) in writers {
        line.clear();
        output.read_line(&mut line).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        figures.longest = figures.longest.max(Duration::from_micros(numbers[0]));
        figures.slowest_open = figures.slowest_open.max(Duration::from_micros(numbers[1]));
        figures.errors += numbers[2];
        child.wait().unwrap();
    }
    let writes = u64::from(round.processes) * (round.appends + round.beats);
    figures.writes_per_second = writes as f64 / started.elapsed().as_secs_f64();
    figures
}

fn start(database: &Path, number: u32, round: &Round) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--writer")
        .arg(database)
        .args([number.to_string(), round.appends.to_string(), round.beats.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Opens the store, says so, waits for the start, writes, and reports: longest write and opening in microseconds, errors.
fn write_as_told(arguments: &[String]) {
    let number = |place: usize| arguments[place].parse::<u64>().unwrap();
    let (run, appends, beats) = (number(1), number(2), number(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opening = Instant::now();
        let store = SqliteStore::open(Path::new(&arguments[0]), "host").await.unwrap();
        let opened = opening.elapsed();
        println!("ready");
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
        let (mut longest, mut errors) = (Duration::ZERO, 0_u64);
        for write in 0..appends.max(beats) {
            let mut outcomes = Vec::with_capacity(2);
            if write < appends {
                let begun = Instant::now();
                outcomes.push((append(&store, run, write).await, begun.elapsed()));
            }
            if write < beats {
                let begun = Instant::now();
                outcomes.push((store.beat(&driver(run)).await.is_ok(), begun.elapsed()));
            }
            for (succeeded, took) in outcomes {
                longest = longest.max(took);
                errors += u64::from(!succeeded);
            }
        }
        println!("{} {} {errors}", longest.as_micros(), opened.as_micros());
    });
}

fn run_id(number: u64) -> RunId {
    RunId::new(format!("01ARZ3NDEKTSV4RRFF{number:08}")).unwrap()
}

fn driver(number: u64) -> DriverRow {
    let beat_at = jiff::Timestamp::now();
    DriverRow { run: run_id(number), pid: 1, process_start: 1, boot_id: "boot".to_owned(), beat_at }
}

async fn append(store: &SqliteStore, number: u64, expected: u64) -> bool {
    let now = jiff::Timestamp::now();
    let row = RunRow {
        run: run_id(number),
        project: ProjectName::new("widget").unwrap(),
        repository: RepositoryKey::stored("https://git.example.org/acme/widget"),
        issue: IssueNumber(number),
        title: "an issue with a title of usual length".to_owned(),
        seq: Seq(expected + 1),
        stage: "working".to_owned(),
        waits_for: "the agent".to_owned(),
        attempt: Attempt(1),
        pull_request: None,
        head: None,
        claimed_at: now,
        changed_at: now,
        open: true,
        holds_slot: true,
        usage_limit: None,
    };
    let body = serde_json::json!({ "phase": "awaiting_ci", "head": "a".repeat(40), "attempt": 1 });
    let events = [NewEvent { at: now, kind: "PhaseReported".to_owned(), version: 1, body }];
    let append = Append {
        run: &row.run,
        expected: Seq(expected),
        events: &events,
        row: &row,
        notices: &[],
        outgoing: &[],
        settled_since: None,
        taken_inputs: &[],
        slot_limit: None,
    };
    store.append(append).await.is_ok()
}
