//! Misbehaving on demand, for tests: rules that spoil answers, and a count of requests. Only there when the forge was started
//! with it; the rules are set by an administrator and are forgotten at a restart.

use super::{
    accounts::no_content,
    call::{API, Body, Call},
    error::{ApiError, ApiResult},
    state::Forge,
};
use axum::{
    Json,
    body::{Body as HttpBody, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of an answer that can be cut; larger ones are dropped whole.
const MAX_CUT_BODY: usize = 64 * 1024 * 1024;
/// Different requests that are counted; further ones are not.
const MAX_COUNTED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Faults {
    state: Mutex<FaultState>,
}

#[derive(Debug, Default)]
struct FaultState {
    rules: Vec<Rule>,
    requests: BTreeMap<(String, String), u64>,
}

/// Which requests are spoiled, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Empty for any.
    #[serde(default)]
    method: String,
    /// A regular expression found anywhere in the path (as it is in the URL, without the query).
    #[serde(default, with = "pattern")]
    path: Option<Regex>,
    /// Matching requests let through before the first that is spoiled.
    #[serde(default)]
    skip: u64,
    /// Requests that are spoiled; none given means one, 0 means all that follow.
    #[serde(default = "one")]
    count: u64,
    action: Action,
    #[serde(skip)]
    seen: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Answers with this, without doing anything.
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        #[serde(default)]
        content_type: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Does what is asked, later.
    Latency { ms: u64 },
    /// Ends the connection without doing anything.
    Drop,
    /// Does what is asked and ends the connection in the middle of the answer.
    Truncate { bytes: usize },
    /// Does what is asked and answers with what is no JSON.
    Garbage,
    /// Answers with a web page, as a proxy would, without doing anything.
    Html,
    /// Does what is asked and ends the connection without an answer.
    LoseAnswer,
}

mod pattern {
    use regex::Regex;
    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&text).map(Some).map_err(D::Error::custom)
    }
}

fn one() -> u64 {
    1
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request. Returns what is to go wrong with it: the first rule that takes it decides.
    fn take(&self, method: &str, path: &str) -> Option<Action> {
        let mut state = self.lock();
        let key = (method.to_owned(), path.to_owned());
        if state.requests.len() < MAX_COUNTED || state.requests.contains_key(&key) {
            *state.requests.entry(key).or_default() += 1;
        }
        for rule in &mut state.rules {
            let fits = (rule.method.is_empty() || rule.method.eq_ignore_ascii_case(method))
                && rule.path.as_ref().is_none_or(|pattern| pattern.is_match(path));
            if !fits {
                continue;
            }
            rule.seen += 1;
            let turn = rule.seen.saturating_sub(rule.skip);
            if turn > 0 && (rule.count == 0 || turn <= rule.count) {
                return Some(rule.action.clone());
            }
        }
        None
    }
}

/// Spoils what a rule says; everything else passes untouched. The endpoints of this module are never spoiled.
pub(super) async fn apply(State(forge): State<Arc<Forge>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let action = match &forge.faults {
        Some(faults) if !path.starts_with(&format!("{API}/-/")) => faults.take(request.method().as_str(), &path),
        _ => None,
    };
    match action {
        None => next.run(request).await,
        Some(Action::Status { status, body, content_type, headers }) => canned(status, body, &content_type, &headers),
        Some(Action::Latency { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            next.run(request).await
        }
        Some(Action::Drop) => dropped(StatusCode::OK, Bytes::new(), 1),
        Some(Action::Truncate { bytes }) => truncated(next.run(request).await, bytes).await,
        Some(Action::Garbage) => {
            let status = next.run(request).await.status();
            (status, [(header::CONTENT_TYPE, "application/json")], "{\"id\": 1, \"numb\u{0}").into_response()
        }
        Some(Action::Html) => {
            let page = "<!DOCTYPE html><html><body><h1>One moment, please</h1></body></html>";
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Some(Action::LoseAnswer) => {
            // The whole answer is taken first: with git over HTTP the work goes on while it is read.
            let response = next.run(request).await;
            let _ = to_bytes(response.into_body(), MAX_CUT_BODY).await;
            dropped(StatusCode::OK, Bytes::new(), 1)
        }
    }
}

fn canned(status: u16, body: String, content_type: &str, headers: &BTreeMap<String, String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    let kind = if content_type.is_empty() { "application/json" } else { content_type };
    let own = [("content-type", kind)];
    let given = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(given) {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn truncated(response: Response, bytes: usize) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_CUT_BODY).await.unwrap_or_default();
    let kept = body.slice(..bytes.min(body.len()));
    let mut cut = dropped(parts.status, kept, body.len().max(bytes + 1));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        cut.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    cut
}

/// Returns an answer that promises `length` bytes, gives these, and then breaks the connection.
fn dropped(status: StatusCode, given: Bytes, length: usize) -> Response {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let given = (!given.is_empty()).then_some(Ok(given));
    let stream = futures::stream::iter(given.into_iter().chain([Err(broken)]));
    let mut response = (status, HttpBody::from_stream(stream)).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn faults(call: &Call) -> ApiResult<&Faults> {
    call.admin()?;
    call.forge.faults.as_ref().ok_or_else(ApiError::not_found)
}

/// `POST /-/faults`: adds rules.
pub(super) async fn add(call: Call, Body(rules): Body<Vec<Rule>>) -> ApiResult {
    faults(&call)?.lock().rules.extend(rules);
    Ok(no_content())
}

/// `DELETE /-/faults`: forgets all rules.
pub(super) async fn clear(call: Call) -> ApiResult {
    faults(&call)?.lock().rules.clear();
    Ok(no_content())
}

/// `GET /-/requests`: how often what was asked for since the start or the last `DELETE`.
pub(super) async fn requests(call: Call) -> ApiResult {
    let state = faults(&call)?.lock();
    let total: u64 = state.requests.values().sum();
    let each: Vec<_> = state
        .requests
        .iter()
        .map(|((method, path), count)| json!({ "method": method, "path": path, "count": count }))
        .collect();
    Ok(Json(json!({ "total": total, "requests": each })).into_response())
}

/// `DELETE /-/requests`: counts from zero.
pub(super) async fn forget_requests(call: Call) -> ApiResult {
    faults(&call)?.lock().requests.clear();
    Ok(no_content())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_the_requests_that_it_names() {
        let faults = Faults::default();
        let rule = r#"{ "method": "POST", "path": "/merge$", "skip": 1, "count": 2, "action": { "kind": "drop" } }"#;
        faults.lock().rules.push(serde_json::from_str(rule).unwrap());
        assert!(faults.take("GET", "/pulls/1/merge").is_none());
        let taken: Vec<bool> = (0..5).map(|_| faults.take("POST", "/pulls/1/merge").is_some()).collect();
        assert_eq!(taken, [false, true, true, false, false]);
        assert_eq!(faults.lock().requests[&("POST".to_owned(), "/pulls/1/merge".to_owned())], 5);
    }

    #[test]
    fn a_misspelt_rule_is_an_error() {
        assert!(serde_json::from_str::<Rule>(r#"{ "action": { "kind": "dropp" } }"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{ "pth": "x", "action": { "kind": "drop" } }"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{ "path": "(", "action": { "kind": "drop" } }"#).is_err());
    }
}
