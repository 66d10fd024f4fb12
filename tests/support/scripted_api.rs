//! A model that answers by a script: as much of the Messages API as the claude program uses. It keeps nothing between two
//! requests, so that retries and resumed sessions get the answers that they should.

use axum::{
    Json, Router,
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Returns the shell commands with which the model answers a text, in order; after the last it says that it is done.
pub(crate) type Script = fn(&str) -> Vec<String>;

/// What stands in the place of a command that is answered by an error.
const ERROR: &str = "an error: ";

/// The prompts that the model was asked, as it saw them; the same one again for each step of its answer.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// In the place of a command: the service answers with this status, or breaks the connection with 0.
pub(crate) fn error(status: u16) -> String {
    format!("{ERROR}{status}")
}

/// The same for an account that has used up what it may use until then, in seconds since 1970: to a key the service says so in
/// the error's text, to a subscription in headers.
pub(crate) fn usage_limit(resets_at: i64) -> String {
    format!("{ERROR}429 {resets_at}")
}

/// Serves until the runtime that this is called in ends. Returns the server's address.
pub(crate) async fn serve(script: Script) -> String {
    serve_and_note(script).await.0
}

/// The same; returns also what it was asked.
pub(crate) async fn serve_and_note(script: Script) -> (String, Asked) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let noted = asked.clone();
    let answer = post(move |Json(request): Json<Value>| async move { answer(&request, script, &noted) });
    let app = Router::new().route("/v1/messages", answer).layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn failure(status: u16, resets_at: Option<&str>) -> Response {
    let Ok(status) = StatusCode::from_u16(status)
        .map_err(drop)
        .and_then(|s| if s.is_client_error() || s.is_server_error() { Ok(s) } else { Err(()) })
    else {
        // A body that breaks off in its middle.
        let broken = futures::stream::iter([Ok("event: message_start\n"), Err(std::io::Error::other("broken off"))]);
        return ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(broken)).into_response();
    };
    let kind = match status.as_u16() {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let error = |message: &str| Json(json!({ "type": "error", "error": { "type": kind, "message": message } }));
    let Some(resets_at) = resets_at else { return (status, error("made up")).into_response() };
    let headers = [
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
        ("anthropic-ratelimit-unified-reset", resets_at),
    ];
    (status, headers, error(&format!("Claude AI usage limit reached|{resets_at}"))).into_response()
}

fn answer(request: &Value, script: Script, asked: &Asked) -> Response {
    if let Some(newest) = newest_prompt(request) {
        asked.lock().unwrap().push(texts(newest));
    }
    let next = next_command(request, script);
    if let Some(error) = next.as_deref().and_then(|command| command.strip_prefix(ERROR)) {
        let (status, resets_at) = error.split_once(' ').map_or((error, None), |(status, at)| (status, Some(at)));
        return failure(status.parse().unwrap(), resets_at);
    }
    let events = events(&request["model"], next.as_deref());
    let text: String =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", word(&event["type"]))).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

fn newest_prompt(request: &Value) -> Option<&Value> {
    // A request without tools asks for something on the side, such as a title.
    request["tools"].as_array().filter(|tools| !tools.is_empty())?;
    let messages = request["messages"].as_array()?;
    messages.iter().rfind(|message| is_prompt(message))
}

/// Returns what comes after all that the model has said since the newest prompt. A prompt that names a file is read first,
/// and the script answers what stands in it.
fn next_command(request: &Value, script: Script) -> Option<String> {
    let messages = request["messages"].as_array()?;
    // A request without tools asks for something on the side, such as a title.
    request["tools"].as_array().filter(|tools| !tools.is_empty())?;
    let newest = messages.iter().rposition(is_prompt)?;
    let step = messages[newest..].iter().filter(|message| message["role"] == "assistant").count();
    let prompt = texts(&messages[newest]);
    let file = prompt.split_once("Read ").and_then(|(_, rest)| rest.split_once(" and carry it out"));
    let Some((file, _)) = file else { return script(&prompt).get(step).cloned() };
    let Some(after_reading) = step.checked_sub(1) else {
        // A test that wants to see exactly what was read puts such a script into the worktree.
        return Some(format!("if test -e keep-a-copy; then sh keep-a-copy '{file}'; else cat '{file}'; fi"));
    };
    let content = messages[newest + 1..].iter().flat_map(results).next().unwrap_or_default();
    script(&content).get(after_reading).cloned()
}

fn events(model: &Value, command: Option<&str>) -> [Value; 6] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = COUNT.fetch_add(1, Ordering::Relaxed);
    let usage = json!({ "input_tokens": 10, "output_tokens": 5 });
    let (block, delta, reason) = match command {
        Some(command) => {
            let input = json!({ "command": command, "description": "the next step" }).to_string();
            let block = json!({ "type": "tool_use", "id": format!("toolu_{id}"), "name": "Bash", "input": {} });
            (block, json!({ "type": "input_json_delta", "partial_json": input }), "tool_use")
        }
        None => (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": "Done." }), "end_turn"),
    };
    let message = json!({
        "id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ]
}

fn texts(message: &Value) -> String {
    let blocks = message["content"].as_array().into_iter().flatten().map(|block| word(&block["text"]));
    blocks.chain([word(&message["content"])]).collect::<Vec<_>>().join("\n")
}

/// After a turn that failed the next prompt stands in one message with the outputs of that turn. What the program adds by
/// itself begins with a tag.
fn is_prompt(message: &Value) -> bool {
    let blocks = message["content"].as_array().into_iter().flatten();
    let mut texts = blocks.map(|block| word(&block["text"])).filter(|text| !text.is_empty());
    message["role"] == "user" && (results(message).is_empty() || texts.any(|text| !text.trim_start().starts_with('<')))
}

/// Returns the outputs of commands in a message.
fn results(message: &Value) -> Vec<String> {
    let blocks = message["content"].as_array().into_iter().flatten();
    let results = blocks.filter(|block| block["type"] == "tool_result");
    results.map(|block| format!("{}{}", word(&block["content"]), texts(block))).collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
