//! What keeps a pull request from its merge although it is green and approved, or is about to be: nobody waits for it in silence.

use super::{
    agent::{note, phase, plan, push, quick, rule},
    clocks::{Led, at_work},
    world::{World, beside},
};
use async_trait::async_trait;
use jiff::SignedDuration;
use rig::{
    domain::{ci::CiVerdict, ids::Sha},
    ports::ci::{Ci, CiError},
};
use serde_json::json;
use std::sync::Arc;

/// CI that lets nobody in.
struct Unreachable;

#[async_trait]
impl Ci for Unreachable {
    async fn run(&self, _: &Sha) -> Result<CiVerdict, CiError> {
        Err(CiError { message: "the token is revoked".into() })
    }

    fn runs_here(&self) -> bool {
        false
    }
}

async fn told(world: &World, words: &str) -> usize {
    world.comments_of_bot().await.iter().filter(|text| text.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_draft_is_told_of_once_and_merged_when_it_is_none_any_more() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let title = world.get("/pulls/2").await["title"].as_str().unwrap().to_owned();
    world.owner_call("PATCH", "/pulls/2", json!({ "title": format!("WIP: {title}") })).await;
    let story = async {
        world
            .until("people are told", || async { told(&world, "cannot be merged as it is: it is a draft").await == 1 })
            .await;
        world.forget_requests().await;
        world.until("it is looked at again", || world.was_asked_for("/repos/acme/greeter/issues/1/comments")).await;
        world.owner_call("PATCH", "/pulls/2", json!({ "title": title })).await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!((told(&world, "cannot be merged as it is").await, world.count("GateHeld").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_that_a_person_merges_into_another_branch_is_no_merge_of_its_issue() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    world.owner_call("POST", "/branches", json!({ "new_branch_name": "release", "old_ref_name": "main" })).await;
    world.owner_call("PATCH", "/pulls/2", json!({ "base": "release" })).await;
    world
        .until("a human can merge", || async {
            world.as_account(&world.owner, "POST", "/pulls/2/merge", json!({ "Do": "merge" })).await.status == 200
        })
        .await;
    world.until_stage("blocked").await;
    world.expect_tidy().await;
    assert_eq!((world.get("/issues/1").await["state"].clone(), world.count("Merged").await), (json!("open"), 0));
    assert!(told(&world, "was merged into `release`").await > 0, "{:?}", world.comments_of_bot().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_before_the_agents_own_question_is_no_answer_to_it() {
    let mends = push("git rm -q broken && echo repaired >> work.txt");
    let world = World::new(&plan(vec![
        rule("Answer of acme", &[note("answered"), phase("awaiting_ci", "")]),
        rule("CI failed at", &[note("failed"), mends, phase("escalate", "which colour")]),
        rule("Title: Task", &[note("begun"), push("touch broken work.txt"), phase("awaiting_ci", "")]),
    ]))
    .await;
    world.poll().await;
    world.until_stage("escalated").await;
    world.until("the push is seen", || async { world.count("OwnPushSeen").await == 1 }).await;
    world.forget_requests().await;
    world.until("it is looked at again", || world.was_asked_for("/repos/acme/greeter/issues/1/comments")).await;
    assert_eq!((world.stage().await.as_str(), world.count("HeadMoved").await), ("escalated", 0));
    world.owner_call("POST", "/issues/1/comments", json!({ "body": "@dev-bot blue" })).await;
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.notes(), ["1 begun", "1 failed", "1 answered", "1 passed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ci_that_runs_anew_is_waited_for_and_its_word_counts() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    world.kill_drivers().await;
    let head = world.run().await.unwrap().head.unwrap();
    let review = json!({ "event": "APPROVED", "commit_id": head.as_str(), "body": "Good." });
    let answer = world.as_account(&world.reviewer, "POST", "/pulls/2/reviews", review).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // It says nothing of this head any more: it was started anew.
    let led = Led::from_here(&world, |_, _| {}).await;
    world.until_stage("awaiting_ci").await;
    led.leave().await;
    world.poll().await;
    world.expect_merged().await;
    assert_eq!((world.count("GateHeld").await, world.count("CiFinished").await), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ci_that_cannot_be_asked_is_a_matter_for_people_and_not_the_agents_doing() {
    let world = at_work().await;
    let led = Led::from_here(&world, |engine, _| engine.ci = Arc::new(Unreachable)).await;
    std::fs::write(world.path("notes/go"), "").unwrap();
    world.until_stage("awaiting_ci").await;
    world
        .until("people are asked", || async {
            // Less than what nobody would have watched.
            led.hands.pass(SignedDuration::from_secs(50));
            led.wake(&world).await;
            world.stage().await == "escalated"
        })
        .await;
    assert_eq!((world.timers().await, world.run().await.unwrap().used.ci_timeouts), (vec![], 0));
    let why = format!("{:?}", world.run().await.unwrap().stage);
    assert!(why.contains("CI cannot be asked: the token is revoked"), "{why}");
    led.leave().await;
}
