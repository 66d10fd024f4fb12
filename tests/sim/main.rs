//! A deterministic simulation of whole runs: the real state machine, gate and selection, in a world that forgets answers,
//! kills processes at any point, and holds people and agents of every kind. After the faults everything must come right.
//!
//! `RIG_SIM_SEEDS=N` tries N seeds, `RIG_SIM_SEED=S` one; the first that fails is told with its trace. With
//! `RIG_SIM_SURVEY=1` every seed that fails is named instead.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod agent;
mod dispatch;
mod driver;
mod forge;
mod observe;
mod oracle;
mod people;
mod rng;
#[path = "../support/run_rules.rs"]
mod run_rules;
mod scheduler;
mod sim;
mod tick;

use scheduler::{Report, simulate};
use sim::{Manner, Plan, Tooth};

/// Seeds of the default run: some seconds in a debug build.
const SEEDS: u64 = 300;

/// Seeds of the runs in which everybody does what they should, each with and without faults.
const DILIGENT_SEEDS: u64 = 100;

/// Seeds that failed once, and what they showed. What a seed draws changes with the simulation; the examples in
/// `tests/it/run_machine.rs` keep what they taught.
const FAILED_ONCE: &[(u64, &str)] = &[
    (6, "a word of a person before the survey started a session without a branch"),
    (8, "the same before the claim was confirmed"),
    (12, "the pull request was opened after the session was lost, and nobody waited for it"),
    (14, "a word of a person while the claim was confirmed"),
    (18, "CI's verdict came to a run that inspected again"),
    (22, "the order for CI stayed when the agent reported anew"),
    (28, "a pull request that was merged while the run heard nothing was opened a second time"),
    (39, "a run that was given back had its pull request merged by a tick, and began anew"),
    (69, "an answer on an issue whose run had left its escalation was never read"),
    (549, "an issue closed by the merge of an unheard pull request was taken for closed by a person"),
    (671, "as 549, with two issues"),
    (708, "an agent that had rested through an escalation was taken for quiet once it was answered"),
    (970, "as 28, after a review"),
    (2219, "a tick confirmed the claim of a run that a driver was giving back: the issue was left without a label"),
];

fn wild(seed: u64, tooth: Tooth) -> Plan {
    Plan { seed, manner: Manner::Wild, tooth, trace: false }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn fail_with_trace(plan: Plan, report: &Report) -> ! {
    let traced = simulate(Plan { trace: true, ..plan });
    panic!("seed {}:\n{}\n{:#?}", plan.seed, traced.trace.join("\n"), report.violations);
}

/// Simulates many plans, and fails with the trace of the first that went wrong.
fn all_come_right(plans: impl Iterator<Item = Plan>) -> Vec<Report> {
    plans
        .map(|plan| {
            let report = simulate(plan);
            if report.violations.is_empty() { report } else { fail_with_trace(plan, &report) }
        })
        .collect()
}

#[test]
fn everything_comes_right_after_any_faults() {
    let seeds: Vec<u64> = match (number_of("RIG_SIM_SEED"), number_of("RIG_SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count).collect(),
        (None, None) => (0..SEEDS).collect(),
    };
    if std::env::var_os("RIG_SIM_SURVEY").is_some() {
        return survey(&seeds);
    }
    let reports = all_come_right(seeds.iter().map(|seed| wild(*seed, Tooth::None)));
    let merges: u32 = reports.iter().map(|report| report.merges).sum();
    let events: usize = reports.iter().map(|report| report.events).sum();
    let least = u32::try_from(seeds.len() / 2).unwrap();
    assert!(seeds.len() < 100 || merges > least, "{merges} merges, {events} events: too little happens");
}

/// Fails with every seed that fails and the first thing that is wrong with it.
fn survey(seeds: &[u64]) {
    let first = |seed: &u64| simulate(wild(*seed, Tooth::None)).violations.into_iter().next();
    let wrong: Vec<String> =
        seeds.iter().filter_map(|seed| Some(format!("seed {seed}: {:.400}", first(seed)?))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_seed_that_ever_failed_comes_right() {
    all_come_right(FAILED_ONCE.iter().map(|(seed, _shown)| wild(*seed, Tooth::None)));
}

#[test]
fn deaths_and_lost_answers_change_nothing_on_the_forge() {
    let plan = |seed, faults| Plan { seed, manner: Manner::Diligent { faults }, tooth: Tooth::None, trace: false };
    for seed in 0..DILIGENT_SEEDS {
        let undisturbed = all_come_right(std::iter::once(plan(seed, false)));
        let disturbed = all_come_right(std::iter::once(plan(seed, true)));
        assert_eq!(undisturbed[0].summary, disturbed[0].summary, "seed {seed}");
    }
}

#[test]
fn every_break_on_purpose_is_noticed() {
    let breaks = [
        (Tooth::GateWithoutCi, "not green or not approved"),
        (Tooth::GateWithoutApprovals, "not green or not approved"),
        (Tooth::MergeUnnamed, "was judged"),
        (Tooth::DispatchBeforeAppend, "not in the journal"),
        (Tooth::NoAttemptFence, "is taken for lost and lives"),
        (Tooth::NoRunLock, "sessions live"),
        (Tooth::PostBlindly, "has a comment twice"),
        (Tooth::CloseOnWord, "is closed without a merge"),
    ];
    for (tooth, expected) in breaks {
        let noticed = (0..SEEDS)
            .flat_map(|seed| simulate(wild(seed, tooth)).violations)
            .position(|violation| violation.contains(expected));
        assert!(noticed.is_some(), "{tooth:?} is not noticed");
    }
}
