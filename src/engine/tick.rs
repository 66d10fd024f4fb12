//! One tick over one project: merge what is ready, go on with open runs, start the next issues. Bounded in time; never
//! waits for a session. Safe at any rate and side by side with other ticks.

use super::{
    World, landing,
    launch::launch,
    merge_scan::merge_scan,
    mirrors, notices,
    prune::prune,
    snapshot::{Snapshot, words_of as words_of_unreadable},
    tidy::tidy,
};
use crate::{
    domain::{
        code::Code,
        ids::{IssueNumber, PullRequestNumber},
        known::Known,
    },
    ports::{
        allowance::Limit,
        forge::ForgeError,
        launch::{LaunchError, ProcessIdentity},
        lock::LockError,
        store::{DecisionRow, DriverRow, RunRow, StoreError},
    },
};
use jiff::SignedDuration;
use std::time::Duration;

/// A driver without a sign of life for this long is ended, and its run adopted. Until then a living process leads its run:
/// it holds the run's lock, so another driver could only leave again.
const STALE_BEAT: SignedDuration = SignedDuration::from_mins(5);
/// A sign of life is due every 30 seconds; people are told of a driver that has given none for this long.
const LATE_BEAT: SignedDuration = SignedDuration::from_secs(90);
/// Time between the two looks at a silent driver, in which the machine is awake: after a sleep of the machine, or of both,
/// cron may be awake before it, and a sign of life is due every 30 seconds.
const SECOND_LOOK: Duration = Duration::from_secs(35);

#[derive(Debug, thiserror::Error)]
pub enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What a tick decided about one thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// `issue` or `pull_request`.
    pub subject_kind: &'static str,
    pub subject: u64,
    pub code: Code,
    pub words: String,
}

/// Everything that a tick did and decided.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
    /// What went wrong, in words; the tick went on all the same.
    pub problems: Vec<String>,
    /// Requests to the forge.
    pub requests: u32,
    /// Why not everything was asked, as a stable code with its words.
    pub ended_early: Option<(Code, String)>,
}

impl Report {
    pub(super) fn pull_request(&mut self, number: PullRequestNumber, code: Code, words: impl Into<String>) {
        self.lines.push(Line { subject_kind: "pull_request", subject: number.0, code, words: words.into() });
    }

    fn end_early(&mut self, limit: &Limit, requests: u32) {
        self.requests = requests;
        if requests > 0 {
            self.problems.push(format!("the tick ended early: {limit}; what was not asked is unknown"));
        }
        self.ended_early = Some((limit.code(), limit.to_string()));
    }

    pub(super) fn issue(&mut self, number: IssueNumber, code: Code, words: impl Into<String>) {
        self.lines.push(Line { subject_kind: "issue", subject: number.0, code, words: words.into() });
    }

    /// Notes what went wrong, once however often it shows.
    pub(super) fn problem(&mut self, words: impl Into<String>) {
        let words = words.into();
        if !self.problems.contains(&words) {
            self.problems.push(words);
        }
    }
}

/// Makes one tick over the world's project: does what a complete snapshot of it says.
pub async fn tick(world: &World, snapshot: Snapshot) -> Result<Report, TickError> {
    let mut report = Report::default();
    world.allowance.begin_acting();
    if let Some(limit @ Limit::Pause { .. }) = world.allowance.hit() {
        // Nothing can be done on the forge; who works here is not its concern.
        let silent = Silent::look(world).await?;
        let (led_in_silence, open_runs) = silent.part(snapshot.open_runs);
        adopt(world, &open_runs, &mut report).await?;
        silent.end(world).await?;
        adopt(world, &led_in_silence, &mut report).await?;
        record(world, &report).await?;
        // The tick that was told so says that something is wrong; those that wait only say why they do nothing.
        report.end_early(&limit, world.allowance.used());
        return Ok(report);
    }
    let Snapshot { open_runs, pull_requests, not_ours, unreadable, queue, problems } = snapshot;
    // What was not asked is told once, for the whole tick.
    if world.allowance.hit().is_none() {
        report.problems = problems;
    }
    for one in &unreadable {
        report.problem(format!("a pull request cannot be read: {}", words_of_unreadable(one)));
        if let Some(number) = one.number {
            report.pull_request(PullRequestNumber(number), Code::Unknown, format!("it cannot be read: {}", one.why));
        }
    }
    for (number, why) in not_ours {
        report.pull_request(number, Code::NotOurs, why);
    }
    let silent = Silent::look(world).await?;
    landing::go_on(world, &mut report).await?;
    let stranded = match pull_requests {
        Known::Known(list) => merge_scan(world, &list, &mut report).await,
        Known::Unknown(why) => {
            if world.allowance.hit().is_none() {
                report.problem(format!("pull requests are unknown: {why}"));
            }
            Vec::new()
        }
    };
    let (led_in_silence, open_runs) = silent.part(open_runs);
    adopt(world, &open_runs, &mut report).await?;
    launch(world, &queue, &stranded, &mut report).await?;
    if let Err(error) = mirrors::go_on(world, &mut report).await {
        report.problems.push(format!("mirrors: {error}"));
    }
    notices::send(world).await?;
    if let Err(error) = prune(world).await {
        report.problem(format!("what was told long ago stays: {error}"));
    }
    tidy(world).await?;
    // Last: it may have to wait.
    silent.end(world).await?;
    adopt(world, &led_in_silence, &mut report).await?;
    record(world, &report).await?;
    report.requests = world.allowance.used();
    if let Some(limit) = world.allowance.hit() {
        report.end_early(&limit, report.requests);
    }
    Ok(report)
}

