//! git over HTTP through `git http-backend`: who may fetch and push, and which refs a push may touch. Bodies are streamed.
//! A push goes on to its end even when the client is gone, because a git that is killed leaves lock files behind.

use super::{
    auth,
    error::{ApiError, ApiResult},
    git::hermetic_with,
    git_push, pull_sync,
    repositories::{Permission, Repository},
    state::Forge,
};
use crate::adapters::process::{Program, Streaming};
use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use std::{path::Path as FilePath, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, ChildStdout},
    sync::mpsc,
};

/// The longest that a fetch or push may take after its streams have ended.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The longest that neither side of a transfer may make progress.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest request body; a push beyond it is for a real forge.
const MAX_BODY: u64 = 512 * 1024 * 1024;
/// The largest head of a CGI answer.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes read from git at a time, and answers waiting for the client.
const CHUNK: usize = 64 * 1024;
const WAITING_CHUNKS: usize = 16;

/// What the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Fetch,
    Push,
}

/// `/{owner}/{repo}/info/refs`, `/git-upload-pack`, `/git-receive-pack`; the repository's name ends in `.git`.
pub(super) async fn serve(
    State(forge): State<Arc<Forge>>,
    Path((owner, name, rest)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    match answer(forge, &owner, &name, &rest, request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = error.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let realm = HeaderValue::from_static("Basic realm=\"embedded forge\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            }
            response
        }
    }
}

async fn answer(forge: Arc<Forge>, owner: &str, name: &str, rest: &str, request: Request) -> ApiResult {
    let service = service_of(rest, request.method(), request.uri().query().unwrap_or_default())?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let (repository, user, permission) = admit(&forge, owner, name, service, request.headers()).await?;
    let mut program = backend(&forge, &repository, rest, &request).env("REMOTE_USER", &user);
    let mut body = request.into_body().into_data_stream();
    let mut first = Vec::new();
    if service == Service::Push && rest == "git-receive-pack" {
        let refused = git_push::refused(&forge, &repository, &user, permission, &mut body, &mut first).await?;
        program = refused.environment(program);
    }
    let mut child = program.stream().map_err(|error| ApiError::internal(error.to_string()))?;
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ApiError::internal("git http-backend has no streams"));
    };
    tokio::spawn(feed(stdin, first, body));
    let (status, headers, rest_of_head) = head(&mut stdout).await?;
    let (sender, mut receiver) = mpsc::channel(WAITING_CHUNKS);
    tokio::spawn(deliver(forge, repository, child, stdout, rest_of_head, sender, service));
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut response = (status, Body::from_stream(stream)).into_response();
    *response.headers_mut() = headers;
    Ok(response)
}

fn service_of(rest: &str, method: &Method, query: &str) -> ApiResult<Service> {
    let get = matches!(*method, Method::GET | Method::HEAD);
    match rest {
        "info/refs" if get && query.contains("service=git-receive-pack") => Ok(Service::Push),
        "info/refs" if get && query.contains("service=git-upload-pack") => Ok(Service::Fetch),
        "git-receive-pack" if method == Method::POST => Ok(Service::Push),
        "git-upload-pack" if method == Method::POST => Ok(Service::Fetch),
        _ => Err(ApiError::not_found()),
    }
}

/// Returns the repository and who comes, if the account and its token may do this.
async fn admit(
    forge: &Forge,
    owner: &str,
    name: &str,
    service: Service,
    headers: &HeaderMap,
) -> ApiResult<(Repository, String, Permission)> {
    let mut db = forge.store.read().await?;
    let caller = auth::caller(&mut db, headers).await?;
    let nobody = || ApiError::unauthorized("authentication is needed");
    let repository = match Repository::named(&mut db, owner, name).await {
        // Without credentials one is asked for them, so that nobody learns which repositories exist.
        Err(_) if caller.is_none() => return Err(nobody()),
        other => other?,
    };
    let permission = repository.permission(&mut db, caller.as_ref().map(|caller| &caller.account)).await?;
    let (needed, scope) = match service {
        Service::Fetch => (Permission::Read, "read:repository"),
        Service::Push => (Permission::Write, "write:repository"),
    };
    let Some(caller) = caller else {
        return if permission >= needed { Ok((repository, String::new(), permission)) } else { Err(nobody()) };
    };
    if let Some(granted) = &caller.scopes
        && super::scopes::missing(granted, &[scope.to_owned()]).is_some()
    {
        return Err(ApiError::forbidden(format!("token does not have the scope {scope}")));
    }
    if permission < Permission::Read {
        return Err(ApiError::not_found());
    }
    if permission < needed || (service == Service::Push && repository.archived) {
        return Err(ApiError::forbidden("this account may not push to this repository"));
    }
    Ok((repository, caller.account.name, permission))
}

