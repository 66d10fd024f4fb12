//! Pull requests: making, reading, listing and changing them. Their heads come from git at each read (`pull_sync`).

use super::{
    accounts::user_json,
    call::{Body, Here},
    error::{ApiError, ApiResult},
    git::{Refs, is_branch_name},
    issue_labels,
    issues::{self, Issue, IssueChange},
    labels,
    paging::{Headers, Page},
    pull_sync,
    repositories::Permission,
    state::time,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// What a pull request has besides what issues have.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) head_branch: String,
    pub(super) base_branch: String,
    /// The head as last seen; kept current by `pull_sync`.
    pub(super) head_sha: String,
    pub(super) merge_base: String,
    pub(super) merged: Option<Merged>,
    /// The commit that a merge was about to put on the base, and for whom.
    pub(super) intent: Option<(String, i64)>,
    pub(super) delete_branch: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) sha: String,
    pub(super) at: i64,
    by: Option<(i64, String)>,
}

impl Pull {
    /// Returns the pull request part of a joined row; `None` for an issue.
    pub(super) fn of(row: &SqliteRow) -> Option<Self> {
        let head_branch: Option<String> = row.get("head_branch");
        let merged_at: Option<i64> = row.get("merged_at");
        let merged = merged_at.map(|at| Merged {
            sha: row.get::<Option<String>, _>("merged_sha").unwrap_or_default(),
            at,
            by: row.get::<Option<i64>, _>("merged_by").zip(row.get("merged_by_name")),
        });
        Some(Self {
            head_branch: head_branch?,
            base_branch: row.get("base_branch"),
            head_sha: row.get("head_sha"),
            merge_base: row.get("merge_base"),
            merged,
            intent: row.get::<Option<String>, _>("intent_sha").zip(row.get("intent_by")),
            delete_branch: row.get("delete_branch"),
        })
    }
}

/// Returns whether a title marks work in progress.
pub(super) fn is_draft(title: &str) -> bool {
    let title = title.trim_start().to_ascii_lowercase();
    title.starts_with("wip:") || title.starts_with("[wip]")
}

impl Issue {
    /// Returns the pull request part; 404 for an issue.
    pub(super) fn pull(&self) -> ApiResult<&Pull> {
        self.pull.as_ref().ok_or_else(ApiError::not_found)
    }
}

