//! The example that replays a journal, on a journal that the store made.

use rig::{
    adapters::store::sqlite::SqliteStore,
    config::Root,
    domain::{
        ids::{Attempt, BranchName, EffectId, IssueNumber, ProjectName, RunId, Seq},
        repository::RepositoryKey,
        run::{self, Event, Fact, Policy, Run, Step},
    },
    engine::commit,
    ports::store::{Append, NewEvent, Store},
};

#[path = "../../../examples/replay.rs"]
#[expect(dead_code, reason = "its main function is cargo's to call")]
mod example;

const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn fact(second: i64, event: Event) -> Fact {
    let at = jiff::Timestamp::from_second(1_790_000_000 + second).unwrap();
    Fact { at, observed_ms: 0, completes: None, event }
}

async fn append(store: &SqliteStore, before: u64, run: &Run, fact: &Fact) {
    let body = serde_json::to_value(fact).unwrap();
    let event = NewEvent { at: fact.at, kind: fact.event.kind().to_owned(), version: 1, body };
    let row = commit::row(run, RepositoryKey::default());
    let events = [event];
    let append = Append {
        run: &run.id,
        expected: Seq(before),
        events: &events,
        row: &row,
        notices: &[],
        outgoing: &[],
        settled_since: None,
        taken_inputs: &[],
        slot_limit: None,
    };
    store.append(append).await.unwrap();
}

#[tokio::test]
async fn a_journal_reads_back_as_the_stages_that_the_run_went_through() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    std::fs::create_dir(root.state_dir()).unwrap();
    let store = SqliteStore::open(&root.database(), "here").await.unwrap();
    let claim = fact(
        0,
        Event::IssueClaimed {
            project: ProjectName::new("widget").unwrap(),
            issue: IssueNumber(7),
            title: "Say hello".into(),
            first_attempt: Attempt(1),
            policy: Policy::default(),
        },
    );
    let (mut run, _) = run::begin(&RunId::new(RUN).unwrap(), &claim).unwrap();
    append(&store, 0, &run, &claim).await;
    let survey = Event::PriorWorkSurveyed {
        branch: BranchName::new("fix/issue-7").unwrap(),
        adopted: None,
        head: None,
        prior: Vec::new(),
        ci_fixes_spent: 0,
    };
    let (attempt, told) = (Attempt(1), Vec::<EffectId>::new());
    let started = Event::SessionStarted { attempt, told, boot: String::new(), not_copied: Vec::new() };
    for (second, event) in [(1, Event::ClaimConfirmed), (2, survey), (3, started)] {
        let answered = run.pending.keys().next().cloned();
        let fact = Fact { completes: answered, ..fact(second, event) };
        let Step::Moved { run: moved, .. } = run::step(&run, &fact) else { panic!("{} is ignored", fact.event.kind()) };
        append(&store, run.seq.0, &moved, &fact).await;
        run = *moved;
    }
    let text = example::replay(&root).await.unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].join(" "), format!("run {RUN}: widget issue #7: Say hello"));
    let stages: Vec<(&str, &str)> = lines[1..5].iter().map(|words| (words[2], words[3])).collect();
    let expected = [
        ("IssueClaimed", "claiming"),
        ("ClaimConfirmed", "surveying"),
        ("PriorWorkSurveyed", "starting"),
        ("SessionStarted", "working"),
    ];
    assert_eq!(stages, expected);
    assert!(text.trim_end().ends_with("waits for the agent; 0 fixes of CI, 0 reviews, 0 orders pending"), "{text}");
}

#[tokio::test]
async fn a_root_without_a_journal_is_told_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    assert!(example::replay(&root).await.is_err());
    assert!(!root.state_dir().exists());
}