/// Drivers that lived and showed no sign of life when the tick began.
struct Silent {
    rows: Vec<DriverRow>,
    since: Duration,
}

impl Silent {
    async fn look(world: &World) -> Result<Self, StoreError> {
        let (now, since) = (world.clock.now(), world.clock.monotonic());
        let mut rows = world.store.drivers().await?;
        rows.retain(|row| now.duration_since(row.beat_at) >= STALE_BEAT);
        let (rows, dead): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| world.machine.is_alive(&identity_of(row)));
        for row in dead {
            world.store.remove_driver(&row.run).await?;
        }
        for row in &rows {
            tracing::info!(run = %row.run, pid = row.pid, since = %row.beat_at, "a driver is silent; it is looked at again");
        }
        Ok(Self { rows, since })
    }

    /// Takes apart the runs that they lead and all others.
    fn part(&self, open_runs: Vec<RunRow>) -> (Vec<RunRow>, Vec<RunRow>) {
        open_runs.into_iter().partition(|run| self.rows.iter().any(|row| row.run == run.run))
    }

    /// Ends those that have shown none since, so that their runs are adopted. Waits for them first.
    async fn end(&self, world: &World) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let waited = world.clock.monotonic().saturating_sub(self.since);
        tokio::time::sleep(SECOND_LOOK.saturating_sub(waited)).await;
        // One that has given a sign of life since, or that another tick has ended, is in another row or in none.
        for row in world.store.drivers().await?.iter().filter(|row| self.rows.contains(row)) {
            tracing::warn!(run = %row.run, pid = row.pid, "a driver without a sign of life is ended");
            world.machine.end(&identity_of(row));
            world.store.remove_driver(&row.run).await?;
        }
        Ok(())
    }
}

/// Starts a driver for every open run that has none; where one lives after all, the newcomer leaves.
async fn adopt(world: &World, open_runs: &[RunRow], report: &mut Report) -> Result<(), TickError> {
    let drivers = world.store.drivers().await?;
    let now = world.clock.now();
    // What another project of the same repository leads is adopted by that project's tick, with its settings.
    for row in open_runs.iter().filter(|row| row.project == world.project.name) {
        let leader =
            drivers.iter().find(|driver| driver.run == row.run && world.machine.is_alive(&identity_of(driver)));
        if let Some(driver) = leader {
            let late = now.duration_since(driver.beat_at) >= LATE_BEAT;
            let silent = if late { format!("; its driver is silent since {}", driver.beat_at) } else { String::new() };
            report.issue(row.issue, Code::OpenRun, format!("in work: waits for {}{silent}", row.waits_for));
            continue;
        }
        if let Err(error) = world.machine.launch_driver(&row.project, row.issue, &row.run) {
            report.issue(row.issue, Code::Unknown, error.to_string());
            report.problems.push(error.to_string());
            continue;
        }
        // Adopted a while ago as well, and nobody leads it: its drivers do not get as far as a sign of life.
        let last = world.store.decisions(&row.project, Some(row.issue.0), 1).await?;
        let in_vain = |last: &DecisionRow| {
            let is_same = last.code == Code::Adopted.name() && last.words == words_of(row);
            is_same && now.duration_since(last.at) >= LATE_BEAT
        };
        if last.first().is_some_and(in_vain) {
            let log = world.root.run(&row.project, row.issue).driver_log();
            report.problems.push(format!("the driver of issue {} does not stay; see {}", row.issue, log.display()));
        }
        report.issue(row.issue, Code::Adopted, words_of(row));
    }
    Ok(())
}

fn identity_of(driver: &DriverRow) -> ProcessIdentity {
    ProcessIdentity { pid: driver.pid, start: driver.process_start, boot_id: driver.boot_id.clone() }
}

fn words_of(row: &RunRow) -> String {
    format!("its run goes on: waits for {} since {}", row.waits_for, row.changed_at)
}

async fn record(world: &World, report: &Report) -> Result<(), StoreError> {
    let at = world.clock.now();
    let rows: Vec<DecisionRow> = report
        .lines
        .iter()
        .map(|line| DecisionRow {
            project: world.project.name.clone(),
            subject_kind: line.subject_kind.to_owned(),
            subject: line.subject,
            code: line.code.name().to_owned(),
            words: line.words.clone(),
            at,
        })
        .collect();
    world.store.record_decisions(&rows).await
}
