//! The Claude Code CLI: how it is started, told about hooks, and read from the screen. Everything here was observed with
//! versions 2.1.197 and 2.1.329.

mod home;
mod version;

pub use version::all_events;

use super::{
    agent::{Agent, Environment, Start},
    files::{shell_quote, write_private},
    guard,
    launch::LaunchPlace,
    prompt,
};
use crate::ports::session::{PromptLine, SessionPlan, Signals};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Seconds that a hook may take before the CLI gives it up; it cancels SessionEnd hooks after one to three without this.
const HOOK_TIMEOUT_SECS: u32 = 10;
/// The input line begins with this: the glyph and a no-break space. History lines have an ordinary space behind it, dialogs
/// one before it.
const PROMPT_START: &str = "❯\u{a0}";
const DIALOG_START: &str = " ❯";
/// What the program itself writes into its empty input line after an error of the service; the next key replaces it.
const PLACEHOLDERS: [&str; 3] =
    ["Resend your message to try again", "Once fixed, resend your message", "Run /rewind to go back"];
/// Begins what is shown under the input line while a turn runs, `esc to interrupt`; narrow terminals cut the rest off.
const BUSY_FOOTER: &str = "esc to";
/// Variables that say where the program's requests go, with the login in them. The settings of a repository can set any
/// variable, so these are set again by rig's settings, which count more: to what the environment says, or to nothing.
const DESTINATIONS: [&str; 10] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_FOUNDRY_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];
/// Beginnings of the names of variables by which rig's own programs in the session know where they are.
const OWN_PREFIXES: [&str; 2] = ["RIG_", "GIT_CONFIG_"];
/// Further ones of that kind.
const OWN_VARIABLES: [&str; 4] = ["PHASE_FILE", "SUMMARY_FILE", "SCRATCH_FILE", "PATH"];
/// What stands on the screen when the program waits at its start for a person, and what that person is to do.
const KNOWN_STARTS: [(&str, &str); 5] = [
    ("Choose the text style", "start claude once by hand as this user, or put a key for it into env_allow"),
    ("Select login method", "start claude once by hand as this user and log in, or put a key for it into env_allow"),
    ("Do you want to use this API key", "start claude once by hand with this key, and accept it"),
    ("Settings Error", "mend the repository's .claude/settings.json"),
    ("Do you trust", "start claude once by hand in the repository, and trust it"),
];

/// How the agent is started, from the project's `[agent]` table.
#[derive(Debug, Clone, Default)]
pub struct ClaudeAgent {
    /// Program, `claude` by default; the stand-in is rig itself with `stand-in` as its first argument.
    pub command: String,
    /// Arguments put before rig's own.
    pub args: Vec<String>,
    pub model: Option<String>,
}

#[async_trait]
impl Agent for ClaudeAgent {
    fn program(&self) -> &str {
        &self.command
    }

    /// The prompt comes last.
    fn arguments(&self, plan: &SessionPlan, place: &LaunchPlace) -> Vec<String> {
        let mut arguments = self.args.clone();
        arguments.extend(["--settings".to_owned(), place.settings().display().to_string()]);
        let id_option = if plan.resume { "--resume" } else { "--session-id" };
        arguments.extend([id_option.to_owned(), plan.agent_session.clone()]);
        arguments.extend(["--permission-mode".to_owned(), "bypassPermissions".to_owned()]);
        // A repository's own tool servers are asked about with a dialog, and the user's are not meant for an agent that
        // nobody watches. `args` can name a file of servers with `--mcp-config`.
        arguments.push("--strict-mcp-config".to_owned());
        if let Some(model) = &self.model {
            arguments.extend(["--model".to_owned(), model.clone()]);
        }
        arguments.extend(["--".to_owned(), prompt::as_argument(&plan.prompt, &place.prompt())]);
        arguments
    }

    /// What lets it start without a question and stay readable on the screen.
    fn environment(&self, given: &Environment, root: &Path) -> io::Result<Vec<(String, String)>> {
        let mut environment = vec![
            ("CLAUDE_CODE_SANDBOXED".to_owned(), "1".to_owned()),
            ("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned()),
            ("CLAUDE_CODE_DISABLE_ALTERNATE_SCREEN".to_owned(), "1".to_owned()),
            // A suggestion costs a request after each turn, and once it is drawn into the input line it cannot be told
            // from text that somebody typed.
            ("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION".to_owned(), "false".to_owned()),
        ];
        if rustix::process::geteuid().is_root() {
            environment.push(("IS_SANDBOX".to_owned(), "1".to_owned()));
        }
        if let Some(folder) = home::stand_in_for(given, root)? {
            environment.push(("CLAUDE_CONFIG_DIR".to_owned(), folder.display().to_string()));
        }
        Ok(environment)
    }

    async fn version(&self, program: &Path, environment: &Environment) -> Option<String> {
        version::ask(program, &self.args, environment).await
    }

    fn write_files(&self, start: &Start<'_>) -> io::Result<()> {
        write_private(&start.place.settings(), settings(start).to_string().as_bytes())
    }

    fn signals(&self) -> Signals {
        Signals::Hooks
    }

    fn first_line(&self, _prompt_file: PathBuf) -> Option<String> {
        None
    }

    fn prompt_line(&self, screen: &str) -> PromptLine {
        prompt_line(screen)
    }

    fn known_start(&self, screen: &str) -> Option<&'static str> {
        KNOWN_STARTS.iter().find(|(text, _)| screen.contains(text)).map(|(_, what)| *what)
    }
}

