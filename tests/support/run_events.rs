//! Everything that can happen to a run next: for each of its orders every answer, and what comes by itself.

use jiff::{SignedDuration, Timestamp};
use rig::domain::{
    ci::{CiVerdict, FailedStep},
    ids::{Attempt, BranchName, EffectId, IssueNumber, Login, ProjectName, PullRequestNumber, RunId, Sha},
    phase::{Phase, PhaseReport},
    pull_request::Verdict,
    run::{
        AuditFinding, Due, Effect, Event, Fact, MergeRefusal, Policy, RebaseRefusal, Refusal, Run, Session, Stage,
        Step, begin, step,
    },
};
use std::collections::BTreeSet;

/// The number of the pull request in these runs.
pub(crate) const PULL_REQUEST: PullRequestNumber = PullRequestNumber(7);

pub(crate) fn run_id() -> RunId {
    RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap()
}

pub(crate) fn sha(digit: char) -> Sha {
    Sha::new(digit.to_string().repeat(40)).unwrap()
}

pub(crate) fn claim_at(policy: Policy, at: Timestamp) -> Fact {
    let event = Event::IssueClaimed {
        project: ProjectName::new("widget").unwrap(),
        issue: IssueNumber(4),
        title: "add a button".into(),
        first_attempt: Attempt(1),
        policy,
    };
    Fact { at, observed_ms: 0, completes: None, event }
}

/// A run as it begins.
pub(crate) fn begun() -> Run {
    begin(&run_id(), &claim_at(Policy::default(), Timestamp::UNIX_EPOCH)).unwrap().0
}

pub(crate) fn fact(run: &Run, event: Event, completes: Option<EffectId>) -> Fact {
    Fact { at: run.changed_at, observed_ms: 1_000, completes, event }
}

/// Moves a run, or leaves it.
pub(crate) fn after(run: &Run, fact: &Fact) -> Run {
    match step(run, fact) {
        Step::Moved { run, .. } => *run,
        Step::Ignored(_) => run.clone(),
    }
}

/// Returns the facts that are possible now, in a fixed order.
pub(crate) fn possible(run: &Run) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (id, effect) in &run.pending {
        for event in answers(run, effect) {
            facts.push(fact(run, event, Some(id.clone())));
        }
        if !matches!(effect, Effect::Deliver { .. }) {
            facts.push(fact(run, Event::EffectFailed { error: "refused".into() }, Some(id.clone())));
        }
    }
    facts.extend(by_itself(run).into_iter().map(|event| fact(run, event, None)));
    facts.extend(times(run));
    facts
}

