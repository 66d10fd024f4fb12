//! What a driver sees of the world: the forge, and whether the session lives. Looking may fail, and comes late.

use super::{
    driver::Seen,
    forge::BOT,
    sim::{Fail, Shared, Sim, Tooth, act},
};
use rig::domain::{
    ci::CiVerdict,
    gate::{CONDITIONS, Condition, Gate, evaluate_with},
    ids::{Attempt, IssueNumber, Sha},
    issue::OpenOrClosed,
    known::Known,
    pull_request::{PullRequest, Verdict},
    run::{Event, Run, Session, Stage},
};

/// Looks at the issue and the pull request. What is certain comes first: merged, closed, moved; then reviews; then the gate.
pub(crate) async fn forge(sim: &Shared, run: &Run) -> Result<Vec<Seen>, Fail> {
    let number = run.issue.0;
    let issue = act(sim, "read the issue", |sim| Ok(sim.forge.issues[&number].clone())).await?;
    let mut seen = Vec::new();
    if let Some(wanted) = run.pull_request {
        let read = act(sim, "read the pull request", |sim| Ok(sim.forge.pull_requests.get(&wanted.0).cloned())).await?;
        let Some(found) = read else { return Err(Fail::Unknown) };
        if found.merged {
            let commit = found.merge_commit.clone();
            return Ok(vec![Seen::new(Event::Merged { pull_request: found.number, commit })]);
        }
        if found.state == OpenOrClosed::Closed {
            return Ok(vec![Seen::new(Event::PullRequestClosed { pull_request: found.number })]);
        }
        if issue.state == OpenOrClosed::Closed {
            return Ok(vec![Seen::new(Event::IssueClosed)]);
        }
        seen.extend(pull_request(sim, run, found).await?);
    }
    if issue.state == OpenOrClosed::Closed {
        return closed(sim, run).await;
    }
    // In every stage: who answers twice, or after the agent has found its own way, is heard as well.
    seen.extend(replies(sim, run).await?);
    Ok(seen)
}

/// The issue is closed and the run knows of no pull request: it may have opened one without hearing of it.
async fn closed(sim: &Shared, run: &Run) -> Result<Vec<Seen>, Fail> {
    let found = act(sim, "look for a merged pull request", |sim| {
        Ok(run.branch.as_ref().and_then(|branch| sim.forge.merged_of_branch(branch)).cloned())
    })
    .await?;
    Ok(vec![Seen::new(match found {
        Some(found) => Event::Merged { pull_request: found.number, commit: found.merge_commit },
        None => Event::IssueClosed,
    })])
}

async fn pull_request(sim: &Shared, run: &Run, found: PullRequest) -> Result<Vec<Seen>, Fail> {
    let head = found.head.clone();
    if run.head.as_ref() != Some(&head) {
        if matches!(run.stage, Stage::Rebasing { .. }) {
            return Ok(Vec::new());
        }
        return Ok(vec![Seen::new(Event::HeadMoved { head })]);
    }
    let mut seen = Vec::new();
    let number = found.number.0;
    let reviews =
        act(sim, "read the reviews", |sim| Ok(sim.forge.reviews.get(&number).cloned().unwrap_or_default())).await?;
    for review in
        reviews.iter().filter(|review| !run.seen_reviews.contains(&review.id) && review.reviewer.as_str() != BOT)
    {
        if review.verdict == Verdict::Comment && review.body.trim().is_empty() {
            continue;
        }
        seen.push(Seen::new(Event::ReviewReceived {
            id: review.id,
            reviewer: review.reviewer.clone(),
            verdict: review.verdict,
            commit: review.commit.clone(),
            text: review.body.clone(),
            findings: rig::domain::review::findings(review),
        }));
    }
    let may_merge = matches!(run.stage, Stage::AwaitingReview { .. } | Stage::Escalated { .. });
    if may_merge && run.green_at.as_ref() == Some(&head) {
        let ci = Known::Known((head.clone(), CiVerdict::Green));
        let judged = judge(&sim.borrow(), &found, ci, run.issue);
        let passes = match judged {
            Gate::Ready(_) => true,
            Gate::NotReady(reasons) => reasons.len() == 1 && reasons[0].code() == "not_mergeable",
        };
        if passes {
            seen.push(Seen::new(Event::GatePassed { head }));
        }
    }
    Ok(seen)
}

/// Judges by the gate, as far as the simulation leaves it whole.
pub(crate) fn judge(sim: &Sim, found: &PullRequest, ci: Known<(Sha, CiVerdict)>, issue: IssueNumber) -> Gate {
    let left_out: &[&str] = match sim.plan.tooth {
        Tooth::GateWithoutCi => &["ci"],
        Tooth::GateWithoutApprovals => &["approvals"],
        _ => &[],
    };
    let conditions: Vec<Condition> = CONDITIONS.iter().filter(|one| !left_out.contains(&one.name)).copied().collect();
    evaluate_with(&conditions, &sim.forge.gate_snapshot(found, ci, Some(issue)))
}

async fn replies(sim: &Shared, run: &Run) -> Result<Vec<Seen>, Fail> {
    let number = run.issue.0;
    let comments = act(sim, "read the comments", |sim| Ok(sim.forge.comments[&number].clone())).await?;
    let address = format!("@{BOT}");
    Ok(comments
        .into_iter()
        .filter(|comment| comment.body.starts_with(&address) && comment.author.as_str() == "ann")
        .filter(|comment| comment.created_at >= run.claimed_at)
        .map(|comment| (format!("comment-{}", comment.id), comment))
        .filter(|(id, _)| !run.seen_replies.contains(id))
        .map(|(id, comment)| Seen::new(Event::HumanReplied { id, who: "ann".into(), text: comment.body }))
        .collect())
}

/// Returns whether the screen shows an agent that waits for a line.
pub(crate) async fn shows_idle(sim: &Shared, run: &Run) -> Result<bool, Fail> {
    let (issue, attempt) = (run.issue.0, run.attempt);
    act(sim, "look at the screen", |sim| {
        let mut own = sim.sessions.iter().filter(|one| one.issue == issue && one.attempt == attempt && one.alive);
        Ok(own.next().is_some_and(|session| session.turn.is_none() && session.typed.is_none()))
    })
    .await
}

/// Returns the attempt that is lost, if it is, and whether a restart of the machine has ended it. An error means that nobody knows.
pub(crate) async fn session_loss(sim: &Shared, run: &Run) -> Result<Option<(Attempt, bool)>, Fail> {
    if run.session != Session::Started {
        return Ok(None);
    }
    let (issue, attempt) = (run.issue.0, run.attempt);
    let lives = act(sim, "look for the session", |sim| Ok(sim.live_attempts(issue).contains(&attempt))).await?;
    let restarted = run.boot != sim.borrow().boot.to_string();
    Ok((!lives).then_some((attempt, restarted)))
}
