//! Answers to reads: the error that each stands for, and shapes that are not quite right.

use super::{HEAD, ISSUE, PULL, answer, forge, head, requests};
use rig::{
    domain::{
        ids::{BranchName, Login},
        issue::OpenOrClosed,
        pull_request::Verdict,
    },
    ports::forge::{Forge, ForgeError, StateFilter},
};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

async fn issue_error(response: ResponseTemplate) -> (ForgeError, usize) {
    let server = MockServer::start().await;
    answer(&server, "GET", "/issues/1", response).await;
    let error = forge(&server).issue(ISSUE).await.unwrap_err();
    (error, requests(&server).await)
}

#[tokio::test]
async fn errors_that_stay_are_told_at_once_and_in_the_forges_words() {
    for status in [400, 401, 403, 404, 405, 409, 412, 413, 422, 423] {
        let body = json!({"message": "because of me", "url": "u"});
        let (error, tries) = issue_error(ResponseTemplate::new(status).set_body_json(body)).await;
        let told = match &error {
            ForgeError::Unauthorized { .. } => status == 401,
            ForgeError::NotFound { .. } => status == 404,
            ForgeError::Forbidden { message, .. } => status == 403 && message == "because of me",
            ForgeError::Refused { status: s, message, .. } => {
                [405, 409, 412, 423].contains(s) && *s == status && message == "because of me"
            }
            ForgeError::Invalid { status: s, message, .. } => {
                [400, 413, 422].contains(s) && *s == status && message == "because of me"
            }
            _ => false,
        };
        assert!(told && tries == 1, "{status}: {error} after {tries}");
        assert!(!error.is_transient() && error.to_string().contains("/repos/acme/widget/issues/1") || status == 401);
    }
}

#[tokio::test]
async fn errors_that_may_pass_are_tried_three_times() {
    for status in [429, 500, 502, 503] {
        let (error, tries) = issue_error(ResponseTemplate::new(status).set_body_string("oops")).await;
        assert!(error.is_transient() && tries == 3, "{status}: {error} after {tries}");
    }
    for body in ["", "{\"number\": 1", "[]", "{}", "{\"number\": \"one\"}", "{\"number\": 2}", "<html>hello"] {
        let (error, tries) = issue_error(ResponseTemplate::new(200).set_body_string(body)).await;
        assert!(matches!(error, ForgeError::Garbled { .. }) && tries == 3, "{body}: {error} after {tries}");
    }
}

#[tokio::test]
async fn a_read_succeeds_when_the_trouble_passes() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("Retry-After", "1");
    Mock::given(matchers::any()).respond_with(busy).up_to_n_times(1).mount(&server).await;
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(200).set_body_json(json!({"number": 1}))).await;
    let began = std::time::Instant::now();
    assert_eq!(forge(&server).issue(ISSUE).await.unwrap().number, ISSUE);
    assert!(began.elapsed().as_millis() >= 1_000, "it did not wait as long as it was told to");
}

