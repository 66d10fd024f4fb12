//! The forge's own links between issues.

use super::world::{Repository, World};
use serde_json::json;

contract![links_are_seen_from_both_ends, an_issue_with_open_dependencies_cannot_be_closed];

async fn linked(repository: &Repository) -> (u64, u64) {
    let (first, second) = (repository.issue("first").await, repository.issue("second").await);
    let meta = json!({"owner": repository.owner.name, "repo": repository.name, "index": first});
    repository.post(format_args!("/issues/{second}/dependencies"), meta).await.expect(201);
    (first, second)
}

async fn links_are_seen_from_both_ends(world: &World) {
    let repository = world.repository().await;
    let (first, second) = linked(&repository).await;
    let waits_for = repository.get(format_args!("/issues/{second}/dependencies")).await.expect(200);
    assert_eq!(waits_for.each("number"), [json!(first)]);
    assert_eq!(waits_for.json[0]["state"], "open");
    let full_name = format!("{}/{}", repository.owner.name, repository.name);
    assert_eq!(waits_for.json[0]["repository"]["full_name"], full_name);
    assert_eq!(
        repository.get(format_args!("/issues/{first}/blocks")).await.expect(200).each("number"),
        [json!(second)]
    );
    let none = repository.get(format_args!("/issues/{first}/dependencies")).await.expect(200);
    assert!(none.json.as_array().is_some_and(Vec::is_empty), "{}", none.text);
    repository.get("/issues/4711/dependencies").await.expect(404);
}

async fn an_issue_with_open_dependencies_cannot_be_closed(world: &World) {
    let repository = world.repository().await;
    let (first, second) = linked(&repository).await;
    let close =
        async |number: u64| repository.patch(format_args!("/issues/{number}"), json!({"state": "closed"})).await;
    close(second).await.expect(412);
    assert_eq!(repository.get(format_args!("/issues/{second}")).await.json["state"], "open");
    close(first).await.expect(201);
    close(second).await.expect(201);
}
