//! Pull requests: opening, listing, reading, and heads that move or vanish.

use super::world::{World, eventually};
use reqwest::Method;
use serde_json::json;

contract![
    a_new_pull_request_has_what_rig_reads,
    the_same_head_and_base_are_409_while_one_is_open,
    a_wrong_pull_request_is_refused,
    all_states_are_listed_unless_asked,
    the_head_follows_the_branch,
    a_head_branch_that_is_gone_becomes_a_ref,
    mergeable_is_false_in_the_end_for_a_conflict_and_for_a_draft,
    files_and_diff_show_the_change,
];

async fn a_new_pull_request_has_what_rig_reads(world: &World) {
    let repository = world.repository().await;
    let head = repository.branch("fix/issue-1", "a", "a").await;
    let body = json!({"head": "fix/issue-1", "base": "main", "title": "Change", "body": "Because"});
    let created = repository.post("/pulls", body).await.expect(201).json;
    let number = created["number"].as_u64().unwrap();
    let read = repository.get(format_args!("/pulls/{number}")).await.expect(200).json;
    for pull in [created, read] {
        assert_eq!(
            (&pull["number"], &pull["title"], &pull["body"]),
            (&json!(number), &json!("Change"), &json!("Because"))
        );
        assert_eq!((&pull["state"], &pull["merged"], &pull["draft"]), (&json!("open"), &json!(false), &json!(false)));
        assert_eq!((&pull["head"]["ref"], &pull["base"]["ref"]), (&json!("fix/issue-1"), &json!("main")));
        assert_eq!(pull["head"]["sha"], head.as_str());
        assert_eq!(pull["head"]["repo_id"], pull["base"]["repo_id"]);
        assert_eq!(pull["user"]["login"], repository.owner.name);
        assert!(pull["merged_at"].is_null() && pull["merge_commit_sha"].is_null());
        assert!(pull["html_url"].as_str().unwrap().ends_with(&format!("/pulls/{number}")));
    }
}

async fn the_same_head_and_base_are_409_while_one_is_open(world: &World) {
    let repository = world.repository().await;
    repository.branch("change", "a", "a").await;
    let first = repository.pull("change").await;
    let again = json!({"head": "change", "base": "main", "title": "Again", "body": ""});
    let reply = repository.post("/pulls", again.clone()).await.expect(409);
    assert!(reply.json["message"].as_str().unwrap().contains(&first.to_string()), "{}", reply.text);
    repository.patch(format_args!("/pulls/{first}"), json!({"state": "closed"})).await.expect(201);
    let second = repository.post("/pulls", again).await.expect(201).json["number"].as_u64().unwrap();
    assert!(second > first);
}

async fn a_wrong_pull_request_is_refused(world: &World) {
    let repository = world.repository().await;
    repository.branch("change", "a", "a").await;
    for (head, base, status) in [("main", "main", 422), ("none", "main", 404), ("change", "none", 404)] {
        let body = json!({"head": head, "base": base, "title": "t", "body": ""});
        let reply = repository.post("/pulls", body).await.expect(status);
        assert!(reply.json["message"].is_string(), "{}", reply.text);
    }
    assert!(repository.get("/pulls").await.expect(200).json.as_array().unwrap().is_empty());
}

async fn all_states_are_listed_unless_asked(world: &World) {
    let repository = world.repository().await;
    repository.branch("one", "a", "a").await;
    repository.branch("two", "b", "b").await;
    let (one, two) = (repository.pull("one").await, repository.pull("two").await);
    repository.patch(format_args!("/pulls/{one}"), json!({"state": "closed"})).await.expect(201);
    for (query, wanted) in
        [("", vec![one, two]), ("?state=all", vec![one, two]), ("?state=open", vec![two]), ("?state=closed", vec![one])]
    {
        let reply = repository.get(format_args!("/pulls{query}")).await.expect(200);
        let mut numbers: Vec<u64> = reply.each("number").iter().map(|n| n.as_u64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, wanted, "{query}");
        assert_eq!(reply.header("x-total-count"), Some(wanted.len().to_string().as_str()), "{query}");
    }
}

async fn the_head_follows_the_branch(world: &World) {
    let repository = world.repository().await;
    repository.branch("change", "a", "a").await;
    let pull = repository.pull("change").await;
    let head = repository.commit("a", "more").await;
    repository.push("change", &repository.owner).await.unwrap();
    repository.head_is(pull, &head).await;
}

async fn a_head_branch_that_is_gone_becomes_a_ref(world: &World) {
    let repository = world.repository().await;
    let head = repository.branch("change", "a", "a").await;
    let pull = repository.pull("change").await;
    repository.delete("/branches/change").await.expect(204);
    let read = eventually("the branch is gone from the pull request", async || {
        let read = repository.get(format_args!("/pulls/{pull}")).await.expect(200).json;
        (read["head"]["ref"] == format!("refs/pull/{pull}/head")).then_some(read)
    })
    .await;
    assert_eq!(read["head"]["sha"], head.as_str());
}

async fn mergeable_is_false_in_the_end_for_a_conflict_and_for_a_draft(world: &World) {
    let repository = world.repository().await;
    repository.branch("clash", "same", "one").await;
    repository.branch("fine", "other", "x").await;
    repository.branch("draft", "third", "x").await;
    let (clash, fine) = (repository.pull("clash").await, repository.pull("fine").await);
    let draft = repository.pull_by(&repository.owner, "draft", "WIP: not yet", "").await;
    repository.commit_to_main("same", "two").await;
    repository.mergeable(fine).await;
    for pull in [clash, draft] {
        eventually("it is not mergeable", async || {
            let read = repository.get(format_args!("/pulls/{pull}")).await.expect(200);
            (read.json["mergeable"] == false).then_some(())
        })
        .await;
    }
    assert_eq!(repository.get(format_args!("/pulls/{draft}")).await.json["draft"], true);
}

async fn files_and_diff_show_the_change(world: &World) {
    let repository = world.repository().await;
    repository.git(&["checkout", "--quiet", "-B", "change", "main"]).await.unwrap();
    repository.git(&["mv", "README.md", "READ.md"]).await.unwrap();
    repository.commit("src/new.txt", "hello\n").await;
    repository.push("change", &repository.owner).await.unwrap();
    let pull = repository.pull("change").await;
    let files = repository.get(format_args!("/pulls/{pull}/files")).await.expect(200);
    let renamed = files.json.as_array().unwrap().iter().find(|file| file["filename"] == "READ.md").unwrap();
    assert_eq!(renamed["previous_filename"], "README.md");
    assert!(files.each("filename").contains(&json!("src/new.txt")), "{}", files.text);
    let auth = format!("token {}", repository.owner.token);
    let path = repository.at(format_args!("/pulls/{pull}.diff"));
    let diff = world.call(Some(&auth), Method::GET, &path, None).await.expect(200);
    assert!(diff.text.contains("diff --git") && diff.text.contains("+hello"), "{}", diff.text);
}
