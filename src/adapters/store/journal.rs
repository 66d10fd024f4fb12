//! The journal: appends with an expected sequence number, and reads in order.

use super::{
    codec::{Record, integer, read_all, time_text},
    inputs, notices, outbox, runs,
    sqlite::Db,
};
use crate::{
    domain::ids::{RunId, Seq},
    ports::store::{Append, RecordedEvent, StoreError, StoreResult},
};
use jiff::Timestamp;
use sqlx::{Row, sqlite::SqliteRow};

/// An event as its row, made before the writers' lock is taken.
pub(super) struct PreparedEvent<'a> {
    seq: i64,
    at: String,
    host: &'a str,
    kind: &'a str,
    version: u32,
    body: String,
}

/// Checks an append on its own and turns its events into rows.
pub(super) fn prepare<'a>(append: &Append<'a>, host: &'a str) -> StoreResult<Vec<PreparedEvent<'a>>> {
    if append.row.run != *append.run {
        let message = format!("an append to run {} came with the row of run {}", append.run, append.row.run);
        return Err(StoreError::Failed { message });
    }
    integer(append.expected.0)?;
    let rows = append.events.iter().zip(append.expected.0 + 1..).map(|(event, seq)| {
        Ok(PreparedEvent {
            seq: integer(seq)?,
            at: time_text(event.at),
            host,
            kind: &event.kind,
            version: event.version,
            body: event.body.to_string(),
        })
    });
    rows.collect()
}

/// Writes all of an append, inside a transaction that the caller ends.
pub(super) async fn append(mut db: Db<'_>, append: &Append<'_>, prepared: &[PreparedEvent<'_>]) -> StoreResult<Seq> {
    let actual = last_seq(&mut db, append.run).await?;
    if actual != append.expected {
        return Err(StoreError::Conflict { run: append.run.clone(), expected: append.expected, actual });
    }
    runs::check_claim(&mut db, append.row, append.slot_limit).await?;
    for event in prepared {
        insert(&mut db, append.run, event).await?;
    }
    let last = Seq(append.expected.0 + prepared.len() as u64);
    runs::put(&mut db, append.row, last).await?;
    if let Some(since) = append.settled_since {
        notices::settle_asks(&mut db, append.run, since).await?;
        outbox::settle_asks(&mut db, append.run, since).await?;
    }
    notices::put_all(&mut db, append.notices).await?;
    outbox::put_all(&mut db, append.outgoing).await?;
    inputs::take_all(&mut db, append.run, append.taken_inputs).await?;
    if !append.row.open {
        inputs::forget(&mut db, append.run).await?;
    }
    Ok(last)
}

async fn last_seq(db: &mut Db<'_>, run: &RunId) -> StoreResult<Seq> {
    let failed = db.failed();
    let row = sqlx::query("SELECT coalesce(max(seq), 0) AS seq FROM events WHERE stream = $1")
        .bind(run.as_str())
        .fetch_one(&mut *db.connection)
        .await
        .map_err(&failed)?;
    let seq: i64 = row.try_get("seq").map_err(&failed)?;
    Ok(Seq(seq.unsigned_abs()))
}

async fn insert(db: &mut Db<'_>, run: &RunId, event: &PreparedEvent<'_>) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query("INSERT INTO events (stream, seq, at, host, kind, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(run.as_str())
        .bind(event.seq)
        .bind(&event.at)
        .bind(event.host)
        .bind(event.kind)
        .bind(event.version)
        .bind(&event.body)
        .execute(&mut *db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Returns the events of a run after `after`; a gap in their numbers is damage too.
pub(super) async fn events(db: Db<'_>, run: &RunId, after: Seq) -> StoreResult<Vec<RecordedEvent>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT * FROM events WHERE stream = $1 AND seq > $2 ORDER BY seq")
        .bind(run.as_str())
        .bind(integer(after.0)?)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    let events = read_all("events", &rows, read)?;
    for (event, seq) in events.iter().zip(after.0 + 1..) {
        if event.seq != Seq(seq) {
            let message = format!("events.seq: run {run} has no event {seq} before {}", event.seq);
            return Err(StoreError::Damaged { position: event.position, message });
        }
    }
    Ok(events)
}

/// Returns the events of one kind, of all runs, in the order of the journal.
pub(super) async fn of_kind(db: Db<'_>, kind: &str, since: Option<Timestamp>) -> StoreResult<Vec<RecordedEvent>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT * FROM events WHERE kind = $1 AND at >= $2 ORDER BY position")
        .bind(kind)
        .bind(since.map(time_text).unwrap_or_default())
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("events", &rows, read)
}

/// Returns the whole journal's events after a position. A damaged record ends the batch before it, and is the error of the
/// call that begins with it, so that a reader can report it and go on after it.
pub(super) async fn journal(db: Db<'_>, after: i64, limit: u32) -> StoreResult<Vec<RecordedEvent>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT * FROM events WHERE position > $1 ORDER BY position LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    sound_prefix(&rows)
}

fn sound_prefix(rows: &[SqliteRow]) -> StoreResult<Vec<RecordedEvent>> {
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        match Record::new("events", row).and_then(|record| read(&record)) {
            Ok(event) => events.push(event),
            Err(error) if events.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(events)
}

fn read(record: &Record<'_>) -> StoreResult<RecordedEvent> {
    Ok(RecordedEvent {
        position: record.position(),
        run: record.parsed("stream")?,
        seq: Seq(record.number("seq")?),
        at: record.parsed("at")?,
        host: record.text("host")?,
        kind: record.text("kind")?,
        version: record.number("version")?,
        body: record.json("body")?,
    })
}
