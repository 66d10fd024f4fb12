//! What a pull request changes: the files, the diff, the commits, between the merge base and the head.

use super::{
    call::Here,
    error::{ApiError, ApiResult},
    git::Git,
    issues::Issue,
    paging::{Headers, Page},
    pull_sync,
    pulls::Pull,
};
use axum::{
    http::{HeaderValue, header::CONTENT_TYPE},
    response::IntoResponse,
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Separates fields in git's output.
const FIELD: char = '\u{1f}';
/// Separates commits in git's output.
const RECORD: char = '\u{1e}';

/// Returns the two commits between which a pull request's changes lie.
fn range(pull: &Pull) -> [&str; 2] {
    [&pull.merge_base, &pull.head_sha]
}

async fn current(here: &Here, number: i64) -> ApiResult<Issue> {
    pull_sync::sync(&here.forge, &here.repository).await?;
    Issue::numbered(&mut *here.forge.store.read().await?, here.repository.id, number).await
}

/// `GET /pulls/{index}.diff`
pub(super) async fn diff(here: &Here, number: i64) -> ApiResult {
    let issue = current(here, number).await?;
    let [from, to] = range(issue.pull()?);
    let git = here.forge.git(here.repository.id);
    let args = ["diff", "--binary", "--full-index", "-M", from, to];
    let output = git.checked(git.program().args(args), &args).await?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], output.stdout).into_response())
}

/// `GET /pulls/{index}/files`
pub(super) async fn list(here: Here) -> ApiResult {
    let issue = current(&here, here.number("index")?).await?;
    let all = changed(&here.forge.git(here.repository.id), issue.pull()?).await?;
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::Full))
}

async fn changed(git: &Git, pull: &Pull) -> ApiResult<Vec<Value>> {
    let [from, to] = range(pull);
    let counts = git.text(&["diff", "--numstat", "-z", "-M", from, to]).await?;
    let counts = line_counts(&counts);
    let names = git.text(&["diff", "--name-status", "-z", "-M", from, to]).await?;
    let mut parts = names.split('\0');
    let mut files = Vec::new();
    while let Some(status) = parts.next().filter(|status| !status.is_empty()) {
        let renamed = status.starts_with(['R', 'C']);
        let previous = if renamed { parts.next() } else { None };
        let name = parts.next().unwrap_or_default();
        let (additions, deletions) = counts.get(name).copied().unwrap_or_default();
        let word = match status.chars().next() {
            Some('A') => "added",
            Some('D') => "deleted",
            Some('R') => "renamed",
            Some('C') => "copied",
            _ => "changed",
        };
        let mut file = json!({ "filename": name, "status": word, "additions": additions, "deletions": deletions,
                               "changes": additions + deletions });
        if let Some(previous) = previous {
            file["previous_filename"] = json!(previous);
        }
        files.push(file);
    }
    Ok(files)
}

/// Returns added and removed lines by file from `git diff --numstat -z`, whose renames have an empty name and then two.
fn line_counts(text: &str) -> HashMap<&str, (u64, u64)> {
    let mut counts = HashMap::new();
    let mut parts = text.split('\0');
    while let Some(part) = parts.next().filter(|part| !part.is_empty()) {
        let mut fields = part.splitn(3, '\t');
        let mut number = || fields.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let pair = (number(), number());
        let name = match fields.next() {
            Some("") | None => parts.nth(1).unwrap_or_default(),
            Some(name) => name,
        };
        counts.insert(name, pair);
    }
    counts
}

/// `GET /pulls/{index}/commits`, newest first.
pub(super) async fn commits(here: Here) -> ApiResult {
    let issue = current(&here, here.number("index")?).await?;
    let [from, to] = range(issue.pull()?);
    let git = here.forge.git(here.repository.id);
    let format = format!("--format=%H{FIELD}%an{FIELD}%ae{FIELD}%aI{FIELD}%B{RECORD}");
    let text = git.text(&["log", &format, &format!("{from}..{to}")]).await.map_err(ApiError::from)?;
    let all: Vec<Value> = text.split(RECORD).map(str::trim).filter(|record| !record.is_empty()).map(commit).collect();
    let page = Page::of(&here.query);
    Ok(page.answer(&here, page.slice(&all), all.len(), Headers::Full))
}

fn commit(record: &str) -> Value {
    let fields: Vec<&str> = record.splitn(5, FIELD).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let who = json!({ "name": field(1), "email": field(2), "date": field(3) });
    json!({ "sha": field(0), "created": field(3),
            "commit": { "message": field(4), "author": who, "committer": who } })
}

#[cfg(test)]
mod tests {
    use super::line_counts;

    #[test]
    fn counts_are_found_by_the_new_name_of_a_renamed_file() {
        let counts = line_counts("1\t2\ta.txt\x003\t4\t\0old.txt\0new.txt\0-\t-\tbinary\0");
        assert_eq!(counts["a.txt"], (1, 2));
        assert_eq!(counts["new.txt"], (3, 4));
        assert_eq!(counts["binary"], (0, 0));
        assert_eq!(counts.len(), 3);
    }
}
