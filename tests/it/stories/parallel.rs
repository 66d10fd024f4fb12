//! More than one agent at a time: each has its worktree and its session, and merges stay one at a time.

use crate::by_hand_support::{World, sessions_of, until};
use serde_json::Value;

/// A world whose project may have three agents.
fn world() -> World {
    let world = World::new();
    let text = world.project_text("acme/widget", "").replace("[agent]\n", "[agent]\nmax_agents = 3\n");
    world.root.project("widget", &text);
    world
}

fn content(world: &World, path: &str) -> Option<String> {
    let answer = world.ask("acme", "GET", &format!("/repos/acme/widget/contents/{path}"), Value::Null);
    (answer.status == 200).then(|| answer.body["content"].as_str().unwrap().to_owned())
}

/// Ticks and approves until no run is open.
fn until_all_are_done(world: &World) {
    until("all runs have ended", || {
        world.approve_green();
        let (code, lines) = world.json(&["dev", "poll"]);
        assert_eq!(code, 0, "{lines:?}");
        world.runs(false).is_empty().then_some(())
    });
}

#[test]
fn three_agents_work_at_the_same_time_and_all_that_they_did_lands() {
    let world = world();
    let issues: Vec<u64> =
        ["a", "b", "c", "d"].map(|name| world.issue(&format!("Hold {name}"), "", &["backlog"])).to_vec();
    let (code, lines) = world.json(&["dev", "poll"]);
    assert_eq!(code, 0, "{lines:?}");
    let code_of =
        |issue: u64| lines.iter().find(|line| line["number"] == issue).map(|line| line["code"].clone()).unwrap();
    assert_eq!(issues[..3].iter().map(|issue| code_of(*issue)).collect::<Vec<_>>(), ["started"; 3]);
    assert_ne!(code_of(issues[3]), "started", "there is no fourth slot");
    let names: Vec<String> = issues[..3].iter().map(|issue| format!("dev-widget-{issue}")).collect();
    until("all three work at once", || {
        let working = world.runs(false).iter().filter(|run| run["stage"] == "working").count() == 3;
        (working && sessions_of(&world.root) == names).then_some(())
    });
    for issue in &issues[..3] {
        assert!(world.root.path().join(format!("state/worktrees/widget/{issue}/README.md")).is_file());
    }
    assert_eq!(world.drivers().len(), 3);
    std::fs::write(world.root.path().join("go"), "").unwrap();
    until_all_are_done(&world);
    let runs = world.runs(true);
    assert!(runs.len() == 4 && runs.iter().all(|run| run["stage"] == "merged"), "{runs:?}");
    for issue in &issues {
        assert!(content(&world, &format!("work-{issue}.txt")).is_some(), "issue {issue} is on the primary branch");
    }
}

#[test]
fn of_two_changes_that_conflict_the_second_is_rebased_checked_and_approved_anew() {
    let world = world();
    let script = r#"{ "version": 1, "rules": [
        { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
        { "contains": "conflicts with the primary branch", "repeat": true, "actions": [
            { "run": "git fetch -q origin && { git rebase -q origin/main || { cat same.txt | grep -v '^[<=>]' > both; mv both same.txt; git add same.txt; GIT_EDITOR=true git rebase --continue; }; } >/dev/null 2>&1 && git push -q --force-with-lease origin HEAD" },
            { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
        { "contains": "Title: ", "actions": [
            { "wait_until": { "command": "test -e \"$RIG_ROOT/go\"", "timeout_secs": 600 } },
            { "run": "echo by $RIG_ISSUE > same.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
            { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] } ] }"#;
    std::fs::write(world.root.path().join("script.json"), script).unwrap();
    let issues = ["a", "b"].map(|name| world.issue(&format!("Write {name}"), "", &["backlog"]));
    world.rig(&["dev", "poll"]).success();
    until("both work at once", || (sessions_of(&world.root).len() == 2).then_some(()));
    std::fs::write(world.root.path().join("go"), "").unwrap();
    until_all_are_done(&world);
    let runs = world.runs(true);
    assert!(runs.iter().all(|run| run["stage"] == "merged"), "{runs:?}");
    let same = world.ask("acme", "GET", "/repos/acme/widget/raw/same.txt", Value::Null);
    let checked = content(&world, "same.txt").unwrap();
    assert!(!checked.is_empty(), "{}", same.body);
    for issue in issues {
        let path = format!("/repos/acme/widget/issues/{issue}");
        assert_eq!(world.api("acme", "GET", &path, Value::Null)["state"], "closed");
    }
    let merged = world.api("acme", "GET", "/repos/acme/widget/pulls?state=closed", Value::Null);
    assert_eq!(merged.as_array().unwrap().iter().filter(|pull| pull["merged"] == true).count(), 2);
    // What the first one wrote is still there: the second was judged on what the primary branch was by then.
    let text = String::from_utf8(decoded(&checked)).unwrap();
    assert!(issues.iter().all(|issue| text.contains(&format!("by {issue}"))), "{text}");
}

/// Reads base64 as the contents API writes it.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let number = group.iter().fold(0, |number, byte| number << 6 | value(*byte)) << (6 * (4 - group.len()));
        bytes.extend(number.to_be_bytes()[1..].iter().take(group.len() - 1));
    }
    bytes
}
