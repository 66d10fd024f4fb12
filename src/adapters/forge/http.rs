//! One request, one bounded answer. Owns the token and where it may be sent.
//! Deliberately absent: repeating (see `retry`) and the meaning of an answer (see `answer`).

use super::{
    answer::{self, Answer, Bounded},
    connections::{Connections, Timing},
};
use crate::ports::forge::{ForgeError, ForgeResult};
use reqwest::{
    Method, Response, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fmt;

/// Bytes of one answer that are read at most: a page of fifty issues with the longest bodies stays well below.
const BODY_CAP: usize = 32 * 1024 * 1024;
/// Redirects that a read follows within one host: a renamed repository needs one, its renamed owner another.
const REDIRECTS: usize = 3;

/// What a client cannot be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnection {
    /// The URL is not shown: it may hold a password.
    #[error("the forge's URL is not usable: {reason}")]
    Url { reason: String },
    #[error("the forge's token is empty or holds characters that no token has")]
    Token,
}

/// Where a request goes below the API's root: path segments, encoded when the URL is made, and the query.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Target {
    pub(super) fn new<S: ToString>(segments: impl IntoIterator<Item = S>) -> Self {
        Self { segments: segments.into_iter().map(|segment| segment.to_string()).collect(), query: Vec::new() }
    }

    #[must_use]
    pub(super) fn at(mut self, segment: impl ToString) -> Self {
        self.segments.push(segment.to_string());
        self
    }

    #[must_use]
    pub(super) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Returns what errors call a request: its method and its path below the API's root.
    pub(super) fn label(&self, method: &Method) -> String {
        format!("{method} /{}", self.segments.join("/"))
    }
}

