//! Merging as people see it: a branch that is behind, and two processes at once.

use crate::by_hand_support::{World, until};
use crate::forge_support::Checkout;
use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};
use std::process::Stdio;

fn cloned(world: &World) -> Checkout {
    let url = world.url.replace("http://", &format!("http://acme:{}@", world.tokens["acme"]));
    let output = crate::forge_support::git(
        &world.root.home(),
        &["clone", "--quiet", &format!("{url}/acme/widget.git"), "clone"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Checkout { folder: world.root.home().join("clone") }
}

fn approve(world: &World, number: u64, head: &str) {
    let review = json!({ "event": "APPROVED", "commit_id": head, "body": "Good." });
    world.api("review-bot", "POST", &format!("/repos/acme/widget/pulls/{number}/reviews"), review);
}

fn waiting_at(world: &World, other_than: &str) -> (u64, String) {
    until("the pull request waits for its review", || {
        let run = world.runs(false).into_iter().next()?;
        let number = run["pull_request"].as_u64()?;
        let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
        let head = pull["head"]["sha"].as_str()?.to_owned();
        (run["stage"] == "awaiting_review" && head != other_than).then_some((number, head))
    })
}

#[test]
fn a_branch_that_is_behind_is_rebased_checked_and_reviewed_again_before_it_is_merged() {
    let world = World::new();
    let text = world.project_text("acme/widget", "").replace("[limits]", "[merge]\nwhen_behind = \"rebase\"\n[limits]");
    world.root.project("widget", &text);
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    let (number, head) = waiting_at(&world, "");
    let clone = cloned(&world);
    clone.commit("meanwhile.txt", "meanwhile", "somebody else's work");
    clone.run(&["push", "--quiet", "origin", "main"]);
    approve(&world, number, &head);
    let (_, rebased) = waiting_at(&world, &head);
    clone.run(&["fetch", "--quiet", "origin"]);
    assert!(clone.try_run(&["merge-base", "--is-ancestor", "origin/main", &rebased]).status.success());
    let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
    assert_eq!(pull["merged"], false, "it was merged at a commit that nobody has approved");
    approve(&world, number, &rebased);
    until("the run has ended", || world.runs(false).is_empty().then_some(()));
    let number = issue.to_string();
    let said = contains("rig brought the branch up to date").and(contains("looked after the merge: pull request"));
    world.rig(&["phase", "log", &number]).success().stdout(said.and(contains("is closed; no state label is left")));
}

#[test]
fn two_processes_that_merge_at_once_merge_each_pull_request_once() {
    let world = World::new();
    let text = world.project_text("acme/widget", "");
    let text = text.replace("poll_interval", "chore_authors = [\"acme\"]\npoll_interval");
    world.root.project("widget", &text.replace("provider = \"local\"", "provider = \"none\""));
    let clone = cloned(&world);
    let numbers: Vec<u64> = (1..=4)
        .map(|n| {
            clone.run(&["checkout", "--quiet", "-b", &format!("chore/{n}"), "origin/main"]);
            let head = clone.commit(&format!("chore-{n}.txt"), "x", &format!("chore {n}"));
            clone.run(&["push", "--quiet", "origin", &format!("chore/{n}")]);
            let body =
                json!({ "head": format!("chore/{n}"), "base": "main", "title": format!("chore {n}"), "body": "" });
            let number = world.api("acme", "POST", "/repos/acme/widget/pulls", body)["number"].as_u64().unwrap();
            approve(&world, number, &head);
            number
        })
        .collect();
    numbers.iter().for_each(|number| world.until_mergeable(*number));
    let mut polls: Vec<_> = (0..2)
        .map(|_| {
            let mut poll = world.process(&["dev", "poll", "--json"]);
            poll.env("RIG_ROOT", world.root.path()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for poll in &mut polls {
        assert_eq!(poll.wait().unwrap().code(), Some(0));
    }
    for (n, number) in (1..).zip(numbers) {
        let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
        assert_eq!(pull["merged"], true, "{number}");
        clone.run(&["fetch", "--quiet", "origin"]);
        let file = format!("chore-{n}.txt");
        let merges = clone.run(&["log", "--first-parent", "--format=%H", "origin/main", "--", &file]);
        assert_eq!(merges.lines().count(), 1, "{file}");
    }
}
