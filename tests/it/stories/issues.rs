//! Issues that cannot be worked on, named by hand.

use super::{refused, untouched};
use crate::by_hand_support::World;
use serde_json::json;

#[test]
fn an_issue_that_is_closed_missing_or_not_claimable_is_refused_and_left_as_it_is() {
    let world = World::new();
    let closed = world.issue("Closed", "", &["backlog"]);
    world.api("acme", "PATCH", &format!("/repos/acme/widget/issues/{closed}"), json!({ "state": "closed" }));
    refused(&world, &["dev", "agent", &closed.to_string()], 1, &["is closed", "open it again"]);
    untouched(&world, closed);
    refused(&world, &["dev", "agent", "999"], 1, &["acme/widget has no issue #999"]);
    let blocked = world.issue("Blocked", "", &["backlog", "blocked"]);
    refused(&world, &["dev", "agent", &blocked.to_string()], 1, &["blocked", "take the label away"]);
    let (labels, comments, assignees) = world.traces(blocked);
    assert_eq!((labels.len(), comments.len(), assignees.len()), (2, 0, 0));
    assert!(world.runs(true).is_empty());
}

#[test]
fn an_open_dependency_is_told_on_the_issue_once() {
    let world = World::new();
    let first = world.issue("First", "", &["backlog"]);
    let second = world.issue("Second", &format!("## Dependencies\n- #{first}\n"), &["backlog"]);
    for _ in 0..2 {
        refused(&world, &["dev", "agent", &second.to_string()], 1, &[&format!("#{first}"), "waits for first"]);
    }
    let (labels, comments, assignees) = world.traces(second);
    assert_eq!((labels, comments.len(), assignees.len()), (vec!["backlog".to_owned()], 1, 0), "{comments:?}");
    assert!(comments[0].contains(&format!("#{first}")), "{comments:?}");
    assert!(world.runs(true).is_empty());
}
