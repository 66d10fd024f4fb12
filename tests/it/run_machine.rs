//! The state machine by example: each row of the phase protocol, each limit, each timer, each thing that must not count.

mod reviews;

use crate::run_events::{PULL_REQUEST, after, begun, fact, reply, review, run_id, sha, surveyed, times};
use jiff::{SignedDuration, Timestamp};
use rig::domain::{
    ci::{CiVerdict, FailedStep},
    ids::{Attempt, EffectId, PullRequestNumber},
    phase::{Phase, PhaseReport},
    pull_request::Verdict,
    run::{
        AuditFinding, Due, Effect, End, Event, Fact, Ignored, IssueState, MergeRefusal, MessageKind, PersonWanted,
        Policy, RebaseRefusal, Refusal, Run, Session, Stage, Step, Timer, fold, settled_since, step,
    },
};

/// A run that is led by hand.
struct Led(Run);

impl Led {
    fn claimed() -> Self {
        Self(begun())
    }

    fn working() -> Self {
        let mut led = Self::claimed();
        led.answer(Event::ClaimConfirmed)
            .answer(surveyed(None))
            .start()
            .sees(Event::PromptTaken { attempt: Attempt(1), offset: 1 });
        led
    }

    fn awaiting_ci() -> Self {
        let mut led = Self::working();
        led.says(Phase::AwaitingCi)
            .stops()
            .pushed('a')
            .answer(Event::PullRequestOpened { number: PULL_REQUEST, head: sha('a') });
        led
    }

    fn awaiting_review() -> Self {
        let mut led = Self::awaiting_ci();
        led.ci('a', CiVerdict::Green);
        led
    }

    fn merging() -> Self {
        let mut led = Self::awaiting_review();
        led.sees(Event::GatePassed { head: sha('a') });
        led
    }

    /// Something is seen that answers no order.
    fn sees(&mut self, event: Event) -> &mut Self {
        self.0 = after(&self.0, &fact(&self.0, event, None));
        self
    }

    /// The order that the event fits is answered by it.
    fn answer(&mut self, event: Event) -> &mut Self {
        let fits = |effect: &Effect| match &event {
            Event::ClaimConfirmed | Event::ClaimLost { .. } => matches!(effect, Effect::ConfirmClaim),
            Event::PriorWorkSurveyed { .. } => matches!(effect, Effect::SurveyPriorWork),
            Event::SessionStarted { .. } => matches!(effect, Effect::StartSession { .. }),
            Event::BranchInspected { .. } => matches!(effect, Effect::InspectBranch { .. }),
            Event::PullRequestOpened { .. } => matches!(effect, Effect::OpenPullRequest { .. }),
            Event::CiFinished { .. } => matches!(effect, Effect::RunCi { .. }),
            Event::PromptTaken { .. } => matches!(effect, Effect::Deliver { .. }),
            Event::MergeRefused { .. } => matches!(effect, Effect::Merge { .. }),
            Event::NotMerged => matches!(effect, Effect::VerifyMerged),
            _ => true,
        };
        let found = self.0.pending.iter().find(|(_, effect)| fits(effect)).map(|(id, _)| id.clone());
        let id = found.unwrap_or_else(|| panic!("{event:?} answers nothing of {:?}", self.0.pending));
        self.0 = after(&self.0, &fact(&self.0, event, Some(id)));
        self
    }

    fn start(&mut self) -> &mut Self {
        let told: Vec<EffectId> = self
            .0
            .unfinished
            .iter()
            .map(|(id, _)| id.clone())
            .chain(self.0.messages().map(|(id, _)| id.clone()))
            .collect();
        let attempt = self.0.attempt;
        self.answer(Event::SessionStarted { attempt, told, boot: String::new(), not_copied: Vec::new() })
    }

    fn says(&mut self, phase: Phase) -> &mut Self {
        let report = PhaseReport { phase, reason: String::new() };
        let sighting = self.0.seq.0.to_string();
        self.sees(Event::PhaseReported { attempt: self.0.attempt, report, sighting, refusal: None })
    }

    fn takes(&mut self) -> &mut Self {
        let (attempt, offset) = (self.0.attempt, self.0.hooks_offset + 1);
        self.answer(Event::PromptTaken { attempt, offset })
    }

    fn stops(&mut self) -> &mut Self {
        let (attempt, offset) = (self.0.attempt, self.0.hooks_offset + 1);
        self.sees(Event::TurnEnded { attempt, offset, background_tasks: 0 })
    }

    fn is_lost(&mut self) -> &mut Self {
        self.sees(Event::SessionLost { attempt: self.0.attempt, how: "gone".into(), restarted: false })
    }

    fn inspected(&mut self, local: char, remote: Option<char>, ahead: u32) -> &mut Self {
        let Stage::Inspecting { phase } = self.0.stage else { panic!("{:?}", self.0.stage) };
        let (local, remote, base) = (sha(local), remote.map(sha), sha('0'));
        self.answer(Event::BranchInspected { phase, local, remote, base, ahead, uncommitted: 0 })
    }

    fn pushed(&mut self, head: char) -> &mut Self {
        self.inspected(head, Some(head), 1)
    }

    fn ci(&mut self, head: char, verdict: CiVerdict) -> &mut Self {
        self.answer(Event::CiFinished { head: sha(head), verdict })
    }

    fn refused(&mut self, why: MergeRefusal) -> &mut Self {
        self.answer(Event::MergeRefused { head: sha('a'), why })
    }

    fn stage(&self) -> &'static str {
        self.0.stage.name()
    }

    fn told(&self) -> Vec<MessageKind> {
        self.0.messages().map(|(_, message)| message.kind).collect()
    }

    fn ignores(&self, event: Event) -> Ignored {
        match step(&self.0, &fact(&self.0, event.clone(), None)) {
            Step::Ignored(why) => why,
            Step::Moved { run, .. } => panic!("{event:?} moves to {:?}", run.stage),
        }
    }

    fn orders(&self) -> Vec<&'static str> {
        self.0.pending.values().map(Effect::words).collect()
    }
}

fn red() -> CiVerdict {
    let step = FailedStep { name: "test".into(), exit_code: Some(1), log_tail: String::new(), link: String::new() };
    CiVerdict::Red { steps: vec![step] }
}

fn broken() -> CiVerdict {
    CiVerdict::Broken { why: "clone failed".into() }
}

fn changes(id: u64) -> Event {
    review(id, Verdict::ChangesRequested, &sha('a'))
}

