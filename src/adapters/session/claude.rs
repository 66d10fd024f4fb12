//! The Claude Code CLI: how it is started, told about hooks, and read from the screen. Everything here was observed with
//! versions 2.1.197 and 2.1.329.

use super::{files::shell_quote, launch::LaunchPlace};
use crate::ports::session::{PromptLine, SessionPlan};
use serde_json::{Value, json};
use std::path::Path;

/// Longest prompt given as an argument, in bytes; the kernel takes 128 KiB for one argument, and the program's own prompt
/// handling is known to work up to here.
pub const PROMPT_ARGUMENT_BYTES: usize = 100 * 1024;
/// Events that rig registers hooks for. Every supported version knows them: an unknown name makes the CLI ask a question
/// that nobody answers.
pub const LIFECYCLE_EVENTS: [&str; 8] = [
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "StopFailure",
    "SubagentStop",
    "Notification",
    "PreCompact",
    "SessionEnd",
];
/// Seconds that a hook may take before the CLI gives it up; it cancels SessionEnd hooks after one to three without this.
const HOOK_TIMEOUT_SECS: u32 = 10;
/// The input line begins with this: the glyph and a no-break space. History lines have an ordinary space behind it, dialogs
/// one before it.
const PROMPT_START: &str = "❯\u{a0}";
const DIALOG_START: &str = " ❯";
/// Begins what is shown under the input line while a turn runs, `esc to interrupt`; narrow terminals cut the rest off.
const BUSY_FOOTER: &str = "esc to";
/// Put before a prompt whose first character the CLI would take for a command, a shell line, a note or an option.
const SAFE_START: &str = "The task:\n\n";

/// How the agent is started, from the project's `[agent]` table.
#[derive(Debug, Clone, Default)]
pub struct ClaudeAgent {
    /// Program, `claude` by default; the stand-in is rig itself with `stand-in` as its first argument.
    pub command: String,
    /// Arguments put before rig's own.
    pub args: Vec<String>,
    pub model: Option<String>,
}

impl ClaudeAgent {
    /// Returns the arguments of one start, the prompt last.
    pub(crate) fn arguments(&self, plan: &SessionPlan, place: &LaunchPlace) -> Vec<String> {
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
        let prompt = clean_prompt(&plan.prompt);
        let argument = if prompt.len() <= PROMPT_ARGUMENT_BYTES { prompt } else { read_line(&place.prompt()) };
        arguments.extend(["--".to_owned(), argument]);
        arguments
    }

    /// Returns the environment that lets it start without a question and stay readable on the screen.
    pub(crate) fn environment(&self) -> Vec<(&'static str, &'static str)> {
        let mut environment = vec![
            ("CLAUDE_CODE_SANDBOXED", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
            ("CLAUDE_CODE_DISABLE_ALTERNATE_SCREEN", "1"),
            // A suggestion costs a request after each turn, and once it is drawn into the input line it cannot be told
            // from text that somebody typed.
            ("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", "false"),
        ];
        if rustix::process::geteuid().is_root() {
            environment.push(("IS_SANDBOX", "1"));
        }
        environment
    }
}

/// Returns the settings file: one hook for each lifecycle event, and nothing that could ask a question. `home` is the
/// folder of the agent's own files.
pub(crate) fn settings(rig: &Path, worktree: &Path, home: &Path) -> Value {
    let program = shell_quote(&rig.display().to_string());
    let hooks: serde_json::Map<String, Value> = LIFECYCLE_EVENTS
        .iter()
        .map(|event| {
            let command =
                json!({"type": "command", "command": format!("{program} hook {event}"), "timeout": HOOK_TIMEOUT_SECS});
            ((*event).to_owned(), json!([{ "hooks": [command] }]))
        })
        .collect();
    let mut settings = json!({ "hooks": hooks, "disableAllHooks": false, "skipDangerousModePermissionPrompt": true });
    if let Some(pattern) = foreign_instructions(worktree, home) {
        settings["claudeMdExcludes"] = json!([pattern]);
    }
    settings
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

/// Returns the one line that stands for a text too long to be typed or given as an argument.
pub fn read_line(file: &Path) -> String {
    format!("Read {} and carry it out", file.display())
}

/// Returns the prompt without control characters (line ends and tabs stay) and with a start that cannot be taken for a
/// command.
pub fn clean_prompt(prompt: &str) -> String {
    let text: String =
        prompt.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || "\n\t".contains(*c)).collect();
    let safe = text.trim_start().starts_with(|c: char| c.is_alphanumeric());
    if safe { text } else { format!("{SAFE_START}{text}") }
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
    if blank(&lines[at][PROMPT_START.len()..]) && !continued { PromptLine::Empty } else { PromptLine::HalfTyped }
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
    fn a_prompt_never_begins_as_a_command() {
        for bad in ["!rm -rf x", "/help", "-p", "--resume", " /help", "\n!x", "#note", "@file", "", "\u{1b}[201~!x"] {
            let clean = clean_prompt(bad);
            assert!(clean.starts_with(SAFE_START), "{bad:?} became {clean:?}");
            assert!(!clean.contains('\u{1b}'));
        }
        assert_eq!(clean_prompt("Fix it\r\n\tnow\0"), "Fix it\n\tnow");
    }

    #[test]
    fn settings_register_each_event_with_a_quoted_program() {
        let settings = settings(Path::new("/opt/it's here/rig"), Path::new("/w/1"), Path::new("/h/.claude"));
        for event in LIFECYCLE_EVENTS {
            let command = settings["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap();
            assert_eq!(command, format!("'/opt/it'\\''s here/rig' hook {event}"));
        }
        assert_eq!(settings["disableAllHooks"], false);
        assert_eq!(settings["claudeMdExcludes"][0], "!{/h/.claude/CLAUDE.md,/h/.claude/rules/**,/w/1/**}");
        assert_eq!(foreign_instructions(Path::new("/w/{1}"), Path::new("/h")), None, "no pattern of its own");
    }
}
