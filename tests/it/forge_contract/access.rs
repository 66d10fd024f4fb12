//! Who may do what: tokens, scopes, and what wrong addresses answer.

use super::world::{Account, World};
use reqwest::Method;
use serde_json::json;

contract![
    both_words_before_a_token_are_taken,
    an_unknown_token_is_401,
    a_token_sees_its_own_account,
    a_missing_scope_is_403,
    what_is_not_there_is_404_with_a_message,
    a_repository_says_what_the_account_may_do,
    permissions_of_collaborators_are_told_to_the_owner,
    those_who_may_write_are_assignees,
    pushing_takes_a_token_that_may_write,
];

async fn both_words_before_a_token_are_taken(world: &World) {
    let account = world.account("user").await;
    for word in ["token", "Bearer"] {
        let auth = format!("{word} {}", account.token);
        let reply = world.call(Some(&auth), Method::GET, "/user", None).await.expect(200);
        assert_eq!(reply.json["login"], account.name);
    }
}

async fn an_unknown_token_is_401(world: &World) {
    let auth = "token 0123456789012345678901234567890123456789";
    world.call(Some(auth), Method::GET, "/user", None).await.expect(401);
    world.call(None, Method::GET, "/user", None).await.expect(401);
}

async fn a_token_sees_its_own_account(world: &World) {
    let account = world.account("user").await;
    let reply = world.get(&account, "/user").await.expect(200);
    assert_eq!(reply.json["login"], account.name);
    assert!(reply.json["id"].as_u64().is_some_and(|id| id > 0));
}

async fn a_missing_scope_is_403(world: &World) {
    let repository = world.repository().await;
    let owner = &repository.owner.name;
    let with = async |scopes: &[&str]| Account { name: owner.clone(), token: world.token(owner, scopes).await };
    let (issues, code) = (with(&["write:issue"]).await, with(&["write:repository"]).await);
    let readers = with(&["read:issue", "read:repository"]).await;
    for (path, scope_is_issue) in [
        ("/issues", true),
        ("/labels", true),
        ("/pulls", false),
        ("/branches", false),
        ("/branch_protections", false),
        ("/commits/main/status", false),
    ] {
        let (may, may_not) = if scope_is_issue { (&issues, &code) } else { (&code, &issues) };
        world.get(may, &repository.at(path)).await.expect(200);
        let refused = world.get(may_not, &repository.at(path)).await.expect(403);
        assert!(refused.json["message"].is_string(), "{path}: {}", refused.text);
        world.get(&readers, &repository.at(path)).await.expect(200);
    }
    world.get(&issues, "/user").await.expect(403);
    let (title, label) = (json!({"title": "x"}), json!({"name": "x", "color": "#ffffff"}));
    world.post(&readers, &repository.at("/issues"), title.clone()).await.expect(403);
    world.post(&readers, &repository.at("/labels"), label).await.expect(403);
    world.post(&issues, &repository.at("/issues"), title).await.expect(201);
}

async fn what_is_not_there_is_404_with_a_message(world: &World) {
    let repository = world.repository().await;
    for path in ["/issues/4711", "/pulls/4711", "/branches/none", "/branches/no/ne", "/branch_protections/none"] {
        let reply = repository.get(path).await.expect(404);
        assert!(reply.json["message"].is_string() && reply.json.get("url").is_some(), "{path}: {}", reply.text);
    }
    let stranger = world.account("user").await;
    world.get(&stranger, &format!("/repos/{}/none", repository.owner.name)).await.expect(404);
}

async fn a_repository_says_what_the_account_may_do(world: &World) {
    let repository = world.repository().await;
    let writer = repository.collaborator("writer", "write").await;
    let reader = world.account("reader").await;
    for (who, push, admin) in [(&repository.owner, true, true), (&writer, true, false), (&reader, false, false)] {
        let reply = world.get(who, &repository.at("")).await.expect(200);
        assert_eq!(reply.json["permissions"]["push"], push, "{}", who.name);
        assert_eq!(reply.json["permissions"]["admin"], admin, "{}", who.name);
        assert_eq!(reply.json["default_branch"], "main");
        assert_eq!(reply.json["archived"], false);
        assert_eq!(reply.json["full_name"], format!("{}/{}", repository.owner.name, repository.name));
    }
}

async fn permissions_of_collaborators_are_told_to_the_owner(world: &World) {
    let repository = world.repository().await;
    let writer = repository.collaborator("writer", "write").await;
    let reader = repository.collaborator("reader", "read").await;
    for (who, permission) in [(&writer, "write"), (&reader, "read"), (&repository.owner, "owner")] {
        let reply = repository.get(format_args!("/collaborators/{}/permission", who.name)).await.expect(200);
        assert_eq!(reply.json["permission"], permission, "{}", who.name);
    }
    repository.get("/collaborators/no-such-user-at-all/permission").await.expect(404);
    let path = repository.at(format_args!("/collaborators/{}/permission", repository.owner.name));
    world.get(&reader, &path).await.expect(403);
}

async fn those_who_may_write_are_assignees(world: &World) {
    let repository = world.repository().await;
    let writer = repository.collaborator("writer", "write").await;
    let reader = repository.collaborator("reader", "read").await;
    let reply = world.get(&writer, &repository.at("/assignees")).await.expect(200);
    let names = reply.each("login");
    assert!(names.contains(&json!(repository.owner.name)) && names.contains(&json!(writer.name)), "{}", reply.text);
    assert!(!names.contains(&json!(reader.name)), "{}", reply.text);
}

async fn pushing_takes_a_token_that_may_write(world: &World) {
    let repository = world.repository().await;
    let writer = repository.collaborator("writer", "write").await;
    let reader = world.account("reader").await;
    let nobody = Account { name: writer.name.clone(), token: "wrong".to_owned() };
    let limited = Account { name: writer.name.clone(), token: world.token(&writer.name, &["read:repository"]).await };
    for refused in [&reader, &nobody, &limited] {
        assert!(repository.push("main:refs/heads/other", refused).await.is_err(), "{}", refused.name);
    }
    repository.get("/branches/other").await.expect(404);
    repository.push("main:refs/heads/other", &writer).await.unwrap();
    repository.get("/branches/other").await.expect(200);
}
