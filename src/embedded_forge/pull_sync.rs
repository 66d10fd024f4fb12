//! Brings pull requests up to what git says: heads that moved, branches that are gone, merges that a death left half recorded.
//! It runs at each read and after each push, so nothing depends on having been told.

use super::{
    closing,
    error::ApiResult,
    git::{Git, Refs},
    issues::{self, Issue},
    protection,
    pulls::Pull,
    repositories::Repository,
    state::{Forge, RepositoryLock, now},
};
use sqlx::SqliteConnection;

/// Brings the open pull requests of a repository up to date. Returns the refs that they now agree with.
pub(super) async fn sync(forge: &Forge, repository: &Repository) -> ApiResult<Refs> {
    let refs = forge.git(repository.id).refs().await?;
    let open = open_pulls(&mut *forge.store.read().await?, repository.id).await?;
    if open.iter().all(|issue| is_current(issue, &refs)) {
        return Ok(refs);
    }
    let lock = forge.lock(repository.id).await;
    sync_locked(forge, repository, &lock).await
}

/// The same for a caller that has the repository's lock.
pub(super) async fn sync_locked(forge: &Forge, repository: &Repository, _lock: &RepositoryLock) -> ApiResult<Refs> {
    let git = forge.git(repository.id);
    let refs = git.refs().await?;
    let open = open_pulls(&mut *forge.store.read().await?, repository.id).await?;
    for issue in open.iter().filter(|issue| !is_current(issue, &refs)) {
        if let Some(pull) = &issue.pull {
            bring_up(forge, repository, &git, &refs, issue, pull).await?;
        }
    }
    let refs = git.refs().await?;
    for issue in open.iter().filter(|issue| !issue.closed) {
        if let Some((pull, base)) = issue.pull.as_ref().and_then(|pull| Some((pull, refs.branch(&pull.base_branch)?))) {
            let head = refs.branch(&pull.head_branch).unwrap_or(&pull.head_sha);
            forge.mergeability.look(forge, repository.id, base, head);
        }
    }
    Ok(refs)
}

/// Open pull requests, and merged ones whose branch is still to be removed.
async fn open_pulls(db: &mut SqliteConnection, repository: i64) -> ApiResult<Vec<Issue>> {
    let query = sqlx::query_scalar(
        "SELECT i.id FROM issues i JOIN pulls p ON p.issue = i.id
         WHERE i.repository = ?1 AND (NOT i.closed OR p.delete_branch) ORDER BY i.id",
    );
    let ids: Vec<i64> = query.bind(repository).fetch_all(&mut *db).await?;
    if ids.is_empty() { Ok(Vec::new()) } else { Issue::with_ids(db, &ids).await }
}

fn is_current(issue: &Issue, refs: &Refs) -> bool {
    let Some(pull) = &issue.pull else { return true };
    pull.intent.is_none()
        && !pull.delete_branch
        && refs.branch(&pull.head_branch) == Some(pull.head_sha.as_str())
        && refs.branch(&pull.base_branch).is_some()
        && refs.get(&format!("refs/pull/{}/head", issue.number)) == Some(pull.head_sha.as_str())
}

async fn bring_up(
    forge: &Forge,
    repository: &Repository,
    git: &Git,
    refs: &Refs,
    issue: &Issue,
    pull: &Pull,
) -> ApiResult<()> {
    if pull.merged.is_some() {
        return remove_branch(forge, repository, git, refs, issue, pull).await;
    }
    if let Some((intended, by)) = &pull.intent {
        let base = refs.branch(&pull.base_branch);
        if let Some(base) = base
            && git.is_ancestor(intended, base).await?
        {
            record_merge(forge, repository, git, issue, pull, intended, *by).await?;
            return remove_branch(forge, repository, git, refs, issue, pull).await;
        }
        // The intent stays until the next attempt replaces it: the git of a server that was killed may still move the base.
    }
    let Some(base) = refs.branch(&pull.base_branch) else { return close(forge, issue).await };
    let kept = format!("refs/pull/{}/head", issue.number);
    match refs.branch(&pull.head_branch) {
        None => close(forge, issue).await,
        Some(head) => {
            if refs.get(&kept) != Some(head) {
                git.set_ref(&kept, head).await?;
            }
            if head == pull.head_sha {
                Ok(())
            } else {
                move_head(forge, repository, git, issue, pull, base, head).await
            }
        }
    }
}

