//! Branches: looked up in git at each request; names may hold slashes.

use super::{
    accounts::no_content,
    call::{Body, Here},
    error::{ApiError, ApiResult},
    git::{Git, is_branch_name},
    paging::{Headers, Page},
    protection::{self, Rule},
    pull_sync,
    repositories::Permission,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json};

/// Separates the fields of a commit in git's output; cannot stand in a name or a subject.
const FIELD: char = '\u{1f}';

/// `GET /branches`
pub(super) async fn list(here: Here) -> ApiResult {
    let git = here.forge.git(here.repository.id);
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    let branches = git.refs().await?.branches();
    let page = Page::of(&here.query);
    let mut items = Vec::new();
    for (name, sha) in page.slice(&branches) {
        items.push(json_of(&here, &git, name, sha, protection::matching(&rules, name)).await?);
    }
    Ok(page.answer(&here, &items, branches.len(), Headers::Full))
}

/// `GET /branches/{branch}`
pub(super) async fn get(here: Here) -> ApiResult {
    let git = here.forge.git(here.repository.id);
    let name = here.param("branch");
    let refs = git.refs().await?;
    let sha = refs.branch(name).ok_or_else(ApiError::not_found)?;
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    Ok(Json(json_of(&here, &git, name, sha, protection::matching(&rules, name)).await?).into_response())
}

#[derive(Deserialize)]
pub(super) struct NewBranch {
    #[serde(default)]
    new_branch_name: String,
    #[serde(alias = "old_branch_name")]
    old_ref_name: Option<String>,
}

/// `POST /branches`
pub(super) async fn create(here: Here, Body(new): Body<NewBranch>) -> ApiResult {
    here.need_write()?;
    if !is_branch_name(&new.new_branch_name) {
        return Err(ApiError::invalid("[BranchName]: not a branch name"));
    }
    let git = here.forge.git(here.repository.id);
    let from = new.old_ref_name.filter(|name| !name.is_empty());
    let from = from.unwrap_or_else(|| here.repository.default_branch.clone());
    let sha = git.commit(&from).await?.ok_or_else(ApiError::not_found)?;
    if !git.move_ref(&format!("refs/heads/{}", new.new_branch_name), &sha, "").await? {
        return Err(ApiError::conflict("The branch already exists."));
    }
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    let rule = protection::matching(&rules, &new.new_branch_name);
    let body = json_of(&here, &git, &new.new_branch_name, &sha, rule).await?;
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `DELETE /branches/{branch}`
pub(super) async fn delete(here: Here) -> ApiResult {
    here.need_write()?;
    let name = here.param("branch");
    let git = here.forge.git(here.repository.id);
    let lock = here.forge.lock(here.repository.id).await;
    let refs = git.refs().await?;
    let sha = refs.branch(name).ok_or_else(ApiError::not_found)?;
    if name == here.repository.default_branch {
        return Err(ApiError::forbidden("can not delete default branch"));
    }
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    if protection::matching(&rules, name).is_some() {
        return Err(ApiError::forbidden("branch protected"));
    }
    // The pull requests take over what the branch holds before it goes.
    pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    git.delete_ref(&format!("refs/heads/{name}"), sha).await?;
    pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    Ok(no_content())
}

async fn json_of(here: &Here, git: &Git, name: &str, sha: &str, rule: Option<&Rule>) -> ApiResult<Value> {
    let can_write = here.permission >= Permission::Write;
    // What a rule is called is for those who may change it; what it demands is for all who see the branch.
    let rule_name = rule.filter(|_| here.permission >= Permission::Admin).map_or("", |rule| rule.rule_name.as_str());
    let me = here.caller_if_any().map_or("", |caller| caller.account.name.as_str());
    Ok(json!({
        "name": name, "commit": commit_json(here, git, sha).await?, "protected": rule.is_some(),
        "required_approvals": rule.map_or(0, |rule| rule.required_approvals),
        "enable_status_check": rule.is_some_and(|rule| rule.enable_status_check),
        "status_check_contexts": rule.map_or(&[][..], |rule| &rule.status_check_contexts),
        "user_can_push": rule.map_or(can_write, |rule| rule.may_push(me, can_write)),
        "user_can_merge": rule.map_or(can_write, |rule| rule.may_merge(me, can_write)),
        "effective_branch_protection_name": rule_name,
    }))
}

async fn commit_json(here: &Here, git: &Git, sha: &str) -> ApiResult<Value> {
    let format = format!("--format=%an{FIELD}%ae{FIELD}%aI{FIELD}%cn{FIELD}%ce{FIELD}%cI{FIELD}%B");
    let text = git.text(&["log", "-1", &format, sha]).await?;
    let parts: Vec<&str> = text.splitn(7, FIELD).collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    Ok(json!({
        "id": sha, "message": part(6), "timestamp": part(5),
        "url": here.forge.url(&format!("/{}/commit/{sha}", here.repository.full_name())),
        "author": { "name": part(0), "email": part(1), "username": "" },
        "committer": { "name": part(3), "email": part(4), "username": "" },
    }))
}
