//! Events in words, for people: the same in the demo's timeline and in the log of an issue.

use crate::domain::{ci::CiVerdict, phase::Phase, pull_request::Verdict, run::Event};

/// Returns an event in words with a colour, or nothing for what is of no interest here.
pub(super) fn of(event: &Event) -> Option<(u8, String)> {
    let plain = |text: &str| Some((0, text.to_owned()));
    match event {
        Event::IssueClaimed { title, .. } => Some((1, format!("claimed: {title}"))),
        Event::SessionStarted { attempt, .. } => Some((0, format!("session started, attempt {attempt}"))),
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
        Event::MergeRefused { .. } => Some((33, "the merge was refused; judged anew".into())),
        Event::EffectFailed { error } => Some((31, error.clone())),
        Event::ClaimLost { to } => Some((33, format!("another claim was there first: {to}"))),
        Event::DeliveryFailed { why, .. } => Some((33, format!("a message could not be brought to the agent: {why}"))),
        Event::TurnFailed { error, .. } => Some((33, format!("the agent's turn failed: {error}"))),
        Event::PhaseMalformed { word, .. } => Some((33, format!("the agent wrote `{word}`, which is no phase"))),
        Event::NotMerged => Some((33, "the agent says done, and the forge says not merged".into())),
        Event::PullRequestClosed { pull_request } => Some((33, format!("pull request {pull_request} was closed"))),
        Event::IssueClosed => Some((33, "the issue was closed".into())),
        Event::HumanReplied { who, .. } => Some((0, format!("{who} replied; told to the agent"))),
        Event::StopRequested { who } => Some((33, format!("{who} asked to stop"))),
        Event::RunEnded => plain("the run has ended"),
        _ => None,
    }
}
