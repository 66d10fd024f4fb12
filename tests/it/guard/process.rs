//! `rig hook pre-tool-use` as a process: what it answers, and that it refuses whenever it cannot judge.

use super::Stage;
use assert_cmd::Command;
use serde_json::{Value, json};
use std::path::PathBuf;

fn hook(stage: &Stage, payload: &str) -> std::process::Output {
    let file = stage.root.join("guard.json");
    if !file.exists() {
        std::fs::write(&file, serde_json::to_vec(&stage.confines).unwrap()).unwrap();
    }
    let mut rig = Command::new(env!("CARGO_BIN_EXE_rig"));
    rig.env_clear().env("RIG_HOOKS_FILE", hooks_file(stage)).env("RIG_RUN", "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    rig.env("RIG_ATTEMPT", "1").args(["hook", "pre-tool-use"]).arg(&file).write_stdin(payload);
    rig.output().unwrap()
}

fn hooks_file(stage: &Stage) -> PathBuf {
    stage.root.join("hooks.jsonl")
}

fn payload(stage: &Stage, tool: &str, input: &Value) -> String {
    let cwd = &stage.confines.worktree;
    json!({ "session_id": "s", "cwd": cwd, "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input })
        .to_string()
}

/// Returns the reason of a refusal; None when nothing was said.
fn reason(output: &std::process::Output) -> Option<String> {
    assert!(output.status.success(), "{output:?}");
    if output.stdout.is_empty() {
        return None;
    }
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = &said["hookSpecificOutput"];
    assert_eq!((&said["hookEventName"], &said["permissionDecision"]), (&json!("PreToolUse"), &json!("deny")));
    Some(said["permissionDecisionReason"].as_str().unwrap().to_owned())
}

#[test]
fn the_hook_is_silent_or_refuses_with_a_reason() {
    let stage = Stage::new();
    let ask = |tool: &str, input: Value| reason(&hook(&stage, &payload(&stage, tool, &input)));
    assert_eq!(ask("Bash", json!({ "command": "cargo test" })), None);
    assert_eq!(ask("Read", json!({ "file_path": "/etc/passwd" })), None);
    assert_eq!(ask("Write", json!({ "file_path": stage.confines.worktree.join("x"), "content": "x" })), None);
    assert_eq!(ask("TodoWrite", json!({ "todos": [] })), None);
    assert!(ask("Bash", json!({ "command": "git push origin main" })).unwrap().contains("primary branch"));
    assert!(ask("Edit", json!({ "file_path": "/etc/passwd" })).unwrap().contains("/etc/passwd"));
    assert!(ask("NotebookEdit", json!({ "notebook_path": "/etc/x.ipynb" })).is_some());
}

#[test]
fn what_the_hook_does_not_understand_it_refuses() {
    let stage = Stage::new();
    for payload in ["", "garbage", "[]", "null", "{}", r#"{"tool_name":"Bash"}"#, r#"{"tool_name":7,"tool_input":{}}"#]
    {
        assert!(reason(&hook(&stage, payload)).is_some(), "{payload}");
    }
    for input in [json!({ "command": ["ls"] }), json!({ "command": 7 }), json!({ "file_path": {} }), json!("ls")] {
        assert!(reason(&hook(&stage, &payload(&stage, "Bash", &input))).is_some(), "{input}");
    }
    let relative = json!({ "tool_name": "Bash", "cwd": "relative", "tool_input": { "command": "ls" } });
    assert!(reason(&hook(&stage, &relative.to_string())).is_some());
}

#[test]
fn without_its_file_the_hook_refuses_everything() {
    for content in ["", "{}", "garbage", r#"{"version":99}"#] {
        let stage = Stage::new();
        std::fs::write(stage.root.join("guard.json"), content).unwrap();
        let said = reason(&hook(&stage, &payload(&stage, "Bash", &json!({ "command": "ls" }))));
        assert!(said.unwrap().contains("guard.json"), "{content}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_rig")).args(["hook", "pre-tool-use"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn an_answer_that_cannot_be_given_refuses_by_the_exit_code() {
    let stage = Stage::new();
    std::fs::write(stage.root.join("guard.json"), serde_json::to_vec(&stage.confines).unwrap()).unwrap();
    let input = payload(&stage, "Bash", &json!({ "command": "git push origin main" }));
    let file = stage.root.join("payload");
    std::fs::write(&file, input).unwrap();
    let line = format!(
        "{} hook pre-tool-use {}/guard.json < {} > /dev/full",
        env!("CARGO_BIN_EXE_rig"),
        stage.root.display(),
        file.display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_hook_that_gets_no_end_of_its_input_refuses_by_itself() {
    let stage = Stage::new();
    std::fs::write(stage.root.join("guard.json"), serde_json::to_vec(&stage.confines).unwrap()).unwrap();
    let line = format!(
        "sleep 30 | {{ {} hook pre-tool-use {}/guard.json; echo $?; kill 0; }}",
        env!("CARGO_BIN_EXE_rig"),
        stage.root.display()
    );
    let output =
        Command::new("setsid").args(["sh", "-c", &line]).timeout(std::time::Duration::from_secs(20)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2", "{output:?}");
}

#[test]
fn a_refusal_is_on_record_without_secrets_and_bounded() {
    let stage = Stage::new();
    let command =
        format!("git push https://x:ghp_0123456789abcdefghijABCDEFGHIJ012345@h/x main # {}", "y".repeat(50_000));
    hook(&stage, &payload(&stage, "Bash", &json!({ "command": command })));
    hook(&stage, &payload(&stage, "Bash", &json!({ "command": "ls" })));
    let record = std::fs::read_to_string(hooks_file(&stage)).unwrap();
    assert_eq!(record.lines().count(), 1, "only what is refused");
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let command = format!("git push origin main # {} {token}", "y".repeat(1_969));
    hook(&stage, &payload(&stage, "Bash", &json!({ "command": command })));
    let both = std::fs::read_to_string(hooks_file(&stage)).unwrap();
    assert!(both.lines().count() == 2 && !both.contains("ghp_"), "cut before it was redacted: {both}");
    let line: Value = serde_json::from_str(record.trim()).unwrap();
    assert_eq!(line["event"], "PreToolUse");
    assert!(line["reason"].as_str().unwrap().contains("primary branch"));
    assert!(record.len() < 16 * 1024 && !record.contains("ghp_"), "{record}");
}
