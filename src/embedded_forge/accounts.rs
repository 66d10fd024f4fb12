//! Accounts: users, organizations, their tokens, and what an administrator does with them.

use super::{
    auth,
    call::{Body, Call},
    error::{ApiError, ApiResult},
    paging::{Headers, Page},
    scopes,
    state::{Forge, now, time},
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// A user or an organization.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) full_name: String,
    pub(super) email: String,
    pub(super) is_admin: bool,
    pub(super) is_organization: bool,
    created: i64,
}

impl Account {
    /// Returns the account with this name; 404 when there is none.
    pub(super) async fn named(db: &mut SqliteConnection, name: &str) -> ApiResult<Self> {
        let row = sqlx::query("SELECT * FROM accounts WHERE name = ?1").bind(name).fetch_one(db).await?;
        Ok(Self::from(row))
    }

    pub(super) async fn with_id(db: &mut SqliteConnection, id: i64) -> ApiResult<Self> {
        let row = sqlx::query("SELECT * FROM accounts WHERE id = ?1").bind(id).fetch_one(db).await?;
        Ok(Self::from(row))
    }

    pub(super) fn json(&self, forge: &Forge) -> Value {
        let mut value = user_json(forge, self.id, &self.name);
        value["full_name"] = json!(self.full_name);
        value["email"] = json!(self.email);
        value["is_admin"] = json!(self.is_admin);
        value["created"] = json!(time(self.created));
        value
    }
}

impl From<SqliteRow> for Account {
    fn from(row: SqliteRow) -> Self {
        Self {
            id: row.get("id"),
            name: row.get("name"),
            full_name: row.get("full_name"),
            email: row.get("email"),
            is_admin: row.get("is_admin"),
            is_organization: row.get("is_organization"),
            created: row.get("created"),
        }
    }
}

/// Returns a user as it stands inside other objects.
pub(super) fn user_json(forge: &Forge, id: i64, name: &str) -> Value {
    json!({
        "id": id, "login": name, "username": name, "login_name": "", "full_name": "",
        "email": format!("{name}@noreply.localhost"), "avatar_url": "", "html_url": forge.url(&format!("/{name}")),
        "active": false, "is_admin": false, "restricted": false, "visibility": "public",
    })
}

#[derive(Deserialize)]
pub(super) struct NewUser {
    username: String,
    email: Option<String>,
    password: Option<String>,
    full_name: Option<String>,
}

/// `POST /admin/users`
pub(super) async fn create_user(call: Call, Body(new): Body<NewUser>) -> ApiResult {
    call.admin()?;
    let email = new.email.unwrap_or_default();
    if email.is_empty() {
        return Err(ApiError::invalid("[Email]: Required"));
    }
    let mut db = call.forge.store.write().await?;
    let id = insert(&mut db, &new.username, &email, new.full_name.as_deref().unwrap_or_default(), false).await?;
    if let Some(password) = new.password.filter(|password| !password.is_empty()) {
        set_password(&mut db, id, &password).await?;
    }
    let account = Account::with_id(&mut db, id).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(account.json(&call.forge))).into_response())
}

/// Inserts an account; 422 when the name is taken or is none.
pub(super) async fn insert(
    db: &mut SqliteConnection,
    name: &str,
    email: &str,
    full_name: &str,
    is_organization: bool,
) -> ApiResult<i64> {
    if !is_name(name) {
        return Err(ApiError::invalid(format!("name is invalid [{name}]: must be valid alpha or numeric or dash(-_)")));
    }
    let taken: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE name = ?1").bind(name).fetch_one(&mut *db).await?;
    if taken > 0 {
        return Err(ApiError::invalid(format!("user already exists [name: {name}]")));
    }
    let id = sqlx::query_scalar(
        "INSERT INTO accounts (name, email, full_name, is_organization, created) VALUES (?1, ?2, ?3, ?4, ?5)
         RETURNING id",
    )
    .bind(name)
    .bind(email)
    .bind(full_name)
    .bind(is_organization)
    .bind(now())
    .fetch_one(db)
    .await?;
    Ok(id)
}

pub(super) async fn set_password(db: &mut SqliteConnection, account: i64, password: &str) -> ApiResult<()> {
    let salt = auth::random_hex()?;
    let hash = auth::password_hash(&salt, password);
    let query = sqlx::query("UPDATE accounts SET salt = ?2, password = ?3 WHERE id = ?1");
    query.bind(account).bind(salt).bind(hash).execute(db).await?;
    Ok(())
}

/// Returns whether a name can be that of an account or a repository.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty()
        && name.len() <= 100
        && name.chars().all(plain)
        && !name.starts_with(['-', '.'])
        && !name.contains("..")
        && !name.ends_with(".git")
        && !matches!(name.to_ascii_lowercase().as_str(), "api" | "admin" | "user" | "repos" | "issues" | "pulls")
}

/// `GET /user`
pub(super) async fn me(call: Call) -> ApiResult {
    Ok(Json(call.caller()?.account.json(&call.forge)).into_response())
}

