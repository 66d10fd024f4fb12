//! Keeps docs/state-machine.md what the code says: explores everything that can happen to a run and writes down which
//! stage leads where. `RIG_UPDATE_DOCS=1` rewrites the page.

use crate::run_events::{claim_at, possible, run_id};
use jiff::Timestamp;
use rig::domain::run::{Due, Policy, Run, Session, Stage, Step, begin, step};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
};

/// Transitions: from, to, by which kinds of events.
type Transitions = BTreeMap<(String, String), BTreeSet<&'static str>>;

/// In the order in which a run that goes well passes them.
const STAGES: [(&str, &str); 10] = [
    ("claiming", "The journal has the claim; the forge is being told."),
    ("surveying", "Earlier work on the issue is looked for."),
    ("starting", "A session is being started."),
    ("working", "The agent works, or has to be told something first."),
    ("inspecting", "The agent says that its branch is ready; rig looks, and opens the pull request."),
    ("awaiting_ci", "CI judges the head."),
    ("awaiting_review", "CI is green at the head; the gate waits for reviews."),
    ("merging", "The gate passed; the merge is under way."),
    ("escalated", "A person was asked."),
    ("finishing", "The end is decided; what it takes is being done."),
];

#[test]
fn the_page_on_the_state_machine_is_what_the_code_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/state-machine.md");
    let page = page(&explore());
    if std::env::var_os("RIG_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/state-machine.md is out of date: run this test with RIG_UPDATE_DOCS=1");
}

struct Explored {
    transitions: Transitions,
    deadlines: BTreeMap<String, BTreeSet<String>>,
}

/// Walks over all situations that differ in what decides, each once.
fn explore() -> Explored {
    // Small limits, so that what happens when they are used up is near.
    let policy = Policy { ci_fixes: 1, review_rounds: 1, respawns: 1, nudges: 1, rebases: 1, ..Policy::default() };
    let (first, _) = begin(&run_id(), &claim_at(policy, Timestamp::UNIX_EPOCH)).unwrap();
    let mut explored = Explored { transitions: BTreeMap::new(), deadlines: BTreeMap::new() };
    let mut seen = BTreeSet::from([situation(&first)]);
    let mut queue = VecDeque::from([first]);
    while let Some(run) = queue.pop_front() {
        let names = run.deadlines().into_iter().map(|(timer, due)| match due {
            Due::At(_) => format!("{timer:?} (wall time)"),
            Due::Watched(_) => format!("{timer:?} (watched time)"),
        });
        explored.deadlines.entry(run.stage.name().to_owned()).or_default().extend(names);
        for fact in possible(&run) {
            let Step::Moved { run: moved, .. } = step(&run, &fact) else { continue };
            let edge = (run.stage.name().to_owned(), moved.stage.name().to_owned());
            explored.transitions.entry(edge).or_default().insert(fact.event.kind());
            if seen.insert(situation(&moved)) {
                queue.push_back(*moved);
            }
        }
    }
    explored
}

/// What decides about what can happen next, without numbers, texts and times.
fn situation(run: &Run) -> String {
    let session = match run.session {
        Session::Absent => 'a',
        Session::Starting => 's',
        Session::Started => 'r',
    };
    let stage = match &run.stage {
        Stage::Inspecting { phase } => format!("inspecting {phase}"),
        Stage::Finishing { end } => format!("finishing {}", end.name()),
        Stage::Escalated { reminders, .. } => format!("escalated {reminders}"),
        other => other.name().to_owned(),
    };
    let orders: BTreeSet<&str> = run.pending.values().map(|effect| effect.words()).collect();
    let green = run.green_at.is_some() && run.green_at == run.head;
    let flags = [run.busy, run.phase_in_turn, run.pull_request.is_some(), run.green_at.is_some(), green];
    let nudges = if run.stage == Stage::Working { run.used.nudges } else { 0 };
    let used = [run.used.ci_fixes, run.used.reviews, run.used.strikes, nudges].map(|count| count.min(1));
    format!("{stage} {session} {orders:?} {flags:?} {used:?}")
}

fn page(explored: &Explored) -> String {
    let mut text = String::from(
        "# The state machine of a run\n\n\
         Written by the test `the_page_on_the_state_machine_is_what_the_code_says` from exploring `domain::run::step`; not by\n\
         hand. After a change of the machine run that test with `RIG_UPDATE_DOCS=1` and read the difference.\n\n\
         ## The way of a run\n\nWithout what ends a run from every stage, and without what leaves it where it is.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> claiming: IssueClaimed\n",
    );
    let everywhere = ends_everywhere(explored);
    for ((from, to), kinds) in sorted(&explored.transitions) {
        let kinds: Vec<&str> =
            kinds.iter().copied().filter(|kind| to != "finishing" || !everywhere.contains(kind)).collect();
        if from != to && !kinds.is_empty() {
            let _ = writeln!(text, "    {from} --> {to}: {}", kinds.join(", "));
        }
    }
    let ends: BTreeSet<&String> =
        explored.transitions.keys().map(|(_, to)| to).filter(|to| rank(to) == STAGES.len()).collect();
    for end in &ends {
        let _ = writeln!(text, "    {end} --> [*]");
    }
    let _ = write!(
        text,
        "```\n\nEvery stage but the ends goes to `finishing` by: {}.\n\n## Stages\n\n| stage | meaning | timers |\n|---|---|---|\n",
        everywhere.into_iter().collect::<Vec<_>>().join(", ")
    );
    for (stage, meaning) in STAGES {
        let timers = explored.deadlines.get(stage).cloned().unwrap_or_default();
        let _ = writeln!(text, "| `{stage}` | {meaning} | {} |", timers.into_iter().collect::<Vec<_>>().join(", "));
    }
    text.push_str("\n## Transitions\n\n| from | to | by |\n|---|---|---|\n");
    for ((from, to), kinds) in sorted(&explored.transitions) {
        let to = if from == to { "(stays)" } else { to };
        let _ = writeln!(text, "| `{from}` | {to} | {} |", kinds.iter().copied().collect::<Vec<_>>().join(", "));
    }
    text
}

/// Returns the kinds of events that end a run from each stage before the end.
fn ends_everywhere(explored: &Explored) -> BTreeSet<&'static str> {
    STAGES[..9]
        .iter()
        .map(|(stage, _)| {
            let edge = ((*stage).to_owned(), "finishing".to_owned());
            explored.transitions.get(&edge).cloned().unwrap_or_default()
        })
        .reduce(|all, kinds| all.intersection(&kinds).copied().collect())
        .unwrap_or_default()
}

fn rank(stage: &str) -> usize {
    STAGES.iter().position(|(name, _)| *name == stage).unwrap_or(STAGES.len())
}

fn sorted(transitions: &Transitions) -> Vec<(&(String, String), &BTreeSet<&'static str>)> {
    let mut edges: Vec<_> = transitions.iter().collect();
    edges.sort_by_key(|((from, to), _)| (rank(from), rank(to), to.clone()));
    edges
}