#[tokio::test]
async fn a_forge_that_wants_a_long_pause_is_not_waited_for() {
    let (error, tries) = issue_error(ResponseTemplate::new(429).insert_header("Retry-After", "3600")).await;
    assert!(
        matches!(error, ForgeError::RateLimited { retry_after: Some(pause), .. } if pause.as_secs() == 3_600),
        "{error}"
    );
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn pages_of_proxies_are_summarised() {
    let page = format!("<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>{}", "x".repeat(1_000_000));
    let (error, _) = issue_error(ResponseTemplate::new(502).set_body_string(page.as_str())).await;
    let text = error.to_string();
    assert!(text.contains("502 Bad Gateway") && text.len() < 300, "{text}");
    // A proxy's own 404 does not say that the issue is gone.
    let (error, _) = issue_error(ResponseTemplate::new(404).set_body_string(page)).await;
    assert!(matches!(error, ForgeError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn an_issue_with_words_that_are_not_known_is_read() {
    let server = MockServer::start().await;
    let body = json!({"number": 1, "state": "frozen", "user": null, "labels": null, "assignees": [null], "body": null});
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(200).set_body_json(body)).await;
    let issue = forge(&server).issue(ISSUE).await.unwrap();
    assert_eq!((issue.state, issue.labels.len(), issue.assignees.len()), (OpenOrClosed::Open, 0, 0));
}

#[tokio::test]
async fn a_broken_pull_request_does_not_hide_the_others() {
    let server = MockServer::start().await;
    let body = json!([null, {"number": 3, "state": "open", "head": {"sha": HEAD, "ref": "x"}},
        {"number": 4, "state": "open", "head": {"sha": "", "ref": "y"}}]);
    answer(&server, "GET", "/pulls", ResponseTemplate::new(200).set_body_json(body)).await;
    let found = forge(&server).pull_requests(StateFilter::Open).await.unwrap();
    assert_eq!(found.unreadable.iter().map(|one| one.number).collect::<Vec<_>>(), [None, Some(4)]);
    assert_eq!(found.items.iter().map(|pull| pull.number).collect::<Vec<_>>(), [PULL]);
}

#[tokio::test]
async fn reviews_carry_their_remarks_and_unknown_verdicts_are_none() {
    let server = MockServer::start().await;
    let reviews = json!([
        {"id": 2, "state": "REQUEST_CHANGES", "user": {"login": "ann"}, "commit_id": HEAD, "official": true,
            "submitted_at": "2026-01-02T00:00:00Z"},
        {"id": 1, "state": "HOORAY", "user": {"login": "bob"}, "submitted_at": "2026-01-01T00:00:00+02:00"},
        {"id": 3, "state": "REQUEST_REVIEW", "user": null, "submitted_at": "2026-01-03T00:00:00Z"}]);
    answer(&server, "GET", "/pulls/3/reviews", ResponseTemplate::new(200).set_body_json(reviews)).await;
    let remarks = json!([null, {"path": "a.rs", "position": 7, "body": "no", "resolver": null},
        {"path": "b.rs", "position": 9, "body": "done", "resolver": {"id": 3, "login": "bob"}}]);
    answer(&server, "GET", "/pulls/3/reviews/2/comments", ResponseTemplate::new(200).set_body_json(remarks)).await;
    let found = forge(&server).reviews(PULL).await.unwrap();
    let verdicts: Vec<_> = found.iter().map(|review| (review.id, review.verdict)).collect();
    assert_eq!(verdicts, [(1, Verdict::None), (2, Verdict::ChangesRequested), (3, Verdict::None)]);
    assert_eq!((found[1].comments[0].line, found[1].comments[0].path.as_str()), (7, "a.rs"));
    assert_eq!(found[1].comments.iter().map(|remark| remark.resolved).collect::<Vec<_>>(), [false, true]);
    assert!(found[1].official && found[1].commit == Some(head()));
}

#[tokio::test]
async fn remarks_that_cannot_be_had_fail_the_reviews() {
    let server = MockServer::start().await;
    let reviews = json!([{"id": 2, "state": "REQUEST_CHANGES", "comments_count": 1}]);
    answer(&server, "GET", "/pulls/3/reviews", ResponseTemplate::new(200).set_body_json(reviews)).await;
    answer(&server, "GET", "/pulls/3/reviews/2/comments", ResponseTemplate::new(500)).await;
    assert!(forge(&server).reviews(PULL).await.is_err());
}

#[tokio::test]
async fn a_missing_branch_is_none_only_in_a_repository_that_is_there() {
    let server = MockServer::start().await;
    let gone = || ResponseTemplate::new(404).set_body_json(json!({"message": "not found"}));
    answer(&server, "GET", "/branches/fix/issue-1", gone()).await;
    answer(&server, "DELETE", "/branches/fix/issue-1", gone()).await;
    let branch = BranchName::new("fix/issue-1").unwrap();
    let error = forge(&server).branch_tip("fix/issue-1").await.unwrap_err();
    assert!(matches!(error, ForgeError::NotFound { .. }), "{error}");
    assert!(forge(&server).delete_branch(&branch).await.is_err());
    answer(&server, "GET", "", ResponseTemplate::new(200).set_body_json(json!({"default_branch": "main"}))).await;
    assert_eq!(forge(&server).branch_tip("fix/issue-1").await.unwrap(), None);
    assert!(!forge(&server).delete_branch(&branch).await.unwrap());
}

#[tokio::test]
async fn names_of_branches_are_encoded_but_for_their_slashes() {
    let server = MockServer::start().await;
    let tip = ResponseTemplate::new(200).set_body_json(json!({"commit": {"id": HEAD}}));
    answer(&server, "GET", "/branches/fix/50%25%20%C3%A4%23", tip).await;
    assert_eq!(forge(&server).branch_tip("fix/50% ä#").await.unwrap(), Some(head()));
}

#[tokio::test]
async fn protection_that_may_not_be_seen_is_read_from_the_branch() {
    let branch = json!({"commit": {"id": HEAD}, "protected": true, "required_approvals": 2,
        "enable_status_check": true, "status_check_contexts": ["test", "ci/*"]});
    let unchecked = json!({"commit": {"id": HEAD}, "protected": true, "enable_status_check": false,
        "status_check_contexts": ["test"]});
    for status in [403, 404] {
        let server = MockServer::start().await;
        answer(&server, "GET", "/branch_protections", ResponseTemplate::new(status)).await;
        answer(&server, "GET", "/branches/main", ResponseTemplate::new(200).set_body_json(&branch)).await;
        let unprotected = json!({"commit": {"id": HEAD}, "protected": false, "status_check_contexts": null});
        answer(&server, "GET", "/branches/free", ResponseTemplate::new(200).set_body_json(unprotected)).await;
        answer(&server, "GET", "/branches/unchecked", ResponseTemplate::new(200).set_body_json(&unchecked)).await;
        let forge = forge(&server);
        let main = forge.protection("main").await.unwrap().unwrap();
        assert_eq!((main.required_approvals, main.required_contexts), (2, vec!["test".to_owned(), "ci/*".to_owned()]));
        assert_eq!(forge.protection("free").await.unwrap(), None, "{status}");
        let unchecked = forge.protection("unchecked").await.unwrap().unwrap();
        assert_eq!((unchecked.required_approvals, unchecked.required_contexts.len()), (0, 0));
    }
}

#[tokio::test]
async fn protection_that_cannot_be_found_out_is_an_error_and_not_none() {
    for (rules, branch) in [(500, None), (401, None), (403, Some(500)), (403, Some(403)), (403, Some(404)), (404, None)]
    {
        let server = MockServer::start().await;
        answer(&server, "GET", "/branch_protections", ResponseTemplate::new(rules)).await;
        if let Some(branch) = branch {
            answer(&server, "GET", "/branches/main", ResponseTemplate::new(branch)).await;
        }
        let found = forge(&server).protection("main").await;
        assert!(found.is_err(), "{rules} {branch:?}: {found:?}");
    }
    let server = MockServer::start().await;
    answer(&server, "GET", "/branch_protections", ResponseTemplate::new(403)).await;
    let silent = json!({"commit": {"id": HEAD}});
    answer(&server, "GET", "/branches/main", ResponseTemplate::new(200).set_body_json(silent)).await;
    let error = forge(&server).protection("main").await.unwrap_err().to_string();
    assert!(error.contains("required_contexts"), "{error}");
    answer(&server, "GET", "", ResponseTemplate::new(200).set_body_json(json!({"default_branch": "main"}))).await;
    assert_eq!(
        forge(&server).protection("gone").await.unwrap(),
        None,
        "the repository answers, and has no such branch"
    );
}

#[tokio::test]
async fn permission_is_judged_from_assignees_where_it_is_not_told() {
    let server = MockServer::start().await;
    for (name, permission) in [("ann", "write"), ("bob", "read"), ("eve", "owner")] {
        let body = json!({ "permission": permission });
        let path = format!("/collaborators/{name}/permission");
        answer(&server, "GET", &path, ResponseTemplate::new(200).set_body_json(body)).await;
    }
    answer(&server, "GET", "/collaborators/dan/permission", ResponseTemplate::new(403)).await;
    answer(&server, "GET", "/collaborators/kim/permission", ResponseTemplate::new(403)).await;
    answer(&server, "GET", "/assignees", ResponseTemplate::new(200).set_body_json(json!([{"login": "Dan"}]))).await;
    for (name, may) in [("ann", true), ("bob", false), ("eve", true), ("dan", true), ("kim", false)] {
        assert_eq!(forge(&server).can_write(&Login::new(name).unwrap()).await.unwrap(), may, "{name}");
    }
}

#[tokio::test]
async fn a_diff_is_cut_between_characters() {
    let server = MockServer::start().await;
    answer(&server, "GET", "/pulls/3.diff", ResponseTemplate::new(200).set_body_string("ab\u{e4}cd")).await;
    for (limit, text) in [(0, ""), (2, "ab"), (3, "ab"), (4, "abä"), (6, "abäcd"), (100, "abäcd")] {
        assert_eq!(forge(&server).diff(PULL, limit).await.unwrap(), text, "{limit}");
    }
}

#[tokio::test]
async fn old_names_of_renamed_files_are_changed_files() {
    let server = MockServer::start().await;
    let files = json!([{"filename": "new", "previous_filename": "old"}, {"filename": "a"}, null]);
    answer(&server, "GET", "/pulls/3/files", ResponseTemplate::new(200).set_body_json(files)).await;
    assert_eq!(forge(&server).changed_files(PULL).await.unwrap(), ["a", "new", "old"]);
}

#[tokio::test]
async fn a_switched_off_dependency_feature_is_no_dependency_but_a_missing_issue_is_an_error() {
    let server = MockServer::start().await;
    assert!(forge(&server).dependency_links(ISSUE).await.is_err());
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(200).set_body_json(json!({"number": 1}))).await;
    assert!(forge(&server).dependency_links(ISSUE).await.unwrap().is_empty());
}
