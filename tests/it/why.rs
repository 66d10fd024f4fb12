//! `rig why`: what it says after real ticks, and before any.

use crate::{forge_support::TestForge, root_support::TestRoot};
use serde_json::{Value, json};
use std::process::Output;

struct World {
    forge: TestForge,
    root: TestRoot,
    backlog: Value,
}

impl World {
    async fn new() -> Self {
        let forge = TestForge::new().await;
        let root = TestRoot::new();
        root.project("widget", &project(&forge.running.url()));
        root.env_file(&format!("FORGE_TOKEN={}\n", forge.dev), 0o600);
        let label = json!({ "name": "backlog", "color": "#00aa00" });
        let backlog = forge.post(&forge.at("/labels"), label).await.body["id"].clone();
        Self { forge, root, backlog }
    }

    async fn issue(&self, body: &str) -> u64 {
        let issue = json!({ "title": "a task", "body": body, "labels": [self.backlog] });
        self.forge.post(&self.forge.at("/issues"), issue).await.body["number"].as_u64().unwrap()
    }

    async fn rig(&self, args: &[&str]) -> Output {
        let mut command = self.root.rig(args);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Returns the answers of `rig why ARGS`, one for each project.
    async fn why(&self, args: &[&str]) -> Vec<Value> {
        let output = self.rig(&[&["why", "--json"], args].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn code(&self, number: u64) -> String {
        self.why(&[&number.to_string()]).await[0]["code"].as_str().unwrap().to_owned()
    }

    async fn comments(&self, number: u64) -> usize {
        let comments = self.forge.get(&self.forge.at(&format!("/issues/{number}/comments"))).await.body;
        comments.as_array().unwrap().len()
    }
}

fn project(url: &str) -> String {
    format!(
        "repo = \"dev/widget\"\nforge_url = \"{url}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev\"\n\
         [agent]\ncommand = \"sh\"\nmin_free_memory_mb = 0\n[review]\nreviewers = [\"review\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_seen_is_answered_with_its_cause_and_the_remedy() {
    let world = World::new().await;
    let answer = &world.why(&["7"]).await[0];
    assert_eq!((&answer["code"], &answer["change"]), (&json!("never_seen"), &json!("`rig dev start`")), "{answer:#}");
    world.root.rig(&["dev", "start"]).assert().success();
    let answer = &world.why(&["7"]).await[0];
    assert!(answer["change"].as_str().unwrap().contains("rig dev poll"), "{answer:#}");
    assert!(world.rig(&["dev", "poll"]).await.status.success());
    let answer = &world.why(&["7"]).await[0];
    assert!(answer["words"].as_str().unwrap().contains("neither `backlog` nor `in-progress`"), "{answer:#}");
    assert_eq!(world.why(&[]).await[0]["standstills"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_issue_and_pull_request_has_its_reason_and_the_project_its_summary() {
    let world = World::new().await;
    world.root.rig(&["dev", "start"]).assert().success();
    let open =
        world.forge.post(&world.forge.at("/issues"), json!({ "title": "not queued" })).await.body["number"].clone();
    let waits = world.issue(&format!("Depends on #{open}")).await;
    let lost = world.issue("Depends on #999").await;
    let own = world.issue(&format!("Depends on #{}", lost + 1)).await;
    let checkout = world.forge.clone("checkout");
    let ours = world.forge.pull(&checkout, "work/1", "1.txt", "text\n").await;
    let body = json!({ "head": "work/1", "base": "main", "title": "by another" });
    world
        .forge
        .call("PATCH", &world.forge.at(&format!("/pulls/{ours}")), &world.forge.dev, json!({ "state": "closed" }))
        .await;
    let others =
        world.forge.call("POST", &world.forge.at("/pulls"), &world.forge.review, body).await.body["number"].clone();
    for tick in 0..3 {
        let output = world.rig(&["dev", "poll"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for number in [lost, own] {
            assert_eq!(world.comments(number).await, usize::from(tick > 0), "on #{number} after tick {tick}");
        }
    }
    assert_eq!(world.code(waits).await, "dependency_open");
    assert_eq!(world.code(lost).await, "dependency_unknown");
    assert_eq!(world.code(own).await, "self_dependency");
    let answer = &world.why(&[&others.to_string()]).await[0];
    assert_eq!((&answer["code"], &answer["subject"]), (&json!("not_ours"), &json!("pull_request")), "{answer:#}");
    let summary = &world.why(&[]).await[0];
    assert_eq!(summary["needs_people"].as_array().unwrap().len(), 2, "{summary:#}");
    assert_eq!(summary["issues_by_code"]["dependency_open"], 1, "{summary:#}");

    // What is closed is told from what still waits, and so is what only one of several projects knows.
    let closed = json!({ "state": "closed" });
    world.forge.call("PATCH", &world.forge.at(&format!("/issues/{waits}")), &world.forge.dev, closed).await;
    assert!(world.rig(&["dev", "poll"]).await.status.success());
    assert_eq!(world.code(waits).await, "no_longer_listed");
    world.root.project("gadget", &project(&world.forge.running.url()).replace("dev/widget", "dev/gadget"));
    let answers = world.why(&[&lost.to_string()]).await;
    assert_eq!(answers.iter().map(|one| &one["project"]).collect::<Vec<_>>(), ["widget"]);
    assert_eq!(world.why(&["12345"]).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_cannot_be_had_is_told_by_the_exit_code_and_by_why() {
    let world = World::new().await;
    world.root.rig(&["dev", "start"]).assert().success();
    let number = world.issue("Please do it.").await;
    let rule = json!([{ "path": "/dependencies$", "count": 0, "action": { "kind": "status", "status": 500 } }]);
    assert_eq!(world.forge.call("POST", "/-/faults", &world.forge.admin, rule).await.status, 204);
    let output = world.rig(&["dev", "poll"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.code(number).await, "unknown");
    assert_eq!(world.comments(number).await, 0);
    let summary = &world.why(&[]).await[0];
    assert_eq!(summary["unknown"][0]["number"], number, "{summary:#}");
    assert!(!summary["problems"].as_array().unwrap().is_empty(), "{summary:#}");

    world.forge.call("DELETE", "/-/faults", &world.forge.admin, Value::Null).await;
    let rule = json!([{ "path": "/issues$", "count": 0, "action": { "kind": "garbage" } }]);
    world.forge.call("POST", "/-/faults", &world.forge.admin, rule).await;
    let output = world.rig(&["dev", "poll"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let problems = &world.why(&[]).await[0]["problems"];
    assert!(problems[0].as_str().unwrap().starts_with("the queue is unknown"), "{problems:#}");
    assert_eq!(world.code(number).await, "unknown", "an unread queue tells nothing new");
}
