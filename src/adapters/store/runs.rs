//! The projection of runs: what tools show, and what keeps one open run an issue and the slots of a repository.

use super::{
    codec::{Record, integer, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq},
        repository::RepositoryKey,
    },
    ports::store::{RunRow, StoreError, StoreResult},
};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row};

/// Which rows count for the repository `$1` and the project `$2`: the project's own too, for rows without a repository and for a
/// project that has been given another one.
const COUNTS: &str = "(project = $2 OR (repository = $1 AND repository <> ''))";

/// Refuses a second open run of an issue, and a run beyond the repository's slots. Inside the append's transaction, so that two
/// claims at once cannot both pass.
pub(super) async fn check_claim(db: &mut Db<'_>, row: &RunRow, slot_limit: Option<u32>) -> StoreResult<()> {
    if !row.open {
        return Ok(());
    }
    if let Some(run) = other_open_run(db, row).await? {
        return Err(StoreError::AlreadyOpen { project: row.project.clone(), issue: row.issue, run });
    }
    if let Some(limit) = slot_limit.filter(|_| row.holds_slot) {
        let open = slots_of_others(db, row).await?;
        if open >= limit {
            return Err(StoreError::NoSlot { project: row.project.clone(), open, limit });
        }
    }
    Ok(())
}

async fn other_open_run(db: &mut Db<'_>, row: &RunRow) -> StoreResult<Option<RunId>> {
    let failed = db.failed();
    let sql =
        format!("SELECT rowid AS position, run FROM runs WHERE {COUNTS} AND issue = $3 AND open = 1 AND run <> $4");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(row.repository.as_str())
        .bind(row.project.as_str())
        .bind(integer(row.issue.0)?)
        .bind(row.run.as_str())
        .fetch_optional(&mut *db.connection)
        .await
        .map_err(failed)?;
    found.map(|found| Record::new("runs", &found)?.parsed("run")).transpose()
}

async fn slots_of_others(db: &mut Db<'_>, row: &RunRow) -> StoreResult<u32> {
    let failed = db.failed();
    let sql =
        format!("SELECT count(*) AS taken FROM runs WHERE {COUNTS} AND open = 1 AND holds_slot = 1 AND run <> $3");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(row.repository.as_str())
        .bind(row.project.as_str())
        .bind(row.run.as_str())
        .fetch_one(&mut *db.connection)
        .await
        .map_err(&failed)?;
    let taken: i64 = found.try_get("taken").map_err(&failed)?;
    Ok(u32::try_from(taken).unwrap_or(u32::MAX))
}