#[test]
fn an_issue_becomes_a_merged_pull_request() {
    let mut led = Led::claimed();
    let mut stages = vec![led.stage()];
    let mut note = |led: &Led| stages.push(led.stage());
    note(led.answer(Event::ClaimConfirmed));
    note(led.answer(surveyed(None)));
    note(led.start());
    note(led.says(Phase::AwaitingCi));
    note(led.pushed('a'));
    note(led.answer(Event::PullRequestOpened { number: PULL_REQUEST, head: sha('a') }));
    note(led.ci('a', CiVerdict::Green));
    note(led.sees(review(1, Verdict::Approved, &sha('a'))));
    note(led.sees(Event::GatePassed { head: sha('a') }));
    note(led.sees(Event::Merged { pull_request: PULL_REQUEST, commit: Some(sha('f')) }));
    while !led.0.pending.is_empty() {
        let id = led.0.pending.keys().next().unwrap().clone();
        led.0 = after(&led.0, &fact(&led.0, Event::EffectDone, Some(id)));
    }
    note(led.sees(Event::RunEnded));
    assert_eq!(
        stages,
        [
            "claiming",
            "surveying",
            "starting",
            "working",
            "inspecting",
            "inspecting",
            "awaiting_ci",
            "awaiting_review",
            "awaiting_review",
            "merging",
            "finishing",
            "merged"
        ]
    );
}

#[test]
fn each_phase_does_its_own() {
    for (phase, stage, order) in [
        (Phase::AwaitingCi, "inspecting", "look at the branch"),
        (Phase::AwaitingReview, "inspecting", "look at the branch"),
        (Phase::Escalate, "escalated", ""),
        (Phase::Done, "working", "deliver a message"),
        (Phase::Failed, "finishing", "write the diagnosis"),
    ] {
        let mut led = Led::working();
        led.says(phase);
        assert_eq!(led.stage(), stage, "{phase}");
        assert!(order.is_empty() || led.orders().contains(&order), "{phase}: {:?}", led.orders());
    }
}

#[test]
fn done_is_believed_only_of_the_forge() {
    let mut led = Led::awaiting_ci();
    led.ci('a', red()).takes().says(Phase::Done);
    assert!(led.orders().contains(&"see whether it is merged"), "{:?}", led.orders());
    led.answer(Event::NotMerged);
    assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::NotMerged]));
}

#[test]
fn a_branch_that_is_not_ready_goes_back_to_the_agent() {
    for (local, remote, ahead) in [('a', None, 1), ('b', Some('a'), 2), ('0', Some('0'), 0)] {
        let mut led = Led::working();
        led.says(Phase::AwaitingCi).inspected(local, remote, ahead);
        assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::BranchNotReady]), "{local} {remote:?}");
    }
    let mut led = Led::awaiting_ci();
    led.ci('a', red()).takes().says(Phase::AwaitingCi).pushed('a');
    assert_eq!(led.told(), [MessageKind::BranchNotReady], "the head has not moved since CI failed there");
}

#[test]
fn an_unknown_phase_is_told_and_a_refusal_ends_the_run() {
    let mut led = Led::working();
    let (attempt, sighting) = (Attempt(1), "x".to_owned());
    led.sees(Event::PhaseMalformed { attempt, word: "finished".into(), sighting });
    assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::UnknownPhase]));
    for (refusal, label) in [
        (Refusal::TooLarge, IssueState::Underspecified),
        (Refusal::UnmetDependency, IssueState::Blocked),
        (Refusal::AlreadyDone, IssueState::Blocked),
    ] {
        let mut led = Led::working();
        let report = PhaseReport { phase: Phase::Failed, reason: String::new() };
        let refusal = Some((refusal, "because".to_owned()));
        led.sees(Event::PhaseReported { attempt, report, sighting: "y".into(), refusal });
        assert!(led.0.has_pending(|effect| *effect == Effect::SetState { state: label }), "{:?}", led.0.pending);
        assert!(!led.0.has_pending(|effect| matches!(effect, Effect::CloseIssue)), "{:?}", led.0.pending);
    }
}

#[test]
fn a_silent_agent_is_reminded_twice_then_replaced_then_a_human_is_asked() {
    let mut led = Led::working();
    for _ in 0..2 {
        led.stops();
        assert_eq!(led.told(), [MessageKind::Nudge]);
        led.takes();
    }
    led.stops();
    assert_eq!((led.stage(), led.0.attempt, led.0.used.strikes), ("starting", Attempt(2), 1));
    led.start().stops().takes().stops().takes().stops();
    assert_eq!((led.stage(), led.0.attempt), ("escalated", Attempt(2)));
}

#[test]
fn a_phase_or_a_message_in_the_turn_is_no_silence() {
    let mut led = Led::working();
    led.sees(reply("1")).stops();
    assert_eq!((led.told(), led.0.used.nudges), (vec![MessageKind::HumanReply], 0));
    led.takes().stops();
    assert_eq!((led.told(), led.0.used.nudges), (vec![MessageKind::Nudge], 1));
    let mut led = Led::working();
    led.sees(Event::TurnEnded { attempt: Attempt(1), offset: 2, background_tasks: 1 });
    assert!(led.told().is_empty(), "what runs in the background goes on");
}

#[test]
fn the_first_loss_resumes_the_second_asks() {
    let mut led = Led::working();
    led.is_lost();
    let resumes = |effect: &Effect| matches!(effect, Effect::StartSession { resume: Some(Attempt(1)), .. });
    assert!(led.0.has_pending(resumes), "{:?}", led.0.pending);
    led.start();
    // The resumed session dies before it takes its prompt: a fresh one, once, without a further strike.
    led.is_lost();
    assert!(led.0.has_pending(|effect| matches!(effect, Effect::StartSession { resume: None, .. })));
    assert_eq!(led.0.used.strikes, 1);
    led.start().is_lost();
    assert_eq!(led.stage(), "escalated");
}

#[test]
fn a_lost_attempt_is_told_again_what_it_had_not_finished() {
    let mut led = Led::awaiting_review();
    led.takes().stops().sees(changes(1)).takes().is_lost();
    assert_eq!(led.stage(), "starting");
    assert_eq!(led.0.unfinished.iter().map(|(_, message)| message.kind).collect::<Vec<_>>(), [MessageKind::Review]);
    led.start().takes_nothing_more();
}

