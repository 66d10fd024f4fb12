//! Events in words, for people: the same in the demo's timeline and in the log of an issue.

use crate::domain::{
    ci::CiVerdict,
    phase::Phase,
    pull_request::Verdict,
    run::{AuditFinding, End, Event, RebaseRefusal, Run, Stage, Timer},
};

/// Returns an event in words with a colour, or nothing for what is of no interest here.
pub(super) fn of(event: &Event) -> Option<(u8, String)> {
    let plain = |text: &str| Some((0, text.to_owned()));
    match event {
        Event::IssueClaimed { title, .. } => Some((1, format!("claimed: {title}"))),
        Event::SessionStarted { attempt, not_copied, .. } if not_copied.is_empty() => {
            Some((0, format!("session started, attempt {attempt}")))
        }
        Event::SessionStarted { attempt, not_copied, .. } => {
            let missing = not_copied.join(", ");
            Some((33, format!("session started, attempt {attempt}; `copy_files` names what is not there: {missing}")))
        }
        Event::SessionLost { how, .. } => Some((33, format!("session lost: {how}"))),
        Event::PhaseReported { report, .. } => Some((
            0,
            match report.phase {
                Phase::AwaitingCi => "the agent has pushed and waits for CI".into(),
                Phase::AwaitingReview => "the agent waits for the review".into(),
                other => format!("the agent says {other}"),
            },
        )),
        Event::PullRequestOpened { number, .. } => Some((0, format!("pull request {number} opened"))),
        Event::CiFinished { head, verdict } => Some(match verdict {
            CiVerdict::Green => (32, format!("CI passed at {}", head.short())),
            CiVerdict::Red { steps } => {
                let step = steps.first().map(|step| step.name.clone()).unwrap_or_default();
                (31, format!("CI failed at {} ({step}); told to the agent", head.short()))
            }
            CiVerdict::Broken { why } => (33, format!("CI itself failed: {why}")),
            CiVerdict::Held { why } => (33, format!("CI waits for a person: {why}")),
            CiVerdict::Pending { .. } => (0, "CI is pending".into()),
        }),
        Event::ReviewReceived { reviewer, verdict, .. } => Some(match verdict {
            Verdict::Approved => (32, format!("{reviewer} approved")),
            Verdict::ChangesRequested => (33, format!("{reviewer} asks for changes; told to the agent")),
            Verdict::Comment | Verdict::None => (0, format!("{reviewer} commented")),
        }),
        Event::GatePassed { head } => Some((0, format!("the gate is passed at {}", head.short()))),
        Event::Merged { pull_request, commit } => {
            let commit = commit.as_ref().map(|commit| format!(" as {}", commit.short())).unwrap_or_default();
            Some((32, format!("pull request {pull_request} merged{commit}")))
        }
        Event::MergeRefused { why, .. } => Some((33, format!("the merge was refused: {}", why.words()))),
        Event::Rebased { old, new } => {
            Some((0, format!("rig brought the branch up to date: {} is now {}", old.short(), new.short())))
        }
        Event::RebaseFailed { why, .. } => Some((33, format!("rig left the branch as it is: {}", left(why)))),
        Event::MergeAudited { findings } => Some(audited(findings)),
        Event::EffectFailed { error } => Some((31, error.clone())),
        Event::ClaimLost { to } => Some((33, format!("another claim was there first: {to}"))),
        Event::DeliveryFailed { why, .. } => Some((33, format!("a message could not be brought to the agent: {why}"))),
        Event::TurnFailed { error, message, .. } if message.is_empty() => {
            Some((33, format!("the agent's turn failed: {error}; it is to go on later")))
        }
        Event::TurnFailed { error, message, .. } => {
            Some((33, format!("the agent's turn failed: {error}, {message}; it is to go on later")))
        }
        Event::UsageLimited { resets_at: Some(at), .. } => {
            Some((33, format!("the agent's usage limit is reached; it is over at {at:.0}")))
        }
        Event::UsageLimited { resets_at: None, message, .. } => {
            Some((33, format!("the agent's usage limit is reached, and it does not say until when: {message}")))
        }
        Event::UsagePaused { until } => {
            Some((33, format!("the start waits for the end of the usage limit at {until:.0}")))
        }
        Event::TimePassed { timer: Timer::UsageLimit } => plain("the usage limit is over; the agent is to go on"),
        Event::AgentFoundIdle { secs, .. } => Some((
            33,
            format!("the agent's turn was broken off or ended without a word: it has stood idle for {secs} s"),
        )),
        Event::ContextCompacted { .. } => plain("the agent's conversation was compacted; the protocol was put back"),
        Event::ToolRefused { what, why, .. } => {
            let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            Some((33, format!("the guard refused `{}`: {}", line(what), line(why))))
        }
        Event::TurnEnded { background_tasks, .. } if *background_tasks > 0 => {
            Some((0, format!("the agent waits for {background_tasks} tasks in its background")))
        }
        Event::AgentQuiet { secs, .. } => Some((33, format!("the agent gave no sign of life for {secs} s"))),
        Event::PhaseMalformed { word, .. } => Some((33, format!("the agent wrote `{word}`, which is no phase"))),
        Event::NotMerged => Some((33, "the agent says done, and the forge says not merged".into())),
        Event::PullRequestClosed { pull_request } => Some((33, format!("pull request {pull_request} was closed"))),
        Event::MergedElsewhere { pull_request, into } => {
            Some((33, format!("pull request {pull_request} was merged into `{into}`, not into the primary branch")))
        }
        Event::OwnPushSeen { head } => {
            Some((0, format!("{} is the agent's own push; the question stands", head.short())))
        }
        Event::GateHeld { words, .. } => Some((33, format!("the gate is closed: {words}"))),
        Event::IssueClosed => Some((33, "the issue was closed".into())),
        Event::HumanReplied { who, .. } => Some((0, format!("{who} replied; told to the agent"))),
        Event::PersonWanted { head, .. } => {
            Some((33, format!("a person must accept what changes at {}; people were asked", head.short())))
        }
        Event::HumanAccepted { who, head, .. } => Some((0, format!("{who} said approve at {}", head.short()))),
        Event::AcceptanceRefused { who, .. } => Some((33, format!("{who} said approve, and nothing waited for it"))),
        Event::StopRequested { who, reason } if reason.is_empty() => Some((33, format!("{who} asked to stop"))),
        Event::StopRequested { who, reason } => Some((33, format!("{who} asked to stop: {reason}"))),
        Event::RetryRequested { who, .. } => Some((0, format!("{who} asked for another attempt"))),
        Event::RunEnded => plain("the run has ended"),
        _ => None,
    }
}

