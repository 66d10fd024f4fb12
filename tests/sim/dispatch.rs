//! Carries out what a run ordered. Every answer is an event for the run.

use super::{
    agent::{Hook, HookKind, Session, Told, Turn},
    forge::{BOT, STATE_LABELS},
    observe::judge,
    oracle::number,
    sim::{Fail, Lock, Shared, Sim, TaskId, Tooth, act, pause},
};
use rig::domain::{
    ci::CiVerdict,
    gate::{Gate, NotReady},
    ids::{Attempt, BranchName, EffectId, IssueNumber, Sha},
    issue::OpenOrClosed,
    known::Known,
    prompts,
    pull_request::PullRequest,
    run::{AuditFinding, Effect, Event, IssueState, MergeRefusal, RebaseRefusal, Run, Stage},
};

/// What an order came to.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Event(Event),
    /// The answer is not there yet.
    NotYet,
    /// Nobody knows; it is tried again.
    Unknown,
}

/// Carries out one order of a run.
pub(crate) async fn carry_out(sim: &Shared, me: TaskId, run: &Run, id: &EffectId, effect: &Effect) -> Answer {
    match result_of(sim, me, run, id, effect).await {
        Ok(Some(event)) => Answer::Event(event),
        Ok(None) => Answer::NotYet,
        Err(_) => Answer::Unknown,
    }
}

async fn result_of(sim: &Shared, me: TaskId, run: &Run, id: &EffectId, effect: &Effect) -> Result<Option<Event>, Fail> {
    let issue = run.issue.0;
    let event = match effect {
        Effect::ConfirmClaim => {
            let _lock = wait_for(sim, "dispatch", me).await?;
            confirm_claim(sim, run, id).await?
        }
        Effect::SurveyPriorWork => survey(sim, run).await?,
        Effect::StartSession { attempt, .. } if sim.borrow().usage_limit().is_none() => {
            start_session(sim, run, id, *attempt).await?
        }
        Effect::StartSession { .. } => {
            return Ok(sim.borrow().usage_limit().map(|until| Event::UsagePaused { until }));
        }
        Effect::InspectBranch { phase } => {
            let branch = branch_of(run)?;
            let (state, base) = act(sim, "inspect the branch", |sim| {
                let found = sim.forge.branches.get(branch.as_str()).cloned().ok_or(Fail::Refused("no branch"))?;
                Ok((found, sim.base.clone()))
            })
            .await?;
            Event::BranchInspected {
                phase: *phase,
                local: state.local,
                remote: state.remote,
                base,
                ahead: state.ahead,
                uncommitted: 0,
            }
        }
        Effect::OpenPullRequest { head } => open_pull_request(sim, run, id, head).await?,
        Effect::RunCi { head, .. } => {
            let verdict = act(sim, "ask CI", |sim| Ok(sim.forge.ask_ci(head))).await?;
            if matches!(verdict, CiVerdict::Pending { .. }) {
                return Ok(None);
            }
            Event::CiFinished { head: head.clone(), verdict }
        }
        Effect::VerifyMerged => {
            let Some(wanted) = run.pull_request else { return Ok(Some(Event::NotMerged)) };
            let found = read(sim, wanted.0).await?;
            match found.merged {
                true => Event::Merged { pull_request: wanted, commit: found.merge_commit },
                false => Event::NotMerged,
            }
        }
        Effect::Merge { pull_request, head } => {
            judge_and_merge(sim, me, pull_request.0, head, run.issue, Some(id)).await?
        }
        Effect::Rebase { head, .. } => rebase(sim, run, id, head).await?,
        Effect::Audit { pull_request } => {
            if run.pending.len() > 1 {
                return Ok(None);
            }
            audit(sim, issue, pull_request.0).await?
        }
        Effect::SetState { state } => {
            set_state(sim, issue, *state, Some(id)).await?;
            if matches!(run.stage, Stage::Finishing { .. }) {
                withdraw_claim(sim, run).await?;
            }
            Event::EffectDone
        }
        Effect::Comment { body } => {
            post_once(sim, issue, &id.to_string(), body, Some(id)).await?;
            Event::EffectDone
        }
        Effect::Diagnose { why } => {
            post_once(sim, issue, &id.to_string(), &prompts::diagnosis(why, run.pull_request, 0, ""), Some(id)).await?;
            Event::EffectDone
        }
        Effect::CloseIssue => {
            let Some(wanted) = run.pull_request else { return Ok(Some(Event::EffectDone)) };
            if !read(sim, wanted.0).await?.merged {
                return Err(Fail::Unknown);
            }
            close(sim, issue).await?;
            Event::EffectDone
        }
        Effect::DeleteBranch => {
            act(sim, "delete the branch", |sim| {
                sim.check_ordered(id);
                if let Some(branch) = &run.branch {
                    sim.forge.branches.remove(branch.as_str());
                }
                Ok(())
            })
            .await?;
            Event::EffectDone
        }
        Effect::EndSession => {
            act(sim, "end the session", |sim| {
                sim.check_ordered(id);
                sim.sessions.iter_mut().filter(|one| one.issue == issue).for_each(|one| one.alive = false);
                Ok(())
            })
            .await?;
            if sim.borrow().plan.tooth == Tooth::CloseOnWord {
                close(sim, issue).await?;
            }
            Event::EffectDone
        }
        Effect::PushMirrors | Effect::RemoveWorkspace => {
            act(sim, effect.words(), |_| Ok(())).await?;
            Event::EffectDone
        }
        Effect::Deliver { .. } | Effect::Notify { .. } => return Ok(None),
    };
    Ok(Some(event))
}

