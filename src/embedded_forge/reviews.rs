//! Reviews of pull requests: all of them are kept and listed; which count is for the reader (and for branch protection) to find.

use super::{
    accounts::{Account, no_content, user_json},
    call::{Body, Here},
    error::{ApiError, ApiResult},
    issues::Issue,
    paging::{Headers, Page},
    protection, pull_sync,
    repositories::Permission,
    review_comments::{self, NewComment},
    review_requests,
    state::{now, time},
};
use axum::{Json, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// The official verdicts on a pull request that stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) approvals: i64,
    pub(super) rejections: i64,
    pub(super) requests: i64,
}

/// Counts official verdicts that were not dismissed; stale approvals only when they are not to be ignored.
pub(super) async fn tally(db: &mut SqliteConnection, issue: i64, head: &str, ignore_stale: bool) -> ApiResult<Tally> {
    let query = sqlx::query(
        "SELECT state, commit_id FROM reviews r WHERE issue = ?1 AND official AND NOT dismissed
         AND id = (SELECT MAX(id) FROM reviews l WHERE l.issue = r.issue AND l.author = r.author
                   AND l.state IN ('APPROVED', 'REQUEST_CHANGES', 'REQUEST_REVIEW'))",
    );
    let mut tally = Tally::default();
    for row in query.bind(issue).fetch_all(db).await? {
        let stale = row.get::<String, _>("commit_id") != head;
        match row.get::<String, _>("state").as_str() {
            "APPROVED" if !(stale && ignore_stale) => tally.approvals += 1,
            "REQUEST_CHANGES" => tally.rejections += 1,
            "REQUEST_REVIEW" => tally.requests += 1,
            _ => {}
        }
    }
    Ok(tally)
}

const SELECT: &str = "
SELECT r.*, a.name AS author_name, (SELECT COUNT(*) FROM review_comments c WHERE c.review = r.id) AS comment_count
FROM reviews r JOIN accounts a ON a.id = r.author
WHERE r.issue = ?1 AND (?2 IS NULL OR r.id = ?2) AND (r.state <> 'PENDING' OR r.author = ?3) ORDER BY r.id";

fn json_of(here: &Here, issue: &Issue, head: &str, row: &SqliteRow) -> Value {
    let id: i64 = row.get("id");
    let page = here.forge.url(&format!("/{}/pulls/{}", here.repository.full_name(), issue.number));
    json!({
        "id": id, "user": user_json(&here.forge, row.get("author"), row.get("author_name")), "team": null,
        "state": row.get::<String, _>("state"), "body": row.get::<String, _>("body"),
        "commit_id": row.get::<String, _>("commit_id"), "stale": row.get::<String, _>("commit_id") != head,
        "official": row.get::<bool, _>("official"), "dismissed": row.get::<bool, _>("dismissed"),
        "comments_count": row.get::<i64, _>("comment_count"),
        "submitted_at": time(row.get("created")), "updated_at": time(row.get("updated")),
        "html_url": format!("{page}#issuecomment-{id}"), "pull_request_url": page,
    })
}

/// Returns the pull request of the path, up to date with git.
pub(super) async fn current(here: &Here) -> ApiResult<Issue> {
    pull_sync::sync(&here.forge, &here.repository).await?;
    let issue = Issue::at(&mut *here.forge.store.read().await?, here).await?;
    issue.pull()?;
    Ok(issue)
}

/// `GET /pulls/{index}/reviews`, oldest first; a pending one only for its author.
pub(super) async fn list(here: Here) -> ApiResult {
    let issue = current(&here).await?;
    let mut db = here.forge.store.read().await?;
    let me = here.caller_if_any().map_or(0, |caller| caller.account.id);
    let rows = sqlx::query(SELECT).bind(issue.id).bind(None::<i64>).bind(me).fetch_all(&mut *db).await?;
    let head = &issue.pull()?.head_sha;
    let all: Vec<Value> = rows.iter().map(|row| json_of(&here, &issue, head, row)).collect();
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::CountOnly))
}

/// `GET /pulls/{index}/reviews/{id}`
pub(super) async fn get(here: Here) -> ApiResult {
    let issue = current(&here).await?;
    let mut db = here.forge.store.read().await?;
    let row = row(&mut db, &here, &issue).await?;
    Ok(Json(json_of(&here, &issue, &issue.pull()?.head_sha, &row)).into_response())
}

/// `GET /pulls/{index}/reviews/{id}/comments`
pub(super) async fn comments(here: Here) -> ApiResult {
    let issue = current(&here).await?;
    let mut db = here.forge.store.read().await?;
    let review = row(&mut db, &here, &issue).await?;
    Ok(Json(review_comments::list(&mut db, &here, &issue, &review).await?).into_response())
}

