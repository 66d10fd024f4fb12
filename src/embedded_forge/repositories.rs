//! Repositories: what they are, who may do what in them, and making, changing and deleting them.

use super::{
    accounts::{Account, no_content, user_json},
    call::{Body, Call, Here},
    contents,
    error::{ApiError, ApiResult},
    git::is_branch_name,
    paging::{Headers, Page},
    state::{Forge, now, time},
    store::Write,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// What an account may do in a repository, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Permission {
    None,
    Read,
    Write,
    Admin,
    Owner,
}

impl Permission {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "" | "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// The switches of a repository that are on until somebody turns them off.
const SWITCHES: &[&str] = &[
    "allow_merge_commits",
    "allow_rebase",
    "allow_rebase_explicit",
    "allow_squash_merge",
    "allow_fast_forward_only_merge",
    "has_issues",
    "has_pull_requests",
];

#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) id: i64,
    pub(super) owner_id: i64,
    pub(super) owner: String,
    owner_is_organization: bool,
    pub(super) name: String,
    description: String,
    pub(super) default_branch: String,
    private: bool,
    pub(super) archived: bool,
    settings: Map<String, Value>,
    created: i64,
    updated: i64,
}

impl Repository {
    pub(super) async fn named(db: &mut SqliteConnection, owner: &str, name: &str) -> ApiResult<Self> {
        let row = sqlx::query(
            "SELECT r.*, a.name AS owner_name, a.is_organization FROM repositories r JOIN accounts a ON a.id = r.owner
             WHERE a.name = ?1 AND r.name = ?2",
        );
        Ok(Self::from(row.bind(owner).bind(name).fetch_one(db).await?))
    }

    pub(super) async fn with_id(db: &mut SqliteConnection, id: i64) -> ApiResult<Self> {
        let row = sqlx::query(
            "SELECT r.*, a.name AS owner_name, a.is_organization FROM repositories r JOIN accounts a ON a.id = r.owner
             WHERE r.id = ?1",
        );
        Ok(Self::from(row.bind(id).fetch_one(db).await?))
    }

    /// Returns what an account, or nobody, may do here.
    pub(super) async fn permission(
        &self,
        db: &mut SqliteConnection,
        account: Option<&Account>,
    ) -> ApiResult<Permission> {
        let public = if self.private { Permission::None } else { Permission::Read };
        let Some(account) = account else { return Ok(public) };
        if account.id == self.owner_id {
            return Ok(Permission::Owner);
        }
        if self.owner_is_organization {
            let query =
                sqlx::query_scalar("SELECT COUNT(*) FROM organization_owners WHERE organization = ?1 AND account = ?2");
            let owners: i64 = query.bind(self.owner_id).bind(account.id).fetch_one(&mut *db).await?;
            if owners > 0 {
                return Ok(Permission::Owner);
            }
        }
        if account.is_admin {
            return Ok(Permission::Admin);
        }
        let query = sqlx::query_scalar("SELECT permission FROM collaborators WHERE repository = ?1 AND account = ?2");
        let given: Option<String> = query.bind(self.id).bind(account.id).fetch_optional(db).await?;
        Ok(given.and_then(|name| Permission::parse(&name)).unwrap_or(public).max(public))
    }

    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Returns the path of something below this repository in the API.
    pub(super) fn api_path(&self, rest: &str) -> String {
        format!("/api/v1/repos/{}/{}{rest}", self.owner, self.name)
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.settings.get(name).and_then(Value::as_bool).unwrap_or(true)
    }

    /// Returns whether issues may wait for each other here.
    pub(super) fn has_dependencies(&self) -> bool {
        let tracker = self.settings.get("internal_tracker");
        tracker.and_then(|tracker| tracker.get("enable_issue_dependencies")).and_then(Value::as_bool).unwrap_or(true)
    }

    pub(super) fn meta_json(&self) -> Value {
        json!({ "id": self.id, "name": self.name, "owner": self.owner, "full_name": self.full_name() })
    }