fn branch_of(run: &Run) -> Result<BranchName, Fail> {
    run.branch.clone().ok_or(Fail::Refused("no branch"))
}

async fn wait_for(sim: &Shared, name: &str, me: TaskId) -> Result<Lock, Fail> {
    for _ in 0..50 {
        if let Some(lock) = Lock::try_take(sim, name, me) {
            return Ok(lock);
        }
        pause().await;
    }
    Err(Fail::Unknown)
}

async fn read(sim: &Shared, number: u64) -> Result<PullRequest, Fail> {
    act(sim, "read the pull request", |sim| sim.forge.pull_requests.get(&number).cloned().ok_or(Fail::Unknown)).await
}

async fn close(sim: &Shared, issue: u64) -> Result<(), Fail> {
    act(sim, "close the issue", |sim| {
        if sim.forge.issues[&issue].state == OpenOrClosed::Open {
            sim.check_close(issue);
            sim.forge.close_issue(issue, BOT);
        }
        Ok(())
    })
    .await
}

/// Tells the forge of a claim, and reads it back. The caller holds the dispatch lock.
pub(crate) async fn confirm_claim(sim: &Shared, run: &Run, id: &EffectId) -> Result<Event, Fail> {
    let number = run.issue.0;
    let issue = act(sim, "read the issue", |sim| Ok(sim.forge.issues[&number].clone())).await?;
    if issue.state == OpenOrClosed::Closed {
        return Ok(Event::IssueClosed);
    }
    set_state(sim, number, IssueState::InProgress, Some(id)).await?;
    post_once(sim, number, &claim_key(run), "rig works on this issue", Some(id)).await?;
    Ok(Event::ClaimConfirmed)
}

fn claim_key(run: &Run) -> String {
    format!("claim run={} root=1", run.id)
}

async fn withdraw_claim(sim: &Shared, run: &Run) -> Result<(), Fail> {
    let marker = format!("<!-- rig:{} -->", claim_key(run));
    act(sim, "withdraw the claim", |sim| {
        sim.forge.comments.entry(run.issue.0).or_default().retain(|comment| !comment.body.contains(&marker));
        Ok(())
    })
    .await
}

/// Makes the issue carry exactly one state label: two requests, so that one can be missing.
pub(crate) async fn set_state(sim: &Shared, issue: u64, state: IssueState, id: Option<&EffectId>) -> Result<(), Fail> {
    let wanted = match state {
        IssueState::InProgress => Some("in-progress"),
        IssueState::Backlog => Some("backlog"),
        IssueState::Blocked => Some("blocked"),
        IssueState::Underspecified => Some("underspecified"),
        IssueState::Done => None,
    };
    act(sim, "add the label", |sim| {
        if let Some(id) = id {
            sim.check_ordered(id);
        }
        wanted.into_iter().for_each(|label| sim.forge.add_label(issue, label));
        Ok(())
    })
    .await?;
    let others: Vec<&str> = STATE_LABELS.into_iter().filter(|label| Some(*label) != wanted).collect();
    act(sim, "remove labels", |sim| {
        sim.forge.remove_labels(issue, &others);
        Ok(())
    })
    .await
}

