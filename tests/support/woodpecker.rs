//! A Woodpecker server as far as its API is used: pipelines in pages of fifty, newest first, steps, logs in base64, restarts
//! that make a new pipeline, errors in plain text. It can be told to misbehave.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

pub(crate) const TOKEN: &str = "woodpecker-token-made-up";
pub(crate) const REPOSITORY: u64 = 7;

#[derive(Default)]
pub(crate) struct Board {
    /// Newest last.
    pub(crate) pipelines: Vec<Value>,
    /// Text of a log by pipeline and step.
    pub(crate) logs: BTreeMap<(u64, u64), Vec<u8>>,
    /// `METHOD path` of every request.
    pub(crate) requests: Vec<String>,
    /// Answers everything with this status and plain text.
    pub(crate) broken: Option<u16>,
}

/// A running server; ends with the runtime that it was started in.
#[derive(Clone)]
pub(crate) struct Woodpecker {
    pub(crate) url: String,
    pub(crate) board: Arc<Mutex<Board>>,
}

type Shared = Arc<Mutex<Board>>;

impl Woodpecker {
    pub(crate) async fn serve() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let board = Shared::default();
        let app = Router::new()
            .route("/api/repos/lookup/{owner}/{name}", get(lookup))
            .route("/api/repos/{id}/pipelines", get(list))
            .route("/api/repos/{id}/pipelines/{number}", get(show).post(restart))
            .route("/api/repos/{id}/logs/{number}/{step}", get(log))
            .with_state(board.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, board }
    }

    /// Adds a pipeline with one workflow of these steps: name, state, exit code. Returns its number.
    pub(crate) fn pipeline(&self, event: &str, commit: &str, status: &str, steps: &[(&str, &str, i32)]) -> u64 {
        let mut board = self.board.lock().unwrap();
        let number = board.pipelines.len() as u64 + 1;
        board.pipelines.push(pipeline(number, event, commit, status, steps));
        number
    }

    /// Sets the state of the newest pipeline, and of its steps.
    pub(crate) fn newest_ends(&self, status: &str, steps: &[(&str, &str, i32)]) {
        let mut board = self.board.lock().unwrap();
        let newest = board.pipelines.last_mut().unwrap();
        let (number, event, commit) =
            (newest["number"].as_u64().unwrap(), newest["event"].clone(), newest["commit"].clone());
        *newest = pipeline(number, event.as_str().unwrap(), commit.as_str().unwrap(), status, steps);
    }

    pub(crate) fn log(&self, pipeline: u64, step: u64, text: &str) {
        self.board.lock().unwrap().logs.insert((pipeline, step), text.as_bytes().to_vec());
    }

    /// Returns how many requests of a method were made.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.board.lock().unwrap().requests.iter().filter(|request| request.starts_with(method)).count()
    }
}

fn pipeline(number: u64, event: &str, commit: &str, status: &str, steps: &[(&str, &str, i32)]) -> Value {
    let children: Vec<Value> = steps
        .iter()
        .zip(1..)
        .map(|((name, state, exit_code), pid)| {
            let kind = if *name == "clone" { "clone" } else { "commands" };
            // The id is another number than the place in the workflow, as on a real server.
            json!({ "id": number * 100 + pid, "pid": pid, "name": name, "state": state, "exit_code": exit_code, "type": kind })
        })
        .collect();
    json!({
        "id": number + 5_000, "number": number, "event": event, "commit": commit, "status": status, "errors": null,
        "created": 1_700_000_000 + number, "started": 0, "updated": 1_700_000_000 + number, "branch": "main",
        "workflows": [{ "id": 1, "pid": 1, "name": "test", "state": status, "children": children }],
    })
}

fn plain(status: u16, text: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), text.to_owned()).into_response()
}

/// Notes a request, and refuses it as the server is told to. `known`: the repository's number is the right one.
fn admitted(board: &mut Board, headers: &HeaderMap, request: String, known: bool) -> Result<(), Box<Response>> {
    board.requests.push(request);
    if let Some(status) = board.broken {
        return Err(Box::new(plain(status, "something is wrong")));
    }
    let authorised = headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"));
    if !authorised {
        return Err(Box::new(plain(401, "User not authorized")));
    }
    if known { Ok(()) } else { Err(Box::new(plain(404, "Not Found"))) }
}

async fn lookup(
    State(board): State<Shared>,
    headers: HeaderMap,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    let known = (owner.as_str(), name.as_str()) == ("acme", "widget");
    match admitted(&mut board.lock().unwrap(), &headers, format!("GET lookup {owner}/{name}"), known) {
        Ok(()) => Json(json!({ "id": REPOSITORY, "full_name": "acme/widget" })).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn list(
    State(board): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<u64>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let mut board = board.lock().unwrap();
    if let Err(refusal) = admitted(&mut board, &headers, "GET pipelines".into(), id == REPOSITORY) {
        return *refusal;
    }
    let number = |name: &str, default: usize| query.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
    let (page, size) = (number("page", 1), number("perPage", 50).min(50));
    let wanted = |row: &&Value| query.get("event").is_none_or(|event| row["event"] == event.as_str());
    let rows = board.pipelines.iter().rev().filter(wanted).skip((page - 1) * size).take(size);
    // A list has no workflows, as on a real server.
    let rows: Vec<Value> = rows
        .map(|row| {
            let mut row = row.clone();
            row.as_object_mut().unwrap().remove("workflows");
            row
        })
        .collect();
    Json(rows).into_response()
}

async fn show(State(board): State<Shared>, headers: HeaderMap, Path((id, number)): Path<(u64, u64)>) -> Response {
    let mut board = board.lock().unwrap();
    if let Err(refusal) = admitted(&mut board, &headers, format!("GET pipeline {number}"), id == REPOSITORY) {
        return *refusal;
    }
    match board.pipelines.iter().find(|row| row["number"] == number) {
        Some(row) => Json(row.clone()).into_response(),
        None => plain(404, "Not Found"),
    }
}

async fn restart(State(board): State<Shared>, headers: HeaderMap, Path((id, number)): Path<(u64, u64)>) -> Response {
    let mut board = board.lock().unwrap();
    if let Err(refusal) = admitted(&mut board, &headers, format!("POST pipeline {number}"), id == REPOSITORY) {
        return *refusal;
    }
    let Some(row) = board.pipelines.iter().find(|row| row["number"] == number).cloned() else {
        return plain(404, "Not Found");
    };
    let next = board.pipelines.len() as u64 + 1;
    let (event, commit) = (row["event"].as_str().unwrap(), row["commit"].as_str().unwrap());
    let made = pipeline(next, event, commit, "pending", &[]);
    board.pipelines.push(made.clone());
    Json(made).into_response()
}

async fn log(
    State(board): State<Shared>,
    headers: HeaderMap,
    Path((id, number, step)): Path<(u64, u64, u64)>,
) -> Response {
    let mut board = board.lock().unwrap();
    if let Err(refusal) = admitted(&mut board, &headers, format!("GET log {number}/{step}"), id == REPOSITORY) {
        return *refusal;
    }
    match board.logs.get(&(number, step)) {
        Some(text) => {
            let lines = text.split(|byte| *byte == b'\n').zip(0..);
            let row = |(text, line): (&[u8], i32)| json!({ "line": line, "time": line, "data": STANDARD.encode(text), "type": 0 });
            Json(lines.map(row).collect::<Vec<_>>()).into_response()
        }
        None => plain(404, "Not Found"),
    }
}
