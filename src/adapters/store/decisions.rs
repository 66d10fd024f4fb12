//! Why each candidate was taken or left, as a history of changes.

use super::{
    codec::{Record, integer, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::ids::ProjectName,
    ports::store::{DecisionRow, StoreResult},
};
use jiff::SignedDuration;

/// How long decisions are kept, counted back from the newest that is recorded.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Records what differs from the last decision of its subject, and drops what is too old. When nothing differs, nothing is
/// written to the disk.
pub(super) async fn record(db: Db<'_>, decisions: &[DecisionRow]) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO decisions (project, subject_kind, subject, code, words, at) \
               SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (\
                 SELECT 1 FROM (SELECT code, words FROM decisions \
                                WHERE project = $1 AND subject_kind = $2 AND subject = $3 ORDER BY id DESC LIMIT 1) \
                 WHERE code = $4 AND words = $5)";
    for decision in decisions {
        sqlx::query(sql)
            .bind(decision.project.as_str())
            .bind(&decision.subject_kind)
            .bind(integer(decision.subject)?)
            .bind(&decision.code)
            .bind(&decision.words)
            .bind(time_text(decision.at))
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    let Some(newest) = decisions.iter().map(|decision| decision.at).max() else { return Ok(()) };
    let Ok(oldest_kept) = newest.checked_sub(KEPT) else { return Ok(()) };
    sqlx::query("DELETE FROM decisions WHERE at < $1")
        .bind(time_text(oldest_kept))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Returns the newest decisions of a project, or of one subject of it, the newest first.
pub(super) async fn newest(
    db: Db<'_>,
    project: &ProjectName,
    subject: Option<u64>,
    limit: u32,
) -> StoreResult<Vec<DecisionRow>> {
    let failed = db.failed();
    let sql = "SELECT id AS position, * FROM decisions WHERE project = $1 AND ($2 IS NULL OR subject = $2) \
               ORDER BY id DESC LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(project.as_str())
        .bind(subject.map(integer).transpose()?)
        .bind(limit)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("decisions", &rows, read)
}

/// Returns the last decision of each subject of a project for which that has this code, the oldest first.
pub(super) async fn standing(db: Db<'_>, project: &ProjectName, code: &str) -> StoreResult<Vec<DecisionRow>> {
    let failed = db.failed();
    let sql = "SELECT id AS position, * FROM decisions AS one WHERE project = $1 AND code = $2 AND NOT EXISTS (\
                 SELECT 1 FROM decisions AS later WHERE later.project = one.project AND later.id > one.id \
                 AND later.subject_kind = one.subject_kind AND later.subject = one.subject) ORDER BY id";
    let rows = sqlx::query(sql).bind(project.as_str()).bind(code).fetch_all(db.connection).await.map_err(failed)?;
    read_all("decisions", &rows, read)
}

fn read(record: &Record<'_>) -> StoreResult<DecisionRow> {
    Ok(DecisionRow {
        project: record.parsed("project")?,
        subject_kind: record.text("subject_kind")?,
        subject: record.number("subject")?,
        code: record.text("code")?,
        words: record.text("words")?,
        at: record.parsed("at")?,
    })
}
