//! A person's handles on a run: sending, stopping, retrying, reading, attaching; with real sessions and the scripted agent.

use super::refused;
use crate::by_hand_support::{World, end, until};
use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};
use std::process::Command;

/// Files an issue whose agent is held until `release`, and waits until it works.
fn held(world: &World) -> String {
    let issue = world.issue("Hold this", "Wait for it.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    until("the agent works", || world.runs(false).iter().any(|run| run["stage"] == "working").then_some(()));
    issue.to_string()
}

fn release(world: &World) {
    std::fs::write(world.root.path().join("go"), "").unwrap();
}

fn until_merged(world: &World) {
    until("it is merged", || {
        world.approve_green();
        world.runs(false).is_empty().then_some(())
    });
}

/// Returns the events of an issue's newest run.
fn events(world: &World, issue: &str) -> Vec<Value> {
    let (code, lines) = world.json(&["logs", issue, "--events"]);
    assert_eq!(code, 0, "{lines:?}");
    lines.into_iter().filter(|line| line["source"] == "event").map(|line| line["entry"].clone()).collect()
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind).count()
}

#[test]
fn a_message_is_taken_once_and_read_by_the_agent() {
    let world = World::new();
    let issue = held(&world);
    for _ in 0..3 {
        let (code, lines) = world.json(&["send", &issue, "use port 8080\u{1b}[201~", "--key", "port"]);
        assert_eq!((code, &lines[0]["state"]), (0, &json!("queued")), "{lines:?}");
    }
    let mut from_stdin = world.root.rig(&["send", &issue, "-"]);
    from_stdin.write_stdin(b"second\xff line\n".to_vec()).assert().success().stdout(contains("queued"));
    release(&world);
    world.until_review_is_awaited(&issue);
    until_merged(&world);
    let events = events(&world, &issue);
    assert_eq!(count(&events, "HumanReplied"), 2);
    let taken: Vec<_> =
        events.iter().filter(|event| event["kind"] == "PromptTaken" && !event["body"]["completes"].is_null()).collect();
    assert!(taken.len() >= 2, "{events:?}");
    let inbox = world.root.path().join(format!("state/run/widget/{issue}/inbox"));
    let texts: Vec<String> = std::fs::read_dir(inbox)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(texts.iter().filter(|text| text.contains("use port 8080[201~")).count(), 1, "{texts:?}");
    assert_eq!(texts.iter().filter(|text| text.contains("second\u{fffd} line")).count(), 1, "{texts:?}");
    refused(&world, &["send", &issue, "too late"], 1, &["has ended", "rig retry"]);
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let world = World::new();
    refused(&world, &["send", "99", "hello"], 1, &["issue #99 has no run", "rig status --all"]);
    refused(&world, &["send", "99", " \n"], 2, &["the message is empty"]);
    refused(&world, &["send", "99", "x", "--key", ""], 2, &["--key"]);
    refused(&world, &["stop", "99"], 1, &["has no run"]);
    refused(&world, &["retry", "99", "--project", "gadget"], 1, &["gadget"]);
    refused(&world, &["attach", "99"], 1, &["has no run"]);
    refused(&world, &["logs", "99", "--follow"], 1, &["has no run"]);
    refused(&world, &["usage", "--since", "0d"], 2, &["a number of days"]);
    refused(&world, &["usage", "--project", "gadget"], 1, &["gadget"]);
    world.rig(&["usage"]).success().stdout(contains("no usage is known"));
}

#[test]
fn a_stopped_issue_goes_back_with_its_work_kept_and_a_retry_lets_the_next_tick_take_it() {
    let world = World::new();
    let issue = held(&world);
    let worktree = world.root.path().join(format!("state/worktrees/widget/{issue}"));
    std::fs::write(worktree.join("half-done.txt"), "half").unwrap();
    let stop = world.rig(&["stop", &issue, "--reason", "the plan has changed"]).success();
    // It waits for the end, but not for ever.
    let stop = stop.stdout(contains("is stopped (given_back)").or(contains("is being stopped")));
    if contains("is stopped").eval(&String::from_utf8_lossy(&stop.get_output().stdout)) {
        stop.stderr(contains("rig retry"));
    }
    until("it has ended", || world.runs(false).is_empty().then_some(()));
    let (labels, _, assignees) = world.traces(issue.parse().unwrap());
    assert_eq!((labels, assignees), (vec!["backlog".to_owned()], Vec::new()));
    assert!(!worktree.exists(), "the worktree is gone");
    let refs = Command::new("git")
        .args(["-C", &world.root.path().join("state/git/widget/rig.git").display().to_string()])
        .args(["for-each-ref", "refs/heads/rig/rescue"])
        .output()
        .unwrap();
    assert!(!refs.stdout.is_empty(), "what only the worktree had is kept");
    world.rig(&["stop", &issue]).success().stdout(contains("is not worked on"));
    world.rig(&["logs", &issue, "--events"]).success().stdout(contains("asked to stop: the plan has changed"));
    refused(&world, &["attach", &issue], 1, &["no session", "given_back", "rig logs"]);

    let started = |world: &World| {
        let (code, lines) = world.json(&["dev", "poll"]);
        assert_eq!(code, 0, "{lines:?}");
        lines.iter().any(|line| line["code"] == "started")
    };
    assert!(!started(&world), "a stopped issue rests");
    world.rig(&["retry", &issue]).success().stdout(contains("is labelled backlog again"));
    until("the driver has left", || world.drivers().is_empty().then_some(()));
    assert!(started(&world));
    release(&world);
    until_merged(&world);
    refused(&world, &["retry", &issue], 1, &["is closed"]);
}

