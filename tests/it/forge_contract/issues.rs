//! Issues, comments, and pages of them.

use super::world::World;
use serde_json::{Value, json};

contract![
    an_issue_has_what_rig_reads,
    a_wrong_issue_is_422,
    only_open_issues_are_listed_unless_asked,
    pull_requests_are_issues_unless_left_out,
    pages_are_capped_and_counted,
    labels_in_a_query_are_all_required,
    unknown_labels_in_a_query_are_discarded,
    assignees_are_replaced,
    comments_come_whole_and_in_order,
    a_deleted_comment_is_gone,
];

async fn an_issue_has_what_rig_reads(world: &World) {
    let repository = world.repository().await;
    let number = repository.issue("A title").await;
    let issue = repository.get(format_args!("/issues/{number}")).await.expect(200).json;
    assert_eq!(
        (&issue["number"], &issue["title"], &issue["body"]),
        (&json!(number), &json!("A title"), &json!("text"))
    );
    assert_eq!((&issue["state"], &issue["user"]["login"]), (&json!("open"), &json!(repository.owner.name)));
    assert!(issue["labels"].as_array().is_some_and(Vec::is_empty));
    assert!(issue["assignees"].is_null() || issue["assignees"].as_array().is_some_and(Vec::is_empty));
    assert!(issue["pull_request"].is_null() && issue["closed_at"].is_null());
    assert!(issue["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let page = format!("/{}/{}/issues/{number}", repository.owner.name, repository.name);
    assert!(issue["html_url"].as_str().unwrap().ends_with(&page));
    assert_eq!(issue["comments"], 0);
}

async fn a_wrong_issue_is_422(world: &World) {
    let repository = world.repository().await;
    let reply = repository.post("/issues", json!({"body": "no title"})).await.expect(422);
    assert!(reply.json["message"].is_string());
}

async fn only_open_issues_are_listed_unless_asked(world: &World) {
    let repository = world.repository().await;
    let (open, closed) = (repository.issue("open").await, repository.issue("closed").await);
    let reply = repository.patch(format_args!("/issues/{closed}"), json!({"state": "closed"})).await.expect(201);
    assert_eq!(reply.json["state"], "closed");
    assert!(reply.json["closed_at"].is_string());
    for (query, wanted) in [
        ("", vec![open]),
        ("?state=open", vec![open]),
        ("?state=closed", vec![closed]),
        ("?state=all", vec![closed, open]),
    ] {
        let reply = repository.get(format_args!("/issues{query}")).await.expect(200);
        assert_eq!(sorted(reply.each("number")), sorted(wanted.iter().map(|n| json!(n)).collect()), "{query}");
    }
    let reply = repository.patch(format_args!("/issues/{closed}"), json!({"state": "open"})).await.expect(201);
    assert_eq!(reply.json["state"], "open");
}

fn sorted(mut values: Vec<Value>) -> Vec<u64> {
    let mut numbers: Vec<u64> = values.drain(..).map(|value| value.as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

async fn pull_requests_are_issues_unless_left_out(world: &World) {
    let repository = world.repository().await;
    let issue = repository.issue("an issue").await;
    repository.branch("change", "a", "a").await;
    let pull = repository.pull("change").await;
    assert_eq!(sorted(repository.get("/issues").await.expect(200).each("number")), [issue, pull]);
    assert_eq!(sorted(repository.get("/issues?type=issues").await.expect(200).each("number")), [issue]);
    let seen = repository.get(format_args!("/issues/{pull}")).await.expect(200).json;
    assert_eq!(seen["pull_request"]["merged"], false);
}

async fn pages_are_capped_and_counted(world: &World) {
    let repository = world.repository().await;
    for n in 0..52 {
        repository.issue(&format!("issue {n}")).await;
    }
    let first = repository.get("/issues?type=issues&limit=1000").await.expect(200);
    let size = first.json.as_array().unwrap().len();
    assert!((1..=50).contains(&size), "{size}");
    assert_eq!(first.header("x-total-count"), Some("52"));
    assert!(first.header("link").is_some_and(|link| link.contains("rel=\"next\"")), "{:?}", first.headers);
    let standard = repository.get("/issues?type=issues").await.expect(200);
    assert!(standard.json.as_array().unwrap().len() <= 30);
    let mut all = Vec::new();
    for page in 1.. {
        let reply = repository.get(format_args!("/issues?type=issues&limit=20&page={page}")).await.expect(200);
        let rows = reply.each("number");
        assert!(rows.len() <= 20);
        if rows.is_empty() {
            break;
        }
        all.extend(rows);
    }
    assert_eq!(sorted(all), (1..=52).collect::<Vec<u64>>());
}

async fn labels_in_a_query_are_all_required(world: &World) {
    let repository = world.repository().await;
    let (one, two) = (repository.label("one").await, repository.label("two").await);
    for (title, labels) in [("first", vec![one]), ("both", vec![one, two]), ("none", vec![])] {
        repository.post("/issues", json!({"title": title, "labels": labels})).await.expect(201);
    }
    let titles =
        async |query: &str| repository.get(format_args!("/issues?labels={query}")).await.expect(200).each("title");
    assert_eq!(titles("one,two").await, ["both"]);
    assert_eq!(titles("one").await.len(), 2);
}

async fn unknown_labels_in_a_query_are_discarded(world: &World) {
    let repository = world.repository().await;
    let one = repository.label("one").await;
    repository.post("/issues", json!({"title": "with", "labels": [one]})).await.expect(201);
    repository.issue("without").await;
    assert_eq!(repository.get("/issues?labels=typo").await.expect(200).each("number").len(), 2);
    assert_eq!(repository.get("/issues?labels=one,typo").await.expect(200).each("title"), ["with"]);
}

async fn assignees_are_replaced(world: &World) {
    let repository = world.repository().await;
    let number = repository.issue("to be done").await;
    let writer = repository.collaborator("writer", "write").await;
    let path = format!("/issues/{number}");
    for names in [vec![&writer.name], vec![&repository.owner.name, &writer.name], vec![&repository.owner.name], vec![]]
    {
        let reply = repository.patch(&path, json!({ "assignees": names })).await.expect(201);
        let mut there: Vec<&str> = reply.json["assignees"]
            .as_array()
            .map(|users| users.iter().map(|user| user["login"].as_str().unwrap()).collect())
            .unwrap_or_default();
        let mut wanted: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        there.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(there, wanted);
    }
    repository.patch(&path, json!({"assignees": ["no-such-user-at-all"]})).await.expect_any(&[404, 422]);
}

async fn comments_come_whole_and_in_order(world: &World) {
    let repository = world.repository().await;
    let number = repository.issue("talk").await;
    let path = format!("/issues/{number}/comments");
    for n in 0..3 {
        let reply = repository.post(&path, json!({ "body": format!("comment {n}") })).await.expect(201);
        assert!(reply.json["id"].as_u64().is_some_and(|id| id > 0));
        assert_eq!(reply.json["user"]["login"], repository.owner.name);
        assert!(reply.json["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }
    let reply = repository.get(format_args!("{path}?limit=1&page=1")).await.expect(200);
    assert_eq!(reply.each("body"), ["comment 0", "comment 1", "comment 2"]);
    assert_eq!(repository.get(format_args!("/issues/{number}")).await.json["comments"], 3);
    repository.post(&path, json!({"body": ""})).await.expect(422);
    repository.post("/issues/4711/comments", json!({"body": "x"})).await.expect_any(&[404, 500]);
}

async fn a_deleted_comment_is_gone(world: &World) {
    let repository = world.repository().await;
    let number = repository.issue("talk").await;
    let path = format!("/issues/{number}/comments");
    let id = repository.post(&path, json!({"body": "x"})).await.expect(201).json["id"].clone();
    let stranger = world.account("stranger").await;
    world.delete(&stranger, &repository.at(format_args!("/issues/comments/{id}"))).await.expect(403);
    repository.delete(format_args!("/issues/comments/{id}")).await.expect(204);
    repository.delete(format_args!("/issues/comments/{id}")).await.expect(404);
    assert!(repository.get(&path).await.expect(200).json.as_array().unwrap().is_empty());
}
