//! The list of issues with its filters. Labels are joined by AND, and names that no label has are left out of the filter.

use super::{
    call::Here,
    error::ApiResult,
    issues::Issue,
    labels,
    paging::{Headers, Page},
    pull_sync,
    state::parse_time,
};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

const SELECT_IDS: &str = "
SELECT i.id FROM issues i WHERE i.repository = ?1 AND (?2 IS NULL OR i.closed = ?2) AND (?3 IS NULL OR i.is_pull = ?3)
  AND (?4 IS NULL OR i.updated >= ?4) AND (?5 IS NULL OR i.updated <= ?5)
  AND (?6 IS NULL OR i.author = (SELECT id FROM accounts WHERE name = ?6))
  AND (?7 IS NULL OR EXISTS (SELECT 1 FROM assignees s JOIN accounts a ON a.id = s.account
                             WHERE s.issue = i.id AND a.name = ?7))
  AND (?8 IS NULL OR instr(lower(i.title || ' ' || i.body), lower(?8)) > 0)
  AND NOT EXISTS (SELECT 1 FROM json_each(?9) w
                  WHERE NOT EXISTS (SELECT 1 FROM issue_labels il WHERE il.issue = i.id AND il.label = w.value))
ORDER BY i.created DESC, i.id DESC";

/// `GET /issues`
pub(super) async fn list(here: Here) -> ApiResult {
    if here.query("type") != Some("issues") {
        pull_sync::sync(&here.forge, &here.repository).await?;
    }
    let mut db = here.forge.store.read().await?;
    let mut ids = matching(&mut db, &here).await?;
    if here.query("sort") == Some("oldest") {
        ids.reverse();
    }
    let page = Page::of(&here.query);
    let issues = Issue::with_ids(&mut db, page.slice(&ids)).await?;
    let items: Vec<Value> = issues.iter().map(|issue| issue.json(&here.forge, &here.repository)).collect();
    Ok(page.answer(&here, &items, ids.len(), Headers::Full))
}

async fn matching(db: &mut SqliteConnection, here: &Here) -> ApiResult<Vec<i64>> {
    let closed = match here.query("state") {
        Some("all") => None,
        Some("closed") => Some(true),
        _ => Some(false),
    };
    let is_pull = match here.query("type") {
        Some("issues") => Some(false),
        Some("pulls") => Some(true),
        _ => None,
    };
    let names = here.query("labels").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<Value> = names.map(Value::from).collect();
    let wanted = labels::resolve(db, here.repository.id, &names).await?;
    let query = sqlx::query_scalar(SELECT_IDS).bind(here.repository.id).bind(closed).bind(is_pull);
    let query = query.bind(here.query("since").and_then(parse_time)).bind(here.query("before").and_then(parse_time));
    let query = query.bind(here.query("created_by")).bind(here.query("assigned_by")).bind(here.query("q"));
    Ok(query.bind(json!(wanted).to_string()).fetch_all(db).await?)
}