/// `GET /users/{user}`
pub(super) async fn get_user(call: Call) -> ApiResult {
    let mut db = call.forge.store.read().await?;
    let account = Account::named(&mut db, call.param("user")).await?;
    Ok(Json(account.json(&call.forge)).into_response())
}

#[derive(Deserialize)]
pub(super) struct NewToken {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
}

/// `POST /users/{user}/tokens`: Basic authentication only, as the user or an administrator.
pub(super) async fn create_token(call: Call, Body(new): Body<NewToken>) -> ApiResult {
    let account = token_owner(&call).await?;
    if new.name.is_empty() {
        return Err(ApiError::invalid("[Name]: Required"));
    }
    if let Some(unknown) = new.scopes.iter().find(|scope| !scopes::is_known(scope)) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("invalid access token scope: {unknown}")));
    }
    if new.scopes.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "access token must have a scope"));
    }
    let mut db = call.forge.store.write().await?;
    let taken: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE account = ?1 AND name = ?2")
        .bind(account.id)
        .bind(&new.name)
        .fetch_one(&mut *db)
        .await?;
    if taken > 0 {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "access token name has been used already"));
    }
    let (id, token) = auth::make_token(&mut db, account.id, &new.name, &new.scopes).await?;
    db.commit().await?;
    let last_eight = &token[token.len() - 8..];
    let body =
        json!({ "id": id, "name": new.name, "sha1": token, "token_last_eight": last_eight, "scopes": new.scopes });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /users/{user}/tokens`
pub(super) async fn list_tokens(call: Call) -> ApiResult {
    let account = token_owner(&call).await?;
    let mut db = call.forge.store.read().await?;
    let rows = sqlx::query("SELECT id, name, last_eight, scopes FROM tokens WHERE account = ?1 ORDER BY id")
        .bind(account.id)
        .fetch_all(&mut *db)
        .await?;
    let tokens: Vec<Value> = rows.iter().map(token_json).collect();
    let page = Page::of(&call.query);
    Ok(page.answer(&call, page.slice(&tokens), tokens.len(), Headers::Full))
}

fn token_json(row: &SqliteRow) -> Value {
    let scopes: Value = serde_json::from_str(&row.get::<String, _>("scopes")).unwrap_or_default();
    let (id, name, last) = (row.get::<i64, _>("id"), row.get::<String, _>("name"), row.get::<String, _>("last_eight"));
    json!({ "id": id, "name": name, "sha1": "", "token_last_eight": last, "scopes": scopes })
}

/// `DELETE /users/{user}/tokens/{token}`, by name or id.
pub(super) async fn delete_token(call: Call) -> ApiResult {
    let account = token_owner(&call).await?;
    let mut db = call.forge.store.write().await?;
    let gone = sqlx::query("DELETE FROM tokens WHERE account = ?1 AND (name = ?2 OR id = CAST(?2 AS INTEGER))")
        .bind(account.id)
        .bind(call.param("token"))
        .execute(&mut *db)
        .await?;
    db.commit().await?;
    if gone.rows_affected() == 0 { Err(ApiError::not_found()) } else { Ok(no_content()) }
}

async fn token_owner(call: &Call) -> ApiResult<Account> {
    let caller = call.caller()?;
    if !caller.basic {
        return Err(ApiError::unauthorized("auth required"));
    }
    let mut db = call.forge.store.read().await?;
    let account = Account::named(&mut db, call.param("user")).await?;
    if caller.account.id != account.id && !caller.account.is_admin {
        return Err(ApiError::forbidden("doer should be the site admin or be same as the contextUser"));
    }
    Ok(account)
}

#[derive(Deserialize)]
pub(super) struct NewOrganization {
    username: String,
    full_name: Option<String>,
}

/// `POST /orgs`
pub(super) async fn create_organization(call: Call, Body(new): Body<NewOrganization>) -> ApiResult {
    let owner = call.caller()?.account.id;
    let mut db = call.forge.store.write().await?;
    let id = insert(&mut db, &new.username, "", new.full_name.as_deref().unwrap_or_default(), true).await?;
    let query = sqlx::query("INSERT INTO organization_owners (organization, account) VALUES (?1, ?2)");
    query.bind(id).bind(owner).execute(&mut *db).await?;
    let account = Account::with_id(&mut db, id).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(organization_json(&account))).into_response())
}

/// `GET /orgs/{org}`
pub(super) async fn get_organization(call: Call) -> ApiResult {
    let mut db = call.forge.store.read().await?;
    let account = Account::named(&mut db, call.param("org")).await?;
    if !account.is_organization {
        return Err(ApiError::not_found());
    }
    Ok(Json(organization_json(&account)).into_response())
}

fn organization_json(account: &Account) -> Value {
    json!({ "id": account.id, "name": account.name, "username": account.name, "full_name": account.full_name,
            "visibility": "public" })
}

pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
