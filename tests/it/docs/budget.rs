//! How many requests a tick makes over a project in which nothing has changed; docs/configuration.md states the numbers.

use crate::{forge_support::TestForge, root_support::TestRoot};
use serde_json::{Value, json};

/// What the page says: requests whatever there is, and further ones.
const FIXED: u64 = 4;
const FOR_A_WAITING_PULL_REQUEST: u64 = 1;
const FOR_AN_OPEN_DEPENDENCY: u64 = 1;

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

    // Pull requests of the bot that wait for their review, and issues that wait for an open one.
    let checkout = forge.clone("checkout");
    for number in 1..=3 {
        forge.pull(&checkout, &format!("fix/issue-9{number}"), &format!("{number}.txt"), "text\n").await;
    }
    let label = forge.post(&forge.at("/labels"), json!({ "name": "backlog", "color": "#00aa00" })).await.body;
    let first = forge.post(&forge.at("/issues"), json!({ "title": "what they wait for" })).await.body;
    for number in 0..20 {
        let body = format!("Depends on #{}", first["number"]);
        let issue = json!({ "title": format!("issue {number}"), "body": body, "labels": [label["id"]] });
        assert_eq!(forge.post(&forge.at("/issues"), issue).await.status, 201);
    }
    let expected = FIXED + 3 * FOR_A_WAITING_PULL_REQUEST + FOR_AN_OPEN_DEPENDENCY;
    for _ in 0..2 {
        let (full, asked) = requests_of_a_tick(&forge, &root).await;
        assert_eq!(full, expected, "{asked:#}");
    }
}
