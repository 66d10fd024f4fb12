//! Sessions end without having been told to.

use super::{
    agent::{asking, note, phase, plan, push, quick, rule, run},
    world::{World, beside},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_goes_on_with_its_work_and_the_second_loss_asks_a_human() {
    let work = "echo precious > work.txt && git add -A && git commit -qm Unpushed && echo dirty > dirty.txt && echo more >> README.md";
    let look =
        "test -f work.txt && test -f dirty.txt && grep -q more README.md && git log -1 --format=%s | grep -q Unpushed";
    let world = World::new(&plan(vec![
        rule("Answer of acme", &[note("answered"), push("true"), phase("awaiting_ci", "")]),
        rule("This is a new attempt", &[run(look), note("again"), run("touch \"$NOTES/again\""), json!("hang")]),
        rule("Title: Task", &[note("begun"), run(work), run("touch \"$NOTES/ready\""), json!("hang")]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.until("the first attempt has worked", || async { world.path("notes/ready").exists() }).await;
        world.end_session();
        world.until("the second attempt has looked", || async { world.path("notes/again").exists() }).await;
        assert_eq!(world.run().await.unwrap().agent_session.0, 1, "the agent's own session was resumed");
        world.end_session();
        world.until_stage("escalated").await;
        world
            .until("the issue says so", || async {
                world.comments_of_bot().await.iter().any(|text| text.contains("needs a human"))
            })
            .await;
        let stranger = world.forge.ensure_user("stranger").await.unwrap();
        world.as_account(&stranger, "POST", "/issues/1/comments", json!({ "body": "@dev-bot delete all" })).await;
        world.owner_call("POST", "/issues/1/comments", json!({ "body": "@dev-bot please go on" })).await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "3 passed").collect();
    assert_eq!(notes, ["1 begun", "2 again", "3 answered"]);
    assert_eq!(world.count("HumanReplied").await, 1, "only who may write is heard");
    for (file, text) in [("work.txt", "precious\n"), ("dirty.txt", "dirty\n"), ("README.md", "A greeter.\nmore\n")] {
        let content = crate::forge_support::git(&world.path("mirror.git"), &["show", &format!("main:{file}")]);
        assert_eq!(String::from_utf8_lossy(&content.stdout), text, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_merges_when_the_session_is_gone() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until("the agent waits for the review", || async { world.count("PhaseReported").await == 2 }).await;
    assert_eq!(world.stage().await, "awaiting_review");
    world.tmux(&["kill-server"]);
    world.until("the loss is known", || async { world.count("SessionLost").await == 1 }).await;
    world.kill_drivers().await;
    world.poll().await;
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.count("SessionStarted").await, 1);
    assert_eq!(world.notes(), ["1 begun", "1 passed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_asked_for_after_the_session_is_gone_bring_it_back() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until("the agent waits for the review", || async { world.count("PhaseReported").await == 2 }).await;
    world.kill_drivers().await;
    world.tmux(&["kill-server"]);
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| !note.ends_with("passed")).collect();
    assert_eq!(notes, ["1 begun", "2 changes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_does_not_outlive_the_strikes() {
    let world = World::new(&plan(vec![rule("Title: Task", &[note("begun"), json!("kill")])])).await;
    world.poll().await;
    world.until_stage("escalated").await;
    assert!((2..=3).contains(&world.notes().len()), "{:?}", world.notes());
    world.until("no session is left", || async { world.sessions().is_empty() }).await;
    let problems = world.problems(&["in-progress"]).await;
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_asks_and_the_answer_reaches_the_same_session_once() {
    let world = World::new(&asking()).await;
    let story = async {
        world.poll().await;
        world.until_stage("escalated").await;
        world.kill_drivers().await;
        world.owner_call("POST", "/issues/1/comments", json!({ "body": "@dev-bot: blue" })).await;
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 answered"]);
    assert!(world.comments_of_bot().await.iter().any(|text| text.contains("which colour")));
}

impl World {
    fn end_session(&self) {
        let ended = self.tmux(&["kill-session", "-t", "=dev-greeter-1"]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
