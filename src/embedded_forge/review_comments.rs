//! The inline comments of a review.

use super::{
    accounts::{no_content, user_json},
    call::Here,
    error::ApiResult,
    issues::Issue,
    state::{now, time},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

#[derive(Deserialize)]
pub(super) struct NewComment {
    #[serde(default)]
    path: String,
    #[serde(default)]
    body: String,
    /// Line in the new file; 0 for none.
    #[serde(default)]
    new_position: i64,
    /// Line in the old file; 0 for none.
    #[serde(default)]
    old_position: i64,
}

pub(super) async fn insert(db: &mut SqliteConnection, review: i64, comments: &[NewComment]) -> ApiResult<()> {
    for comment in comments {
        let query = sqlx::query(
            "INSERT INTO review_comments (review, path, body, new_position, old_position, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        );
        let query = query.bind(review).bind(&comment.path).bind(&comment.body).bind(comment.new_position);
        query.bind(comment.old_position).bind(now()).execute(&mut *db).await?;
    }
    Ok(())
}

/// `POST /pulls/comments/{id}/resolve`: marks the comment's thread as resolved, by who may write or opened the pull request.
pub(super) async fn resolve(here: Here) -> ApiResult {
    set_resolver(here, true).await
}

/// `POST /pulls/comments/{id}/unresolve`
pub(super) async fn unresolve(here: Here) -> ApiResult {
    set_resolver(here, false).await
}

/// A thread is what was said about one line: all comments on it carry the mark.
async fn set_resolver(here: Here, resolved: bool) -> ApiResult {
    let me = here.me()?;
    let mut db = here.forge.store.write().await?;
    let query = sqlx::query(
        "SELECT c.path, c.new_position, c.old_position, i.id AS issue, i.author AS opener FROM review_comments c
         JOIN reviews r ON r.id = c.review JOIN issues i ON i.id = r.issue WHERE c.id = ?1 AND i.repository = ?2",
    );
    let comment = query.bind(here.number("id")?).bind(here.repository.id).fetch_one(&mut *db).await?;
    if comment.get::<i64, _>("opener") != me {
        here.need_write()?;
    }
    let query = sqlx::query(
        "UPDATE review_comments SET resolver = ?1 WHERE path = ?2 AND new_position = ?3 AND old_position = ?4
         AND review IN (SELECT id FROM reviews WHERE issue = ?5)",
    );
    let query = query.bind(resolved.then_some(me)).bind(comment.get::<String, _>("path"));
    let query = query.bind(comment.get::<i64, _>("new_position")).bind(comment.get::<i64, _>("old_position"));
    query.bind(comment.get::<i64, _>("issue")).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

/// Returns the comments of a review, oldest first.
pub(super) async fn list(
    db: &mut SqliteConnection,
    here: &Here,
    issue: &Issue,
    review: &SqliteRow,
) -> ApiResult<Vec<Value>> {
    let id: i64 = review.get("id");
    let query = sqlx::query(
        "SELECT c.*, a.name AS resolver_name FROM review_comments c LEFT JOIN accounts a ON a.id = c.resolver
         WHERE c.review = ?1 ORDER BY c.id",
    );
    let rows = query.bind(id).fetch_all(db).await?;
    let commit: String = review.get("commit_id");
    let page = here.forge.url(&format!("/{}/pulls/{}", here.repository.full_name(), issue.number));
    Ok(rows
        .iter()
        .map(|row| {
            let resolver = row.get::<Option<i64>, _>("resolver");
            let resolver = resolver.map(|id| user_json(&here.forge, id, row.get("resolver_name")));
            let (comment, created) = (row.get::<i64, _>("id"), time(row.get("created")));
            json!({
                "id": comment, "body": row.get::<String, _>("body"), "pull_request_review_id": id,
                "user": user_json(&here.forge, review.get("author"), review.get("author_name")), "resolver": resolver,
                "path": row.get::<String, _>("path"), "position": row.get::<i64, _>("new_position"),
                "original_position": row.get::<i64, _>("old_position"), "commit_id": commit,
                "original_commit_id": commit, "diff_hunk": "", "created_at": created, "updated_at": created,
                "html_url": format!("{page}#issuecomment-{comment}"), "pull_request_url": page,
            })
        })
        .collect())
}
