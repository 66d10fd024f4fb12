//! Stories: what a person lives through at the command line, against the real binary and the embedded forge.

mod bad_input;
mod by_hand;
mod channels;
mod chores;
mod cron;
mod crontab;
mod demo;
mod exclusive;
mod gate;
mod handles;
mod help;
mod issues;
mod lasting;
mod merging;
mod mirror_remotes;
mod mirrors;
mod neighbours;
mod parallel;
mod reviews;
mod state_folder;

use crate::by_hand_support::{World, json_lines};
use std::time::Duration;

/// Longest time for a command that is refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// Runs `rig ARGS`, which must be refused with this exit code and these words, without a backtrace, and with `--json` in a
/// last line that says the same.
fn refused(world: &World, args: &[&str], code: i32, words: &[&str]) {
    refused_with_path(world, "/usr/bin:/bin", args, code, words);
}

fn refused_with_path(world: &World, path: &str, args: &[&str], code: i32, words: &[&str]) {
    let mut command = world.root.rig(args);
    command.env("RUST_BACKTRACE", "1").env("PATH", path).timeout(REFUSED_WITHIN);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: `{word}` is missing in: {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("backtrace") && !said.contains('\x1b'), "{said}");
    let output = world.root.rig(args).arg("--json").env("PATH", path).timeout(REFUSED_WITHIN).output().unwrap();
    let lines = json_lines(&output.stdout);
    let last = lines.last().unwrap_or_else(|| panic!("{args:?}: nothing on stdout"));
    assert_eq!(last["exit"], code, "{args:?}: {last}");
    assert!(last["error"].as_str().is_some_and(|error| !error.is_empty()), "{args:?}: {last}");
}

/// Checks that nothing was claimed: the issue is as it was filed, and the store has no run.
fn untouched(world: &World, issue: u64) {
    assert_eq!(world.traces(issue), (vec!["backlog".to_owned()], vec![], vec![]));
    assert!(world.runs(true).is_empty(), "{:?}", world.runs(true));
    assert!(world.drivers().is_empty());
}