fn answers(run: &Run, effect: &Effect) -> Vec<Event> {
    let merged = Event::Merged { pull_request: PULL_REQUEST, commit: Some(sha('f')) };
    let refused = |head: &Sha, why| Event::MergeRefused { head: head.clone(), why };
    match effect {
        Effect::ConfirmClaim => {
            vec![Event::ClaimConfirmed, Event::ClaimLost { to: "another".into() }, Event::IssueClosed]
        }
        Effect::SurveyPriorWork => vec![surveyed(None), surveyed(Some(sha('a')))],
        Effect::StartSession { attempt, .. } => {
            let told = run.unfinished.iter().map(|(id, _)| id).chain(run.messages().map(|(id, _)| id)).cloned();
            vec![Event::SessionStarted {
                attempt: *attempt,
                told: told.collect(),
                boot: String::new(),
                not_copied: Vec::new(),
            }]
        }
        Effect::Deliver { .. } if run.session == Session::Started && !run.busy => {
            vec![Event::PromptTaken { attempt: run.attempt, offset: run.hooks_offset + 1 }]
        }
        Effect::Deliver { .. } | Effect::Notify { .. } => Vec::new(),
        Effect::InspectBranch { phase } => {
            let inspected = |local: Sha, remote, ahead| Event::BranchInspected {
                phase: *phase,
                local,
                remote,
                base: sha('0'),
                ahead,
                uncommitted: 0,
            };
            vec![
                inspected(sha('a'), Some(sha('a')), 1),
                inspected(sha('b'), Some(sha('b')), 2),
                inspected(sha('b'), Some(sha('a')), 2),
                inspected(sha('0'), None, 0),
            ]
        }
        Effect::OpenPullRequest { head } => {
            vec![Event::PullRequestOpened { number: PULL_REQUEST, head: head.clone() }, merged]
        }
        Effect::RunCi { head, .. } => [
            CiVerdict::Green,
            CiVerdict::Broken { why: "clone failed".into() },
            CiVerdict::Held { why: "it waits for approval".into() },
            CiVerdict::Red {
                steps: vec![FailedStep {
                    name: "test".into(),
                    exit_code: Some(1),
                    log_tail: String::new(),
                    link: String::new(),
                }],
            },
        ]
        .map(|verdict| Event::CiFinished { head: head.clone(), verdict })
        .to_vec(),
        Effect::VerifyMerged => vec![merged, Event::NotMerged],
        Effect::Merge { head, .. } => vec![
            merged,
            Event::PullRequestClosed { pull_request: PULL_REQUEST },
            Event::HeadMoved { head: other_than(head) },
            refused(head, MergeRefusal::NotReady { reasons: Vec::new() }),
            refused(head, MergeRefusal::Conflict),
            refused(head, MergeRefusal::Protected { message: "protected".into() }),
            refused(head, MergeRefusal::TryAgain { message: "busy".into() }),
            refused(head, MergeRefusal::Outdated { message: "behind".into() }),
        ],
        Effect::Rebase { head, .. } => {
            let failed = |why| Event::RebaseFailed { head: head.clone(), why };
            vec![
                Event::Rebased { old: head.clone(), new: other_than(head) },
                Event::HeadMoved { head: other_than(head) },
                failed(RebaseRefusal::UpToDate),
                failed(RebaseRefusal::Conflict { message: "a file".into() }),
                failed(RebaseRefusal::NotClean { message: "two files".into() }),
                failed(RebaseRefusal::Refused { message: "a hook".into() }),
            ]
        }
        Effect::Audit { .. } => {
            let finding = |holds| AuditFinding { item: "primary_ci".into(), holds, words: "CI on main".into() };
            [true, false].map(|holds| Event::MergeAudited { findings: vec![finding(holds)] }).to_vec()
        }
        Effect::SetState { .. }
        | Effect::Comment { .. }
        | Effect::Diagnose { .. }
        | Effect::CloseIssue
        | Effect::PushMirrors
        | Effect::DeleteBranch
        | Effect::EndSession
        | Effect::RemoveWorkspace => vec![Event::EffectDone],
    }
}

pub(crate) fn surveyed(adopted: Option<Sha>) -> Event {
    Event::PriorWorkSurveyed {
        branch: BranchName::new("fix/issue-4").unwrap(),
        adopted: adopted.as_ref().map(|_| PULL_REQUEST),
        head: adopted,
        prior: Vec::new(),
        ci_fixes_spent: 0,
    }
}

fn other_than(head: &Sha) -> Sha {
    if *head == sha('a') { sha('b') } else { sha('a') }
}

