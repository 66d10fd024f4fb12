//! Several projects in one root: what is wrong with one does not stop the other.

use crate::by_hand_support::{PATIENCE, World};
use predicates::{prelude::*, str::contains};
use std::net::TcpListener;

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
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = world.project_text("acme/gadget", "");
    world.root.project("gadget", &text.replace(&world.url, &format!("http://{closed}")));
    let (code, lines) = world.json(&["dev", "poll"]);
    assert_eq!(code, 3, "{lines:?}");
    assert!(started(&lines, "widget"), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["exit"], &last["error"]), (&3.into(), &"something is wrong with gadget".into()));
}
