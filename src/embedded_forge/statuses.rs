//! Commit statuses. In an item the verdict is called `status`; in requests and in the combined object it is `state`.

use super::{
    accounts::user_json,
    call::{Body, Here},
    error::{ApiError, ApiResult},
    paging::{Headers, Page},
    protection::glob_matches,
    state::{now, time},
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// The verdicts, worst first.
const STATES: &[&str] = &["error", "failure", "warning", "pending", "success"];
/// Context of a status that names none.
const DEFAULT_CONTEXT: &str = "default";

#[derive(Deserialize)]
pub(super) struct NewStatus {
    #[serde(default)]
    state: String,
    #[serde(default)]
    target_url: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    context: String,
}

fn json_of(here: &Here, row: &SqliteRow) -> Value {
    let (id, created) = (row.get::<i64, _>("id"), time(row.get("created")));
    let sha: String = row.get("sha");
    json!({
        "id": id, "status": row.get::<String, _>("state"), "target_url": row.get::<String, _>("target_url"),
        "description": row.get::<String, _>("description"), "context": row.get::<String, _>("context"),
        "url": here.forge.url(&here.repository.api_path(&format!("/statuses/{sha}"))),
        "creator": user_json(&here.forge, row.get("creator"), row.get("creator_name")),
        "created_at": created, "updated_at": created,
    })
}

/// `POST /statuses/{sha}`
pub(super) async fn create(here: Here, Body(new): Body<NewStatus>) -> ApiResult {
    here.need_write()?;
    let me = here.me()?;
    if !STATES.contains(&new.state.as_str()) {
        return Err(ApiError::invalid(format!("unknown commit status: {:?}", new.state)));
    }
    let git = here.forge.git(here.repository.id);
    let sha = git.commit(here.param("sha")).await?.ok_or_else(ApiError::not_found)?;
    let context = if new.context.is_empty() { DEFAULT_CONTEXT } else { &new.context };
    let mut db = here.forge.store.write().await?;
    let query = sqlx::query_scalar(
        "INSERT INTO statuses (repository, sha, context, state, target_url, description, creator, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
    );
    let query = query.bind(here.repository.id).bind(sha).bind(context).bind(new.state).bind(new.target_url);
    let id: i64 = query.bind(new.description).bind(me).bind(now()).fetch_one(&mut *db).await?;
    let query =
        "SELECT s.*, a.name AS creator_name FROM statuses s JOIN accounts a ON a.id = s.creator WHERE s.id = ?1";
    let row = sqlx::query(query).bind(id).fetch_one(&mut *db).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(json_of(&here, &row))).into_response())
}

/// `GET /statuses/{sha}` and `GET /commits/{sha}/statuses`: every one ever posted, newest first.
pub(super) async fn list(here: Here) -> ApiResult {
    let git = here.forge.git(here.repository.id);
    let sha = git.commit(here.param("sha")).await?.ok_or_else(ApiError::not_found)?;
    let mut db = here.forge.store.read().await?;
    let query = sqlx::query(
        "SELECT s.*, a.name AS creator_name FROM statuses s JOIN accounts a ON a.id = s.creator
         WHERE s.repository = ?1 AND s.sha = ?2 ORDER BY s.id DESC",
    );
    let rows = query.bind(here.repository.id).bind(sha).fetch_all(&mut *db).await?;
    let all: Vec<Value> = rows.iter().map(|row| json_of(&here, row)).collect();
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::Full))
}

/// `GET /commits/{sha}/status`: the latest of each context. State and count speak of the returned page only.
pub(super) async fn combined(here: Here) -> ApiResult {
    let git = here.forge.git(here.repository.id);
    let sha = git.commit(here.param("sha")).await?.ok_or_else(ApiError::not_found)?;
    let mut db = here.forge.store.read().await?;
    let rows = latest(&mut db, here.repository.id, &sha).await?;
    let page = Page::of(&here.query);
    let shown = page.slice(&rows);
    let body = if shown.is_empty() {
        json!({ "state": "", "sha": "", "total_count": 0, "statuses": null, "repository": null, "commit_url": "", "url": "" })
    } else {
        let verdicts: Vec<String> = shown.iter().map(|row| row.get("state")).collect();
        let statuses: Vec<Value> = shown.iter().map(|row| json_of(&here, row)).collect();
        json!({
            "state": worst(&verdicts), "sha": sha, "total_count": shown.len(), "statuses": statuses,
            "repository": here.repository.json(&here.forge, here.permission),
            "commit_url": here.forge.url(&here.repository.api_path(&format!("/commits/{sha}"))),
            "url": here.forge.url(&here.repository.api_path(&format!("/commits/{sha}/status"))),
        })
    };
    Ok(([("x-total-count", rows.len().to_string())], Json(body)).into_response())
}

fn worst(verdicts: &[String]) -> &'static str {
    STATES.iter().find(|state| verdicts.iter().any(|verdict| verdict == *state)).copied().unwrap_or("")
}

async fn latest(db: &mut SqliteConnection, repository: i64, sha: &str) -> ApiResult<Vec<SqliteRow>> {
    let query = sqlx::query(
        "SELECT s.*, a.name AS creator_name FROM statuses s JOIN accounts a ON a.id = s.creator
         WHERE s.id IN (SELECT MAX(id) FROM statuses WHERE repository = ?1 AND sha = ?2 GROUP BY context)
         ORDER BY s.id DESC",
    );
    Ok(query.bind(repository).bind(sha).fetch_all(db).await?)
}

/// Returns whether every required context (a name or a pattern) has a green status; one that nothing matches is pending.
/// Without any required one, all that there are must be green.
pub(super) async fn all_green(
    db: &mut SqliteConnection,
    repository: i64,
    sha: &str,
    required: &[String],
) -> ApiResult<bool> {
    let rows = latest(db, repository, sha).await?;
    let found: Vec<(String, bool)> =
        rows.iter().map(|row| (row.get("context"), row.get::<String, _>("state") == "success")).collect();
    if required.is_empty() {
        return Ok(!found.is_empty() && found.iter().all(|(_, green)| *green));
    }
    Ok(required.iter().all(|pattern| {
        let mut matched = found.iter().filter(|(context, _)| glob_matches(pattern, context)).peekable();
        matched.peek().is_some() && matched.all(|(_, green)| *green)
    }))
}

#[cfg(test)]
mod tests {
    use super::worst;

    #[test]
    fn the_worst_verdict_is_the_combined_one() {
        let of = |verdicts: &[&str]| worst(&verdicts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["success", "pending", "failure"]), "failure");
        assert_eq!(of(&["success", "pending"]), "pending");
        assert_eq!(of(&["success"]), "success");
        assert_eq!(of(&[]), "");
    }
}