impl Led {
    fn takes_nothing_more(&mut self) {
        assert!(self.told().is_empty(), "{:?}", self.told());
    }
}

#[test]
fn an_attempt_that_is_not_the_present_one_says_nothing() {
    let mut led = Led::working();
    led.is_lost().start();
    let (attempt, offset) = (Attempt(1), 99);
    for event in [
        Event::SessionLost { attempt, how: "gone".into(), restarted: false },
        Event::SessionStarted { attempt, told: Vec::new(), boot: String::new(), not_copied: Vec::new() },
        Event::PromptTaken { attempt, offset },
        Event::TurnEnded { attempt, offset, background_tasks: 0 },
        Event::TurnFailed { attempt, error: "overloaded".into(), offset, message: String::new() },
        Event::AgentQuiet { attempt, secs: 600 },
        Event::SessionNotReady { attempt, screen: "Choose a theme".into() },
        Event::DeliveryFailed { attempt, why: "never taken".into() },
        Event::PhaseMalformed { attempt, word: "x".into(), sighting: "x".into() },
    ] {
        assert_eq!(led.ignores(event), Ignored::StaleAttempt);
    }
}

#[test]
fn only_a_session_that_is_known_to_have_started_can_be_lost() {
    let mut led = Led::claimed();
    led.answer(Event::ClaimConfirmed).answer(surveyed(None));
    assert_eq!(
        led.ignores(Event::SessionLost { attempt: Attempt(1), how: "gone".into(), restarted: false }),
        Ignored::StaleAttempt
    );
}

#[test]
fn what_was_seen_counts_once() {
    let mut led = Led::awaiting_ci();
    led.sees(review(1, Verdict::Approved, &sha('a')));
    assert_eq!(led.ignores(review(1, Verdict::Approved, &sha('a'))), Ignored::Duplicate);
    led.sees(reply("comment-1"));
    assert_eq!(led.ignores(reply("comment-1")), Ignored::Duplicate);
    let offset = led.0.hooks_offset;
    assert_eq!(led.ignores(Event::PromptTaken { attempt: Attempt(1), offset }), Ignored::Duplicate);
    let mut led = Led::working();
    let report = PhaseReport { phase: Phase::Escalate, reason: String::new() };
    let written = Event::PhaseReported { attempt: Attempt(1), report, sighting: "7".into(), refusal: None };
    led.sees(written.clone());
    assert_eq!(led.ignores(written), Ignored::Duplicate);
}

#[test]
fn red_ci_is_worth_three_fixes_and_green_gives_them_back() {
    let mut led = Led::awaiting_ci();
    for (fix, (before, head)) in [('a', 'b'), ('b', 'c'), ('c', 'd')].into_iter().enumerate() {
        led.ci(before, red());
        assert_eq!((led.stage(), led.0.used.ci_fixes as usize), ("working", fix + 1));
        led.takes().says(Phase::AwaitingCi).stops().pushed(head);
    }
    let mut green = Led(led.0.clone());
    green.ci('d', CiVerdict::Green);
    assert_eq!((green.stage(), green.0.used.ci_fixes), ("awaiting_review", 0));
    led.ci('d', red());
    assert!(matches!(&led.0.stage, Stage::Finishing { end: End::Blocked { why } } if why.contains("3 fixes")));
}

#[test]
fn broken_ci_is_asked_again_later_and_costs_no_fix() {
    let mut led = Led::awaiting_ci();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        led.ci('a', broken());
        let when = led.0.pending.values().find_map(|effect| match effect {
            Effect::RunCi { not_before, .. } => *not_before,
            _ => None,
        });
        pauses.push(when.unwrap().duration_since(led.0.changed_at).as_secs());
    }
    assert_eq!((pauses, led.0.used.ci_fixes), (vec![30, 60, 120, 240, 480, 960], 0));
    led.ci('a', broken());
    assert_eq!(led.stage(), "escalated");
}

#[test]
fn a_verdict_of_another_commit_is_not_the_awaited_one() {
    let led = Led::awaiting_ci();
    assert_eq!(led.ignores(Event::CiFinished { head: sha('b'), verdict: CiVerdict::Green }), Ignored::StaleHead);
    let led = Led::awaiting_review();
    assert_eq!(led.ignores(Event::GatePassed { head: sha('b') }), Ignored::StaleHead);
    let mut led = Led::awaiting_ci();
    assert_eq!(led.ignores(Event::GatePassed { head: sha('a') }), Ignored::NotNow, "CI is not green yet");
    led.sees(Event::HeadMoved { head: sha('b') });
    assert!(led.0.has_pending(|effect| *effect == Effect::RunCi { head: sha('b'), not_before: None }));
    assert!(!led.0.has_pending(|effect| *effect == Effect::RunCi { head: sha('a'), not_before: None }));
}

#[test]
fn a_head_that_moves_withdraws_the_merge() {
    let mut led = Led::merging();
    led.sees(Event::HeadMoved { head: sha('b') });
    assert_eq!(led.stage(), "awaiting_ci");
    assert!(!led.orders().contains(&"merge"), "{:?}", led.orders());
}

#[test]
fn a_review_before_the_phase_is_delivered_all_the_same() {
    let mut led = Led::awaiting_ci();
    led.sees(changes(1));
    assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::Review]));
    assert!(!led.orders().contains(&"get the verdict of CI"));
    led.says(Phase::AwaitingReview).inspected('a', Some('a'), 1);
    assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::Review]), "it is heard before CI goes on");
}

#[test]
fn reviews_that_do_not_converge_ask_a_human() {
    let mut led = Led::awaiting_review();
    for round in 1..=6 {
        led.sees(changes(round));
        assert_eq!(led.stage(), "working", "round {round}");
    }
    led.sees(changes(7));
    assert_eq!(led.stage(), "escalated");
}

#[test]
fn a_review_during_the_merge_is_heard_when_the_merge_is_refused() {
    for lost in [false, true] {
        let mut led = Led::merging();
        if lost {
            led.is_lost();
        }
        led.sees(changes(1));
        assert_eq!(led.stage(), "merging");
        led.refused(MergeRefusal::NotReady { reasons: Vec::new() });
        assert_eq!(led.stage(), if lost { "starting" } else { "working" });
        assert!(led.told().contains(&MessageKind::Review));
    }
}