/// Returns the JSON of one review.
pub(super) async fn one(db: &mut SqliteConnection, here: &Here, issue: &Issue, id: i64) -> ApiResult<Value> {
    let row = sqlx::query(SELECT).bind(issue.id).bind(id).bind(here.me()?).fetch_one(db).await?;
    Ok(json_of(here, issue, &issue.pull()?.head_sha, &row))
}

async fn row(db: &mut SqliteConnection, here: &Here, issue: &Issue) -> ApiResult<SqliteRow> {
    let me = here.caller_if_any().map_or(0, |caller| caller.account.id);
    Ok(sqlx::query(SELECT).bind(issue.id).bind(here.number("id")?).bind(me).fetch_one(db).await?)
}

#[derive(Deserialize)]
pub(super) struct NewReview {
    #[serde(default)]
    event: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    commit_id: String,
    #[serde(default)]
    comments: Vec<NewComment>,
}

/// Returns the state that an event means; one that is not known makes a pending review.
fn state_of(event: &str) -> &'static str {
    match event {
        "APPROVED" => "APPROVED",
        "REQUEST_CHANGES" => "REQUEST_CHANGES",
        "COMMENT" => "COMMENT",
        _ => "PENDING",
    }
}

/// `POST /pulls/{index}/reviews`
pub(super) async fn create(here: Here, Body(new): Body<NewReview>) -> ApiResult {
    let issue = current(&here).await?;
    let pull = issue.pull()?;
    let me = here.caller()?.account.clone();
    let state = state_of(&new.event);
    refuse(&issue, &me, state, &new.body, !new.comments.is_empty())?;
    let commit = if new.commit_id.is_empty() { pull.head_sha.clone() } else { new.commit_id };
    let mut db = here.forge.store.write().await?;
    let official = is_official(&mut db, &here, &pull.base_branch, &me, state).await?;
    let pending = sqlx::query_scalar("SELECT id FROM reviews WHERE issue = ?1 AND author = ?2 AND state = 'PENDING'");
    let pending: Option<i64> = pending.bind(issue.id).bind(me.id).fetch_optional(&mut *db).await?;
    supersede(&mut db, issue.id, me.id, state).await?;
    // A pending review of one's own is what a new one goes on with.
    let query = sqlx::query_scalar(
        "INSERT INTO reviews (id, issue, author, state, body, commit_id, official, created, updated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (id) DO UPDATE SET state = excluded.state,
         body = excluded.body, commit_id = excluded.commit_id, official = excluded.official,
         updated = excluded.updated RETURNING id",
    );
    let query = query.bind(pending).bind(issue.id).bind(me.id).bind(state).bind(&new.body).bind(commit);
    let id: i64 = query.bind(official).bind(now()).fetch_one(&mut *db).await?;
    review_comments::insert(&mut db, id, &new.comments).await?;
    let body = one(&mut db, &here, &issue, id).await?;
    db.commit().await?;
    Ok(Json(body).into_response())
}

fn refuse(issue: &Issue, me: &Account, state: &str, body: &str, has_comments: bool) -> ApiResult<()> {
    let own = issue.author == me.id;
    match state {
        "APPROVED" if own => Err(ApiError::invalid("approve your own pull is not allowed")),
        "REQUEST_CHANGES" if own => Err(ApiError::invalid("reject your own pull is not allowed")),
        "REQUEST_CHANGES" | "COMMENT" if body.trim().is_empty() && !has_comments => {
            Err(ApiError::invalid(format!("review event {state} requires a body or a comment")))
        }
        _ => Ok(()),
    }
}

pub(super) async fn is_official(
    db: &mut SqliteConnection,
    here: &Here,
    base: &str,
    reviewer: &Account,
    state: &str,
) -> ApiResult<bool> {
    if !matches!(state, "APPROVED" | "REQUEST_CHANGES" | "REQUEST_REVIEW") {
        return Ok(false);
    }
    let can_write = here.repository.permission(db, Some(reviewer)).await? >= Permission::Write;
    let rules = protection::rules(db, here.repository.id).await?;
    Ok(protection::matching(&rules, base).map_or(can_write, |rule| rule.is_official(&reviewer.name, can_write)))
}

/// A new verdict takes the official mark from the earlier ones of the same reviewer, and answers a request for review.
async fn supersede(db: &mut SqliteConnection, issue: i64, reviewer: i64, state: &str) -> ApiResult<()> {
    if matches!(state, "APPROVED" | "REQUEST_CHANGES") {
        take_official_mark(db, issue, reviewer).await?;
    }
    if state != "PENDING" {
        review_requests::withdraw(db, issue, reviewer).await?;
    }
    Ok(())
}

