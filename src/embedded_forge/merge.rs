//! Merging a pull request: every refusal in the order of the real forges, then the commit, the intent, the ref, the record.
//! Dying after the ref has moved is healed by the next read (`pull_sync`): the intent names the commit that the base then has.

use super::{
    accounts::no_content,
    call::{Body, Here},
    contents::identity,
    dependencies,
    error::{ApiError, ApiResult},
    git::Refs,
    issues::Issue,
    merge_git::{Merge, MergeError, Style},
    protection, pull_sync,
    pulls::{Pull, is_draft},
    repositories::Permission,
};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
pub(super) struct MergeForm {
    #[serde(rename = "Do", alias = "do", default)]
    style: String,
    #[serde(rename = "MergeTitleField", alias = "merge_title_field", default)]
    title: String,
    #[serde(rename = "MergeMessageField", alias = "merge_message_field", default)]
    message: String,
    #[serde(default)]
    head_commit_id: String,
    #[serde(default)]
    delete_branch_after_merge: bool,
    #[serde(default)]
    force_merge: bool,
}

/// `GET /pulls/{index}/merge`: 204 merged, 404 not.
pub(super) async fn check(here: Here) -> ApiResult {
    pull_sync::sync(&here.forge, &here.repository).await?;
    let mut db = here.forge.store.read().await?;
    let issue = Issue::at(&mut db, &here).await?;
    if issue.pull()?.merged.is_some() { Ok(no_content()) } else { Err(ApiError::not_found()) }
}

/// `POST /pulls/{index}/merge`
pub(super) async fn merge(here: Here, Body(form): Body<MergeForm>) -> ApiResult {
    let Some(style) = Style::parse(&form.style) else {
        return Err(ApiError::invalid("[Do]: Required, one of merge, rebase, rebase-merge, squash, fast-forward-only"));
    };
    let lock = here.forge.lock(here.repository.id).await;
    let refs = pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    let issue = Issue::at(&mut *here.forge.store.read().await?, &here).await?;
    let pull = issue.pull()?;
    refuse_by_state(&here, &issue, pull, &refs).await?;
    refuse_by_rule(&here, &issue, pull, &refs, &form).await?;
    if !here.repository.switch(style.switch()) {
        let message = format!("{} is not allowed an allowed merge style for this repository", style.name());
        return Err(ApiError::not_allowed(message));
    }
    if !form.head_commit_id.is_empty() && form.head_commit_id != pull.head_sha {
        return Err(ApiError::conflict("head out of date"));
    }
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    let kept =
        protection::matching(&rules, &pull.head_branch).is_some() || pull.head_branch == here.repository.default_branch;
    let delete = form.delete_branch_after_merge && !kept;
    carry_out(&here, &issue, pull, &refs, style, &form, delete).await?;
    if form.delete_branch_after_merge && kept {
        // It is merged all the same: who asks again is told so.
        return Err(ApiError::forbidden("branch protected"));
    }
    if delete {
        pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    }
    Ok(StatusCode::OK.into_response())
}

async fn refuse_by_state(here: &Here, issue: &Issue, pull: &Pull, refs: &Refs) -> ApiResult<()> {
    if pull.merged.is_some() {
        return Err(ApiError::not_allowed(""));
    }
    if issue.closed {
        return Err(ApiError::not_found());
    }
    let me = &here.caller()?.account;
    let can_write = here.permission >= Permission::Write;
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    let rule = protection::matching(&rules, &pull.base_branch);
    if !rule.map_or(can_write, |rule| rule.may_merge(&me.name, can_write)) {
        return Err(ApiError::not_allowed("User not allowed to merge PR"));
    }
    if is_draft(&issue.title) {
        return Err(ApiError::not_allowed("Work in progress PRs cannot be merged"));
    }
    let base = refs.branch(&pull.base_branch).unwrap_or_default();
    if here.forge.mergeability.look(&here.forge, here.repository.id, base, &pull.head_sha) != Some(true) {
        return Err(ApiError::not_allowed("Please try again later"));
    }
    Ok(())
}

async fn refuse_by_rule(here: &Here, issue: &Issue, pull: &Pull, refs: &Refs, form: &MergeForm) -> ApiResult<()> {
    let mut db = here.forge.store.read().await?;
    let rules = protection::rules(&mut db, here.repository.id).await?;
    let forced = form.force_merge && here.permission >= Permission::Admin;
    if let Some(rule) = protection::matching(&rules, &pull.base_branch).filter(|_| !forced)
        && let Some(reason) = protection::refusal(&mut db, here, rule, issue, pull, refs).await?
    {
        return Err(ApiError::not_allowed(format!("not allowed to merge [reason: {reason}]")));
    }
    if here.repository.has_dependencies() && dependencies::has_open(&mut db, issue.id).await? {
        return Err(ApiError::internal("cannot merge this pull request because it still has open dependencies"));
    }
    Ok(())
}

