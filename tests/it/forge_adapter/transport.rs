//! Below HTTP and around it: connections, time, redirects, and the token's way.

use super::{ISSUE, TOKEN, answer, forge, forge_with, timing};
use crate::ports::ClosedPort;
use rig::{
    adapters::forge::{Gitea, InvalidConnection, Timing},
    ports::forge::{Forge, ForgeError},
};
use secrecy::SecretString;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

/// Answers every connection with the same bytes and hangs up. Returns its URL.
async fn raw_server(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    format!("http://{address}")
}

/// For requests that a busy machine takes a while for.
fn patient() -> Timing {
    Timing { request: Duration::from_secs(60), ..timing() }
}

/// Waits until a server has had so many requests: it may read one when who sent it has given up. Returns how many it has had.
async fn at_least(server: &MockServer, count: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let had = super::requests(server).await;
        if had >= count {
            return had;
        }
        assert!(Instant::now() < deadline, "{had} requests came, not {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_makes_no_sense_and_its_effect_is_unknown() {
    for bytes in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"number\": 1}".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"number\": 1}\r\n".as_slice(),
    ] {
        let forge = forge_with(&raw_server(bytes).await, timing());
        let error = forge.issue(ISSUE).await.unwrap_err();
        assert!(matches!(error, ForgeError::Garbled { .. }), "{error}");
        let error = forge.post_comment(1, "x").await.unwrap_err();
        assert!(error.effect_is_unknown(), "{error}");
    }
}

#[tokio::test]
async fn no_http_at_all_is_no_answer() {
    for bytes in [b"".as_slice(), b"SSH-2.0-OpenSSH\r\n".as_slice()] {
        let error = forge_with(&raw_server(bytes).await, timing()).issue(ISSUE).await.unwrap_err();
        assert!(matches!(error, ForgeError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_no_answer() {
    let closed = ClosedPort::new();
    let error = forge_with(&format!("http://{}", closed.address()), timing()).issue(ISSUE).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Unavailable { message, .. } if message.contains("refused")), "{error}");
}

#[tokio::test]
async fn a_forge_that_takes_too_long_is_no_answer() {
    let server = MockServer::start().await;
    let late = ResponseTemplate::new(200).set_body_json(json!({"number": 1})).set_delay(Duration::from_secs(60));
    Mock::given(matchers::any()).respond_with(late).mount(&server).await;
    let short = Timing { request: Duration::from_secs(1), ..timing() };
    let error = forge_with(&server.uri(), short).issue(ISSUE).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Unavailable { message, .. } if message.contains("too long")), "{error}");
    assert_eq!(at_least(&server, 3).await, 3);
}

#[tokio::test]
async fn a_read_that_hung_is_not_repeated() {
    let server = MockServer::start().await;
    let late = ResponseTemplate::new(200).set_body_json(json!({"number": 1})).set_delay(Duration::from_secs(60));
    Mock::given(matchers::any()).respond_with(late).mount(&server).await;
    let hangs = Timing { request: Duration::from_secs(1), slow: Duration::from_millis(10), ..timing() };
    assert!(forge_with(&server.uri(), hangs).issue(ISSUE).await.is_err());
    assert_eq!(at_least(&server, 1).await, 1);
}

#[tokio::test]
async fn a_write_is_no_rate_limit_when_nobody_knows_whether_it_was_done() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(503).insert_header("Retry-After", "3600");
    Mock::given(matchers::any()).respond_with(busy).mount(&server).await;
    let error = forge(&server).post_comment(1, "x").await.unwrap_err();
    assert!(error.effect_is_unknown(), "{error}");
    let read = forge(&server).issue(ISSUE).await.unwrap_err();
    assert!(matches!(read, ForgeError::RateLimited { .. }), "{read}");
    // Who was told once does not ask again.
    let client = forge(&server);
    client.issue(ISSUE).await.unwrap_err();
    let before = super::requests(&server).await;
    assert!(matches!(client.issue(ISSUE).await.unwrap_err(), ForgeError::NotAsked { .. }));
    assert_eq!(super::requests(&server).await, before);
}

#[tokio::test]
async fn no_more_than_twelve_requests_are_under_way_at_once() {
    let server = MockServer::start().await;
    let slowly = ResponseTemplate::new(200).set_body_json(json!({"number": 1})).set_delay(Duration::from_secs(60));
    Mock::given(matchers::any()).respond_with(slowly).mount(&server).await;
    let client = std::sync::Arc::new(forge_with(&server.uri(), patient()));
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.issue(ISSUE).await.is_ok() })
        })
        .collect();
    at_least(&server, 12).await;
    // What else is ready to run has had its turns by now.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(super::requests(&server).await, 12);
    asked.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_endless_body_is_given_up() {
    let server = MockServer::start().await;
    let body = vec![b' '; 33 * 1024 * 1024];
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(200).set_body_bytes(body)).await;
    let error = forge_with(&server.uri(), patient()).issue(ISSUE).await.unwrap_err();
    assert!(error.to_string().contains("MiB"), "{error}");
}

