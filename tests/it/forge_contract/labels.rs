//! Labels of repositories and of issues.

use super::world::World;
use serde_json::{Value, json};

contract![
    a_repository_lists_its_labels,
    adding_labels_returns_all_and_drops_what_is_unknown,
    names_do_as_well_as_ids,
    replacing_labels_leaves_only_those,
    removing_a_label_by_id,
];

async fn a_repository_lists_its_labels(world: &World) {
    let repository = world.repository().await;
    for name in ["one", "two", "three"] {
        repository.label(name).await;
    }
    let reply = repository.get("/labels").await.expect(200);
    let mut names: Vec<String> = reply.each("name").iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["one", "three", "two"]);
    assert!(reply.header("link").is_none(), "{:?}", reply.headers);
    let label = &reply.json[0];
    assert_eq!(label["color"].as_str().unwrap().trim_start_matches('#').to_lowercase(), "00aabb");
    assert!(label["description"].is_string() && label["exclusive"] == false);
    assert_eq!(repository.get("/labels?limit=2").await.expect(200).json.as_array().unwrap().len(), 2);
    repository.post("/labels", json!({"name": "bad", "color": "not a colour"})).await.expect(422);
}

async fn adding_labels_returns_all_and_drops_what_is_unknown(world: &World) {
    let repository = world.repository().await;
    let (one, two) = (repository.label("one").await, repository.label("two").await);
    let path = format!("/issues/{}/labels", repository.issue("x").await);
    let reply = repository.post(&path, json!({ "labels": [one] })).await.expect(200);
    assert_eq!(reply.each("name"), ["one"]);
    let reply = repository.post(&path, json!({ "labels": [two, 4_000_000] })).await.expect(200);
    assert_eq!(sorted(reply.each("name")), ["one", "two"]);
    let reply = repository.post(&path, json!({ "labels": ["typo"] })).await.expect(200);
    assert_eq!(sorted(reply.each("name")), ["one", "two"]);
    // A second time is the same as once.
    let reply = repository.post(&path, json!({ "labels": [one] })).await.expect(200);
    assert_eq!(sorted(reply.each("name")), ["one", "two"]);
    assert_eq!(sorted(repository.get(&path).await.expect(200).each("name")), ["one", "two"]);
}

async fn names_do_as_well_as_ids(world: &World) {
    let repository = world.repository().await;
    repository.label("one").await;
    let path = format!("/issues/{}/labels", repository.issue("x").await);
    let reply = repository.post(&path, json!({ "labels": ["one"] })).await.expect(200);
    assert_eq!(reply.each("name"), ["one"]);
}

async fn replacing_labels_leaves_only_those(world: &World) {
    let repository = world.repository().await;
    let (one, two) = (repository.label("one").await, repository.label("two").await);
    let path = format!("/issues/{}/labels", repository.issue("x").await);
    repository.post(&path, json!({ "labels": [one] })).await.expect(200);
    let reply = world.put(&repository.owner, &repository.at(&path), json!({ "labels": [two] })).await.expect(200);
    assert_eq!(reply.each("name"), ["two"]);
}

async fn removing_a_label_by_id(world: &World) {
    let repository = world.repository().await;
    let (one, two) = (repository.label("one").await, repository.label("two").await);
    let path = format!("/issues/{}/labels", repository.issue("x").await);
    repository.post(&path, json!({ "labels": [one] })).await.expect(200);
    repository.delete(format_args!("{path}/{one}")).await.expect(204);
    repository.delete(format_args!("{path}/{two}")).await.expect(204);
    repository.delete(format_args!("{path}/4000000")).await.expect(422);
    assert!(repository.get(&path).await.expect(200).json.as_array().unwrap().is_empty());
}

fn sorted(values: Vec<Value>) -> Vec<String> {
    let mut names: Vec<String> = values.iter().map(|value| value.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
