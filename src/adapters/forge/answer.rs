//! What an answer says: the error that a status stands for, and the forge's own words, bounded.

use crate::ports::forge::{ForgeError, ForgeResult};
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{error::Error, time::Duration};

/// Bytes read of the body of an error.
pub(super) const ERROR_BODY_CAP: usize = 64 * 1024;
/// Characters of a forge's message that are kept: push rejections quote hooks at length, their beginning says why.
const MESSAGE_CAP: usize = 500;
/// Characters of an HTML page's title that are kept.
const TITLE_CAP: usize = 80;

/// A body, or as much of it as was wanted.
pub(super) enum Bounded {
    Whole(Vec<u8>),
    Cut(Vec<u8>),
}

/// A successful answer.
pub(in crate::adapters) struct Answer {
    pub(super) request: String,
    pub(super) status: u16,
    /// `X-Total-Count`, where the forge sends it.
    pub(super) total: Option<u64>,
    pub(in crate::adapters) bytes: Vec<u8>,
}

impl Answer {
    /// Returns the body as the shape that the API promises.
    pub(in crate::adapters) fn json<T: DeserializeOwned>(&self) -> ForgeResult<T> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            if is_foreign(&self.bytes) || self.bytes.is_empty() {
                return self.garbled(describe(&self.bytes));
            }
            self.garbled(bounded(&error.to_string(), MESSAGE_CAP))
        })
    }

    /// Returns the error that this answer, although a success, is not what the API promises.
    pub(in crate::adapters) fn garbled(&self, message: impl Into<String>) -> ForgeError {
        ForgeError::Garbled { request: self.request.clone(), message: message.into() }
    }
}

/// Returns the error that a status other than success stands for. `foreign`: the body is not the API's JSON.
pub(super) fn failure(
    request: &str,
    status: u16,
    retry_after: Option<Duration>,
    message: String,
    foreign: bool,
) -> ForgeError {
    let request = request.to_owned();
    match status {
        401 => ForgeError::Unauthorized { request },
        403 => ForgeError::Forbidden { request, message },
        // A proxy whose forge is just being restarted says 404 too, in words of its own.
        404 if foreign => {
            ForgeError::Unavailable { request, message: format!("404, but not in the forge's words: {message}") }
        }
        404 | 410 => ForgeError::NotFound { request },
        405 | 409 | 412 | 423 => ForgeError::Refused { request, status, message },
        408 => ForgeError::Unavailable { request, message: format!("408: {message}") },
        429 => ForgeError::RateLimited { request, retry_after },
        400..=499 => ForgeError::Invalid { request, status, message },
        500..=599 => ForgeError::Unavailable { request, message: format!("{status}: {message}") },
        _ => ForgeError::Garbled { request, message: format!("status {status}: {message}") },
    }
}

/// Returns what the body of an error says, in one bounded line.
pub(super) fn describe(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if text.is_empty() {
        return "no explanation".to_owned();
    }
    if is_html(bytes) {
        return match title(text) {
            Some(title) => format!("an HTML page titled `{}`", bounded(title, TITLE_CAP)),
            None => "an HTML page".to_owned(),
        };
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => bounded(&said(&value).unwrap_or_else(|| text.to_owned()), MESSAGE_CAP),
        Err(_) => bounded(text, MESSAGE_CAP),
    }
}

/// Returns the sentence in a JSON error: `message`, or what git said where a forge passes on git's failure as it is.
fn said(value: &Value) -> Option<String> {
    let field = |name: &str| match value.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        _ => None,
    };
    if let Some(message) = field("message") {
        return Some(message);
    }
    let git: Vec<String> = ["StdErr", "StdOut"].into_iter().filter_map(field).collect();
    if !git.is_empty() {
        return Some(git.join(" "));
    }
    value.get("message").is_some().then(|| "no explanation".to_owned())
}

/// Returns whether the body is an HTML page.
pub(super) fn is_html(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let start = String::from_utf8_lossy(&start[..start.len().min(15)]).to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| start.starts_with(tag))
}

