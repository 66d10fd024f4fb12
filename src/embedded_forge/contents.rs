//! Files in a repository, read and written through the API, and the first commit of a new one.

use super::{
    call::{Body, Here},
    error::{ApiError, ApiResult},
    git::{Git, GitError, Identity, is_branch_name},
    protection, pull_sync,
    repositories::Permission,
};
use axum::{Json, http::StatusCode, response::IntoResponse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

/// Returns how an account appears in commits that the forge makes for it.
pub(super) fn identity(name: &str) -> Identity {
    Identity { name: name.to_owned(), email: format!("{name}@noreply.localhost"), date: String::new() }
}

/// Commits a README to a branch that does not exist yet.
pub(super) async fn first_commit(git: &Git, branch: &str, readme: &str, author: &str) -> Result<(), GitError> {
    let commit = commit_file(git, "", "README.md", format!("{readme}\n").as_bytes(), "Initial commit", author).await?;
    git.set_ref(&format!("refs/heads/{branch}"), &commit).await
}

/// Makes a commit that puts one file on top of `parent` (empty for none). Returns its id; no ref moves.
async fn commit_file(
    git: &Git,
    parent: &str,
    path: &str,
    bytes: &[u8],
    message: &str,
    author: &str,
) -> Result<String, GitError> {
    let blob = git.blob(bytes).await?;
    let failed = |error: std::io::Error| GitError::Failed { command: "index".into(), message: error.to_string() };
    let scratch = tempfile::tempdir_in(git.folder()).map_err(failed)?;
    let index = scratch.path().join("index");
    let with_index = |args: &[&str]| git.program().args(args).env("GIT_INDEX_FILE", &index);
    if !parent.is_empty() {
        git.checked(with_index(&["read-tree", parent]), &["read-tree"]).await?;
    }
    let entry = format!("100644,{blob},{path}");
    git.checked(with_index(&["update-index", "--add", "--cacheinfo", &entry]), &["update-index"]).await?;
    let tree = git.checked(with_index(&["write-tree"]), &["write-tree"]).await?.text();
    let parents = if parent.is_empty() { vec![] } else { vec![parent] };
    git.commit_tree(&tree, &parents, message, &identity(author), &identity(author)).await
}

/// `GET /contents/{path}`: one file.
pub(super) async fn get(here: Here) -> ApiResult {
    let git = here.forge.git(here.repository.id);
    let at = here.query("ref").unwrap_or(&here.repository.default_branch);
    let commit = git.commit(at).await?.ok_or_else(ApiError::not_found)?;
    Ok(Json(file_json(&git, &commit, here.param("path")).await?).into_response())
}

#[derive(Deserialize)]
pub(super) struct FileChange {
    content: String,
    #[serde(default)]
    message: String,
    branch: Option<String>,
    new_branch: Option<String>,
    sha: Option<String>,
}

/// `POST /contents/{path}`: a new file.
pub(super) async fn create(here: Here, Body(change): Body<FileChange>) -> ApiResult {
    write(here, change, true).await
}

/// `PUT /contents/{path}`: a changed file, whose current blob is named.
pub(super) async fn update(here: Here, Body(change): Body<FileChange>) -> ApiResult {
    write(here, change, false).await
}

async fn write(here: Here, change: FileChange, is_new: bool) -> ApiResult {
    here.need_write()?;
    let path = here.param("path");
    if path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
        return Err(ApiError::invalid(format!("path is invalid: {path}")));
    }
    let bytes = STANDARD.decode(&change.content).map_err(|error| ApiError::invalid(format!("[Content]: {error}")))?;
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let from = given(&change.branch).unwrap_or_else(|| here.repository.default_branch.clone());
    let to = given(&change.new_branch).unwrap_or_else(|| from.clone());
    if !is_branch_name(&to) {
        return Err(ApiError::invalid("[NewBranch]: not a branch name"));
    }
    let me = here.call.caller()?.account.name.clone();
    let git = here.forge.git(here.repository.id);
    let lock = here.forge.lock(here.repository.id).await;
    let rules = protection::rules(&mut *here.forge.store.read().await?, here.repository.id).await?;
    let can_write = here.permission >= Permission::Write;
    if protection::matching(&rules, &to).is_some_and(|rule| !rule.may_push(&me, can_write)) {
        return Err(ApiError::forbidden("branch is protected from changing files"));
    }
    let refs = git.refs().await?;
    let parent = refs.branch(&from).unwrap_or_default().to_owned();
    if parent.is_empty() && !refs.branches().is_empty() {
        return Err(ApiError::not_found());
    }
    let old = if parent.is_empty() { None } else { blob_at(&git, &parent, path).await? };
    match (&old, is_new) {
        (Some(_), true) => return Err(ApiError::invalid("repository file already exists")),
        (None, false) => return Err(ApiError::not_found()),
        (Some(blob), false) if change.sha.as_ref() != Some(blob) => {
            return Err(ApiError::invalid("sha does not match"));
        }
        _ => {}
    }
    let message = if change.message.is_empty() { format!("Update {path}") } else { change.message };
    let commit = commit_file(&git, &parent, path, &bytes, &message, &me).await?;
    let before = if to == from { parent.as_str() } else { "" };
    if !git.move_ref(&format!("refs/heads/{to}"), &commit, before).await? {
        return Err(ApiError::conflict("the branch is not what it was or exists already"));
    }
    pull_sync::sync_locked(&here.forge, &here.repository, &lock).await?;
    let content = file_json(&git, &commit, path).await?;
    let body = json!({ "content": content, "commit": { "sha": commit, "message": message } });
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(body)).into_response())
}

async fn blob_at(git: &Git, commit: &str, path: &str) -> ApiResult<Option<String>> {
    let output = git.run(&["rev-parse", "--verify", "--quiet", &format!("{commit}:{path}")]).await?;
    Ok(output.status.success().then(|| output.text()))
}

async fn file_json(git: &Git, commit: &str, path: &str) -> ApiResult<Value> {
    let blob = blob_at(git, commit, path).await?.ok_or_else(ApiError::not_found)?;
    let output = git.run(&["cat-file", "blob", &blob]).await?;
    if !output.status.success() {
        return Err(ApiError::not_found());
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    Ok(json!({
        "name": name, "path": path, "sha": blob, "type": "file", "size": output.stdout.len(), "encoding": "base64",
        "content": STANDARD.encode(&output.stdout), "last_commit_sha": commit,
    }))
}
