//! People and other processes act at the same time.

use super::{
    agent::{note, phase, plan, push, quick, rule, run},
    world::{World, beside},
};
use rig::domain::run::Event;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ticks_and_starts_by_hand_at_once_make_one_session() {
    let world = World::new(&quick()).await;
    let story = async {
        let ticks = (0..6).map(|_| world.rig(&["dev", "poll"]));
        let by_hand = (0..3).map(|_| world.rig(&["dev", "agent", "1"]));
        let both = futures::future::join(futures::future::join_all(ticks), futures::future::join_all(by_hand));
        let (ticks, by_hand) = both.await;
        assert!(ticks.iter().all(|output| output.status.success()), "{ticks:#?}");
        let codes: Vec<i32> = by_hand.iter().map(|output| output.status.code().unwrap_or(-1)).collect();
        // One that comes when all is done finds the issue closed.
        let is_late =
            |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).contains("issue #1 is closed");
        let is_told = |output: &std::process::Output| match output.status.code() {
            Some(0 | 75) => true,
            Some(1) => is_late(output),
            _ => false,
        };
        assert!(by_hand.iter().all(is_told), "{by_hand:#?}");
        assert!(codes.iter().filter(|code| **code == 0).count() <= 1, "{codes:?}");
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.count("IssueClaimed").await, 1);
    assert_eq!(world.count("SessionStarted").await, 1);
    assert_eq!(world.notes().iter().filter(|note| *note == "1 begun").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_by_hand_leaves_a_led_run_alone() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let second = world.rig(&["dev", "agent", "1"]).await;
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_human_merges_first() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    world
        .until("a human can merge", || async {
            let answer = world.as_account(&world.owner, "POST", "/pulls/2/merge", json!({ "Do": "squash" })).await;
            answer.status == 200
        })
        .await;
    world.expect_merged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_human_merges_while_no_driver_lives() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    world.kill_drivers().await;
    world
        .until("a human can merge", || async {
            let answer = world.as_account(&world.owner, "POST", "/pulls/2/merge", json!({ "Do": "merge" })).await;
            answer.status == 200
        })
        .await;
    world.poll().await;
    world.expect_merged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_closed_by_a_human_blocks_the_issue() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    world.owner_call("PATCH", "/pulls/2", json!({ "state": "closed" })).await;
    world.until_stage("blocked").await;
    world.expect_tidy().await;
    for _ in 0..2 {
        world.poll().await;
    }
    let problems = world.problems(&["blocked"]).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(world.get("/issues/1").await["state"], "open");
    let comments = world.comments_of_bot().await;
    let diagnoses = comments.iter().filter(|text| text.contains("This is blocked"));
    assert_eq!(diagnoses.count(), 1, "{comments:#?}");
    assert_eq!(world.count("IssueClaimed").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_closed_by_a_human_ends_the_session_and_keeps_the_work() {
    let work = "echo precious > work.txt && git add -A && git commit -qm Unpushed && echo dirty > dirty.txt";
    let actions = [note("begun"), run(work), run("touch \"$NOTES/ready\""), json!("hang")];
    let world = World::new(&plan(vec![rule("Title: Task", &actions)])).await;
    world.poll().await;
    world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
    world.owner_call("PATCH", "/issues/1", json!({ "state": "closed" })).await;
    world.until_stage("closed").await;
    world.expect_tidy().await;
    let problems = world.problems(&[]).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert!(!world.worktree().exists());
    let rescued = world.rescued();
    assert_eq!(rescued.len(), 1, "{rescued:?}");
    for (file, text) in [("work.txt", "precious\n"), ("dirty.txt", "dirty\n")] {
        assert_eq!(world.rig_git(&["show", &format!("{}:{file}", rescued[0])]), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_closed_while_no_driver_lives_is_not_worked_on() {
    let actions = [note("begun"), run("touch \"$NOTES/ready\""), json!("hang")];
    let world = World::new(&plan(vec![rule("Title: Task", &actions)])).await;
    world.poll().await;
    world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
    world.kill_drivers().await;
    world.tmux(&["kill-server"]);
    world.owner_call("PATCH", "/issues/1", json!({ "state": "closed" })).await;
    world.poll().await;
    world.until_stage("closed").await;
    world.expect_tidy().await;
    let problems = world.problems(&[]).await;
    assert!(problems.is_empty(), "{problems:?}");
    let merged = world.facts().await.iter().any(|fact| matches!(fact.event, Event::Merged { .. }));
    assert!(!merged && world.pulls().await == Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_a_human_on_the_branch_is_judged_anew() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let checkout = world.clone_as_owner();
    checkout.run(&["checkout", "--quiet", "fix/issue-1"]);
    let head = checkout.commit("human.txt", "mine\n", "A human's touch");
    checkout.run(&["push", "--quiet", "origin", "fix/issue-1"]);
    world
        .until("CI has passed at the new head", || async {
            world.run().await.unwrap().green_at.is_some_and(|green| green.as_str() == head)
        })
        .await;
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
    let content = crate::forge_support::git(&world.path("mirror.git"), &["show", "main:human.txt"]);
    assert_eq!(String::from_utf8_lossy(&content.stdout), "mine\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_with_the_primary_branch_is_resolved_by_the_agent() {
    let rebase = "git fetch -q origin && { git rebase -q origin/main || { printf 'ours and theirs\\n' > README.md && git add -A && \
                  GIT_EDITOR=true git rebase --continue; }; } && git push -q --force-with-lease origin HEAD";
    let change = push("echo ours > README.md");
    let world = World::new(&plan(vec![
        rule("The branch conflicts", &[note("conflict"), run(rebase), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), change, phase("awaiting_ci", "")]),
    ]))
    .await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let checkout = world.clone_as_owner();
    checkout.commit("README.md", "theirs\n", "Meanwhile");
    checkout.run(&["push", "--quiet", "origin", "main"]);
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
    let content = crate::forge_support::git(&world.path("mirror.git"), &["show", "main:README.md"]);
    assert_eq!(String::from_utf8_lossy(&content.stdout), "ours and theirs\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_issue_that_is_put_back_begins_anew_beside_its_prior_art() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    std::fs::write(world.worktree().join("dirty.txt"), "dirty\n").unwrap();
    world.owner_call("PATCH", "/pulls/2", json!({ "state": "closed" })).await;
    world.until_stage("blocked").await;
    world.expect_tidy().await;
    world.relabel("blocked", "backlog").await;
    let story = async {
        world.poll().await;
        world.until_stage("merged").await;
        world.expect_tidy().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let problems = world.problems(&[]).await;
    assert!(problems.is_empty(), "{problems:?}");
    let merged: Vec<bool> = world.pulls().await.iter().map(|pull| pull["merged"] == true).collect();
    assert_eq!(merged.iter().filter(|merged| **merged).count(), 1, "{merged:?}");
    assert_eq!(merged.len(), 2);
    let kept = world.rescued().iter().any(|name| world.rig_git(&["show", &format!("{name}:dirty.txt")]) == "dirty\n");
    assert!(kept, "{:?}", world.rescued());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_put_back_with_its_pull_request_open_goes_on_with_it() {
    let give_up = rule("asks for changes", &[note("changes"), phase("failed", "no idea")]);
    let world = World::new(&plan(vec![
        rule("This is a new attempt", &[note("anew"), push("echo more >> work.txt"), phase("awaiting_ci", "")]),
        give_up,
    ]))
    .await;
    world.poll().await;
    beside(world.until_stage("blocked"), world.reviewing(&["REQUEST_CHANGES"])).await;
    world.expect_tidy().await;
    world.relabel("blocked", "backlog").await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.pulls().await.len(), 1);
}

impl World {
    async fn relabel(&self, from: &str, to: &str) {
        let labels = self.get("/labels").await;
        let id =
            |name: &str| labels.as_array().unwrap().iter().find(|label| label["name"] == name).unwrap()["id"].clone();
        self.as_account(&self.owner, "DELETE", &format!("/issues/1/labels/{}", id(from)), Value::Null).await;
        self.owner_call("POST", "/issues/1/labels", json!({ "labels": [id(to)] })).await;
    }

    pub(super) fn rig_git(&self, args: &[&str]) -> String {
        let folder = self.root.git_dir(&"greeter".parse().unwrap()).join("rig.git");
        String::from_utf8(crate::forge_support::git(&folder, args).stdout).unwrap()
    }

    pub(super) fn rescued(&self) -> Vec<String> {
        let all = self.rig_git(&["for-each-ref", "--format=%(refname)"]);
        all.lines().filter(|name| name.starts_with("refs/heads/rig/rescue")).map(str::to_owned).collect()
    }
}
