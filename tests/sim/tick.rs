//! One tick of the poller: merges what is ready, gives open runs a driver, starts the next issue. Many run at once.

use super::{
    dispatch::{self, judge_and_merge},
    driver::drive,
    forge::Forge,
    observe::judge,
    sim::{Fail, Lock, Shared, Sim, TaskId, act},
};
use rig::domain::{
    gate::Gate,
    ids::{Attempt, EffectId, IssueNumber, ProjectName, RunId, Seq},
    issue::{Issue, OpenOrClosed},
    known::Known,
    queue::{Candidate, Claim, IssueFact, LabelNames, QueueSnapshot, select},
    run::{Event, Fact, IssueState, Run, Stage, Step, begin, step},
};
use std::collections::BTreeMap;

const MAX_AGENTS: u32 = 2;

/// Makes one tick; what fails is left to the next.
pub(crate) async fn tick(sim: Shared, me: TaskId) {
    let _ = merge_scan(&sim, me).await;
    let open = sim.borrow().open_runs();
    for run in open {
        if act(&sim, "start a driver", |_| Ok(())).await.is_ok() {
            launch(&sim, run.id);
        }
    }
    let _ = start_next(&sim, me).await;
    let _ = dispatch::send_notices(&sim, me).await;
}

/// Starts a driver as a process of its own; where one lives, it leaves.
fn launch(sim: &Shared, run: RunId) {
    let shared = sim.clone();
    sim.borrow_mut().new_task(None, |me| Box::pin(drive(shared, me, run)));
}

async fn merge_scan(sim: &Shared, me: TaskId) -> Result<(), Fail> {
    let open = act(sim, "list the open pull requests", |sim| Ok(sim.forge.open_numbers())).await?;
    for number in open {
        let found = sim.borrow().forge.pull_requests[&number].clone();
        let issue = IssueNumber(Forge::issue_of(&found));
        let head = found.head.clone();
        let verdict = act(sim, "ask CI", |sim| Ok(sim.forge.ask_ci(&head))).await?;
        let judged = judge(&sim.borrow(), &found, Known::Known((head.clone(), verdict)), issue);
        if let Gate::NotReady(_) = judged {
            continue;
        }
        let merged = judge_and_merge(sim, me, number, &head, issue, None).await?;
        let has_run = sim.borrow().open_runs().iter().any(|run| run.pull_request == Some(found.number));
        if matches!(merged, Event::Merged { .. }) && !has_run {
            after_merge(sim, issue.0).await?;
        }
    }
    Ok(())
}

/// What a run would do after its merge; without a run the tick does it.
async fn after_merge(sim: &Shared, issue: u64) -> Result<(), Fail> {
    act(sim, "close the issue", |sim| {
        if sim.forge.issues[&issue].state == OpenOrClosed::Open {
            sim.check_close(issue);
            sim.forge.close_issue(issue, super::forge::BOT);
        }
        Ok(())
    })
    .await?;
    dispatch::set_state(sim, issue, IssueState::Done, None).await
}

async fn start_next(sim: &Shared, me: TaskId) -> Result<(), Fail> {
    let issues = act(sim, "list the issues", |sim| Ok(sim.forge.issues.values().cloned().collect::<Vec<_>>())).await?;
    let selected = chosen(&sim.borrow(), issues);
    for number in selected {
        let Some(lock) = Lock::try_take(sim, "dispatch", me) else { return Ok(()) };
        // The claim is confirmed here, so no driver may lead the run meanwhile.
        let Some(led) = Lock::try_take(sim, &format!("run-{number}"), me) else { continue };
        let issue = act(sim, "read the issue again", |sim| Ok(sim.forge.issues[&number].clone())).await?;
        if chosen(&sim.borrow(), vec![issue.clone()]).is_empty() {
            continue;
        }
        let run = reserve(sim, &issue).await?;
        let order = EffectId { run: run.id.clone(), seq: Seq(1), index: 0 };
        if let Ok(event) = dispatch::confirm_claim(sim, &run, &order).await {
            commit_confirmed(sim, &run, event, order).await?;
        }
        drop(led);
        drop(lock);
        launch(sim, run.id);
    }
    Ok(())
}

