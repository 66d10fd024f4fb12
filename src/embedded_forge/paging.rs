//! Pages: `page` and `limit` with the forge's caps, `X-Total-Count`, and `Link` built from the root URL.

use super::call::Call;
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header::LINK},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Items on a page when the request names no limit.
const DEFAULT_LIMIT: usize = 30;
/// Most items on a page.
const MAX_LIMIT: usize = 50;

/// Which headers a list carries; they differ from endpoint to endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    Full,
    CountOnly,
    Neither,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    number: usize,
    limit: usize,
}

impl Page {
    /// Returns the page that a query asks for; what is no number counts as not given.
    pub(super) fn of(query: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok()).filter(|n| *n > 0);
        Self { number: number("page").unwrap_or(1), limit: number("limit").unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT) }
    }

    /// Returns this page's part of the whole.
    pub(super) fn slice<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        let start = self.limit.saturating_mul(self.number - 1).min(all.len());
        &all[start..all.len().min(start + self.limit)]
    }

    /// Returns the answer with these items, which are already this page's.
    pub(super) fn answer<T: Serialize>(&self, call: &Call, items: &[T], total: usize, headers: Headers) -> Response {
        let mut map = HeaderMap::new();
        if headers != Headers::Neither {
            map.insert("x-total-count", HeaderValue::from(total));
            map.insert("access-control-expose-headers", HeaderValue::from_static("X-Total-Count, Link"));
        }
        if headers == Headers::Full
            && let Some(link) = self.link(&call.forge.url(&call.path), &call.query, total)
            && let Ok(value) = HeaderValue::from_str(&link)
        {
            map.insert(LINK, value);
        }
        (map, Json(items)).into_response()
    }

    fn link(&self, url: &str, query: &BTreeMap<String, String>, total: usize) -> Option<String> {
        let last = total.div_ceil(self.limit).max(1);
        let mut wanted = Vec::new();
        if self.number < last {
            wanted.extend([("next", self.number + 1), ("last", last)]);
        }
        if self.number > 1 {
            wanted.extend([("first", 1), ("prev", self.number - 1)]);
        }
        let others: String = query
            .iter()
            .filter(|(name, _)| *name != "page" && *name != "limit")
            .map(|(name, value)| format!("&{}={}", encoded(name), encoded(value)))
            .collect();
        let links: Vec<String> = wanted
            .iter()
            .map(|(name, page)| format!("<{url}?limit={}{others}&page={page}>; rel=\"{name}\"", self.limit))
            .collect();
        (!links.is_empty()).then(|| links.join(","))
    }
}

/// Returns text as it may stand in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &[(&str, &str)]) -> Page {
        Page::of(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_limit_is_capped_and_has_a_default() {
        assert_eq!(page(&[]), Page { number: 1, limit: 30 });
        assert_eq!(page(&[("limit", "500"), ("page", "2")]), Page { number: 2, limit: 50 });
        assert_eq!(page(&[("limit", "0"), ("page", "-1")]), Page { number: 1, limit: 30 });
    }

    #[test]
    fn a_slice_past_the_end_is_empty() {
        let all: Vec<u8> = (0..5).collect();
        assert_eq!(page(&[("limit", "2"), ("page", "3")]).slice(&all), [4]);
        assert!(page(&[("limit", "2"), ("page", "9")]).slice(&all).is_empty());
        assert!(page(&[("limit", "2"), ("page", "18446744073709551615")]).slice(&all).is_empty());
    }

    #[test]
    fn links_name_the_neighbours_and_keep_the_query() {
        let query = BTreeMap::from([("state".to_owned(), "a b".to_owned()), ("page".to_owned(), "2".to_owned())]);
        let link = Page { number: 2, limit: 10 }.link("http://root/x", &query, 25).unwrap();
        assert!(link.contains("<http://root/x?limit=10&state=a%20b&page=3>; rel=\"next\""), "{link}");
        assert!(link.contains("page=3>; rel=\"last\"") && link.contains("page=1>; rel=\"prev\""), "{link}");
        assert_eq!(Page { number: 1, limit: 10 }.link("http://root/x", &query, 10), None);
    }
}
