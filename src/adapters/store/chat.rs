//! The threads of runs, and how far a chat was read.

use super::{
    codec::{Record, read_all, time_text},
    inputs, outbox,
    sqlite::Db,
};
use crate::{
    domain::ids::RunId,
    ports::{
        outbox::{Reading, Thread},
        store::{StoreError, StoreResult},
    },
};
use jiff::Timestamp;

pub(super) async fn thread(db: Db<'_>, run: &RunId) -> StoreResult<Option<Thread>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT rowid AS position, * FROM threads WHERE run = $1 ORDER BY generation DESC LIMIT 1")
        .bind(run.as_str())
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    Ok(read_all("threads", &rows, read)?.pop())
}

/// Writes a thread; the same again is no error.
pub(super) async fn set_thread(db: Db<'_>, thread: &Thread) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO threads (run, generation, room, root, gone, at) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (run, generation) DO UPDATE SET room = $3, root = $4, gone = $5";
    sqlx::query(sql)
        .bind(thread.run.as_str())
        .bind(thread.generation)
        .bind(&thread.room)
        .bind(&thread.root)
        .bind(i64::from(thread.gone))
        .bind(time_text(Timestamp::now()))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

/// Finds the run by the first message of its thread, or by any message that rig sent about it.
pub(super) async fn run_of(db: Db<'_>, room: &str, event: &str) -> StoreResult<Option<RunId>> {
    let failed = db.failed();
    let sql = "SELECT 0 AS position, run FROM threads WHERE room = $1 AND root = $2 \
               UNION ALL SELECT 1 AS position, run FROM outbox WHERE event = $2 AND run IS NOT NULL LIMIT 1";
    let rows = sqlx::query(sql).bind(room).bind(event).fetch_all(db.connection).await.map_err(failed)?;
    Ok(read_all("threads", &rows, |record| record.parsed("run"))?.pop())
}

pub(super) async fn position(db: Db<'_>, account: &str) -> StoreResult<Option<String>> {
    let failed = db.failed();
    sqlx::query_scalar("SELECT next FROM chat_positions WHERE account = $1")
        .bind(account)
        .fetch_optional(db.connection)
        .await
        .map_err(failed)
}

pub(super) async fn unreadable(db: Db<'_>, account: &str) -> StoreResult<Vec<(String, String, Timestamp)>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT rowid AS position, * FROM chat_unread WHERE account = $1 ORDER BY rowid")
        .bind(account)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("chat_unread", &rows, |record| Ok((record.text("room")?, record.text("event")?, record.parsed("at")?)))
}

/// Writes all that a reading came to, inside a transaction that the caller ends.
pub(super) async fn take(mut db: Db<'_>, reading: &Reading, at: Timestamp) -> StoreResult<()> {
    let failed = db.failed();
    for input in &reading.inputs {
        match inputs::put(db.again(), &input.run, &input.key, &input.kind, &input.body).await {
            Ok(_) => {}
            Err(StoreError::RunEnded { .. }) => outbox::put_all(&mut db, input.otherwise.as_slice()).await?,
            Err(error) => return Err(error),
        }
    }
    outbox::put_all(&mut db, &reading.answers).await?;
    for (room, root) in &reading.lost_threads {
        let sql = "UPDATE threads SET gone = 1 WHERE room = $1 AND root = $2";
        sqlx::query(sql).bind(room).bind(root).execute(&mut *db.connection).await.map_err(&failed)?;
    }
    for (room, event) in &reading.unreadable {
        let sql = "INSERT INTO chat_unread (account, room, event, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let query = sqlx::query(sql).bind(&reading.account).bind(room).bind(event).bind(time_text(at));
        query.execute(&mut *db.connection).await.map_err(&failed)?;
    }
    for event in &reading.settled {
        let sql = "DELETE FROM chat_unread WHERE account = $1 AND event = $2";
        sqlx::query(sql).bind(&reading.account).bind(event).execute(&mut *db.connection).await.map_err(&failed)?;
    }
    if !reading.next.is_empty() {
        let sql = "INSERT INTO chat_positions (account, next, at) VALUES ($1, $2, $3) \
                   ON CONFLICT (account) DO UPDATE SET next = $2, at = $3";
        let query = sqlx::query(sql).bind(&reading.account).bind(&reading.next).bind(time_text(at));
        query.execute(&mut *db.connection).await.map_err(&failed)?;
    }
    Ok(())
}

fn read(record: &Record<'_>) -> StoreResult<Thread> {
    Ok(Thread {
        run: record.parsed("run")?,
        generation: record.number("generation")?,
        room: record.text("room")?,
        root: record.text("root")?,
        gone: record.flag("gone")?,
    })
}
