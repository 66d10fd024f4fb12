//! The labels on an issue or pull request.

use super::{
    accounts::no_content,
    call::{Body, Here},
    error::{ApiError, ApiResult},
    issues::Issue,
    labels,
    state::now,
};
use axum::{Json, response::IntoResponse};
use serde::Deserialize;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    labels: Vec<Value>,
}

/// `GET /issues/{index}/labels`
pub(super) async fn list(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let issue = Issue::at(&mut db, &here).await?;
    answer(&here, &mut db, issue.id).await
}

/// `POST /issues/{index}/labels`: adds. Returns the labels that the issue then has.
pub(super) async fn add(here: Here, Body(wanted): Body<Wanted>) -> ApiResult {
    change(here, wanted, false).await
}

/// `PUT /issues/{index}/labels`: replaces. Returns the labels that the issue then has.
pub(super) async fn replace(here: Here, Body(wanted): Body<Wanted>) -> ApiResult {
    change(here, wanted, true).await
}

async fn change(here: Here, wanted: Wanted, replace: bool) -> ApiResult {
    here.need_write()?;
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let ids = labels::resolve(&mut db, here.repository.id, &wanted.labels).await?;
    if replace {
        sqlx::query("DELETE FROM issue_labels WHERE issue = ?1").bind(issue.id).execute(&mut *db).await?;
    }
    attach(&mut db, issue.id, &ids).await?;
    touch(&mut db, issue.id).await?;
    let response = answer(&here, &mut db, issue.id).await?;
    db.commit().await?;
    Ok(response)
}

/// `DELETE /issues/{index}/labels`
pub(super) async fn clear(here: Here) -> ApiResult {
    here.need_write()?;
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    sqlx::query("DELETE FROM issue_labels WHERE issue = ?1").bind(issue.id).execute(&mut *db).await?;
    touch(&mut db, issue.id).await?;
    db.commit().await?;
    Ok(no_content())
}

/// `DELETE /issues/{index}/labels/{label}`, by id or name: 204 even when it was not attached, 422 when there is none such.
pub(super) async fn remove(here: Here) -> ApiResult {
    here.need_write()?;
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let label = here.param("label");
    let wanted = label.parse::<i64>().map_or_else(|_| Value::from(label), Value::from);
    let ids = labels::resolve(&mut db, here.repository.id, &[wanted]).await?;
    if ids.is_empty() {
        return Err(ApiError::invalid(format!("label does not exist [{label}]")));
    }
    for id in ids {
        let query = sqlx::query("DELETE FROM issue_labels WHERE issue = ?1 AND label = ?2");
        query.bind(issue.id).bind(id).execute(&mut *db).await?;
    }
    touch(&mut db, issue.id).await?;
    db.commit().await?;
    Ok(no_content())
}

/// Puts labels on an issue. An exclusive one (`scope/name`) takes the place of the others of its scope.
pub(super) async fn attach(db: &mut SqliteConnection, issue: i64, labels: &[i64]) -> ApiResult<()> {
    for label in labels {
        let query = sqlx::query("SELECT name, exclusive FROM labels WHERE id = ?1").bind(label);
        let row = query.fetch_one(&mut *db).await?;
        let name: String = row.get("name");
        if let Some((scope, _)) = name.rsplit_once('/').filter(|_| row.get::<bool, _>("exclusive")) {
            let query = sqlx::query(
                "DELETE FROM issue_labels WHERE issue = ?1 AND label IN
                 (SELECT id FROM labels WHERE exclusive AND substr(name, 1, length(?2) + 1) = ?2 || '/'
                  AND instr(substr(name, length(?2) + 2), '/') = 0)",
            );
            query.bind(issue).bind(scope).execute(&mut *db).await?;
        }
        let query = sqlx::query("INSERT OR IGNORE INTO issue_labels (issue, label) VALUES (?1, ?2)");
        query.bind(issue).bind(label).execute(&mut *db).await?;
    }
    Ok(())
}

async fn touch(db: &mut SqliteConnection, issue: i64) -> ApiResult<()> {
    sqlx::query("UPDATE issues SET updated = ?2 WHERE id = ?1").bind(issue).bind(now()).execute(db).await?;
    Ok(())
}

async fn answer(here: &Here, db: &mut SqliteConnection, issue: i64) -> ApiResult {
    let query = sqlx::query(
        "SELECT l.* FROM issue_labels il JOIN labels l ON l.id = il.label WHERE il.issue = ?1 ORDER BY l.name, l.id",
    );
    let rows = query.bind(issue).fetch_all(db).await?;
    let labels: Vec<Value> = rows.iter().map(|row| labels::json_of(&here.forge, &here.repository, row)).collect();
    Ok(Json(labels).into_response())
}