/// Returns whether the body is something that the API itself does not say: neither nothing nor JSON.
pub(super) fn is_foreign(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    !text.is_empty() && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err()
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open + lower[open..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = page[start..end].trim();
    (!title.is_empty()).then_some(title)
}

/// Returns the text in one line, cut after `cap` characters.
pub(super) fn bounded(text: &str, cap: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(cap) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Returns the length of the whole list that a page belongs to.
pub(super) fn total_count(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-total-count")?.to_str().ok()?.trim().parse().ok()
}

/// Returns how long the forge wants to be left alone (RFC 9110, 10.2.3): in seconds, or as a date, which counts from the
/// answer's own date where it has one, so that the two clocks need not agree.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(secs) = asked.parse() {
        return Some(Duration::from_secs(secs));
    }
    let from = text(DATE).and_then(http_date).unwrap_or(now);
    // A date that has passed asks for nothing any more.
    Some(Duration::try_from(http_date(asked)?.duration_since(from)).unwrap_or_default())
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// Returns why a request failed below HTTP, without its URL.
pub(super) fn transport_message(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "connecting took too long" } else { "it took too long" }.to_owned();
    }
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    bounded(&message, MESSAGE_CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> ForgeError {
        failure("GET /x", status, None, describe(body.as_bytes()), is_foreign(body.as_bytes()))
    }

    #[test]
    fn each_status_has_its_error() {
        assert!(matches!(kind(401, "{}"), ForgeError::Unauthorized { .. }));
        assert!(matches!(kind(403, "{}"), ForgeError::Forbidden { .. }));
        assert!(matches!(kind(404, "{}"), ForgeError::NotFound { .. }));
        assert!(matches!(kind(404, ""), ForgeError::NotFound { .. }));
        for status in [405, 409, 412, 423] {
            assert!(matches!(kind(status, "{}"), ForgeError::Refused { status: s, .. } if s == status));
        }
        for status in [400, 413, 422, 418] {
            assert!(matches!(kind(status, "{}"), ForgeError::Invalid { status: s, .. } if s == status));
        }
        assert!(matches!(kind(429, "{}"), ForgeError::RateLimited { .. }));
        for status in [408, 500, 502, 503] {
            assert!(matches!(kind(status, "{}"), ForgeError::Unavailable { .. }));
        }
    }

    #[test]
    fn a_pause_is_read_in_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let asked = |after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked("120", None), Some(120));
        assert_eq!(asked(" 0 ", None), Some(0));
        assert_eq!(asked("Fri, 20 Nov 2026 12:01:30 GMT", None), Some(90));
        assert_eq!(asked("Fri, 20 Nov 2026 12:01:30 GMT", Some("Fri, 20 Nov 2026 12:01:00 GMT")), Some(30));
        assert_eq!(asked("Fri, 20 Nov 2026 11:00:00 GMT", None), Some(0));
        for nonsense in ["soon", "-5", "1.5", "Fri, 99 Nov 2026 12:01:30 GMT", ""] {
            assert_eq!(asked(nonsense, None), None, "{nonsense}");
        }
    }

    #[test]
    fn a_404_of_a_proxy_says_nothing_about_the_forge() {
        assert!(matches!(kind(404, "404 page not found"), ForgeError::Unavailable { .. }));
        assert!(matches!(kind(404, "<html><title>Gone</title></html>"), ForgeError::Unavailable { .. }));
    }

    #[test]
    fn messages_are_the_forges_own_words_bounded_and_never_a_page() {
        assert_eq!(describe(br#"{"message":"no","url":"u"}"#), "no");
        assert_eq!(describe(br#"{"message":"","url":"u"}"#), "no explanation");
        assert_eq!(describe(br#"{"Style":"merge","StdOut":"CONFLICT\n in a","StdErr":"","Err":{}}"#), "CONFLICT in a");
        assert_eq!(describe(b""), "no explanation");
        assert_eq!(describe(b"<!DOCTYPE html><html><head><title>502 Bad</title>"), "an HTML page titled `502 Bad`");
        let long = describe("é".repeat(100_000).as_bytes());
        assert!(long.chars().count() <= MESSAGE_CAP + 3);
    }
}
