//! What was told long ago: finding it and forgetting it. Nothing of an open run, and nothing that was not sent.

use super::{
    codec::{read_all, time_text},
    runs,
    sqlite::Db,
};
use crate::{
    domain::ids::RunId,
    ports::store::{StoreResult, ToldLongAgo},
};
use jiff::Timestamp;

/// Oldest notices among which is looked, so that a look costs the same however many there are.
const NOTICES: u32 = 500;

/// Messages that may go, as a condition: `$1` is the time.
const MESSAGES: &str =
    "sent_at IS NOT NULL AND sent_at < $1 AND (run IS NULL OR run NOT IN (SELECT run FROM runs WHERE open = 1))";

pub(super) async fn long_ago(db: Db<'_>, before: Timestamp) -> StoreResult<ToldLongAgo> {
    let failed = db.failed();
    // The id of a notice begins with its run.
    let sql = "SELECT rowid AS position, * FROM runs WHERE open = 0 AND changed_at < $1 AND run IN (SELECT substr(id, 1, instr(id, '-') - 1) \
               FROM notices WHERE sent_at < $1 AND position < (SELECT min(position) FROM notices) + $2) ORDER BY run";
    let rows =
        sqlx::query(sql).bind(time_text(before)).bind(NOTICES).fetch_all(&mut *db.connection).await.map_err(&failed)?;
    let sql = format!("SELECT EXISTS (SELECT 1 FROM outbox WHERE {MESSAGES})");
    let messages: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(time_text(before))
        .fetch_one(&mut *db.connection)
        .await
        .map_err(failed)?;
    Ok(ToldLongAgo { runs: read_all("runs", &rows, runs::read)?, messages: messages != 0 })
}

pub(super) async fn forget(db: Db<'_>, forgotten: &[RunId], before: Timestamp) -> StoreResult<()> {
    let failed = db.failed();
    for run in forgotten {
        // Between the two lie exactly the ids of this run: `.` follows `-`.
        sqlx::query("DELETE FROM notices WHERE id > $2 AND id < $3 AND sent_at < $1")
            .bind(time_text(before))
            .bind(format!("{run}-"))
            .bind(format!("{run}."))
            .execute(&mut *db.connection)
            .await
            .map_err(&failed)?;
    }
    let sql = format!("DELETE FROM outbox WHERE {MESSAGES}");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(time_text(before))
        .execute(&mut *db.connection)
        .await
        .map(drop)
        .map_err(failed)
}
