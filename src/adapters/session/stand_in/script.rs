//! The script: what the stand-in does with each prompt.
//!
//! ```json
//! { "version": 1,
//!   "rules": [
//!     { "turn": 1, "actions": [ { "run": "make test" }, { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
//!     { "contains": "CI failed", "actions": [ { "write": { "path": "fix.txt", "text": "fixed\n" } }, "stop" ] },
//!     { "regex": "(?i)review", "repeat": true, "actions": [ { "say": "looking" } ] } ] }
//! ```
//!
//! For a prompt the first rule is taken that holds and was not used before (`repeat` rules may be used again). A rule
//! holds when everything it names does: `turn` (number of the prompt within the agent's session, from 1), `contains`,
//! `regex`. A prompt `Read FILE and carry it out` is matched by the file's text. What was used is kept beside the
//! transcript, and kept before the actions begin: a resumed session goes on with the next rule.
//!
//! Actions, in order; paths are relative to the working folder:
//! - `{"run": "COMMAND"}` or `{"run": {"command": "...", "timeout_secs": 600, "may_fail": true}}`: `sh -c` with the agent's
//!   environment and `STAND_IN_PROMPT_FILE`, `STAND_IN_TURN`; a failing command ends the turn unless it may fail
//! - `{"write": {"path": "...", "text": "..."}}`, `{"say": "..."}` (the turn's last message is the last text said)
//! - `{"wait_for_file": {"path": "...", "timeout_secs": 60}}`, `{"wait_until": {"command": "...", "timeout_secs": 60}}`
//! - `{"exit": N}` and `"kill"`: crash, with an exit code or by SIGKILL, without any hook
//! - `{"api_error": "rate_limit"}`: the turn ends by StopFailure instead of Stop
//! - `"compact"`: PreCompact and SessionStart with source `compact`
//! - `"stop"`: end the turn here; `"hang"`: stay busy for ever

use regex::Regex;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

const SCRIPT_VERSION: u32 = 1;
/// Names the script's file.
pub const SCRIPT_VARIABLE: &str = "RIG_STAND_IN_SCRIPT";
const BUILT_IN: &str = include_str!("built_in_script.json");
/// Time limit of a command or a wait that names none.
const DEFAULT_TIMEOUT_SECS: u64 = 600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    version: u32,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    turn: Option<u32>,
    contains: Option<String>,
    regex: Option<String>,
    #[serde(default)]
    repeat: bool,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Run(Run),
    Write(Write),
    Say(String),
    WaitForFile(WaitForFile),
    WaitUntil(WaitUntil),
    Exit(i32),
    Kill,
    ApiError(String),
    Compact,
    Stop,
    Hang,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(from = "RunForm")]
pub(super) struct Run {
    pub(super) command: String,
    pub(super) timeout_secs: u64,
    pub(super) may_fail: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RunForm {
    Plain(String),
    Full {
        command: String,
        #[serde(default = "default_timeout")]
        timeout_secs: u64,
        #[serde(default)]
        may_fail: bool,
    },
}

impl From<RunForm> for Run {
    fn from(form: RunForm) -> Self {
        match form {
            RunForm::Plain(command) => Self { command, timeout_secs: DEFAULT_TIMEOUT_SECS, may_fail: false },
            RunForm::Full { command, timeout_secs, may_fail } => Self { command, timeout_secs, may_fail },
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitForFile {
    pub(super) path: PathBuf,
    #[serde(default = "default_timeout")]
    pub(super) timeout_secs: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitUntil {
    pub(super) command: String,
    #[serde(default = "default_timeout")]
    pub(super) timeout_secs: u64,
}

fn default_timeout() -> u64 {
    DEFAULT_TIMEOUT_SECS
}

/// How far a session is in its script.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Prompts taken so far.
    pub(super) turn: u32,
    used: BTreeSet<usize>,
}

impl Script {
    pub(super) fn from_env() -> Result<Self, String> {
        match env::var_os(SCRIPT_VARIABLE) {
            Some(path) => Self::load(Path::new(&path)),
            None => Self::parse(BUILT_IN, false),
        }
    }

    /// Reads a script; TOML when the file's name ends so, else JSON.
    pub fn load(path: &Path) -> Result<Self, String> {
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text, toml)).map_err(|error| format!("script {}: {error}", path.display()))
    }

    fn parse(text: &str, is_toml: bool) -> Result<Self, String> {
        let script: Self = match is_toml {
            true => toml::from_str(text).map_err(|error| error.to_string())?,
            false => serde_json::from_str(text).map_err(|error| error.to_string())?,
        };
        if script.version != SCRIPT_VERSION {
            return Err(format!("version {} is unknown", script.version));
        }
        for rule in &script.rules {
            Regex::new(rule.regex.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
        }
        Ok(script)
    }

    /// Takes the next prompt: counts the turn, marks the rule that fits as used, and returns its actions.
    pub(super) fn take(&self, progress: &mut Progress, prompt: &str) -> Option<Vec<Action>> {
        progress.turn += 1;
        let turn = progress.turn;
        let mut rules = self.rules.iter().enumerate();
        let free = |at: &usize, rule: &Rule| rule.repeat || !progress.used.contains(at);
        let (at, rule) = rules.find(|(at, rule)| free(at, rule) && rule.holds(turn, prompt))?;
        progress.used.insert(at);
        Some(rule.actions.clone())
    }
}

impl Rule {
    fn holds(&self, turn: u32, prompt: &str) -> bool {
        let fits = |regex: &str| Regex::new(regex).is_ok_and(|regex| regex.is_match(prompt));
        self.turn.is_none_or(|wanted| wanted == turn)
            && self.contains.as_deref().is_none_or(|part| prompt.contains(part))
            && self.regex.as_deref().is_none_or(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_used_once_unless_it_repeats() {
        let text = r#"{"version":1,"rules":[
            {"turn":1,"actions":["stop"]},
            {"contains":"CI failed","actions":[{"say":"first"}]},
            {"regex":"CI (failed|passed)","repeat":true,"actions":[{"run":"true"},{"run":{"command":"x","may_fail":true}}]}]}"#;
        let script = Script::parse(text, false).unwrap();
        let mut progress = Progress::default();
        assert!(matches!(script.take(&mut progress, "CI failed").unwrap()[..], [Action::Stop]), "turn 1");
        assert!(
            matches!(&script.take(&mut progress, "CI failed").unwrap()[..], [Action::Say(text)] if text == "first")
        );
        for _ in 0..2 {
            assert_eq!(script.take(&mut progress, "CI failed").unwrap().len(), 2);
        }
        assert!(script.take(&mut progress, "else").is_none());
        assert_eq!(progress.turn, 5);
    }

    #[test]
    fn a_script_is_toml_or_json_and_mistakes_are_errors() {
        let toml = "version = 1\n[[rules]]\nturn = 1\nactions = [{ run = \"true\" }, \"kill\", { exit = 3 }]\n";
        assert!(Script::parse(toml, true).is_ok());
        assert!(Script::parse(BUILT_IN, false).is_ok());
        for bad in ["{}", r#"{"version":2,"rules":[]}"#, r#"{"version":1,"rules":[{"regex":"(","actions":[]}]}"#] {
            assert!(Script::parse(bad, false).is_err(), "{bad}");
        }
    }
}