/// Writes a comment unless it is there.
async fn post_once(sim: &Shared, issue: u64, key: &str, body: &str, id: Option<&EffectId>) -> Result<(), Fail> {
    let marker = format!("<!-- rig:{key} -->");
    let there = act(sim, "read the comments", |sim| {
        Ok(sim.forge.comments[&issue].iter().any(|comment| comment.body.contains(&marker)))
    })
    .await?;
    if there && sim.borrow().plan.tooth != Tooth::PostBlindly {
        return Ok(());
    }
    act(sim, "post a comment", |sim| {
        if let Some(id) = id {
            sim.check_ordered(id);
        }
        let at = sim.now();
        sim.forge.post_comment(issue, BOT, format!("{body}\n{marker}"), at);
        Ok(())
    })
    .await
}

async fn survey(sim: &Shared, run: &Run) -> Result<Event, Fail> {
    let issue = run.issue.0;
    let all = act(sim, "list the pull requests", |sim| {
        Ok(sim.forge.pull_requests.values().cloned().collect::<Vec<PullRequest>>())
    })
    .await?;
    let own: Vec<&PullRequest> = all.iter().filter(|found| super::forge::Forge::issue_of(found) == issue).collect();
    let adopted = own.iter().rfind(|found| found.state == OpenOrClosed::Open);
    let free = (1..)
        .map(|k| if k == 1 { format!("fix/issue-{issue}") } else { format!("fix/issue-{issue}-{k}") })
        .find(|name| !own.iter().any(|found| found.head_branch.as_ref().is_some_and(|branch| branch.as_str() == name)));
    let free = BranchName::new(free.unwrap_or_default()).map_err(|_| Fail::Unknown)?;
    let spent = {
        let sim = sim.borrow();
        let earlier = sim.live.values().filter(|other| other.issue == run.issue && other.id != run.id);
        let same = earlier.filter(|other| adopted.is_some_and(|found| other.pull_request == Some(found.number)));
        same.map(|other| other.used.ci_fixes).max().unwrap_or(0)
    };
    Ok(Event::PriorWorkSurveyed {
        branch: adopted.and_then(|found| found.head_branch.clone()).unwrap_or(free),
        adopted: adopted.map(|found| found.number),
        head: adopted.map(|found| found.head.clone()),
        prior: Vec::new(),
        ci_fixes_spent: spent,
    })
}

/// Starts an attempt, once: one that lives is left alone, one of another attempt is ended first.
async fn start_session(sim: &Shared, run: &Run, id: &EffectId, attempt: Attempt) -> Result<Event, Fail> {
    let branch = branch_of(run)?;
    let issue = run.issue.0;
    let messages: Vec<Told> = run
        .unfinished
        .iter()
        .map(|(id, message)| (id, message))
        .chain(run.messages())
        .map(|(id, message)| Told { id: id.clone(), text: message.text.clone() })
        .collect();
    let ids: Vec<EffectId> = messages.iter().map(|told| told.id.clone()).collect();
    let told = act(sim, "prepare the attempt", |sim| {
        sim.prepare_branch(branch.as_str());
        Ok(sim.files(issue).told.entry(attempt).or_insert(ids).clone())
    })
    .await?;
    let messages: Vec<Told> = messages.into_iter().filter(|message| told.contains(&message.id)).collect();
    let lives = act(sim, "end other sessions", |sim| {
        sim.check_ordered(id);
        for other in sim.sessions.iter_mut().filter(|other| other.issue == issue && other.attempt != attempt) {
            other.alive = false;
        }
        Ok(sim.live_attempts(issue).contains(&attempt))
    })
    .await?;
    if !lives {
        let run_id = run.id.clone();
        act(sim, "start the session", |sim| {
            let steps = sim.rng.below(8) as u32;
            let session = Session {
                issue,
                run: run_id,
                attempt,
                branch: branch.as_str().to_owned(),
                alive: true,
                hung: false,
                turn: Some(Turn { steps, messages: messages.clone() }),
                typed: None,
            };
            sim.oracle.taken(&session, &messages);
            sim.files(issue).hooks.push(Hook { attempt, kind: HookKind::PromptTaken(None) });
            sim.say(&format!("session of #{issue} starts, attempt {attempt}"));
            sim.sessions.push(session);
            Ok(())
        })
        .await?;
    }
    let boot = sim.borrow().boot.to_string();
    Ok(Event::SessionStarted { attempt, told, boot, not_copied: Vec::new() })
}

