//! Issues, and what pull requests share with them: the number, title, body, labels, assignees, and being open or closed.

use super::{
    accounts::{Account, no_content, user_json},
    call::{Body, Here},
    dependencies,
    error::{ApiError, ApiResult},
    issue_labels, labels, pull_sync,
    pulls::Pull,
    repositories::{Permission, Repository},
    state::{Forge, now, time},
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// An issue or a pull request with all that its JSON shows.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: i64,
    pub(super) repository: i64,
    pub(super) number: i64,
    pub(super) author: i64,
    pub(super) author_name: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) closed: bool,
    created: i64,
    updated: i64,
    closed_at: Option<i64>,
    comments: i64,
    labels: Vec<Value>,
    assignees: Vec<(i64, String)>,
    /// Who was asked for a review and has not given one.
    pub(super) requested: Vec<(i64, String)>,
    /// What a pull request has besides.
    pub(super) pull: Option<Pull>,
}

/// Everything about the issues whose ids are given as a JSON array, in that order.
const SELECT: &str = "
SELECT i.*, a.name AS author_name, p.*, m.name AS merged_by_name,
  (SELECT COUNT(*) FROM comments c WHERE c.issue = i.id) AS comment_count,
  (SELECT json_group_array(json_object('id', id, 'name', name, 'color', color, 'description', description,
     'exclusive', json(iif(exclusive, 'true', 'false')), 'is_archived', json(iif(is_archived, 'true', 'false'))))
   FROM (SELECT l.* FROM issue_labels il JOIN labels l ON l.id = il.label WHERE il.issue = i.id ORDER BY l.name, l.id))
   AS label_list,
  (SELECT json_group_array(json_array(id, name))
   FROM (SELECT b.id, b.name FROM assignees s JOIN accounts b ON b.id = s.account WHERE s.issue = i.id ORDER BY b.id))
   AS assignee_list,
  (SELECT json_group_array(json_array(id, name))
   FROM (SELECT b.id, b.name FROM reviews r JOIN accounts b ON b.id = r.author
         WHERE r.issue = i.id AND r.state = 'REQUEST_REVIEW' ORDER BY r.id)) AS requested_list
FROM json_each(?1) w JOIN issues i ON i.id = w.value JOIN accounts a ON a.id = i.author
LEFT JOIN pulls p ON p.issue = i.id LEFT JOIN accounts m ON m.id = p.merged_by ORDER BY w.key";

impl Issue {
    /// Returns the issue or pull request that the path's `index` names.
    pub(super) async fn at(db: &mut SqliteConnection, here: &Here) -> ApiResult<Self> {
        Self::numbered(db, here.repository.id, here.number("index")?).await
    }

    pub(super) async fn numbered(db: &mut SqliteConnection, repository: i64, number: i64) -> ApiResult<Self> {
        let query = sqlx::query_scalar("SELECT id FROM issues WHERE repository = ?1 AND number = ?2");
        let id: i64 = query.bind(repository).bind(number).fetch_one(&mut *db).await?;
        Self::with_ids(db, &[id]).await?.pop().ok_or_else(ApiError::not_found)
    }

    /// Returns the issues with these ids, in this order.
    pub(super) async fn with_ids(db: &mut SqliteConnection, ids: &[i64]) -> ApiResult<Vec<Self>> {
        let rows = sqlx::query(SELECT).bind(json!(ids).to_string()).fetch_all(db).await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    pub(super) fn state(&self) -> &'static str {
        if self.closed { "closed" } else { "open" }
    }

    /// Returns what an issue and a pull request have in common.
    pub(super) fn common_json(&self, forge: &Forge, repository: &Repository) -> Value {
        let labels: Vec<Value> = self.labels.iter().map(|label| with_url(forge, repository, label)).collect();
        let assignees: Vec<Value> = self.assignees.iter().map(|(id, name)| user_json(forge, *id, name)).collect();
        let kind = if self.pull.is_some() { "pulls" } else { "issues" };
        json!({
            "id": self.id, "number": self.number, "user": user_json(forge, self.author, &self.author_name),
            "title": self.title, "body": self.body, "labels": labels, "milestone": null,
            "assignee": assignees.first(), "assignees": if assignees.is_empty() { Value::Null } else { json!(assignees) },
            "state": self.state(), "is_locked": false, "comments": self.comments,
            "created_at": time(self.created), "updated_at": time(self.updated),
            "closed_at": self.closed_at.map(time), "due_date": null,
            "html_url": forge.url(&format!("/{}/{kind}/{}", repository.full_name(), self.number)),
        })
    }

