//! From the shapes of the API to rig's own words. What rig cannot do without is checked here; a word that is not known is
//! taken for what concludes nothing: an unknown state is open, an unknown verdict is none, an unknown status is not green.

use super::wire::{
    WireBranchEnd, WireComment, WireInlineComment, WireIssue, WireLabel, WirePullRequest, WireReview, WireStatus,
    WireUser,
};
use crate::domain::{
    ids::{BranchName, IssueNumber, Login, PullRequestNumber, Sha},
    issue::{Comment, DependencyLink, Issue, OpenOrClosed},
    pull_request::{InlineComment, PullRequest, Review, Status, StatusState, Verdict},
};
use jiff::Timestamp;

/// The account that forges themselves show for one that was deleted.
const DELETED_ACCOUNT: &str = "Ghost";
/// How the titles of drafts begin, on forges whose draft flag is not set.
const DRAFT_PREFIXES: [&str; 2] = ["wip:", "[wip]"];

/// What an entry lacks.
pub(super) type Lack = &'static str;

pub(super) fn login(user: &WireUser) -> Login {
    Login::new(user.login.as_str())
        .or_else(|_| Login::new(DELETED_ACCOUNT))
        .expect("the name of the deleted account is a valid one")
}

/// Returns the time, the beginning of 1970 for one that cannot be read.
fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn state(word: &str) -> OpenOrClosed {
    if word.eq_ignore_ascii_case("closed") { OpenOrClosed::Closed } else { OpenOrClosed::Open }
}

pub(super) fn label_names(labels: Vec<Option<WireLabel>>) -> Vec<String> {
    labels.into_iter().flatten().map(|label| label.name).collect()
}

pub(super) fn issue(wire: WireIssue) -> Result<Issue, Lack> {
    Ok(Issue {
        number: IssueNumber(present(wire.number, "an issue has no number")?),
        title: wire.title,
        body: wire.body,
        labels: label_names(wire.labels),
        state: state(&wire.state),
        is_pull_request: wire.pull_request.is_some(),
        author: login(&wire.user),
        assignees: wire.assignees.iter().flatten().map(login).collect(),
        created_at: time(&wire.created_at),
        url: wire.html_url,
    })
}

pub(super) fn dependency(wire: WireIssue) -> Result<DependencyLink, Lack> {
    Ok(DependencyLink {
        number: IssueNumber(present(wire.number, "a dependency has no number")?),
        repository: wire.repository.full_name,
        state: state(&wire.state),
    })
}

pub(super) fn comment(wire: WireComment) -> Result<Comment, Lack> {
    Ok(Comment {
        id: present(wire.id, "a comment has no id")?,
        author: login(&wire.user),
        body: wire.body,
        created_at: time(&wire.created_at),
    })
}

pub(super) fn pull_request(wire: WirePullRequest) -> Result<PullRequest, Lack> {
    let same_repository = same_repository(&wire.head, &wire.base);
    let title = wire.title.trim_start().to_lowercase();
    Ok(PullRequest {
        number: PullRequestNumber(present(wire.number, "a pull request has no number")?),
        draft: wire.draft || DRAFT_PREFIXES.iter().any(|prefix| title.starts_with(prefix)),
        title: wire.title,
        body: wire.body,
        author: login(&wire.user),
        state: state(&wire.state),
        merged: wire.merged,
        merge_commit: Sha::new(wire.merge_commit_sha).ok(),
        head: Sha::new(wire.head.sha).map_err(|_| "a pull request has no head commit")?,
        head_branch: head_branch(wire.head.name),
        same_repository,
        base_branch: wire.base.name,
        mergeable: wire.mergeable,
        created_at: time(&wire.created_at),
        url: wire.html_url,
    })
}

/// Returns the branch; a forge names `refs/pull/N/head` instead when it is gone.
fn head_branch(name: String) -> Option<BranchName> {
    if name.starts_with("refs/") { None } else { BranchName::new(name).ok() }
}

fn same_repository(head: &WireBranchEnd, base: &WireBranchEnd) -> bool {
    match (&head.repo, &base.repo) {
        _ if head.repo_id > 0 && base.repo_id > 0 => head.repo_id == base.repo_id,
        (Some(head), Some(base)) => !head.full_name.is_empty() && head.full_name == base.full_name,
        _ => false,
    }
}

pub(super) fn verdict(word: &str) -> Verdict {
    match word.to_ascii_uppercase().as_str() {
        "APPROVED" => Verdict::Approved,
        "REQUEST_CHANGES" | "CHANGES_REQUESTED" => Verdict::ChangesRequested,
        "COMMENT" | "COMMENTED" => Verdict::Comment,
        _ => Verdict::None,
    }
}

