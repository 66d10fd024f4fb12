//! Issues, their comments and what they wait for.

use super::super::{
    answer::Answer,
    convert,
    paging::plain_rows,
    wire::{WireComment, WireIssue},
};
use super::{Gitea, converted, single, state_word};
use crate::{
    domain::{
        ids::{IssueNumber, Login},
        issue::{Comment, DependencyLink, Issue, OpenOrClosed},
    },
    ports::forge::{ForgeError, ForgeResult, Listed, StateFilter},
};
use reqwest::Method;
use serde_json::json;

impl Gitea {
    pub(super) async fn list_issues(&self, state: StateFilter, label: Option<&str>) -> ForgeResult<Listed<Issue>> {
        let mut target = self.below(["issues"]).query("state", state_word(state)).query("type", "issues");
        // A comma separates names in the query, so a name that holds one can only be looked for here.
        if let Some(label) = label.filter(|label| !label.contains(',')) {
            target = target.query("labels", label);
        }
        let rows = |answer: &Answer| {
            let rows = plain_rows::<WireIssue>(answer)?.into_iter();
            Ok(rows.map(|row| row.checked(|issue| issue.number != 0, "it has no number").not_null()).collect())
        };
        let Listed { items, unreadable } = self.readable(target.clone(), |issue| issue.number, rows).await?;
        let issues = items.into_iter().filter(|issue| issue.pull_request.is_none()).collect();
        let mut items = converted(issues, &target, convert::issue)?;
        items.retain(|issue| label.is_none_or(|label| issue.has_label(label)) && matches(state, issue.state));
        Ok(Listed { items, unreadable })
    }

    pub(super) async fn read_issue(&self, number: IssueNumber) -> ForgeResult<Issue> {
        let target = self.below(["issues"]).at(number.0);
        self.read_as(&target, |answer| {
            same_number(single(answer, convert::issue)?, number, |text| answer.garbled(text))
        })
        .await
    }

    pub(super) async fn list_comments(&self, number: u64) -> ForgeResult<Vec<Comment>> {
        let target = self.below(["issues"]).at(number).at("comments");
        let wires = self.list(target.clone(), |comment: &WireComment| comment.id).await?;
        let mut comments = converted(wires, &target, convert::comment)?;
        comments.sort_by_key(|comment| (comment.created_at, comment.id));
        Ok(comments)
    }

    pub(super) async fn list_dependencies(&self, number: IssueNumber) -> ForgeResult<Vec<DependencyLink>> {
        let target = self.below(["issues"]).at(number.0).at("dependencies");
        let key = |issue: &WireIssue| (issue.repository.full_name.clone(), issue.number);
        match self.list(target.clone(), key).await {
            Ok(wires) => converted(wires, &target, convert::dependency),
            // The feature is off, or the issue is not there: only the latter is an error.
            Err(ForgeError::NotFound { .. }) => self.read_issue(number).await.map(|_| Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write_comment(&self, number: u64, body: &str) -> ForgeResult<Comment> {
        let target = self.below(["issues"]).at(number).at("comments");
        let answer = self.write(Method::POST, &target, Some(&json!({ "body": body }))).await?;
        single(&answer, convert::comment)
    }

    /// Deletes a comment; one that is not there any more is deleted.
    pub(super) async fn remove_comment(&self, id: u64) -> ForgeResult<()> {
        let target = self.below(["issues", "comments"]).at(id);
        match self.write(Method::DELETE, &target, None).await {
            Ok(_) => Ok(()),
            Err(ForgeError::NotFound { .. }) => self.confirm_repository().await,
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write_assignees(&self, number: IssueNumber, assignees: &[Login]) -> ForgeResult<()> {
        let names: Vec<&str> = assignees.iter().map(Login::as_str).collect();
        let target = self.below(["issues"]).at(number.0);
        let answer = self.write(Method::PATCH, &target, Some(&json!({ "assignees": names }))).await?;
        let issue = single(&answer, convert::issue)?;
        // A forge ignores the field when the account may not assign.
        let all_there = assignees.iter().all(|wanted| issue.assignees.iter().any(|there| there.is(wanted)));
        let only_those = issue.assignees.iter().all(|there| assignees.iter().any(|wanted| wanted.is(there)));
        if all_there && only_those { Ok(()) } else { Err(answer.garbled("the assignees are not those that were set")) }
    }

    pub(super) async fn write_closed(&self, number: IssueNumber) -> ForgeResult<()> {
        let target = self.below(["issues"]).at(number.0);
        let answer = self.write(Method::PATCH, &target, Some(&json!({ "state": "closed" }))).await?;
        match single(&answer, convert::issue)?.state {
            OpenOrClosed::Closed => Ok(()),
            OpenOrClosed::Open => Err(answer.garbled("the issue is open after it was closed")),
        }
    }
}

/// Returns whether an entry belongs into the list that was asked for.
pub(super) fn matches(filter: StateFilter, state: OpenOrClosed) -> bool {
    match filter {
        StateFilter::All => true,
        StateFilter::Open => state == OpenOrClosed::Open,
        StateFilter::Closed => state == OpenOrClosed::Closed,
    }
}

/// Refuses an answer about another issue than the one that was asked for.
fn same_number(issue: Issue, asked: IssueNumber, garbled: impl Fn(String) -> ForgeError) -> ForgeResult<Issue> {
    if issue.number == asked { Ok(issue) } else { Err(garbled(format!("it is about {}", issue.number))) }
}
