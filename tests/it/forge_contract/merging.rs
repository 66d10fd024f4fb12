//! Merging, and every answer that is no merge.

use super::world::{Account, Reply, Repository, World, eventually};
use rig::domain::ids::Sha;
use serde_json::json;

contract![
    every_style_merges_and_is_read_back,
    a_head_that_moved_is_409,
    a_draft_is_405,
    a_conflict_is_refused_and_changes_nothing,
    merging_twice_is_405,
    a_closed_pull_request_is_404,
    a_missing_or_red_required_status_is_405,
    missing_approvals_and_a_rejection_are_405,
    an_account_that_may_not_write_does_not_merge,
    open_dependencies_stop_a_merge,
    closing_words_close_the_issue,
    a_branch_that_is_behind_is_405_where_the_rule_says_so,
];

/// Returns a repository with a pull request that can be merged, and its head.
async fn ready(world: &World) -> (Repository, u64, Sha) {
    let repository = world.repository().await;
    let head = repository.branch("change", "a", "a").await;
    let pull = repository.pull("change").await;
    repository.mergeable(pull).await;
    (repository, pull, head)
}

async fn merge_by(repository: &Repository, who: &Account, pull: u64, head: &Sha, style: &str) -> Reply {
    let body = json!({"Do": style, "head_commit_id": head.as_str(), "MergeTitleField": "A title",
        "MergeMessageField": "A message"});
    repository.world.post(who, &repository.at(format_args!("/pulls/{pull}/merge")), body).await
}

async fn merge(repository: &Repository, pull: u64, head: &Sha) -> Reply {
    merge_by(repository, &repository.owner, pull, head, "merge").await
}

/// Checks that a merge was refused in fact, not only in words.
async fn not_merged(repository: &Repository, pull: u64) {
    repository.get(format_args!("/pulls/{pull}/merge")).await.expect(404);
    assert_eq!(repository.get(format_args!("/pulls/{pull}")).await.expect(200).json["merged"], false);
}

async fn every_style_merges_and_is_read_back(world: &World) {
    for style in ["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"] {
        let (repository, pull, head) = ready(world).await;
        not_merged(&repository, pull).await;
        merge_by(&repository, &repository.owner, pull, &head, style).await.expect(200);
        repository.get(format_args!("/pulls/{pull}/merge")).await.expect(204);
        let read = repository.get(format_args!("/pulls/{pull}")).await.expect(200).json;
        assert_eq!((&read["merged"], &read["state"]), (&json!(true), &json!("closed")), "{style}");
        assert_eq!(read["merged_by"]["login"], repository.owner.name);
        assert!(read["merged_at"].is_string());
        let tip = repository.get("/branches/main").await.expect(200).json["commit"]["id"].clone();
        assert_eq!(read["merge_commit_sha"], tip, "{style}");
        match style {
            "fast-forward-only" => assert_eq!(tip, head.as_str()),
            // A rebase that has nothing to move may keep the commit or write it anew.
            "rebase" => {}
            _ => assert_ne!(tip, head.as_str(), "{style}"),
        }
        // The branch stays unless its removal was asked for.
        repository.get("/branches/change").await.expect(200);
    }
}

async fn a_head_that_moved_is_409(world: &World) {
    let (repository, pull, old) = ready(world).await;
    let new = repository.commit("a", "more").await;
    repository.push("change", &repository.owner).await.unwrap();
    repository.head_is(pull, &new).await;
    repository.mergeable(pull).await;
    let reply = merge(&repository, pull, &old).await.expect(409);
    assert!(reply.json["message"].is_string(), "{}", reply.text);
    not_merged(&repository, pull).await;
    merge(&repository, pull, &new).await.expect(200);
}

async fn a_draft_is_405(world: &World) {
    let (repository, pull, head) = ready(world).await;
    repository.patch(format_args!("/pulls/{pull}"), json!({"title": "WIP: Change it"})).await.expect(201);
    merge(&repository, pull, &head).await.expect(405);
    not_merged(&repository, pull).await;
    repository.patch(format_args!("/pulls/{pull}"), json!({"title": "Change it"})).await.expect(201);
    repository.mergeable(pull).await;
    merge(&repository, pull, &head).await.expect(200);
}

async fn a_conflict_is_refused_and_changes_nothing(world: &World) {
    let repository = world.repository().await;
    let head = repository.branch("change", "same", "one").await;
    let pull = repository.pull("change").await;
    let tip = repository.commit_to_main("same", "two").await;
    eventually("the conflict is found", async || {
        let read = repository.get(format_args!("/pulls/{pull}")).await.expect(200);
        (read.json["mergeable"] == false).then_some(())
    })
    .await;
    merge(&repository, pull, &head).await.expect_any(&[405, 409]);
    not_merged(&repository, pull).await;
    assert_eq!(repository.get("/branches/main").await.json["commit"]["id"], tip.as_str());
}