#[test]
fn a_run_without_a_driver_is_stopped_by_one_that_is_started_for_it() {
    let world = World::new();
    let issue = held(&world);
    for driver in world.drivers() {
        end(driver, "KILL");
    }
    until("no driver is left", || world.drivers().is_empty().then_some(()));
    let (code, lines) = world.json(&["stop", &issue]);
    assert_eq!((code, &lines[0]["driver"]), (0, &json!("started")), "{lines:?}");
    until("it has ended", || world.runs(false).is_empty().then_some(()));
    assert_eq!(count(&events(&world, &issue), "StopRequested"), 1);
}

#[test]
fn an_escalated_run_goes_on_with_the_answer_and_a_working_one_is_retried_only_afresh() {
    let world = World::new();
    let script = json!({ "version": 1, "rules": [
        { "contains": "blue", "actions": [
            { "run": "echo 1 > work.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
            { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
        { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
        { "contains": "Title: ", "repeat": true, "actions": [ { "run": "printf 'PHASE:escalate\\nReason: which colour?\\n' > \"$PHASE_FILE\"" } ] },
    ] });
    std::fs::write(world.root.path().join("script.json"), script.to_string()).unwrap();
    let issue = world.issue("Paint it", "Please.", &["backlog"]).to_string();
    world.rig(&["dev", "poll"]).success();
    let stage = |wanted: &str| world.runs(false).iter().any(|run| run["stage"] == wanted).then_some(());
    until("it asks", || stage("escalated"));
    world.rig(&["retry", &issue]).success().stdout(contains("attempt 2 begins"));
    until("it asks again", || {
        let again = events(&world, &issue).iter().filter(|event| event["kind"] == "PhaseReported").count() == 2;
        (again && stage("escalated").is_some()).then_some(())
    });
    world.rig(&["send", &issue, "blue"]).success().stdout(contains("the answer that was waited for"));
    until("the pull request waits for its review", || stage("awaiting_review"));
    world.rig(&["retry", &issue]).success().stdout(contains("is in work")).stderr(contains("--fresh"));
    let (code, lines) = world.json(&["retry", &issue, "--fresh"]);
    assert_eq!((code, &lines[0]["retry"], &lines[0]["attempt"]), (0, &json!("started"), &json!(3)), "{lines:?}");
    until("the third attempt runs", || world.runs(false).iter().any(|run| run["attempt"] == 3).then_some(()));
}

#[test]
fn an_ended_run_is_readable_as_a_whole_and_its_usage_is_known() {
    let world = World::new();
    let issue = held(&world);
    let mut follower = world
        .process(&["logs", &issue, "--follow"])
        .stdout(std::fs::File::create(world.root.home().join("followed")).unwrap())
        .spawn()
        .unwrap();
    release(&world);
    world.until_review_is_awaited(&issue);
    until_merged(&world);
    let ended = until("the follower ends with the run", || follower.try_wait().unwrap());
    assert!(ended.success());
    let followed = std::fs::read_to_string(world.root.home().join("followed")).unwrap();
    assert!(
        followed.contains("CI passed") && followed.trim_end().ends_with("the run has ended (merged)"),
        "{followed}"
    );
    assert_eq!(followed.matches("session started").count(), 1, "{followed}");

    world.rig(&["logs", &issue]).success().stdout(
        contains("SessionStarted")
            .and(contains("merged as"))
            .and(contains("--- CI: "))
            .and(contains("--- session: "))
            .and(contains("stand-in agent")),
    );
    world.rig(&["logs", &issue, "--pane"]).success().stdout(contains("screen.txt").and(contains("merged as").not()));

    let (code, lines) = world.json(&["usage", "--issue", &issue, "--since", "7d"]);
    assert_eq!(code, 0);
    let (total, rows) = (&lines[0]["total"], lines[0]["usage"].as_array().unwrap());
    let messages = total["messages"].as_u64().unwrap();
    assert!(messages > 0 && total["turns"].as_u64().unwrap() >= 2, "{total}");
    // Each answer of the stand-in has two lines, of which the last counts.
    assert_eq!(total["tokens"]["input"], 10 * messages);
    assert_eq!(total["tokens"]["cache_creation_5m"], 150 * messages);
    assert_eq!((&rows[0]["model"], &rows[0]["service_tier"]), (&json!("stand-in"), &json!("standard")));
    assert!(world.json(&["usage", "--issue", "99"]).1[0]["usage"].as_array().unwrap().is_empty());
    world.rig(&["usage"]).success().stdout(contains("stand-in").and(contains("total")));
    let runs = world.runs(true);
    assert_eq!(runs[0]["usage"]["messages"], messages);
    world.rig(&["status", "--all"]).success().stdout(contains("TOKENS"));
    let measured = count(&events(&world, &issue), "UsageMeasured");
    assert!((1..=4).contains(&measured), "once for each stop at most: {measured}");
}

/// A person's terminal: a tmux server of its own around `rig attach`.
struct Outer {
    folder: tempfile::TempDir,
}

impl Outer {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", self.folder.path())
            .args(["-L", "outer", "-f", "/dev/null"])
            .args(args);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    fn attach(&self, world: &World, session: &str, args: &[&str]) {
        let (root, home) = (world.root.path().display().to_string(), world.root.home().display().to_string());
        let environment = [format!("HOME={home}"), format!("RIG_ROOT={root}"), "PATH=/usr/bin:/bin".to_owned()];
        let mut words =
            vec!["new-session", "-d", "-s", session, "-x", "150", "-y", "40", "env", "-i", "TERM=screen-256color"];
        words.extend(environment.iter().map(String::as_str));
        words.push(env!("CARGO_BIN_EXE_rig"));
        words.extend(args);
        self.tmux(&words);
    }

    fn screen(&self, session: &str) -> String {
        self.tmux(&["capture-pane", "-p", "-t", session])
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_person_looks_at_a_session_and_while_one_writes_messages_wait() {
    let world = World::new();
    let issue = held(&world);
    refused(&world, &["attach", &issue], 1, &["at a terminal", "rig logs"]);
    let outer = Outer::new();
    outer.attach(&world, "look", &["attach", &issue]);
    until("the session is shown", || outer.screen("look").contains("stand-in agent").then_some(()));
    outer.tmux(&["send-keys", "-t", "look", "-l", "typed by somebody who only looks"]);
    world.rig(&["status"]).success().stdout(contains("somebody writes").not());

    outer.attach(&world, "write", &["attach", &issue, "--write"]);
    until("the writer is there", || outer.screen("write").contains("stand-in agent").then_some(()));
    until("rig sees it", || {
        world
            .rig(&["status"])
            .success()
            .get_output()
            .stdout
            .windows(15)
            .any(|text| text == b"somebody writes")
            .then_some(())
    });
    world.rig(&["send", &issue, "wait for me"]).success().stdout(contains("somebody writes in the session"));
    release(&world);
    until("the agent's turn has ended", || (count(&events(&world, &issue), "TurnEnded") > 0).then_some(()));
    outer.tmux(&["send-keys", "-t", "write", "-l", "half a line"]);
    until("the keys are through", || outer.screen("write").contains("half a line").then_some(()));
    assert!(!outer.screen("write").contains("only looks"), "{}", outer.screen("write"));
    until("the driver says that it waits", || {
        let (_, lines) = world.json(&["logs", &issue, "--driver"]);
        lines
            .iter()
            .any(|line| line["words"].as_str().is_some_and(|words| words.contains("a message waits")))
            .then_some(())
    });
    world.rig(&["status"]).success().stdout(contains("to the agent wait"));
    let taken = |world: &World| {
        let prompts = events(world, &issue);
        prompts.iter().filter(|event| event["kind"] == "PromptTaken" && !event["body"]["completes"].is_null()).count()
    };
    assert_eq!(taken(&world), 0);

    // They clear the line, and close their terminal.
    outer.tmux(&["send-keys", "-t", "write", "C-u"]);
    until("the line is empty", || (!outer.screen("write").contains("half a line")).then_some(()));
    outer.tmux(&["kill-session", "-t", "write"]);
    until("the message is delivered", || (taken(&world) > 0).then_some(()));
    world.rig(&["status"]).success().stdout(contains("somebody writes").not());
}