#[test]
fn each_refusal_of_a_merge_has_its_own_answer() {
    for (why, stage) in [
        (MergeRefusal::NotReady { reasons: Vec::new() }, "awaiting_review"),
        (MergeRefusal::TryAgain { message: String::new() }, "awaiting_review"),
        (MergeRefusal::Protected { message: String::new() }, "escalated"),
        (MergeRefusal::Conflict, "working"),
        (MergeRefusal::Outdated { message: String::new() }, "rebasing"),
    ] {
        let mut led = Led::merging();
        led.takes().stops().refused(why.clone());
        assert_eq!(led.stage(), stage, "{why:?}");
    }
}

#[test]
fn refusals_of_one_head_say_nothing_of_the_next_that_the_agent_pushes() {
    let mut led = Led::merging();
    led.takes().stops().refused(MergeRefusal::Conflict);
    assert!(led.0.merge_not_before.is_some() && led.0.used.merge_refusals == 1);
    led.takes().says(Phase::AwaitingCi).stops().pushed('b');
    assert_eq!((led.stage(), led.0.merge_not_before, led.0.used.merge_refusals), ("awaiting_ci", None, 0));
    led.ci('b', CiVerdict::Green).sees(Event::GatePassed { head: sha('b') });
    assert_eq!(led.stage(), "merging");
}

fn outdated() -> MergeRefusal {
    MergeRefusal::Outdated { message: "behind".into() }
}

#[test]
fn a_rebased_branch_goes_through_ci_and_review_again() {
    let mut led = Led::merging();
    led.takes().stops().refused(outdated());
    assert_eq!(led.orders(), ["bring the branch up to date"]);
    assert_eq!(led.ignores(Event::Rebased { old: sha('b'), new: sha('c') }), Ignored::NotNow);
    led.sees(Event::Rebased { old: sha('a'), new: sha('b') });
    assert_eq!((led.stage(), led.0.used.rebases), ("awaiting_ci", 1));
    assert_eq!(led.ignores(Event::GatePassed { head: sha('b') }), Ignored::NotNow);
    led.ci('b', CiVerdict::Green);
    // What the agent is told next says that its branch was moved; once.
    let told = led.0.messages().last().map(|(_, message)| message.text.clone()).unwrap();
    assert!(told.starts_with("Note: rig has brought your branch up to date"), "{told}");
    assert_eq!(led.0.moved, None);
    assert_eq!(led.ignores(Event::GatePassed { head: sha('a') }), Ignored::StaleHead);
    led.0.merge_not_before = None;
    led.sees(Event::GatePassed { head: sha('b') });
    assert_eq!(led.stage(), "merging");
}

#[test]
fn what_rig_cannot_rebase_is_the_agents_and_what_it_may_not_is_a_persons() {
    for (why, stage) in [
        (RebaseRefusal::UpToDate, "awaiting_review"),
        (RebaseRefusal::Conflict { message: "a".into() }, "working"),
        (RebaseRefusal::NotClean { message: "a".into() }, "working"),
        (RebaseRefusal::Refused { message: "a".into() }, "escalated"),
    ] {
        let mut led = Led::merging();
        led.takes().stops().refused(outdated()).sees(Event::RebaseFailed { head: sha('a'), why: why.clone() });
        assert_eq!(led.stage(), stage, "{why:?}");
    }
}

#[test]
fn a_branch_is_rebased_only_so_often_and_never_under_an_agent_at_work() {
    let mut led = Led::merging();
    led.takes().refused(outdated());
    assert_eq!((led.stage(), led.0.used.rebases), ("awaiting_review", 0), "the agent is in its turn");
    let mut led = Led::merging();
    led.takes().stops();
    led.0.used.rebases = led.0.policy.rebases;
    led.refused(outdated());
    assert_eq!(led.stage(), "escalated");
}

#[test]
fn what_is_not_well_after_a_merge_is_told_once_and_holds_no_slot_meanwhile() {
    for (holds, urgent) in [(true, 0), (false, 1)] {
        let mut led = Led::merging();
        led.0.policy.audit = true;
        led.sees(Event::Merged { pull_request: PULL_REQUEST, commit: None });
        while led.orders().len() > 1 {
            let next = led.0.pending.iter().find(|(_, effect)| !matches!(effect, Effect::Audit { .. }));
            let id = next.map(|(id, _)| id.clone()).unwrap();
            led.0 = after(&led.0, &fact(&led.0, Event::EffectDone, Some(id)));
        }
        assert!(!led.0.holds_slot() && led.orders() == ["look what the merge brought about"], "{:?}", led.0.pending);
        let id = led.0.pending.keys().next().cloned();
        let findings = vec![AuditFinding { item: "primary_ci".into(), holds, words: "CI on main".into() }];
        let Step::Moved { run, orders } = step(&led.0, &fact(&led.0, Event::MergeAudited { findings }, id)) else {
            panic!("the findings are taken");
        };
        let told = orders.iter().filter(|(_, effect)| matches!(effect, Effect::Notify { urgent: true, .. })).count();
        assert_eq!((told, run.pending.len()), (urgent, 0));
    }
}

#[test]
fn a_word_of_a_person_before_the_branch_is_known_waits_for_the_first_prompt() {
    let mut led = Led::claimed();
    led.sees(reply("1"));
    assert_eq!(led.stage(), "claiming");
    led.answer(Event::ClaimConfirmed).sees(reply("2"));
    assert_eq!((led.stage(), led.0.session), ("surveying", Session::Absent));
    let mut adopting = Led(led.0.clone());
    adopting.answer(surveyed(Some(sha('a'))));
    assert_eq!((adopting.stage(), adopting.0.pull_request), ("starting", Some(PULL_REQUEST)));
    led.answer(surveyed(None)).start();
    assert_eq!(led.0.unfinished.len(), 2);
}

#[test]
fn an_escalation_reminds_twice_and_then_blocks() {
    let mut led = Led::working();
    led.says(Phase::Escalate);
    let began = led.0.changed_at;
    assert!(!led.0.stage.holds_slot());
    for after_secs in [1_800, 14_400, 86_400] {
        let due = &times(&led.0)[0];
        assert_eq!(due.at.duration_since(began).as_secs(), after_secs);
        let early = Fact { at: due.at - SignedDuration::from_secs(1), ..due.clone() };
        assert_eq!(step(&led.0, &early), Step::Ignored(Ignored::NotNow));
        led.0 = after(&led.0, due);
    }
    assert!(matches!(led.0.stage, Stage::Finishing { end: End::Blocked { .. } }), "{:?}", led.0.stage);
}

