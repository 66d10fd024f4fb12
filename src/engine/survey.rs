//! Looks for what others left of an issue: the bot's open pull request is gone on with, everything else is prior art.

use super::{World, dispatch::DispatchError, resume, retry};
use crate::{
    domain::{
        gate::{closed_issues, closes_issue},
        ids::{BranchName, IssueNumber, Login, PullRequestNumber},
        issue::{Issue, OpenOrClosed},
        prompts,
        pull_request::PullRequest,
        run::{Event, Run},
    },
    ports::{
        forge::{ForgeError, ForgeResult, Listed, StateFilter, Unreadable},
        store::{RunRow, StoreError, StoreResult},
    },
};

/// Names that are tried for a new branch before rig gives up.
const MOST_BRANCHES: u32 = 100;
/// Newest runs of the project among which earlier ones of the issue are looked for.
const MOST_RUNS: u32 = 500;
/// Earlier pull requests that are shown to the agent, newest first.
const MOST_PRIOR: usize = 3;

/// Surveys the earlier work on the run's issue.
pub async fn survey(world: &World, run: &Run) -> Result<Event, DispatchError> {
    let (issue, all) = futures::try_join!(world.forge.issue(run.issue), world.forge.pull_requests(StateFilter::All))?;
    let Listed { items: all, unreadable } = all;
    let known = led_before(world, run).await?;
    let belongs = |pull_request: &&PullRequest| belongs(pull_request, &issue) || known.contains(&pull_request.number);
    let mut related: Vec<&PullRequest> = all.iter().filter(belongs).collect();
    related.sort_by_key(|pull_request| std::cmp::Reverse(pull_request.number));
    let taken = led_elsewhere(world, run).await?;
    let adopted = related
        .iter()
        .find(|ours| is_ours(world, ours) && is_for(ours, &issue, &known) && !taken.contains(&ours.number))
        .copied();
    let prior: Vec<PullRequestNumber> = related
        .iter()
        .filter(|pull_request| !pull_request.merged && Some(pull_request.number) != adopted.map(|ours| ours.number))
        .map(|pull_request| pull_request.number)
        .take(MOST_PRIOR)
        .collect();
    let branch = match adopted.and_then(|pull_request| pull_request.head_branch.clone()) {
        Some(branch) => branch,
        None => {
            let branch = free_branch(run.issue, &all)?;
            let wanted = known.iter().copied().chain(named_in_issue(&issue.body));
            if hides_one(wanted, &all, &unreadable)
                || !unreadable.is_empty() && world.forge.branch_tip(branch.as_str()).await?.is_some()
            {
                return Err(cannot_be_told(&unreadable).into());
            }
            branch
        }
    };
    if let Some(ours) = adopted {
        say_what_it_closes(world, ours, run.issue).await?;
    }
    let ci_fixes_spent = match adopted {
        Some(pull_request) => spent_before(world, run, pull_request.number).await?,
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

/// Returns whether a pull request that is wanted is not among those that can be read, while others cannot be read.
fn hides_one(
    mut wanted: impl Iterator<Item = PullRequestNumber>,
    all: &[PullRequest],
    unreadable: &[Unreadable],
) -> bool {
    !unreadable.is_empty() && wanted.any(|number| all.iter().all(|one| one.number != number))
}

/// The issue's own pull request may be among those that cannot be read: it may be read a moment later.
pub fn cannot_be_told(unreadable: &[Unreadable]) -> ForgeError {
    let why = unreadable.first().map(|one| one.why.clone()).unwrap_or_default();
    ForgeError::Garbled { request: "the list of pull requests".into(), message: why }
}

/// A pull request that is meant for the issue without saying so would never pass the gate, and nobody else says it.
async fn say_what_it_closes(world: &World, ours: &PullRequest, issue: IssueNumber) -> ForgeResult<()> {
    if !world.project.merge.require_closes || closes_issue(&ours.body, issue) {
        return Ok(());
    }
    world.forge.set_pull_request_body(ours.number, &prompts::closing_body(issue.0, &ours.body)).await
}

/// Returns the pull request that this run has made: the open one of its branch, else a merged one of the very commit that
/// the run wanted to have merged.
pub async fn own_pull_request(world: &World, run: &Run) -> ForgeResult<Option<PullRequest>> {
    let all = world.forge.pull_requests(StateFilter::All).await?.items;
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
    is_of(&world.project.forge.bot, &world.project.primary_branch, pull_request)
}

fn is_of(bot: &Login, primary_branch: &str, pull_request: &PullRequest) -> bool {
    pull_request.state == OpenOrClosed::Open
        && !pull_request.merged
        && pull_request.same_repository
        && pull_request.author.is(bot)
        && pull_request.base_branch == primary_branch
        && pull_request.head_branch.as_ref().is_some_and(|branch| branch.as_str() != primary_branch)
}

/// Returns the issue that a pull request is for: by its branch, else the first that its text closes.
pub fn issue_of(pull_request: &PullRequest) -> Option<IssueNumber> {
    let by_branch = pull_request.head_branch.as_ref().and_then(|branch| issue_of_branch(branch.as_str()));
    by_branch.or_else(|| closed_issues(&pull_request.body).first().copied())
}

/// Returns the issue that a branch of rig's own naming is for: `fix/issue-N` or `fix/issue-N-K`.
pub fn issue_of_branch(branch: &str) -> Option<IssueNumber> {
    let rest = branch.strip_prefix("fix/issue-")?;
    let (number, again) = rest.split_once('-').map_or((rest, None), |(number, again)| (number, Some(again)));
    again.is_none_or(|text| text.parse::<u32>().is_ok()).then(|| number.parse().ok().map(IssueNumber)).flatten()
}

/// Returns the pull requests that other open runs of the repository lead: never adopted.
async fn led_elsewhere(world: &World, run: &Run) -> StoreResult<Vec<PullRequestNumber>> {
    let rows = world.open_runs().await?;
    Ok(rows.into_iter().filter(|row| row.run != run.id).filter_map(|row| row.pull_request).collect())
}

/// Returns the pull requests that earlier runs of the issue led, as the journal has it.
async fn led_before(world: &World, run: &Run) -> StoreResult<Vec<PullRequestNumber>> {
    let rows = world.store.recent_runs(Some(&run.project), MOST_RUNS).await?;
    let earlier = rows.into_iter().filter(|row| row.issue == run.issue && row.run != run.id);
    Ok(earlier.filter_map(|row| row.pull_request).collect())
}

/// Returns whether a pull request is meant for the issue: by its branch where that tells an issue, else because an earlier
/// run led it, or it says so, or the issue does.
fn is_for(pull_request: &PullRequest, issue: &Issue, known: &[PullRequestNumber]) -> bool {
    match pull_request.head_branch.as_ref().and_then(|branch| issue_of_branch(branch.as_str())) {
        Some(of_branch) => of_branch == issue.number,
        None => {
            known.contains(&pull_request.number)
                || closes_issue(&pull_request.body, issue.number)
                || named_in_issue(&issue.body) == Some(pull_request.number)
        }
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

/// CI fixes that earlier runs of the issue spent on the same pull request; a new run does not get them back, unless a
/// person has asked for another try since.
async fn spent_before(world: &World, run: &Run, pull_request: PullRequestNumber) -> StoreResult<u32> {
    let rows = world.store.recent_runs(Some(&run.project), MOST_RUNS).await?;
    let forgiven = retry::asked_at(world, run.issue).await?;
    let counts = |row: &&RunRow| {
        let same = row.issue == run.issue && row.run != run.id && row.pull_request == Some(pull_request);
        same && forgiven.is_none_or(|asked| row.changed_at > asked)
    };
    let mut spent = 0;
    for row in rows.iter().filter(counts) {
        match resume::load(world, &row.run).await {
            Ok(earlier) => spent = spent.max(earlier.used.ci_fixes),
            // A journal that is damaged stays so.
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(run = %row.run, %error, "what an earlier run has spent is not known");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(spent)
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

    fn pull_request(branch: &str, body: &str) -> PullRequest {
        PullRequest {
            number: PullRequestNumber(5),
            title: String::new(),
            body: body.to_owned(),
            author: Login::new("dev-bot").unwrap(),
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
        }
    }

    #[test]
    fn only_an_open_pull_request_of_the_bot_from_a_branch_of_the_repository_is_gone_on_with() {
        let bot = Login::new("dev-bot").unwrap();
        let ours = |change: fn(&mut PullRequest)| {
            let mut one = pull_request("fix/issue-1", "Closes #1");
            change(&mut one);
            is_of(&bot, "main", &one)
        };
        assert!(ours(|_| ()));
        assert!(!ours(|one| one.author = Login::new("somebody").unwrap()), "another author's");
        assert!(!ours(|one| one.same_repository = false), "a fork's");
        assert!(!ours(|one| one.state = OpenOrClosed::Closed), "closed");
        assert!(!ours(|one| one.merged = true), "merged");
        assert!(!ours(|one| one.base_branch = "release".into()), "for another branch");
        assert!(!ours(|one| one.head_branch = None), "its branch is gone");
        assert!(!ours(|one| one.head_branch = BranchName::new("main").ok()), "of the primary branch itself");
    }

    #[test]
    fn a_pull_request_that_is_meant_for_another_issue_is_not_gone_on_with() {
        let issue = |number, body: &str| Issue {
            number: IssueNumber(number),
            title: String::new(),
            body: body.to_owned(),
            labels: Vec::new(),
            state: OpenOrClosed::Open,
            is_pull_request: false,
            author: Login::new("acme").unwrap(),
            assignees: Vec::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            url: String::new(),
        };
        let (one, two) = (issue(1, ""), issue(2, ""));
        let of_one = pull_request("fix/issue-1", "Fixes #1, and closes #2");
        assert!(is_for(&of_one, &one, &[]) && !is_for(&of_one, &two, &[]));
        let by_hand = pull_request("parser", "Closes #2");
        assert!(is_for(&by_hand, &two, &[]) && !is_for(&by_hand, &one, &[]));
        let silent = pull_request("parser", "see #2");
        assert!(!is_for(&silent, &two, &[]));
        assert!(is_for(&silent, &issue(2, "Existing PR: #5"), &[]), "the issue names it");
        assert!(!is_for(&of_one, &issue(2, "Existing PR: #5"), &[of_one.number]), "its branch is another issue's");
        assert!(is_for(&silent, &two, &[silent.number]), "an earlier run led it");
    }

    #[test]
    fn only_a_pull_request_that_may_be_the_issues_own_is_missed_among_those_that_cannot_be_read() {
        let unreadable = [Unreadable { number: None, why: "null".into() }];
        let wanted = |numbers: &'static [u64]| numbers.iter().copied().map(PullRequestNumber);
        assert!(hides_one(wanted(&[5]), &[], &unreadable));
        assert!(!hides_one(wanted(&[]), &[], &unreadable), "another's that is broken for good holds up nobody");
        assert!(!hides_one(wanted(&[5]), &[], &[]), "it is gone");
    }

    #[test]
    fn an_issue_can_name_its_pull_request() {
        assert_eq!(named_in_issue("Text\nExisting PR: #7\n"), Some(PullRequestNumber(7)));
        assert_eq!(named_in_issue("- **Existing PR:** #8"), Some(PullRequestNumber(8)));
        assert_eq!(named_in_issue("the existing PR is #7"), None);
    }
}
