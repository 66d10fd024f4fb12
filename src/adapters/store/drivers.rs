//! The signs of life of drivers.

use super::{
    codec::{Record, integer, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::ids::RunId,
    ports::store::{DriverRow, StoreResult},
};

pub(super) async fn beat(db: Db<'_>, row: &DriverRow) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO drivers (run, pid, process_start, boot_id, beat_at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (run) DO UPDATE SET pid = excluded.pid, process_start = excluded.process_start, \
               boot_id = excluded.boot_id, beat_at = excluded.beat_at";
    sqlx::query(sql)
        .bind(row.run.as_str())
        .bind(row.pid)
        .bind(integer(row.process_start)?)
        .bind(&row.boot_id)
        .bind(time_text(row.beat_at))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

pub(super) async fn all(db: Db<'_>) -> StoreResult<Vec<DriverRow>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT rowid AS position, * FROM drivers ORDER BY run")
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("drivers", &rows, read)
}

pub(super) async fn remove(db: Db<'_>, run: &RunId) -> StoreResult<()> {
    let failed = db.failed();
    sqlx::query("DELETE FROM drivers WHERE run = $1")
        .bind(run.as_str())
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

fn read(record: &Record<'_>) -> StoreResult<DriverRow> {
    Ok(DriverRow {
        run: record.parsed("run")?,
        pid: record.number("pid")?,
        process_start: record.number("process_start")?,
        boot_id: record.text("boot_id")?,
        beat_at: record.parsed("beat_at")?,
    })
}
