//! CI by a Woodpecker server: which pipeline counts, whose fault a failure is, and what is started anew.

use crate::{
    by_hand_support::{World, until},
    woodpecker_support::{REPOSITORY, TOKEN, Woodpecker},
};
use rig::{
    adapters::{
        ci::{WoodpeckerCi, WoodpeckerPlan},
        system_clock::SystemClock,
    },
    domain::{ci::CiVerdict, ids::Sha},
    ports::ci::Ci,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the agent does: it pushes, pushes again when CI is red, and waits for the review.
const SCRIPT: &str = r#"{ "version": 1, "rules": [
    { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
    { "contains": "the test of woodpecker failed", "actions": [
        { "run": "echo again >> work.txt && git add -A && git commit -qm Again && git push -q origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: ", "actions": [
        { "run": "echo one > work.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] } ] }"#;

fn sha(letter: char) -> Sha {
    letter.to_string().repeat(40).parse().unwrap()
}

fn plan(server: &Woodpecker, token: &str, repository_id: Option<u64>) -> WoodpeckerPlan {
    WoodpeckerPlan {
        url: server.url.clone(),
        token: SecretString::from(token.to_owned()),
        repository_id,
        repository: "acme/widget".parse().unwrap(),
        stale: None,
        redact: Arc::new(|text| text.replace("hunter22", "***")),
    }
}

fn client(server: &Woodpecker) -> WoodpeckerCi {
    WoodpeckerCi::new(plan(server, TOKEN, None), Arc::new(SystemClock::default())).unwrap()
}

#[tokio::test]
async fn only_the_newest_pipeline_of_the_pull_request_at_the_commit_counts() {
    let server = Woodpecker::serve().await;
    let ci = client(&server);
    let head = sha('a');
    assert!(!ci.runs_here());
    assert!(matches!(ci.run(&head).await.unwrap(), CiVerdict::Pending { .. }));
    server.pipeline("push", head.as_str(), "success", &[("test", "success", 0)]);
    server.pipeline("pull_request", sha('b').as_str(), "success", &[("test", "success", 0)]);
    assert!(
        matches!(ci.run(&head).await.unwrap(), CiVerdict::Pending { .. }),
        "neither is the pull request's at the head"
    );
    server.pipeline("pull_request", head.as_str(), "failure", &[("test", "failure", 1)]);
    assert!(matches!(ci.run(&head).await.unwrap(), CiVerdict::Red { .. }));
    server.pipeline("pull_request", head.as_str(), "success", &[("test", "success", 0)]);
    assert_eq!(ci.run(&head).await.unwrap(), CiVerdict::Green);
    assert_eq!(server.board.lock().unwrap().requests.iter().filter(|one| one.contains("lookup")).count(), 1);
}

#[tokio::test]
async fn a_pipeline_on_a_later_page_is_found() {
    let server = Woodpecker::serve().await;
    let head = sha('a');
    server.pipeline("pull_request", head.as_str(), "success", &[("test", "success", 0)]);
    for _ in 0..120 {
        server.pipeline("pull_request", sha('b').as_str(), "failure", &[("test", "failure", 1)]);
    }
    assert_eq!(client(&server).run(&head).await.unwrap(), CiVerdict::Green);
}

#[tokio::test]
async fn a_failure_is_told_with_step_exit_code_and_the_plain_end_of_its_log() {
    let server = Woodpecker::serve().await;
    let head = sha('a');
    let steps = [("clone", "success", 0), ("lint", "success", 0), ("test", "failure", 101)];
    let number = server.pipeline("pull_request", head.as_str(), "failure", &steps);
    server.log(number, number * 100 + 3, "one\n\x1b[31mtest failed\x1b[0m\n 10%\r100%\npassword hunter22");
    let CiVerdict::Red { steps } = client(&server).run(&head).await.unwrap() else { panic!("not red") };
    let [step] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((step.name.as_str(), step.exit_code), ("test / test", Some(101)));
    assert_eq!(step.log_tail, "one\ntest failed\n100%\npassword ***");
    assert_eq!(step.link, format!("{}/repos/{REPOSITORY}/pipeline/{number}", server.url));
}

#[tokio::test]
async fn a_missing_log_and_errors_of_the_definition_are_failures_all_the_same() {
    let server = Woodpecker::serve().await;
    let (head, other) = (sha('a'), sha('b'));
    server.pipeline("pull_request", head.as_str(), "failure", &[("test", "failure", 2)]);
    let CiVerdict::Red { steps } = client(&server).run(&head).await.unwrap() else { panic!("not red") };
    assert_eq!((steps[0].log_tail.as_str(), steps[0].exit_code), ("", Some(2)));
    server.pipeline("pull_request", other.as_str(), "error", &[]);
    let errors =
        json!([{ "message": "bad habit", "is_warning": true }, { "message": "no image", "is_warning": false }]);
    server.board.lock().unwrap().pipelines.last_mut().unwrap()["errors"] = errors;
    let CiVerdict::Red { steps } = client(&server).run(&other).await.unwrap() else { panic!("not red") };
    assert_eq!(steps[0].log_tail, "no image");
}

#[tokio::test]
async fn what_waits_for_approval_is_held_and_says_where() {
    let server = Woodpecker::serve().await;
    let head = sha('a');
    server.pipeline("pull_request", head.as_str(), "blocked", &[]);
    let CiVerdict::Held { why } = client(&server).run(&head).await.unwrap() else { panic!("not held") };
    assert!(why.contains("approval") && why.contains("/pipeline/1"), "{why}");
}

#[tokio::test]
async fn a_restart_is_made_once_for_each_break_whatever_is_repeated() {
    let server = Woodpecker::serve().await;
    let (ci, head) = (client(&server), sha('a'));
    ci.restart(&head, 1).await.unwrap();
    assert_eq!(server.count("POST"), 0, "there is nothing to start anew");
    server.pipeline("pull_request", head.as_str(), "failure", &[("clone", "failure", 128)]);
    assert!(matches!(ci.run(&head).await.unwrap(), CiVerdict::Broken { .. }));
    for _ in 0..3 {
        ci.restart(&head, 1).await.unwrap();
    }
    assert_eq!(server.count("POST"), 1);
    assert!(matches!(ci.run(&head).await.unwrap(), CiVerdict::Pending { .. }));
    server.newest_ends("killed", &[("clone", "success", 0), ("test", "killed", 137)]);
    ci.restart(&head, 1).await.unwrap();
    assert_eq!(server.count("POST"), 1, "the second break is not told yet");
    ci.restart(&head, 2).await.unwrap();
    assert_eq!(server.count("POST"), 2);
    server.newest_ends("success", &[("test", "success", 0)]);
    assert_eq!(ci.run(&head).await.unwrap(), CiVerdict::Green);
}

#[tokio::test]
async fn errors_name_the_server_and_the_remedy_and_are_no_verdict() {
    let server = Woodpecker::serve().await;
    let head = sha('a');
    server.pipeline("pull_request", head.as_str(), "success", &[]);
    let clock = Arc::new(SystemClock::default());
    let wrong = WoodpeckerCi::new(plan(&server, "another-token", None), clock.clone()).unwrap();
    let error = wrong.run(&head).await.unwrap_err().to_string();
    assert!(error.contains("ci.woodpecker_token_env") && !error.contains("another-token"), "{error}");
    let elsewhere = WoodpeckerCi::new(plan(&server, TOKEN, Some(99)), clock).unwrap();
    let error = elsewhere.run(&head).await.unwrap_err().to_string();
    assert!(error.contains("ci.woodpecker_repo_id"), "{error}");
    for status in [403, 409, 500, 503] {
        server.board.lock().unwrap().broken = Some(status);
        let error = client(&server).run(&head).await.unwrap_err().to_string();
        assert!(error.contains("Woodpecker at http://127.0.0.1"), "{status}: {error}");
    }
}

#[test]
fn an_issue_is_merged_with_woodpecker_after_a_broken_clone_and_a_red_test() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Woodpecker::serve());
    let text = world.project_text("acme/widget", "").replace(
        "provider = \"local\"\ncommand = \"test -e README.md\"",
        &format!("provider = \"woodpecker\"\nwoodpecker_url = \"{}\"\nwoodpecker_token_env = \"WP\"", server.url),
    );
    world.root.project("widget", &text);
    world.env(&[("WP", TOKEN)]);
    std::fs::write(world.root.path().join("script.json"), SCRIPT).unwrap();
    let issue = world.issue("Add a file", "Please.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    let head = |stage: &str| {
        until(&format!("the run is {stage}"), || {
            let run = world.runs(false).into_iter().next()?;
            (run["stage"] == stage).then(|| run["pull_request"].as_u64()).flatten()
        });
        let open = world.api("acme", "GET", "/repos/acme/widget/pulls?state=open", Value::Null);
        open[0]["head"]["sha"].as_str().unwrap().to_owned()
    };
    let first = head("awaiting_ci");
    let number = server.pipeline("pull_request", &first, "failure", &[("clone", "success", 0), ("test", "failure", 1)]);
    server.log(number, number * 100 + 2, "the test of woodpecker failed");
    until("the agent was told", || {
        let (_, lines) = world.json(&["phase", "log", &issue.to_string()]);
        let told = lines.iter().any(|line| line.to_string().contains("the test of woodpecker failed"));
        told.then_some(())
    });
    let second = until("the agent has pushed again", || {
        let open = world.api("acme", "GET", "/repos/acme/widget/pulls?state=open", Value::Null);
        let now = open[0]["head"]["sha"].as_str()?.to_owned();
        (now != first).then_some(now)
    });
    server.pipeline("pull_request", &second, "success", &[("test", "success", 0)]);
    head("awaiting_review");
    let review = json!({ "event": "APPROVED", "commit_id": second, "body": "Good." });
    let open = world.api("acme", "GET", "/repos/acme/widget/pulls?state=open", Value::Null);
    world.api("review-bot", "POST", &format!("/repos/acme/widget/pulls/{}/reviews", open[0]["number"]), review);
    // The run itself goes on to watch the checks of the primary branch.
    until("it is merged", || {
        let closed = world.api("acme", "GET", "/repos/acme/widget/pulls?state=closed", Value::Null);
        closed[0]["merged"].as_bool().filter(|merged| *merged)
    });
    let log =
        std::fs::read_to_string(world.root.path().join("state/run/widget").join(issue.to_string()).join("driver.log"));
    assert!(!log.unwrap_or_default().contains(TOKEN));
}
