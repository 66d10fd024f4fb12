//! Writes: sent once, believed only when the answer says what was asked for.

use super::{HEAD, ISSUE, PULL, REPOSITORY, answer, forge, head, requests};
use rig::{
    domain::{
        ids::{BranchName, Login},
        pull_request::StatusState,
    },
    ports::forge::{Created, Forge, ForgeError, MergeRequest, MergeStyle, NewPullRequest, NewStatus},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

fn merge_request() -> MergeRequest {
    MergeRequest { head: head(), style: MergeStyle::RebaseMerge, title: "t".to_owned(), message: "m".to_owned() }
}

#[tokio::test]
async fn a_write_is_never_repeated() {
    for response in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(429).insert_header("Retry-After", "0"),
        ResponseTemplate::new(201).set_body_string("{"),
        ResponseTemplate::new(301).insert_header("Location", "/elsewhere"),
    ] {
        let server = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(response).mount(&server).await;
        forge(&server).post_comment(1, "hello").await.unwrap_err();
        let status = NewStatus {
            state: StatusState::Success,
            context: "c".into(),
            description: "".into(),
            target_url: "".into(),
        };
        let _ = forge(&server).post_status(&head(), &status).await;
        assert_eq!(requests(&server).await, 2);
    }
}

#[tokio::test]
async fn merging_names_the_style_and_the_commit() {
    let server = MockServer::start().await;
    let body = json!({"Do": "rebase-merge", "head_commit_id": HEAD, "MergeTitleField": "t", "MergeMessageField": "m",
        "delete_branch_after_merge": false});
    Mock::given(matchers::path(format!("{REPOSITORY}/pulls/3/merge")))
        .and(matchers::body_json(body))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    forge(&server).merge(PULL, &merge_request()).await.unwrap();
}

#[tokio::test]
async fn only_200_is_a_merge() {
    for status in [201, 202, 204, 302, 403, 404, 405, 409, 412, 422, 423, 500] {
        let server = MockServer::start().await;
        let said = if status == 204 { json!(null) } else { json!({"message": "why not"}) };
        answer(&server, "POST", "/pulls/3/merge", ResponseTemplate::new(status).set_body_json(said)).await;
        let error = forge(&server).merge(PULL, &merge_request()).await.unwrap_err();
        assert_eq!(error.effect_is_unknown(), matches!(status, 201 | 202 | 204 | 500), "{status}: {error}");
        if [403, 405, 409, 412, 422, 423].contains(&status) {
            assert!(error.to_string().contains("why not"), "{status}: {error}");
        }
    }
}