/// Returns the settings file: one hook for each event that this version knows, nothing that could ask a question, and the
/// variables that a repository may not set to something else.
fn settings(start: &Start<'_>) -> Value {
    let program = shell_quote(&start.rig.display().to_string());
    let mut hooks: Map<String, Value> = version::events_of(start.version.as_deref())
        .map(|event| {
            let command =
                json!({"type": "command", "command": format!("{program} hook {event}"), "timeout": HOOK_TIMEOUT_SECS});
            (event.to_owned(), json!([{ "hooks": [command] }]))
        })
        .collect();
    if start.plan.guard.policy.enabled {
        hooks.insert("PreToolUse".to_owned(), guard::registration(start.rig, start.place));
    }
    let mut settings = json!({
        "hooks": hooks,
        "disableAllHooks": false,
        "skipDangerousModePermissionPrompt": true,
        "env": pinned(start.environment),
    });
    if let Some(pattern) = foreign_instructions(&start.plan.worktree, &agents_home(start.environment)) {
        settings["claudeMdExcludes"] = json!([pattern]);
    }
    settings
}

/// Returns the variables that count whatever a repository's settings say.
fn pinned(environment: &Environment) -> Map<String, Value> {
    let is_own = |name: &str| OWN_VARIABLES.contains(&name) || OWN_PREFIXES.iter().any(|own| name.starts_with(own));
    let is_pinned = |name: &str| is_own(name) || DESTINATIONS.contains(&name);
    // The user may have said it in the program's own settings, which count more than the environment.
    let users = std::fs::read(agents_home(environment).join("settings.json")).unwrap_or_default();
    let users: Value = serde_json::from_slice(&users).unwrap_or_default();
    let unset = DESTINATIONS.iter().map(|name| ((*name).to_owned(), json!("")));
    let by_user = DESTINATIONS.iter().filter_map(|name| {
        let value = users["env"].get(name).filter(|value| value.is_string())?;
        Some(((*name).to_owned(), value.clone()))
    });
    let set = environment.iter().filter(|(name, _)| is_pinned(name)).map(|(name, value)| (name.clone(), json!(value)));
    unset.chain(set).chain(by_user).collect()
}

/// Returns the folder of the agent's own files.
fn agents_home(environment: &Environment) -> PathBuf {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| PathBuf::from(value));
    value("CLAUDE_CONFIG_DIR").unwrap_or_else(|| value("HOME").unwrap_or_default().join(".claude"))
}

/// Returns the pattern of instruction files that are neither the worktree's nor the user's own. One that a CLAUDE.md
/// imports from elsewhere is asked about with a dialog. `None` when a path cannot be put into a pattern.
fn foreign_instructions(worktree: &Path, home: &Path) -> Option<String> {
    let mut known = Vec::new();
    for (folder, parts) in [(worktree, &["**"][..]), (home, &["CLAUDE.md", "rules/**"])] {
        // The program compares with the path that it sees, which may have links resolved.
        for path in [Some(folder.to_owned()), folder.canonicalize().ok()].into_iter().flatten() {
            let path = path.to_str().filter(|path| !path.contains(|c: char| "*?[]{}()!+@|,\\\"".contains(c)))?;
            known.extend(parts.iter().map(|part| format!("{path}/{part}")));
        }
    }
    known.sort();
    known.dedup();
    Some(format!("!{{{}}}", known.join(",")))
}

