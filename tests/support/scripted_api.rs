//! A model that answers by a script: as much of the Messages API as the claude program uses. It keeps nothing between two
//! requests, so that retries and resumed sessions get the answers that they should.

use axum::{Json, Router, http::header, response::IntoResponse, routing::post};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns the shell commands with which the model answers a text, in order; after the last it says that it is done.
pub(crate) type Script = fn(&str) -> Vec<String>;

/// Serves until the runtime that this is called in ends. Returns the server's address.
pub(crate) async fn serve(script: Script) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = post(move |Json(request): Json<Value>| async move { answer(&request, script) });
    let app = Router::new().route("/v1/messages", answer).layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn answer(request: &Value, script: Script) -> impl IntoResponse + use<> {
    let next = next_command(request, script);
    let events = events(&request["model"], next.as_deref());
    let text: String =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", word(&event["type"]))).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text)
}

/// Returns what comes after all that the model has said since the newest prompt. A prompt that names a file is read first,
/// and the script answers what stands in it.
fn next_command(request: &Value, script: Script) -> Option<String> {
    let messages = request["messages"].as_array()?;
    // A request without tools asks for something on the side, such as a title.
    request["tools"].as_array().filter(|tools| !tools.is_empty())?;
    let newest = messages.iter().rposition(|message| message["role"] == "user" && results(message).is_empty())?;
    let step = messages[newest..].iter().filter(|message| message["role"] == "assistant").count();
    let prompt = texts(&messages[newest]);
    let file = prompt.split_once("Read ").and_then(|(_, rest)| rest.split_once(" and carry it out"));
    let Some((file, _)) = file else { return script(&prompt).get(step).cloned() };
    let Some(after_reading) = step.checked_sub(1) else { return Some(format!("cat '{file}'")) };
    let content = messages[newest..].iter().flat_map(results).next().unwrap_or_default();
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

/// Returns the outputs of commands in a message; one that has any is no prompt.
fn results(message: &Value) -> Vec<String> {
    let blocks = message["content"].as_array().into_iter().flatten();
    let results = blocks.filter(|block| block["type"] == "tool_result");
    results.map(|block| format!("{}{}", word(&block["content"]), texts(block))).collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
