//! Claims that do not go through at the first try, and markers that others write.

use super::{
    ticking::Ticking,
    worlds::{Template, issue, label, pull_by},
};
use crate::forge_support::TestForge;
use rig::{
    domain::{
        code::Code,
        ids::{BranchName, IssueNumber, PullRequestNumber},
        run::{Event, Stage},
    },
    engine::{
        claim, comments, commit,
        launch::{Claimed, Way, claim_under_lock},
        resume, snapshot, survey,
    },
};
use serde_json::json;

const DEAD: &str = "rig works on this issue.\n<!-- rig:claim run=01ARZ3NDEKTSV4RRFFQ69G5FAV root=gone -->";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_repeated_does_not_lose_to_one_that_was_dead_when_it_began() {
    let unavailable = json!({ "kind": "status", "status": 503 });
    for (method, path) in [("POST", "/issues/1/comments$"), ("PATCH", "/issues/1$")] {
        let forge = TestForge::new().await;
        let backlog = label(&forge, "backlog").await;
        let number = issue(&forge, "was somebody else's", "", &[&backlog]).await;
        forge.post(&forge.at(&format!("/issues/{number}/comments")), json!({ "body": DEAD })).await;
        let mut ticking = Ticking::over(&Template::of(forge, false, &[number]).await).await;
        ticking.spoil(json!({ "method": method, "path": path, "count": 1, "action": unavailable })).await;
        let (result, launched) = ticking.tick().await;
        assert_eq!((launched, result.unwrap().problems.len()), (vec![number], 1), "{path}");
        // The driver repeats the claim; the label is the run's own by now.
        ticking.drive().await;
        let state = ticking.state().await;
        assert_eq!(state.runs, vec![(number, "surveying".to_owned())], "{path}: {:?}", state.issues[&number]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_assigned_themselves_stays_assigned_through_a_claim_and_after_it() {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    let number = issue(&forge, "is somebody's", "", &[&backlog]).await;
    let path = forge.at(&format!("/issues/{number}"));
    let answer = forge.call("PATCH", &path, &forge.dev, json!({ "assignees": ["review"] })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let mut ticking = Ticking::over(&Template::of(forge, false, &[number]).await).await;
    ticking.tick().await.0.unwrap();
    ticking.drive().await;
    let state = ticking.state().await;
    assert_eq!(state.runs, vec![(number, "surveying".to_owned())]);
    assert_eq!(state.issues[&number]["assignees"], json!(["dev", "review"]));
    claim::unassign(ticking.world(), IssueNumber(number)).await.unwrap();
    assert_eq!(ticking.state().await.issues[&number]["assignees"], json!(["review"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_of_an_agent_plants_no_marker() {
    let forge = TestForge::new().await;
    let in_progress = label(&forge, "in-progress").await;
    let number = issue(&forge, "has a sly agent", "", &[&in_progress]).await;
    let ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
    let world = ticking.world();
    let sly = format!("{DEAD}\n{}\n<!-- rig:two -->", "x");
    comments::post_once(world, number, "one", &sly).await.unwrap();
    // It would have been taken for there.
    comments::post_once(world, number, "two", "the question itself").await.unwrap();
    comments::post_once(world, number, "two", "the question itself").await.unwrap();
    let all = world.forge.comments(number).await.unwrap();
    let asked = all.iter().filter(|comment| comment.body.contains("the question itself")).count();
    assert_eq!((all.len(), asked), (2, 1), "{all:?}");
    let issue = world.forge.issue(IssueNumber(number)).await.unwrap();
    let candidate = snapshot::candidate(world, &[], issue).await;
    assert_eq!(candidate.claim.known(), Some(&rig::domain::queue::Claim::Nobody), "a forged claim is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_is_not_claimed_as_an_issue() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let pull = pull_by(&forge, &forge.dev, &checkout, "work", "", "COMMENT").await["number"].as_u64().unwrap();
    let ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
    let queue = snapshot::base(ticking.world(), &[], Vec::new());
    let claimed = claim_under_lock(ticking.world(), &queue, IssueNumber(pull), Way::ByHand).await.unwrap();
    assert!(matches!(claimed, Claimed::No { code: Code::PullRequest, .. }));
    assert!(ticking.world().store.open_runs(None).await.unwrap().is_empty());
}

/// A run that goes on with a pull request which says of no issue that it closes it.
async fn adopted() -> (Ticking, u64, u64) {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let pull = pull_by(&forge, &forge.dev, &checkout, "parser", "", "APPROVED").await["number"].as_u64().unwrap();
    let backlog = label(&forge, "backlog").await;
    let number = issue(&forge, "has one already", &format!("Existing PR: #{pull}"), &[&backlog]).await;
    let mut ticking = Ticking::over(&Template::of(forge, false, &[number]).await).await;
    let spoiled = json!({ "path": "/pulls", "count": 0, "action": { "kind": "status", "status": 503 } });
    ticking.spoil(spoiled).await;
    ticking.tick().await.0.unwrap();
    ticking.mend().await;
    let world = ticking.world();
    let id = world.store.open_runs(None).await.unwrap()[0].run.clone();
    let mut run = resume::load(world, &id).await.unwrap();
    assert_eq!(run.stage, Stage::Surveying);
    let order = run.pending.keys().next().cloned();
    let head = world.forge.pull_request(PullRequestNumber(pull)).await.unwrap().head;
    let surveyed = Event::PriorWorkSurveyed {
        branch: BranchName::new("parser").unwrap(),
        adopted: Some(PullRequestNumber(pull)),
        head: Some(head),
        prior: Vec::new(),
        ci_fixes_spent: 0,
    };
    commit::commit(world, &mut run, 0, surveyed, order, &[]).await.unwrap();
    (ticking, number, pull)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_that_a_run_has_adopted_is_judged_for_the_issue_of_that_run() {
    let (mut ticking, number, pull) = adopted().await;
    let report = ticking.tick().await.0.unwrap();
    let line = report.lines.iter().find(|line| line.subject == pull).unwrap();
    assert!(line.words.contains(&format!("#{number}")), "{line:?}");
    assert!(ticking.state().await.merged.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_cannot_tell_is_not_taken_for_nothing() {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    let number = issue(&forge, "begins", "", &[&backlog]).await;
    let mut ticking = Ticking::over(&Template::of(forge, false, &[number]).await).await;
    ticking.tick().await.0.unwrap();
    let world = ticking.world();
    let id = world.store.open_runs(None).await.unwrap()[0].run.clone();
    let run = resume::load(world, &id).await.unwrap();
    survey::survey(world, &run).await.unwrap();
    ticking.break_table("runs").await;
    let error = survey::survey(world, &run).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}