/// Returns the JSON of a pull request as git has it in `refs`.
pub(super) fn json_of(here: &Here, issue: &Issue, pull: &Pull, refs: &Refs) -> Value {
    let repository = here.repository.json(&here.forge, here.permission);
    let draft = is_draft(&issue.title);
    let base_sha = refs.branch(&pull.base_branch).unwrap_or(&pull.merge_base);
    let head_ref = match refs.branch(&pull.head_branch) {
        Some(_) => pull.head_branch.clone(),
        None => format!("refs/pull/{}/head", issue.number),
    };
    let checked = pull.merged.is_none()
        && here.forge.mergeability.look(&here.forge, here.repository.id, base_sha, &pull.head_sha) == Some(true);
    let requested: Vec<Value> = issue.requested.iter().map(|(id, name)| user_json(&here.forge, *id, name)).collect();
    let mut value = issue.common_json(&here.forge, &here.repository);
    let page = here.forge.url(&format!("/{}/pulls/{}", here.repository.full_name(), issue.number));
    let more = json!({
        "url": page, "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"),
        "mergeable": checked && !draft, "draft": draft, "merged": pull.merged.is_some(),
        "merged_at": pull.merged.as_ref().map(|merged| time(merged.at)),
        "merge_commit_sha": pull.merged.as_ref().map(|merged| merged.sha.as_str()),
        "merged_by": pull.merged.as_ref().and_then(|merged| merged.by.as_ref())
            .map(|(id, name)| user_json(&here.forge, *id, name)),
        "merge_base": pull.merge_base, "allow_maintainer_edit": false, "requested_reviewers": requested,
        "base": { "label": pull.base_branch, "ref": pull.base_branch, "sha": base_sha,
                  "repo_id": here.repository.id, "repo": repository },
        "head": { "label": pull.head_branch, "ref": head_ref, "sha": pull.head_sha,
                  "repo_id": here.repository.id, "repo": repository },
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

#[derive(Deserialize)]
pub(super) struct NewPull {
    #[serde(default)]
    head: String,
    #[serde(default)]
    base: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    labels: Vec<Value>,
}

/// `POST /pulls`. A `draft` flag is ignored: only the title says so.
pub(super) async fn create(here: Here, Body(new): Body<NewPull>) -> ApiResult {
    let me = here.me()?;
    // A head of the same repository may name its owner; forks do not exist here.
    let own = format!("{}:", here.repository.owner);
    let head = new.head.strip_prefix(&own).unwrap_or(&new.head).to_owned();
    if head.is_empty() || new.base.is_empty() || new.title.trim().is_empty() {
        return Err(ApiError::invalid("[Head], [Base], [Title]: Required"));
    }
    if !is_branch_name(&head) || !is_branch_name(&new.base) {
        return Err(ApiError::not_found());
    }
    let git = here.forge.git(here.repository.id);
    let lock = here.forge.lock(here.repository.id).await;
    pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    let refs = git.refs().await?;
    let base_sha = refs.branch(&new.base).ok_or_else(ApiError::not_found)?;
    let head_sha = refs.branch(&head).ok_or_else(ApiError::not_found)?;
    if head == new.base {
        return Err(ApiError::invalid("Invalid PullRequest: There are no changes between the head and the base"));
    }
    let merge_base = git.merge_base(base_sha, head_sha).await?;
    let mut db = here.forge.store.write().await?;
    refuse_second(&mut db, &here, &head, &new.base).await?;
    let number = issues::insert(&mut db, here.repository.id, me, &new.title, &new.body, true).await?;
    let issue = Issue::numbered(&mut db, here.repository.id, number).await?;
    let query = sqlx::query(
        "INSERT INTO pulls (issue, head_branch, base_branch, head_sha, merge_base) VALUES (?1, ?2, ?3, ?4, ?5)",
    );
    let query = query.bind(issue.id).bind(&head).bind(&new.base).bind(head_sha).bind(merge_base);
    query.execute(&mut *db).await?;
    if here.permission >= Permission::Write {
        let ids = labels::resolve(&mut db, here.repository.id, &new.labels).await?;
        issue_labels::attach(&mut db, issue.id, &ids).await?;
    }
    git.set_ref(&format!("refs/pull/{number}/head"), head_sha).await?;
    let issue = Issue::numbered(&mut db, here.repository.id, number).await?;
    db.commit().await?;
    let body = json_of(&here, &issue, issue.pull()?, &refs);
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn refuse_second(db: &mut SqliteConnection, here: &Here, head: &str, base: &str) -> ApiResult<()> {
    let query = sqlx::query(
        "SELECT i.id, i.number FROM pulls p JOIN issues i ON i.id = p.issue
         WHERE i.repository = ?1 AND p.head_branch = ?2 AND p.base_branch = ?3 AND NOT i.closed",
    );
    let Some(row) = query.bind(here.repository.id).bind(head).bind(base).fetch_optional(db).await? else {
        return Ok(());
    };
    let (id, number, repository) = (row.get::<i64, _>("id"), row.get::<i64, _>("number"), here.repository.id);
    Err(ApiError::conflict(format!(
        "pull request already exists for these targets [id: {id}, issue_id: {number}, head_repo_id: {repository}, \
         base_repo_id: {repository}, head_branch: {head}, base_branch: {base}]"
    )))
}

/// `GET /pulls`: all of them unless a state is given.
pub(super) async fn list(here: Here) -> ApiResult {
    let refs = pull_sync::sync(&here.forge, &here.repository).await?;
    let mut db = here.forge.store.read().await?;
    let closed = match here.query("state") {
        Some("open") => Some(false),
        Some("closed") => Some(true),
        _ => None,
    };
    let query = sqlx::query_scalar(
        "SELECT id FROM issues WHERE repository = ?1 AND is_pull AND (?2 IS NULL OR closed = ?2)
         ORDER BY created DESC, id DESC",
    );
    let mut ids: Vec<i64> = query.bind(here.repository.id).bind(closed).fetch_all(&mut *db).await?;
    if here.query("sort") == Some("oldest") {
        ids.reverse();
    }
    let page = Page::of(&here.query);
    let issues = Issue::with_ids(&mut db, page.slice(&ids)).await?;
    let items: Vec<Value> = issues
        .iter()
        .map(|issue| issue.pull.as_ref().map_or(Value::Null, |pull| json_of(&here, issue, pull, &refs)))
        .collect();
    Ok(page.answer(&here, &items, ids.len(), Headers::Full))
}

/// `GET /pulls/{index}`, and `/pulls/{index}.diff`, which cannot be told apart before.
pub(super) async fn get(here: Here) -> ApiResult {
    if let Some(number) = here.param("index").strip_suffix(".diff") {
        let number = number.parse().map_err(|_| ApiError::not_found())?;
        return super::pull_files::diff(&here, number).await;
    }
    let refs = pull_sync::sync(&here.forge, &here.repository).await?;
    let mut db = here.forge.store.read().await?;
    let issue = Issue::at(&mut db, &here).await?;
    Ok(Json(json_of(&here, &issue, issue.pull()?, &refs)).into_response())
}

/// `PATCH /pulls/{index}`
pub(super) async fn edit(here: Here, Body(change): Body<IssueChange>) -> ApiResult {
    let refs = pull_sync::sync(&here.forge, &here.repository).await?;
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    let pull = issue.pull()?;
    issues::apply(&mut db, &here, &issue, &change).await?;
    if let Some(wanted) = change.labels.as_ref().filter(|_| here.permission >= Permission::Write) {
        let ids = labels::resolve(&mut db, here.repository.id, wanted).await?;
        sqlx::query("DELETE FROM issue_labels WHERE issue = ?1").bind(issue.id).execute(&mut *db).await?;
        issue_labels::attach(&mut db, issue.id, &ids).await?;
    }
    if let Some(base) = change.base.as_ref().filter(|base| !base.is_empty() && **base != pull.base_branch) {
        retarget(&mut db, &here, &issue, pull, base, &refs).await?;
    }
    let issue = Issue::at(&mut db, &here).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(json_of(&here, &issue, issue.pull()?, &refs))).into_response())
}

async fn retarget(
    db: &mut SqliteConnection,
    here: &Here,
    issue: &Issue,
    pull: &Pull,
    base: &str,
    refs: &Refs,
) -> ApiResult<()> {
    let base_sha = refs.branch(base).ok_or_else(ApiError::not_found)?;
    if issue.closed || base == pull.head_branch {
        return Err(ApiError::invalid("the base of this pull request cannot be changed to this branch"));
    }
    refuse_second(db, here, &pull.head_branch, base).await?;
    let merge_base = here.forge.git(here.repository.id).merge_base(base_sha, &pull.head_sha).await?;
    let query = sqlx::query("UPDATE pulls SET base_branch = ?2, merge_base = ?3 WHERE issue = ?1");
    query.bind(issue.id).bind(base).bind(merge_base).execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_draft;

    #[test]
    fn only_a_prefix_makes_a_draft() {
        assert!(is_draft("WIP: x") && is_draft("wip:x") && is_draft("[WIP] x"));
        assert!(!is_draft("fix: WIP: x") && !is_draft("wiping") && !is_draft("Draft: x"));
    }
}
