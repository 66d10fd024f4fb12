//! The main job by hand: what `rig demo` shows, done with one command after the other.

use crate::by_hand_support::{World, end, until};
use predicates::{prelude::*, str::contains};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn an_issue_becomes_a_merged_pull_request_by_hand() {
    let world = World::new();
    let issue = world.issue("Add a file", "Please.", &["backlog"]).to_string();
    let mut reviews = 0;
    let polls = until("the issue is closed", || {
        let (code, lines) = world.json(&["dev", "poll"]);
        assert_eq!(code, 0, "{lines:?}");
        // The merge does not wait until the agent has heard that CI passed.
        if world.awaits_review(&issue) {
            reviews += world.approve_green();
        }
        let state = world.api("acme", "GET", &format!("/repos/acme/widget/issues/{issue}"), Value::Null);
        (state["state"] == "closed" && world.runs(false).is_empty()).then_some(lines)
    });
    assert_eq!(reviews, 1, "{polls:?}");
    let file = world.ask("acme", "GET", &format!("/repos/acme/widget/contents/work-{issue}.txt"), Value::Null);
    assert_eq!(file.status, 200, "{}", file.body);
    world.rig(&["status"]).success().stdout(contains("no open run"));
    world.rig(&["status", "--all"]).success().stdout(contains("merged").and(contains("Add a file")));
    world.rig(&["phase", "get", &issue]).success().stdout("awaiting_review\n");
    let path = world.rig(&["phase", "path", &issue]).success();
    let path = String::from_utf8(path.get_output().stdout.clone()).unwrap();
    assert!(std::path::Path::new(path.trim()).is_file(), "{path}");
    world.rig(&["phase", "log", &issue]).success().stdout(contains("waits for CI").and(contains("merged as")));
    let (code, lines) = world.json(&["phase", "log", &issue]);
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line["kind"] == "Merged"), "{lines:?}");
    until("its driver has ended", || world.drivers().is_empty().then_some(()));
}

#[test]
fn a_run_is_not_gone_on_with_by_the_token_of_another_account() {
    let world = World::new();
    let issue = world.issue("Hold this", "Wait for it.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    let run = until("it works", || world.runs(false).into_iter().find(|run| run["stage"] == "working"));
    let driver = world.drivers()[0];
    end(driver, "KILL");
    until("the driver is dead", || world.drivers().is_empty().then_some(()));
    world.env(&[("BOT_TOKEN", &world.tokens["acme"])]);
    let (issue, run) = (issue.to_string(), run["run"].as_str().unwrap().to_owned());
    let told = contains("belongs to `acme`, not to the configured bot `dev-bot`");
    world.rig(&["dev", "agent", &issue, "--run", &run]).code(1).stderr(told);
    assert_eq!(world.runs(false)[0]["stage"], "working", "it waits for the right one");
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

#[test]
fn a_forge_begins_a_root_and_keeps_what_it_has_and_a_lost_token_is_replaced() {
    let mut world = World::with_forge_only();
    let (before, url) = (world.tokens.clone(), world.url.clone());
    let issue = world.issue("Kept", "", &["backlog"]);
    assert_eq!(world.stop_forge(), Some(0));
    let lines = world.serve(url.strip_prefix("http://").unwrap(), &["--new-token", "dev-bot"]);
    let told: Vec<_> = lines.iter().filter(|line| line.get("token").is_some()).collect();
    assert_eq!((told.len(), &told[0]["user"]), (1, &"dev-bot".into()), "{lines:?}");
    assert_ne!(world.tokens["dev-bot"], before["dev-bot"]);
    assert_eq!(world.api("dev-bot", "GET", "/user", Value::Null)["login"], "dev-bot");
    assert_eq!(world.traces(issue).0, ["backlog"]);
    world.tokens.insert("lost".to_owned(), before["dev-bot"].clone());
    assert_eq!(world.ask("lost", "GET", "/user", Value::Null).status, 401);
    world.stop_forge();

    let root = world.root.home().join("new/root");
    let mut forge = world
        .process(&["forge", "serve", "--json", "--listen", "127.0.0.1:0", "--root", root.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(forge.stdout.take().unwrap()), &mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["made"].as_array().unwrap().len(), 2, "{first}");
    assert!(root.join("projects").is_dir() && root.join("state").is_dir());
    end(forge.id(), "TERM");
    assert_eq!(forge.wait().unwrap().code(), Some(0));
    world
        .rig(&["forge", "serve", "--listen", "127.0.0.1:0", "--new-token", "nobody"])
        .code(1)
        .stderr(contains("no user is called `nobody`"));
}
