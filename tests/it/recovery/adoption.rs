//! Work that others left of an issue: pull requests that a run goes on with, and those that it only shows to the agent.

use super::{
    agent::{note, phase, plan, push, quick, rule},
    world::{World, beside},
};
use serde_json::json;

/// Most that a first prompt may be with one earlier pull request in it: its diff is cut at 20,000 bytes.
const PROMPT_BYTES: usize = 40_000;

/// What is left behind: a branch with one commit, and its pull request.
struct Left {
    branch: &'static str,
    by_bot: bool,
    file: &'static str,
    content: String,
    body: &'static str,
}

impl Left {
    fn by_bot(branch: &'static str, body: &'static str) -> Self {
        Self { branch, by_bot: true, file: "left.txt", content: "left behind\n".into(), body }
    }

    /// Opens it. Returns its number.
    async fn open(&self, world: &World) -> u64 {
        let checkout = world.clone_as_owner();
        checkout.run(&["checkout", "--quiet", "-b", self.branch]);
        checkout.commit(self.file, &self.content, "Begun");
        checkout.run(&["push", "--quiet", "origin", self.branch]);
        let token = if self.by_bot { &world.bot } else { &world.owner };
        let text = json!({ "title": "Begun", "body": self.body, "head": self.branch, "base": "main" });
        let answer = world.as_account(token, "POST", "/pulls", text).await;
        assert!(answer.status < 300, "{}", answer.body);
        answer.body["number"].as_u64().unwrap()
    }
}

/// What the agent does about pull request 2 only when it is told that it is there.
fn knows_of_it(change: &str) -> serde_json::Value {
    let told = "Pull request #2 for this branch exists already";
    rule(told, &[note("knows of it"), push(change), phase("awaiting_ci", "")])
}

/// Waits for the merge of the one pull request that there is, by its own branch.
async fn is_gone_on_with(world: &World, number: u64, branch: &str, verdicts: &[&str]) {
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(verdicts)).await;
    let run = world.run().await.unwrap();
    assert_eq!(run.pull_request.map(|own| own.0), Some(number));
    assert_eq!(run.branch.as_ref().map(|own| own.as_str()), Some(branch));
    assert_eq!(world.count("PullRequestOpened").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_that_the_issue_names_is_repaired_and_made_to_close_the_issue() {
    let world = World::new(&plan(vec![knows_of_it("git rm -q broken && echo mended > work.txt")])).await;
    let left = Left { file: "broken", ..Left::by_bot("parser", "No word of it.") };
    let number = left.open(&world).await;
    world.owner_call("PATCH", "/issues/1", json!({ "body": format!("Please.\n\nExisting PR: #{number}\n") })).await;
    is_gone_on_with(&world, number, "parser", &["APPROVED"]).await;
    assert!(world.notes().contains(&"1 knows of it".to_owned()), "{:?}", world.notes());
    let body = world.pulls().await[0]["body"].as_str().unwrap().to_owned();
    assert_eq!(body, "Fixes #1\n\nNo word of it.\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_of_one_of_the_issues_branches_is_gone_on_with_after_a_review() {
    let world = World::new(&plan(vec![knows_of_it("echo changed > work.txt")])).await;
    let number = Left::by_bot("fix/issue-1-3", "Closes #1").open(&world).await;
    is_gone_on_with(&world, number, "fix/issue-1-3", &["REQUEST_CHANGES", "APPROVED"]).await;
    assert_eq!(world.notes().first().map(String::as_str), Some("1 knows of it"));
    assert_eq!(world.count("SessionStarted").await, 1);
}

/// An agent has no part in it when CI and review find nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_that_says_it_closes_the_issue_is_merged_without_an_agent_when_nothing_is_left_to_do() {
    let world = World::new(&quick()).await;
    let number = Left::by_bot("parser", "This fixes #1.").open(&world).await;
    is_gone_on_with(&world, number, "parser", &["APPROVED"]).await;
    assert_eq!(world.count("SessionStarted").await, 0);
    let content = crate::forge_support::git(&world.path("mirror.git"), &["show", "main:left.txt"]);
    assert_eq!(String::from_utf8_lossy(&content.stdout), "left behind\n");
}

/// Goes to the merge on a branch of its own, beside what was left.
async fn is_prior_art(world: &World, number: u64) {
    let story = async {
        world.poll().await;
        world.until_stage("merged").await;
        world.expect_tidy().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let run = world.run().await.unwrap();
    assert_eq!(run.branch.as_ref().map(|own| own.as_str()), Some("fix/issue-1-2"));
    assert!(run.pull_request.is_some_and(|own| own.0 != number));
    assert_eq!(run.prior.iter().map(|prior| prior.0).collect::<Vec<_>>(), [number]);
    let pulls = world.pulls().await;
    let merged: Vec<bool> = pulls.iter().map(|pull| pull["merged"] == true).collect();
    assert_eq!((merged.len(), merged.iter().filter(|merged| **merged).count()), (2, 1), "{merged:?}");
    assert!(pulls.iter().any(|pull| pull["number"] == number && pull["merged"] == false));
    let problems = world.problems(&[]).await;
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_of_somebody_else_is_prior_art_and_another_branch_is_made() {
    let shown = rule("+left behind", &[note("saw it"), push("touch work.txt"), phase("awaiting_ci", "")]);
    let world = World::new(&plan(vec![shown])).await;
    let left = Left { by_bot: false, ..Left::by_bot("fix/issue-1", "Closes #1") };
    let number = left.open(&world).await;
    is_prior_art(&world, number).await;
    assert_eq!(world.notes().first().map(String::as_str), Some("1 saw it"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pull_request_is_prior_art_of_which_the_prompt_shows_the_beginning() {
    let shown = rule("+line 1\n", &[note("saw it"), push("touch work.txt"), phase("awaiting_ci", "")]);
    let world = World::new(&plan(vec![shown])).await;
    let content: String = (1..=20_000).map(|line| format!("line {line}\n")).collect();
    let left = Left { content, ..Left::by_bot("fix/issue-1", "Closes #1") };
    let number = left.open(&world).await;
    world.owner_call("PATCH", &format!("/pulls/{number}"), json!({ "state": "closed" })).await;
    is_prior_art(&world, number).await;
    assert_eq!(world.notes().first().map(String::as_str), Some("1 saw it"));
    let run = world.root.state_dir().join("run/greeter/1");
    let prompt = std::fs::read_to_string(run.join("attempt-1/prompt.md")).unwrap();
    assert!(prompt.contains("+line 1\n") && prompt.len() < PROMPT_BYTES, "{} bytes", prompt.len());
}