    pub(super) fn json(&self, forge: &Forge, repository: &Repository) -> Value {
        let mut value = self.common_json(forge, repository);
        value["url"] = json!(forge.url(&repository.api_path(&format!("/issues/{}", self.number))));
        value["repository"] = repository.meta_json();
        value["pull_request"] = self.pull.as_ref().map_or(Value::Null, |pull| {
            json!({ "merged": pull.merged.is_some(), "merged_at": pull.merged.as_ref().map(|merged| time(merged.at)),
                    "draft": super::pulls::is_draft(&self.title), "html_url": value["html_url"] })
        });
        value
    }
}

impl From<SqliteRow> for Issue {
    fn from(row: SqliteRow) -> Self {
        Self {
            id: row.get("id"),
            repository: row.get("repository"),
            number: row.get("number"),
            author: row.get("author"),
            author_name: row.get("author_name"),
            title: row.get("title"),
            body: row.get("body"),
            closed: row.get("closed"),
            created: row.get("created"),
            updated: row.get("updated"),
            closed_at: row.get("closed_at"),
            comments: row.get("comment_count"),
            labels: serde_json::from_str(row.get("label_list")).unwrap_or_default(),
            assignees: serde_json::from_str(row.get("assignee_list")).unwrap_or_default(),
            requested: serde_json::from_str(row.get("requested_list")).unwrap_or_default(),
            pull: Pull::of(&row),
        }
    }
}

fn with_url(forge: &Forge, repository: &Repository, label: &Value) -> Value {
    let mut label = label.clone();
    label["url"] = json!(forge.url(&repository.api_path(&format!("/labels/{}", label["id"]))));
    label
}

#[derive(Deserialize)]
pub(super) struct NewIssue {
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    labels: Vec<Value>,
    assignee: Option<String>,
    assignees: Option<Vec<String>>,
    #[serde(default)]
    closed: bool,
}

/// `POST /issues`
pub(super) async fn create(here: Here, Body(new): Body<NewIssue>) -> ApiResult {
    let me = here.me()?;
    if new.title.trim().is_empty() {
        return Err(ApiError::invalid("[Title]: Required"));
    }
    let mut db = here.forge.store.write().await?;
    let number = insert(&mut db, here.repository.id, me, &new.title, &new.body, false).await?;
    let issue = Issue::numbered(&mut db, here.repository.id, number).await?;
    // Labels and assignees of somebody who may not write are dropped without a word.
    if here.permission >= Permission::Write {
        let ids = labels::resolve(&mut db, here.repository.id, &new.labels).await?;
        issue_labels::attach(&mut db, issue.id, &ids).await?;
        let assignees = new.assignees.or_else(|| new.assignee.filter(|name| !name.is_empty()).map(|name| vec![name]));
        if let Some(names) = assignees {
            assign(&mut db, &issue, &names).await?;
        }
        if new.closed {
            set_closed(&mut db, issue.id, true).await?;
        }
    }
    let issue = Issue::numbered(&mut db, here.repository.id, number).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(issue.json(&here.forge, &here.repository))).into_response())
}

/// Inserts an issue or the issue of a pull request. Returns its number, the next of the one sequence for both.
pub(super) async fn insert(
    db: &mut SqliteConnection,
    repository: i64,
    author: i64,
    title: &str,
    body: &str,
    is_pull: bool,
) -> ApiResult<i64> {
    let query =
        sqlx::query_scalar("UPDATE repositories SET last_number = last_number + 1 WHERE id = ?1 RETURNING last_number");
    let number: i64 = query.bind(repository).fetch_one(&mut *db).await?;
    let query = sqlx::query(
        "INSERT INTO issues (repository, number, is_pull, author, title, body, created, updated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    );
    let query = query.bind(repository).bind(number).bind(is_pull).bind(author).bind(title).bind(body).bind(now());
    query.execute(db).await?;
    Ok(number)
}

/// `GET /issues/{index}`
pub(super) async fn get(here: Here) -> ApiResult {
    let issue = Issue::at(&mut *here.forge.store.read().await?, &here).await?;
    // A pull request is also read here: it must not be older than git.
    if issue.pull.is_some() {
        pull_sync::sync(&here.forge, &here.repository).await?;
    }
    let issue = Issue::at(&mut *here.forge.store.read().await?, &here).await?;
    Ok(Json(issue.json(&here.forge, &here.repository)).into_response())
}

#[derive(Default, Deserialize)]
pub(super) struct IssueChange {
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
    assignee: Option<String>,
    assignees: Option<Vec<String>>,
    /// Only on pull requests.
    pub(super) labels: Option<Vec<Value>>,
    /// Only on pull requests.
    pub(super) base: Option<String>,
}

/// `PATCH /issues/{index}`
pub(super) async fn edit(here: Here, Body(change): Body<IssueChange>) -> ApiResult {
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    apply(&mut db, &here, &issue, &change).await?;
    let issue = Issue::at(&mut db, &here).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(issue.json(&here.forge, &here.repository))).into_response())
}

