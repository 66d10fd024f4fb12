//! What must hold of every run after every event, by itself.

use rig::domain::run::{Effect, MessageKind, Run, Session as Known, Stage};

/// Returns what is wrong with a run by itself: an order that nobody waits for, a wait that nothing answers.
pub(crate) fn malformed(run: &Run) -> Option<String> {
    let pending = |matches: fn(&Effect) -> bool| run.has_pending(matches);
    let starts = pending(|effect| matches!(effect, Effect::StartSession { .. }));
    let inspects = pending(|e| matches!(e, Effect::InspectBranch { .. } | Effect::OpenPullRequest { .. }));
    let ci = pending(|effect| matches!(effect, Effect::RunCi { .. }));
    let merges = pending(|effect| matches!(effect, Effect::Merge { .. }));
    let rebases = pending(|effect| matches!(effect, Effect::Rebase { .. }));
    let told = run.messages().any(|(_, message)| message.kind != MessageKind::CiPassed);
    let begins = matches!(run.stage, Stage::Claiming | Stage::Surveying);
    let rests = matches!(run.stage, Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Inspecting { .. });
    let rules = [
        ("a deadline, or people know", run.stage.is_ended() || run.stuck_told || !run.deadlines().is_empty()),
        ("claiming has its order", run.stage != Stage::Claiming || pending(|e| matches!(e, Effect::ConfirmClaim))),
        ("surveying has its order", run.stage != Stage::Surveying || pending(|e| matches!(e, Effect::SurveyPriorWork))),
        ("no session without a branch", !starts || run.branch.is_some()),
        ("starting has its order", run.stage != Stage::Starting || starts),
        ("a start is of the present attempt", starts == (run.session == Known::Starting) || run.stage.is_over()),
        ("working has a session", run.stage != Stage::Working || run.session == Known::Started),
        ("inspecting is in its stage", inspects == matches!(run.stage, Stage::Inspecting { .. })),
        ("CI is asked in its stage", ci || !matches!(run.stage, Stage::AwaitingCi { .. })),
        (
            "CI is asked in no other stage, but while a person has to let it go on",
            !ci || matches!(run.stage, Stage::AwaitingCi { .. } | Stage::Escalated { .. }),
        ),
        ("the merge is in its stage", merges == matches!(run.stage, Stage::Merging { .. })),
        ("the rebase is in its stage", rebases == matches!(run.stage, Stage::Rebasing { .. })),
        ("what is to be told has somebody to be told", !(rests && told && run.session == Known::Absent)),
        ("nothing is told before the start", !(begins && starts)),
        ("nothing is told after the end", !(run.stage.is_over() && (starts || told))),
    ];
    rules.iter().find(|(_, holds)| !holds).map(|(rule, _)| {
        format!("broken: {rule}; stage {:?}, session {:?}, pending {:?}", run.stage, run.session, run.pending)
    })
}
