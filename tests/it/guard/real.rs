//! The guard with the real claude: what rig refuses does not run, and nothing runs while rig cannot judge.

use super::{OWN_BRANCH, Stage};
use crate::{
    real_claude::{VARIABLES, accept_first_start, claude},
    scripted_api,
};
use rig::adapters::session::{guard::registration, launch::LaunchPlace};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(90);

/// What the scripted model runs: first what the prompt says, nothing more.
fn as_told(text: &str) -> Vec<String> {
    let told = text.split_once("Run this: ").map(|(_, rest)| rest.lines().next().unwrap_or_default().to_owned());
    told.into_iter().collect()
}

/// Lets the real claude run one command with these settings. Returns what it wrote about it.
async fn run(program: &str, stage: &Stage, settings: &serde_json::Value, command: &str) -> String {
    let url = scripted_api::serve(as_told).await;
    let home = stage.root.join("home");
    std::fs::create_dir_all(&home).unwrap();
    accept_first_start(&home);
    let file = stage.root.join("settings.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    let mut claude = assert_cmd::Command::new(program);
    claude.env_clear().env("HOME", &home).env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(VARIABLES);
    claude.env("ANTHROPIC_BASE_URL", url).env("IS_SANDBOX", "1").env("CLAUDE_CODE_SANDBOXED", "1");
    claude.env("DISABLE_AUTOUPDATER", "1").current_dir(&stage.confines.worktree).timeout(PATIENCE);
    claude.args(["-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions"]);
    claude.arg("--settings").arg(&file).arg("--").arg(format!("Run this: {command}"));
    let output = tokio::task::spawn_blocking(move || claude.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns settings with the guard as rig registers it, for a rig at this path and a guard file that is there.
fn settings(stage: &Stage, rig: &Path) -> serde_json::Value {
    let place = LaunchPlace::new(stage.root.join("state/run/widget/7/attempt-1"));
    std::fs::write(place.guard(), serde_json::to_vec(&stage.confines).unwrap()).unwrap();
    serde_json::json!({ "hooks": { "PreToolUse": registration(rig, &place) }, "skipDangerousModePermissionPrompt": true })
}

fn rig() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rig"))
}

/// Makes a program that stands in rig's place.
fn impostor(stage: &Stage, script: &str) -> PathBuf {
    let path = stage.root.join("rig-impostor");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn marker_after(program: &str, stage: &Stage, settings: &serde_json::Value) -> (bool, String) {
    let marker = stage.confines.worktree.join("marker");
    let said = run(program, stage, settings, "touch marker").await;
    (marker.exists(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_runs_what_is_allowed_and_is_told_why_not_otherwise() {
    let Some(held) = claude() else { return };
    let stage = Stage::new();
    let settings = settings(&stage, &rig());
    let (ran, said) = marker_after(&held.program, &stage, &settings).await;
    assert!(ran, "{said}");
    let said = run(&held.program, &stage, &settings, "touch ran && git push origin HEAD:main").await;
    assert!(!stage.confines.worktree.join("ran").exists(), "{said}");
    assert!(said.contains("pushes to the primary branch") && said.contains(OWN_BRANCH), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_when_rig_crashes_is_missing_or_hangs() {
    let Some(held) = claude() else { return };
    for (what, script) in [
        ("a crash", Some("kill -SEGV $$")),
        ("a panic", Some("exit 101")),
        ("a hang", Some("exec sleep 1000")),
        ("a hang that ignores its end", Some("trap '' TERM; while :; do sleep 1; done")),
        ("no program", None),
    ] {
        let stage = Stage::new();
        let rig = script.map_or_else(|| stage.root.join("nowhere/rig"), |script| impostor(&stage, script));
        let (ran, said) = marker_after(&held.program, &stage, &settings(&stage, &rig)).await;
        assert!(!ran, "{what}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_without_the_file_of_the_guard() {
    let Some(held) = claude() else { return };
    let stage = Stage::new();
    let settings = settings(&stage, &rig());
    let file = stage.root.join("state/run/widget/7/attempt-1/guard.json");
    std::fs::write(&file, "{\"version\":1").unwrap();
    assert!(!marker_after(&held.program, &stage, &settings).await.0);
    std::fs::remove_file(&file).unwrap();
    assert!(!marker_after(&held.program, &stage, &settings).await.0);
}

/// Why the registered command has a time limit of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_goes_on_when_a_hook_takes_too_long() {
    let Some(held) = claude() else { return };
    let stage = Stage::new();
    let hook = serde_json::json!({ "type": "command", "command": "sleep 30", "timeout": 1 });
    let settings = serde_json::json!({ "hooks": { "PreToolUse": [{ "hooks": [hook] }] } });
    assert!(marker_after(&held.program, &stage, &settings).await.0, "a late hook refuses now: the time limit can go");
}