#[tokio::test]
async fn a_raw_git_conflict_keeps_gits_words() {
    let server = MockServer::start().await;
    let raw = json!({"Style": "merge", "StdOut": "CONFLICT (content): a.rs", "StdErr": "", "Err": {}});
    answer(&server, "POST", "/pulls/3/merge", ResponseTemplate::new(409).set_body_json(raw)).await;
    let error = forge(&server).merge(PULL, &merge_request()).await.unwrap_err();
    assert!(
        matches!(&error, ForgeError::Refused { status: 409, message, .. } if message.contains("CONFLICT")),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_pull_request_is_there_already_and_nothing_else_is() {
    let new = NewPullRequest {
        head: BranchName::new("fix/issue-1").unwrap(),
        base: "main".to_owned(),
        title: "t".to_owned(),
        body: "Fixes #1".to_owned(),
    };
    for (status, there) in [(409, true), (422, false), (404, false), (423, false), (500, false)] {
        let server = MockServer::start().await;
        answer(&server, "POST", "/pulls", ResponseTemplate::new(status).set_body_json(json!({"message": "x"}))).await;
        let created = forge(&server).create_pull_request(&new).await;
        assert_eq!(matches!(created, Ok(Created::AlreadyThere)), there, "{status}");
        assert!(!matches!(created, Ok(Created::New(_))), "{status}");
    }
}

#[tokio::test]
async fn an_issue_that_stays_open_was_not_closed() {
    let server = MockServer::start().await;
    let open = json!({"number": 1, "state": "open", "assignees": []});
    answer(&server, "PATCH", "/issues/1", ResponseTemplate::new(201).set_body_json(open)).await;
    assert!(forge(&server).close_issue(ISSUE).await.is_err());
    assert!(forge(&server).set_assignees(ISSUE, &[Login::new("ann").unwrap()]).await.is_err());
    forge(&server).set_assignees(ISSUE, &[]).await.unwrap();
}

/// A repository's labels that live up to what is written to them, but for what is told otherwise.
struct Labels {
    repository: Mutex<Vec<(u64, String)>>,
    issue: Mutex<Vec<u64>>,
    drops: bool,
    /// Somebody makes the label between our look and our write.
    raced: bool,
}

impl Labels {
    async fn serve(self, server: &MockServer) -> Arc<Self> {
        let labels = Arc::new(self);
        let served = Arc::clone(&labels);
        Mock::given(matchers::path_regex("/labels(/[0-9]+)?$"))
            .respond_with(move |request: &Request| served.respond(request))
            .mount(server)
            .await;
        labels
    }

    fn respond(&self, request: &Request) -> ResponseTemplate {
        let (mut repository, mut issue) = (self.repository.lock().unwrap(), self.issue.lock().unwrap());
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let path = request.url.path();
        if path.starts_with("/api/v1/orgs/") {
            return ResponseTemplate::new(404);
        }
        match (request.method.as_str(), path.contains("/issues/1/")) {
            ("POST", false) => {
                let id = repository.iter().map(|label| label.0).max().unwrap_or(0) + 1;
                repository.push((id, body["name"].as_str().unwrap().to_owned()));
                if self.raced {
                    return ResponseTemplate::new(409);
                }
            }
            ("POST", true) if !self.drops => {
                issue.extend(body["labels"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()));
            }
            ("DELETE", true) => {
                let id: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
                issue.retain(|there| *there != id);
                return ResponseTemplate::new(204);
            }
            _ => {}
        }
        let known = |id: &u64| !path.contains("/issues/1/") || issue.contains(id);
        let rows: Vec<Value> =
            repository.iter().filter(|(id, _)| known(id)).map(|(id, name)| json!({"id": id, "name": name})).collect();
        let page_two = request.url.query().is_some_and(|query| query.contains("page=2"));
        ResponseTemplate::new(200).set_body_json(if page_two { Vec::new() } else { rows })
    }
}

fn labels(drops: bool, raced: bool) -> Labels {
    let repository = vec![(1, "backlog".to_owned()), (2, "in-progress".to_owned()), (5, "backlog".to_owned())];
    Labels { repository: Mutex::new(repository), issue: Mutex::new(vec![1, 5]), drops, raced }
}

#[tokio::test]
async fn labels_are_exchanged_by_id_and_missing_ones_are_made() {
    for raced in [false, true] {
        let server = MockServer::start().await;
        let state = labels(false, raced).serve(&server).await;
        let mut after = forge(&server).change_labels(ISSUE, &["in-progress", "new"], &["backlog"]).await.unwrap();
        after.sort();
        assert_eq!(after, ["in-progress", "new"]);
        assert_eq!(*state.issue.lock().unwrap(), [2, 6], "raced: {raced}");
    }
}

#[tokio::test]
async fn labels_that_are_as_wanted_are_only_read() {
    let server = MockServer::start().await;
    labels(false, false).serve(&server).await;
    assert_eq!(forge(&server).change_labels(ISSUE, &["Backlog"], &["blocked"]).await.unwrap(), ["backlog", "backlog"]);
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_label_that_the_forge_drops_is_an_error() {
    let server = MockServer::start().await;
    labels(true, false).serve(&server).await;
    let error = forge(&server).change_labels(ISSUE, &["in-progress"], &[]).await.unwrap_err();
    assert!(error.to_string().contains("in-progress") && error.effect_is_unknown(), "{error}");
}