/// A pull request whose branch is gone is closed; `refs/pull/N/head` keeps its commits.
async fn close(forge: &Forge, issue: &Issue) -> ApiResult<()> {
    let mut db = forge.store.write().await?;
    issues::set_closed(&mut db, issue.id, true).await?;
    Ok(db.commit().await?)
}

async fn move_head(
    forge: &Forge,
    repository: &Repository,
    git: &Git,
    issue: &Issue,
    pull: &Pull,
    base: &str,
    head: &str,
) -> ApiResult<()> {
    let merge_base = git.merge_base(base, head).await?;
    let mut db = forge.store.write().await?;
    let query = sqlx::query("UPDATE pulls SET head_sha = ?2, merge_base = ?3 WHERE issue = ?1");
    query.bind(issue.id).bind(head).bind(merge_base).execute(&mut *db).await?;
    sqlx::query("UPDATE issues SET updated = ?2 WHERE id = ?1").bind(issue.id).bind(now()).execute(&mut *db).await?;
    let rules = protection::rules(&mut db, repository.id).await?;
    if protection::matching(&rules, &pull.base_branch).is_some_and(|rule| rule.dismiss_stale_approvals) {
        let query =
            sqlx::query("UPDATE reviews SET dismissed = 1 WHERE issue = ?1 AND state = 'APPROVED' AND commit_id <> ?2");
        query.bind(issue.id).bind(head).execute(&mut *db).await?;
    }
    Ok(db.commit().await?)
}

/// Writes down, before the base moves, which commit it will move to: what a death in between is recognised by.
pub(super) async fn set_intent(
    db: &mut SqliteConnection,
    issue: i64,
    commit: &str,
    by: i64,
    delete_branch: bool,
) -> ApiResult<()> {
    let query = sqlx::query("UPDATE pulls SET intent_sha = ?2, intent_by = ?3, delete_branch = ?4 WHERE issue = ?1");
    query.bind(issue).bind(commit).bind(by).bind(delete_branch).execute(db).await?;
    Ok(())
}

pub(super) async fn clear_intent(db: &mut SqliteConnection, issue: i64) -> ApiResult<()> {
    let query = sqlx::query("UPDATE pulls SET intent_sha = NULL, intent_by = NULL, delete_branch = 0 WHERE issue = ?1");
    query.bind(issue).execute(db).await?;
    Ok(())
}

/// Marks a pull request as merged and closes what it closes, all at once.
pub(super) async fn record_merge(
    forge: &Forge,
    repository: &Repository,
    git: &Git,
    issue: &Issue,
    pull: &Pull,
    commit: &str,
    by: i64,
) -> ApiResult<()> {
    let closes = if pull.base_branch == repository.default_branch {
        let range = format!("{}..{}", pull.merge_base, pull.head_sha);
        // Unrelated histories have no merge base; then only the pull request itself is asked.
        let messages = git.text(&["log", "--format=%B", &range]).await.unwrap_or_default();
        closing::numbers(&format!("{}\n{}\n{messages}", issue.title, issue.body))
    } else {
        Vec::new()
    };
    let mut db = forge.store.write().await?;
    let query = sqlx::query(
        "UPDATE pulls SET merged_sha = ?2, merged_at = ?3, merged_by = ?4, intent_sha = NULL, intent_by = NULL
         WHERE issue = ?1 AND merged_at IS NULL",
    );
    query.bind(issue.id).bind(commit).bind(now()).bind(by).execute(&mut *db).await?;
    issues::set_closed(&mut db, issue.id, true).await?;
    closing::close(&mut db, repository.id, &closes).await?;
    Ok(db.commit().await?)
}

/// Removes the branch of a merged pull request if that was asked for and it still is what was merged.
async fn remove_branch(
    forge: &Forge,
    repository: &Repository,
    git: &Git,
    refs: &Refs,
    issue: &Issue,
    pull: &Pull,
) -> ApiResult<()> {
    if !pull.delete_branch {
        return Ok(());
    }
    let untouched = refs.branch(&pull.head_branch) == Some(pull.head_sha.as_str());
    if untouched && pull.head_branch != repository.default_branch {
        git.delete_ref(&format!("refs/heads/{}", pull.head_branch), &pull.head_sha).await?;
    }
    let mut db = forge.store.write().await?;
    clear_intent(&mut db, issue.id).await?;
    Ok(db.commit().await?)
}
