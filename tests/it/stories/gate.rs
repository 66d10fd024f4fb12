//! `rig gate`: what a person sees of a pull request that is not ready, and why.

use super::refused;
use crate::by_hand_support::{World, until};
use predicates::{prelude::*, str::contains};
use serde_json::Value;

/// The project's file with further keys in front of its tables' others.
fn project(world: &World, changes: &[(&str, &str)]) {
    let mut text = world.project_text("acme/widget", "");
    for (before, after) in changes {
        assert!(text.contains(before), "{before}");
        text = text.replace(before, after);
    }
    world.root.project("widget", &text);
}

/// Polls until the issue's pull request is there and has passed CI. Returns its number.
fn waiting_pull_request(world: &World) -> u64 {
    world.rig(&["dev", "poll"]).success();
    until("the pull request waits for its review", || {
        let run = world.runs(false).into_iter().next()?;
        (run["stage"] == "awaiting_review").then(|| run["pull_request"].as_u64()).flatten()
    })
}

fn condition(world: &World, number: u64, name: &str) -> Value {
    let (code, lines) = world.json(&["gate", &number.to_string()]);
    assert_eq!(code, 0, "{lines:?}");
    let conditions = lines[0]["conditions"].as_array().expect("conditions are listed").clone();
    conditions.into_iter().find(|condition| condition["name"] == name).expect("the condition is listed")
}

#[test]
fn the_gate_names_what_is_missing_by_pull_request_and_by_issue() {
    let world = World::new();
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    refused(&world, &["gate", &issue.to_string()], 1, &["has no pull request of rig's own yet", "rig status"]);
    refused(&world, &["gate", "999"], 1, &["acme/widget has neither a pull request nor an issue 999"]);
    let pull_request = waiting_pull_request(&world);
    for number in [pull_request, issue] {
        let number = number.to_string();
        let said = contains("not ready").and(contains("0 of 1 required approvals at its head"));
        world.rig(&["gate", &number]).success().stdout(said.and(contains("rig has not seen").not()));
    }
    let missing = condition(&world, issue, "approvals");
    assert_eq!((&missing["holds"], &missing["code"]), (&Value::Bool(false), &"approvals_missing".into()));
    assert_eq!(condition(&world, issue, "ci")["holds"], true);
    assert_eq!(world.approve_green(), 1);
    until("it is merged", || world.runs(false).is_empty().then_some(()));
    assert_eq!(condition(&world, pull_request, "open")["code"], "merged");
}

#[test]
fn a_protected_path_waits_for_a_person_when_only_a_machine_has_approved() {
    let world = World::new();
    project(
        &world,
        &[(
            "reviewers = [\"review-bot\"]",
            "reviewers = [\"review-bot\", \"acme\"]\nbots = [\"review-bot\"]\n[merge]\nprotected_paths = [\"work-*\"]",
        )],
    );
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    let pull_request = waiting_pull_request(&world);
    assert_eq!(world.approve_green(), 1);
    let missing = condition(&world, issue, "foundations");
    assert_eq!(missing["code"], "person_missing", "{missing}");
    assert!(missing["words"].as_str().is_some_and(|words| words.contains(&format!("work-{issue}.txt"))), "{missing}");
    let path = format!("/repos/acme/widget/pulls/{pull_request}");
    let head = world.api("acme", "GET", &path, Value::Null)["head"]["sha"].clone();
    let review = serde_json::json!({ "event": "APPROVED", "commit_id": head, "body": "Seen." });
    world.api("acme", "POST", &format!("{path}/reviews"), review);
    until("it is merged", || world.runs(false).is_empty().then_some(()));
}

#[test]
fn a_change_of_documents_only_is_merged_without_ci() {
    let world = World::new();
    project(&world, &[("command = \"test -e README.md\"", "command = \"false\"\ndocs_only_paths = [\"*.txt\"]")]);
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    let pull_request = waiting_pull_request(&world);
    let seen = condition(&world, issue, "ci");
    assert_eq!(seen["holds"], true, "{seen}");
    assert!(seen["words"].as_str().is_some_and(|words| words.contains("docs_only_paths")), "{seen}");
    let path = format!("/repos/acme/widget/pulls/{pull_request}");
    let head = world.api("acme", "GET", &path, Value::Null)["head"]["sha"].clone();
    let review = serde_json::json!({ "event": "APPROVED", "commit_id": head, "body": "Good." });
    world.api("review-bot", "POST", &format!("{path}/reviews"), review);
    until("it is merged", || world.runs(false).is_empty().then_some(()));
    assert_eq!(world.runs(true)[0]["stage"], "merged");
}

/// A world in which a machine's approval suffices, and every file that the agent writes is protected.
fn protected() -> (World, u64, u64) {
    let world = World::new();
    project(
        &world,
        &[(
            "reviewers = [\"review-bot\"]",
            "reviewers = [\"review-bot\"]\nbots = [\"review-bot\"]\n[merge]\nprotected_paths = [\"work-*\"]",
        )],
    );
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    refused(&world, &["approve", &issue.to_string()], 1, &["neither an issue nor a pull request", "rig status"]);
    let pull_request = waiting_pull_request(&world);
    let number = issue.to_string();
    refused(&world, &["approve", &number], 1, &["has no gate of rig's own that waits for a person", "rig gate"]);
    assert_eq!(world.approve_green(), 1);
    until("people are asked", || {
        let asked = world.traces(issue).1.iter().any(|comment| comment.contains("a person must accept it"));
        asked.then_some(())
    });
    (world, issue, pull_request)
}

#[test]
fn a_word_on_the_command_line_opens_rigs_own_gate_for_the_commit_that_was_asked_about() {
    let (world, issue, pull_request) = protected();
    refused(&world, &["approve", &issue.to_string(), "--head", "nonsense"], 2, &["`nonsense` is no commit"]);
    refused(&world, &["approve", &issue.to_string(), "--head", "0000000"], 1, &["not at 0000000"]);
    let (code, lines) = world.json(&["approve", &pull_request.to_string()]);
    assert_eq!((code, lines[0]["changed"].clone()), (0, Value::Bool(true)), "{lines:?}");
    assert_eq!(lines[0]["files"][0], format!("work-{issue}.txt"));
    until("it is merged", || world.runs(false).is_empty().then_some(()));
    refused(&world, &["approve", &issue.to_string()], 1, &["has ended"]);
    let reviews = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{pull_request}/reviews"), Value::Null);
    assert_eq!(reviews.as_array().map(Vec::len), Some(1), "rig writes no review: {reviews}");
}

#[test]
fn a_comment_of_a_person_opens_rigs_own_gate_and_that_of_a_machine_does_not() {
    let (world, issue, _) = protected();
    let comment = |user: &str, text: &str| {
        let path = format!("/repos/acme/widget/issues/{issue}/comments");
        world.api(user, "POST", &path, serde_json::json!({ "body": text }));
    };
    comment("review-bot", "@dev-bot approve");
    comment("acme", "@dev-bot approve 0000000");
    until("a word for another commit is answered", || {
        world.traces(issue).1.iter().any(|comment| comment.contains("acme said approve, but")).then_some(())
    });
    assert_eq!(condition(&world, issue, "foundations")["code"], "person_missing");
    comment("acme", "@dev-bot approve.");
    until("it is merged", || world.runs(false).is_empty().then_some(()));
    let said = world.traces(issue).1;
    assert!(said.iter().any(|comment| comment.contains("acme accepted the change")), "{said:?}");
    assert!(!said.iter().any(|comment| comment.contains("review-bot accepted")), "{said:?}");
}
