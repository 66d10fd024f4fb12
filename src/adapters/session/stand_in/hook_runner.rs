//! Runs the hooks that the settings file registers, as claude does: shell commands with the payload on stdin.

use crate::adapters::process::Program;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// SessionEnd hooks that set no time of their own are cut off this early.
const SESSION_END_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Exit code by which a hook refuses.
const REFUSED: i32 = 2;

/// The hooks of one session.
#[derive(Debug)]
pub(super) struct Hooks {
    settings: Value,
    session: String,
    /// Set once the transcript's place is known.
    pub(super) transcript: String,
}

/// What the hooks of one event said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Why the event is refused.
    pub(super) block: Option<String>,
    /// Their plain output, which the agent may read.
    pub(super) output: String,
    /// Failures, for the screen.
    pub(super) problems: Vec<String>,
}

impl Hooks {
    /// Loads the settings. A missing file is an error; one that is no JSON is silently the same as none.
    pub(super) fn load(path: Option<&Path>, session: &str) -> Result<Self, String> {
        let settings = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                text.map_err(|_| format!("Error: Settings file not found: {}", path.display()))?
            }
            None => String::new(),
        };
        let settings = serde_json::from_str(&settings).unwrap_or_default();
        Ok(Self { settings, session: session.to_owned(), transcript: String::new() })
    }

    pub(super) fn skips_bypass_question(&self) -> bool {
        self.settings["skipDangerousModePermissionPrompt"] == true
    }

    /// Runs all hooks of an event, one after the other. `details` are the payload's fields beyond the common ones.
    pub(super) async fn fire(&self, event: &str, details: Value) -> Said {
        let mut said = Said::default();
        if self.settings["disableAllHooks"] == true {
            return said;
        }
        let payload = self.payload(event, &details);
        let groups = self.settings["hooks"][event].as_array().into_iter().flatten();
        for group in groups.filter(|group| matches(group, &details)) {
            for hook in group["hooks"].as_array().into_iter().flatten() {
                if let Some(command) = hook["command"].as_str() {
                    run(event, command, hook["timeout"].as_f64(), &payload, &mut said).await;
                }
            }
        }
        said
    }

    fn payload(&self, event: &str, details: &Value) -> String {
        let cwd = std::env::current_dir().unwrap_or_default();
        let mut payload = json!({
            "session_id": self.session, "transcript_path": self.transcript, "cwd": cwd, "hook_event_name": event,
        });
        for (name, value) in details.as_object().into_iter().flatten() {
            payload[name] = value.clone();
        }
        payload.to_string()
    }
}

/// Returns whether a group's matcher, a regular expression on what started the event, lets it run.
fn matches(group: &Value, details: &Value) -> bool {
    let Some(matcher) = group["matcher"].as_str().filter(|matcher| !["", "*"].contains(matcher)) else { return true };
    let subject = ["tool_name", "source", "notification_type", "trigger", "reason"]
        .iter()
        .find_map(|name| details[name].as_str());
    let regex = regex::Regex::new(&format!("^(?:{matcher})$"));
    subject.is_none_or(|subject| regex.is_ok_and(|regex| regex.is_match(subject)))
}

async fn run(event: &str, command: &str, timeout_secs: Option<f64>, payload: &str, said: &mut Said) {
    let default = if event == "SessionEnd" { SESSION_END_TIMEOUT } else { DEFAULT_TIMEOUT };
    let timeout = timeout_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(default);
    let program = Program::new("sh").args(["-c", command]).stdin(payload).timeout(timeout);
    let output = match program.env("CLAUDE_PID", std::process::id().to_string()).run().await {
        Ok(output) => output,
        Err(error) => return said.problems.push(format!("{event} hook: {error}")),
    };
    let text = output.text();
    let decision: Value = serde_json::from_str(&text).unwrap_or_default();
    match output.status.code() {
        Some(0) if decision["hookSpecificOutput"]["permissionDecision"] == "deny" => {
            let reason = decision["hookSpecificOutput"]["permissionDecisionReason"].as_str();
            said.block = Some(reason.unwrap_or_default().to_owned());
        }
        Some(0) if decision["decision"] == "block" => {
            said.block = Some(decision["reason"].as_str().unwrap_or_default().to_owned());
        }
        Some(0) => said.output.push_str(&text),
        Some(REFUSED) => said.block = Some(output.error_text()),
        _ => said.problems.push(format!("{event} hook failed ({}): {}", output.status, output.error_text())),
    }
}
