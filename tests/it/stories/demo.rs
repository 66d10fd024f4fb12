//! `rig demo` as a person runs it: what it prints, what it exits with, and that it leaves nothing behind.

use crate::by_hand_support::{end, json_lines, until};
use predicates::{prelude::*, str::contains};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Longest time of a demo on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// A place for the demo's temporary folder. Whatever still runs there at the end is ended.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn demo(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rig"));
        command.env_clear().env("HOME", self.path()).env("TMPDIR", self.path()).env("PATH", "/usr/bin:/bin");
        command.arg("demo").args(args).timeout(PATIENCE);
        command
    }

    /// Returns the processes that have this place in their arguments or their environment.
    fn processes(&self) -> Vec<(u32, String)> {
        let mark = self.path().display().to_string();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found = ids.filter_map(|id| {
            let read = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            (arguments.contains(&mark) || environment.contains(&mark)).then_some((id, arguments))
        });
        found.collect()
    }

    /// Waits until nothing runs there any more, and checks that no file is left.
    fn left_clean(&self) {
        until("every process of the demo has ended", || self.processes().is_empty().then_some(()));
        let left: Vec<_> = std::fs::read_dir(self.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (id, _) in self.processes() {
            end(id, "KILL");
        }
    }
}

#[test]
fn it_prints_json_ends_with_the_outcome_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.demo(&["--issues", "1", "--json"]).assert().success();
    let lines = json_lines(&output.get_output().stdout);
    let last = lines.last().unwrap();
    assert_eq!((&last["outcome"], &last["merged"], &last["exit"]), (&"merged".into(), &1.into(), &0.into()));
    assert!(lines.iter().any(|line| line["event"] == "Merged"));
    place.left_clean();
}

#[test]
fn without_tmux_it_fails_at_once_and_says_what_to_install() {
    let place = Place::new();
    let empty = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/bin/git", empty.path().join("git")).unwrap();
    let mut command = place.demo(&["--json"]);
    let assert = command.env("PATH", empty.path()).assert().code(1);
    let last = json_lines(&assert.get_output().stdout).pop().unwrap();
    assert_eq!(last["exit"], 1);
    assert.stderr(contains("`tmux` is not installed").and(contains("apt-get install tmux")));
    place.left_clean();
}

#[test]
fn an_interrupt_tidies_up_whenever_it_comes() {
    for event in ["", "SessionStarted"] {
        let place = Place::new();
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_rig"))
            .args(["demo", "--json"])
            .env_clear()
            .envs([("HOME", place.path()), ("TMPDIR", place.path())])
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(out.reopen().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = || json_lines(&std::fs::read(out.path()).unwrap());
        until("the demo is so far", || match event {
            "" => std::fs::read_dir(place.path()).unwrap().next().map(|_| ()),
            event => lines().iter().any(|line: &Value| line["event"] == event).then_some(()),
        });
        end(demo.id(), "INT");
        assert_eq!(until("it ends", || demo.try_wait().unwrap()).code(), Some(1), "{event}");
        assert_eq!(lines().last().unwrap()["error"], "interrupted");
        place.left_clean();
    }
}

#[test]
fn what_is_kept_can_be_looked_at_as_it_says() {
    let place = Place::new();
    let output = place.demo(&["--issues", "1", "--keep"]).assert().success();
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    let hints: Vec<Vec<&str>> =
        said.lines().filter_map(|line| line.strip_prefix("  rig ")).map(|line| line.split(' ').collect()).collect();
    assert_eq!(hints.len(), 3, "{said}");
    let rig = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
        command.args(args).env_clear().env("HOME", place.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    };
    for (hint, word) in hints.iter().zip(["merged", "merged as"]) {
        let output = rig(hint).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains(word), "{hint:?}");
    }
    let mut forge = rig(&hints[2]).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let first = {
        use std::io::BufRead;
        std::io::BufReader::new(forge.stdout.take().unwrap()).lines().next().unwrap().unwrap()
    };
    assert!(first.contains("\"url\""), "{first}");
    end(forge.id(), "TERM");
    assert_eq!(forge.wait().unwrap().code(), Some(0));
}