/// Opens the pull request, or finds the one that an earlier try has opened, which may be merged by now.
async fn open_pull_request(sim: &Shared, run: &Run, id: &EffectId, head: &Sha) -> Result<Event, Fail> {
    let branch = branch_of(run)?;
    for _ in 0..2 {
        let found = act(sim, "look for the pull request", |sim| {
            let merged = sim.forge.merged_of_branch(&branch).filter(|found| found.head == *head);
            Ok(sim.forge.open_of_branch(&branch).or(merged).cloned())
        })
        .await?;
        match found {
            Some(found) if found.merged => {
                return Ok(Event::Merged { pull_request: found.number, commit: found.merge_commit });
            }
            Some(found) => return Ok(Event::PullRequestOpened { number: found.number, head: found.head }),
            None => {}
        }
        let body = prompts::pull_request_body(run.issue.0, "done");
        let made = act(sim, "open the pull request", |sim| {
            sim.check_ordered(id);
            let at = sim.now();
            sim.forge.open_pull_request(&branch, body, at).map_err(Fail::Refused)
        })
        .await;
        match made {
            Ok(made) => {
                let found = read(sim, made).await?;
                return Ok(Event::PullRequestOpened { number: number(made), head: found.head });
            }
            Err(Fail::Refused(_)) => {}
            Err(fail) => return Err(fail),
        }
    }
    Err(Fail::Unknown)
}

/// Brings the branch up to date: two requests, a push and a move of the worktree, so that one can be missing. What was pushed
/// for an old head is found again.
async fn rebase(sim: &Shared, run: &Run, id: &EffectId, head: &Sha) -> Result<Event, Fail> {
    let branch = branch_of(run)?;
    let name = branch.as_str();
    let pushed = act(sim, "push the rebased branch", |sim| {
        sim.check_ordered(id);
        let Some(found) = sim.forge.branches.get(name).cloned() else { return Err(Fail::Refused("no branch")) };
        let made = sim.forge.rebased.get(head).cloned();
        if found.remote.as_ref() != Some(head) {
            return Ok(if made.is_some() && found.remote == made { Ok(made) } else { Err(found.remote) });
        }
        if found.local != *head || sim.rng.chance(200) {
            return Ok(Ok(None));
        }
        let (new, truth, now) = (sim.forge.sha(), sim.draw_ci(), sim.step);
        sim.forge.ci.insert(new.clone(), truth);
        sim.forge.rebased.insert(head.clone(), new.clone());
        sim.say(&format!("rig rebases {} to {}", head.short(), new.short()));
        sim.forge.push(name, &new, now);
        Ok(Ok(Some(new)))
    })
    .await?;
    let new = match pushed {
        Ok(Some(new)) => new,
        Ok(None) => {
            let why = RebaseRefusal::Conflict { message: "it conflicts".into() };
            return Ok(Event::RebaseFailed { head: head.clone(), why });
        }
        Err(Some(head)) => return Ok(Event::HeadMoved { head }),
        Err(None) => return Err(Fail::Unknown),
    };
    act(sim, "move the worktree", |sim| {
        if let Some(found) = sim.forge.branches.get_mut(name)
            && found.local == *head
        {
            found.local = new.clone();
        }
        Ok(())
    })
    .await?;
    Ok(Event::Rebased { old: head.clone(), new })
}

/// Looks whether the merge is there and the issue closed.
async fn audit(sim: &Shared, issue: u64, pull_request: u64) -> Result<Event, Fail> {
    let merged = read(sim, pull_request).await?.merged;
    let closed = act(sim, "read the issue", |sim| Ok(sim.forge.issues[&issue].state == OpenOrClosed::Closed)).await?;
    let finding = |item: &str, holds| AuditFinding { item: item.into(), holds, words: item.into() };
    Ok(Event::MergeAudited { findings: vec![finding("merged", merged), finding("issue_closed", closed)] })
}

