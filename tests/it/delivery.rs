//! When a message is typed into a session, across drivers: what one of them has typed, the next does not type again while the
//! agent may still take it.

use crate::{
    root_support::TestRoot,
    run_events::{after, begun, fact, reply, run_id, surveyed},
};
use jiff::{SignedDuration, Timestamp};
use rig::{
    adapters::run_files::LocalRunFiles,
    domain::{
        ids::{Attempt, EffectId},
        run::{Effect, Event, Run},
    },
    engine::deliver::{Delivery, Next, Typed},
    ports::run_files::RunFiles,
};
use std::time::Duration;

/// Monotonic time at which the driver in question begins; wall time is the run's own.
const NOW: Duration = Duration::from_secs(1_000);

/// A run whose idle agent is to be told something.
fn run_with_a_message() -> Run {
    let mut run = begun();
    for event in [
        Event::ClaimConfirmed,
        surveyed(None),
        Event::SessionStarted { attempt: Attempt(1), told: Vec::new(), not_copied: Vec::new(), boot: String::new() },
        Event::PromptTaken { attempt: Attempt(1), offset: 1 },
        Event::TurnEnded { attempt: Attempt(1), offset: 2, background_tasks: 1 },
        reply("7"),
    ] {
        let order = run.pending.iter().find(|(_, effect)| answers(&event, effect)).map(|(id, _)| id.clone());
        run = after(&run, &fact(&run, event, order));
    }
    run.busy = false;
    run
}

fn answers(event: &Event, effect: &Effect) -> bool {
    matches!(
        (event, effect),
        (Event::ClaimConfirmed, Effect::ConfirmClaim)
            | (Event::PriorWorkSurveyed { .. }, Effect::SurveyPriorWork)
            | (Event::SessionStarted { .. }, Effect::StartSession { .. })
    )
}

fn files(root: &TestRoot) -> LocalRunFiles {
    let run = run_with_a_message();
    LocalRunFiles::open(root.root().run(&run.project, run.issue), run_id()).unwrap()
}

fn message(run: &Run) -> EffectId {
    run.messages().next().expect("it has a message").0.clone()
}

/// What a driver that has just begun does first.
fn first_step(files: &LocalRunFiles, run: &Run, wall: Timestamp) -> Next {
    Delivery::default().next(run, files, NOW, wall)
}

#[test]
fn what_nobody_has_typed_is_typed_at_once() {
    let root = TestRoot::new();
    let (files, run) = (files(&root), run_with_a_message());
    assert!(matches!(first_step(&files, &run, run.changed_at), Next::Type { .. }));
}

#[test]
fn a_line_that_an_earlier_driver_typed_is_waited_for_as_long_as_an_own_one() {
    let root = TestRoot::new();
    let (files, run) = (files(&root), run_with_a_message());
    let (id, at) = (message(&run), run.changed_at);
    files.note_typed(&id, run.attempt, at).unwrap();
    let seconds = |seconds| at + SignedDuration::from_secs(seconds);
    assert_eq!(first_step(&files, &run, seconds(3)), Next::Wait(Duration::from_secs(7)));
    assert!(matches!(first_step(&files, &run, seconds(10)), Next::Type { .. }));
    assert_eq!(first_step(&files, &run, seconds(-60)), Next::Wait(Duration::from_secs(10)), "a clock that went back");
    // Its own one.
    let mut delivery = Delivery::default();
    assert!(matches!(delivery.next(&run, &files, NOW, seconds(11)), Next::Type { .. }));
    delivery.typed(&id, Typed::Submitted, NOW);
    assert_eq!(delivery.next(&run, &files, NOW, seconds(11)), Next::Wait(Duration::from_secs(10)));
}

#[test]
fn a_line_typed_into_the_session_of_an_earlier_attempt_is_waited_for_by_nobody() {
    let root = TestRoot::new();
    let (files, run) = (files(&root), run_with_a_message());
    files.note_typed(&message(&run), Attempt(7), run.changed_at).unwrap();
    assert!(matches!(first_step(&files, &run, run.changed_at), Next::Type { .. }));
}

#[test]
fn a_note_that_is_garbage_is_no_note() {
    let root = TestRoot::new();
    let (files, run) = (files(&root), run_with_a_message());
    let note = root.root().run(&run.project, run.issue).inbox().join(format!("{}.typed", message(&run)));
    std::fs::create_dir_all(note.parent().unwrap()).unwrap();
    for garbage in ["", "1", "1 yesterday", "x 2026-01-01T00:00:00Z"] {
        std::fs::write(&note, garbage).unwrap();
        assert!(matches!(first_step(&files, &run, run.changed_at), Next::Type { .. }), "{garbage:?}");
    }
}
