//! Chore pull requests with CI on this machine: checked by rig itself, once, whatever is posted; merged by what the store has.

use crate::by_hand_support::{PATIENCE, World, end, until};
use crate::forge_support::{Checkout, git};
use predicates::str::contains;
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio};

/// Counts its runs, waits to be let go where it is held, and wants no file named `bad.txt`.
const COMMAND: &str = "echo run >> ~/runs; while test -e ~/hold; do sleep 0.05; done; echo looked; ! test -e bad.txt";

struct Chores {
    world: World,
    clone: Checkout,
}

impl Chores {
    fn new() -> Self {
        let world = World::new();
        let text = world.project_text("acme/widget", "");
        let text = text.replace("poll_interval", "chore_authors = [\"acme\"]\npoll_interval");
        world.root.project("widget", &text.replace("test -e README.md", COMMAND));
        let url = world.url.replace("http://", &format!("http://acme:{}@", world.tokens["acme"]));
        let output = git(&world.root.home(), &["clone", "--quiet", &format!("{url}/acme/widget.git"), "clone"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let clone = Checkout { folder: world.root.home().join("clone") };
        Self { world, clone }
    }

    /// Opens a pull request from a chore branch and approves it. Returns its number and its head.
    fn open(&self, branch: &str, file: &str, body: &str) -> (u64, String) {
        self.clone.run(&["checkout", "--quiet", "-b", branch, "origin/main"]);
        let head = self.clone.commit(file, "x", branch);
        self.clone.run(&["push", "--quiet", "origin", branch]);
        let new = json!({ "head": branch, "base": "main", "title": branch, "body": body });
        let number = self.world.api("acme", "POST", "/repos/acme/widget/pulls", new)["number"].as_u64().unwrap();
        let review = json!({ "event": "APPROVED", "commit_id": head, "body": "Good." });
        self.world.api("review-bot", "POST", &format!("/repos/acme/widget/pulls/{number}/reviews"), review);
        (number, head)
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.home("runs")).unwrap_or_default().lines().count()
    }

    fn home(&self, name: &str) -> PathBuf {
        self.world.root.home().join(name)
    }

    fn is_merged(&self, number: u64) -> bool {
        self.world.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null)["merged"] == true
    }

    /// Waits until a commit shows the end of rig's own check. Returns its state and what it says.
    fn checked(&self, head: &str) -> (String, String) {
        until("the check shows itself", || {
            let path = format!("/repos/acme/widget/statuses/{head}?limit=50");
            let statuses = self.world.api("acme", "GET", &path, Value::Null);
            let ended = statuses.as_array()?.iter().find(|one| {
                one["creator"]["login"] == "dev-bot" && one["context"] == "rig/local" && one["status"] != "pending"
            })?;
            Some((ended["status"].as_str()?.to_owned(), ended["description"].as_str()?.to_owned()))
        })
    }

    /// Returns the processes that check.
    fn checkers(&self) -> Vec<u32> {
        let root = format!("RIG_ROOT={}", self.world.root.path().display());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| {
            let has = |name: &str, wanted: &str| {
                let bytes = std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
                bytes.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes())
            };
            has("cmdline", "check") && has("environ", &root)
        })
        .collect()
    }
}

impl Drop for Chores {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.home("hold"));
        self.checkers().into_iter().for_each(|checker| end(checker, "KILL"));
    }
}