async fn merging_twice_is_405(world: &World) {
    let (repository, pull, head) = ready(world).await;
    merge(&repository, pull, &head).await.expect(200);
    merge(&repository, pull, &head).await.expect(405);
    repository.get(format_args!("/pulls/{pull}/merge")).await.expect(204);
}

async fn a_closed_pull_request_is_404(world: &World) {
    let (repository, pull, head) = ready(world).await;
    repository.patch(format_args!("/pulls/{pull}"), json!({"state": "closed"})).await.expect(201);
    merge(&repository, pull, &head).await.expect(404);
    not_merged(&repository, pull).await;
}

async fn a_missing_or_red_required_status_is_405(world: &World) {
    let (repository, pull, head) = ready(world).await;
    let rule = json!({"rule_name": "main", "enable_status_check": true, "status_check_contexts": ["ci/*"]});
    repository.post("/branch_protections", rule).await.expect(201);
    merge(&repository, pull, &head).await.expect(405);
    for state in ["pending", "failure"] {
        let body = json!({"state": state, "context": "ci/test"});
        repository.post(format_args!("/statuses/{head}"), body).await.expect(201);
        merge(&repository, pull, &head).await.expect(405);
    }
    not_merged(&repository, pull).await;
    repository
        .post(format_args!("/statuses/{head}"), json!({"state": "success", "context": "ci/test"}))
        .await
        .expect(201);
    merge(&repository, pull, &head).await.expect(200);
}

async fn missing_approvals_and_a_rejection_are_405(world: &World) {
    let (repository, pull, head) = ready(world).await;
    let (first, second) =
        (repository.collaborator("first", "write").await, repository.collaborator("second", "write").await);
    let rule = json!({"rule_name": "main", "required_approvals": 1, "block_on_rejected_reviews": true});
    repository.post("/branch_protections", rule).await.expect(201);
    let review = async |who: &Account, event: &str| {
        let body = json!({"event": event, "body": "so", "commit_id": head.as_str()});
        world.post(who, &repository.at(format_args!("/pulls/{pull}/reviews")), body).await.expect(200);
    };
    let stranger = world.account("stranger").await;
    review(&stranger, "APPROVED").await;
    merge(&repository, pull, &head).await.expect(405);
    review(&first, "APPROVED").await;
    review(&second, "REQUEST_CHANGES").await;
    merge(&repository, pull, &head).await.expect(405);
    not_merged(&repository, pull).await;
    review(&second, "APPROVED").await;
    merge(&repository, pull, &head).await.expect(200);
}

async fn an_account_that_may_not_write_does_not_merge(world: &World) {
    let (repository, pull, head) = ready(world).await;
    let stranger = world.account("stranger").await;
    merge_by(&repository, &stranger, pull, &head, "merge").await.expect_any(&[403, 405]);
    not_merged(&repository, pull).await;
}

async fn open_dependencies_stop_a_merge(world: &World) {
    let (repository, pull, head) = ready(world).await;
    let issue = repository.issue("first this").await;
    let meta = json!({"owner": repository.owner.name, "repo": repository.name, "index": issue});
    repository.post(format_args!("/issues/{pull}/dependencies"), meta).await.expect(201);
    merge(&repository, pull, &head).await.expect_any(&[405, 409, 412, 500]);
}

async fn closing_words_close_the_issue(world: &World) {
    let repository = world.repository().await;
    let (closed, kept) = (repository.issue("to be fixed").await, repository.issue("only named").await);
    let head = repository.branch("change", "a", "a").await;
    let body = format!("Fixes #{closed}, see #{kept}");
    let pull = repository.pull_by(&repository.owner, "change", "Change it", &body).await;
    repository.mergeable(pull).await;
    merge(&repository, pull, &head).await.expect(200);
    eventually("the issue is closed", async || {
        let read = repository.get(format_args!("/issues/{closed}")).await.expect(200);
        (read.json["state"] == "closed").then_some(())
    })
    .await;
    assert_eq!(repository.get(format_args!("/issues/{kept}")).await.expect(200).json["state"], "open");
}

async fn a_branch_that_is_behind_is_405_where_the_rule_says_so(world: &World) {
    let (repository, pull, head) = ready(world).await;
    repository.commit_to_main("other", "x").await;
    let rule = json!({"rule_name": "main", "block_on_outdated_branch": true});
    repository.post("/branch_protections", rule).await.expect(201);
    repository.mergeable(pull).await;
    merge(&repository, pull, &head).await.expect(405);
    not_merged(&repository, pull).await;
}