/// Returns the urgent notices that an event orders.
fn urgent(run: &Run, fact: &Fact) -> Vec<String> {
    let Step::Moved { orders, .. } = step(run, fact) else { return Vec::new() };
    let text = |(_, effect): (EffectId, Effect)| match effect {
        Effect::Notify { text, urgent: true, .. } => Some(text),
        _ => None,
    };
    orders.into_iter().filter_map(text).collect()
}

fn asks_for_help(run: &Run) -> Fact {
    let report = PhaseReport { phase: Phase::Escalate, reason: "which colour?".into() };
    let sighting = run.seq.0.to_string();
    fact(run, Event::PhaseReported { attempt: run.attempt, report, sighting, refusal: None }, None)
}

#[test]
fn a_question_that_stands_is_asked_once_and_one_that_comes_back_says_so() {
    let mut led = Led::working();
    let asks = asks_for_help(&led.0);
    assert_eq!(urgent(&led.0, &asks), ["needs a human: which colour?"]);
    led.0 = after(&led.0, &asks);
    let first = times(&led.0)[0].clone();
    led.0 = after(&led.0, &first);
    let (since, asks) = (led.0.since, asks_for_help(&led.0));
    assert_eq!(urgent(&led.0, &asks), Vec::<String>::new());
    led.0 = after(&led.0, &asks);
    assert!(matches!(led.0.stage, Stage::Escalated { reminders: 1, .. }), "the clock goes on: {:?}", led.0.stage);
    assert_eq!(led.0.since, since);
    let reminder = times(&led.0)[0].clone();
    led.sees(reply("1"));
    let stale = step(&led.0, &reminder);
    assert_eq!(stale, Step::Ignored(Ignored::NotNow), "nothing of an answered escalation is said");
    let asks = asks_for_help(&led.0);
    assert_eq!(urgent(&led.0, &asks), ["needs a human once more, for the same reason as before: which colour?"]);
}

#[test]
fn an_answer_settles_what_was_asked_since_the_run_waited_and_a_reminder_settles_nothing() {
    let mut led = Led::working();
    let settled = |before: &Run, fact: &Fact| settled_since(before, &after(before, fact));
    let asks = asks_for_help(&led.0);
    assert_eq!(settled(&led.0, &asks), None);
    led.0 = after(&led.0, &asks);
    let (since, reminder) = (led.0.since, times(&led.0)[0].clone());
    assert_eq!(settled(&led.0, &reminder), None);
    led.0 = after(&led.0, &reminder);
    let answer = fact(&led.0, reply("1"), None);
    assert_eq!(settled(&led.0, &answer), Some(since), "with the reminder");
    // Rig's own gate asks for something too, which the answer does not give.
    let head = sha('7');
    led.0.head = Some(head.clone());
    led.0.person_wanted = Some(PersonWanted { head, files: Vec::new(), asked: String::new() });
    assert_eq!(settled(&led.0, &answer), None);
    led.0.head = Some(sha('8'));
    assert_eq!(settled(&led.0, &answer), Some(since), "of an older commit");
}

#[test]
fn of_two_answers_the_first_counts_and_both_are_told() {
    for order in [["a", "b", "a"], ["b", "a", "b"], ["a", "a", "b"]] {
        let mut led = Led::working();
        led.says(Phase::Escalate);
        for id in order {
            led.sees(reply(id));
        }
        assert_eq!(led.stage(), "working");
        assert_eq!(led.told(), [MessageKind::HumanReply; 2], "{order:?}");
        assert_eq!(led.0.escalations.len(), 1);
    }
}

#[test]
fn a_person_is_asked_once_a_commit_and_accepts_that_commit_only() {
    let mut led = Led::awaiting_review();
    let wanted = Event::PersonWanted { head: sha('a'), files: vec![".ci/run".into()] };
    assert_eq!(urgent(&led.0, &fact(&led.0, wanted.clone(), None)).len(), 1);
    led.sees(wanted.clone());
    assert_eq!(led.ignores(wanted), Ignored::Duplicate);
    let accepted = |id: &str, head| Event::HumanAccepted { id: id.into(), who: "ann".into(), head: sha(head) };
    led.sees(accepted("1", 'b'));
    assert!(led.0.accepted.is_empty());
    led.sees(accepted("2", 'a'));
    assert_eq!(led.ignores(accepted("2", 'a')), Ignored::Duplicate);
    led.sees(accepted("3", 'a'));
    assert_eq!(led.0.accepted.len(), 1);
    assert_eq!(led.stage(), "awaiting_review", "the gate decides");
    led.sees(Event::HeadMoved { head: sha('b') }).sees(accepted("4", 'a'));
    assert_eq!(led.0.accepted.len(), 1);
}

#[test]
fn an_answer_wakes_the_agent_and_forgives() {
    let mut led = Led::working();
    led.is_lost().start().says(Phase::Escalate).sees(reply("1"));
    assert_eq!((led.stage(), led.told(), led.0.used.strikes), ("working", vec![MessageKind::HumanReply], 0));
    let mut led = Led::working();
    led.says(Phase::Escalate).is_lost();
    assert_eq!(led.stage(), "escalated", "a session that dies while it waits is no matter");
    led.sees(reply("1"));
    assert_eq!((led.stage(), led.told()), ("starting", vec![MessageKind::HumanReply]));
}

#[test]
fn what_answers_an_order_of_another_stage_does_not_end_an_escalation() {
    let mut led = Led::awaiting_ci();
    led.ci('a', red()).takes().says(Phase::Done).says(Phase::Escalate).answer(Event::NotMerged);
    assert_eq!(led.stage(), "escalated");
    let mut led = Led::working();
    led.says(Phase::AwaitingCi).says(Phase::Escalate);
    assert!(!led.orders().contains(&"look at the branch"), "{:?}", led.orders());
    let failed = Event::DeliveryFailed { attempt: Attempt(1), why: "never taken".into() };
    assert_eq!(led.ignores(failed), Ignored::NotNow);
}

