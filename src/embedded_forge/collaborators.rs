//! Collaborators of a repository and what they may do.

use super::{
    accounts::{Account, no_content, user_json},
    call::{Body, Here},
    error::{ApiError, ApiResult},
    paging::{Headers, Page},
    repositories::Permission,
};
use axum::{Json, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

#[derive(Deserialize)]
pub(super) struct NewCollaborator {
    #[serde(default)]
    permission: String,
}

/// `GET /collaborators`
pub(super) async fn list(here: Here) -> ApiResult {
    here.me()?;
    let mut db = here.forge.store.read().await?;
    let rows = sqlx::query(
        "SELECT a.id, a.name FROM collaborators c JOIN accounts a ON a.id = c.account WHERE c.repository = ?1 ORDER BY a.id",
    );
    let rows = rows.bind(here.repository.id).fetch_all(&mut *db).await?;
    let all: Vec<Value> = rows.iter().map(|row| user_json(&here.forge, row.get("id"), row.get("name"))).collect();
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::Full))
}

/// `GET /assignees`: the owners and all who may write, whole.
pub(super) async fn assignees(here: Here) -> ApiResult {
    here.me()?;
    let mut db = here.forge.store.read().await?;
    let rows = sqlx::query(
        "SELECT a.id, a.name FROM accounts a WHERE (a.id = ?1 AND a.is_organization = 0)
           OR a.id IN (SELECT account FROM organization_owners WHERE organization = ?1)
           OR a.id IN (SELECT account FROM collaborators WHERE repository = ?2 AND permission IN ('write', 'admin'))
         ORDER BY a.id",
    );
    let rows = rows.bind(here.repository.owner_id).bind(here.repository.id).fetch_all(&mut *db).await?;
    let all: Vec<Value> = rows.iter().map(|row| user_json(&here.forge, row.get("id"), row.get("name"))).collect();
    Ok(Json(all).into_response())
}

/// `PUT /collaborators/{user}`
pub(super) async fn put(here: Here, Body(new): Body<NewCollaborator>) -> ApiResult {
    here.need_admin()?;
    let permission = Permission::parse(&new.permission)
        .ok_or_else(|| ApiError::invalid(format!("[Permission]: {} is none", new.permission)))?;
    let mut db = here.forge.store.write().await?;
    let account =
        Account::named(&mut db, here.param("user")).await.map_err(|_| ApiError::invalid("user does not exist"))?;
    if account.id == here.repository.owner_id || account.is_organization {
        return Err(ApiError::invalid("this account cannot be a collaborator here"));
    }
    set(&mut db, here.repository.id, account.id, permission).await?;
    db.commit().await?;
    Ok(no_content())
}

/// Gives an account a permission in place of the one it has.
pub(super) async fn set(
    db: &mut SqliteConnection,
    repository: i64,
    account: i64,
    permission: Permission,
) -> ApiResult<()> {
    let query = sqlx::query(
        "INSERT INTO collaborators (repository, account, permission) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET permission = excluded.permission",
    );
    query.bind(repository).bind(account).bind(permission.name()).execute(db).await?;
    Ok(())
}

/// `GET /collaborators/{user}`: 204 or 404.
pub(super) async fn check(here: Here) -> ApiResult {
    here.me()?;
    let mut db = here.forge.store.read().await?;
    let account = Account::named(&mut db, here.param("user")).await?;
    let query = sqlx::query_scalar("SELECT COUNT(*) FROM collaborators WHERE repository = ?1 AND account = ?2");
    let count: i64 = query.bind(here.repository.id).bind(account.id).fetch_one(&mut *db).await?;
    if count > 0 { Ok(no_content()) } else { Err(ApiError::not_found()) }
}

/// `DELETE /collaborators/{user}`
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.write().await?;
    let account = Account::named(&mut db, here.param("user")).await?;
    let query = sqlx::query("DELETE FROM collaborators WHERE repository = ?1 AND account = ?2");
    query.bind(here.repository.id).bind(account.id).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

/// `GET /collaborators/{user}/permission`: for oneself, or for administrators of the repository.
pub(super) async fn permission(here: Here) -> ApiResult {
    let me = here.me()?;
    let mut db = here.forge.store.read().await?;
    let account = Account::named(&mut db, here.param("user")).await?;
    if account.id != me {
        here.need(Permission::Admin, "only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own")?;
    }
    let name = here.repository.permission(&mut db, Some(&account)).await?.name();
    Ok(Json(json!({ "permission": name, "role_name": name, "user": account.json(&here.forge) })).into_response())
}
