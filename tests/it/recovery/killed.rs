//! The driver is killed, again and again; the next tick goes on.

use super::{
    agent::{asking, careless, note, phase, plan, quick, rule, run},
    world::{self, World, beside},
};
use serde_json::json;
use std::time::{Duration, Instant};

/// Longest time of a story in which rig is begun again some forty times.
const RESTARTS: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_is_merged_after_red_ci_and_a_review_round() {
    let world = World::new(&careless()).await;
    let story = async {
        assert_eq!(world.poll().await, 0);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    expect_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_killed_after_every_single_event_still_finishes() {
    let world = World::new(&careless()).await;
    beside(killing(&world, |_| Duration::ZERO), world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    expect_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_killed_in_the_middle_of_its_orders_still_finishes() {
    let world = World::new(&careless()).await;
    // Later than the event by a different time for each: in the middle of what it ordered.
    let pause = |kills: u32| Duration::from_millis(u64::from(kills * 37 % 150));
    beside(killing(&world, pause), world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    expect_done_once(&world).await;
}

/// Ticks, and kills the driver after each thing that it writes into the journal, until the issue is merged.
async fn killing(world: &World, pause: impl Fn(u32) -> Duration) {
    let deadline = Instant::now() + RESTARTS;
    let (mut seen, mut kills) = (0, 0);
    while world.stage().await != "merged" {
        world.poll().await;
        while world.journal().await.len() == seen {
            assert!(Instant::now() < deadline, "nothing more happens\n{}", world.story().await);
            if world.drivers().is_empty() {
                world.poll().await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(pause(kills)).await;
        kills += u32::from(world.kill_drivers().await);
        seen = world.journal().await.len();
        assert!(Instant::now() < deadline, "it is not done\n{}", world.story().await);
    }
    world.poll().await;
    world.expect_merged().await;
    // Not every event is followed by a kill: a driver may end by itself, or write two before it is seen.
    assert!(kills > 5, "only {kills} kills in {seen} events");
}

/// The agent was told each thing once, in one attempt. That CI passed is told too, but a review or a merge may come first.
async fn expect_done_once(world: &World) {
    assert_eq!(world.count("SessionStarted").await, 1);
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 failed", "1 changes"], "the agent did other things");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_killed_at_any_moment_leave_nothing_half_done() {
    let world = World::new(&careless()).await;
    let story = async {
        let deadline = Instant::now() + RESTARTS;
        let mut tries = 0_u64;
        while world.stage().await != "merged" {
            assert!(Instant::now() < deadline, "it is not done\n{}", world.story().await);
            let mut tick = world.command(&["dev", "poll"]).spawn().unwrap();
            // Longer from time to time: where a tick is slow, too, one of them gets on.
            let life = Duration::from_millis(20 + tries * 7919 % (160 + 4 * tries));
            let _ = tokio::time::timeout(life, tick.wait()).await;
            let _ = tick.kill().await;
            tries += 1;
        }
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    assert_eq!(world.count("IssueClaimed").await, 1);
    expect_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_told_to_stop_leaves_the_session_to_the_next() {
    let world = World::new(&careless()).await;
    let story = async {
        let deadline = Instant::now() + RESTARTS;
        let mut seen = 0;
        while world.stage().await != "merged" {
            assert!(Instant::now() < deadline, "it is not done\n{}", world.story().await);
            world.poll().await;
            while world.journal().await.len() == seen && !world.drivers().is_empty() {
                assert!(Instant::now() < deadline, "it is not done\n{}", world.story().await);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            seen = world.journal().await.len();
            world.drivers().into_iter().for_each(world::terminate);
            world.until("the driver leaves", || async { world.drivers().is_empty() }).await;
        }
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    expect_done_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_wrote_before_everything_died_counts() {
    let refuse = "printf 'Refusal: already_done\\nIt is there.\\n' > \"$SUMMARY_FILE\"";
    let actions = [
        note("begun"),
        run("touch \"$NOTES/ready\""),
        json!({ "wait_for_file": { "path": "go" } }),
        run(refuse),
        phase("failed", ""),
        json!("kill"),
    ];
    let world = World::new(&plan(vec![rule("Title: Task", &actions)])).await;
    world.poll().await;
    world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
    world.kill_drivers().await;
    std::fs::write(world.worktree().join("go"), "").unwrap();
    world.until("the agent is dead", || async { world.sessions().is_empty() }).await;
    world.poll().await;
    world.until_stage("refused").await;
    world.expect_tidy().await;
    let problems = world.problems(&["blocked"]).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(world.notes(), ["1 begun"]);
    assert_eq!(world.get("/issues/1").await["state"], "open", "it is not closed on the agent's word");
}

/// What is killed at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Driver,
    Session,
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Driver, Victim::Session, Victim::Both];

impl World {
    /// Kills it this moment, and lets the next tick find what is left.
    async fn lose(&self, victim: Victim) {
        if victim != Victim::Session {
            self.kill_drivers().await;
        }
        if victim != Victim::Driver {
            self.tmux(&["kill-server"]);
        }
        self.poll().await;
    }

    async fn comments_with(&self, words: &str) -> usize {
        self.comments_of_bot().await.iter().filter(|text| text.contains(words)).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_outlives_what_is_killed_and_is_asked_and_answered_once() {
    for victim in VICTIMS {
        let world = World::new(&asking()).await;
        let story = async {
            world.poll().await;
            world.until_stage("escalated").await;
            world.lose(victim).await;
            world.until("people are asked", || async { world.comments_with("which colour").await > 0 }).await;
            assert_eq!(world.stage().await, "escalated", "{victim:?}");
            world.lose(victim).await;
            world.owner_call("POST", "/issues/1/comments", json!({ "body": "@dev-bot: blue" })).await;
            world.expect_merged().await;
        };
        beside(story, world.reviewing(&["APPROVED"])).await;
        assert_eq!(world.comments_with("which colour").await, 1, "{victim:?}");
        let done: Vec<String> =
            world.notes().iter().filter_map(|note| note.split_once(' ')).map(|(_, what)| what.to_owned()).collect();
        let done: Vec<&str> = done.iter().map(String::as_str).filter(|what| *what != "passed").collect();
        assert_eq!(done, ["begun", "answered"], "{victim:?}");
    }
}

/// Killed while the merge is asked for, and once its answer is lost: the forge may have merged or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_under_way_outlives_what_is_killed_and_happens_once() {
    for victim in VICTIMS {
        let world = World::new(&quick()).await;
        let late = json!([{ "method": "POST", "path": "/merge$", "action": { "kind": "latency", "ms": 3_000 } }]);
        let set = crate::forge_support::call(&world.forge.url(), "POST", "/-/faults", &world.admin, late).await;
        assert_eq!(set.status, 204, "{}", set.body);
        let story = async {
            world.poll().await;
            world.until_stage("merging").await;
            world.until("the merge is asked for", || world.was_asked_for("/pulls/2/merge")).await;
            world.lose(victim).await;
            world.expect_merged().await;
        };
        beside(story, world.reviewing(&["APPROVED"])).await;
        assert_eq!(world.count("Merged").await, 1, "{victim:?}");
        assert_eq!(world.count("SessionStarted").await, 1, "{victim:?}: nobody has anything to do there any more");
        let commits = world.clone_as_owner();
        let log = crate::forge_support::git(&commits.folder, &["log", "--format=%s", "--", "work.txt"]);
        let merges = String::from_utf8_lossy(&log.stdout).lines().count();
        assert_eq!(merges, 1, "{victim:?}: {}", String::from_utf8_lossy(&log.stdout));
    }
}