async fn carry_out(
    here: &Here,
    issue: &Issue,
    pull: &Pull,
    refs: &Refs,
    style: Style,
    form: &MergeForm,
    delete_branch: bool,
) -> ApiResult<()> {
    let me = &here.caller()?.account;
    let git = here.forge.git(here.repository.id);
    let base = refs.branch(&pull.base_branch).ok_or_else(ApiError::not_found)?;
    let (message, author, merger) =
        (words(here, issue, pull, style, form), identity(&issue.author_name), identity(&me.name));
    let plan = Merge { style, base, head: &pull.head_sha, message: &message, author: &author, merger: &merger };
    let commit = plan.commit(&git).await.map_err(|error| refusal(style, error))?;
    let mut db = here.forge.store.write().await?;
    pull_sync::set_intent(&mut db, issue.id, &commit, me.id, delete_branch).await?;
    db.commit().await?;
    if !git.move_ref(&format!("refs/heads/{}", pull.base_branch), &commit, base).await? {
        let mut db = here.forge.store.write().await?;
        pull_sync::clear_intent(&mut db, issue.id).await?;
        db.commit().await?;
        return Err(ApiError::conflict("merge push out of date"));
    }
    pull_sync::record_merge(&here.forge, &here.repository, &git, issue, pull, &commit, me.id).await
}

fn words(here: &Here, issue: &Issue, pull: &Pull, style: Style, form: &MergeForm) -> String {
    let title = match (form.title.as_str(), style) {
        ("", Style::Squash) => format!("{} (#{})", issue.title, issue.number),
        ("", _) => format!(
            "Merge pull request '{}' (#{}) from {} into {}",
            issue.title, issue.number, pull.head_branch, pull.base_branch
        ),
        (title, _) => title.to_owned(),
    };
    let body = if form.message.is_empty() {
        let page = here.forge.url(&format!("/{}/pulls/{}", here.repository.full_name(), issue.number));
        format!("Reviewed-on: {page}")
    } else {
        form.message.clone()
    };
    format!("{title}\n\n{body}\n")
}

/// A conflict is told by git's own words, in an object without a message.
fn refusal(style: Style, error: MergeError) -> ApiError {
    match error {
        MergeError::Conflict { stdout, stderr } => ApiError::raw(
            StatusCode::CONFLICT,
            json!({ "Style": style.name(), "StdOut": stdout, "StdErr": stderr, "Err": {} }),
        ),
        MergeError::Diverging => ApiError::internal("merge diverging fast forward only: the branches have diverged"),
        MergeError::Git(error) => ApiError::internal(error.to_string()),
    }
}

/// `POST /pulls/{index}/update`: merges the base into the head, or rebases the head onto it.
pub(super) async fn update(here: Here) -> ApiResult<Response> {
    here.need_write()?;
    let lock = here.forge.lock(here.repository.id).await;
    let refs = pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    let issue = Issue::at(&mut *here.forge.store.read().await?, &here).await?;
    let pull = issue.pull()?;
    if pull.merged.is_some() || issue.closed {
        return Err(ApiError::invalid("pull request is closed"));
    }
    let (git, merger) = (here.forge.git(here.repository.id), identity(&here.caller()?.account.name));
    let base = refs.branch(&pull.base_branch).ok_or_else(ApiError::not_found)?;
    let message = format!("Merge branch '{}' into {}\n", pull.base_branch, pull.head_branch);
    // A rebase puts the head's commits onto the base; a merge puts the base into the head.
    let rebase = here.query("style") == Some("rebase");
    let (style, into, from) = if rebase {
        (Style::Rebase, base, pull.head_sha.as_str())
    } else {
        (Style::Merge, pull.head_sha.as_str(), base)
    };
    if git.is_ancestor(base, &pull.head_sha).await? {
        return Err(ApiError::conflict("pull request is up to date"));
    }
    let plan = Merge { style, base: into, head: from, message: &message, author: &merger, merger: &merger };
    let commit = plan.commit(&git).await.map_err(|error| match error {
        MergeError::Conflict { .. } => ApiError::conflict("merge failed because of conflict"),
        other => refusal(style, other),
    })?;
    if !git.move_ref(&format!("refs/heads/{}", pull.head_branch), &commit, &pull.head_sha).await? {
        return Err(ApiError::conflict("merge push out of date"));
    }
    pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    Ok(StatusCode::OK.into_response())
}
