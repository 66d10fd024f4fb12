//! Messages that wait for a channel, and what became of those that were sent.

use super::{
    codec::{Record, integer, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::{
        chat::Channel,
        ids::{IssueNumber, ProjectName, RunId},
    },
    ports::{
        outbox::{Body, MessageState, OutboxState, Outgoing, Waiting},
        store::{StoreError, StoreResult},
    },
};
use jiff::Timestamp;
use sqlx::Row;

/// Queues messages; one whose id is known, sent or not, is dropped.
pub(super) async fn put_all(db: &mut Db<'_>, messages: &[Outgoing]) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO outbox (channel, id, project, issue, run, lane, body, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
               ON CONFLICT (channel, id) DO NOTHING";
    for message in messages {
        let issue = message.issue.map(|issue| integer(issue.0)).transpose()?;
        sqlx::query(sql)
            .bind(message.channel.as_str())
            .bind(&message.id)
            .bind(message.project.as_str())
            .bind(issue)
            .bind(message.run.as_ref().map(|run| run.as_str()))
            .bind(message.lane())
            .bind(written(&message.body)?)
            .bind(time_text(message.at))
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

pub(super) async fn due(
    db: Db<'_>,
    channel: Channel,
    project: Option<&ProjectName>,
    now: Timestamp,
    limit: u32,
) -> StoreResult<Vec<Waiting>> {
    let failed = db.failed();
    let sql = "SELECT * FROM outbox WHERE channel = $1 AND sent_at IS NULL AND ($2 IS NULL OR project = $2) AND lane NOT IN \
               (SELECT lane FROM outbox WHERE channel = $1 AND sent_at IS NULL AND next_at > $3) ORDER BY position LIMIT $4";
    let rows = sqlx::query(sql)
        .bind(channel.as_str())
        .bind(project.map(ProjectName::as_str))
        .bind(time_text(now))
        .bind(limit)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("outbox", &rows, read)
}

pub(super) async fn crowded(db: Db<'_>, channel: Channel, most: u32) -> StoreResult<Vec<Waiting>> {
    let failed = db.failed();
    let sql = "SELECT * FROM outbox WHERE channel = $1 AND sent_at IS NULL AND attempts = 0 AND lane IN \
               (SELECT lane FROM outbox WHERE channel = $1 AND sent_at IS NULL GROUP BY lane HAVING count(*) > $2) \
               ORDER BY position";
    let rows = sqlx::query(sql).bind(channel.as_str()).bind(most).fetch_all(db.connection).await.map_err(failed)?;
    read_all("outbox", &rows, read)
}

pub(super) async fn next_due(db: Db<'_>, channel: Channel) -> StoreResult<Option<Timestamp>> {
    let failed = db.failed();
    let next: Option<String> =
        sqlx::query_scalar("SELECT min(next_at) FROM outbox WHERE channel = $1 AND sent_at IS NULL")
            .bind(channel.as_str())
            .fetch_one(db.connection)
            .await
            .map_err(failed)?;
    Ok(next.and_then(|text| text.parse().ok()))
}

pub(super) async fn state(db: Db<'_>, channel: Channel) -> StoreResult<OutboxState> {
    let failed = db.failed();
    let sql = "SELECT count(*) AS waiting, coalesce((SELECT error FROM outbox WHERE channel = $1 AND sent_at IS NULL AND error <> '' \
               ORDER BY position LIMIT 1), '') AS error FROM outbox WHERE channel = $1 AND sent_at IS NULL";
    let row = sqlx::query(sql).bind(channel.as_str()).fetch_one(db.connection).await.map_err(&failed)?;
    let waiting: i64 = row.try_get("waiting").map_err(&failed)?;
    Ok(OutboxState { waiting: waiting.unsigned_abs(), error: row.try_get("error").map_err(failed)? })
}

pub(super) async fn message_state(db: Db<'_>, channel: Channel, id: &str) -> StoreResult<Option<MessageState>> {
    let failed = db.failed();
    let row =
        sqlx::query("SELECT sent_at IS NOT NULL AS is_sent, event, error FROM outbox WHERE channel = $1 AND id = $2")
            .bind(channel.as_str())
            .bind(id)
            .fetch_optional(db.connection)
            .await
            .map_err(&failed)?;
    let read = |row: sqlx::sqlite::SqliteRow| {
        let is_sent: i64 = row.try_get("is_sent")?;
        Ok(MessageState { is_sent: is_sent != 0, event: row.try_get("event")?, error: row.try_get("error")? })
    };
    row.map(read).transpose().map_err(failed)
}

/// Notes what became of a message, unless that is known already.
pub(super) async fn settle(db: &mut Db<'_>, position: i64, event: &str, error: &str) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query("UPDATE outbox SET sent_at = $2, next_at = NULL, event = $3, error = $4 WHERE position = $1 AND sent_at IS NULL")
        .bind(position)
        .bind(time_text(Timestamp::now()))
        .bind(event)
        .bind(error)
        .execute(&mut *db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Rewrites what a run has asked people for since then and nobody has been told yet.
pub(super) async fn settle_asks(db: &mut Db<'_>, run: &RunId, since: Timestamp) -> StoreResult<()> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT * FROM outbox WHERE run = $1 AND sent_at IS NULL AND at >= $2 ORDER BY position")
        .bind(run.as_str())
        .bind(time_text(since))
        .fetch_all(&mut *db.connection)
        .await
        .map_err(&failed)?;
    // A damaged one is nothing that could be rewritten, and must not keep the run from going on.
    for waiting in rows.iter().flat_map(|row| Record::new("outbox", row).and_then(|record| read(&record))) {
        let Some(body) = waiting.message.body.settled() else { continue };
        sqlx::query("UPDATE outbox SET body = $2 WHERE position = $1")
            .bind(waiting.position)
            .bind(written(&body)?)
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

pub(super) async fn put_off(db: Db<'_>, position: i64, until: Timestamp, error: &str) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query(
        "UPDATE outbox SET attempts = attempts + 1, next_at = $2, error = $3 WHERE position = $1 AND sent_at IS NULL",
    )
    .bind(position)
    .bind(time_text(until))
    .bind(error)
    .execute(db.connection)
    .await
    .map(drop)
    .map_err(failed)
}

pub(super) async fn fold(db: &mut Db<'_>, positions: &[i64], into: &Outgoing) -> StoreResult<()> {
    for position in positions {
        settle(db, *position, "", "folded into one message with others").await?;
    }
    put_all(db, std::slice::from_ref(into)).await
}

fn written(body: &Body) -> StoreResult<String> {
    serde_json::to_string(body)
        .map_err(|error| StoreError::Failed { message: format!("a message cannot be written: {error}") })
}

fn read(record: &Record<'_>) -> StoreResult<Waiting> {
    let body = serde_json::from_value(record.json("body")?).map_err(|error| StoreError::Damaged {
        position: record.position(),
        message: format!("outbox.body: {error}"),
    })?;
    Ok(Waiting {
        position: record.position(),
        lane: record.text("lane")?,
        attempts: record.number("attempts")?,
        message: Outgoing {
            id: record.text("id")?,
            channel: record.parsed("channel")?,
            project: record.parsed("project")?,
            issue: record.optional_number("issue")?.map(IssueNumber),
            run: record.optional_parsed("run")?,
            body,
            at: record.parsed("at")?,
        },
    })
}
