//! The inline comments of a review.

use super::{
    accounts::user_json,
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

/// Returns the comments of a review, oldest first.
pub(super) async fn list(
    db: &mut SqliteConnection,
    here: &Here,
    issue: &Issue,
    review: &SqliteRow,
) -> ApiResult<Vec<Value>> {
    let id: i64 = review.get("id");
    let query = sqlx::query("SELECT * FROM review_comments WHERE review = ?1 ORDER BY id");
    let rows = query.bind(id).fetch_all(db).await?;
    let commit: String = review.get("commit_id");
    let page = here.forge.url(&format!("/{}/pulls/{}", here.repository.full_name(), issue.number));
    Ok(rows
        .iter()
        .map(|row| {
            let (comment, created) = (row.get::<i64, _>("id"), time(row.get("created")));
            json!({
                "id": comment, "body": row.get::<String, _>("body"), "pull_request_review_id": id,
                "user": user_json(&here.forge, review.get("author"), review.get("author_name")), "resolver": null,
                "path": row.get::<String, _>("path"), "position": row.get::<i64, _>("new_position"),
                "original_position": row.get::<i64, _>("old_position"), "commit_id": commit,
                "original_commit_id": commit, "diff_hunk": "", "created_at": created, "updated_at": created,
                "html_url": format!("{page}#issuecomment-{comment}"), "pull_request_url": page,
            })
        })
        .collect())
}
