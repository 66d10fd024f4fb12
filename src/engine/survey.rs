//! Looks for what others left of an issue: the bot's open pull request is gone on with, everything else is prior art.

use super::{World, resume};
use crate::{
    domain::{
        gate::closes_issue,
        ids::{BranchName, IssueNumber, PullRequestNumber},
        issue::{Issue, OpenOrClosed},
        pull_request::PullRequest,
        run::{Event, Run},
    },
    ports::forge::{ForgeError, ForgeResult, StateFilter},
};

/// Names that are tried for a new branch before rig gives up.
const MOST_BRANCHES: u32 = 100;
/// Earlier pull requests that are shown to the agent, newest first.
const MOST_PRIOR: usize = 3;

/// Surveys the earlier work on the run's issue.
pub async fn survey(world: &World, run: &Run) -> ForgeResult<Event> {
    let (issue, all) = futures::try_join!(world.forge.issue(run.issue), world.forge.pull_requests(StateFilter::All))?;
    let mut related: Vec<&PullRequest> = all.iter().filter(|pull_request| belongs(pull_request, &issue)).collect();
    related.sort_by_key(|pull_request| std::cmp::Reverse(pull_request.number));
    let taken = led_elsewhere(world, run).await;
    let adopted = related
        .iter()
        .find(|ours| is_ours(world, ours) && is_for(ours, run.issue) && !taken.contains(&ours.number))
        .copied();
    let prior: Vec<PullRequestNumber> = related
        .iter()
        .filter(|pull_request| !pull_request.merged && Some(pull_request.number) != adopted.map(|ours| ours.number))
        .map(|pull_request| pull_request.number)
        .take(MOST_PRIOR)
        .collect();
    let branch = match adopted.and_then(|pull_request| pull_request.head_branch.clone()) {
        Some(branch) => branch,
        None => free_branch(run.issue, &all)?,
    };
    let ci_fixes_spent = match adopted {
        Some(pull_request) => spent_before(world, run, pull_request.number).await,
        None => 0,
    };
    Ok(Event::PriorWorkSurveyed {
        branch,
        adopted: adopted.map(|pull_request| pull_request.number),
        head: adopted.map(|pull_request| pull_request.head.clone()),
        prior,
        ci_fixes_spent,
    })
}

/// Returns the pull request that this run has made: the open one of its branch, else a merged one of the very commit that
/// the run wanted to have merged.
pub async fn own_pull_request(world: &World, run: &Run) -> ForgeResult<Option<PullRequest>> {
    let all = world.forge.pull_requests(StateFilter::All).await?;
    let of_branch =
        |pull_request: &&PullRequest| is_ours(world, pull_request) && pull_request.head_branch == run.branch;
    let merged_head = |pull_request: &&PullRequest| {
        pull_request.merged
            && pull_request.author.is(&world.project.forge.bot)
            && pull_request.base_branch == world.project.primary_branch
            && run.head.as_ref() == Some(&pull_request.head)
    };
    Ok(all.iter().find(of_branch).or_else(|| all.iter().find(merged_head)).cloned())
}

/// Returns whether rig may go on with a pull request: open, by the bot, from a branch of this repository.
pub fn is_ours(world: &World, pull_request: &PullRequest) -> bool {
    pull_request.state == OpenOrClosed::Open
        && !pull_request.merged
        && pull_request.same_repository
        && pull_request.author.is(&world.project.forge.bot)
        && pull_request.base_branch == world.project.primary_branch
        && pull_request.head_branch.as_ref().is_some_and(|branch| branch.as_str() != world.project.primary_branch)
}

/// Returns the issue that a branch of rig's own naming is for: `fix/issue-N` or `fix/issue-N-K`.
pub fn issue_of_branch(branch: &str) -> Option<IssueNumber> {
    let rest = branch.strip_prefix("fix/issue-")?;
    let (number, again) = rest.split_once('-').map_or((rest, None), |(number, again)| (number, Some(again)));
    again.is_none_or(|text| text.parse::<u32>().is_ok()).then(|| number.parse().ok().map(IssueNumber)).flatten()
}

/// Returns the pull requests that other open runs of the project lead: never adopted.
async fn led_elsewhere(world: &World, run: &Run) -> Vec<PullRequestNumber> {
    let rows = world.store.open_runs(Some(&run.project)).await.unwrap_or_default();
    rows.into_iter().filter(|row| row.run != run.id).filter_map(|row| row.pull_request).collect()
}

