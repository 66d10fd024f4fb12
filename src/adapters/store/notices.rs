//! The outbox of notices to people.

use super::{
    codec::{Record, integer, time_text},
    sqlite::Db,
};
use crate::{
    domain::{
        chat::letter::SETTLED,
        ids::{EffectId, IssueNumber, ProjectName, RunId},
    },
    ports::store::{Notice, StoreResult},
};
use futures::TryStreamExt;
use jiff::Timestamp;

/// Queues notices; one whose id is known, sent or not, is dropped.
pub(super) async fn put_all(db: &mut Db<'_>, notices: &[Notice]) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO notices (id, project, issue, text, urgent, on_issue, at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (id) DO NOTHING";
    for notice in notices {
        sqlx::query(sql)
            .bind(notice.id.to_string())
            .bind(notice.project.as_str())
            .bind(integer(notice.issue.0)?)
            .bind(&notice.text)
            .bind(i64::from(notice.urgent))
            .bind(i64::from(notice.on_issue))
            .bind(time_text(notice.at))
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

/// Queues one notice.
pub(super) async fn put(mut db: Db<'_>, notice: &Notice) -> StoreResult<()> {
    put_all(&mut db, std::slice::from_ref(notice)).await
}

/// Makes what a run has asked since then, and nobody has been told yet, a word for the log alone.
pub(super) async fn settle_asks(db: &mut Db<'_>, run: &RunId, since: Timestamp) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "UPDATE notices SET urgent = 0, on_issue = 0, text = $3 || text \
               WHERE sent_at IS NULL AND urgent = 1 AND at >= $2 AND substr(id, 1, length($1)) = $1";
    sqlx::query(sql)
        .bind(format!("{run}-"))
        .bind(time_text(since))
        .bind(SETTLED)
        .execute(&mut *db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Returns notices that nobody has sent, in the order in which they were queued. A damaged one is logged and left out: it must
/// not keep the others from people.
pub(super) async fn unsent(db: Db<'_>, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<Notice>> {
    let failed = db.failed();
    let sql = "SELECT * FROM notices WHERE sent_at IS NULL AND ($1 IS NULL OR project = $1) ORDER BY position";
    let mut rows = sqlx::query(sql).bind(project.map(ProjectName::as_str)).fetch(db.connection);
    let mut notices = Vec::new();
    while notices.len() < limit as usize {
        let Some(row) = rows.try_next().await.map_err(&failed)? else { break };
        match Record::new("notices", &row).and_then(|record| read(&record)) {
            Ok(notice) => notices.push(notice),
            Err(error) => tracing::error!(%error, "a notice cannot be read and is left out"),
        }
    }
    Ok(notices)
}

/// Marks a notice as sent; again is no error.
pub(super) async fn mark_sent(db: Db<'_>, id: &EffectId) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query("UPDATE notices SET sent_at = $2 WHERE id = $1 AND sent_at IS NULL")
        .bind(id.to_string())
        .bind(time_text(Timestamp::now()))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

fn read(record: &Record<'_>) -> StoreResult<Notice> {
    Ok(Notice {
        id: record.parsed("id")?,
        project: record.parsed("project")?,
        issue: IssueNumber(record.number("issue")?),
        text: record.text("text")?,
        urgent: record.flag("urgent")?,
        on_issue: record.flag("on_issue")?,
        at: record.parsed("at")?,
    })
}
