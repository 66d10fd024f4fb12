//! Branch protection: the rules of a repository, which one applies to a branch, and what it refuses.

use super::{
    accounts::{Account, no_content},
    call::{Body, Here},
    error::{ApiError, ApiResult},
    git::Refs,
    issues::Issue,
    pulls::Pull,
    repositories::Permission,
    reviews,
    state::{now, time},
    statuses,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use globset::GlobBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// A rule, stored as the API writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    pub(super) rule_name: String,
    pub(super) enable_push: bool,
    pub(super) enable_push_whitelist: bool,
    pub(super) push_whitelist_usernames: Vec<String>,
    pub(super) push_whitelist_teams: Vec<String>,
    pub(super) push_whitelist_deploy_keys: bool,
    pub(super) enable_merge_whitelist: bool,
    pub(super) merge_whitelist_usernames: Vec<String>,
    pub(super) merge_whitelist_teams: Vec<String>,
    pub(super) enable_status_check: bool,
    pub(super) status_check_contexts: Vec<String>,
    pub(super) required_approvals: i64,
    pub(super) enable_approvals_whitelist: bool,
    pub(super) approvals_whitelist_username: Vec<String>,
    pub(super) approvals_whitelist_teams: Vec<String>,
    pub(super) block_on_rejected_reviews: bool,
    pub(super) block_on_official_review_requests: bool,
    pub(super) block_on_outdated_branch: bool,
    pub(super) dismiss_stale_approvals: bool,
    pub(super) ignore_stale_approvals: bool,
    pub(super) require_signed_commits: bool,
    pub(super) protected_file_patterns: String,
    pub(super) unprotected_file_patterns: String,
    pub(super) apply_to_admins: bool,
}

impl Rule {
    pub(super) fn may_push(&self, user: &str, can_write: bool) -> bool {
        self.enable_push
            && if self.enable_push_whitelist { listed(&self.push_whitelist_usernames, user) } else { can_write }
    }

    pub(super) fn may_merge(&self, user: &str, can_write: bool) -> bool {
        if self.enable_merge_whitelist { listed(&self.merge_whitelist_usernames, user) } else { can_write }
    }

    /// Returns whether a review by this user counts.
    pub(super) fn is_official(&self, user: &str, can_write: bool) -> bool {
        if self.enable_approvals_whitelist { listed(&self.approvals_whitelist_username, user) } else { can_write }
    }
}

fn listed(names: &[String], user: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(user))
}

/// Returns whether a pattern with `*` (not across `/`) and `**` matches; a pattern that is none matches itself only.
pub(super) fn glob_matches(pattern: &str, text: &str) -> bool {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    pattern == text || glob.is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

/// Returns the rule that applies to a branch: the one of its name, else the oldest pattern that matches.
pub(super) fn matching<'a>(rules: &'a [Rule], branch: &str) -> Option<&'a Rule> {
    let named = rules.iter().find(|rule| rule.rule_name == branch);
    named.or_else(|| rules.iter().find(|rule| glob_matches(&rule.rule_name, branch)))
}

pub(super) async fn rules(db: &mut SqliteConnection, repository: i64) -> ApiResult<Vec<Rule>> {
    let query = sqlx::query_scalar::<_, String>("SELECT body FROM protections WHERE repository = ?1 ORDER BY id");
    let bodies = query.bind(repository).fetch_all(db).await?;
    // A rule that cannot be read must not open a branch.
    bodies
        .iter()
        .map(|body| serde_json::from_str(body).map_err(|error| ApiError::internal(error.to_string())))
        .collect()
}

/// Returns why a rule does not let this pull request be merged now.
pub(super) async fn refusal(
    db: &mut SqliteConnection,
    here: &Here,
    rule: &Rule,
    issue: &Issue,
    pull: &Pull,
    refs: &Refs,
) -> ApiResult<Option<&'static str>> {
    if rule.enable_status_check
        && !statuses::all_green(db, here.repository.id, &pull.head_sha, &rule.status_check_contexts).await?
    {
        return Ok(Some("Not all required status checks successful"));
    }
    let tally = reviews::tally(db, issue.id, &pull.head_sha, rule.ignore_stale_approvals).await?;
    if tally.approvals < rule.required_approvals {
        return Ok(Some("Does not have enough approvals"));
    }
    if rule.block_on_rejected_reviews && tally.rejections > 0 {
        return Ok(Some("There are requested changes"));
    }
    if rule.block_on_official_review_requests && tally.requests > 0 {
        return Ok(Some("There are official review requests"));
    }
    let git = here.forge.git(here.repository.id);
    let base = refs.branch(&pull.base_branch).unwrap_or_default();
    if rule.block_on_outdated_branch && !git.is_ancestor(base, &pull.head_sha).await? {
        return Ok(Some("The head branch is behind the base branch"));
    }
    let patterns: Vec<&str> =
        rule.protected_file_patterns.split(';').map(str::trim).filter(|p| !p.is_empty()).collect();
    if !patterns.is_empty() {
        let names = git.text(&["diff", "--name-only", "-z", "--no-renames", &pull.merge_base, &pull.head_sha]).await?;
        if names.split('\0').any(|name| !name.is_empty() && patterns.iter().any(|pattern| glob_matches(pattern, name)))
        {
            return Ok(Some("Changed protected files"));
        }
    }
    Ok(None)
}

