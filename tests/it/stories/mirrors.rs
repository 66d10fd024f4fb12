//! Mirrors as a person sees them: down and up again, told once each, with a token, and by hand.

use super::refused;
use crate::by_hand_support::{World, until};
use crate::forge_support::{Checkout, git};
use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Ticks that the mirror stays down.
const TICKS: u32 = 10;
/// A good deal less than the minute that rig waits for a mirror that says nothing.
const QUICK: Duration = Duration::from_secs(30);
/// Longest time from a merge until a mirror that is up has the commit, on however busy a machine; `rig demo` measures it.
const MIRRORED: Duration = Duration::from_secs(30);

fn with_mirrors(world: &World, lines: &str) {
    let text = world.project_text("acme/widget", "");
    world.root.project("widget", &format!("{text}[mirrors]\n{lines}"));
}

fn merge_an_issue(world: &World) -> u64 {
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    until("the pull request is approved", || (world.approve_green() > 0).then_some(()));
    issue
}

fn tip(world: &World) -> String {
    let branch = world.api("acme", "GET", "/repos/acme/widget/branches/main", Value::Null);
    branch["commit"]["id"].as_str().unwrap().to_owned()
}

fn bare(world: &World, name: &str) -> std::path::PathBuf {
    let path = world.root.home().join(name);
    let output = git(&world.root.home(), &["init", "--quiet", "--bare", "--initial-branch=main", name]);
    assert!(output.status.success());
    path
}

fn told(world: &World, issue: u64, what: &str) -> usize {
    let (_, comments, _) = world.traces(issue);
    comments.iter().filter(|comment| comment.contains(what)).count()
}

fn has(mirror: &std::path::Path) -> String {
    let output = git(mirror, &["rev-parse", "--quiet", "--verify", "refs/heads/main"]);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_mirror_that_is_down_for_ten_ticks_gets_everything_when_it_is_up_and_both_are_told_once() {
    let world = World::new();
    let (up, down) = (bare(&world, "up.git"), world.root.home().join("down.git"));
    with_mirrors(&world, &format!("up = \"{}\"\ndown = \"{}\"\n", up.display(), down.display()));
    let issue = merge_an_issue(&world);
    let merged = until("it is merged", || {
        let issue = world.api("acme", "GET", &format!("/repos/acme/widget/issues/{issue}"), Value::Null);
        (issue["state"] == "closed").then(Instant::now)
    });
    until("the mirror that is up has it", || (has(&up) == tip(&world)).then_some(()));
    assert!(merged.elapsed() < MIRRORED, "{:?}", merged.elapsed());
    until("the run has ended", || world.runs(false).is_empty().then_some(()));
    for _ in 0..TICKS {
        world.rig(&["dev", "poll"]);
    }
    world.rig(&["mirror", "status"]).success().stdout(contains("down").and(contains("behind")));
    bare(&world, "down.git");
    world.rig(&["dev", "poll"]).success();
    until("the mirror that was down has it", || (has(&down) == tip(&world)).then_some(()));
    until("people are told", || (told(&world, issue, "has caught up") == 1).then_some(()));
    world.rig(&["dev", "poll"]).success();
    let told = |what: &str| told(&world, issue, what);
    assert_eq!((told("mirror down stays behind"), told("mirror down has caught up")), (1, 1));
}

#[test]
fn a_mirror_is_pushed_by_hand_with_a_token_that_shows_nowhere() {
    let mut world = World::with_forge_only();
    assert!(world.stop_forge().is_some_and(|code| code == 0));
    world.serve(
        "127.0.0.1:0",
        &["--user", "mirror-bot", "--repository", "mirror-bot/copy", "--new-token", "mirror-bot"],
    );
    let token = world.tokens["mirror-bot"].clone();
    world.env(&[("MIRROR_TOKEN", &token)]);
    let mirror = bare(&world, "plain.git");
    let url = format!("{}/mirror-bot/copy.git", world.url);
    with_mirrors(
        &world,
        &format!("plain = \"{}\"\ncopy = \"{url}\"\n[mirror_tokens]\ncopy = \"MIRROR_TOKEN\"\n", mirror.display()),
    );
    world.rig(&["mirror", "status"]).success().stdout(contains("never pushed"));
    refused(&world, &["mirror", "push", "nowhere"], 1, &["has no mirror `nowhere`", "it has copy, plain"]);
    world.rig(&["mirror", "push", "plain"]).success().stdout(contains("pushed"));
    assert_eq!(has(&mirror), tip(&world));
    // The copy has a first commit of its own: it is told, and nothing is forced.
    let (code, lines) = world.json(&["mirror", "push", "copy"]);
    assert_eq!((code, lines[0]["state"].as_str()), (3, Some("diverged")), "{lines:?}");
    let (_, status) = world.json(&["mirror", "status"]);
    assert_eq!(status.len(), 2);
    for folder in ["log", "git"] {
        let found = std::process::Command::new("grep")
            .args(["-r", "-l", &token])
            .arg(world.root.path().join("state").join(folder))
            .output()
            .unwrap();
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    }
}

#[test]
fn a_mirror_that_hangs_holds_up_neither_a_tick_nor_a_merge_nor_another_mirror() {
    let world = World::new();
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("http://{}/silent.git", silent.local_addr().unwrap());
    let up = bare(&world, "up.git");
    let text = world.project_text("acme/widget", "");
    let text = text.replace("poll_interval", "chore_authors = [\"acme\"]\npoll_interval");
    let text = text.replace("provider = \"local\"", "provider = \"none\"");
    world.root.project("widget", &format!("{text}[mirrors]\na-silent = \"{hangs}\"\nup = \"{}\"\n", up.display()));
    let url = world.url.replace("http://", &format!("http://acme:{}@", world.tokens["acme"]));
    let cloned = git(&world.root.home(), &["clone", "--quiet", &format!("{url}/acme/widget.git"), "clone"]);
    assert!(cloned.status.success());
    let clone = Checkout { folder: world.root.home().join("clone") };
    for n in 1..=2 {
        clone.run(&["checkout", "--quiet", "-b", &format!("chore/{n}"), "origin/main"]);
        let head = clone.commit(&format!("chore-{n}.txt"), "x", "chore");
        clone.run(&["push", "--quiet", "origin", &format!("chore/{n}")]);
        let new = json!({ "head": format!("chore/{n}"), "base": "main", "title": "chore", "body": "" });
        let number = world.api("acme", "POST", "/repos/acme/widget/pulls", new)["number"].as_u64().unwrap();
        let review = json!({ "event": "APPROVED", "commit_id": head, "body": "Good." });
        world.api("review-bot", "POST", &format!("/repos/acme/widget/pulls/{number}/reviews"), review);
        world.until_mergeable(number);
        let began = Instant::now();
        world.rig(&["dev", "poll"]).success();
        assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
        let pull = world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
        assert_eq!(pull["merged"], true);
        until("the mirror that is up has it", || (has(&up) == tip(&world)).then_some(()));
        assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
    }
    drop(silent);
}