pub(super) fn review(wire: WireReview, comments: Vec<InlineComment>) -> Result<Review, Lack> {
    let verdict = verdict(&wire.state);
    let submitted_at = match (verdict, wire.submitted_at.parse()) {
        (_, Ok(at)) => at,
        (Verdict::Comment | Verdict::None, Err(_)) => Timestamp::UNIX_EPOCH,
        // The latest verdict of a reviewer counts: one without its time would let an older one stand.
        (Verdict::Approved | Verdict::ChangesRequested, Err(_)) => return Err("a verdict has no readable time"),
    };
    Ok(Review {
        id: present(wire.id, "a review has no id")?,
        reviewer: login(&wire.user),
        verdict,
        commit: Sha::new(wire.commit_id).ok(),
        body: wire.body,
        comments,
        stale: wire.stale,
        official: wire.official,
        dismissed: wire.dismissed,
        submitted_at,
    })
}

pub(super) fn inline_comment(wire: WireInlineComment) -> InlineComment {
    let line = wire.position.and_then(|number| number.as_u64()).unwrap_or_default();
    InlineComment { path: wire.path, line, body: wire.body, resolved: wire.resolver.is_some() }
}

pub(super) fn status(wire: WireStatus) -> Status {
    let word = if wire.status.is_empty() { &wire.state } else { &wire.status };
    Status {
        state: status_state(word),
        context: wire.context,
        description: wire.description,
        target_url: wire.target_url,
        changed_at: [wire.updated_at, wire.created_at].iter().find_map(|at| at.parse().ok()),
    }
}

fn status_state(word: &str) -> StatusState {
    match word.to_ascii_lowercase().as_str() {
        "pending" => StatusState::Pending,
        "success" => StatusState::Success,
        "failure" => StatusState::Failure,
        "error" => StatusState::Error,
        "warning" => StatusState::Warning,
        "skipped" => StatusState::Skipped,
        _ => StatusState::Other,
    }
}

/// Returns the word that a forge takes for a state. `skipped` exists on one kind of forge only, and what rig itself does not
/// know it must not post as anything better than an error.
pub(super) fn status_word(state: StatusState) -> &'static str {
    match state {
        StatusState::Pending => "pending",
        StatusState::Success => "success",
        StatusState::Failure => "failure",
        StatusState::Warning => "warning",
        StatusState::Skipped => "skipped",
        StatusState::Error | StatusState::Other => "error",
    }
}

fn present(number: u64, lack: Lack) -> Result<u64, Lack> {
    if number == 0 { Err(lack) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pull(value: Value) -> Result<PullRequest, Lack> {
        pull_request(serde_json::from_value(value).unwrap())
    }

    const HEAD: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn words_that_are_not_known_conclude_nothing() {
        assert_eq!(state("locked"), OpenOrClosed::Open);
        assert_eq!(verdict("ENDORSED"), Verdict::None);
        assert_eq!(verdict("approved"), Verdict::Approved);
        assert_eq!(status_state("splendid"), StatusState::Other);
        assert_eq!(status_state(""), StatusState::Other);
    }

    #[test]
    fn a_pull_request_with_next_to_nothing_is_readable() {
        let read = pull(json!({"number": 3, "head": {"sha": HEAD, "ref": "fix/issue-1", "repo": null}, "labels": null,
            "requested_reviewers": null, "merge_commit_sha": null, "user": null, "created_at": "yesterday"}))
        .unwrap();
        assert_eq!(read.head_branch.unwrap().as_str(), "fix/issue-1");
        assert!(!read.merged && !read.mergeable && !read.same_repository);
        assert_eq!((read.author.as_str(), read.merge_commit), (DELETED_ACCOUNT, None));
    }

    #[test]
    fn a_pull_request_without_a_head_commit_is_no_pull_request() {
        assert!(pull(json!({"number": 3})).is_err());
        assert!(pull(json!({"number": 0, "head": {"sha": HEAD}})).is_err());
    }

    #[test]
    fn a_branch_that_is_gone_is_none_and_a_fork_is_another_repository() {
        let read = pull(json!({"number": 3, "title": "wip: x",
            "head": {"sha": HEAD, "ref": "refs/pull/3/head", "repo_id": 8}, "base": {"repo_id": 7}}))
        .unwrap();
        assert!(read.head_branch.is_none() && !read.same_repository && read.draft);
    }

    #[test]
    fn a_verdict_without_a_readable_time_is_unknown_and_not_old() {
        let read = |state: &str, at: Value| {
            let wire = json!({"id": 1, "state": state, "user": {"login": "ann"}, "submitted_at": at});
            review(serde_json::from_value(wire).unwrap(), Vec::new())
        };
        for state in ["APPROVED", "REQUEST_CHANGES"] {
            assert!(read(state, json!("2026-01-01T00:00:00Z")).is_ok());
            assert!(read(state, json!("yesterday")).is_err() && read(state, Value::Null).is_err());
        }
        assert!(read("PENDING", Value::Null).is_ok() && read("COMMENT", json!("")).is_ok(), "no verdicts");
    }

    #[test]
    fn the_line_of_a_remark_is_0_for_anything_but_a_line() {
        for (position, line) in [(json!(4), 4), (json!(-1), 0), (json!(null), 0)] {
            let wire = serde_json::from_value(json!({"path": "a", "position": position})).unwrap();
            assert_eq!(inline_comment(wire).line, line);
        }
    }
}
