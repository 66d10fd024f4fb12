//! Several projects in one root: what is wrong with one does not stop the other.

use crate::{
    by_hand_support::{PATIENCE, World, until},
    ports::ClosedPort,
};
use predicates::{prelude::*, str::contains};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

/// Time after which rig gives a request up.
const GIVEN_UP: Duration = Duration::from_secs(20);

fn started(lines: &[serde_json::Value], project: &str) -> bool {
    lines.iter().any(|line| line["project"] == project && line["code"] == "started")
}

#[test]
fn a_broken_project_is_reported_and_the_good_one_is_worked_on() {
    let world = World::new();
    let issue = world.issue("Hold", "", &["backlog"]);
    world.root.project("broken", "repo = 'acme/gadget'\ncolour = 'red'\n");
    let assert = world.root.rig(&["dev", "poll", "--json"]).timeout(PATIENCE).assert().code(1);
    assert.stderr(contains("broken.toml:2:1: unknown key `colour`").and(contains("widget.toml").not()));
    let runs = world.runs(false);
    assert_eq!((runs.len(), &runs[0]["issue"], &runs[0]["project"]), (1, &issue.into(), &"widget".into()));
    world.rig(&["config", "check"]).code(1).stdout(contains("broken.toml").and(contains("widget.toml")));
}

#[test]
fn a_forge_that_is_down_stops_its_own_project_only() {
    let world = World::new();
    world.issue("Hold", "", &["backlog"]);
    let closed = ClosedPort::new();
    let text = world.project_text("acme/gadget", "");
    world.root.project("gadget", &text.replace(&world.url, &format!("http://{}", closed.address())));
    let (code, lines) = world.json(&["dev", "poll"]);
    assert_eq!(code, 3, "{lines:?}");
    assert!(started(&lines, "widget"), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["exit"], &last["error"]), (&3.into(), &"something is wrong with gadget".into()));
}

#[test]
fn a_forge_that_never_answers_holds_up_nobody_else() {
    let world = World::new();
    let issue = world.issue("Hold", "", &["backlog"]);
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = world.project_text("acme/gadget", "");
    let text = text.replace(&world.url, &format!("http://{}", silent.local_addr().unwrap()));
    for name in ["aaa", "bbb", "ccc", "ddd", "eee", "fff"] {
        world.root.project(name, &text);
    }
    let began = Instant::now();
    let mut poll = world.process(&["dev", "poll", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let runs = until("the neighbour is worked on", || Some(world.runs(false)).filter(|runs| !runs.is_empty()));
    assert_eq!((&runs[0]["issue"], &runs[0]["project"]), (&issue.into(), &"widget".into()));
    // It is told at once too, while the others are still waited for.
    let mut lines = BufReader::new(poll.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("\"widget\"") && line.contains("\"started\"")));
    let waits = poll.try_wait().unwrap().is_none();
    assert!(waits || began.elapsed() > GIVEN_UP, "the tick waits for the silent forge");
    // The forge goes away, so that the test need not wait until the tick gives it up.
    drop(silent);
    let last = lines.last().unwrap();
    assert!(last.contains("\"exit\":3") && last.contains("aaa") && !last.contains("widget"), "{last}");
    assert_eq!(poll.wait().unwrap().code(), Some(3));
}
