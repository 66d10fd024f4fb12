//! Lists are whole or an error, whatever a page holds.

use super::{HEAD, PULL, REPOSITORY, answer, forge, head};
use rig::{
    domain::pull_request::StatusState,
    ports::forge::{Forge, ForgeError, StateFilter},
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

fn asked(request: &Request, name: &str) -> usize {
    let found = request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    found.and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// Serves rows as a list with at most `cap` rows a page.
async fn serve(server: &MockServer, path: &str, rows: Vec<Value>, cap: usize, counted: bool) {
    Mock::given(matchers::path(format!("{REPOSITORY}{path}")))
        .respond_with(move |request: &Request| {
            let size = cap.min(asked(request, "limit"));
            let page: Vec<&Value> = rows.iter().skip((asked(request, "page") - 1) * size).take(size).collect();
            let response = ResponseTemplate::new(200)
                .set_body_json(&page)
                .insert_header("Link", "<http://elsewhere.invalid/?page=2>; rel=\"next\"");
            if counted { response.insert_header("X-Total-Count", rows.len().to_string().as_str()) } else { response }
        })
        .mount(server)
        .await;
}

fn issues(count: usize) -> Vec<Value> {
    (1..=count).map(|n| json!({"number": n, "state": "open"})).collect()
}

async fn numbers(server: &MockServer) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        forge(server).issues(StateFilter::Open, None).await.unwrap().items.iter().map(|issue| issue.number.0).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_list_is_whole_at_any_cap_with_and_without_its_length() {
    for count in [0, 1, 7, 50, 101] {
        for cap in [1, 7, 30, 50] {
            for counted in [true, false] {
                let server = MockServer::start().await;
                serve(&server, "/issues", issues(count), cap, counted).await;
                let wanted: Vec<u64> = (1..=count as u64).collect();
                assert_eq!(numbers(&server).await, wanted, "{count} by {cap}, counted: {counted}");
            }
        }
    }
}

#[tokio::test]
async fn a_counted_list_takes_no_request_too_many() {
    let server = MockServer::start().await;
    serve(&server, "/issues", issues(100), 50, true).await;
    numbers(&server).await;
    assert_eq!(super::requests(&server).await, 2);
}

#[tokio::test]
async fn null_entries_are_skipped_and_pages_after_them_are_read() {
    for counted in [true, false] {
        let server = MockServer::start().await;
        let mut rows = issues(9);
        for at in [0, 3, 4, 5, 8] {
            rows[at] = Value::Null;
        }
        serve(&server, "/issues", rows, 3, counted).await;
        assert_eq!(numbers(&server).await, [2, 3, 7, 8], "counted: {counted}");
    }
}

#[tokio::test]
async fn entries_that_the_server_drops_from_a_page_do_not_end_the_list() {
    let server = MockServer::start().await;
    // The first page is empty and the second short, as when reviews that others did not submit yet are left out.
    let pages = [
        json!([]),
        json!([{"id": 5, "state": "APPROVED", "comments_count": 0, "submitted_at": "2026-01-01T00:00:00Z"}]),
        json!([
            {"id": 6, "state": "COMMENT", "comments_count": 0, "submitted_at": "2026-01-02T00:00:00Z"},
            {"id": 7, "state": "COMMENT", "comments_count": 0, "submitted_at": "2026-01-03T00:00:00Z"}]),
    ];
    Mock::given(matchers::path(format!("{REPOSITORY}/pulls/3/reviews")))
        .respond_with(move |request: &Request| {
            let page = pages.get(asked(request, "page") - 1).cloned().unwrap_or(json!([]));
            ResponseTemplate::new(200).set_body_json(page).insert_header("X-Total-Count", "6")
        })
        .mount(&server)
        .await;
    let ids: Vec<u64> = forge(&server).reviews(PULL).await.unwrap().iter().map(|review| review.id).collect();
    assert_eq!(ids, [5, 6, 7]);
}

#[tokio::test]
async fn an_entry_that_slips_between_two_pages_is_found_by_reading_again() {
    let server = MockServer::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    Mock::given(matchers::path(format!("{REPOSITORY}/issues")))
        .respond_with(move |request: &Request| {
            // After the first request issue 1 is closed: 3 moves to the first page, which was read already.
            let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            let rows: Vec<u64> = if first { vec![1, 2, 3, 4] } else { vec![2, 3, 4] };
            let page: Vec<Value> =
                rows.iter().skip((asked(request, "page") - 1) * 2).take(2).map(|n| json!({"number": n})).collect();
            ResponseTemplate::new(200)
                .set_body_json(page)
                .insert_header("X-Total-Count", rows.len().to_string().as_str())
        })
        .mount(&server)
        .await;
    assert_eq!(numbers(&server).await, [2, 3, 4]);
}

#[tokio::test]
async fn entries_pushed_onto_the_next_page_are_counted_once() {
    let server = MockServer::start().await;
    Mock::given(matchers::path(format!("{REPOSITORY}/issues")))
        .respond_with(|request: &Request| {
            let page = match asked(request, "page") {
                1 => json!([{"number": 3}, {"number": 2}]),
                2 => json!([{"number": 2}, {"number": 1}]),
                _ => json!([]),
            };
            ResponseTemplate::new(200).set_body_json(page)
        })
        .mount(&server)
        .await;
    assert_eq!(numbers(&server).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_list_that_never_rests_or_never_ends_is_an_error() {
    let restless = MockServer::start().await;
    let calls = AtomicUsize::new(2);
    Mock::given(matchers::any())
        .respond_with(move |_: &Request| {
            let count = calls.fetch_add(1, Ordering::SeqCst);
            ResponseTemplate::new(200)
                .set_body_json(json!([{"number": count}]))
                .insert_header("X-Total-Count", count.to_string().as_str())
        })
        .mount(&restless)
        .await;
    let error = forge(&restless).issues(StateFilter::Open, None).await.unwrap_err();
    assert!(matches!(error, ForgeError::Garbled { .. }), "{error}");

    let endless = MockServer::start().await;
    let response =
        ResponseTemplate::new(200).set_body_json(json!([{"number": 1}])).insert_header("X-Total-Count", "100000000");
    answer(&endless, "GET", "/issues", response).await;
    let error = forge(&endless).issues(StateFilter::Open, None).await.unwrap_err();
    assert!(error.to_string().contains("pages"), "{error}");
    assert_eq!(super::requests(&endless).await, 1);
}

#[tokio::test]
async fn a_page_that_fails_fails_the_list() {
    let server = MockServer::start().await;
    Mock::given(matchers::query_param("page", "2")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    serve(&server, "/issues", issues(60), 50, true).await;
    let error = forge(&server).issues(StateFilter::Open, None).await.unwrap_err();
    assert!(matches!(error, ForgeError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn pull_requests_and_issues_without_the_label_are_left_out_on_this_side() {
    let server = MockServer::start().await;
    let rows = vec![
        json!({"number": 1, "labels": [{"id": 1, "name": "Backlog"}, null]}),
        json!({"number": 2, "labels": [{"id": 2, "name": "other"}]}),
        json!({"number": 3, "labels": [{"id": 1, "name": "backlog"}], "pull_request": {"merged": false}}),
        json!({"number": 4, "labels": null}),
        json!({"number": 5, "labels": [{"id": 1, "name": "backlog"}], "state": "closed"}),
    ];
    serve(&server, "/issues", rows, 50, true).await;
    let found = forge(&server).issues(StateFilter::Open, Some("backlog")).await.unwrap();
    assert_eq!(found.items.iter().map(|issue| issue.number.0).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn the_latest_status_of_each_context_counts_whatever_the_pages() {
    for cap in [1, 2, 50] {
        let server = MockServer::start().await;
        Mock::given(matchers::path(format!("{REPOSITORY}/commits/{HEAD}/status")))
            .respond_with(move |request: &Request| {
                let rows = [
                    json!({"id": 1, "context": "test", "status": "pending"}),
                    json!({"id": 4, "context": "test", "status": "failure"}),
                    Value::Null,
                    json!({"id": 3, "context": "lint", "status": "success", "description": null}),
                    json!({"id": 2, "context": "odd", "status": "splendid"}),
                ];
                let page: Vec<&Value> = rows.iter().skip((asked(request, "page") - 1) * cap).take(cap).collect();
                // The count is that of the page, as some forges have it, and so is the state.
                ResponseTemplate::new(200)
                    .set_body_json(json!({"state": "success", "total_count": page.len(), "statuses": page}))
                    .insert_header("X-Total-Count", page.len().to_string().as_str())
            })
            .mount(&server)
            .await;
        let found = forge(&server).statuses(&head()).await.unwrap();
        let found: Vec<_> = found.iter().map(|status| (status.context.as_str(), status.state)).collect();
        let wanted = [("lint", StatusState::Success), ("odd", StatusState::Other), ("test", StatusState::Failure)];
        assert_eq!(found, wanted, "by {cap}");
    }
}

#[tokio::test]
async fn no_statuses_at_all_are_an_empty_list() {
    let server = MockServer::start().await;
    let zero = json!({"state": "", "sha": "", "total_count": 0, "statuses": null, "repository": null, "url": ""});
    answer(&server, "GET", &format!("/commits/{HEAD}/status"), ResponseTemplate::new(200).set_body_json(zero)).await;
    assert!(forge(&server).statuses(&head()).await.unwrap().is_empty());
}

#[tokio::test]
async fn malformed_issues_are_told_and_the_others_are_read() {
    for counted in [true, false] {
        let server = MockServer::start().await;
        let rows = vec![
            json!({"number": 1, "state": "open"}),
            json!({"number": 2, "state": "open", "title": 7}),
            json!({"state": "open", "title": "no number"}),
            json!({"state": "open", "title": "no number either"}),
            json!("not an issue"),
            Value::Null,
            json!({"number": "6", "state": "open"}),
            json!({"number": 8, "state": "open", "labels": "backlog"}),
            json!({"number": 9, "state": "open"}),
        ];
        serve(&server, "/issues", rows, 2, counted).await;
        let found = forge(&server).issues(StateFilter::Open, None).await.unwrap();
        assert_eq!(found.items.iter().map(|issue| issue.number.0).collect::<Vec<_>>(), [1, 9], "counted: {counted}");
        let numbers: Vec<_> = found.unreadable.iter().filter_map(|one| one.number).collect();
        assert_eq!(numbers, [2, 8], "counted: {counted}");
        assert!(found.unreadable.iter().any(|one| one.number.is_none() && one.why == "it has no number"));
    }
}

#[tokio::test]
async fn a_malformed_review_or_comment_makes_all_of_its_subject_unknown() {
    let whole = json!({"id": 1, "state": "APPROVED", "comments_count": 0, "submitted_at": "2026-01-01T00:00:00Z"});
    for bad in [
        Value::Null,
        json!("x"),
        json!({"id": 2, "state": 5}),
        json!({"state": "APPROVED", "comments_count": 0, "submitted_at": "2026-01-01T00:00:00Z"}),
    ] {
        let server = MockServer::start().await;
        serve(&server, "/pulls/3/reviews", vec![whole.clone(), bad.clone()], 50, true).await;
        let error = forge(&server).reviews(PULL).await.unwrap_err();
        assert!(matches!(error, ForgeError::Garbled { .. }), "{bad}: {error}");
    }
    for bad in [json!("x"), json!({"id": 2, "body": 5}), json!({"body": "no id"})] {
        let server = MockServer::start().await;
        serve(&server, "/issues/3/comments", vec![json!({"id": 1, "body": "whole"}), bad.clone()], 50, true).await;
        let error = forge(&server).comments(3).await.unwrap_err();
        assert!(matches!(error, ForgeError::Garbled { .. }), "{bad}: {error}");
    }
}