fn json_of(row: &SqliteRow) -> Value {
    let rule: Rule = serde_json::from_str(&row.get::<String, _>("body")).unwrap_or_default();
    let mut value = json!(rule);
    value["branch_name"] = json!(rule.rule_name);
    value["created_at"] = json!(time(row.get("created")));
    value["updated_at"] = json!(time(row.get("updated")));
    value
}

/// `GET /branch_protections`: not paged.
pub(super) async fn list(here: Here) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.read().await?;
    let query = sqlx::query("SELECT * FROM protections WHERE repository = ?1 ORDER BY id");
    let rows = query.bind(here.repository.id).fetch_all(&mut *db).await?;
    Ok(Json(rows.iter().map(json_of).collect::<Vec<_>>()).into_response())
}

/// `GET /branch_protections/{name}`
pub(super) async fn get(here: Here) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.read().await?;
    Ok(Json(json_of(&row(&mut db, &here).await?)).into_response())
}

/// `POST /branch_protections`
pub(super) async fn create(here: Here, Body(fields): Body<Map<String, Value>>) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.write().await?;
    let mut rule = changed(&mut db, &here, &Rule::default(), &fields).await?;
    if rule.rule_name.is_empty() {
        rule.rule_name = fields.get("branch_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    if rule.rule_name.is_empty() {
        return Err(ApiError::invalid("either branch_name or rule_name must be given"));
    }
    let existing = rules(&mut db, here.repository.id).await?;
    if existing.iter().any(|other| other.rule_name == rule.rule_name) {
        return Err(ApiError::forbidden("Branch protection already exist"));
    }
    let query = sqlx::query(
        "INSERT INTO protections (repository, rule_name, body, created, updated) VALUES (?1, ?2, ?3, ?4, ?4) RETURNING *",
    );
    let query = query.bind(here.repository.id).bind(&rule.rule_name).bind(json!(rule).to_string()).bind(now());
    let row = query.fetch_one(&mut *db).await?;
    db.commit().await?;
    Ok((StatusCode::CREATED, Json(json_of(&row))).into_response())
}

/// `PATCH /branch_protections/{name}`
pub(super) async fn edit(here: Here, Body(fields): Body<Map<String, Value>>) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.write().await?;
    let row = row(&mut db, &here).await?;
    let old: Rule =
        serde_json::from_str(&row.get::<String, _>("body")).map_err(|e| ApiError::internal(e.to_string()))?;
    let mut rule = changed(&mut db, &here, &old, &fields).await?;
    rule.rule_name.clone_from(&old.rule_name);
    let query = sqlx::query("UPDATE protections SET body = ?2, updated = ?3 WHERE id = ?1 RETURNING *");
    let query = query.bind(row.get::<i64, _>("id")).bind(json!(rule).to_string()).bind(now());
    let row = query.fetch_one(&mut *db).await?;
    db.commit().await?;
    Ok(Json(json_of(&row)).into_response())
}

/// `DELETE /branch_protections/{name}`
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need_admin()?;
    let mut db = here.forge.store.write().await?;
    let row = row(&mut db, &here).await?;
    let query = sqlx::query("DELETE FROM protections WHERE id = ?1");
    query.bind(row.get::<i64, _>("id")).execute(&mut *db).await?;
    db.commit().await?;
    Ok(no_content())
}

async fn row(db: &mut SqliteConnection, here: &Here) -> ApiResult<SqliteRow> {
    let query = sqlx::query("SELECT * FROM protections WHERE repository = ?1 AND rule_name = ?2");
    Ok(query.bind(here.repository.id).bind(here.param("name")).fetch_one(db).await?)
}

/// Returns a rule with the given fields changed; 422 for a wrong type or a user that does not exist.
async fn changed(db: &mut SqliteConnection, here: &Here, old: &Rule, fields: &Map<String, Value>) -> ApiResult<Rule> {
    let mut value = json!(old);
    for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
        value[name] = field.clone();
    }
    let rule: Rule = serde_json::from_value(value).map_err(|error| ApiError::invalid(error.to_string()))?;
    let lists = [&rule.push_whitelist_usernames, &rule.merge_whitelist_usernames, &rule.approvals_whitelist_username];
    for name in lists.into_iter().flatten() {
        let unknown = |_| ApiError::invalid(format!("user does not exist [name: {name}]"));
        let account = Account::named(db, name).await.map_err(unknown)?;
        if here.repository.permission(db, Some(&account)).await? < Permission::Read {
            return Err(ApiError::invalid(format!("user cannot read this repository [name: {name}]")));
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> Rule {
        Rule { rule_name: name.to_owned(), ..Rule::default() }
    }

    #[test]
    fn a_name_wins_over_a_pattern_and_a_star_stops_at_a_slash() {
        let rules = [rule("ma*"), rule("main"), rule("release/**")];
        let of = |branch: &str| matching(&rules, branch).map(|rule| rule.rule_name.as_str());
        assert_eq!(of("main"), Some("main"));
        assert_eq!(of("maintenance"), Some("ma*"));
        assert_eq!(of("ma/x"), None);
        assert_eq!(of("release/1/x"), Some("release/**"));
    }

    #[test]
    fn a_protected_branch_takes_no_push_unless_it_is_enabled() {
        let mut rule = rule("main");
        assert!(!rule.may_push("ann", true) && rule.may_merge("ann", true));
        rule.enable_push = true;
        assert!(rule.may_push("ann", true) && !rule.may_push("ann", false));
        rule.enable_push_whitelist = true;
        rule.push_whitelist_usernames = vec!["Bob".to_owned()];
        assert!(!rule.may_push("ann", true) && rule.may_push("bob", true));
    }
}