/// Judges once more under the merge lock, merges what was judged, and reads back what came of it.
pub(crate) async fn judge_and_merge(
    sim: &Shared,
    me: TaskId,
    pull_request: u64,
    head: &Sha,
    issue: IssueNumber,
    id: Option<&EffectId>,
) -> Result<Event, Fail> {
    let _lock = wait_for(sim, "merge", me).await?;
    {
        let mut sim = sim.borrow_mut();
        let now = sim.step;
        sim.judging.insert(pull_request, now);
    }
    let found = read(sim, pull_request).await?;
    if let Some(event) = decided_elsewhere(&found, head) {
        return Ok(event);
    }
    let verdict = act(sim, "ask CI", |sim| Ok(sim.forge.ask_ci(head))).await?;
    let judged = judge(&sim.borrow(), &found, Known::Known((head.clone(), verdict)), issue);
    if let Gate::NotReady(reasons) = judged {
        let why = match reasons.as_slice() {
            [NotReady::NotMergeable] => MergeRefusal::Conflict,
            _ => MergeRefusal::NotReady { reasons: reasons.iter().map(NotReady::words).collect() },
        };
        return Ok(Event::MergeRefused { head: head.clone(), why });
    }
    // A forge that wants branches up to date, or a project that does.
    if sim.borrow().forge.outdated.contains(&pull_request) {
        let why = MergeRefusal::Outdated { message: "behind the base branch".into() };
        return Ok(Event::MergeRefused { head: head.clone(), why });
    }
    let answer = act(sim, "merge", |sim| {
        if let Some(id) = id {
            sim.check_ordered(id);
        }
        let truth = sim.forge.pull_requests[&pull_request].head.clone();
        let named = (sim.plan.tooth != Tooth::MergeUnnamed).then_some(head);
        sim.forge.merge(pull_request, named).map_err(Fail::Refused)?;
        sim.say(&format!("{} is merged as {pull_request}", truth.short()));
        sim.check_merge_of(pull_request, head, &truth);
        Ok(())
    })
    .await;
    let after = read(sim, pull_request).await?;
    if let Some(event) = decided_elsewhere(&after, head) {
        return Ok(event);
    }
    let why = match answer {
        Err(Fail::Unknown) => return Err(Fail::Unknown),
        _ if !after.mergeable => MergeRefusal::Conflict,
        _ => MergeRefusal::TryAgain { message: "refused".into() },
    };
    Ok(Event::MergeRefused { head: head.clone(), why })
}

fn decided_elsewhere(found: &PullRequest, head: &Sha) -> Option<Event> {
    if found.merged {
        return Some(Event::Merged { pull_request: found.number, commit: found.merge_commit.clone() });
    }
    if found.state == OpenOrClosed::Closed {
        return Some(Event::PullRequestClosed { pull_request: found.number });
    }
    (found.head != *head).then(|| Event::HeadMoved { head: found.head.clone() })
}

impl Sim {
    /// A merge makes other open pull requests conflict now and then.
    fn check_merge_of(&mut self, number: u64, named: &Sha, head: &Sha) {
        // The pull request is closed by now; it was ready when it still was open or not at all.
        if let Some(found) = self.forge.pull_requests.get_mut(&number) {
            (found.state, found.merged) = (OpenOrClosed::Open, false);
        }
        self.check_merge(number, named, head);
        if let Some(found) = self.forge.pull_requests.get_mut(&number) {
            (found.state, found.merged) = (OpenOrClosed::Closed, true);
        }
        for other in self.forge.open_numbers() {
            if self.rng.chance(300)
                && let Some(found) = self.forge.pull_requests.get_mut(&other)
            {
                found.mergeable = false;
            } else if self.rng.chance(400) {
                self.forge.outdated.insert(other);
            }
        }
    }
}

/// Puts notices into the outbox, in the transaction of the append.
pub(crate) fn queue_notices(sim: &mut Sim, run: &Run, orders: &[(EffectId, Effect)]) {
    for (id, effect) in orders {
        if let Effect::Notify { text, on_issue: urgent, .. } = effect {
            sim.notices.insert(id.clone(), (run.issue.0, text.clone(), *urgent));
        }
    }
}

/// Sends what waits in the outbox: under a lock, because looking and posting are two requests.
pub(crate) async fn send_notices(sim: &Shared, me: TaskId) -> Result<(), Fail> {
    let Some(_lock) = Lock::try_take(sim, "notices", me) else { return Ok(()) };
    let waiting = sim.borrow().notices.clone();
    for (id, (issue, text, urgent)) in waiting {
        if urgent {
            post_once(sim, issue, &id.to_string(), &text, Some(&id)).await?;
        }
        act(sim, "mark the notice", |sim| {
            sim.notices.remove(&id);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