/// The API of one forge with one token.
pub(super) struct Api {
    root: Url,
    token: SecretString,
    connections: Connections,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("root", &self.root.as_str()).finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(base: &str, token: SecretString, connections: Connections) -> Result<Self, InvalidConnection> {
        let unusable = |reason: &str| InvalidConnection::Url { reason: reason.to_owned() };
        let mut root = Url::parse(base).map_err(|error| unusable(&error.to_string()))?;
        if !matches!(root.scheme(), "http" | "https") || root.host_str().is_none() {
            return Err(unusable("it must begin with http:// or https:// and a host"));
        }
        if !root.username().is_empty() || root.password().is_some() {
            return Err(unusable("it must hold no name or password; the token has a place of its own"));
        }
        if root.query().is_some() || root.fragment().is_some() {
            return Err(unusable("it must hold no query or fragment"));
        }
        if let Ok(mut path) = root.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]);
        }
        let usable = |c: char| c.is_ascii_graphic();
        if token.expose_secret().is_empty() || !token.expose_secret().chars().all(usable) {
            return Err(InvalidConnection::Token);
        }
        Ok(Self { root, token, connections })
    }

    pub(super) fn timing(&self) -> Timing {
        self.connections.timing()
    }

    /// Sends one request and returns its answer when that is a success.
    pub(super) async fn send(&self, method: &Method, target: &Target, body: Option<&Value>) -> ForgeResult<Answer> {
        let request = target.label(method);
        let response = self.exchange(&request, method, target, body).await?;
        let (status, total) = (response.status().as_u16(), answer::total_count(response.headers()));
        let bytes = match self.body(&request, response, BODY_CAP).await? {
            Bounded::Whole(bytes) => bytes,
            Bounded::Cut(_) => {
                let message = format!("it is longer than {} MiB", BODY_CAP / 1024 / 1024);
                return Err(ForgeError::Garbled { request, message });
            }
        };
        Ok(Answer { request, status, total, bytes })
    }

    /// Reads an answer that is text, at most `limit` bytes of it; the rest is never fetched.
    pub(super) async fn text(&self, target: &Target, limit: usize) -> ForgeResult<String> {
        let request = target.label(&Method::GET);
        let response = self.exchange(&request, &Method::GET, target, None).await?;
        let bytes = match self.body(&request, response, limit).await? {
            Bounded::Whole(bytes) => bytes,
            Bounded::Cut(mut bytes) => {
                // A character that the cut went through is dropped whole.
                if let Err(error) = std::str::from_utf8(&bytes)
                    && error.error_len().is_none()
                {
                    bytes.truncate(error.valid_up_to());
                }
                bytes
            }
        };
        if answer::is_html(&bytes) {
            return Err(ForgeError::Garbled { request, message: answer::describe(&bytes) });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the head of a successful response; every other answer is an error.
    async fn exchange(
        &self,
        request: &str,
        method: &Method,
        target: &Target,
        body: Option<&Value>,
    ) -> ForgeResult<Response> {
        let client = self.connections.client(&self.root).map_err(|error| self.unavailable(request, error))?;
        let (mut url, mut redirects) = (self.url(target), 0);
        loop {
            let mut builder = client
                .request(method.clone(), url.clone())
                .header(ACCEPT, "application/json")
                .header(AUTHORIZATION, self.authorization());
            if let Some(body) = body {
                builder = builder.json(body);
            }
            let response = builder.send().await.map_err(|error| self.unavailable(request, error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            match self.redirect(request, method, &url, &response)? {
                Some(next) if redirects < REDIRECTS => {
                    redirects += 1;
                    url = next;
                }
                Some(_) => {
                    let status = response.status().as_u16();
                    return Err(self.refused_redirect(request, status, "it redirects without end"));
                }
                None => return Err(self.failure(request, response).await),
            }
        }
    }

    /// Returns where a read goes on. A write is never sent on: clients turn a redirected POST into a GET, whose success
    /// would be taken for that of the write. The token never leaves the origin that it was given for.
    fn redirect(&self, request: &str, method: &Method, from: &Url, response: &Response) -> ForgeResult<Option<Url>> {
        let status = response.status();
        if !status.is_redirection() {
            return Ok(None);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(next) = location.and_then(|location| from.join(location).ok()) else {
            return Err(self.refused_redirect(request, status.as_u16(), "it redirects to nowhere"));
        };
        if next.origin() != self.root.origin() || !next.username().is_empty() || next.password().is_some() {
            let host = next.host_str().unwrap_or("nowhere");
            let message = format!("it redirects to another origin ({}://{host})", next.scheme());
            return Err(self.refused_redirect(request, status.as_u16(), &message));
        }
        if *method != Method::GET {
            return Err(self.refused_redirect(request, status.as_u16(), "it redirects; a write does not follow"));
        }
        Ok(Some(next))
    }

    fn refused_redirect(&self, request: &str, status: u16, message: &str) -> ForgeError {
        ForgeError::Refused { request: request.to_owned(), status, message: self.scrub(message) }
    }

    async fn failure(&self, request: &str, response: Response) -> ForgeError {
        let (status, retry_after) = (response.status().as_u16(), answer::retry_after(response.headers()));
        // The status already says that it failed; a body that breaks off or never ends only shortens the explanation.
        let bytes = match self.body(request, response, answer::ERROR_BODY_CAP).await {
            Ok(Bounded::Whole(bytes) | Bounded::Cut(bytes)) => bytes,
            Err(_) => Vec::new(),
        };
        let message = self.scrub(&answer::describe(&bytes));
        answer::failure(request, status, retry_after, message, answer::is_foreign(&bytes))
    }

    async fn body(&self, request: &str, mut response: Response, cap: usize) -> ForgeResult<Bounded> {
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(Bounded::Whole(bytes)),
                Ok(Some(chunk)) if bytes.len() + chunk.len() > cap => {
                    bytes.extend_from_slice(&chunk[..cap - bytes.len()]);
                    return Ok(Bounded::Cut(bytes));
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Err(error) if error.is_timeout() => return Err(self.unavailable(request, error)),
                Err(_) => {
                    let message = format!("it breaks off after {} bytes", bytes.len());
                    return Err(ForgeError::Garbled { request: request.to_owned(), message });
                }
            }
        }
    }

    fn unavailable(&self, request: &str, error: reqwest::Error) -> ForgeError {
        let message = self.scrub(&answer::transport_message(error));
        ForgeError::Unavailable { request: request.to_owned(), message }
    }

    /// Returns the text without the token, which a forge or a proxy may have echoed.
    fn scrub(&self, text: &str) -> String {
        text.replace(self.token.expose_secret(), "(token)")
    }

    fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("token {}", self.token.expose_secret()))
            .expect("the constructor accepts only tokens of visible ASCII characters");
        value.set_sensitive(true);
        value
    }

    fn url(&self, target: &Target) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&target.segments);
        }
        if !target.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&target.query);
        }
        url
    }
}
