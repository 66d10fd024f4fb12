//! What of a review, and of a check, reaches the agent: read in the inbox of its run.

use crate::by_hand_support::{World, until};
use serde_json::{Value, json};
use std::net::TcpListener;

/// A world with one issue whose pull request waits in a stage. Returns its number and its head.
fn waiting(world: &World, stage: &str) -> (u64, String) {
    world.issue("Add a file", "Please.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    until("the pull request waits", || {
        let run = world.runs(false).into_iter().next()?;
        let number = run["pull_request"].as_u64().filter(|_| run["stage"] == stage)?;
        let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
        Some((number, pull["head"]["sha"].as_str()?.to_owned()))
    })
}

/// Returns the messages of the inbox of issue 1 that hold a text.
fn told(world: &World, text: &str) -> Vec<String> {
    let folder = world.root.path().join("state/run/widget/1/inbox");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .filter(|message| message.contains(text))
        .collect()
}

fn review(world: &World, user: &str, number: u64, body: Value) -> Value {
    world.api(user, "POST", &format!("/repos/acme/widget/pulls/{number}/reviews"), body)
}

#[test]
fn a_comment_in_a_review_reaches_the_agent_once_where_nobody_is_named_as_a_reviewer() {
    let world = World::new();
    let text = world.project_text("acme/widget", "").replace("reviewers = [\"review-bot\"]", "reviewers = []");
    world.root.project("widget", &text);
    let (number, head) = waiting(&world, "awaiting_review");
    review(&world, "acme", number, json!({ "event": "COMMENT", "commit_id": head, "body": "Mind the tabs." }));
    until("the agent hears of it", || (told(&world, "Mind the tabs.").len() == 1).then_some(()));
    review(&world, "acme", number, json!({ "event": "COMMENT", "commit_id": head, "body": "And the spaces." }));
    until("the agent hears the next", || (told(&world, "And the spaces.").len() == 1).then_some(()));
    let messages = told(&world, "Mind the tabs.");
    assert!(messages.len() == 1 && messages[0].contains("commented"), "{messages:#?}");
    let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
    assert_eq!(pull["merged"], false, "a comment is no approval");
}

#[test]
fn a_remark_whose_thread_was_resolved_is_left_out() {
    let world = World::new();
    let (number, head) = waiting(&world, "awaiting_review");
    let remark = |line: u64, body: &str| json!({ "path": "README.md", "new_position": line, "body": body });
    let remarks = json!([remark(1, "Settled by talk."), remark(2, "Still wrong.")]);
    // Not submitted yet: rig hears of it only once the thread is resolved.
    let made = review(&world, "review-bot", number, json!({ "commit_id": head, "body": "", "comments": remarks }));
    assert_eq!(made["state"], "PENDING");
    let path = format!("/repos/acme/widget/pulls/{number}/reviews/{}", made["id"]);
    let comments = || world.api("review-bot", "GET", &format!("{path}/comments"), Value::Null);
    let of = |name: &str| format!("/repos/acme/widget/pulls/comments/{}/{name}", comments()[0]["id"]);
    world.api("acme", "POST", &of("resolve"), json!({}));
    assert_eq!(comments()[0]["resolver"]["login"], "acme");
    world.api("acme", "POST", &of("unresolve"), json!({}));
    assert!(comments()[0]["resolver"].is_null());
    world.api("acme", "POST", &of("resolve"), json!({}));
    assert!(comments()[1]["resolver"].is_null(), "another line is another thread");
    world.api("review-bot", "POST", &path, json!({ "event": "REQUEST_CHANGES", "body": "See below." }));
    let messages =
        until("the agent hears of it", || Some(told(&world, "Still wrong.")).filter(|found| !found.is_empty()));
    assert!(messages.len() == 1 && !messages[0].contains("Settled by talk."), "{messages:#?}");
}

#[test]
fn the_link_of_a_failed_check_is_told_and_nobody_asks_its_server() {
    let world = World::new();
    let text = world.project_text("acme/widget", "");
    let text = text.replace("provider = \"local\"", "provider = \"forge\"\nrequired_contexts = [\"ci\"]");
    world.root.project("widget", &text);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let link = format!("http://{}/log/1", server.local_addr().unwrap());
    let (_, head) = waiting(&world, "awaiting_ci");
    let status = json!({ "state": "failure", "context": "ci", "description": "two tests", "target_url": link });
    world.api("acme", "POST", &format!("/repos/acme/widget/statuses/{head}"), status);
    let messages = until("the agent hears of it", || Some(told(&world, &link)).filter(|found| !found.is_empty()));
    assert!(messages[0].contains("two tests") && messages[0].contains("No log was to be had."), "{messages:#?}");
    for _ in 0..2 {
        world.rig(&["dev", "poll"]).success();
    }
    let asked = server.accept();
    assert!(matches!(&asked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{asked:?}");
}
