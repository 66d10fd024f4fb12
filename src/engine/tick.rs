//! One tick over one project: merge what is ready, go on with open runs, start the next issues. Bounded in time; never
//! waits for a session. Safe at any rate and side by side with other ticks.

use super::{
    World, dispatch,
    launch::launch,
    merge_scan::merge_scan,
    notices,
    snapshot::{self, Snapshot},
};
use crate::{
    domain::{
        ids::{IssueNumber, PullRequestNumber},
        known::Known,
    },
    ports::{
        forge::ForgeError,
        launch::{LaunchError, ProcessIdentity},
        lock::LockError,
        store::{DecisionRow, RunRow, StoreError},
    },
};
use jiff::SignedDuration;

/// A driver without a sign of life for this long is ended, and its run adopted.
const STALE_BEAT: SignedDuration = SignedDuration::from_mins(5);
/// A driver whose sign of life is younger than this, and whose process lives, needs no other.
const FRESH_BEAT: SignedDuration = SignedDuration::from_secs(90);

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
    /// Stable code.
    pub code: String,
    pub words: String,
}

/// Everything that a tick did and decided.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<Line>,
    /// What went wrong, in words; the tick went on all the same.
    pub problems: Vec<String>,
}

impl Report {
    pub(super) fn pull_request(&mut self, number: PullRequestNumber, code: &str, words: impl Into<String>) {
        self.lines.push(Line {
            subject_kind: "pull_request",
            subject: number.0,
            code: code.into(),
            words: words.into(),
        });
    }

    pub(super) fn issue(&mut self, number: IssueNumber, code: &str, words: impl Into<String>) {
        self.lines.push(Line { subject_kind: "issue", subject: number.0, code: code.into(), words: words.into() });
    }
}

/// Makes one tick over the world's project.
pub async fn tick(world: &World) -> Result<Report, TickError> {
    let mut report = Report::default();
    let Snapshot { open_runs, pull_requests, mut queue } = snapshot::fetch(world).await?;
    let stranded = match pull_requests {
        Known::Known(list) => merge_scan(world, &open_runs, &list, &mut report).await,
        Known::Unknown(why) => {
            report.problems.push(format!("pull requests are unknown: {why}"));
            Vec::new()
        }
    };
    end_stale_drivers(world).await?;
    adopt(world, &open_runs, &mut report).await?;
    launch(world, &mut queue, &stranded, &mut report).await?;
    if let Err(error) = mirrors(world).await {
        report.problems.push(format!("mirrors: {error}"));
    }
    notices::send(world).await?;
    record(world, &report).await?;
    Ok(report)
}

/// Ends drivers that live and show no sign of life; their runs are adopted like all others.
async fn end_stale_drivers(world: &World) -> Result<(), StoreError> {
    let now = world.clock.now();
    for row in world.store.drivers().await? {
        if now.duration_since(row.beat_at) < STALE_BEAT {
            continue;
        }
        let process = ProcessIdentity { pid: row.pid, start: row.process_start, boot_id: row.boot_id.clone() };
        if world.machine.is_alive(&process) {
            tracing::warn!(run = %row.run, pid = row.pid, "a driver without a sign of life is ended");
            world.machine.end(&process);
        }
        world.store.remove_driver(&row.run).await?;
    }
    Ok(())
}

/// Starts a driver for every open run that has none; where one lives after all, the newcomer leaves.
async fn adopt(world: &World, open_runs: &[RunRow], report: &mut Report) -> Result<(), TickError> {
    let drivers = world.store.drivers().await?;
    let now = world.clock.now();
    for row in open_runs {
        let led = drivers.iter().find(|driver| driver.run == row.run).is_some_and(|driver| {
            let process =
                ProcessIdentity { pid: driver.pid, start: driver.process_start, boot_id: driver.boot_id.clone() };
            now.duration_since(driver.beat_at) < FRESH_BEAT && world.machine.is_alive(&process)
        });
        if led {
            report.issue(row.issue, "open_run", format!("in work: waits for {}", row.waits_for));
            continue;
        }
        if let Err(error) = world.machine.launch_driver(&row.project, row.issue, &row.run) {
            report.issue(row.issue, "unknown", error.to_string());
            report.problems.push(error.to_string());
            continue;
        }
        // Adopted at the tick before as well, and nobody leads it: its drivers do not get as far as a sign of life.
        let last = world.store.decisions(&row.project, Some(row.issue.0), 1).await?;
        if last.first().is_some_and(|decision| decision.code == "adopted" && decision.words == words_of(row)) {
            let log = world.root.run(&row.project, row.issue).driver_log();
            report.problems.push(format!("the driver of issue {} does not stay; see {}", row.issue, log.display()));
        }
        report.issue(row.issue, "adopted", words_of(row));
    }
    Ok(())
}

fn words_of(row: &RunRow) -> String {
    format!("its run goes on: waits for {} since {}", row.waits_for, row.changed_at)
}

/// Goes on with mirrors that do not have the primary branch's tip.
async fn mirrors(world: &World) -> Result<(), dispatch::DispatchError> {
    if world.project.mirrors.is_empty() {
        return Ok(());
    }
    let rows = world.store.mirrors(&world.project.name).await?;
    // Before anything was pushed by rig there is nothing to catch up with.
    if rows.is_empty() {
        return Ok(());
    }
    let tip = world.forge.branch_tip(&world.project.primary_branch).await?;
    let all_there = world.project.mirrors.keys().all(|name| {
        rows.iter().any(|row| row.mirror == *name && row.error.is_empty() && row.sha.is_some() && row.sha == tip)
    });
    if all_there { Ok(()) } else { dispatch::push_mirrors(world).await.map(|_| ()) }
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
            code: line.code.clone(),
            words: line.words.clone(),
            at,
        })
        .collect();
    world.store.record_decisions(&rows).await
}
