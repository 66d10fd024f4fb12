//! People and other processes act at the same time.

use super::{
    agent::{note, plan, quick, rule, run},
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
        assert!(codes.iter().all(|code| [0, 75].contains(code)), "{by_hand:#?}");
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

impl World {
    fn rig_git(&self, args: &[&str]) -> String {
        let folder = self.root.git_dir(&"greeter".parse().unwrap()).join("rig.git");
        String::from_utf8(crate::forge_support::git(&folder, args).stdout).unwrap()
    }

    fn rescued(&self) -> Vec<String> {
        let all = self.rig_git(&["for-each-ref", "--format=%(refname)"]);
        all.lines().filter(|name| name.contains("rig/rescue")).map(str::to_owned).collect()
    }
}
