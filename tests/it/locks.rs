//! Locks between real processes. A child is this test binary again, running the ignored test `child`.

use rig::{
    adapters::flock::FlockLocks,
    domain::ids::IssueNumber,
    ports::lock::{LockError, LockName, Locks},
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const ORDER: &str = "RIG_TEST_LOCK_CHILD";
const DEADLINE: Duration = Duration::from_secs(30);
const NAME: LockName = LockName::Run(IssueNumber(7));

fn locks(base: &Path) -> FlockLocks {
    FlockLocks::new(base, "https://git.example.org", &"acme/widget".parse().unwrap())
}

/// Takes the lock, starts a program that outlives it, notes that program's process id in `held`, and waits to be killed.
#[tokio::test]
// A child process of the test beside it: without an order it does nothing.
async fn child() {
    let Ok(base) = std::env::var(ORDER).map(PathBuf::from) else { return };
    let _held = locks(&base).take(NAME, Duration::ZERO).await.unwrap();
    let mut grandchild = Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    std::fs::write(base.join("held.new"), grandchild.id().to_string()).unwrap();
    std::fs::rename(base.join("held.new"), base.join("held")).unwrap();
    grandchild.wait().unwrap();
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a child that holds the lock; returns it with the process that it started.
fn start_holder(base: &Path) -> (Child, Pid) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "locks::child", "--nocapture"])
        .env(ORDER, base)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let note = base.join("held");
    wait_until("the child did not take the lock", || note.exists());
    let grandchild = std::fs::read_to_string(note).unwrap().parse().unwrap();
    (child, Pid::from_raw(grandchild).unwrap())
}

#[tokio::test]
async fn a_killed_holder_frees_its_lock_although_its_child_lives_on() {
    let base = tempfile::tempdir().unwrap();
    let (mut holder, grandchild) = start_holder(base.path());
    let locks = locks(base.path());
    let lost = locks.take(NAME, Duration::from_millis(20)).await;
    assert!(matches!(lost, Err(LockError::Held { .. })), "{lost:?}");
    let noted = std::fs::read_to_string(locks.path(NAME)).unwrap();
    assert_eq!(noted, format!("pid {}\n", holder.id()), "the loser did not touch the winner's file");
    let other = locks.take(LockName::Run(IssueNumber(8)), Duration::ZERO).await;
    assert!(other.is_ok(), "another issue is not concerned");

    holder.kill().unwrap();
    holder.wait().unwrap();
    let taken = locks.take(NAME, Duration::ZERO).await;
    let orphan_lives = test_kill_process(grandchild).is_ok();
    kill_process(grandchild, Signal::KILL).unwrap();
    assert!(orphan_lives, "the test needs a child that outlives the holder");
    taken.expect("the lock is free at once");
}

#[tokio::test]
async fn folder_and_files_are_for_their_owner_only() {
    let base = tempfile::tempdir().unwrap();
    let locks = locks(&base.path().join("rig/locks"));
    let _held = locks.take(LockName::Dispatch, Duration::ZERO).await.unwrap();
    let file = locks.path(LockName::Dispatch);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(&base.path().join("rig")), 0o700);
}
