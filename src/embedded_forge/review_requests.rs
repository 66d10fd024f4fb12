//! Asking somebody for a review: kept as a review of its own kind until the asked one gives a verdict.

use super::{
    accounts::{Account, no_content},
    call::{Body, Here},
    error::{ApiError, ApiResult},
    issues::Issue,
    repositories::Permission,
    reviews,
    state::now,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use sqlx::SqliteConnection;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    reviewers: Vec<String>,
}

/// `POST /pulls/{index}/requested_reviewers`
pub(super) async fn create(here: Here, Body(asked): Body<Asked>) -> ApiResult {
    let issue = reviews::current(&here).await?;
    let pull = issue.pull()?;
    if here.me()? != issue.author {
        here.need_write()?;
    }
    let mut db = here.forge.store.write().await?;
    let mut made = Vec::new();
    for name in &asked.reviewers {
        let reviewer = reviewer(&mut db, &here, &issue, name).await?;
        let official = reviews::is_official(&mut db, &here, &pull.base_branch, &reviewer, "REQUEST_REVIEW").await?;
        withdraw(&mut db, issue.id, reviewer.id).await?;
        if official {
            reviews::take_official_mark(&mut db, issue.id, reviewer.id).await?;
        }
        let query = sqlx::query_scalar(
            "INSERT INTO reviews (issue, author, state, body, commit_id, official, created, updated)
             VALUES (?1, ?2, 'REQUEST_REVIEW', '', ?3, ?4, ?5, ?5) RETURNING id",
        );
        let query = query.bind(issue.id).bind(reviewer.id).bind(&pull.head_sha).bind(official).bind(now());
        let id: i64 = query.fetch_one(&mut *db).await?;
        made.push(reviews::one(&mut db, &here, &issue, id).await?);
    }
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// `DELETE /pulls/{index}/requested_reviewers`
pub(super) async fn delete(here: Here, Body(asked): Body<Asked>) -> ApiResult {
    let issue = reviews::current(&here).await?;
    let base = &issue.pull()?.base_branch;
    if here.me()? != issue.author {
        here.need_write()?;
    }
    let mut db = here.forge.store.write().await?;
    for name in &asked.reviewers {
        let reviewer = reviewer(&mut db, &here, &issue, name).await?;
        let asked = withdraw(&mut db, issue.id, reviewer.id).await?;
        if asked && reviews::is_official(&mut db, &here, base, &reviewer, "REQUEST_REVIEW").await? {
            reviews::give_official_mark_back(&mut db, issue.id, reviewer.id).await?;
        }
    }
    db.commit().await?;
    Ok(no_content())
}

/// Forgets that an account was asked. Returns whether it was.
pub(super) async fn withdraw(db: &mut SqliteConnection, issue: i64, reviewer: i64) -> ApiResult<bool> {
    let query = sqlx::query("DELETE FROM reviews WHERE issue = ?1 AND author = ?2 AND state = 'REQUEST_REVIEW'");
    Ok(query.bind(issue).bind(reviewer).execute(db).await?.rows_affected() > 0)
}

async fn reviewer(db: &mut SqliteConnection, here: &Here, issue: &Issue, name: &str) -> ApiResult<Account> {
    let account = Account::named(db, name).await.map_err(|_| ApiError::not_found())?;
    let readable = here.repository.permission(db, Some(&account)).await? >= Permission::Read;
    if account.id == issue.author || account.is_organization || !readable {
        return Err(ApiError::invalid(format!("{name} cannot be asked to review this pull request")));
    }
    Ok(account)
}