/// Returns whether a pull request is meant for the issue: by its branch where that tells an issue, else because it says so.
fn is_for(pull_request: &PullRequest, issue: IssueNumber) -> bool {
    match pull_request.head_branch.as_ref().and_then(|branch| issue_of_branch(branch.as_str())) {
        Some(of_branch) => of_branch == issue,
        None => closes_issue(&pull_request.body, issue),
    }
}

fn belongs(pull_request: &PullRequest, issue: &Issue) -> bool {
    let by_branch = pull_request.head_branch.as_ref().and_then(|branch| issue_of_branch(branch.as_str()));
    by_branch == Some(issue.number)
        || closes_issue(&pull_request.body, issue.number)
        || named_in_issue(&issue.body) == Some(pull_request.number)
}

/// Reads `Existing PR: #M` from an issue's text.
fn named_in_issue(body: &str) -> Option<PullRequestNumber> {
    body.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        let key = key.trim().trim_start_matches(['-', '*', ' ']).trim_matches('*');
        key.eq_ignore_ascii_case("existing pr").then(|| value.trim().trim_matches('*').trim().parse().ok()).flatten()
    })
}

/// A name that no pull request ever had: a closed one's branch is prior art, not a place to work.
fn free_branch(issue: IssueNumber, all: &[PullRequest]) -> ForgeResult<BranchName> {
    let taken =
        |name: &str| all.iter().any(|other| other.head_branch.as_ref().is_some_and(|branch| branch.as_str() == name));
    (1..=MOST_BRANCHES)
        .map(|k| if k == 1 { format!("fix/issue-{}", issue.0) } else { format!("fix/issue-{}-{k}", issue.0) })
        .find(|name| !taken(name))
        .and_then(|name| BranchName::new(name).ok())
        .ok_or_else(|| ForgeError::Refused {
            request: format!("a branch for issue {issue}"),
            status: 0,
            message: format!("{MOST_BRANCHES} branches of this issue are taken"),
        })
}

/// CI fixes that earlier runs of the issue spent on the same pull request; a new run does not get them back.
async fn spent_before(world: &World, run: &Run, pull_request: PullRequestNumber) -> u32 {
    let rows = world.store.recent_runs(Some(&run.project), 500).await.unwrap_or_default();
    let mut spent = 0;
    for row in
        rows.iter().filter(|row| row.issue == run.issue && row.run != run.id && row.pull_request == Some(pull_request))
    {
        if let Ok(earlier) = resume::load(world, &row.run).await {
            spent = spent.max(earlier.used.ci_fixes);
        }
    }
    spent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rigs_own_branch_names_tell_an_issue() {
        assert_eq!(issue_of_branch("fix/issue-12"), Some(IssueNumber(12)));
        assert_eq!(issue_of_branch("fix/issue-12-3"), Some(IssueNumber(12)));
        for other in ["fix/issue-", "fix/issue-12-x", "issue-12", "fix/issue-12x", "x/fix/issue-12"] {
            assert_eq!(issue_of_branch(other), None, "{other}");
        }
    }

    #[test]
    fn a_pull_request_that_is_meant_for_another_issue_is_not_gone_on_with() {
        let pull_request = |branch: &str, body: &str| PullRequest {
            number: PullRequestNumber(5),
            title: String::new(),
            body: body.to_owned(),
            author: crate::domain::ids::Login::new("dev-bot").unwrap(),
            state: OpenOrClosed::Open,
            merged: false,
            merge_commit: None,
            head: crate::domain::ids::Sha::new("a".repeat(40)).unwrap(),
            head_branch: BranchName::new(branch).ok(),
            same_repository: true,
            base_branch: "main".into(),
            mergeable: true,
            draft: false,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            url: String::new(),
        };
        let (one, two) = (IssueNumber(1), IssueNumber(2));
        let of_one = pull_request("fix/issue-1", "Fixes #1, and closes #2");
        assert!(is_for(&of_one, one) && !is_for(&of_one, two));
        let by_hand = pull_request("parser", "Closes #2");
        assert!(is_for(&by_hand, two) && !is_for(&by_hand, one));
        assert!(!is_for(&pull_request("parser", "see #2"), two));
    }

    #[test]
    fn an_issue_can_name_its_pull_request() {
        assert_eq!(named_in_issue("Text\nExisting PR: #7\n"), Some(PullRequestNumber(7)));
        assert_eq!(named_in_issue("- **Existing PR:** #8"), Some(PullRequestNumber(8)));
        assert_eq!(named_in_issue("the existing PR is #7"), None);
    }
}
