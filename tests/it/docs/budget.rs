//! How many requests a tick makes over a project in which nothing has changed; docs/configuration.md states the numbers.

use crate::{forge_support::TestForge, root_support::TestRoot};
use serde_json::{Value, json};

/// What the page says: requests whatever there is, and further ones.
const FIXED: u64 = 5;
const FOR_A_WAITING_PULL_REQUEST: u64 = 1;
const FOR_A_REVIEW_WITH_COMMENTS: u64 = 1;
const FOR_AN_OPEN_DEPENDENCY: u64 = 1;
const FOR_A_FOREIGN_ISSUE_IN_PROGRESS: u64 = 1;
const FOR_A_FURTHER_PAGE: u64 = 1;

async fn requests_of_a_tick(forge: &TestForge, root: &TestRoot) -> (u64, Value) {
    forge.call("DELETE", "/-/requests", &forge.admin, Value::Null).await;
    let mut poll = root.rig(&["dev", "poll", "--json"]);
    poll.env("PATH", std::env::var_os("PATH").unwrap());
    let output = tokio::task::spawn_blocking(move || poll.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = forge.call("GET", "/-/requests", &forge.admin, Value::Null).await.body;
    (answer["total"].as_u64().unwrap(), answer)
}

async fn project(forge: &TestForge) -> TestRoot {
    let root = TestRoot::new();
    let text = format!(
        "repo = \"dev/widget\"\nforge_url = \"{}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev\"\n\
         [agent]\ncommand = \"sh\"\nmin_free_memory_mb = 0\n[review]\nreviewers = [\"review\"]\n",
        forge.running.url()
    );
    root.project("widget", &text).env_file(&format!("FORGE_TOKEN={}\n", forge.dev), 0o600);
    root.rig(&["dev", "start"]).assert().success();
    root
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_over_an_unchanged_project_makes_as_many_requests_as_the_reference_says() {
    let forge = TestForge::new().await;
    let root = project(&forge).await;
    let (empty, asked) = requests_of_a_tick(&forge, &root).await;
    assert_eq!(empty, FIXED, "{asked:#}");

    // Pull requests of the bot that wait for their review, one of them with changes requested.
    let checkout = forge.clone("checkout");
    let mut pull = 0;
    for number in 1..=3 {
        pull = forge.pull(&checkout, &format!("work/{number}"), &format!("{number}.txt"), "text\n").await;
    }
    let remark = json!({ "path": "3.txt", "new_position": 1, "body": "why?" });
    let review = json!({ "event": "REQUEST_CHANGES", "body": "no", "comments": [remark] });
    let answer = forge.call("POST", &forge.at(&format!("/pulls/{pull}/reviews")), &forge.review, review).await;
    assert_eq!(answer.body["comments_count"], 1, "{}", answer.body);
    let pulls = 3 * FOR_A_WAITING_PULL_REQUEST + FOR_A_REVIEW_WITH_COMMENTS;

    // An issue that somebody else works on, and issues of two pages that wait for one outside the queue.
    let backlog = label(&forge, "backlog").await;
    let foreign = json!({ "title": "in other hands", "labels": [label(&forge, "in-progress").await] });
    forge.post(&forge.at("/issues"), foreign).await;
    let first = forge.post(&forge.at("/issues"), json!({ "title": "what they wait for" })).await.body;
    for number in 0..60 {
        let body = format!("Depends on #{}", first["number"]);
        let issue = json!({ "title": format!("issue {number}"), "body": body, "labels": [backlog] });
        assert_eq!(forge.post(&forge.at("/issues"), issue).await.status, 201);
    }
    let issues = FOR_AN_OPEN_DEPENDENCY + FOR_A_FOREIGN_ISSUE_IN_PROGRESS + FOR_A_FURTHER_PAGE;
    for _ in 0..2 {
        let (full, asked) = requests_of_a_tick(&forge, &root).await;
        assert_eq!(full, FIXED + pulls + issues, "{asked:#}");
    }
}

async fn label(forge: &TestForge, name: &str) -> Value {
    forge.post(&forge.at("/labels"), json!({ "name": name, "color": "#00aa00" })).await.body["id"].clone()
}
