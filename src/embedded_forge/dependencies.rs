//! Which issue waits for which. A repository may have this switched off: then nothing is found here.

use super::{
    call::{Body, Here},
    error::{ApiError, ApiResult},
    issues::Issue,
    paging::{Headers, Page},
    repositories::{Permission, Repository},
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::Value;
use sqlx::SqliteConnection;

/// The other issue, as the real API names it.
#[derive(Deserialize)]
pub(super) struct Other {
    #[serde(default)]
    index: i64,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    repo: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The issue of the path waits for the other one.
    WaitsFor,
    /// The issue of the path blocks the other one.
    Blocks,
}

/// Returns whether an issue waits for one that is open.
pub(super) async fn has_open(db: &mut SqliteConnection, issue: i64) -> ApiResult<bool> {
    let query = sqlx::query_scalar(
        "SELECT COUNT(*) FROM dependencies d JOIN issues i ON i.id = d.waits_for WHERE d.issue = ?1 AND NOT i.closed",
    );
    Ok(query.bind(issue).fetch_one(db).await.map(|count: i64| count > 0)?)
}

/// `GET /issues/{index}/dependencies`
pub(super) async fn list(here: Here) -> ApiResult {
    list_of(here, Direction::WaitsFor).await
}

/// `GET /issues/{index}/blocks`
pub(super) async fn list_blocks(here: Here) -> ApiResult {
    list_of(here, Direction::Blocks).await
}

/// `POST /issues/{index}/dependencies`
pub(super) async fn add(here: Here, Body(other): Body<Other>) -> ApiResult {
    change(here, other, Direction::WaitsFor, true).await
}

/// `POST /issues/{index}/blocks`
pub(super) async fn add_block(here: Here, Body(other): Body<Other>) -> ApiResult {
    change(here, other, Direction::Blocks, true).await
}

/// `DELETE /issues/{index}/dependencies`
pub(super) async fn remove(here: Here, Body(other): Body<Other>) -> ApiResult {
    change(here, other, Direction::WaitsFor, false).await
}

/// `DELETE /issues/{index}/blocks`
pub(super) async fn remove_block(here: Here, Body(other): Body<Other>) -> ApiResult {
    change(here, other, Direction::Blocks, false).await
}

async fn list_of(here: Here, direction: Direction) -> ApiResult {
    if !here.repository.has_dependencies() {
        return Err(ApiError::not_found());
    }
    let mut db = here.forge.store.read().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let query = match direction {
        Direction::WaitsFor => "SELECT waits_for FROM dependencies WHERE issue = ?1 ORDER BY waits_for",
        Direction::Blocks => "SELECT issue FROM dependencies WHERE waits_for = ?1 ORDER BY issue",
    };
    let ids: Vec<i64> = sqlx::query_scalar(query).bind(issue.id).fetch_all(&mut *db).await?;
    let page = Page::of(&here.query);
    let mut items: Vec<Value> = Vec::new();
    for issue in Issue::with_ids(&mut db, page.slice(&ids)).await? {
        let repository = Repository::with_id(&mut db, issue.repository).await?;
        items.push(issue.json(&here.forge, &repository));
    }
    Ok(page.answer(&here, &items, ids.len(), Headers::Neither))
}

async fn change(here: Here, other: Other, direction: Direction, add: bool) -> ApiResult {
    if !here.repository.has_dependencies() || here.permission < Permission::Write {
        return Err(ApiError::not_found());
    }
    let mut db = here.forge.store.write().await?;
    let named = Issue::at(&mut db, &here).await?;
    let other = find(&mut db, &here, &other).await?;
    let (issue, waits_for) = if direction == Direction::WaitsFor { (named.id, other.id) } else { (other.id, named.id) };
    if add {
        link(&mut db, issue, waits_for).await?;
    } else {
        let query = sqlx::query("DELETE FROM dependencies WHERE issue = ?1 AND waits_for = ?2");
        if query.bind(issue).bind(waits_for).execute(&mut *db).await?.rows_affected() == 0 {
            return Err(ApiError::internal("issue dependency does not exist"));
        }
    }
    db.commit().await?;
    let status = if add { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(named.json(&here.forge, &here.repository))).into_response())
}

async fn find(db: &mut SqliteConnection, here: &Here, other: &Other) -> ApiResult<Issue> {
    if other.owner.is_empty() && other.repo.is_empty() {
        return Issue::numbered(db, here.repository.id, other.index).await;
    }
    let repository = Repository::named(db, &other.owner, &other.repo).await?;
    let account = here.caller()?.account.clone();
    if repository.permission(db, Some(&account)).await? < Permission::Read {
        return Err(ApiError::not_found());
    }
    Issue::numbered(db, repository.id, other.index).await
}

async fn link(db: &mut SqliteConnection, issue: i64, waits_for: i64) -> ApiResult<()> {
    let circular: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM dependencies WHERE issue = ?2 AND waits_for = ?1")
        .bind(issue)
        .bind(waits_for)
        .fetch_one(&mut *db)
        .await?;
    if circular > 0 || issue == waits_for {
        return Err(ApiError::internal("circular dependencies exists (two issues blocking each other)"));
    }
    let query = sqlx::query("INSERT OR IGNORE INTO dependencies (issue, waits_for) VALUES (?1, ?2)");
    if query.bind(issue).bind(waits_for).execute(db).await?.rows_affected() == 0 {
        return Err(ApiError::internal("issue dependency does already exist"));
    }
    Ok(())
}