#[test]
fn a_chore_is_checked_once_and_merged_by_rigs_own_verdict_whatever_is_posted() {
    let chores = Chores::new();
    let world = &chores.world;
    let issue = world.issue("Tidy up", "Please.", &[]);
    let (good, good_head) = chores.open("chore/good", "good.txt", &format!("Fixes #{issue}"));
    let (bad, bad_head) = chores.open("chore/bad", "bad.txt", "");
    let forged = json!({ "state": "success", "context": "rig/local", "description": "trust me" });
    world.api("acme", "POST", &format!("/repos/acme/widget/statuses/{bad_head}"), forged);
    world.rig(&["dev", "poll"]).success();
    assert_eq!((chores.is_merged(good), chores.is_merged(bad)), (false, false));
    assert_eq!(chores.checked(&good_head).0, "success");
    let (state, said) = chores.checked(&bad_head);
    assert!(state == "failure" && said.contains(&format!("(the log: rig logs {bad} --ci)")), "{state}: {said}");
    until("all is checked", || chores.checkers().is_empty().then_some(()));
    for _ in 0..2 {
        world.rig(&["dev", "poll"]).success();
    }
    assert_eq!((chores.is_merged(good), chores.is_merged(bad), chores.runs()), (true, false, 2));
    let closed = world.api("acme", "GET", &format!("/repos/acme/widget/issues/{issue}"), Value::Null);
    assert_eq!(closed["state"], "closed");
    world.rig(&["gate", &bad.to_string(), "--json"]).success().stdout(contains("\"ci_red\""));
    world.rig(&["logs", &bad.to_string(), "--ci"]).success().stdout(contains("looked"));
    world.rig(&["dev", "check", &bad.to_string()]).code(1).stdout(contains("CI failed"));
    assert_eq!(chores.runs(), 3);
    let refused = world.rig(&["dev", "check", &good.to_string()]).code(1);
    refused.stderr(contains("is none that rig merges without a run"));
}

#[test]
fn a_check_that_was_killed_is_made_again_and_none_runs_twice_at_once() {
    let chores = Chores::new();
    let world = &chores.world;
    std::fs::write(chores.home("hold"), "").unwrap();
    let (number, head) = chores.open("chore/long", "long.txt", "");
    for _ in 0..3 {
        world.rig(&["dev", "poll"]).success();
    }
    until("the check has begun", || (chores.runs() == 1).then_some(()));
    let checker = until("only one process checks", || match chores.checkers().as_slice() {
        [one] => Some(*one),
        _ => None,
    });
    let second = world.process(&["dev", "check"]).env("RIG_ROOT", world.root.path()).stdout(Stdio::null()).status();
    assert_eq!((second.unwrap().code(), chores.runs()), (Some(75), 1));
    end(checker, "KILL");
    until("it is gone", || chores.checkers().is_empty().then_some(()));
    world.rig(&["dev", "poll"]).success();
    until("the check has begun again", || (chores.runs() == 2).then_some(()));
    std::fs::remove_file(chores.home("hold")).unwrap();
    assert_eq!(chores.checked(&head).0, "success");
    let deadline = std::time::Instant::now() + PATIENCE;
    while !chores.is_merged(number) {
        assert!(std::time::Instant::now() < deadline);
        world.rig(&["dev", "poll"]).success();
    }
    assert_eq!(chores.runs(), 2);
    world.rig(&["dev", "stop"]).success();
    let (_, held) = chores.open("chore/off", "off.txt", "");
    world.rig(&["dev", "poll"]).success();
    world.rig(&["dev", "check"]).success().stderr(contains("the dev loop is off; rig dev start switches it on"));
    assert_eq!(chores.runs(), 2, "the loop is off, and {held} is left alone");
}

#[test]
fn a_machine_that_breaks_again_and_again_is_told_on_the_pull_request_once() {
    let chores = Chores::new();
    let world = &chores.world;
    let (number, head) = chores.open("chore/unlucky", "unlucky.txt", "");
    let told = || {
        let comments = world.api("acme", "GET", &format!("/repos/acme/widget/issues/{number}/comments"), Value::Null);
        let bodies = comments.as_array().unwrap().iter().filter_map(|comment| comment["body"].as_str());
        bodies.filter(|body| body.contains("could not judge")).map(str::to_owned).collect::<Vec<_>>()
    };
    let text = std::fs::read_to_string(world.root.path().join("projects/widget.toml")).unwrap();
    assert!(text.contains(COMMAND));
    world.root.project("widget", &text.replace(COMMAND, "kill -9 $$"));
    let check = || world.rig(&["dev", "check", &number.to_string()]);
    for _ in 0..3 {
        check().failure().stdout(contains("it could not be checked"));
        assert!(told().is_empty(), "it may still pass");
    }
    for _ in 0..2 {
        check().failure();
    }
    let told = told();
    assert!(told.len() == 1 && told[0].contains(&head[..7]) && told[0].contains("rig dev check"), "{told:?}");
}
