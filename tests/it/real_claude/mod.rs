//! The real claude program in the place of the stand-in, with a scripted model. Only where `RIG_TEST_CLAUDE` names the
//! program; it says so where it does not, and fails with `RIG_TEST_REQUIRE=1`.

mod errors;
mod starts;
mod stories;

use crate::{
    by_hand_support::{end, json_lines},
    scripted_api,
    terminal::{Terminals, name, process_lives},
};
use rig::{
    adapters::session::ClaudeAgent,
    ports::session::{HookKind, SessionPlan, Sessions},
};
use std::{
    io::Write,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Longest time of a demo with one issue; about four seconds where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(150);
/// Messages that must each be submitted by one paste.
const MESSAGES: usize = 20;

/// What a claude needs to start without a question and to ask nobody but the scripted model.
pub(crate) const VARIABLES: [(&str, &str); 5] = [
    ("ANTHROPIC_AUTH_TOKEN", "made-up"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_MAX_RETRIES", "0"),
];

/// The program, for as long as a test has it: one at a time, so that each is as quick as on a machine of its own.
pub(crate) struct Claude {
    pub(crate) program: String,
    _turn: MutexGuard<'static, ()>,
}

/// Returns the program that the environment names, if any.
pub(crate) fn claude() -> Option<Claude> {
    static TURN: Mutex<()> = Mutex::new(());
    let named = std::env::var("RIG_TEST_CLAUDE").ok().filter(|program| !program.is_empty());
    let Some(program) = named else {
        let required = std::env::var("RIG_TEST_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!required, "RIG_TEST_REQUIRE=1, and RIG_TEST_CLAUDE names no program");
        // Past the test harness, which would keep it to itself.
        let said = "skipped: a test with the real claude; RIG_TEST_CLAUDE names no program\n";
        let _ = std::io::stderr().write_all(said.as_bytes());
        return None;
    };
    // A test that failed has left nothing behind that the next one would mind.
    Some(Claude { program, _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) })
}

/// Marks the first start as done: it asks for a theme.
pub(crate) fn accept_first_start(home: &Path) {
    std::fs::write(home.join(".claude.json"), r#"{"hasCompletedOnboarding": true}"#).unwrap();
}

fn work_on_the_demo(text: &str) -> Vec<String> {
    let phase = |name: &str| format!("echo PHASE:{name} > \"$PHASE_FILE\"");
    if text.contains("CI passed at") {
        return vec![phase("awaiting_review")];
    }
    if !text.contains("Title: Greet a person by name") {
        return Vec::new();
    }
    let edit = r#"sed -i 's/^echo "Hello, world!"$/echo "Hello, ${1:-world}!"/' greet.sh"#;
    vec![
        edit.to_owned(),
        r"printf 'sh greet.sh Ada\nHello, Ada!\n' > tests/name.test".to_owned(),
        "git add -A && git commit -qm 'Greet a person by name' && git push -u origin HEAD".to_owned(),
        format!("echo 'The name is an argument.' > \"$SUMMARY_FILE\" && {}", phase("awaiting_ci")),
    ]
}

#[test]
fn an_issue_of_the_demo_is_merged() {
    let Some(claude) = claude() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(scripted_api::serve(work_on_the_demo));
    let folder = tempfile::tempdir().unwrap();
    accept_first_start(folder.path());
    std::os::unix::fs::symlink(&claude.program, folder.path().join("claude")).unwrap();
    let mut demo = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rig"));
    demo.env_clear().env("HOME", folder.path()).env("TMPDIR", folder.path()).envs(VARIABLES);
    demo.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display())).env("ANTHROPIC_BASE_URL", url);
    demo.args(["demo", "--agent", "claude", "--issues", "1", "--json"]).timeout(PATIENCE);
    let output = demo.assert().success();
    let lines = json_lines(&output.get_output().stdout);
    let last = lines.last().unwrap();
    assert_eq!((&last["outcome"], &last["merged"]), (&"merged".into(), &1.into()));
}

/// A session with the real program; its first turn has ended.
async fn session(program: &str) -> (Terminals, SessionPlan) {
    let url = scripted_api::serve(|_| Vec::new()).await;
    let terminals = Terminals::with_agent(ClaudeAgent { command: program.to_owned(), args: Vec::new(), model: None });
    accept_first_start(&terminals.path().join("home"));
    let mut plan = terminals.plan(1, serde_json::json!([]));
    plan.env.extend(VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())));
    plan.env.push(("ANTHROPIC_BASE_URL".into(), url));
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
    (terminals, plan)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_typed_line_is_submitted_once_and_exactly() {
    let Some(claude) = claude() else { return };
    let (terminals, _) = session(&claude.program).await;
    let lines: Vec<String> =
        (0..MESSAGES).map(|number| format!("Note number {number}; $(x) `y` ü and go on.")).collect();
    for (count, line) in lines.iter().enumerate() {
        terminals.sessions.type_line(&name(), line).await.unwrap();
        terminals.until_idle(count + 2).await;
    }
    assert_eq!(terminals.prompts()[1..], lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_is_resumed_and_an_ended_one_says_so() {
    let Some(claude) = claude() else { return };
    let (terminals, mut plan) = session(&claude.program).await;
    // The program writes its transcript a moment behind its hooks.
    let home = terminals.path().join("home/.claude/projects");
    terminals
        .until("the answer is in the transcript", async || {
            let folders = std::fs::read_dir(&home).into_iter().flatten().flatten();
            let files = { folders }.map(|folder| folder.path().join(format!("{}.jsonl", plan.agent_session)));
            { files }.any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("Done.")))
        })
        .await;
    let agent = terminals.agent_process();
    end(agent, "KILL");
    terminals.until("the agent has ended", async || !process_lives(agent)).await;
    plan.attempt = plan.attempt.next();
    plan.attempt_dir = terminals.attempt_dir(2);
    plan.resume = true;
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(2).await;
    terminals.sessions.end(&name()).await.unwrap();
    let kinds: Vec<HookKind> = terminals.hooks().into_iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&HookKind::SessionStarted { source: "resume".into() }), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&HookKind::SessionEnded { reason: "other".into() }), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_cannot_hold_up_the_start_with_a_question() {
    let Some(claude) = claude() else { return };
    let url = scripted_api::serve(|_| Vec::new()).await;
    let terminals =
        Terminals::with_agent(ClaudeAgent { command: claude.program.clone(), args: Vec::new(), model: None });
    accept_first_start(&terminals.path().join("home"));
    let worktree = terminals.worktree();
    std::fs::write(terminals.path().join("outside.md"), "From outside.").unwrap();
    std::fs::write(worktree.join("CLAUDE.md"), format!("See @{}/outside.md", terminals.path().display())).unwrap();
    std::fs::write(worktree.join(".mcp.json"), r#"{"mcpServers":{"x":{"command":"cat","args":[]}}}"#).unwrap();
    std::fs::create_dir(worktree.join(".claude")).unwrap();
    std::fs::write(worktree.join(".claude/settings.json"), r#"{"disableAllHooks": true}"#).unwrap();
    let mut plan = terminals.plan(1, serde_json::json!([]));
    plan.env.extend(VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())));
    plan.env.push(("ANTHROPIC_BASE_URL".into(), url));
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
}
