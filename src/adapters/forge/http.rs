//! One request, one bounded answer. Owns the token and where it may be sent.
//! Deliberately absent: repeating (see `retry`) and the meaning of an answer (see `answer`).

use super::{
    answer::{self, Answer, Bounded},
    connections::{Connections, Timing},
    pause::Pause,
};
use crate::ports::{
    allowance::{Allowance, Limit},
    forge::{ForgeError, ForgeResult},
};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Method, Response, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Bytes of one answer that are read at most: a page of fifty issues with the longest bodies stays well below.
const BODY_CAP: usize = 32 * 1024 * 1024;
/// Redirects that a read follows within one host: a renamed repository needs one, its renamed owner another.
const REDIRECTS: usize = 3;

/// Requests of one account that are under way at once: enough to hide the way to the forge, few enough to be a good guest.
const IN_FLIGHT: usize = 12;

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
pub(in crate::adapters) struct Target {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Target {
    pub(in crate::adapters) fn new<S: ToString>(segments: impl IntoIterator<Item = S>) -> Self {
        Self { segments: segments.into_iter().map(|segment| segment.to_string()).collect(), query: Vec::new() }
    }

    #[must_use]
    pub(in crate::adapters) fn at(mut self, segment: impl ToString) -> Self {
        self.segments.push(segment.to_string());
        self
    }

    #[must_use]
    pub(in crate::adapters) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Returns what errors call a request: its method and its path below the API's root.
    pub(super) fn label(&self, method: &Method) -> String {
        format!("{method} /{}", self.segments.join("/"))
    }
}

/// How a kind of server wants to be asked.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) struct Dialect {
    /// Where the API lies below the server's address.
    pub(in crate::adapters) path: &'static [&'static str],
    /// Name of the authorization scheme.
    pub(in crate::adapters) scheme: &'static str,
    /// Its own errors are JSON: what is not comes from something in between, and says nothing of what was asked for.
    pub(in crate::adapters) json_errors: bool,
}

/// Gitea and Forgejo.
const GITEA: Dialect = Dialect { path: &["api", "v1"], scheme: "token", json_errors: true };

/// The API of one forge with one token.
pub(in crate::adapters) struct Api {
    root: Url,
    dialect: Dialect,
    token: SecretString,
    connections: Connections,
    allowance: Arc<Allowance>,
    pause: Pause,
    turns: Semaphore,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("root", &self.root.as_str()).finish_non_exhaustive()
    }
}

impl Api {
    /// Returns the API of a Gitea or Forgejo.
    pub(super) fn new(base: &str, token: SecretString, connections: Connections) -> Result<Self, InvalidConnection> {
        Self::speaking(GITEA, base, token, connections)
    }

    /// Returns the API of a server that wants to be asked so.
    pub(in crate::adapters) fn speaking(
        dialect: Dialect,
        base: &str,
        token: SecretString,
        connections: Connections,
    ) -> Result<Self, InvalidConnection> {
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
            path.pop_if_empty().extend(dialect.path);
        }
        let usable = |c: char| c.is_ascii_graphic();
        if token.expose_secret().is_empty() || !token.expose_secret().chars().all(usable) {
            return Err(InvalidConnection::Token);
        }
        let turns = Semaphore::new(IN_FLIGHT);
        Ok(Self { root, dialect, token, connections, allowance: Arc::default(), pause: Pause::default(), turns })
    }

    pub(super) fn within(&mut self, allowance: Arc<Allowance>) {
        self.allowance = allowance;
    }

    pub(super) fn pausing_in(&mut self, file: PathBuf) {
        self.pause = Pause::kept_in(file);
    }

    pub(in crate::adapters) fn timing(&self) -> Timing {
        self.connections.timing()
    }

    /// Sends one request and returns its answer when that is a success.
    pub(in crate::adapters) async fn send(
        &self,
        method: &Method,
        target: &Target,
        body: Option<&Value>,
    ) -> ForgeResult<Answer> {
        let request = target.label(method);
        let _turn = self.turns.acquire().await;
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
        let _turn = self.turns.acquire().await;
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
            let time = self.admitted(request).await?;
            let mut builder = client
                .request(method.clone(), url.clone())
                .timeout(time)
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
                None => return Err(self.failure(request, method, response).await),
            }
        }
    }

    /// Waits until one more request may be sent. Returns how long it may take.
    async fn admitted(&self, request: &str) -> ForgeResult<Duration> {
        let timing = self.timing();
        let not_asked = |limit| ForgeError::NotAsked { request: request.to_owned(), limit };
        let mut now = Timestamp::now();
        while let Some(until) = self.pause.until(now) {
            let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            if wait > timing.longest_pause {
                let limit = Limit::Pause { until };
                self.allowance.note(limit.clone());
                return Err(not_asked(limit));
            }
            tokio::time::sleep(wait).await;
            now = Timestamp::now();
        }
        let left = self.allowance.take().map_err(not_asked)?;
        Ok(left.map_or(timing.request, |left| left.min(timing.request)))
    }

    /// Notes for how long the forge wants to be left alone.
    async fn rest(&self, asked: Duration) {
        let keep = asked > self.timing().longest_pause;
        let until = self
            .pause
            .note(Timestamp::now(), SignedDuration::try_from(asked).unwrap_or(SignedDuration::MAX), keep)
            .await;
        if keep {
            tracing::warn!(%until, "the forge wants to be left alone");
            self.allowance.note(Limit::Pause { until });
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

    async fn failure(&self, request: &str, method: &Method, response: Response) -> ForgeError {
        let status = response.status().as_u16();
        // Redirects carry the header too, with another meaning.
        let retry_after =
            answer::retry_after(response.headers(), Timestamp::now()).filter(|_| matches!(status, 429 | 503));
        if let Some(asked) = retry_after {
            self.rest(asked).await;
        }
        // A forge that is down for a time that it knows. Whether it has carried out a write all the same, it does not say.
        if status == 503 && retry_after.is_some() && *method == Method::GET {
            return ForgeError::RateLimited { request: request.to_owned(), retry_after };
        }
        // The status already says that it failed; a body that breaks off or never ends only shortens the explanation.
        let bytes = match self.body(request, response, answer::ERROR_BODY_CAP).await {
            Ok(Bounded::Whole(bytes) | Bounded::Cut(bytes)) => bytes,
            Err(_) => Vec::new(),
        };
        let message = self.scrub(&answer::describe(&bytes));
        answer::failure(request, status, retry_after, message, self.dialect.json_errors && answer::is_foreign(&bytes))
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
        let mut value = HeaderValue::try_from(format!("{} {}", self.dialect.scheme, self.token.expose_secret()))
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