/// Judges whether a line can be typed, from the screen: the last input line must be there, be empty, and have neither a
/// dialog nor the footer of a running turn below it.
pub fn prompt_line(screen: &str) -> PromptLine {
    let lines: Vec<&str> = screen.lines().collect();
    let Some(at) = lines.iter().rposition(|line| line.starts_with(PROMPT_START)) else { return PromptLine::Absent };
    let below = &lines[at + 1..];
    if below.iter().any(|line| line.starts_with(DIALOG_START) || line.contains(BUSY_FOOTER)) {
        return PromptLine::Absent;
    }
    let blank = |text: &str| text.chars().all(char::is_whitespace);
    // Further lines of typed text stand between the input line and the rule that closes the box.
    let closing = below.iter().position(|line| line.trim_start().starts_with(['─', '╰']));
    let continued = closing.is_some_and(|closing| below[..closing].iter().any(|line| !blank(line)));
    let typed = &lines[at][PROMPT_START.len()..];
    if (blank(typed) || PLACEHOLDERS.contains(&typed.trim())) && !continued {
        PromptLine::Empty
    } else {
        PromptLine::HalfTyped
    }
}

/// Returns whether the screen shows the footer of a running turn.
pub fn is_busy(screen: &str) -> bool {
    let lines: Vec<&str> = screen.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with(PROMPT_START));
    at.is_some_and(|at| lines[at + 1..].iter().any(|line| line.contains(BUSY_FOOTER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_input_line_that_nothing_covers_can_be_typed_into() {
        let rule = "────────";
        for (screen, expected) in [
            (format!("{rule}\n❯\u{a0}\n{rule}\n  ? for shortcuts\n"), PromptLine::Empty),
            (format!("❯ old prompt\n\n● done\n{rule}\n❯\u{a0}  \n{rule}\n"), PromptLine::Empty),
            (format!("{rule}\n❯\u{a0}half\n{rule}\n"), PromptLine::HalfTyped),
            (format!("{rule}\n❯\u{a0}Resend your message to try again  \n{rule}\n"), PromptLine::Empty),
            (format!("{rule}\n❯\u{a0}Resend your message to try again!\n{rule}\n"), PromptLine::HalfTyped),
            (format!("{rule}\n❯\u{a0}\n  second line\n{rule}\n"), PromptLine::HalfTyped),
            (format!("{rule}\n❯\u{a0}\n{rule}\n  esc to interrupt\n"), PromptLine::Absent),
            (format!("{rule}\n❯\u{a0}\n{rule}\n  ⏵⏵ bypass permissions on · esc to i…\n"), PromptLine::Absent),
            (format!("{rule}\n❯\u{a0}\n{rule}\n  ⏵⏵ bypass permissions on · ← for agents\n"), PromptLine::Empty),
            (format!("{rule}\n!\u{a0}\n{rule}\n  ! for shell mode\n"), PromptLine::Absent),
            (format!("{rule}\n❯\u{a0}\n{rule}\n Do you trust this?\n ❯ 1. No\n"), PromptLine::Absent),
            ("❯ only history\n".to_owned(), PromptLine::Absent),
            (" ❯ 1. No\n   2. Yes\n".to_owned(), PromptLine::Absent),
            ("$ \n".to_owned(), PromptLine::Absent),
            (String::new(), PromptLine::Absent),
        ] {
            assert_eq!(prompt_line(&screen), expected, "{screen:?}");
        }
        assert!(!is_busy("● the footer says esc to interrupt\n❯\u{a0}\n"), "words of the agent are no footer");
    }

    #[test]
    fn settings_register_each_event_with_a_quoted_program_and_pin_where_requests_go() {
        let (place, plan) = (LaunchPlace::new("/a"), crate::ports::session::tests::plan("/w/1"));
        let environment = [
            ("HOME".to_owned(), "/h".to_owned()),
            ("RIG_HOOKS_FILE".to_owned(), "/r/hooks".to_owned()),
            ("HTTPS_PROXY".to_owned(), "http://proxy".to_owned()),
            ("ANTHROPIC_AUTH_TOKEN".to_owned(), "secret".to_owned()),
        ];
        let rig = Path::new("/opt/it's here/rig");
        let version = Some("2.1.329".to_owned());
        let start = Start { plan: &plan, place: &place, rig, environment: &environment, version };
        let settings = settings(&start);
        for event in all_events() {
            let command = settings["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap();
            assert_eq!(command, format!("'/opt/it'\\''s here/rig' hook {event}"));
        }
        assert_eq!(settings["disableAllHooks"], false);
        assert_eq!(settings["claudeMdExcludes"][0], "!{/h/.claude/CLAUDE.md,/h/.claude/rules/**,/w/1/**}");
        let env = &settings["env"];
        assert_eq!((&env["RIG_HOOKS_FILE"], &env["HTTPS_PROXY"]), (&json!("/r/hooks"), &json!("http://proxy")));
        assert_eq!((&env["ANTHROPIC_BASE_URL"], &env["ANTHROPIC_AUTH_TOKEN"]), (&json!(""), &Value::Null));
        assert_eq!(foreign_instructions(Path::new("/w/{1}"), Path::new("/h")), None, "no pattern of its own");
    }
}
