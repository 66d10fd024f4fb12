//! Commit statuses: the two names of one key, the latest of each context, and pages of them.

use super::world::{Repository, World};
use rig::domain::ids::Sha;
use serde_json::{Value, json};

contract![
    the_word_is_called_state_in_requests_and_status_in_lists,
    a_commit_that_is_not_there_and_an_account_that_may_not_write_are_refused,
    the_combined_status_holds_the_latest_of_each_context,
    the_combined_state_covers_its_page_only,
    no_status_is_a_list_that_is_empty_or_null,
];

async fn main_of(repository: &Repository) -> Sha {
    let reply = repository.get("/branches/main").await.expect(200);
    Sha::new(reply.json["commit"]["id"].as_str().unwrap()).unwrap()
}

async fn post(repository: &Repository, commit: &Sha, state: &str, context: &str) -> Value {
    let body = json!({"state": state, "context": context, "description": "d", "target_url": "http://example.org/1"});
    repository.post(format_args!("/statuses/{commit}"), body).await.expect(201).json
}

async fn the_word_is_called_state_in_requests_and_status_in_lists(world: &World) {
    let repository = world.repository().await;
    let commit = main_of(&repository).await;
    for word in ["pending", "success", "error", "failure", "warning"] {
        let made = post(&repository, &commit, word, word).await;
        assert_eq!(made["status"], word);
    }
    let combined = repository.get(format_args!("/commits/{commit}/status")).await.expect(200);
    assert!(combined.json["state"].is_string() && combined.header("link").is_none());
    assert_eq!(combined.json["sha"], commit.as_str());
    for status in combined.json["statuses"].as_array().unwrap() {
        assert_eq!(status["status"], status["context"]);
        assert_eq!((&status["description"], &status["target_url"]), (&json!("d"), &json!("http://example.org/1")));
        assert!(status["id"].as_u64().is_some_and(|id| id > 0));
    }
    // A branch's name does as well as a commit.
    let by_name = repository.get("/commits/main/status").await.expect(200);
    assert_eq!(by_name.json["statuses"].as_array().unwrap().len(), 5);
}

async fn a_commit_that_is_not_there_and_an_account_that_may_not_write_are_refused(world: &World) {
    let repository = world.repository().await;
    let commit = main_of(&repository).await;
    let nowhere = "0123456789012345678901234567890123456789";
    let reply = repository.post(format_args!("/statuses/{nowhere}"), json!({"state": "success", "context": "c"})).await;
    reply.expect_any(&[400, 404, 422, 500]);
    let reader = world.account("reader").await;
    let body = json!({"state": "success", "context": "c"});
    world.post(&reader, &repository.at(format_args!("/statuses/{commit}")), body).await.expect(403);
    let combined = repository.get(format_args!("/commits/{commit}/status")).await.expect(200);
    assert!(combined.json["statuses"].as_array().is_none_or(Vec::is_empty), "{}", combined.text);
}

async fn the_combined_status_holds_the_latest_of_each_context(world: &World) {
    let repository = world.repository().await;
    let commit = main_of(&repository).await;
    for (state, context) in [("pending", "a"), ("failure", "a"), ("success", "a"), ("pending", "b"), ("success", "b")] {
        post(&repository, &commit, state, context).await;
    }
    let combined = repository.get(format_args!("/commits/{commit}/status")).await.expect(200).json;
    let statuses = combined["statuses"].as_array().unwrap();
    assert_eq!(statuses.len(), 2);
    assert!(statuses.iter().all(|status| status["status"] == "success"), "{combined}");
    assert_eq!(combined["state"], "success");
}

async fn the_combined_state_covers_its_page_only(world: &World) {
    let repository = world.repository().await;
    let commit = main_of(&repository).await;
    for (state, context) in [("failure", "a"), ("success", "b"), ("success", "c")] {
        post(&repository, &commit, state, context).await;
    }
    let (mut states, mut contexts) = (Vec::new(), Vec::new());
    for page in 1..=4 {
        let reply = repository.get(format_args!("/commits/{commit}/status?limit=1&page={page}")).await.expect(200);
        let Some(status) = reply.json["statuses"].as_array().and_then(|statuses| statuses.first()) else { break };
        contexts.push(status["context"].as_str().unwrap().to_owned());
        states.push(reply.json["state"].as_str().unwrap().to_owned());
    }
    contexts.sort();
    states.sort();
    assert_eq!(contexts, ["a", "b", "c"]);
    assert_eq!(states, ["failure", "success", "success"]);
}

async fn no_status_is_a_list_that_is_empty_or_null(world: &World) {
    let repository = world.repository().await;
    let commit = main_of(&repository).await;
    let combined = repository.get(format_args!("/commits/{commit}/status")).await.expect(200).json;
    assert!(combined["statuses"].as_array().is_none_or(Vec::is_empty), "{combined}");
    assert!(["", "pending"].contains(&combined["state"].as_str().unwrap_or("")), "{combined}");
}
