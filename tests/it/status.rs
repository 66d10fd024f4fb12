//! `rig status`: what it shows of runs that a store really holds.

use crate::root_support::{GOOD, TestRoot};
use jiff::{Timestamp, ToSpan};
use predicates::{prelude::*, str::contains};
use rig::{
    adapters::{process_identity, store::sqlite::SqliteStore},
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq},
        repository::RepositoryKey,
    },
    ports::store::{Append, DriverRow, MirrorRow, NewEvent, RunRow, Store},
};

const OPEN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FA1";
const ENDED: &str = "01ARZ3NDEKTSV4RRFFQ69G5FA2";

fn row(run: &str, issue: u64, title: &str, open: bool) -> RunRow {
    let now = Timestamp::now();
    RunRow {
        run: RunId::new(run).unwrap(),
        project: ProjectName::new("widget").unwrap(),
        repository: RepositoryKey::stored("https://git.example.org/acme/widget"),
        issue: IssueNumber(issue),
        title: title.to_owned(),
        seq: Seq(1),
        stage: if open { "awaiting_ci" } else { "merged" }.to_owned(),
        waits_for: "CI on 0123456789".to_owned(),
        attempt: Attempt(2),
        pull_request: Some(PullRequestNumber(17)),
        head: None,
        claimed_at: now - 90.minutes(),
        changed_at: now,
        open,
        holds_slot: open,
        usage_limit: None,
    }
}

/// Fills the root's store with an open and an ended run, a driver of the open one, and a mirror that is behind.
fn fill(root: &TestRoot, driver: &DriverRow) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&root.root().database(), "here").await.unwrap();
        for row in [row(ENDED, 4, "old", false), row(OPEN, 5, "fix \x1b[31mthe\nmenu", true)] {
            let event = NewEvent {
                at: row.claimed_at,
                kind: "IssueClaimed".to_owned(),
                version: 1,
                body: serde_json::json!({}),
            };
            let append = Append {
                run: &row.run,
                expected: Seq(0),
                events: &[event],
                row: &row,
                notices: &[],
                outgoing: &[],
                settled_since: None,
                taken_inputs: &[],
                slot_limit: None,
            };
            store.append(append).await.unwrap();
        }
        store.beat(driver).await.unwrap();
        let (project, at) = (ProjectName::new("widget").unwrap(), Timestamp::now());
        let error = "connection refused".to_owned();
        let behind = MirrorRow { project, mirror: "backup".to_owned(), sha: None, error, told: false, at };
        store.set_mirror(&behind).await.unwrap();
        store.set_mirror(&MirrorRow { mirror: "good".to_owned(), error: String::new(), ..behind }).await.unwrap();
    });
}

fn driver() -> DriverRow {
    let pid = std::process::id();
    DriverRow {
        run: RunId::new(OPEN).unwrap(),
        pid,
        process_start: process_identity::start_time(pid).unwrap(),
        boot_id: process_identity::boot_id().unwrap(),
        beat_at: Timestamp::now(),
    }
}

#[test]
fn before_anything_has_run_it_says_so_and_leaves_no_trace() {
    let root = TestRoot::new();
    root.rig(&["status"]).assert().success().stdout(contains("nothing has run yet"));
    assert_eq!(std::fs::read_dir(root.path().join("state")).unwrap().count(), 0);
}

#[test]
fn open_runs_are_shown_with_their_driver_and_mirrors_that_are_behind() {
    let root = TestRoot::new();
    // No token: looking at what runs must not need one.
    root.project("widget", GOOD);
    fill(&root, &driver());
    let line = r"widget +#5 +awaiting_ci +1h30m +2 +#17 +alive +- +CI on 0123456789 +fix \[31mthe menu\n";
    root.rig(&["status"]).assert().success().stdout(
        predicate::str::is_match(line)
            .unwrap()
            .and(contains("mirror backup of widget is behind: has nothing yet; connection refused"))
            .and(contains("merged").not())
            .and(contains("mirror good").not())
            .and(contains("\x1b").not()),
    );
    root.rig(&["status", "--all"]).assert().success().stdout(contains("merged").and(contains("awaiting_ci")));
}

#[test]
fn a_driver_that_died_is_told_from_one_that_lives() {
    let root = TestRoot::new();
    fill(&root, &DriverRow { process_start: 1, ..driver() });
    root.rig(&["status"]).assert().success().stdout(contains(" gone "));
    let root = TestRoot::new();
    fill(&root, &DriverRow { beat_at: Timestamp::now() - 10.minutes(), ..driver() });
    root.rig(&["status"]).assert().success().stdout(contains(" silent for 10m "));
}

#[test]
fn json_is_one_document_with_the_same_facts() {
    let root = TestRoot::new();
    fill(&root, &driver());
    let output = root.rig(&["status", "--json", "--project", "widget"]).assert().success();
    let document: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let run = &document["runs"][0];
    assert_eq!((&run["issue"], &run["driver"], &run["run"]), (&5.into(), &"alive".into(), &OPEN.into()));
    assert!((5_400..5_500).contains(&run["age_secs"].as_i64().unwrap()));
    assert_eq!(document["mirrors_behind"][0]["mirror"], "backup");
    assert_eq!(document["switch"], "off");
}

#[test]
fn a_project_that_nobody_knows_is_an_error_and_one_that_has_not_run_is_not() {
    let root = TestRoot::new();
    root.project("gadget", GOOD);
    fill(&root, &driver());
    root.rig(&["status", "--project", "gadgte"]).assert().code(1).stderr(contains("did you mean `gadget`?"));
    root.rig(&["status", "--project", "gadget"]).assert().success().stdout(contains("no open run"));
    root.rig(&["status", "--project", "widget"]).assert().success().stdout(contains("#5"));
}

#[test]
fn a_store_that_is_no_store_is_a_clear_error() {
    let root = TestRoot::new();
    std::fs::write(root.root().database(), "not a database, but long enough to be looked at as one".repeat(40))
        .unwrap();
    let assert = root.rig(&["status"]).assert();
    let code = assert.get_output().status.code().unwrap();
    assert!(code == 1 || code == 70, "{code}");
    assert.stderr(contains("error: ").and(contains("hint: ")).and(contains("panicked").not()));
}
