//! The labels of a repository. Names are not unique, as on the real forges.

use super::{
    accounts::no_content,
    call::{Body, Here},
    error::{ApiError, ApiResult},
    paging::{Headers, Page},
    repositories::Repository,
    state::Forge,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

#[derive(Default, Deserialize)]
pub(super) struct LabelFields {
    name: Option<String>,
    color: Option<String>,
    description: Option<String>,
    exclusive: Option<bool>,
    is_archived: Option<bool>,
}

pub(super) fn json_of(forge: &Forge, repository: &Repository, row: &SqliteRow) -> Value {
    let id: i64 = row.get("id");
    json!({
        "id": id, "name": row.get::<String, _>("name"), "color": row.get::<String, _>("color"),
        "description": row.get::<String, _>("description"), "exclusive": row.get::<bool, _>("exclusive"),
        "is_archived": row.get::<bool, _>("is_archived"),
        "url": forge.url(&repository.api_path(&format!("/labels/{id}"))),
    })
}

/// `GET /labels`
pub(super) async fn list(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let query = sqlx::query("SELECT * FROM labels WHERE repository = ?1 ORDER BY name, id");
    let rows = query.bind(here.repository.id).fetch_all(&mut *db).await?;
    let all: Vec<Value> = rows.iter().map(|row| json_of(&here.forge, &here.repository, row)).collect();
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::CountOnly))
}

/// `POST /labels`
pub(super) async fn create(here: Here, Body(new): Body<LabelFields>) -> ApiResult {
    here.need_write()?;
    let name = new.name.filter(|name| !name.trim().is_empty()).ok_or_else(|| ApiError::invalid("[Name]: Required"))?;
    let color = colour(&new.color.ok_or_else(|| ApiError::invalid("[Color]: Required"))?)?;
    let mut db = here.forge.store.write().await?;
    let row = sqlx::query(
        "INSERT INTO labels (repository, name, color, description, exclusive, is_archived)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING *",
    );
    let row = row.bind(here.repository.id).bind(name).bind(color).bind(new.description.unwrap_or_default());
    let row = row.bind(new.exclusive.unwrap_or(false)).bind(new.is_archived.unwrap_or(false));
    let row = row.fetch_one(&mut *db).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(json_of(&here.forge, &here.repository, &row))).into_response())
}

/// `GET /labels/{id}`
pub(super) async fn get(here: Here) -> ApiResult {
    let mut db = here.forge.store.read().await?;
    let query = sqlx::query("SELECT * FROM labels WHERE repository = ?1 AND id = ?2");
    let row = query.bind(here.repository.id).bind(here.number("id")?).fetch_one(&mut *db).await?;
    Ok(Json(json_of(&here.forge, &here.repository, &row)).into_response())
}

/// `PATCH /labels/{id}`
pub(super) async fn edit(here: Here, Body(change): Body<LabelFields>) -> ApiResult {
    here.need_write()?;
    let color = change.color.as_deref().map(colour).transpose()?;
    let mut db = here.forge.store.write().await?;
    let row = sqlx::query(
        "UPDATE labels SET name = COALESCE(?3, name), color = COALESCE(?4, color),
         description = COALESCE(?5, description), exclusive = COALESCE(?6, exclusive),
         is_archived = COALESCE(?7, is_archived) WHERE repository = ?1 AND id = ?2 RETURNING *",
    );
    let row = row.bind(here.repository.id).bind(here.number("id")?).bind(change.name).bind(color);
    let row = row.bind(change.description).bind(change.exclusive).bind(change.is_archived).fetch_one(&mut *db).await?;
    db.commit().await?;
    Ok(Json(json_of(&here.forge, &here.repository, &row)).into_response())
}

/// `DELETE /labels/{id}`
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need_write()?;
    let mut db = here.forge.store.write().await?;
    let query = sqlx::query("DELETE FROM labels WHERE repository = ?1 AND id = ?2");
    query.bind(here.repository.id).bind(here.number("id")?).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

/// Returns the ids of the labels that a list of ids and names means; what is unknown is dropped without a word.
pub(super) async fn resolve(db: &mut SqliteConnection, repository: i64, wanted: &[Value]) -> ApiResult<Vec<i64>> {
    let ids = sqlx::query_scalar(
        "SELECT l.id FROM json_each(?2) w JOIN labels l
         ON (w.type = 'integer' AND l.id = w.value) OR (w.type = 'text' AND l.name = w.value)
         WHERE l.repository = ?1 ORDER BY w.key, l.id",
    );
    Ok(ids.bind(repository).bind(json!(wanted).to_string()).fetch_all(db).await?)
}

fn colour(text: &str) -> ApiResult<String> {
    let digits = text.trim().trim_start_matches('#').to_ascii_lowercase();
    let valid = matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if valid { Ok(digits) } else { Err(ApiError::invalid(format!("[Color]: {text} is no colour"))) }
}