/// Returns the CGI program with its environment, as RFC 3875 and `git http-backend` name it.
fn backend(forge: &Forge, repository: &Repository, rest: &str, request: &Request) -> Program {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let config = git_push::config(forge);
    let mut program = hermetic_with(FilePath::new("/"), config.iter().map(|(key, value)| (*key, value.as_str())))
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", forge.repositories())
        .env("PATH_INFO", format!("/{}.git/{rest}", repository.id))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .timeout(TIMEOUT)
        .output_cap(CHUNK);
    for (name, value) in
        [("CONTENT_LENGTH", header("content-length")), ("HTTP_CONTENT_ENCODING", header("content-encoding"))]
    {
        if !value.is_empty() {
            program = program.env(name, value);
        }
    }
    program
}

/// Writes the request to git. What is wrong with it, git finds: it gets an early end.
async fn feed(mut stdin: ChildStdin, first: Vec<u8>, mut body: BodyDataStream) {
    let mut total = first.len() as u64;
    if stdin.write_all(&first).await.is_err() {
        return;
    }
    while let Ok(Some(Ok(chunk))) = tokio::time::timeout(STALL_TIMEOUT, body.next()).await {
        total += chunk.len() as u64;
        if total > MAX_BODY {
            tracing::warn!(limit = MAX_BODY, "embedded forge: a push is too large");
            return;
        }
        if !matches!(tokio::time::timeout(STALL_TIMEOUT, stdin.write_all(&chunk)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Reads the head of the CGI answer. Returns it with what was read of the body.
async fn head(stdout: &mut ChildStdout) -> ApiResult<(StatusCode, HeaderMap, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let read = tokio::time::timeout(STALL_TIMEOUT, stdout.read_buf(&mut bytes)).await;
        if !matches!(read, Ok(Ok(count)) if count > 0) || bytes.len() > MAX_HEAD {
            return Err(ApiError::internal("git http-backend gave no answer"));
        }
    };
    let rest = bytes.split_off(end + 4);
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    Ok((status, headers, rest))
}

type Chunk = Result<Bytes, std::io::Error>;

/// Passes git's answer on. After a push the pull requests are brought up to date before the answer ends, so that who has
/// pushed sees them so.
async fn deliver(
    forge: Arc<Forge>,
    repository: Repository,
    child: Streaming,
    mut stdout: ChildStdout,
    first: Vec<u8>,
    client: mpsc::Sender<Chunk>,
    service: Service,
) {
    let _ = client.send(Ok(Bytes::from(first))).await;
    let mut chunk = vec![0; CHUNK];
    while let Ok(Ok(count)) = tokio::time::timeout(STALL_TIMEOUT, stdout.read(&mut chunk)).await {
        if count == 0 {
            break;
        }
        let gone = client.send(Ok(Bytes::copy_from_slice(&chunk[..count]))).await.is_err();
        if gone && service == Service::Fetch {
            return;
        }
    }
    drop(stdout);
    if let Err(error) = child.finish().await {
        tracing::warn!(%error, repository = repository.full_name(), "embedded forge: git http-backend");
    }
    if service == Service::Push
        && let Err(error) = pull_sync::sync(&forge, &repository).await
    {
        tracing::warn!(error = error.message(), "embedded forge: pull requests are brought up at the next read");
    }
}
