//! `rig phase` from the command line: inside a session, outside of one, and the protocol run through.

use crate::terminal::{PATIENCE, rig};
use assert_cmd::Command;
use predicates::{prelude::PredicateBooleanExt, str::contains};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
    sync::mpsc,
};

/// A process that ends with its test, however that ends.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A root with sessions of issue 7 of `widget`: attempts 2 and 10.
fn root() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for attempt in [2, 10] {
        fs::create_dir_all(attempt_dir(folder.path(), attempt)).unwrap();
    }
    fs::create_dir(folder.path().join("projects")).unwrap();
    folder
}

fn attempt_dir(root: &Path, attempt: u32) -> PathBuf {
    root.join(format!("state/run/widget/7/attempt-{attempt}"))
}

fn phase(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(rig());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(root).arg("phase").args(args);
    command
}

#[test]
fn what_is_set_is_read_back_in_the_newest_attempt() {
    let root = root();
    let file = attempt_dir(root.path(), 10).join("phase");
    phase(root.path(), &["path", "7"]).assert().success().stdout(format!("{}\n", file.display()));
    phase(root.path(), &["get", "7"]).assert().success().stdout("none\n");
    phase(root.path(), &["set", "escalate", "--reason", "which\nport?", "--issue", "7"]).assert().success();
    assert_eq!(fs::read_to_string(&file).unwrap(), "PHASE:escalate\nReason: which port?\n");
    let output = phase(root.path(), &["get", "7", "--json"]).assert().success().get_output().stdout.clone();
    let read: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&read["phase"], &read["reason"]), (&"escalate".into(), &"which port?".into()));
    assert!(!attempt_dir(root.path(), 2).join("phase").exists());
    phase(root.path(), &["log", "7"]).assert().code(1).stderr(contains("issue #7 of widget has no run yet"));
}

#[test]
fn inside_a_session_its_own_file_is_meant_unless_another_issue_is_named() {
    let root = root();
    let own = root.path().join("elsewhere/attempt-1/phase");
    let inside = |args: &[&str]| {
        let mut command = phase(root.path(), args);
        command.env("PHASE_FILE", &own).env("RIG_ISSUE", "5").env("RIG_PROJECT", "gadget");
        command
    };
    inside(&["set", "awaiting_ci"]).assert().success();
    inside(&["get"]).assert().success().stdout("awaiting_ci\n");
    inside(&["path", "7", "--project", "widget"]).assert().success().stdout(contains("attempt-10"));
    assert_eq!(fs::read_to_string(own).unwrap(), "PHASE:awaiting_ci\n");
}

#[test]
fn mistakes_are_explained_and_change_nothing() {
    let root = root();
    phase(root.path(), &["set", "finished", "--issue", "7"])
        .assert()
        .code(2)
        .stderr(contains("known are awaiting_ci, awaiting_review, escalate, done, failed"));
    phase(root.path(), &["get"]).assert().code(2).stderr(contains("hint: name it"));
    phase(root.path(), &["get", "8"]).assert().code(1).stderr(contains("issue #8 has no session"));
    fs::create_dir_all(root.path().join("state/run/gadget/7/attempt-1")).unwrap();
    phase(root.path(), &["get", "7"]).assert().code(1).stderr(contains("--project"));
    let file = attempt_dir(root.path(), 10).join("phase");
    fs::write(&file, "PHASE:finished\n").unwrap();
    phase(root.path(), &["get", "7", "--project", "widget"])
        .assert()
        .code(1)
        .stderr(contains("`finished` is no phase"));
}

#[test]
fn a_watch_prints_each_phase_once_however_it_is_written() {
    let root = root();
    let file = attempt_dir(root.path(), 10).join("phase");
    let watch = Process::new(rig())
        .args(["phase", "watch", "7", "--json"])
        .current_dir(root.path())
        .env_remove("RIG_ROOT")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut watch = Ended(watch.unwrap());
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(watch.0.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || {
        let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).expect("a phase is printed")).unwrap();
        line["phase"].as_str().unwrap().to_owned()
    };
    fs::write(&file, "PHASE:awaiting_ci\n").unwrap();
    assert_eq!(next(), "awaiting_ci");
    for word in ["awaiting_review", "escalate", "failed"] {
        phase(root.path(), &["set", word, "--issue", "7"]).assert().success();
    }
    assert_eq!([next(), next(), next()], ["awaiting_review", "escalate", "failed"]);
    fs::write(file.with_file_name("new"), "PHASE:done\n").unwrap();
    fs::rename(file.with_file_name("new"), &file).unwrap();
    assert_eq!(next(), "done");
    drop(watch);
    assert!(lines.try_iter().next().is_none());
}

#[test]
fn the_protocol_works_on_this_machine() {
    let root = root();
    let output = phase(root.path(), &["test", "--json"]).timeout(PATIENCE * 4).assert().success().get_output().clone();
    let lines: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(lines.len() >= 9 && lines.iter().all(|line| line["ok"] == true), "{lines:?}");
}

#[test]
fn without_tmux_the_test_of_the_protocol_says_what_to_install() {
    let root = root();
    let mut command = phase(root.path(), &["test"]);
    let assert = command.env("PATH", root.path()).assert().code(3);
    assert.stdout(contains("FAILED  tmux is installed").and(contains("apt-get install tmux")));
}
