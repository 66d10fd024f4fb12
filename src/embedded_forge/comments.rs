//! Comments on issues and pull requests. The list of one issue is not paged.

use super::{
    accounts::{no_content, user_json},
    call::{Body, Here},
    error::{ApiError, ApiResult},
    issues::Issue,
    paging::{Headers, Page},
    state::{now, parse_time, time},
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

#[derive(Deserialize)]
pub(super) struct Text {
    #[serde(default)]
    body: String,
}

fn json_of(here: &Here, row: &SqliteRow) -> Value {
    let (id, number): (i64, i64) = (row.get("id"), row.get("number"));
    let kind = if row.get::<bool, _>("is_pull") { "pulls" } else { "issues" };
    let page = here.forge.url(&format!("/{}/{kind}/{number}", here.repository.full_name()));
    let (issue_url, pull_url) =
        if kind == "pulls" { (String::new(), page.clone()) } else { (page.clone(), String::new()) };
    json!({
        "id": id, "html_url": format!("{page}#issuecomment-{id}"), "issue_url": issue_url, "pull_request_url": pull_url,
        "user": user_json(&here.forge, row.get("author"), row.get("author_name")), "body": row.get::<String, _>("body"),
        "original_author": "", "original_author_id": 0, "assets": [],
        "created_at": time(row.get("created")), "updated_at": time(row.get("updated")),
    })
}

/// `GET /issues/{index}/comments`: all of them, in order, between `since` and `before`.
pub(super) async fn list(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let all = select(&mut db, &here, Some(issue.id)).await?;
    Ok(([("x-total-count", all.len().to_string())], Json(all)).into_response())
}

/// `GET /issues/comments`: those of the whole repository, paged.
pub(super) async fn list_all(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let all = select(&mut db, &here, None).await?;
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::Full))
}

async fn select(db: &mut SqliteConnection, here: &Here, issue: Option<i64>) -> ApiResult<Vec<Value>> {
    let query = sqlx::query(
        "SELECT c.*, i.number, i.is_pull, a.name AS author_name FROM comments c JOIN issues i ON i.id = c.issue
         JOIN accounts a ON a.id = c.author WHERE i.repository = ?1 AND (?2 IS NULL OR c.issue = ?2)
         AND (?3 IS NULL OR c.updated >= ?3) AND (?4 IS NULL OR c.updated <= ?4) ORDER BY c.created, c.id",
    );
    let query = query.bind(here.repository.id).bind(issue).bind(here.query("since").and_then(parse_time));
    let rows = query.bind(here.query("before").and_then(parse_time)).fetch_all(db).await?;
    Ok(rows.iter().map(|row| json_of(here, row)).collect())
}

/// `POST /issues/{index}/comments`
pub(super) async fn create(here: Here, Body(text): Body<Text>) -> ApiResult {
    let me = here.me()?;
    if text.body.is_empty() {
        return Err(ApiError::invalid("[Body]: Required"));
    }
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let query = sqlx::query_scalar(
        "INSERT INTO comments (issue, author, body, created, updated) VALUES (?1, ?2, ?3, ?4, ?4) RETURNING id",
    );
    let id: i64 = query.bind(issue.id).bind(me).bind(text.body).bind(now()).fetch_one(&mut *db).await?;
    sqlx::query("UPDATE issues SET updated = ?2 WHERE id = ?1").bind(issue.id).bind(now()).execute(&mut *db).await?;
    let body = json_of(&here, &row(&mut db, &here, id).await?);
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /issues/comments/{id}`
pub(super) async fn get(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let row = row(&mut db, &here, here.number("id")?).await?;
    Ok(Json(json_of(&here, &row)).into_response())
}

/// `PATCH /issues/comments/{id}`
pub(super) async fn edit(here: Here, Body(text): Body<Text>) -> ApiResult {
    let mut db = here.forge.store.write().await?;
    let id = own(&mut db, &here).await?;
    if text.body.is_empty() {
        return Err(ApiError::invalid("[Body]: Required"));
    }
    let query = sqlx::query("UPDATE comments SET body = ?2, updated = ?3 WHERE id = ?1");
    query.bind(id).bind(text.body).bind(now()).execute(&mut *db).await?;
    let body = json_of(&here, &row(&mut db, &here, id).await?);
    db.commit().await?;
    Ok(Json(body).into_response())
}

/// `DELETE /issues/comments/{id}`
pub(super) async fn delete(here: Here) -> ApiResult {
    let mut db = here.forge.store.write().await?;
    let id = own(&mut db, &here).await?;
    sqlx::query("DELETE FROM comments WHERE id = ?1").bind(id).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

/// Returns the id of a comment that the caller may change: its author, or an administrator of the repository.
async fn own(db: &mut SqliteConnection, here: &Here) -> ApiResult<i64> {
    let id = here.number("id")?;
    let row = row(db, here, id).await?;
    if row.get::<i64, _>("author") != here.me()? {
        here.need_admin()?;
    }
    Ok(id)
}

async fn row(db: &mut SqliteConnection, here: &Here, id: i64) -> ApiResult<SqliteRow> {
    let query = sqlx::query(
        "SELECT c.*, i.number, i.is_pull, a.name AS author_name FROM comments c JOIN issues i ON i.id = c.issue
         JOIN accounts a ON a.id = c.author WHERE i.repository = ?1 AND c.id = ?2",
    );
    Ok(query.bind(here.repository.id).bind(id).fetch_one(db).await?)
}
