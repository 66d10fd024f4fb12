//! Claims an issue: first in the journal, which reserves the slot, then on the forge, where it is read back.
//! On the forge the lowest live claim comment wins; a loser removes only what is its own.

use super::{World, comments, commit};
use crate::{
    domain::{
        ids::{Attempt, IssueNumber, RunId},
        issue::{Comment, Issue, OpenOrClosed},
        run::{Event, Fact, IssueState, Run},
    },
    ports::{
        forge::{ForgeError, ForgeResult},
        lock::Held,
        store::StoreResult,
    },
};

/// Writes the claim into the journal. The caller holds the dispatch lock and has judged the issue just now.
pub async fn reserve(world: &World, issue: &Issue, beyond_limit: bool) -> StoreResult<Run> {
    let id = world.machine.new_run_id();
    let last = world.store.latest_run(&world.project.name, issue.number).await?;
    let first_attempt = last.map_or(Attempt(1), |row| row.attempt.next());
    let event = Event::IssueClaimed {
        project: world.project.name.clone(),
        issue: issue.number,
        title: issue.title.clone(),
        first_attempt,
        policy: world.policy(),
    };
    let fact = Fact { at: world.clock.now(), observed_ms: 0, completes: None, event };
    let limit = (!beyond_limit).then_some(world.project.agent.max_agents);
    commit::claim(world, &id, fact, limit).await
}

/// Tells the forge of the claim and reads it back. The lock is the proof that nobody on this host chooses meanwhile. Where
/// claims of others are found dead, the answer is that alone: once the run's own label is there nothing tells them from
/// living ones, so it is journaled first, and this is done again. Safe to repeat.
pub async fn confirm(world: &World, run: &Run, _dispatch: &dyn Held) -> ForgeResult<Event> {
    // Comments first: whoever claims puts the label on before the comment.
    let before = world.forge.comments(run.issue.0).await?;
    let issue = world.forge.issue(run.issue).await?;
    if issue.state == OpenOrClosed::Closed {
        return Ok(Event::IssueClosed);
    }
    if let Some(other) = winner(world, run, &before) {
        // Without the label a claim that is written there has been given back, or was removed by a person.
        return match issue.has_label(&world.project.labels.in_progress) {
            true => lose(world, run, &before, other).await,
            false => {
                let up_to = before.iter().map(|comment| comment.id).max().unwrap_or(0);
                Ok(Event::EarlierClaimsDead { up_to })
            }
        };
    }
    set_state(world, run.issue, IssueState::InProgress).await?;
    assign(world, issue).await?;
    if own_claims(world, &before, run).is_empty() {
        let text = format!("rig works on this issue (run {}).", run.id);
        comments::post(world, run.issue.0, &claim_key(world, &run.id), &text).await?;
    }
    let after = world.forge.comments(run.issue.0).await?;
    match winner(world, run, &after) {
        Some(other) => lose(world, run, &after, other).await,
        None => Ok(Event::ClaimConfirmed),
    }
}

/// Takes back the claim comments of a run; at its end. Safe to repeat.
pub async fn withdraw(world: &World, run: &Run) -> ForgeResult<()> {
    let comments = world.forge.comments(run.issue.0).await?;
    for comment in own_claims(world, &comments, run) {
        match world.forge.delete_comment(comment.id).await {
            Ok(()) | Err(ForgeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts the bot on the issue beside everybody who is there, as just read.
async fn assign(world: &World, issue: Issue) -> ForgeResult<()> {
    let bot = &world.project.forge.bot;
    let mut assignees = issue.assignees;
    if assignees.iter().any(|login| login.is(bot)) {
        return Ok(());
    }
    assignees.push(bot.clone());
    world.forge.set_assignees(issue.number, &assignees).await
}

/// Takes the bot off the issue, and leaves everybody else.
pub async fn unassign(world: &World, issue: IssueNumber) -> ForgeResult<()> {
    let bot = &world.project.forge.bot;
    let assignees = world.forge.issue(issue).await?.assignees;
    if !assignees.iter().any(|login| login.is(bot)) {
        return Ok(());
    }
    let others: Vec<_> = assignees.into_iter().filter(|login| !login.is(bot)).collect();
    world.forge.set_assignees(issue, &others).await
}

/// Makes the issue carry exactly this one of the state labels.
pub async fn set_state(world: &World, issue: IssueNumber, state: IssueState) -> ForgeResult<()> {
    let labels = &world.project.labels;
    let wanted = match state {
        IssueState::InProgress => Some(&labels.in_progress),
        IssueState::Backlog => Some(&labels.backlog),
        IssueState::Blocked => Some(&labels.blocked),
        IssueState::Underspecified => Some(&labels.underspecified),
        IssueState::Done => None,
    };
    let all = [&labels.in_progress, &labels.backlog, &labels.blocked, &labels.underspecified];
    let add: Vec<&str> = wanted.iter().map(|label| label.as_str()).collect();
    let remove: Vec<&str> = all.iter().filter(|label| Some(**label) != wanted).map(|label| label.as_str()).collect();
    world.forge.change_labels(issue, &add, &remove).await.map(|_| ())
}

/// Returns the number of the run's claim comment; what people say to the run comes after it.
pub fn comment_of(world: &World, comments: &[Comment], run: &Run) -> Option<u64> {
    own_claims(world, comments, run).first().map(|comment| comment.id)
}

fn claim_key(world: &World, run: &RunId) -> String {
    format!("claim run={run} root={}", world.root_id)
}

/// Returns the root that a comment claims the issue for, if it is a claim.
pub fn claiming_root<'a>(world: &World, comment: &'a Comment) -> Option<&'a str> {
    let (_run, root) = comments::key_of(world, comment)?.strip_prefix("claim run=")?.split_once(" root=")?;
    Some(root)
}

fn own_claims<'a>(world: &World, comments: &'a [Comment], run: &Run) -> Vec<&'a Comment> {
    comments::marked(world, comments, &claim_key(world, &run.id))
}

/// Returns the living claim of another root that was there before this run's own. Claims of this very root by other runs
/// are dead: the journal allows one open run for an issue.
fn winner<'a>(world: &World, run: &Run, comments: &'a [Comment]) -> Option<&'a Comment> {
    let own = own_claims(world, comments, run).first().map_or(u64::MAX, |comment| comment.id);
    comments
        .iter()
        .filter(|comment| claiming_root(world, comment).is_some_and(|root| root != world.root_id))
        .find(|comment| comment.id > run.claims_dead_up_to && comment.id < own)
}

async fn lose(world: &World, run: &Run, comments: &[Comment], other: &Comment) -> ForgeResult<Event> {
    for comment in own_claims(world, comments, run) {
        world.forge.delete_comment(comment.id).await?;
    }
    let to = other.body.lines().next().unwrap_or("another root").to_owned();
    Ok(Event::ClaimLost { to })
}