/// Of one reviewer's reviews only the latest is official; a request for another review is one of them.
pub(super) async fn take_official_mark(db: &mut SqliteConnection, issue: i64, reviewer: i64) -> ApiResult<()> {
    let query = sqlx::query("UPDATE reviews SET official = 0 WHERE issue = ?1 AND author = ?2");
    query.bind(issue).bind(reviewer).execute(db).await?;
    Ok(())
}

/// Makes the latest verdict of a reviewer official again, once the request for another one is withdrawn.
pub(super) async fn give_official_mark_back(db: &mut SqliteConnection, issue: i64, reviewer: i64) -> ApiResult<()> {
    let query = sqlx::query(
        "UPDATE reviews SET official = 1 WHERE id = (SELECT MAX(id) FROM reviews WHERE issue = ?1 AND author = ?2
         AND state IN ('APPROVED', 'REQUEST_CHANGES'))",
    );
    query.bind(issue).bind(reviewer).execute(db).await?;
    Ok(())
}

/// `POST /pulls/{index}/reviews/{id}`: submits a pending review.
pub(super) async fn submit(here: Here, Body(new): Body<NewReview>) -> ApiResult {
    let issue = current(&here).await?;
    let pull = issue.pull()?;
    let me = here.caller()?.account.clone();
    let mut db = here.forge.store.write().await?;
    let old = row(&mut db, &here, &issue).await?;
    if old.get::<String, _>("state") != "PENDING" {
        return Err(ApiError::invalid("only a pending review can be submitted"));
    }
    let state = state_of(&new.event);
    if state == "PENDING" {
        return Err(ApiError::invalid("review stay pending"));
    }
    refuse(&issue, &me, state, &new.body, old.get::<i64, _>("comment_count") > 0)?;
    let official = is_official(&mut db, &here, &pull.base_branch, &me, state).await?;
    supersede(&mut db, issue.id, me.id, state).await?;
    let id: i64 = old.get("id");
    let query = sqlx::query("UPDATE reviews SET state = ?2, body = ?3, official = ?4, updated = ?5 WHERE id = ?1");
    query.bind(id).bind(state).bind(&new.body).bind(official).bind(now()).execute(&mut *db).await?;
    let body = one(&mut db, &here, &issue, id).await?;
    db.commit().await?;
    Ok(Json(body).into_response())
}

/// `DELETE /pulls/{index}/reviews/{id}`: by its author or an administrator of the forge.
pub(super) async fn delete(here: Here) -> ApiResult {
    let issue = current(&here).await?;
    let me = here.caller()?.account.clone();
    let mut db = here.forge.store.write().await?;
    let row = row(&mut db, &here, &issue).await?;
    if row.get::<i64, _>("author") != me.id && !me.is_admin {
        return Err(ApiError::forbidden(""));
    }
    sqlx::query("DELETE FROM reviews WHERE id = ?1").bind(row.get::<i64, _>("id")).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

#[derive(Deserialize)]
pub(super) struct Dismissal {
    #[serde(default)]
    priors: bool,
}

/// `POST /pulls/{index}/reviews/{id}/dismissals`
pub(super) async fn dismiss(here: Here, Body(form): Body<Dismissal>) -> ApiResult {
    set_dismissed(here, true, form.priors).await
}

/// `POST /pulls/{index}/reviews/{id}/undismissals`
pub(super) async fn undismiss(here: Here) -> ApiResult {
    set_dismissed(here, false, false).await
}

async fn set_dismissed(here: Here, dismissed: bool, priors: bool) -> ApiResult {
    here.need_admin()?;
    let issue = current(&here).await?;
    let mut db = here.forge.store.write().await?;
    let old = row(&mut db, &here, &issue).await?;
    if !matches!(old.get::<String, _>("state").as_str(), "APPROVED" | "REQUEST_CHANGES") {
        return Err(ApiError::forbidden(
            "not need to dismiss this review because it's type is not Approve or change request",
        ));
    }
    let id: i64 = old.get("id");
    let query = sqlx::query(
        "UPDATE reviews SET dismissed = ?3, updated = ?4 WHERE issue = ?1 AND (id = ?2 OR (?5 AND id < ?2 AND
         author = ?6 AND state IN ('APPROVED', 'REQUEST_CHANGES')))",
    );
    let query = query.bind(issue.id).bind(id).bind(dismissed).bind(now()).bind(priors);
    query.bind(old.get::<i64, _>("author")).execute(&mut *db).await?;
    let body = one(&mut db, &here, &issue, id).await?;
    db.commit().await?;
    Ok(Json(body).into_response())
}
