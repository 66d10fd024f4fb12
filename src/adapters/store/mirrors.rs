//! How far each mirror is.

use super::{
    codec::{Record, read_all, time_text},
    sqlite::Db,
};
use crate::{
    domain::ids::{ProjectName, Sha},
    ports::store::{MirrorRow, StoreResult},
};

pub(super) async fn of_project(db: Db<'_>, project: &ProjectName) -> StoreResult<Vec<MirrorRow>> {
    let failed = db.failed();
    let rows = sqlx::query("SELECT rowid AS position, * FROM mirrors WHERE project = $1 ORDER BY mirror")
        .bind(project.as_str())
        .fetch_all(db.connection)
        .await
        .map_err(failed)?;
    read_all("mirrors", &rows, read)
}

pub(super) async fn set(db: Db<'_>, row: &MirrorRow) -> StoreResult<()> {
    let failed = db.failed();
    let sql = "INSERT INTO mirrors (project, mirror, sha, error, told, at) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (project, mirror) DO UPDATE SET sha = excluded.sha, error = excluded.error, \
               told = excluded.told, at = excluded.at";
    sqlx::query(sql)
        .bind(row.project.as_str())
        .bind(&row.mirror)
        .bind(row.sha.as_ref().map(Sha::as_str))
        .bind(&row.error)
        .bind(i64::from(row.told))
        .bind(time_text(row.at))
        .execute(db.connection)
        .await
        .map(drop)
        .map_err(failed)
}

fn read(record: &Record<'_>) -> StoreResult<MirrorRow> {
    Ok(MirrorRow {
        project: record.parsed("project")?,
        mirror: record.text("mirror")?,
        sha: record.optional_parsed("sha")?,
        error: record.text("error")?,
        told: record.flag("told")?,
        at: record.parsed("at")?,
    })
}