/// Applies a change of an issue or a pull request: by its author or somebody who may write.
pub(super) async fn apply(
    db: &mut SqliteConnection,
    here: &Here,
    issue: &Issue,
    change: &IssueChange,
) -> ApiResult<()> {
    if here.me()? != issue.author {
        here.need_write()?;
    }
    if change.title.as_ref().is_some_and(|title| title.trim().is_empty()) {
        return Err(ApiError::invalid("[Title]: Required"));
    }
    let query = sqlx::query(
        "UPDATE issues SET title = COALESCE(?2, title), body = COALESCE(?3, body), updated = ?4 WHERE id = ?1",
    );
    query.bind(issue.id).bind(&change.title).bind(&change.body).bind(now()).execute(&mut *db).await?;
    let assignees = change.assignees.clone().or_else(|| change.assignee.clone().map(|name| vec![name]));
    if let Some(names) = assignees.filter(|_| here.permission >= Permission::Write) {
        assign(db, issue, &names).await?;
    }
    let wanted = match change.state.as_deref() {
        Some("closed") => true,
        Some("open") => false,
        Some(other) => return Err(ApiError::invalid(format!("unknown state: {other}"))),
        None => issue.closed,
    };
    if wanted == issue.closed {
        return Ok(());
    }
    if issue.pull.as_ref().is_some_and(|pull| pull.merged.is_some()) {
        let message = "cannot change state of this pull request, it was already merged";
        return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message));
    }
    if wanted && here.repository.has_dependencies() && dependencies::has_open(db, issue.id).await? {
        let kind = if issue.pull.is_some() { "pull request" } else { "issue" };
        let message = format!("cannot close this {kind} because it still has open dependencies");
        return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message));
    }
    set_closed(db, issue.id, wanted).await
}

/// Sets the assignees to exactly these accounts; 422 for one that does not exist.
async fn assign(db: &mut SqliteConnection, issue: &Issue, names: &[String]) -> ApiResult<()> {
    sqlx::query("DELETE FROM assignees WHERE issue = ?1").bind(issue.id).execute(&mut *db).await?;
    for name in names.iter().filter(|name| !name.is_empty()) {
        let unknown = |_| ApiError::invalid(format!("Assignee does not exist: [name: {name}]"));
        let account = Account::named(db, name).await.map_err(unknown)?;
        let repository = Repository::with_id(db, issue.repository).await?;
        if account.is_organization || repository.permission(db, Some(&account)).await? < Permission::Read {
            return Err(unknown(ApiError::not_found()));
        }
        let query = sqlx::query("INSERT OR IGNORE INTO assignees (issue, account) VALUES (?1, ?2)");
        query.bind(issue.id).bind(account.id).execute(&mut *db).await?;
    }
    Ok(())
}

pub(super) async fn set_closed(db: &mut SqliteConnection, issue: i64, closed: bool) -> ApiResult<()> {
    let query = sqlx::query(
        "UPDATE issues SET closed = ?2, closed_at = iif(?2, ?3, NULL), updated = ?3 WHERE id = ?1 AND closed <> ?2",
    );
    query.bind(issue).bind(closed).bind(now()).execute(db).await?;
    Ok(())
}

/// `DELETE /issues/{index}`
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.write().await?;
    let issue = Issue::at(&mut db, &here).await?;
    sqlx::query("DELETE FROM issues WHERE id = ?1").bind(issue.id).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}