fn left(why: &RebaseRefusal) -> &str {
    match why {
        RebaseRefusal::UpToDate => "it is up to date",
        RebaseRefusal::Conflict { message }
        | RebaseRefusal::NotClean { message }
        | RebaseRefusal::Refused { message } => message,
    }
}

fn audited(findings: &[AuditFinding]) -> (u8, String) {
    let wrong: Vec<&str> = findings.iter().filter(|one| !one.holds).map(|one| one.words.as_str()).collect();
    if !wrong.is_empty() {
        return (31, format!("looked after the merge: {}", wrong.join("; ")));
    }
    let words: Vec<&str> = findings.iter().map(|one| one.words.as_str()).collect();
    (32, format!("looked after the merge: {}", words.join("; ")))
}

/// Returns an event in words together with what the run made of it: what was charged, begun, asked and ended. Nothing for
/// what is of no interest here.
pub(super) fn with_consequences(before: Option<&Run>, event: &Event, after: &Run) -> Option<String> {
    let mut parts: Vec<String> = of(event).map(|(_, words)| words).into_iter().collect();
    let Some(before) = before else { return parts.pop() };
    let mut consequences = Vec::new();
    if after.used.nudges > before.used.nudges {
        consequences.push(format!("reminded, {} of {}", after.used.nudges, after.policy.nudges));
    }
    if after.used.strikes > before.used.strikes {
        consequences.push(format!("strike {}", after.used.strikes));
    }
    if after.attempt > before.attempt {
        let how =
            if after.agent_session < after.attempt { "goes on with the agent's session" } else { "begins afresh" };
        consequences.push(format!("attempt {} {how}", after.attempt));
    }
    if before.stage.name() != after.stage.name() {
        match &after.stage {
            Stage::Escalated { why, .. } => consequences.push(format!("a person is asked: {why}")),
            Stage::Finishing { end: End::Blocked { why } } => consequences.push(format!("blocked: {why}")),
            Stage::Finishing { end: End::GivenBack { why } } => consequences.push(format!("given back: {why}")),
            Stage::Finishing { end: End::Refused { refusal, reason } } => {
                consequences.push(format!("refused ({}): {reason}", refusal.as_str()));
            }
            _ => {}
        }
    }
    if parts.is_empty() && !consequences.is_empty() {
        parts.push(match event {
            Event::TurnEnded { .. } => "the agent stopped without a phase".to_owned(),
            Event::TimePassed { timer } => format!("time is up: {}", in_words(*timer)),
            other => other.kind().to_owned(),
        });
    }
    parts.extend(consequences);
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn in_words(timer: Timer) -> &'static str {
    match timer {
        Timer::AgentTotal => "the agent's work",
        Timer::Ci => "CI",
        Timer::Review => "the review",
        Timer::Escalation => "the answer of a person",
        Timer::Stuck => "what rig does itself",
        Timer::UsageLimit => "the usage limit",
    }
}
