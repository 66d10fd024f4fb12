//! What local CI has found of commits that no run leads.

use super::{
    codec::{Record, integer, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::{
        ids::{ProjectName, PullRequestNumber, Sha},
        repository::RepositoryKey,
    },
    ports::store::{CheckRow, StoreError, StoreResult},
};
use jiff::SignedDuration;

/// How long a verdict is kept, counted back from the newest: a pull request that is older is checked again.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Returns what is known of a commit by a command.
pub(super) async fn of(
    db: Db<'_>,
    repository: &RepositoryKey,
    head: &Sha,
    command: &str,
) -> StoreResult<Option<CheckRow>> {
    let failed = db.failed();
    let sql = "SELECT rowid AS position, * FROM checks WHERE repository = $1 AND head = $2 AND command = $3";
    let rows = sqlx::query(sql)
        .bind(repository.as_str())
        .bind(head.as_str())
        .bind(command)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    Ok(read_all("checks", &rows, read)?.into_iter().next())
}

/// Returns the newest verdicts on a pull request, the newest first.
pub(super) async fn of_pull_request(
    db: Db<'_>,
    project: &ProjectName,
    number: PullRequestNumber,
    limit: u32,
) -> StoreResult<Vec<CheckRow>> {
    let failed = db.failed();
    let sql = "SELECT rowid AS position, * FROM checks WHERE project = $1 AND pull_request = $2 \
               ORDER BY at DESC, position DESC LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(project.as_str())
        .bind(integer(number.0)?)
        .bind(limit)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("checks", &rows, read)
}

/// Writes what was found in the place of what was known, and drops what is too old.
pub(super) async fn record(db: Db<'_>, row: &CheckRow) -> StoreResult<()> {
    let failed = db.failed();
    let verdict = serde_json::to_string(&row.verdict)
        .map_err(|error| StoreError::Failed { message: format!("a verdict cannot be written: {error}") })?;
    let sql = "INSERT INTO checks (repository, head, command, project, pull_request, verdict, breaks, at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (repository, head, command) DO UPDATE SET project = excluded.project, \
               pull_request = excluded.pull_request, verdict = excluded.verdict, breaks = excluded.breaks, at = excluded.at";
    sqlx::query(sql)
        .bind(row.repository.as_str())
        .bind(row.head.as_str())
        .bind(&row.command)
        .bind(row.project.as_str())
        .bind(integer(row.pull_request.0)?)
        .bind(verdict)
        .bind(i64::from(row.breaks))
        .bind(time_text(row.at))
        .execute(&mut *db.connection)
        .await
        .map_err(&failed)?;
    let Ok(oldest_kept) = row.at.checked_sub(KEPT) else { return Ok(()) };
    sqlx::query("DELETE FROM checks WHERE at < $1")
        .bind(time_text(oldest_kept))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

fn read(record: &Record<'_>) -> StoreResult<CheckRow> {
    let verdict = serde_json::from_value(record.json("verdict")?);
    Ok(CheckRow {
        repository: RepositoryKey::stored(record.text("repository")?),
        head: record.parsed("head")?,
        command: record.text("command")?,
        project: record.parsed("project")?,
        pull_request: PullRequestNumber(record.number("pull_request")?),
        verdict: verdict.map_err(|error| StoreError::Damaged {
            position: record.position(),
            message: format!("checks.verdict: {error}"),
        })?,
        breaks: record.number("breaks")?,
        at: record.parsed("at")?,
    })
}