#[test]
fn observed_time_rests_while_nobody_watches_and_wall_time_does_not() {
    let led = Led::working();
    let late = led.0.changed_at + SignedDuration::from_hours(48);
    let passed =
        |observed_ms, timer| Fact { at: late, observed_ms, completes: None, event: Event::TimePassed { timer } };
    assert_eq!(step(&led.0, &passed(0, Timer::AgentTotal)), Step::Ignored(Ignored::NotNow));
    let spent = after(&led.0, &passed(7_200_000, Timer::AgentTotal));
    assert!(matches!(spent.stage, Stage::Finishing { end: End::Blocked { .. } }), "{:?}", spent.stage);
    let led = Led::awaiting_ci();
    assert_eq!(step(&led.0, &passed(0, Timer::Ci)), Step::Ignored(Ignored::NotNow));
    assert_eq!(after(&led.0, &passed(3_660_000, Timer::Ci)).stage.name(), "working");
    let led = Led::awaiting_review();
    assert_eq!(step(&led.0, &passed(u64::MAX, Timer::Review)), Step::Ignored(Ignored::NotNow));
    let week_later = Fact { at: led.0.changed_at + SignedDuration::from_hours(168), ..passed(0, Timer::Review) };
    assert_eq!(after(&led.0, &week_later).stage.name(), "escalated");
}

#[test]
fn a_clock_that_goes_back_moves_no_time() {
    let mut led = Led::working();
    let before = led.0.changed_at;
    led.0 = after(&led.0, &Fact { at: Timestamp::MIN, ..fact(&led.0, reply("1"), None) });
    assert_eq!(led.0.changed_at, before);
}

#[test]
fn a_run_ends_only_when_its_last_order_is_done_and_stays_ended() {
    let mut led = Led::merging();
    led.sees(Event::Merged { pull_request: PULL_REQUEST, commit: None });
    assert_eq!(
        led.orders(),
        [
            "push to the mirrors",
            "close the issue",
            "set the issue's label",
            "end the session",
            "remove the worktree",
            "delete the branch"
        ]
    );
    assert_eq!(led.ignores(Event::RunEnded), Ignored::NotNow);
    for event in [
        Event::DeliveryFailed { attempt: Attempt(1), why: "late".into() },
        Event::SessionLost { attempt: Attempt(1), how: "gone".into(), restarted: false },
        reply("1"),
        changes(1),
        Event::IssueClosed,
    ] {
        assert_eq!(led.ignores(event), Ignored::NotNow);
    }
    let mut led = Led::working();
    led.says(Phase::Failed);
    assert_eq!(led.orders(), ["write the diagnosis", "set the issue's label", "end the session"]);
}

#[test]
fn what_cannot_be_carried_out_blocks_and_at_the_end_is_told() {
    let mut led = Led::working();
    led.says(Phase::AwaitingCi);
    let id = led.0.pending.keys().next().unwrap().clone();
    let failed = fact(&led.0, Event::EffectFailed { error: "no branch".into() }, Some(id));
    led.0 = after(&led.0, &failed);
    assert!(matches!(led.0.stage, Stage::Finishing { end: End::Blocked { .. } }), "{:?}", led.0.stage);
    let id = led.0.pending.keys().next().unwrap().clone();
    let failed = fact(&led.0, Event::EffectFailed { error: "no rights".into() }, Some(id));
    let Step::Moved { run, orders } = step(&led.0, &failed) else { panic!("ignored") };
    assert_eq!((run.pending.len(), orders.len()), (2, 1));
    assert!(matches!(orders[0].1, Effect::Notify { urgent: true, .. }));
}

#[test]
fn a_new_policy_holds_from_now_on() {
    let mut led = Led::awaiting_ci();
    let policy = Policy { ci_fixes: 0, ..Policy::default() };
    led.sees(Event::PolicyAdopted { policy: policy.clone() });
    assert_eq!(led.ignores(Event::PolicyAdopted { policy }), Ignored::Duplicate);
    led.ci('a', red());
    assert!(led.0.stage.is_over(), "{:?}", led.0.stage);
}

#[test]
fn only_the_runs_own_pull_request_ends_it_when_it_is_closed() {
    let mut led = Led::awaiting_review();
    assert_eq!(led.ignores(Event::PullRequestClosed { pull_request: PullRequestNumber(8) }), Ignored::NotNow);
    led.sees(Event::PullRequestClosed { pull_request: PULL_REQUEST });
    assert!(matches!(led.0.stage, Stage::Finishing { end: End::Blocked { .. } }), "{:?}", led.0.stage);
}

#[test]
fn an_api_error_of_the_agent_backs_off_and_only_many_in_a_row_are_a_strike() {
    let mut led = Led::working();
    for _ in 0..5 {
        let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
        led.sees(Event::TurnFailed { attempt, error: "unknown".into(), offset, message: String::new() }).takes();
        assert_eq!(led.0.used.strikes, 0);
    }
    let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
    led.sees(Event::TurnFailed { attempt, error: "unknown".into(), offset, message: String::new() });
    assert_eq!((led.0.used.strikes, led.0.attempt), (1, Attempt(2)));
}

#[test]
fn a_limit_or_an_outage_of_the_agents_service_costs_no_attempt_however_long_it_lasts() {
    let mut led = Led::working();
    for _ in 0..50 {
        let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
        led.sees(Event::TurnFailed { attempt, error: "rate_limit".into(), offset, message: String::new() }).takes();
    }
    assert_eq!((led.0.used.strikes, led.0.attempt), (0, Attempt(1)));
}

#[test]
fn a_usage_limit_rests_everything_until_it_is_over_and_then_lets_the_agent_go_on() {
    let mut led = Led::working();
    let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
    let resets_at = led.0.changed_at.checked_add(SignedDuration::from_hours(3)).ok();
    led.sees(Event::UsageLimited { attempt, offset, message: String::new(), resets_at });
    let until = led.0.usage_limit.unwrap();
    assert!(until > resets_at.unwrap());
    assert_eq!(led.0.deadlines(), [(Timer::UsageLimit, Due::At(until))], "no other clock runs");
    assert_eq!(led.ignores(Event::AgentQuiet { attempt, secs: 7_200 }), Ignored::NotNow);
    let worked = led.0.used.agent_ms;
    let over = Fact {
        at: until,
        observed_ms: 10_000_000,
        completes: None,
        event: Event::TimePassed { timer: Timer::UsageLimit },
    };
    led.0 = after(&led.0, &over);
    assert_eq!((led.0.usage_limit, led.0.used.agent_ms), (None, worked));
    assert_eq!((led.stage(), led.told()), ("working", vec![MessageKind::Nudge]));
    led.takes();
    assert_eq!((led.0.used.strikes, led.0.used.respawns, led.0.attempt), (0, 0, Attempt(1)));
}

