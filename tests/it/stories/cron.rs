//! `rig dev poll` as cron runs it: nothing on stdin, stdout or stderr, hardly an environment, and gone as soon as it is done.

use crate::by_hand_support::{World, end, until};
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

#[test]
fn a_poll_of_cron_starts_a_driver_that_outlives_it() {
    let world = World::new();
    let issue = world.issue("Hold this", "", &["backlog"]);
    let rig = env!("CARGO_BIN_EXE_rig");
    // The shell stays, so that there is a group to end afterwards, as cron's own or a login's would be.
    let line = format!("{rig} dev poll <&- >&- 2>&-; echo $? > \"$HOME/code\"; exec sleep 60");
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &line])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("HOME", world.root.home().to_str().unwrap())])
        .env("RIG_ROOT", world.root.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let code = world.root.home().join("code");
    until("the poll is done", || std::fs::read_to_string(&code).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(std::fs::read_to_string(&code).unwrap(), "0\n");
    let drivers = until("a driver runs", || Some(world.drivers()).filter(|drivers| !drivers.is_empty()));
    end_group(shell.id());
    shell.wait().unwrap();
    assert_eq!(world.drivers(), drivers);
    std::fs::write(world.root.path().join("go"), "").unwrap();
    until("it is merged", || {
        world.approve_green();
        world.runs(false).is_empty().then_some(())
    });
    assert_eq!(world.runs(true)[0]["issue"], issue);
}

#[test]
fn a_poll_over_an_unchanged_project_says_nothing_under_cron() {
    let world = World::new();
    world.rig(&["dev", "poll"]).success().stdout("").stderr("");
}

fn end_group(leader: u32) {
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).status();
    end(leader, "KILL");
}
