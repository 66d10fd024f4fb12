//! Reviews that say again what was said: by another way, or in the next round.

use super::*;
use rig::domain::{ids::Login, run::Run};
use std::collections::BTreeSet;

fn found(id: u64, who: &str, verdict: Verdict, commit: char, findings: &[&str]) -> Event {
    let findings: BTreeSet<String> = findings.iter().map(|finding| (*finding).to_owned()).collect();
    let (reviewer, commit) = (Login::new(who).unwrap(), Some(sha(commit)));
    Event::ReviewReceived { id, reviewer, verdict, commit, text: format!("review {id}"), findings }
}

fn asks(id: u64, commit: char, findings: &[&str]) -> Event {
    found(id, "ann", Verdict::ChangesRequested, commit, findings)
}

/// After a round about `a`, at the next commit, `b`.
fn after_a_round(findings: &[&str]) -> Led {
    let mut led = Led::awaiting_ci();
    led.sees(asks(1, 'a', findings));
    led.takes().says(Phase::AwaitingCi).stops().pushed('b').ci('b', CiVerdict::Green);
    assert_eq!(led.stage(), "awaiting_review");
    led
}

#[test]
fn the_same_verdict_by_a_review_and_a_marker_comment_is_told_once() {
    let mut led = Led::awaiting_ci();
    led.sees(asks(1, 'a', &["x", "y"])).sees(asks(2, 'a', &["x"]));
    assert_eq!((led.told(), led.0.used.reviews), (vec![MessageKind::Review], 1));
    assert_eq!(led.ignores(asks(2, 'a', &["x"])), Ignored::Duplicate);
    led.sees(asks(3, 'a', &["x", "z"]));
    assert_eq!((led.told().len(), led.stage()), (2, "working"), "what is new is told, also of the same commit");
}

#[test]
fn a_round_that_finds_only_what_the_last_one_found_is_for_people() {
    for (again, stage) in [
        (&["x", "y"][..], "escalated"),
        (&["y"], "escalated"),
        (&["y", "z"], "working"),
        (&["z"], "working"),
        (&[], "working"),
    ] {
        let mut led = after_a_round(&["x", "y"]);
        led.sees(asks(2, 'b', again));
        assert_eq!(led.stage(), stage, "{again:?}");
        assert!(led.told().contains(&MessageKind::Review), "the agent hears it when a person has answered");
    }
}

#[test]
fn another_reviewer_may_find_the_same_and_an_approval_ends_the_comparison() {
    let mut led = after_a_round(&["x"]);
    led.sees(found(2, "bob", Verdict::ChangesRequested, 'b', &["x"]));
    assert_eq!(led.stage(), "working");
    let mut led = after_a_round(&["x"]);
    led.sees(found(2, "ann", Verdict::Approved, 'b', &[])).sees(found(
        3,
        "Ann",
        Verdict::ChangesRequested,
        'b',
        &["x"],
    ));
    assert_eq!(led.stage(), "working");
    let mut led = after_a_round(&["x"]);
    led.sees(found(2, "ANN", Verdict::ChangesRequested, 'b', &["x"]));
    assert_eq!(led.stage(), "escalated", "names do not differ by their case");
}

#[test]
fn journals_of_before_have_no_findings_and_repeat_nothing() {
    let mut led = after_a_round(&[]);
    led.sees(asks(2, 'b', &[]));
    assert_eq!(led.stage(), "working");
}

fn held() -> CiVerdict {
    CiVerdict::Held { why: "pipeline 9 waits for approval".into() }
}

fn is_asked(run: &Run) -> bool {
    run.has_pending(|effect| matches!(effect, Effect::RunCi { .. }))
}

#[test]
fn ci_that_a_person_lets_go_on_needs_no_answer_to_rig() {
    let mut led = Led::awaiting_ci();
    led.ci('a', held());
    assert_eq!((led.stage(), led.0.escalations.len(), is_asked(&led.0)), ("escalated", 1, true));
    led.ci('a', held());
    assert_eq!((led.0.escalations.len(), is_asked(&led.0)), (1, true), "asked once");
    let mut green = Led(led.0.clone());
    green.ci('a', CiVerdict::Green);
    assert_eq!((green.stage(), green.0.green_at.clone()), ("awaiting_review", Some(sha('a'))));
    let mut red_now = Led(led.0.clone());
    red_now.ci('a', red());
    assert_eq!((red_now.stage(), red_now.told()), ("working", vec![MessageKind::CiFailed]));
    led.sees(changes(1));
    let mut reviewed = Led(led.0.clone());
    reviewed.ci('a', CiVerdict::Green);
    assert_eq!(reviewed.stage(), "working", "what came meanwhile is heard first");
    led.sees(reply("r"));
    assert_eq!((led.stage(), is_asked(&led.0)), ("working", false), "a person's answer goes first");
}

#[test]
fn where_no_check_is_known_a_person_is_asked_once_and_the_first_check_goes_on() {
    let mut led = Led::awaiting_ci();
    for _ in 0..2 {
        led.ci('a', CiVerdict::no_check_known().after(SignedDuration::from_mins(10)));
        assert_eq!((led.stage(), led.0.escalations.len(), is_asked(&led.0)), ("escalated", 1, true));
    }
    assert!(led.0.escalations[0].contains("required_contexts"), "{:?}", led.0.escalations);
    led.ci('a', CiVerdict::Green);
    assert_eq!(led.stage(), "awaiting_review");
}

#[test]
fn ci_of_another_escalation_is_not_asked() {
    let mut led = Led::awaiting_review();
    led.says(Phase::Escalate);
    assert_eq!((led.stage(), is_asked(&led.0)), ("escalated", false));
    assert_eq!(led.ignores(Event::CiFinished { head: sha('a'), verdict: CiVerdict::Green }), Ignored::StaleHead);
}

#[test]
fn used_up_fixes_end_in_one_diagnosis_one_label_and_one_notice() {
    let mut led = Led::awaiting_ci();
    for (before, head) in [('a', 'b'), ('b', 'c'), ('c', 'd')] {
        led.ci(before, red());
        led.takes().says(Phase::AwaitingCi).stops().pushed(head);
    }
    let id = led.0.pending.iter().find(|(_, effect)| matches!(effect, Effect::RunCi { .. })).unwrap().0.clone();
    let verdict = Event::CiFinished { head: sha('d'), verdict: red() };
    let Step::Moved { run, orders } = step(&led.0, &fact(&led.0, verdict, Some(id))) else { panic!("ignored") };
    let count = |matches: fn(&Effect) -> bool| orders.iter().filter(|(_, effect)| matches(effect)).count();
    assert_eq!(count(|effect| matches!(effect, Effect::Diagnose { .. })), 1);
    assert_eq!(count(|effect| matches!(effect, Effect::SetState { state: IssueState::Blocked })), 1);
    assert_eq!(count(|effect| matches!(effect, Effect::Notify { .. })), 1);
    assert_eq!(run.used.ci_fixes, 3, "charged once for each launch");
}

#[test]
fn a_lost_session_does_not_give_fixes_back() {
    let mut led = Led::awaiting_ci();
    led.ci('a', red());
    led.is_lost();
    assert_eq!(led.0.used.ci_fixes, 1);
    led.start();
    assert_eq!((led.stage(), led.0.used.ci_fixes), ("working", 1));
}
