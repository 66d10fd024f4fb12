//! Agents that do not keep to the protocol, or refuse.

use super::{
    agent::{note, phase, plan, push, rule, run},
    world::{World, beside},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_a_phase_is_reminded_twice_then_replaced_then_a_human_is_asked() {
    let world = World::new(&plan(vec![
        rule("You stopped without writing a phase", &[note("reminded")]),
        rule("Title: Task", &[note("begun")]),
    ]))
    .await;
    world.poll().await;
    world.until_stage("escalated").await;
    let turn =
        |attempt: u32| [format!("{attempt} begun"), format!("{attempt} reminded"), format!("{attempt} reminded")];
    assert_eq!(world.notes(), [turn(1), turn(2)].concat());
    let problems = world.problems(&["in-progress"]).await;
    assert!(problems.is_empty(), "{problems:?}");
    world
        .until("the issue says so", || async {
            world.comments_of_bot().await.iter().filter(|text| text.contains("needs a human")).count() == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn done_without_a_merge_is_told_to_the_agent() {
    let world = World::new(&plan(vec![
        rule("so the issue is not done", &[note("not done"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), phase("done", "")]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 not done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_not_pushed_is_told_to_the_agent() {
    let commit = "touch work.txt && git add -A && git commit -qm Work";
    let world = World::new(&plan(vec![
        rule("Push it", &[note("push"), run("git push -q -u origin HEAD"), phase("awaiting_ci", "")]),
        rule("has no commit", &[note("commit"), run(commit), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), phase("awaiting_ci", "")]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 commit", "1 push"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_issue_says_why_and_leaves_the_queue() {
    let refuse = "printf 'Refusal: too_large\\nReason: this is three issues\\n' > \"$SUMMARY_FILE\"";
    let world = World::new(&plan(vec![rule("Title: Task", &[note("begun"), run(refuse), phase("failed", "")])])).await;
    world.poll().await;
    world.until_stage("refused").await;
    world.expect_tidy().await;
    for _ in 0..2 {
        world.poll().await;
    }
    let problems = world.problems(&["underspecified"]).await;
    assert!(problems.is_empty(), "{problems:?}");
    let comments = world.comments_of_bot().await;
    let refusals = comments.iter().filter(|text| text.contains("> this is three issues"));
    assert_eq!(refusals.count(), 1, "{comments:#?}");
    assert_eq!(world.get("/issues/1").await["state"], "open");
    assert_eq!(world.count("IssueClaimed").await, 1, "it is not claimed again");
    assert!(world.pulls().await.is_empty() && !world.worktree().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_an_unmet_dependency_nor_work_that_is_there_already_closes_the_issue() {
    for word in ["unmet_dependency", "already_done"] {
        let refuse = format!("printf 'Refusal: {word}\\nReason: see the other one\\n' > \"$SUMMARY_FILE\"");
        let world =
            World::new(&plan(vec![rule("Title: Task", &[note("begun"), run(&refuse), phase("failed", "")])])).await;
        world.poll().await;
        world.until_stage("refused").await;
        world.expect_tidy().await;
        world.poll().await;
        let problems = world.problems(&["blocked"]).await;
        assert!(problems.is_empty(), "{word}: {problems:?}");
        let comments = world.comments_of_bot().await;
        let refusals = comments.iter().filter(|text| text.contains("> see the other one")).count();
        assert_eq!(refusals, 1, "{word}: {comments:#?}");
        assert_eq!(world.get("/issues/1").await["state"], "open", "{word}");
        assert_eq!(world.count("IssueClaimed").await, 1, "{word}: it is not claimed again");
        world.expect_log(&[&format!("refused ({word}): see the other one")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_hangs_is_replaced_then_a_human_is_asked() {
    let mut plan = plan(vec![rule("Title: Task", &[note("begun"), json!("hang")])]);
    plan.idle_timeout = "6s";
    let world = World::new(&plan).await;
    world.poll().await;
    world.until_stage("escalated").await;
    assert_eq!(world.notes(), ["1 begun", "2 begun"]);
    assert_eq!(world.sessions(), ["dev-greeter-1"]);
    let problems = world.problems(&["in-progress"]).await;
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_agents_service_costs_no_attempt() {
    let world = World::new(&plan(vec![
        rule("Your last turn was cut off", &[note("again"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), json!({ "api_error": "rate_limit" })]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 again"]);
}
