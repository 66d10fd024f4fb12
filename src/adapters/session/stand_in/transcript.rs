//! The transcript of a session, in claude's place and form as far as others read it: user and assistant lines with usage.
//! Beside it lies how far the session is in its script.

use super::{
    options::{Options, new_uuid},
    script::Progress,
};
use crate::adapters::session::files::{make_private_folder, write_private};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Transcript {
    path: PathBuf,
    session: String,
    model: String,
}

impl Transcript {
    /// Opens the session's transcript: a new session must have none yet, a resumed one must, in whatever folder it began.
    pub(super) fn open(options: &Options) -> Result<Self, String> {
        let projects = projects_folder();
        let name = format!("{}.jsonl", options.session);
        let folders = fs::read_dir(&projects).into_iter().flatten().flatten().map(|entry| entry.path().join(&name));
        let found = { folders }.find(|path| path.is_file());
        let path = match (options.resume, found) {
            (false, Some(_)) => return Err(format!("Error: Session ID {} is already in use.", options.session)),
            (true, None) => return Err(format!("No conversation found with session ID: {}", options.session)),
            (true, Some(path)) => path,
            (false, None) => projects.join(folder_name(&env::current_dir().unwrap_or_default())).join(&name),
        };
        let folder = path.parent().unwrap_or(&projects);
        make_private_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { path, session: options.session.clone(), model: options.model.clone() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn user(&self, text: &str) {
        self.append("user", json!({ "role": "user", "content": text }));
    }

    pub(super) fn assistant(&self, text: &str) {
        self.answer(&json!({ "type": "text", "text": text }), "end_turn", text.len());
    }

    /// A command that the agent runs is an answer of the model as well, and what it prints is sent back as the user's.
    pub(super) fn tool_use(&self, command: &str) {
        let id = format!("toolu_{}", new_uuid());
        let call = json!({ "type": "tool_use", "id": id, "name": "Bash", "input": { "command": command } });
        self.answer(&call, "tool_use", command.len());
        let result = json!({ "type": "tool_result", "tool_use_id": id, "content": "" });
        self.append("user", json!({ "role": "user", "content": [result] }));
    }

    fn answer(&self, content: &Value, stop_reason: &str, length: usize) {
        let id = format!("msg_{}", new_uuid());
        // One line for each part of an answer, with what was used until then: only the last counts.
        let thought = json!({ "type": "thinking", "thinking": "" });
        for (part, tokens) in [(&thought, 1), (content, length.div_ceil(4))] {
            let usage = json!({
                "input_tokens": 10, "output_tokens": tokens, "service_tier": "standard",
                "cache_creation_input_tokens": 200, "cache_read_input_tokens": 1_000,
                "cache_creation": { "ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50 },
            });
            let message = json!({
                "id": id, "type": "message", "role": "assistant", "model": self.model,
                "content": [part], "stop_reason": stop_reason, "usage": usage,
            });
            self.append("assistant", message);
        }
    }

    /// A transcript that cannot be written is no reason to stop working, as with the original.
    fn append(&self, kind: &str, message: Value) {
        let line = json!({
            "type": kind, "message": message, "sessionId": self.session, "uuid": new_uuid(),
            "cwd": env::current_dir().unwrap_or_default(), "timestamp": jiff::Timestamp::now(),
        });
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.path);
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }

    pub(super) fn progress(&self) -> Progress {
        let text = fs::read(self.path.with_extension("progress.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn save_progress(&self, progress: &Progress) {
        let text = serde_json::to_vec(progress).unwrap_or_default();
        let _ = write_private(&self.path.with_extension("progress.json"), &text);
    }

    /// Keeps a prompt where the script's commands can read it.
    pub(super) fn keep_prompt(&self, prompt: &str) -> PathBuf {
        let path = self.path.with_extension("prompt.txt");
        let _ = write_private(&path, prompt.as_bytes());
        path
    }
}

fn projects_folder() -> PathBuf {
    let config = env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".claude");
    config.unwrap_or_else(home).join("projects")
}

fn folder_name(cwd: &Path) -> String {
    cwd.display().to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