/// Writes the row of a run as it is after its event `seq`.
pub(super) async fn put(db: &mut Db<'_>, row: &RunRow, seq: Seq) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO runs (run, project, issue, title, seq, stage, waits_for, attempt, pull_request, head, \
               claimed_at, changed_at, open, holds_slot, repository, usage_limit) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
               ON CONFLICT (run) DO UPDATE SET title = excluded.title, seq = excluded.seq, stage = excluded.stage, \
               waits_for = excluded.waits_for, attempt = excluded.attempt, pull_request = excluded.pull_request, \
               head = excluded.head, claimed_at = excluded.claimed_at, changed_at = excluded.changed_at, \
               open = excluded.open, holds_slot = excluded.holds_slot, repository = excluded.repository, \
               usage_limit = excluded.usage_limit";
    sqlx::query(sql)
        .bind(row.run.as_str())
        .bind(row.project.as_str())
        .bind(integer(row.issue.0)?)
        .bind(&row.title)
        .bind(integer(seq.0)?)
        .bind(&row.stage)
        .bind(&row.waits_for)
        .bind(row.attempt.0)
        .bind(row.pull_request.map(|number| integer(number.0)).transpose()?)
        .bind(row.head.as_ref().map(|head| head.as_str()))
        .bind(time_text(row.claimed_at))
        .bind(time_text(row.changed_at))
        .bind(i64::from(row.open))
        .bind(i64::from(row.holds_slot))
        .bind(row.repository.as_str())
        .bind(row.usage_limit.map(time_text))
        .execute(&mut *db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Returns the open runs, the oldest claim first.
pub(super) async fn open(db: Db<'_>, project: Option<&ProjectName>) -> StoreResult<Vec<RunRow>> {
    let failed = db.failed();
    let sql = "SELECT rowid AS position, * FROM runs WHERE open = 1 AND ($1 IS NULL OR project = $1) \
               ORDER BY claimed_at, run";
    let rows =
        sqlx::query(sql).bind(project.map(ProjectName::as_str)).fetch_all(db.connection).await.map_err(failed)?;
    read_all("runs", &rows, read)
}

/// Returns the open runs that count for a project, the oldest claim first.
pub(super) async fn open_of(db: Db<'_>, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<Vec<RunRow>> {
    let failed = db.failed();
    let sql = format!("SELECT rowid AS position, * FROM runs WHERE open = 1 AND {COUNTS} ORDER BY claimed_at, run");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(repository.as_str())
        .bind(project.as_str())
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("runs", &rows, read)
}

/// Gives a project's open runs their repository where none is written down.
pub(super) async fn name_repository(db: Db<'_>, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query("UPDATE OR IGNORE runs SET repository = $2 WHERE open = 1 AND repository = '' AND project = $1")
        .bind(project.as_str())
        .bind(repository.as_str())
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Returns the newest runs, the newest claim first.
pub(super) async fn recent(db: Db<'_>, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<RunRow>> {
    let failed = db.failed();
    let sql = "SELECT rowid AS position, * FROM runs WHERE $1 IS NULL OR project = $1 \
               ORDER BY claimed_at DESC, run DESC LIMIT $2";
    let rows = sqlx::query(sql)
        .bind(project.map(ProjectName::as_str))
        .bind(limit)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("runs", &rows, read)
}

/// Returns one run.
pub(super) async fn of(db: Db<'_>, run: &RunId) -> StoreResult<Option<RunRow>> {
    let failed = db.failed();
    let row = sqlx::query("SELECT rowid AS position, * FROM runs WHERE run = $1")
        .bind(run.as_str())
        .fetch_optional(db.connection)
        .await
        .map_err(failed)?;
    row.map(|row| read(&Record::new("runs", &row)?)).transpose()
}

/// Returns the latest end of a usage limit that is not over yet.
pub(super) async fn usage_limit(db: Db<'_>, now: Timestamp) -> StoreResult<Option<Timestamp>> {
    let failed = db.failed();
    let sql =
        "SELECT rowid AS position, usage_limit FROM runs WHERE usage_limit > $1 ORDER BY usage_limit DESC LIMIT 1";
    let row = sqlx::query(sql).bind(time_text(now)).fetch_optional(db.connection).await.map_err(failed)?;
    Ok(row.map(|row| Record::new("runs", &row)?.optional_parsed("usage_limit")).transpose()?.flatten())
}

/// Returns the newest run of an issue.
pub(super) async fn latest(db: Db<'_>, project: &ProjectName, issue: IssueNumber) -> StoreResult<Option<RunRow>> {
    let failed = db.failed();
    let sql = "SELECT rowid AS position, * FROM runs WHERE project = $1 AND issue = $2 \
               ORDER BY claimed_at DESC, run DESC LIMIT 1";
    let row = sqlx::query(sql)
        .bind(project.as_str())
        .bind(integer(issue.0)?)
        .fetch_optional(db.connection)
        .await
        .map_err(failed)?;
    row.map(|row| read(&Record::new("runs", &row)?)).transpose()
}

pub(super) fn read(record: &Record<'_>) -> StoreResult<RunRow> {
    Ok(RunRow {
        run: record.parsed("run")?,
        project: record.parsed("project")?,
        repository: RepositoryKey::stored(record.text("repository")?),
        issue: IssueNumber(record.number("issue")?),
        title: record.text("title")?,
        seq: Seq(record.number("seq")?),
        stage: record.text("stage")?,
        waits_for: record.text("waits_for")?,
        attempt: Attempt(record.number("attempt")?),
        pull_request: record.optional_number("pull_request")?.map(PullRequestNumber),
        head: record.optional_parsed("head")?,
        claimed_at: record.parsed("claimed_at")?,
        changed_at: record.parsed("changed_at")?,
        open: record.flag("open")?,
        holds_slot: record.flag("holds_slot")?,
        usage_limit: record.optional_parsed("usage_limit")?,
    })
}