    pub(super) fn json(&self, forge: &Forge, permission: Permission) -> Value {
        let page = forge.url(&format!("/{}", self.full_name()));
        let mut value = json!({
            "id": self.id, "owner": user_json(forge, self.owner_id, &self.owner), "name": self.name,
            "full_name": self.full_name(), "description": self.description, "private": self.private, "fork": false,
            "template": false, "mirror": false, "archived": self.archived, "default_branch": self.default_branch,
            "html_url": page, "clone_url": format!("{page}.git"), "url": forge.url(&self.api_path("")),
            "created_at": time(self.created), "updated_at": time(self.updated),
            "permissions": { "admin": permission >= Permission::Admin, "push": permission >= Permission::Write,
                             "pull": permission >= Permission::Read },
            "internal_tracker": { "enable_time_tracker": true, "allow_only_contributors_to_track_time": true,
                                  "enable_issue_dependencies": self.has_dependencies() },
            "default_merge_style": "merge", "object_format_name": "sha1",
        });
        for name in SWITCHES {
            value[*name] = json!(self.switch(name));
        }
        value
    }
}

impl From<SqliteRow> for Repository {
    fn from(row: SqliteRow) -> Self {
        Self {
            id: row.get("id"),
            owner_id: row.get("owner"),
            owner: row.get("owner_name"),
            owner_is_organization: row.get("is_organization"),
            name: row.get("name"),
            description: row.get("description"),
            default_branch: row.get("default_branch"),
            private: row.get("private"),
            archived: row.get("archived"),
            settings: serde_json::from_str(&row.get::<String, _>("settings")).unwrap_or_default(),
            created: row.get("created"),
            updated: row.get("updated"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NewRepository {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) private: Option<bool>,
    pub(super) auto_init: Option<bool>,
    pub(super) default_branch: Option<String>,
}

/// `POST /user/repos`
pub(super) async fn create_own(call: Call, Body(new): Body<NewRepository>) -> ApiResult {
    let owner = call.caller()?.account.clone();
    create_for(&call, &owner, &new).await
}

/// `POST /admin/users/{user}/repos`
pub(super) async fn create_for_user(call: Call, Body(new): Body<NewRepository>) -> ApiResult {
    call.admin()?;
    let owner = Account::named(&mut *call.forge.store.read().await?, call.param("user")).await?;
    create_for(&call, &owner, &new).await
}

/// `POST /orgs/{org}/repos`
pub(super) async fn create_in_organization(call: Call, Body(new): Body<NewRepository>) -> ApiResult {
    let caller = call.caller()?.account.clone();
    let mut db = call.forge.store.read().await?;
    let owner = Account::named(&mut db, call.param("org")).await?;
    let query = sqlx::query_scalar("SELECT COUNT(*) FROM organization_owners WHERE organization = ?1 AND account = ?2");
    let owners: i64 = query.bind(owner.id).bind(caller.id).fetch_one(&mut *db).await?;
    drop(db);
    if owners == 0 && !caller.is_admin {
        return Err(ApiError::forbidden("Given user is not allowed to create repository in organization."));
    }
    create_for(&call, &owner, &new).await
}

async fn create_for(call: &Call, owner: &Account, new: &NewRepository) -> ApiResult {
    let repository = create(&call.forge, owner, new).await?;
    let mut db = call.forge.store.read().await?;
    let account = call.caller_if_any().map(|caller| &caller.account);
    let permission = repository.permission(&mut db, account).await?;
    Ok((StatusCode::CREATED, Json(repository.json(&call.forge, permission))).into_response())
}

/// Makes a repository. The row is committed last, so that a folder left by a death in between is made anew next time.
pub(super) async fn create(forge: &Forge, owner: &Account, new: &NewRepository) -> ApiResult<Repository> {
    if !super::accounts::is_name(&new.name) {
        return Err(ApiError::invalid(format!("repository name is invalid: {}", new.name)));
    }
    let branch = new.default_branch.as_deref().filter(|branch| !branch.is_empty()).unwrap_or("main");
    if !is_branch_name(branch) {
        return Err(ApiError::invalid(format!("[DefaultBranch]: {branch} is no branch name")));
    }
    let mut db = forge.store.write().await?;
    let taken = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM repositories WHERE owner = ?1 AND name = ?2")
        .bind(owner.id)
        .bind(&new.name)
        .fetch_one(&mut *db)
        .await?;
    if taken > 0 {
        return Err(ApiError::conflict("The repository with the same name already exists."));
    }
    let id = insert(&mut db, owner, new, branch).await?;
    let git = forge.git(id);
    git.init(branch).await?;
    if new.auto_init.unwrap_or(false) {
        let text = format!("# {}\n\n{}\n", new.name, new.description.as_deref().unwrap_or_default());
        contents::first_commit(&git, branch, text.trim_end(), &owner.name).await?;
    }
    let repository = Repository::with_id(&mut db, id).await?;
    db.commit().await?;
    Ok(repository)
}

async fn insert(db: &mut Write, owner: &Account, new: &NewRepository, branch: &str) -> ApiResult<i64> {
    let id = sqlx::query_scalar(
        "INSERT INTO repositories (owner, name, description, default_branch, private, created, updated)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) RETURNING id",
    );
    let id = id.bind(owner.id).bind(&new.name).bind(new.description.as_deref().unwrap_or_default()).bind(branch);
    Ok(id.bind(new.private.unwrap_or(false)).bind(now()).fetch_one(&mut **db).await?)
}

/// `GET /repos/{owner}/{repo}`
pub(super) async fn get(here: Here) -> ApiResult {
    let refs = here.forge.git(here.repository.id).refs().await?;
    let mut value = here.repository.json(&here.forge, here.permission);
    value["empty"] = json!(refs.branches().is_empty());
    Ok(Json(value).into_response())
}

/// `PATCH /repos/{owner}/{repo}`
pub(super) async fn edit(here: Here, Body(change): Body<Map<String, Value>>) -> ApiResult {
    here.need_admin()?;
    let mut settings = here.repository.settings.clone();
    for (name, value) in &change {
        if name == "internal_tracker" || (SWITCHES.contains(&name.as_str()) && value.is_boolean()) {
            settings.insert(name.clone(), value.clone());
        }
    }
    let text = |name: &str| change.get(name).and_then(Value::as_str);
    let flag = |name: &str| change.get(name).and_then(Value::as_bool);
    if let Some(branch) = text("default_branch") {
        let git = here.forge.git(here.repository.id);
        if git.refs().await?.branch(branch).is_none() {
            return Err(ApiError::not_found());
        }
        git.text(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]).await?;
    }
    let mut db = here.forge.store.write().await?;
    let query = sqlx::query(
        "UPDATE repositories SET description = COALESCE(?2, description), private = COALESCE(?3, private),
         archived = COALESCE(?4, archived), default_branch = COALESCE(?5, default_branch), settings = ?6, updated = ?7
         WHERE id = ?1",
    );
    let query = query.bind(here.repository.id).bind(text("description")).bind(flag("private")).bind(flag("archived"));
    let query = query.bind(text("default_branch")).bind(json!(settings).to_string()).bind(now());
    query.execute(&mut *db).await?;
    let repository = Repository::with_id(&mut db, here.repository.id).await?;
    db.commit().await?;
    Ok(Json(repository.json(&here.forge, here.permission)).into_response())
}

/// `DELETE /repos/{owner}/{repo}`. The row goes first: a folder without a row is in nobody's way.
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need(Permission::Owner, "user should be an owner of the repository")
        .or_else(|refusal| if here.call.caller()?.account.is_admin { Ok(()) } else { Err(refusal) })?;
    let _lock = here.forge.lock(here.repository.id).await;
    let mut db = here.forge.store.write().await?;
    sqlx::query("DELETE FROM repositories WHERE id = ?1").bind(here.repository.id).execute(&mut *db).await?;
    db.commit().await?;
    let folder = here.forge.git(here.repository.id).folder().to_owned();
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::warn!(%error, "embedded forge: a deleted repository's folder stays");
    }
    Ok(no_content())
}

/// `GET /user/repos` and `GET /users/{user}/repos`
pub(super) async fn list(call: Call) -> ApiResult {
    let mut db = call.forge.store.read().await?;
    let me = call.caller_if_any().map(|caller| caller.account.clone());
    let owner = match call.params.get("user") {
        Some(name) => Account::named(&mut db, name).await?.id,
        None => call.caller()?.account.id,
    };
    let rows = sqlx::query(
        "SELECT r.*, a.name AS owner_name, a.is_organization FROM repositories r JOIN accounts a ON a.id = r.owner
         WHERE r.owner = ?1 OR (?2 AND r.id IN (SELECT repository FROM collaborators WHERE account = ?1)) ORDER BY r.id",
    );
    let rows = rows.bind(owner).bind(!call.params.contains_key("user")).fetch_all(&mut *db).await?;
    let mut visible = Vec::new();
    for repository in rows.into_iter().map(Repository::from) {
        let permission = repository.permission(&mut db, me.as_ref()).await?;
        if permission >= Permission::Read {
            visible.push(repository.json(&call.forge, permission));
        }
    }
    let page = Page::of(&call.query);
    Ok(page.answer(&call, page.slice(&visible), visible.len(), Headers::Full))
}