#[test]
fn a_usage_limit_that_comes_again_at_once_is_waited_for_longer_each_time_and_never_for_ever() {
    let mut led = Led::working();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
        led.sees(Event::UsageLimited { attempt, offset, message: String::new(), resets_at: None });
        pauses.push(led.0.usage_limit.unwrap().duration_since(led.0.changed_at).as_mins());
        assert_eq!(led.told(), [MessageKind::Nudge], "one message to go on");
        led.takes();
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60, 60, 60]);
    led.stops();
    assert_eq!(led.0.used.usage_limits, 0);
}

#[test]
fn a_person_who_asks_for_it_ends_the_wait_for_a_usage_limit_in_the_same_session() {
    let retry = |id: &str, fresh| Event::RetryRequested { id: id.into(), who: "acme".into(), fresh };
    let mut led = Led::working();
    assert_eq!(led.ignores(retry("0", false)), Ignored::NotNow, "one that works is left alone");
    let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
    led.sees(Event::UsageLimited { attempt, offset, message: String::new(), resets_at: None });
    led.sees(retry("1", false));
    assert_eq!((led.0.usage_limit, led.0.attempt, led.stage()), (None, attempt, "working"));
    assert_eq!(led.told(), [MessageKind::Nudge]);
    let due_now = led.0.messages().count() == 1
        && led.0.pending.values().all(|effect| !matches!(effect, Effect::Deliver { not_before: Some(_), .. }));
    assert!(due_now, "it is told at once");
    led.takes();
    let offset = led.0.hooks_offset + 1;
    led.sees(Event::UsageLimited { attempt, offset, message: String::new(), resets_at: None });
    led.sees(retry("2", true));
    assert_eq!((led.0.usage_limit, led.0.attempt), (None, attempt.next()), "a fresh one replaces it");
}

#[test]
fn a_start_waits_for_the_limit_of_another_session() {
    let mut led = Led::claimed();
    led.answer(Event::ClaimConfirmed).answer(surveyed(None));
    let until = led.0.changed_at.checked_add(SignedDuration::from_hours(1)).unwrap();
    led.sees(Event::UsagePaused { until });
    assert_eq!((led.stage(), led.0.deadlines()), ("starting", vec![(Timer::UsageLimit, Due::At(until))]));
    assert_eq!(led.ignores(Event::UsagePaused { until }), Ignored::NotNow);
    led.start();
    assert_eq!(led.stage(), "working");
}

#[test]
fn a_turn_that_nobody_ended_leaves_the_person_alone_before_it_is_asked_for_its_phase() {
    let mut led = Led::working();
    let attempt = led.0.attempt;
    led.sees(Event::AgentFoundIdle { attempt, secs: 45 });
    let hands_off = led.0.hands_off_until.unwrap();
    assert_eq!(hands_off.duration_since(led.0.changed_at).as_mins(), 10);
    assert_eq!((led.told(), led.0.busy, led.0.used.strikes), (vec![MessageKind::Nudge], false, 0));
    assert_eq!(led.ignores(Event::AgentFoundIdle { attempt, secs: 45 }), Ignored::NotNow);
    assert_eq!(led.ignores(Event::AgentQuiet { attempt, secs: 7_200 }), Ignored::NotNow);
    // The person types: rig has nothing more to say.
    let offset = led.0.hooks_offset + 1;
    led.sees(Event::PromptTaken { attempt, offset });
    assert!(led.told().is_empty() && led.0.hands_off_until.is_none());
}

#[test]
fn turns_that_nobody_ends_are_a_strike_after_the_reminders() {
    let mut led = Led::working();
    for _ in 0..3 {
        led.sees(Event::AgentFoundIdle { attempt: Attempt(1), secs: 45 });
        if led.0.attempt == Attempt(1) {
            led.takes();
        }
    }
    assert_eq!((led.0.used.strikes, led.0.attempt), (1, Attempt(2)));
}

#[test]
fn background_tasks_are_waited_for_and_not_for_ever() {
    let mut led = Led::working();
    let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
    led.sees(Event::TurnEnded { attempt, offset, background_tasks: 2 });
    assert!(led.0.busy && led.0.background && led.told().is_empty());
    led.sees(Event::AgentFoundIdle { attempt, secs: 900 });
    assert_eq!((led.0.busy, led.told(), led.0.hands_off_until), (false, vec![MessageKind::Nudge], None));
}

#[test]
fn a_restart_of_the_machine_is_no_strike_until_it_restarts_again_and_again() {
    let mut led = Led::working();
    for _ in 0..5 {
        let attempt = led.0.attempt;
        led.sees(Event::SessionLost { attempt, how: "restart".into(), restarted: true }).start();
        assert_eq!((led.0.used.strikes, led.0.used.respawns, led.0.agent_session), (0, 0, Attempt(1)));
    }
    let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
    led.sees(Event::PromptTaken { attempt, offset });
    led.sees(Event::SessionLost { attempt, how: "restart".into(), restarted: true });
    assert_eq!(led.0.used.strikes, 1);
}

#[test]
fn what_no_waiting_mends_reaches_a_person_at_once() {
    for error in ["authentication_failed", "billing_error", "invalid_request", "oauth_org_not_allowed"] {
        let mut led = Led::working();
        let (attempt, offset) = (led.0.attempt, led.0.hooks_offset + 1);
        led.sees(Event::TurnFailed { attempt, error: error.into(), offset, message: "no".into() });
        assert_eq!((led.stage(), led.0.used.strikes), ("escalated", 0), "{error}");
    }
}

#[test]
fn a_refused_merge_waits_before_the_next_try_and_an_approval_ends_the_wait() {
    let mut led = Led::merging();
    led.refused(MergeRefusal::NotReady { reasons: vec!["two approvals are wanted".into()] });
    assert_eq!(led.stage(), "awaiting_review");
    assert_eq!(led.ignores(Event::GatePassed { head: sha('a') }), Ignored::NotNow);
    let later = Fact {
        at: led.0.changed_at + SignedDuration::from_secs(5),
        observed_ms: 0,
        completes: None,
        event: Event::GatePassed { head: sha('a') },
    };
    assert_eq!(after(&led.0, &later).stage.name(), "merging");
    led.sees(review(5, Verdict::Approved, &sha('a'))).sees(Event::GatePassed { head: sha('a') });
    assert_eq!(led.stage(), "merging");
}

#[test]
fn refused_merges_do_not_renew_the_time_that_a_review_may_take() {
    let mut led = Led::merging();
    let began = led.0.review_since;
    led.refused(MergeRefusal::TryAgain { message: "still checking".into() });
    assert!(began.is_some());
    assert_eq!(led.0.review_since, began);
}