fn by_itself(run: &Run) -> Vec<Event> {
    let attempt = run.attempt;
    let next = run.seq.next().0;
    let mut events = Vec::new();
    if run.session == Session::Started {
        let offset = run.hooks_offset + 1;
        events.push(Event::SessionLost { attempt, how: "gone".into(), restarted: false });
        events.push(Event::SessionLost { attempt, how: "the machine was restarted".into(), restarted: true });
        let later = run.changed_at.checked_add(SignedDuration::from_hours(1)).ok();
        for resets_at in [None, later] {
            events.push(Event::UsageLimited { attempt, offset, message: "usage limit reached".into(), resets_at });
        }
        events.push(Event::AgentFoundIdle { attempt, secs: 45 });
        events.push(Event::ContextCompacted { attempt, offset });
        events.push(Event::ToolRefused {
            attempt,
            offset,
            what: "git push origin main".into(),
            why: "not yours".into(),
        });
        events.push(Event::TurnEnded { attempt, offset, background_tasks: 1 });
        events.push(Event::DeliveryFailed { attempt, why: "never taken".into() });
        events.push(Event::PromptTaken { attempt, offset });
        events.push(Event::TurnEnded { attempt, offset, background_tasks: 0 });
        events.push(Event::TurnFailed { attempt, error: "overloaded".into(), offset, message: String::new() });
        events.push(Event::AgentQuiet { attempt, secs: 600 });
        if !run.prompted {
            events.push(Event::SessionNotReady { attempt, screen: "Choose a theme".into() });
        }
        events.push(Event::PhaseMalformed { attempt, word: "finished".into(), sighting: next.to_string() });
        let report = |phase, refusal| Event::PhaseReported {
            attempt,
            report: PhaseReport { phase, reason: String::new() },
            sighting: next.to_string(),
            refusal,
        };
        events.extend(Phase::ALL.map(|phase| report(phase, None)));
        events.push(report(Phase::Failed, Some((Refusal::TooLarge, "three things".into()))));
    }
    if let (Some(number), Some(head)) = (run.pull_request, &run.head) {
        events.push(Event::HeadMoved { head: other_than(head) });
        events.push(Event::GatePassed { head: head.clone() });
        events.push(Event::PersonWanted { head: head.clone(), files: vec![".ci/run".into()] });
        for head in [head.clone(), other_than(head)] {
            events.push(Event::HumanAccepted { id: format!("accept-{next}-{head}"), who: "ann".into(), head });
        }
        let held = |code: &str| Event::GateHeld {
            head: head.clone(),
            codes: [code.to_owned()].into(),
            words: "not as it was".into(),
        };
        events.extend(["ci_red", "draft"].map(held));
        events.push(Event::OwnPushSeen { head: other_than(head) });
        events.push(Event::MergedElsewhere { pull_request: number, into: "release".into() });
        events.push(Event::PullRequestClosed { pull_request: number });
        events.push(Event::Merged { pull_request: number, commit: Some(sha('f')) });
        for verdict in [Verdict::Approved, Verdict::ChangesRequested, Verdict::Comment] {
            events.push(review(next, verdict, head));
        }
    }
    if matches!(run.stage, Stage::Claiming) {
        events.push(Event::EarlierClaimsDead { up_to: 9 });
    }
    if let Ok(until) = run.changed_at.checked_add(SignedDuration::from_hours(2)) {
        events.push(Event::UsagePaused { until });
    }
    events.push(reply(&next.to_string()));
    for id in run.replies.values() {
        events.push(Event::ReplyChanged { id: id.clone(), who: "ann".into(), text: "green".into() });
        events.push(Event::ReplyWithdrawn { id: id.clone() });
    }
    events.push(Event::AcceptanceRefused { id: format!("accept-{next}"), who: "ann".into() });
    events.push(Event::IssueClosed);
    events.push(Event::StopRequested { who: "ann".into(), reason: "no longer wanted".into() });
    for fresh in [false, true] {
        events.push(Event::RetryRequested { id: format!("retry-{}", run.seq.0), who: "ann".into(), fresh });
    }
    if matches!(run.stage, Stage::Finishing { .. }) {
        events.push(Event::RunEnded);
    }
    events
}

pub(crate) fn review(id: u64, verdict: Verdict, commit: &Sha) -> Event {
    let reviewer = Login::new("ann").unwrap();
    let findings = BTreeSet::from([id.to_string()]);
    Event::ReviewReceived {
        id,
        reviewer,
        verdict,
        commit: Some(commit.clone()),
        text: "please change it".into(),
        findings,
    }
}

pub(crate) fn reply(id: &str) -> Event {
    Event::HumanReplied { id: id.into(), who: "ann".into(), text: "blue".into() }
}

/// The timers of the stage, each at the moment that it is due.
pub(crate) fn times(run: &Run) -> Vec<Fact> {
    run.deadlines()
        .into_iter()
        .map(|(timer, due)| {
            let (at, observed_ms) = match due {
                Due::At(when) => (when, 0),
                Due::Watched(left) => {
                    let ms = u64::try_from(left.as_millis()).unwrap();
                    (run.changed_at.checked_add(SignedDuration::from_millis(ms as i64)).unwrap(), ms)
                }
            };
            Fact { at, observed_ms, completes: None, event: Event::TimePassed { timer } }
        })
        .collect()
}
