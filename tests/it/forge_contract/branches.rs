//! Branches and the rules that protect them.

use super::world::World;
use serde_json::json;

contract![
    a_branch_shows_its_tip_whatever_its_name,
    a_deleted_branch_is_gone,
    rules_are_listed_and_kept,
    a_protected_branch_takes_no_push_of_others,
];

async fn a_branch_shows_its_tip_whatever_its_name(world: &World) {
    let repository = world.repository().await;
    for branch in ["plain", "fix/issue-1", "a/b/c", "fix/x+y"] {
        let sha = repository.branch(branch, "f", branch).await;
        let path = branch.split('/').map(|part| part.replace('+', "%2B")).collect::<Vec<_>>().join("/");
        let reply = repository.get(format_args!("/branches/{path}")).await.expect(200);
        assert_eq!(reply.json["commit"]["id"], sha.as_str(), "{branch}");
        assert_eq!(reply.json["name"], branch);
    }
}

async fn a_deleted_branch_is_gone(world: &World) {
    let repository = world.repository().await;
    repository.branch("fix/issue-1", "f", "x").await;
    repository.delete("/branches/fix/issue-1").await.expect(204);
    repository.delete("/branches/fix/issue-1").await.expect(404);
    repository.get("/branches/fix/issue-1").await.expect(404);
    // The default branch stays.
    repository.delete("/branches/main").await.expect(403);
}

async fn rules_are_listed_and_kept(world: &World) {
    let repository = world.repository().await;
    assert_eq!(repository.get("/branch_protections").await.expect(200).json, json!([]));
    let rule = json!({"rule_name": "main", "required_approvals": 2, "enable_status_check": true,
        "status_check_contexts": ["test", "ci/*"], "block_on_rejected_reviews": true, "block_on_outdated_branch": true,
        "dismiss_stale_approvals": true});
    repository.post("/branch_protections", rule.clone()).await.expect(201);
    repository.post("/branch_protections", json!({"rule_name": "release/*"})).await.expect(201);
    let found = repository.get("/branch_protections").await.expect(200);
    let found = found.json.as_array().unwrap().iter().find(|found| found["rule_name"] == "main").unwrap().clone();
    for (key, value) in rule.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    repository.get("/branch_protections/main").await.expect(200);
    repository.delete("/branch_protections/main").await.expect(204);
    repository.get("/branch_protections/main").await.expect(404);
}

async fn a_protected_branch_takes_no_push_of_others(world: &World) {
    let repository = world.repository().await;
    let writer = repository.collaborator("writer", "write").await;
    repository.post("/branch_protections", json!({"rule_name": "main", "enable_push": false})).await.expect(201);
    let before = repository.get("/branches/main").await.json["commit"]["id"].clone();
    repository.git(&["checkout", "--quiet", "-B", "change", "main"]).await.unwrap();
    repository.commit("f", "x").await;
    assert!(repository.push("change:main", &writer).await.is_err());
    assert_eq!(repository.get("/branches/main").await.json["commit"]["id"], before);
    repository.push("change:change", &writer).await.unwrap();
}