#[tokio::test]
async fn a_renamed_repository_is_followed_within_its_host() {
    let server = MockServer::start().await;
    let moved = ResponseTemplate::new(301).insert_header("Location", "/api/v1/repos/acme/gadget/issues/1");
    answer(&server, "GET", "/issues/1", moved).await;
    Mock::given(matchers::path("/api/v1/repos/acme/gadget/issues/1"))
        .and(matchers::header("Authorization", format!("token {TOKEN}").as_str()))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"number": 1})))
        .mount(&server)
        .await;
    assert_eq!(forge(&server).issue(ISSUE).await.unwrap().number, ISSUE);
}

#[tokio::test]
async fn nothing_is_sent_to_another_origin_and_no_redirect_is_followed_for_ever() {
    let (server, stranger) = (MockServer::start().await, MockServer::start().await);
    let away = format!("{}/api/v1/repos/acme/widget/issues/1", stranger.uri());
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(307).insert_header("Location", away.as_str())).await;
    let error = forge(&server).issue(ISSUE).await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { status: 307, .. }), "{error}");
    assert_eq!(super::requests(&stranger).await, 0);

    let circle = MockServer::start().await;
    let again = ResponseTemplate::new(302).insert_header("Location", "/api/v1/repos/acme/widget/issues/1");
    answer(&circle, "GET", "/issues/1", again).await;
    let error = forge(&circle).issue(ISSUE).await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { status: 302, .. }), "{error}");
    assert_eq!(super::requests(&circle).await, 4);
}

#[tokio::test]
async fn a_redirected_write_is_not_sent_on() {
    let server = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        server.reset().await;
        let moved = ResponseTemplate::new(status).insert_header("Location", "/api/v1/elsewhere");
        answer(&server, "POST", "/issues/1/comments", moved).await;
        let fine = ResponseTemplate::new(200).set_body_json(json!({"id": 1}));
        Mock::given(matchers::path("/api/v1/elsewhere")).respond_with(fine).mount(&server).await;
        assert!(forge(&server).post_comment(1, "x").await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn requests_carry_the_token_in_one_header_and_say_who_asks() {
    let server = MockServer::start().await;
    answer(&server, "GET", "/issues/1", ResponseTemplate::new(200).set_body_json(json!({"number": 1}))).await;
    forge(&server).issue(ISSUE).await.unwrap();
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.headers["authorization"], format!("token {TOKEN}").as_str());
    assert_eq!(request.headers["user-agent"], concat!("rig/", env!("CARGO_PKG_VERSION")));
    assert!(!request.url.as_str().contains(TOKEN));
}

#[tokio::test]
async fn the_token_is_in_no_error_and_no_debug_text() {
    let server = MockServer::start().await;
    for status in [200, 400, 401, 403, 404, 405, 409, 422, 429, 500] {
        server.reset().await;
        let echo = json!({"message": format!("the token {TOKEN} is bad")});
        Mock::given(matchers::any())
            .respond_with(ResponseTemplate::new(status).set_body_json(echo))
            .mount(&server)
            .await;
        let error = forge(&server).issue(ISSUE).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{status}: {error}");
    }
    assert!(!format!("{:?}", forge(&server)).contains(TOKEN));
}

#[test]
fn urls_and_tokens_that_cannot_work_are_refused_at_once() {
    let new =
        |url: &str, token: &str| Gitea::new(url, "acme/widget".parse().unwrap(), SecretString::from(token)).map(drop);
    for url in ["", "git.example.org", "ftp://x", "http://", "http://u:hunter2@x", "http://x/?a", "http://x/#a"] {
        let error = new(url, TOKEN).unwrap_err();
        assert!(matches!(error, InvalidConnection::Url { .. }), "{url}");
        assert!(!error.to_string().contains("hunter2"));
    }
    for token in ["", "a b", "a\n", "ä"] {
        assert_eq!(new("http://x", token).unwrap_err(), InvalidConnection::Token, "{token:?}");
    }
    for url in ["http://127.0.0.1:3000", "https://git.example.org/", "https://example.org/git"] {
        new(url, TOKEN).unwrap();
    }
}
