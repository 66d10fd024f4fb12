//! The state machine under everything that can happen: long random walks of possible events, and soups of any events.

use crate::{run_events, run_rules::malformed};
use proptest::prelude::*;
use rig::domain::{
    ci::CiVerdict,
    ids::{Attempt, EffectId, Seq},
    run::{Effect, Event, Fact, Run, Step, fold, step},
};

/// Walks from the claim, at each step by one of the possible facts. Returns the journal and the run.
fn walk(choices: &[u16]) -> (Vec<Fact>, Run) {
    let mut journal = vec![run_events::claim_at(Default::default(), jiff::Timestamp::UNIX_EPOCH)];
    let mut run = run_events::begun();
    for choice in choices {
        let mut facts = run_events::possible(&run);
        // Walks that go on show more than walks that end.
        if !run.stage.is_over() && choice % 32 != 0 {
            facts.retain(|fact| !matches!(step(&run, fact), Step::Moved { run, .. } if run.stage.is_over()));
        }
        let Some(fact) = facts.get(usize::from(choice / 32) % facts.len().max(1)) else { break };
        if let Step::Moved { run: moved, .. } = step(&run, fact) {
            assert!(
                !run.stage.is_over() || moved.stage.is_over(),
                "{:?} brings it back from {:?}",
                fact.event,
                run.stage
            );
            run = *moved;
            journal.push(fact.clone());
            merges_only_what_was_judged(&journal, &run);
            if let Some(what) = malformed(&run) {
                let kinds: Vec<_> = journal.iter().map(|fact| fact.event.kind()).collect();
                panic!("{what}\nafter {kinds:?}");
            }
        } else if fact.completes.is_some() {
            panic!("{:?} leaves its order standing in {:?}", fact.event, run.stage);
        }
    }
    (journal, run)
}

/// A merge is ordered only of the head at which CI was last seen green and which the gate, with its approvals, has passed
/// since; whatever moved, broke or was said meanwhile.
fn merges_only_what_was_judged(journal: &[Fact], run: &Run) {
    for head in run.pending.values().filter_map(|effect| match effect {
        Effect::Merge { head, .. } => Some(head),
        _ => None,
    }) {
        let mut verdicts = journal.iter().rev().filter_map(|fact| match &fact.event {
            Event::CiFinished { head: judged, verdict } if judged == head => Some(verdict),
            _ => None,
        });
        assert_eq!(verdicts.next(), Some(&CiVerdict::Green), "CI's last word on {head}");
        let passed = journal.iter().rposition(|fact| fact.event == Event::GatePassed { head: head.clone() });
        let passed = passed.unwrap_or_else(|| panic!("the gate has not passed {head}"));
        let green = journal
            .iter()
            .position(|fact| fact.event == Event::CiFinished { head: head.clone(), verdict: CiVerdict::Green });
        assert!(green.is_some_and(|green| green < passed), "{head} was not green when the gate passed it");
        let moved = journal[passed..]
            .iter()
            .any(|fact| matches!(&fact.event, Event::HeadMoved { head: other } if other != head));
        assert!(!moved, "the head has moved since {head} was judged");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_can_happen_leaves_a_run_that_makes_sense(choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let (journal, run) = walk(&choices);
        let stored: Vec<Fact> =
            journal.iter().map(|fact| serde_json::from_str(&serde_json::to_string(fact).unwrap()).unwrap()).collect();
        prop_assert_eq!(fold(&run.id, &stored), Some(run));
    }

    /// Answers to the wrong orders, of other attempts, twice, at any time: taken or ignored, never a panic.
    #[test]
    fn any_soup_of_events_is_taken(choices in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u8>()), 1..60)) {
        let mut kitchen: Vec<Fact> = Vec::new();
        let (_, sample) = walk(&choices.iter().map(|(choice, _, _)| *choice).collect::<Vec<_>>());
        let mut run = run_events::begun();
        for (choice, which, twist) in choices {
            kitchen.extend(run_events::possible(&run));
            kitchen.extend(run_events::possible(&sample));
            let mut fact = kitchen[usize::from(which) % kitchen.len()].clone();
            match twist % 5 {
                0 => fact.completes = None,
                1 => fact.completes = run.pending.keys().nth(usize::from(choice) % run.pending.len().max(1)).cloned(),
                2 => fact.completes = Some(EffectId { run: run.id.clone(), seq: Seq(9_999), index: 0 }),
                3 => fact.observed_ms = u64::MAX,
                _ => fact.at = jiff::Timestamp::MIN,
            }
            let before = run.clone();
            if let Step::Moved { run: moved, .. } = step(&run, &fact) {
                prop_assert_eq!(moved.seq, before.seq.next());
                prop_assert!(moved.changed_at >= before.changed_at);
                prop_assert!(moved.attempt >= before.attempt && moved.attempt < Attempt(200));
                prop_assert!(moved.stage.is_ended() || moved.stuck_told || !moved.deadlines().is_empty());
                run = *moved;
            }
        }
    }
}
