//! The main job by hand: what `rig demo` shows, done with one command after the other.

use crate::by_hand_support::{World, end, until};
use predicates::{prelude::*, str::contains};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn an_issue_becomes_a_merged_pull_request_by_hand() {
    let world = World::new();
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    let mut reviews = 0;
    let polls = until("the issue is closed", || {
        let (code, lines) = world.json(&["dev", "poll"]);
        assert_eq!(code, 0, "{lines:?}");
        reviews += world.approve_green();
        let state = world.api("acme", "GET", &format!("/repos/acme/widget/issues/{issue}"), Value::Null);
        (state["state"] == "closed" && world.runs(false).is_empty()).then_some(lines)
    });
    assert_eq!(reviews, 1, "{polls:?}");
    let file = world.ask("acme", "GET", &format!("/repos/acme/widget/contents/work-{issue}.txt"), Value::Null);
    assert_eq!(file.status, 200, "{}", file.body);
    world.rig(&["status"]).success().stdout(contains("no open run"));
    world.rig(&["status", "--all"]).success().stdout(contains("merged").and(contains("Add a file")));
    let issue = issue.to_string();
    world.rig(&["phase", "get", &issue]).success().stdout("awaiting_review\n");
    let path = world.rig(&["phase", "path", &issue]).success();
    let path = String::from_utf8(path.get_output().stdout.clone()).unwrap();
    assert!(std::path::Path::new(path.trim()).is_file(), "{path}");
    world.rig(&["phase", "log", &issue]).success().stdout(contains("waits for CI").and(contains("merged as")));
    let (code, lines) = world.json(&["phase", "log", &issue]);
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line["event"] == "Merged"), "{lines:?}");
    assert!(world.drivers().is_empty());
}

#[test]
fn a_driver_in_the_foreground_that_is_stopped_leaves_a_run_that_the_next_poll_goes_on_with() {
    let world = World::new();
    let issue = world.issue("Hold this", "Wait for it.", &["backlog"]);
    let mut driver =
        world.process(&["dev", "agent", &issue.to_string(), "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    until("the session runs", || world.runs(false).iter().any(|run| run["stage"] == "working").then_some(()));
    world.rig(&["dev", "agent", &issue.to_string()]).code(75).stderr(contains("another rig works on issue"));
    end(driver.id(), "TERM");
    assert_eq!(driver.wait().unwrap().code(), Some(0));
    assert_eq!(world.runs(false).len(), 1);
    world.rig(&["status"]).success().stdout(contains("none").or(contains("gone")));

    world.rig(&["dev", "stop"]).success().stdout(contains("off"));
    world.rig(&["dev", "poll"]).success().stderr(contains("the dev loop is off"));
    assert!(world.drivers().is_empty());
    world.rig(&["dev", "start"]).success();
    let (code, lines) = world.json(&["dev", "poll"]);
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line["code"] == "adopted"), "{lines:?}");
    until("a driver leads it again", || world.runs(false).iter().any(|run| run["driver"] == "alive").then_some(()));
    std::fs::write(world.root.path().join("go"), "").unwrap();
    until("it is merged", || {
        world.approve_green();
        world.runs(false).is_empty().then_some(())
    });
    assert_eq!(world.runs(true).len(), 1);
}
