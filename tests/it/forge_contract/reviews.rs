//! Reviews: who may give which, what is counted, and what a push does to them.

use super::world::{Account, Reply, Repository, World, eventually};
use rig::domain::ids::Sha;
use serde_json::json;

contract![
    nobody_judges_their_own_change,
    a_verdict_is_listed_with_what_is_counted,
    an_unknown_verdict_is_pending,
    a_rejection_without_a_word_is_refused,
    all_reviews_of_one_reviewer_are_listed,
    remarks_belong_to_their_review,
    asking_again_takes_the_official_mark_from_a_verdict,
    a_push_makes_reviews_stale,
    a_push_dismisses_approvals_where_the_rule_says_so,
];

async fn with_reviewer(world: &World) -> (Repository, Account, u64, Sha) {
    let repository = world.repository().await;
    let reviewer = repository.collaborator("reviewer", "write").await;
    let head = repository.branch("change", "a", "one\ntwo\nthree\n").await;
    let pull = repository.pull("change").await;
    (repository, reviewer, pull, head)
}

async fn review(repository: &Repository, who: &Account, pull: u64, event: &str, head: &Sha) -> Reply {
    let body = json!({"event": event, "body": format!("says {event}"), "commit_id": head.as_str()});
    repository.world.post(who, &repository.at(format_args!("/pulls/{pull}/reviews")), body).await
}

async fn nobody_judges_their_own_change(world: &World) {
    let (repository, _, pull, head) = with_reviewer(world).await;
    for event in ["APPROVED", "REQUEST_CHANGES"] {
        review(&repository, &repository.owner, pull, event, &head).await.expect(422);
    }
    review(&repository, &repository.owner, pull, "COMMENT", &head).await.expect(200);
}

async fn a_verdict_is_listed_with_what_is_counted(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    let stranger = world.account("stranger").await;
    repository.post("/branch_protections", json!({"rule_name": "main", "required_approvals": 1})).await.expect(201);
    review(&repository, &reviewer, pull, "APPROVED", &head).await.expect(200);
    review(&repository, &stranger, pull, "APPROVED", &head).await.expect(200);
    let reply = repository.get(format_args!("/pulls/{pull}/reviews")).await.expect(200);
    assert!(reply.header("link").is_none());
    let of = |name: &str| reply.json.as_array().unwrap().iter().find(|r| r["user"]["login"] == name).unwrap().clone();
    let counted = of(&reviewer.name);
    assert_eq!((&counted["state"], &counted["official"]), (&json!("APPROVED"), &json!(true)));
    assert_eq!((&counted["stale"], &counted["dismissed"]), (&json!(false), &json!(false)));
    assert_eq!((&counted["commit_id"], &counted["body"]), (&json!(head.as_str()), &json!("says APPROVED")));
    assert!(counted["submitted_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(of(&stranger.name)["official"], false);
}

async fn an_unknown_verdict_is_pending(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    let reply = review(&repository, &reviewer, pull, "APPROVE", &head).await.expect(200);
    assert_eq!(reply.json["state"], "PENDING");
}

async fn a_rejection_without_a_word_is_refused(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    let body = json!({"event": "REQUEST_CHANGES", "body": "", "commit_id": head.as_str()});
    world.post(&reviewer, &repository.at(format_args!("/pulls/{pull}/reviews")), body).await.expect(422);
}

async fn all_reviews_of_one_reviewer_are_listed(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    review(&repository, &reviewer, pull, "REQUEST_CHANGES", &head).await.expect(200);
    review(&repository, &reviewer, pull, "APPROVED", &head).await.expect(200);
    let reply = repository.get(format_args!("/pulls/{pull}/reviews")).await.expect(200);
    assert_eq!(reply.each("state"), ["REQUEST_CHANGES", "APPROVED"]);
}

async fn remarks_belong_to_their_review(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    let body = json!({"event": "REQUEST_CHANGES", "body": "see below", "commit_id": head.as_str(),
        "comments": [{"path": "a", "body": "not this", "new_position": 2, "old_position": 0}]});
    let path = repository.at(format_args!("/pulls/{pull}/reviews"));
    let made = world.post(&reviewer, &path, body).await.expect(200);
    assert_eq!((&made.json["state"], &made.json["comments_count"]), (&json!("REQUEST_CHANGES"), &json!(1)));
    let reply = repository.get(format_args!("/pulls/{pull}/reviews/{}/comments", made.json["id"])).await.expect(200);
    let remark = &reply.json[0];
    assert!(remark["resolver"].is_null(), "nobody has resolved it");
    assert_eq!((&remark["path"], &remark["body"], &remark["position"]), (&json!("a"), &json!("not this"), &json!(2)));
}

async fn asking_again_takes_the_official_mark_from_a_verdict(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    repository.post("/branch_protections", json!({"rule_name": "main", "required_approvals": 1})).await.expect(201);
    review(&repository, &reviewer, pull, "REQUEST_CHANGES", &head).await.expect(200);
    let (path, asked) = (format!("/pulls/{pull}/requested_reviewers"), json!({"reviewers": [reviewer.name]}));
    let listed = async || {
        let reply = repository.get(format_args!("/pulls/{pull}/reviews")).await.expect(200);
        let row = |review: &serde_json::Value| (review["state"].clone(), review["official"].clone());
        reply.json.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    repository.post(&path, asked.clone()).await.expect(201);
    let (verdict, request) = (json!("REQUEST_CHANGES"), json!("REQUEST_REVIEW"));
    assert_eq!(listed().await, [(verdict.clone(), json!(false)), (request, json!(true))]);
    let url = repository.at(&path);
    let auth = format!("token {}", repository.owner.token);
    world.call(Some(&auth), reqwest::Method::DELETE, &url, Some(asked)).await.expect(204);
    assert_eq!(listed().await, [(verdict, json!(true))]);
}

async fn a_push_makes_reviews_stale(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    review(&repository, &reviewer, pull, "APPROVED", &head).await.expect(200);
    repository.commit("a", "one\nTWO\nthree\n").await;
    repository.push("change", &repository.owner).await.unwrap();
    eventually("the review is stale", async || {
        let reply = repository.get(format_args!("/pulls/{pull}/reviews")).await.expect(200);
        let review = &reply.json[0];
        assert_eq!((&review["commit_id"], &review["dismissed"]), (&json!(head.as_str()), &json!(false)));
        (review["stale"] == true).then_some(())
    })
    .await;
}

async fn a_push_dismisses_approvals_where_the_rule_says_so(world: &World) {
    let (repository, reviewer, pull, head) = with_reviewer(world).await;
    let rule = json!({"rule_name": "main", "required_approvals": 1, "dismiss_stale_approvals": true});
    repository.post("/branch_protections", rule).await.expect(201);
    review(&repository, &reviewer, pull, "APPROVED", &head).await.expect(200);
    repository.commit("a", "one\nTWO\nthree\n").await;
    repository.push("change", &repository.owner).await.unwrap();
    eventually("the approval is dismissed", async || {
        let reply = repository.get(format_args!("/pulls/{pull}/reviews")).await.expect(200);
        (reply.json[0]["dismissed"] == true).then_some(())
    })
    .await;
}
