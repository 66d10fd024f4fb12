//! The embedded forge from outside: HTTP and git only, except for one test that puts the state of a death into its database.

use crate::forge_support::{Checkout, DEADLINE, Served, TestForge, call, started};
use serde_json::{Value, json};
use std::{process::Command, time::Instant};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn protect(forge: &TestForge, rule: Value) {
    let answer = forge.post(&forge.at("/branch_protections"), rule).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

async fn merge(forge: &TestForge, number: i64, body: Value) -> crate::forge_support::Answer {
    forge.post(&forge.at(&format!("/pulls/{number}/merge")), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_over_http_shows_in_the_api() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    checkout.run(&["checkout", "--quiet", "-b", "fix/issue-1"]);
    let head = checkout.commit("a.txt", "text\n", "add a");
    checkout.run(&["push", "--quiet", "origin", "fix/issue-1"]);
    let branch = forge.get(&forge.at("/branches/fix/issue-1")).await;
    assert_eq!(branch.body["commit"]["id"], head.as_str());
    assert_eq!(forge.get(&forge.at("/branches/fix/issue-1")).await.body["commit"]["message"], "add a");
    assert_eq!(forge.call("DELETE", &forge.at("/branches/fix/issue-1"), &forge.dev, Value::Null).await.status, 204);
    assert_eq!(forge.get(&forge.at("/branches/fix/issue-1")).await.status, 404);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_push_and_a_large_fetch_arrive_whole() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    // Does not compress, so it needs many chunks each way.
    let mut seed = 1_u32;
    let noise: Vec<u8> = (0..6_000_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    std::fs::write(checkout.folder.join("noise"), &noise).unwrap();
    checkout.commit("a.txt", "x", "add noise");
    checkout.run(&["push", "--quiet", "origin", "main"]);
    let other = forge.clone("other");
    assert!(std::fs::read(other.folder.join("noise")).unwrap() == noise);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_cannot_push() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    checkout.commit("a.txt", "x", "add a");
    let url = |user: &str| forge.running.url().replace("http://", &format!("http://{user}@")) + "/dev/widget.git";
    for user in [format!("reader:{}", forge.reader), "dev:wrong".to_owned()] {
        let output = checkout.try_run(&["push", &url(&user), "main"]);
        assert!(!output.status.success(), "{user} pushed");
    }
    assert!(checkout.try_run(&["ls-remote", &url(&format!("reader:{}", forge.reader))]).status.success());
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_branch_refuses_pushes_rewrites_and_deletion() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    protect(&forge, json!({ "rule_name": "main" })).await;
    checkout.commit("a.txt", "x", "add a");
    let refused = checkout.try_run(&["push", "origin", "main"]);
    assert!(!refused.status.success() && stderr(&refused).contains("protected branch"), "{}", stderr(&refused));

    protect(&forge, json!({ "rule_name": "stable", "enable_push": true })).await;
    checkout.run(&["push", "--quiet", "origin", "main:stable"]);
    checkout.run(&["commit", "--quiet", "--amend", "-m", "another"]);
    let forced = checkout.try_run(&["push", "--force", "origin", "main:stable"]);
    assert!(!forced.status.success() && stderr(&forced).contains("force push"), "{}", stderr(&forced));
    let deleted = checkout.try_run(&["push", "origin", ":stable"]);
    assert!(!deleted.status.success() && stderr(&deleted).contains("deletion"), "{}", stderr(&deleted));
    checkout.run(&["push", "--quiet", "origin", "main:free"]);
    let hidden = checkout.try_run(&["push", "origin", "main:refs/pull/1/head"]);
    assert!(!hidden.status.success(), "refs/pull is the forge's");
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_does_only_what_its_scopes_say() {
    let forge = TestForge::new().await;
    let made = json!({ "username": "ann", "email": "ann@example.org", "password": "a long secret" });
    assert_eq!(forge.call("POST", "/admin/users", &forge.admin, made).await.status, 201);
    let basic = |name: &str, scopes: Value| {
        let request = reqwest::Client::new().post(format!("{}/api/v1/users/ann/tokens", forge.running.url()));
        request.basic_auth("ann", Some("a long secret")).json(&json!({ "name": name, "scopes": scopes })).send()
    };
    let token: Value = basic("one", json!(["read:user", "write:issue"])).await.unwrap().json().await.unwrap();
    assert_eq!(basic("two", json!(["write:nothing"])).await.unwrap().status(), 400);
    let token = token["sha1"].as_str().unwrap();
    assert_eq!(forge.call("GET", "/user", token, Value::Null).await.body["login"], "ann");
    let issue = json!({ "title": "found by ann" });
    assert_eq!(forge.call("POST", &forge.at("/issues"), token, issue).await.status, 201);
    let refused = forge.call("GET", &forge.at("/pulls"), token, Value::Null).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body["message"].as_str().unwrap().contains("read:repository"), "{}", refused.body);
    assert_eq!(forge.call("GET", "/user", "wrong", Value::Null).await.status, 401);
    assert_eq!(
        forge.call("POST", "/users/ann/tokens", token, json!({ "name": "x", "scopes": ["all"] })).await.status,
        403
    );
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_capped_and_links_use_the_root_url() {
    let folder = tempfile::tempdir().unwrap();
    let options = rig::embedded_forge::Options {
        folder: folder.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        root_url: Some("https://forge.example.org/".to_owned()),
        faults: false,
    };
    let running = rig::embedded_forge::start(options).await.unwrap();
    let token = running.ensure_user("dev").await.unwrap();
    running.ensure_empty_repository("dev", "widget").await.unwrap();
    let issues = "/repos/dev/widget/issues";
    for index in 0..53 {
        call(&running.url(), "POST", issues, &token, json!({ "title": format!("issue {index}") })).await;
    }
    let first = call(&running.url(), "GET", &format!("{issues}?limit=100"), &token, Value::Null).await;
    assert_eq!(first.body.as_array().unwrap().len(), 50);
    assert_eq!(first.body[0]["number"], 53);
    assert_eq!(first.header("x-total-count"), "53");
    let next = "<https://forge.example.org/api/v1/repos/dev/widget/issues?limit=50&page=2>; rel=\"next\"";
    assert!(first.header("link").contains(next), "{}", first.header("link"));
    let second = call(&running.url(), "GET", &format!("{issues}?limit=50&page=2"), &token, Value::Null).await;
    assert_eq!(second.body.as_array().unwrap().len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_labels_are_dropped_without_a_word() {
    let forge = TestForge::new().await;
    let label = forge.post(&forge.at("/labels"), json!({ "name": "backlog", "color": "#00AA00" })).await;
    assert_eq!((label.status, &label.body["color"]), (201, &json!("00aa00")));
    forge.post(&forge.at("/issues"), json!({ "title": "one" })).await;
    forge.post(&forge.at("/issues"), json!({ "title": "two", "labels": [label.body["id"], 999] })).await;
    let added = forge.post(&forge.at("/issues/1/labels"), json!({ "labels": ["typo"] })).await;
    assert_eq!((added.status, added.body), (200, json!([])));
    let with = |query: &str| format!("{}?{query}", forge.at("/issues"));
    assert_eq!(forge.get(&with("labels=backlog")).await.body.as_array().unwrap().len(), 1);
    assert_eq!(forge.get(&with("labels=typo")).await.body.as_array().unwrap().len(), 2);
    assert_eq!(forge.get(&with("labels=backlog,typo")).await.body.as_array().unwrap().len(), 1);
    let remove = async |label: &str| {
        forge.call("DELETE", &forge.at(&format!("/issues/1/labels/{label}")), &forge.dev, Value::Null).await.status
    };
    assert_eq!(remove("backlog").await, 204);
    assert_eq!(remove("999").await, 422);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_dependency_keeps_an_issue_open() {
    let forge = TestForge::new().await;
    for title in ["one", "two"] {
        forge.post(&forge.at("/issues"), json!({ "title": title })).await;
    }
    let other = json!({ "owner": "dev", "repo": "widget", "index": 1 });
    assert_eq!(forge.post(&forge.at("/issues/2/dependencies"), other).await.status, 201);
    assert_eq!(forge.get(&forge.at("/issues/2/dependencies")).await.body[0]["number"], 1);
    assert_eq!(forge.get(&forge.at("/issues/1/blocks")).await.body[0]["number"], 2);
    let close = async |number: i64| {
        let path = forge.at(&format!("/issues/{number}"));
        forge.call("PATCH", &path, &forge.dev, json!({ "state": "closed" })).await.status
    };
    assert_eq!(close(2).await, 412);
    assert_eq!(close(1).await, 201);
    assert_eq!(close(2).await, 201);
    let off = json!({ "internal_tracker": { "enable_issue_dependencies": false } });
    assert_eq!(forge.call("PATCH", &forge.at(""), &forge.dev, off).await.status, 200);
    assert_eq!(forge.get(&forge.at("/issues/2/dependencies")).await.status, 404);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_is_made_once_and_only_between_branches() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    forge.post(&forge.at("/issues"), json!({ "title": "one" })).await;
    let number = forge.pull(&checkout, "fix/issue-1", "a.txt", "x").await;
    assert_eq!(number, 2, "issues and pull requests share their numbers");
    assert!(forge.get(&forge.at("/issues/2")).await.body["pull_request"].is_object());
    let create = async |head: &str, base: &str| {
        forge.post(&forge.at("/pulls"), json!({ "head": head, "base": base, "title": "x" })).await
    };
    let second = create("fix/issue-1", "main").await;
    assert_eq!(second.status, 409);
    assert!(second.body["message"].as_str().unwrap().contains("issue_id: 2,"), "{}", second.body);
    assert_eq!(create("main", "main").await.status, 422);
    assert_eq!(create("missing", "main").await.status, 404);
    let files = forge.get(&forge.at("/pulls/2/files")).await;
    assert_eq!(files.body[0]["filename"], "a.txt");
    let diff = forge.get(&forge.at("/pulls/2.diff")).await;
    assert!(diff.body.as_str().unwrap().contains("+x"), "{}", diff.body);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_style_merges() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    for (index, style) in ["merge", "rebase", "rebase-merge", "squash"].into_iter().enumerate() {
        // All branch off the same commit, so that from the second on the base is ahead.
        let number = forge.pull(&checkout, &format!("fix/{index}"), &format!("{style}.txt"), style).await;
        forge.until_mergeable(number).await;
        let answer = merge(&forge, number, json!({ "Do": style, "MergeTitleField": format!("via {style}") })).await;
        assert_eq!(answer.status, 200, "{style}: {}", answer.body);
    }
    checkout.run(&["fetch", "--quiet", "origin"]);
    let files = checkout.run(&["ls-tree", "--name-only", "origin/main"]);
    for style in ["merge", "rebase", "rebase-merge", "squash"] {
        assert!(files.contains(&format!("{style}.txt")), "{style} is missing: {files}");
    }
    let subjects = checkout.run(&["log", "--first-parent", "--format=%s", "origin/main"]);
    let expected = "via squash\nvia rebase-merge\nchange rebase.txt\nvia merge\nInitial commit";
    assert_eq!(subjects, expected);
    let number = forge.pull(&checkout, "fix/ff", "ff.txt", "x").await;
    let head = forge.until_mergeable(number).await["head"]["sha"].clone();
    assert_eq!(merge(&forge, number, json!({ "Do": "fast-forward-only" })).await.status, 200);
    assert_eq!(forge.get(&forge.at("/branches/main")).await.body["commit"]["id"], head);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_against_a_merge_has_its_answer() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let number = forge.pull(&checkout, "fix/a", "a.txt", "one").await;
    let conflicting = forge.pull(&checkout, "fix/b", "a.txt", "two").await;
    let pull = forge.until_mergeable(number).await;
    assert_eq!(merge(&forge, number, json!({ "Do": "nonsense" })).await.status, 422);
    assert_eq!(merge(&forge, number, json!({ "Do": "merge", "head_commit_id": "0".repeat(40) })).await.status, 409);
    let path = forge.at(&format!("/pulls/{number}/merge"));
    let as_reader = forge.call("POST", &path, &forge.reader, json!({ "Do": "merge" }));
    assert_eq!(as_reader.await.status, 405);

    let title = async |title: &str| {
        forge.call("PATCH", &forge.at(&format!("/pulls/{number}")), &forge.dev, json!({ "title": title })).await.body
    };
    assert_eq!(title("WIP: a").await["draft"], true);
    assert_eq!(merge(&forge, number, json!({ "Do": "merge" })).await.status, 405);
    title("a").await;

    let off = json!({ "allow_squash_merge": false });
    forge.call("PATCH", &forge.at(""), &forge.dev, off).await;
    let squash = merge(&forge, number, json!({ "Do": "squash" })).await;
    assert_eq!(squash.status, 405);

    forge.post(&forge.at("/issues"), json!({ "title": "first this" })).await;
    let path = forge.at(&format!("/issues/{number}/dependencies"));
    let other = json!({ "owner": "dev", "repo": "widget", "index": 3 });
    forge.post(&path, other.clone()).await;
    assert_eq!(merge(&forge, number, json!({ "Do": "merge" })).await.status, 500);
    assert_eq!(forge.call("DELETE", &path, &forge.dev, other).await.status, 200);

    let done = merge(&forge, number, json!({ "Do": "merge", "head_commit_id": pull["head"]["sha"] })).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let again = merge(&forge, number, json!({ "Do": "merge" })).await;
    assert_eq!((again.status, &again.body["message"]), (405, &json!("")));
    assert_eq!(forge.get(&forge.at(&format!("/pulls/{number}/merge"))).await.status, 204);

    // The other one conflicts now; that and "not checked yet" are the same answer.
    let conflict = merge(&forge, conflicting, json!({ "Do": "merge" })).await;
    assert_eq!((conflict.status, &conflict.body["message"]), (405, &json!("Please try again later")));
    let closed = json!({ "state": "closed" });
    forge.call("PATCH", &forge.at(&format!("/pulls/{conflicting}")), &forge.dev, closed).await;
    assert_eq!(merge(&forge, conflicting, json!({ "Do": "merge" })).await.status, 404);
    assert_eq!(forge.get(&forge.at(&format!("/pulls/{conflicting}/merge"))).await.status, 404);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protection_holds_a_merge_until_checks_and_approvals_are_there() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let rule = json!({ "rule_name": "main", "required_approvals": 1, "enable_status_check": true,
        "status_check_contexts": ["ci/*"], "dismiss_stale_approvals": true, "block_on_rejected_reviews": true });
    protect(&forge, rule).await;
    let number = forge.pull(&checkout, "fix/a", "a.txt", "one").await;
    let head = forge.until_mergeable(number).await["head"]["sha"].as_str().unwrap().to_owned();
    let reason = async || merge(&forge, number, json!({ "Do": "merge" })).await.body["message"].to_string();
    assert!(reason().await.contains("Not all required status checks"));
    let status = async |sha: &str, context: &str| {
        let body = json!({ "state": "success", "context": context });
        forge.post(&forge.at(&format!("/statuses/{sha}")), body).await.status
    };
    assert_eq!(status(&head, "other").await, 201);
    assert!(reason().await.contains("Not all required status checks"), "an unmatched context is pending");
    assert_eq!(status(&head, "ci/test").await, 201);
    assert!(reason().await.contains("Does not have enough approvals"));

    let review = async |token: &str, event: &str| {
        let body = json!({ "event": event, "body": "looked", "commit_id": "" });
        forge.call("POST", &forge.at(&format!("/pulls/{number}/reviews")), token, body).await
    };
    assert_eq!(review(&forge.dev, "APPROVED").await.status, 422);
    assert_eq!(review(&forge.review, "APPROVE").await.body["state"], "PENDING");
    assert_eq!(review(&forge.reader, "APPROVED").await.body["official"], false);
    assert_eq!(review(&forge.review, "REQUEST_CHANGES").await.body["official"], true);
    assert!(reason().await.contains("Does not have enough approvals"));
    assert_eq!(review(&forge.review, "APPROVED").await.body["state"], "APPROVED");

    // A new head makes the approval stale and takes it away.
    let moved = checkout.commit("a.txt", "two", "again");
    checkout.run(&["push", "--quiet", "origin", "fix/a"]);
    let reviews = forge.get(&forge.at(&format!("/pulls/{number}/reviews"))).await.body;
    let last = reviews.as_array().unwrap().last().unwrap();
    assert_eq!((&last["stale"], &last["dismissed"]), (&json!(true), &json!(true)), "{reviews}");
    forge.until_mergeable(number).await;
    status(&moved, "ci/test").await;
    assert!(reason().await.contains("Does not have enough approvals"));
    review(&forge.review, "APPROVED").await;
    assert_eq!(merge(&forge, number, json!({ "Do": "squash", "head_commit_id": moved })).await.status, 200);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_closes_what_it_says_and_removes_the_branch() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    forge.post(&forge.at("/issues"), json!({ "title": "broken" })).await;
    let number = forge.pull(&checkout, "fix/issue-1", "a.txt", "x").await;
    let body = json!({ "body": "Fixes #1" });
    forge.call("PATCH", &forge.at(&format!("/pulls/{number}")), &forge.dev, body).await;
    forge.until_mergeable(number).await;
    assert_eq!(merge(&forge, number, json!({ "Do": "squash", "delete_branch_after_merge": true })).await.status, 200);
    assert_eq!(forge.get(&forge.at("/issues/1")).await.body["state"], "closed");
    assert_eq!(forge.get(&forge.at("/branches/fix/issue-1")).await.status, 404);
    let pull = forge.get(&forge.at(&format!("/pulls/{number}"))).await.body;
    assert_eq!(pull["head"]["ref"], format!("refs/pull/{number}/head"));
    assert_eq!((&pull["merged"], &pull["merged_by"]["login"]), (&json!(true), &json!("dev")));
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_combined_status_speaks_of_its_page_only() {
    let forge = TestForge::new().await;
    let main = forge.get(&forge.at("/branches/main")).await.body["commit"]["id"].as_str().unwrap().to_owned();
    let none = forge.get(&forge.at("/commits/main/status")).await.body;
    assert_eq!((&none["state"], &none["statuses"], &none["total_count"]), (&json!(""), &Value::Null, &json!(0)));
    for (context, state) in [("a", "failure"), ("b", "pending"), ("b", "success"), ("c", "success")] {
        let body = json!({ "state": state, "context": context });
        assert_eq!(forge.post(&forge.at(&format!("/statuses/{main}")), body).await.status, 201);
    }
    let page = async |page: u8| forge.get(&forge.at(&format!("/commits/{main}/status?limit=2&page={page}"))).await;
    let first = page(1).await;
    assert_eq!(first.body["state"], "success");
    assert_eq!(first.body["statuses"][0]["status"], "success");
    assert_eq!((first.header("x-total-count"), first.header("link")), ("3", ""));
    assert_eq!(page(2).await.body["state"], "failure");
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_repository_is_unseen_and_an_archived_one_unchanged() {
    let forge = TestForge::new().await;
    let set = async |change: Value| forge.call("PATCH", &forge.at(""), &forge.dev, change).await.status;
    let seen = async |token: &str| forge.call("GET", &forge.at(""), token, Value::Null).await.status;
    let fetch = async || {
        let url = format!("{}/dev/widget.git/info/refs?service=git-upload-pack", forge.running.url());
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!((seen("").await, fetch().await), (200, 200));
    assert_eq!(set(json!({ "private": true })).await, 200);
    assert_eq!((seen("").await, seen(&forge.reader).await, seen(&forge.review).await), (404, 404, 200));
    assert_eq!(fetch().await, 401);

    assert_eq!(set(json!({ "archived": true })).await, 200);
    assert_eq!(forge.post(&forge.at("/issues"), json!({ "title": "late" })).await.status, 423);
    let checkout = forge.clone("work");
    checkout.commit("a.txt", "x", "add a");
    assert!(!checkout.try_run(&["push", "origin", "main"]).status.success());
    assert_eq!(set(json!({ "archived": false })).await, 200);
    assert_eq!(forge.post(&forge.at("/issues"), json!({ "title": "late" })).await.status, 201);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_a_whole_merge() {
    use std::io::Write as _;
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    for round in 0..3 {
        let number = forge.pull(&checkout, &format!("fix/{round}"), &format!("{round}.txt"), "x").await;
        forge.until_mergeable(number).await;
        let body = json!({ "Do": "rebase-merge" }).to_string();
        let path = forge.at(&format!("/pulls/{number}/merge"));
        let mut client = std::net::TcpStream::connect(forge.running.url().trim_start_matches("http://")).unwrap();
        let head = format!("POST /api/v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: token {}\r\n", forge.dev);
        write!(client, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let begun = json!({ "method": "POST", "path": format!("/api/v1{path}"), "count": 1 });
        let requests = async || forge.call("GET", "/-/requests", &forge.admin, Value::Null).await.body;
        while !requests().await["requests"].as_array().unwrap().contains(&begun) {
            assert!(Instant::now() < deadline, "the request never arrived");
        }
        drop(client);
        while forge.get(&path).await.status != 204 {
            assert!(Instant::now() < deadline, "it was never carried out");
        }
    }
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_a_restart() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let number = forge.pull(&checkout, "fix/a", "a.txt", "x").await;
    forge.post(&forge.at(&format!("/issues/{number}/comments")), json!({ "body": "hello" })).await;
    let (folder, dev) = (forge.folder, forge.dev);
    forge.running.stop().await;
    let running = started(&folder.path().join("forge")).await;
    assert_eq!(running.new_admin_token(), None);
    let comments = call(&running.url(), "GET", "/repos/dev/widget/issues/1/comments", &dev, Value::Null).await;
    assert_eq!(comments.body[0]["body"], "hello");
    let pull = call(&running.url(), "GET", &format!("/repos/dev/widget/pulls/{number}"), &dev, Value::Null).await;
    assert_eq!(pull.body["head"]["ref"], "fix/a");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_died_before_it_was_recorded_is_recognised() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    forge.post(&forge.at("/issues"), json!({ "title": "broken" })).await;
    let number = forge.pull(&checkout, "fix/a", "a.txt", "x").await;
    let body = json!({ "body": "Fixes #1" });
    forge.call("PATCH", &forge.at(&format!("/pulls/{number}")), &forge.dev, body).await;
    let (folder, dev) = (forge.folder, forge.dev);
    forge.running.stop().await;

    // What a death right after the ref update leaves: the intent in the row, the commit on the base, no record of a merge.
    let repository = folder.path().join("forge/repositories/1.git");
    let bare = Checkout { folder: repository };
    let head = bare.run(&["rev-parse", "fix/a"]);
    let merged = bare.run(&["commit-tree", "fix/a^{tree}", "-p", "main", "-p", "fix/a", "-m", "merge"]);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("forge/forge.db"));
    let mut db = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let intend = "UPDATE pulls SET intent_sha = ?1, intent_by = 2, delete_branch = 1";
    sqlx::query(intend).bind(&merged).execute(&mut db).await.unwrap();
    sqlx::Connection::close(db).await.unwrap();
    let path = format!("/repos/dev/widget/pulls/{number}");

    bare.run(&["update-ref", "refs/heads/main", &merged]);
    let running = started(&folder.path().join("forge")).await;
    let pull = call(&running.url(), "GET", &path, &dev, Value::Null).await.body;
    assert_eq!((&pull["merged"], &pull["merge_commit_sha"]), (&json!(true), &json!(merged)), "{pull}");
    assert_eq!((&pull["state"], &pull["head"]["sha"]), (&json!("closed"), &json!(head)));
    let issue = call(&running.url(), "GET", "/repos/dev/widget/issues/1", &dev, Value::Null).await.body;
    assert_eq!(issue["state"], "closed");
    let branch = call(&running.url(), "GET", "/repos/dev/widget/branches/fix/a", &dev, Value::Null).await;
    assert_eq!(branch.status, 404, "the branch goes with the merge that asked for it");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_died_before_the_base_moved_never_happened() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let number = forge.pull(&checkout, "fix/a", "a.txt", "x").await;
    let bare = Checkout { folder: forge.folder.path().join("forge/repositories/1.git") };
    let intended = bare.run(&["commit-tree", "fix/a^{tree}", "-p", "main", "-p", "fix/a", "-m", "merge"]);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(forge.folder.path().join("forge/forge.db"));
    let mut db = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE pulls SET intent_sha = ?1, intent_by = 2").bind(&intended).execute(&mut db).await.unwrap();
    sqlx::Connection::close(db).await.unwrap();
    let pull = forge.until_mergeable(number).await;
    assert_eq!(pull["merged"], false);
    assert_eq!(merge(&forge, number, json!({ "Do": "merge" })).await.status, 200);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_spoils_the_answers_that_it_names() {
    let forge = TestForge::new().await;
    let fault = async |rule: Value| {
        assert_eq!(forge.call("DELETE", "/-/faults", &forge.admin, Value::Null).await.status, 204);
        assert_eq!(forge.call("POST", "/-/faults", &forge.admin, json!([rule])).await.status, 204);
    };
    let raw = async |method: &str, path: &str, body: Value| {
        let request =
            reqwest::Client::new().request(method.parse().unwrap(), format!("{}/api/v1{path}", forge.running.url()));
        request.header("authorization", format!("token {}", forge.dev)).json(&body).send().await
    };
    let issues = forge.at("/issues");
    let rule = |action: Value| json!({ "method": "POST", "path": "/issues$", "action": action });
    fault(rule(json!({ "kind": "status", "status": 503, "body": "busy" }))).await;
    assert_eq!(forge.post(&issues, json!({ "title": "never" })).await.status, 503);
    assert_eq!(forge.get(&issues).await.body, json!([]));
    fault(rule(json!({ "kind": "drop" }))).await;
    assert!(raw("POST", &issues, json!({ "title": "never" })).await.is_err());
    assert_eq!(forge.get(&issues).await.body, json!([]));
    fault(rule(json!({ "kind": "lose_answer" }))).await;
    assert!(raw("POST", &issues, json!({ "title": "done" })).await.is_err());
    assert_eq!(forge.get(&issues).await.body[0]["title"], "done");
    fault(json!({ "path": "/issues$", "action": { "kind": "truncate", "bytes": 10 } })).await;
    let cut = raw("GET", &issues, Value::Null).await;
    assert!(match cut {
        Err(_) => true,
        Ok(response) => response.text().await.is_err(),
    });
    fault(json!({ "path": "/issues$", "action": { "kind": "garbage" } })).await;
    assert!(raw("GET", &issues, Value::Null).await.unwrap().json::<Value>().await.is_err());

    forge.call("DELETE", "/-/requests", &forge.admin, Value::Null).await;
    forge.get(&issues).await;
    forge.get(&issues).await;
    let counted = forge.call("GET", "/-/requests", &forge.admin, Value::Null).await.body;
    assert_eq!((&counted["total"], &counted["requests"][0]["count"]), (&json!(2), &json!(2)));
    assert_eq!(forge.call("GET", "/-/requests", &forge.dev, Value::Null).await.status, 403);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_side_by_side_all_arrive() {
    let forge = TestForge::new().await;
    let pushes: Vec<_> = (0..6)
        .map(|index| {
            let checkout = forge.clone(&format!("work-{index}"));
            checkout.commit("a.txt", "x", "add a");
            let push = ["push", "--quiet", "origin", &format!("main:side/{index}")].map(str::to_owned);
            tokio::task::spawn_blocking(move || checkout.run(&push.each_ref().map(String::as_str)))
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    assert_eq!(forge.get(&forge.at("/branches")).await.header("x-total-count"), "7");
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_forge_on_the_same_folder_or_port_is_refused() {
    let forge = TestForge::new().await;
    let listen = forge.running.url().trim_start_matches("http://").parse().unwrap();
    let options = |folder: &str, listen| rig::embedded_forge::Options {
        folder: forge.folder.path().join(folder),
        listen,
        root_url: None,
        faults: false,
    };
    let error = rig::embedded_forge::start(options("forge", "127.0.0.1:0".parse().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("another forge"), "{error}");
    let error = rig::embedded_forge::start(options("other", listen)).await.unwrap_err();
    assert!(error.to_string().contains("is taken"), "{error}");
    forge.running.stop().await;
}

#[test]
fn rig_forge_serve_prints_its_tokens_once_and_ends_on_sigterm() {
    let root = tempfile::tempdir().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (mut served, lines) = Served::start(root.path());
        tokens.push(lines.matches("\"token\"").count());
        let pid = rustix::process::Pid::from_raw(i32::try_from(served.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(served.child.wait().unwrap().success());
    }
    assert_eq!(tokens, [2, 0], "administrator and user, at the first start only");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/forge"), mode("state/forge/forge.db")), (0o700, 0o600));
}

#[test]
fn rig_forge_serve_says_that_a_port_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_rig"))
        .args(["forge", "serve", "--listen", &listen])
        .env("RIG_ROOT", root.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("is taken") && said.contains("hint: ") && said.contains("--listen"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_understood() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    // git compresses a request of more than a kilobyte, which this many wanted commits make.
    for index in 0..40 {
        checkout.run(&["commit", "--quiet", "--allow-empty", "-m", &format!("commit {index}")]);
        checkout.run(&["branch", &format!("many/{index}")]);
    }
    checkout.run(&["push", "--quiet", "--all", "origin"]);
    let other = forge.clone("other");
    assert_eq!(other.run(&["branch", "--remotes", "--list", "origin/many/*"]).lines().count(), 40);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requested_review_stands_until_it_is_given() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let number = forge.pull(&checkout, "fix/a", "a.txt", "x").await;
    let path = forge.at(&format!("/pulls/{number}"));
    let asked = forge.post(&format!("{path}/requested_reviewers"), json!({ "reviewers": ["review"] })).await;
    assert_eq!((asked.status, &asked.body[0]["state"]), (201, &json!("REQUEST_REVIEW")));
    assert_eq!(forge.get(&path).await.body["requested_reviewers"][0]["login"], "review");
    let verdict = json!({ "event": "APPROVED" });
    assert_eq!(forge.call("POST", &format!("{path}/reviews"), &forge.review, verdict).await.status, 200);
    assert_eq!(forge.get(&path).await.body["requested_reviewers"], json!([]));
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_must_stay_is_refused_after_the_merge() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("work");
    let number = forge.pull(&checkout, "release/1", "a.txt", "x").await;
    protect(&forge, json!({ "rule_name": "release/*" })).await;
    forge.until_mergeable(number).await;
    assert_eq!(merge(&forge, number, json!({ "Do": "merge", "delete_branch_after_merge": true })).await.status, 403);
    assert_eq!(forge.get(&forge.at(&format!("/pulls/{number}/merge"))).await.status, 204);
    assert_eq!(forge.get(&forge.at("/branches/release/1")).await.status, 200);
    forge.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_sigkill() {
    let root = tempfile::tempdir().unwrap();
    let (mut served, said) = Served::start(root.path());
    let lines = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let said = lines(&said);
    let token = said.iter().find(|line| line["user"] == "ann").unwrap()["token"].as_str().unwrap().to_owned();
    let mut url = said.iter().find_map(|line| line["url"].as_str()).unwrap().to_owned();
    for round in 0..4_u64 {
        let start = call(&url, "GET", "/repos/ann/widget/issues", &token, Value::Null).await;
        let start: u64 = start.header("x-total-count").parse().unwrap();
        // One client writes until the server is gone; what was answered is what must be there.
        let (writer_url, writer_token) = (url.clone(), token.clone());
        let writer = tokio::spawn(async move {
            let client = reqwest::Client::new();
            for done in 0_u64.. {
                let request = client.post(format!("{writer_url}/api/v1/repos/ann/widget/issues"));
                let request = request.header("authorization", format!("token {writer_token}"));
                match request.json(&json!({ "title": "one more" })).send().await {
                    Ok(response) if response.status() == 201 => {}
                    _ => return done,
                }
            }
            unreachable!("the loop has no end but the server's")
        });
        let count = async |url: &str| {
            let answer = call(url, "GET", "/repos/ann/widget/issues", &token, Value::Null).await;
            answer.header("x-total-count").parse::<u64>().unwrap()
        };
        while count(&url).await < start + 5 + round {}
        drop(served);
        let acknowledged = start + writer.await.unwrap();
        let again = Served::start(root.path());
        served = again.0;
        url = lines(&again.1).iter().find_map(|line| line["url"].as_str().map(str::to_owned)).unwrap();
        let there = count(&url).await;
        assert!(there >= acknowledged, "{acknowledged} were acknowledged, {there} are there");
        let newest = call(&url, "GET", "/repos/ann/widget/issues?limit=1", &token, Value::Null).await.body;
        assert_eq!(newest[0]["number"], there, "no number is lost or given twice");
    }
    drop(served);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_cut_off_by_sigkill_is_whole_or_never_was() {
    let root = tempfile::tempdir().unwrap();
    let (mut served, said) = Served::start(root.path());
    let line = |text: &str, key: &str| -> String {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.rev().find_map(|line| Some(line[key].as_str()?.to_owned())).unwrap()
    };
    let (token, mut url) = (line(&said, "token"), line(&said, "url"));
    let main = root.path().join("state/forge/repositories/1.git/refs/heads/main");
    let at = |rest: String| format!("/repos/ann/widget{rest}");
    for round in 0..4 {
        let write = async |path: String, body: Value| {
            let answer = call(&url, "POST", &at(path), &token, body).await;
            assert!(answer.status < 300, "{}", answer.body);
            answer.body["number"].as_i64().unwrap_or_default()
        };
        let issue = write("/issues".into(), json!({ "title": "broken" })).await;
        let branch = format!("fix/{round}");
        write(format!("/contents/{round}.txt"), json!({ "content": "eA==", "new_branch": branch })).await;
        let pull = json!({ "head": branch, "base": "main", "title": "fix", "body": format!("Fixes #{issue}") });
        let pull = write("/pulls".into(), pull).await;
        let path = at(format!("/pulls/{pull}"));
        let deadline = Instant::now() + DEADLINE;
        while call(&url, "GET", &path, &token, Value::Null).await.body["mergeable"] != true {
            assert!(Instant::now() < deadline, "never mergeable");
        }
        let before = std::fs::read(&main).unwrap();
        let request = reqwest::Client::new().post(format!("{url}/api/v1{path}/merge"));
        let request = request.header("authorization", format!("token {token}"));
        let merging = tokio::spawn(request.json(&json!({ "Do": "merge", "delete_branch_after_merge": true })).send());
        // Every other time right when the base has moved, else somewhere before.
        while round % 2 == 0 && std::fs::read(&main).is_ok_and(|now| now == before) {
            assert!(Instant::now() < deadline, "the base never moved");
            tokio::task::yield_now().await;
        }
        drop(served);
        let _ = merging.await.unwrap();
        let again = Served::start(root.path());
        served = again.0;
        url = line(&again.1, "url");
        // Asking again, as a client must that got no answer, ends it in any case.
        while call(&url, "GET", &at(format!("/pulls/{pull}/merge")), &token, Value::Null).await.status != 204 {
            assert!(round % 2 == 1, "the base moved, but the pull request is not merged");
            assert!(Instant::now() < deadline, "never merged");
            let form = json!({ "Do": "merge", "delete_branch_after_merge": true });
            call(&url, "POST", &format!("{path}/merge"), &token, form).await;
        }
        let state = call(&url, "GET", &at(format!("/issues/{issue}")), &token, Value::Null).await.body["state"].clone();
        assert_eq!(state, "closed", "round {round}");
        assert_eq!(call(&url, "GET", &at(format!("/branches/{branch}")), &token, Value::Null).await.status, 404);
        let merges = root.path().join("state/forge/repositories/1.git");
        let merges = Checkout { folder: merges }.run(&["rev-list", "--merges", "--count", "main"]);
        assert_eq!(merges, (round + 1).to_string(), "one merge commit for each pull request");
    }
    drop(served);
}