#[test]
fn an_escalation_that_a_merge_interrupted_stands_again_when_the_merge_is_refused() {
    let mut led = Led::awaiting_review();
    led.says(Phase::Escalate);
    let (asked, since) = (led.0.stage.clone(), led.0.since);
    led.sees(Event::GatePassed { head: sha('a') });
    assert_eq!(led.stage(), "merging");
    led.refused(MergeRefusal::TryAgain { message: "later".into() });
    assert_eq!((led.0.stage.clone(), led.0.since), (asked, since));
}

#[test]
fn somebody_elses_push_to_an_escalated_run_is_judged_like_any_other() {
    let mut led = Led::awaiting_review();
    led.says(Phase::Escalate).stops();
    led.sees(Event::HeadMoved { head: sha('b') });
    assert_eq!(led.0.stage, Stage::AwaitingCi { head: sha('b') });
}

#[test]
fn what_the_agent_pushed_before_it_asked_leaves_the_question_standing() {
    let mut led = Led::awaiting_review();
    led.says(Phase::Escalate).stops();
    let (asked, since) = (led.0.stage.clone(), led.0.since);
    led.sees(Event::OwnPushSeen { head: sha('b') });
    assert_eq!((led.0.stage.clone(), led.0.since, led.0.head.clone()), (asked, since, Some(sha('b'))));
    assert_eq!(led.ignores(Event::OwnPushSeen { head: sha('b') }), Ignored::Duplicate);
    assert_eq!(Led::awaiting_review().ignores(Event::OwnPushSeen { head: sha('b') }), Ignored::NotNow);
}

fn held(head: char, codes: &[&str]) -> Event {
    let codes = codes.iter().map(|code| (*code).to_owned()).collect();
    Event::GateHeld { head: sha(head), codes, words: "it is a draft".into() }
}

#[test]
fn people_are_told_once_of_what_keeps_an_approved_head_from_its_merge() {
    let mut led = Led::awaiting_review();
    assert_eq!(urgent(&led.0, &fact(&led.0, held('a', &["draft"]), None)).len(), 1, "somebody must act");
    led.sees(held('a', &["draft"]));
    assert_eq!((led.stage(), led.ignores(held('a', &["draft"]))), ("awaiting_review", Ignored::Duplicate));
    let more = held('a', &["closes_missing", "draft"]);
    assert_eq!(urgent(&led.0, &fact(&led.0, more, None)).len(), 1, "it is more now");
    assert_eq!(led.ignores(held('b', &["draft"])), Ignored::StaleHead);
    assert_eq!(Led::awaiting_ci().ignores(held('a', &["draft"])), Ignored::StaleHead);
}

#[test]
fn ci_that_changes_its_mind_about_a_head_that_waits_for_review_is_followed() {
    let mut led = Led::awaiting_review();
    assert!(urgent(&led.0, &fact(&led.0, held('a', &["ci_red"]), None)).is_empty(), "the agent sees to it");
    led.sees(held('a', &["ci_red"]));
    assert_eq!((led.stage(), led.0.green_at.clone()), ("awaiting_ci", None));
    led.ci('a', red());
    assert_eq!((led.stage(), led.0.used.ci_fixes), ("working", 1));
    // Red, green, and red again: each time it counts.
    let mut led = Led::awaiting_review();
    led.sees(held('a', &["ci_pending"])).ci('a', CiVerdict::Green);
    assert_eq!(led.stage(), "awaiting_review");
    led.sees(held('a', &["ci_pending"]));
    assert_eq!(led.stage(), "awaiting_ci");
}

#[test]
fn a_merge_into_another_branch_is_for_people_to_look_at() {
    let mut led = Led::awaiting_review();
    led.sees(Event::MergedElsewhere { pull_request: PULL_REQUEST, into: "release-1.2".into() });
    assert!(matches!(&led.0.stage, Stage::Finishing { end: End::Blocked { why } } if why.contains("`release-1.2`")));
}

#[test]
fn what_rig_cannot_get_done_for_hours_is_told_and_then_given_up() {
    let pass = |run: &Run, secs: u64| {
        let event = Event::TimePassed { timer: Timer::Stuck };
        after(run, &Fact { at: run.changed_at, observed_ms: secs * 1_000, completes: None, event })
    };
    let told = pass(&Led::merging().0, 1_800);
    assert!(told.stuck_told && told.stage.name() == "merging");
    assert_eq!(pass(&told, 9_000).stage.name(), "escalated");
    let mut led = Led::claimed();
    led.sees(Event::IssueClosed);
    let told = pass(&led.0, 1_800);
    let given_up = pass(&told, 9_000);
    assert!(given_up.pending.is_empty(), "{:?}", given_up.pending);
    assert!(after(&given_up, &fact(&given_up, Event::RunEnded, None)).stage.is_ended());
}

#[test]
fn the_same_red_head_is_not_charged_again_whatever_the_agent_calls_it() {
    for phase in [Phase::AwaitingCi, Phase::AwaitingReview] {
        let mut led = Led::awaiting_ci();
        led.ci('a', red()).takes().says(phase).pushed('a');
        assert_eq!((led.stage(), led.0.used.ci_fixes), ("working", 1), "{phase}");
        assert_eq!(led.told(), [MessageKind::BranchNotReady]);
    }
}

/// A journal of the first version, as it was stored. It must fold to the same for ever.
#[test]
fn a_journal_of_version_1_folds_as_ever() {
    let stored = include_str!("../fixtures/journal-v1.jsonl");
    let facts: Vec<Fact> = stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let run = fold(&run_id(), &facts).unwrap();
    assert!(matches!(&run.stage, Stage::Ended { end: End::Merged { commit } } if *commit == Some(sha('f'))));
    assert_eq!((run.seq.0 as usize, run.attempt, run.pull_request), (facts.len(), Attempt(2), Some(PULL_REQUEST)));
    assert_eq!((run.used.respawns, run.used.reviews, run.used.strikes), (1, 1, 1));
}

#[test]
fn a_merge_under_way_is_not_broken_off_for_a_message() {
    let led = Led::merging();
    assert_eq!(led.told(), [MessageKind::CiPassed]);
    let failed = Event::DeliveryFailed { attempt: Attempt(1), why: "never taken".into() };
    assert_eq!(led.ignores(failed), Ignored::NotNow);
}