/// Selects by the real selection. An issue that cannot be read is unknown.
fn chosen(sim: &Sim, issues: Vec<Issue>) -> Vec<u64> {
    let open = sim.open_runs();
    let candidates = issues
        .into_iter()
        .map(|issue| {
            let number = issue.number;
            let open_run = open.iter().any(|run| run.issue == number);
            let claimed =
                sim.forge.comments[&number.0].iter().any(|comment| comment.body.contains("<!-- rig:claim run="));
            let claim = if claimed && !open_run { Claim::ThisRoot } else { Claim::Nobody };
            Candidate {
                number,
                issue: Known::Known(issue),
                is_pull_request: false,
                claim: Known::Known(claim),
                open_run: Known::Known(open_run),
            }
        })
        .collect();
    let facts = sim.forge.issues.iter().map(|(number, issue)| {
        let fact = match issue.state {
            OpenOrClosed::Open => IssueFact::Open { depends_on: Vec::new() },
            OpenOrClosed::Closed => IssueFact::Closed,
        };
        (IssueNumber(*number), Known::Known(fact))
    });
    let snapshot = QueueSnapshot {
        repository: "acme/widget".into(),
        labels: LabelNames {
            backlog: "backlog".into(),
            priority: "priority".into(),
            in_progress: "in-progress".into(),
            blocked: "blocked".into(),
            underspecified: "underspecified".into(),
            skip: Vec::new(),
        },
        switched_on: Known::Known(true),
        usage_limit: sim.usage_limit(),
        free_memory_mb: Known::Known(8_000),
        min_free_memory_mb: 2_000,
        max_agents: MAX_AGENTS,
        slots_taken: Known::Known(slots(&open)),
        waiting_pull_requests: Known::Known(Vec::new()),
        candidates,
        issues: facts.collect::<BTreeMap<_, _>>(),
        links: sim.forge.issues.keys().map(|number| (IssueNumber(*number), Known::Known(Vec::new()))).collect(),
    };
    select(&snapshot).selected().map(|number| number.0).collect()
}

fn slots(open: &[Run]) -> u32 {
    u32::try_from(open.iter().filter(|run| run.holds_slot()).count()).unwrap_or(u32::MAX)
}

/// Writes the claim into the journal, which allows one open run for an issue and so many with a slot.
async fn reserve(sim: &Shared, issue: &Issue) -> Result<Run, Fail> {
    let number = issue.number;
    act(sim, "reserve", |sim| {
        let open = sim.open_runs();
        if open.iter().any(|run| run.issue == number) {
            return Err(Fail::Refused("it has an open run"));
        }
        if slots(&open) >= MAX_AGENTS {
            return Err(Fail::Refused("no slot"));
        }
        sim.next_run += 1;
        let id = RunId::new(format!("{:026}", sim.next_run)).map_err(|_| Fail::Unknown)?;
        let first_attempt = sim.latest_run(number.0).map_or(Attempt(1), |run| run.attempt.next());
        let event = Event::IssueClaimed {
            project: ProjectName::new("widget").map_err(|_| Fail::Unknown)?,
            issue: number,
            title: issue.title.clone(),
            first_attempt,
            policy: sim.policy.clone(),
        };
        let fact = Fact { at: sim.now(), observed_ms: 0, completes: None, event };
        let (run, orders) = begin(&id, &fact).ok_or(Fail::Unknown)?;
        sim.append(&run, 0, &fact)?;
        dispatch::queue_notices(sim, &run, &orders);
        Ok(run)
    })
    .await
}

/// The tick writes the answer of the claim, unless a driver has done so meanwhile.
async fn commit_confirmed(sim: &Shared, run: &Run, event: Event, order: EffectId) -> Result<(), Fail> {
    let fact = Fact { at: sim.borrow().now(), observed_ms: 0, completes: Some(order), event };
    let Step::Moved { run: moved, orders } = step(run, &fact) else { return Ok(()) };
    let before = run.clone();
    let appended = act(sim, "append", move |sim| {
        sim.append(&moved, before.seq.0, &fact)?;
        sim.check_moved(&before, &moved, &fact.event);
        dispatch::queue_notices(sim, &moved, &orders);
        Ok(moved.stage == Stage::Claiming)
    })
    .await;
    match appended {
        Ok(_) | Err(Fail::Refused(_)) => Ok(()),
        Err(fail) => Err(fail),
    }
}
