//! Orders and replies that wait for a driver. Stored once a key, taken once.

use super::{
    codec::{Record, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::ids::RunId,
    ports::store::{Input, StoreError, StoreResult},
};
use jiff::Timestamp;
use sqlx::Row;

/// Stores an input, or finds the one with its key, taken or not. Returns the id of either.
pub(super) async fn put(db: Db<'_>, run: &RunId, key: &str, kind: &str, body: &serde_json::Value) -> StoreResult<i64> {
    let failed = db.failed();
    let ended: i64 = sqlx::query_scalar("SELECT count(*) FROM runs WHERE run = $1 AND open = 0")
        .bind(run.as_str())
        .fetch_one(&mut *db.connection)
        .await
        .map_err(&failed)?;
    if ended > 0 {
        return Err(StoreError::RunEnded { run: run.clone() });
    }
    let sql =
        "INSERT INTO inputs (run, key, kind, body, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (run, key) DO NOTHING";
    sqlx::query(sql)
        .bind(run.as_str())
        .bind(key)
        .bind(kind)
        .bind(body.to_string())
        .bind(time_text(Timestamp::now()))
        .execute(&mut *db.connection)
        .await
        .map_err(&failed)?;
    let row = sqlx::query("SELECT id FROM inputs WHERE run = $1 AND key = $2")
        .bind(run.as_str())
        .bind(key)
        .fetch_one(db.connection)
        .await
        .map_err(&failed)?;
    row.try_get("id").map_err(failed)
}

/// Returns what waits for a run, in the order in which it came.
pub(super) async fn waiting(db: Db<'_>, run: &RunId) -> StoreResult<Vec<Input>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT id AS position, * FROM inputs WHERE run = $1 AND taken = 0 ORDER BY id")
        .bind(run.as_str())
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("inputs", &rows, read)
}

/// Takes inputs of a run. One that does not wait any more fails the append: its events would happen twice.
pub(super) async fn take_all(db: &mut Db<'_>, run: &RunId, ids: &[i64]) -> StoreResult<()> {
    let failed = db.failed();
    for id in ids {
        let taken = sqlx::query("UPDATE inputs SET taken = 1 WHERE id = $1 AND run = $2 AND taken = 0")
            .bind(id)
            .bind(run.as_str())
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
        if taken.rows_affected() != 1 {
            return Err(StoreError::Failed { message: format!("input {id} does not wait for run {run}") });
        }
    }
    Ok(())
}

/// Takes inputs of which nothing came.
pub(super) async fn drop_all(db: Db<'_>, run: &RunId, ids: &[i64]) -> StoreResult<()> {
    let failed = db.failed();
    for id in ids {
        sqlx::query("UPDATE inputs SET taken = 1 WHERE id = $1 AND run = $2")
            .bind(id)
            .bind(run.as_str())
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

/// Finds an input by its key alone.
pub(super) async fn by_key(db: Db<'_>, key: &str) -> StoreResult<Option<(RunId, serde_json::Value)>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT id AS position, * FROM inputs WHERE key = $1 ORDER BY id LIMIT 1")
        .bind(key)
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    Ok(read_all("inputs", &rows, |record| Ok((record.parsed("run")?, record.json("body")?)))?.pop())
}

/// Forgets all inputs of a run that ends, taken or not: nothing is queued for it any more, so no key can come again.
pub(super) async fn forget(db: &mut Db<'_>, run: &RunId) -> StoreResult<()> {
    let failed = db.failed();
    let deleted =
        sqlx::query("DELETE FROM inputs WHERE run = $1").bind(run.as_str()).execute(&mut *db.connection).await;
    deleted.map(drop).map_err(failed)
}

fn read(record: &Record<'_>) -> StoreResult<Input> {
    Ok(Input {
        id: record.position(),
        kind: record.text("kind")?,
        body: record.json("body")?,
        at: record.parsed("at")?,
    })
}
