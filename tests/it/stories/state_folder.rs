//! A state folder that is full, read-only or none at all, and readers that go away.

use super::{refused, untouched};
use crate::by_hand_support::{PATIENCE, World, end, until};
use std::process::{Command, Stdio};

/// Runs `rig ARGS` after a shell's `before`. Returns exit code and stderr.
fn after(world: &World, before: &str, args: &str) -> (Option<i32>, String) {
    let line = format!("{before}; exec {} {args}", env!("CARGO_BIN_EXE_rig"));
    let output = assert_cmd::Command::new("/bin/sh")
        .args(["-c", &line])
        .env_clear()
        .envs([("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"), ("HOME", world.root.home().to_str().unwrap())])
        .current_dir(world.root.path())
        .timeout(PATIENCE)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_full_disk_is_told_and_the_next_poll_with_room_does_the_work() {
    let world = World::new();
    let issue = world.issue("Hold", "", &["backlog"]);
    for args in ["dev poll".to_owned(), format!("dev agent {issue}")] {
        // No file may grow: what a full disk is to a program, for one program.
        let (code, said) = after(&world, "ulimit -f 0", &args);
        assert_eq!(code, Some(1), "{args}: {said}");
        assert!(said.contains("check that the state folder is writable and its disk is not full"), "{args}: {said}");
        untouched(&world, issue);
    }
    let (code, lines) = world.json(&["dev", "poll"]);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(world.runs(false).len(), 1);
}

#[test]
fn a_read_only_state_folder_is_told() {
    let world = World::new();
    let issue = world.issue("Hold", "", &["backlog"]);
    let read_only = "mount --bind state state && mount -o remount,ro,bind state";
    let possible = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        // Root ignores permission bits, so without a mount of its own there is nothing read-only to be had.
        println!("SKIPPED: this machine lets nobody mount, so there is no read-only folder");
        return;
    }
    for args in ["dev poll".to_owned(), format!("dev agent {issue}"), "dev stop".to_owned()] {
        let command = format!("exec unshare -m sh -c '{read_only} && exec {} {args}'", env!("CARGO_BIN_EXE_rig"));
        let (code, said) = after(&world, &format!("{command}; true"), "--version");
        assert_eq!(code, Some(1), "{args}: {said}");
        assert!(said.contains("state") && said.contains("hint: "), "{args}: {said}");
    }
    untouched(&world, issue);
}

#[test]
fn a_state_that_is_no_folder_is_told() {
    let world = World::with_forge_only();
    let root = world.root.home().join("other");
    std::fs::create_dir_all(root.join("projects")).unwrap();
    std::fs::write(root.join("state"), "").unwrap();
    let root = root.display().to_string();
    let place = format!("{root}/state");
    for args in [&["dev", "start"][..], &["dev", "poll"], &["forge", "serve"]] {
        refused(&world, &[args, &["--root", &root]].concat(), 1, &[&place, "hint: "]);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    for args in [&["status", "--all"][..], &["--help"], &["config", "show"]] {
        let mut child = world.process(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_watch_ends_with_its_reader() {
    let world = World::with_forge_only();
    let attempt = world.root.path().join("state/run/widget/7/attempt-1");
    std::fs::create_dir_all(&attempt).unwrap();
    let mut watch = world.process(&["phase", "watch", "7"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(watch.stdout.take());
    let mut round = 0;
    let code = until("the watch ends", || {
        round += 1;
        std::fs::write(attempt.join("phase"), format!("PHASE:escalate\nReason: {round}\n")).unwrap();
        watch.try_wait().unwrap()
    });
    assert_eq!(code.code(), Some(0));
    end(watch.id(), "KILL");
}
