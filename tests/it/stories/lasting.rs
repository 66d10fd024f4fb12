//! What keeps drivers and sessions alive when their starter's control group ends: a scope of their own where the user's service
//! manager answers and stays; a session of their own everywhere else. Here the manager is a socket, and its programs are
//! scripts that write down how they were called.

use crate::by_hand_support::{World, drivers_of, end, end_all_of, sessions_of, until};
use sqlx::Connection;
use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::PathBuf,
};

/// A user manager that makes scopes, or refuses to.
struct Manager {
    folder: PathBuf,
    _socket: UnixListener,
}

impl Manager {
    fn new(world: &World, lingers: &str, systemd_run: &str) -> Self {
        let folder = world.root.home().join("manager");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir_all(folder.join("systemd")).unwrap();
        let socket = UnixListener::bind(folder.join("systemd/private")).unwrap();
        let manager = Self { folder, _socket: socket };
        manager.program("loginctl", &format!("echo {lingers}"));
        let log = manager.folder.join("calls");
        let told = format!("echo \"$XDG_RUNTIME_DIR $*\" >> {}", log.display());
        manager.program("systemd-run", &format!("{told}\n{systemd_run}"));
        manager
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.folder.join("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// One tick with this manager.
    fn poll(&self, world: &World) {
        let path = format!("{}:/usr/bin:/bin", self.folder.join("bin").display());
        let mut command = world.process(&["dev", "poll"]);
        command.env("PATH", path).env("XDG_RUNTIME_DIR", &self.folder);
        assert_eq!(command.status().unwrap().code(), Some(0));
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Does what systemd-run does after it has made the scope: becomes the program.
const BECOMES_THE_PROGRAM: &str = "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";

fn until_it_works(world: &World) {
    until("the session runs", || {
        let works = world.runs(false).iter().any(|run| run["stage"] == "working" && run["driver"] == "alive");
        (works && sessions_of(&world.root).len() == 1).then_some(())
    });
}

#[test]
fn driver_and_tmux_server_get_scopes_of_their_own_where_the_manager_stays() {
    let world = World::new();
    let issue = world.issue("Hold", "", &["backlog"]);
    let manager = Manager::new(&world, "yes", BECOMES_THE_PROGRAM);
    manager.poll(&world);
    until_it_works(&world);
    let calls = manager.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    let call = |unit: &str| format!("{} --user --scope --quiet --collect --unit {unit}-", manager.folder.display());
    let driver = &calls[0];
    assert!(driver.starts_with(&call(&format!("rig-driver-widget-{issue}"))), "{driver}");
    assert!(
        driver.contains(&format!(".scope -- setsid --fork {} dev agent {issue} ", env!("CARGO_BIN_EXE_rig"))),
        "{driver}"
    );
    let socket = rig::commands::wire::tmux_socket(&world.root.root());
    assert!(calls[1].starts_with(&call(&format!("rig-tmux-{socket}"))), "{}", calls[1]);
    assert!(calls[1].contains(&format!(" -- tmux -u -L {socket} -f /dev/null start-server")), "{}", calls[1]);
    let log = std::fs::read_to_string(world.root.path().join("state/log/rig.log")).unwrap();
    assert!(
        log.contains("the driver has a scope of its own") && log.contains("the tmux server has a scope of its own")
    );
    // An empty server ends as before once its last session is gone.
    std::fs::write(world.root.path().join("go"), "").unwrap();
    until("it is merged", || {
        world.approve_green();
        world.runs(false).is_empty().then_some(())
    });
    until("the server has ended", || {
        let listening = std::process::Command::new("tmux").args(["-L", &socket, "has-session"]).output().unwrap();
        String::from_utf8_lossy(&listening.stderr).contains("no server running").then_some(())
    });
}

#[test]
fn without_a_manager_that_stays_or_makes_scopes_a_session_of_its_own_has_to_do() {
    for (lingers, systemd_run, asked) in [("no", BECOMES_THE_PROGRAM, false), ("yes", "echo refused >&2; exit 1", true)]
    {
        let world = World::new();
        world.issue("Hold", "", &["backlog"]);
        let manager = Manager::new(&world, lingers, systemd_run);
        manager.poll(&world);
        until_it_works(&world);
        assert_eq!(!manager.calls().is_empty(), asked, "{:?}", manager.calls());
        let (code, lines) = world.json(&["status"]);
        assert_eq!((code, &lines[0]["runs"][0]["driver_scope"]), (0, &serde_json::Value::Null));
        let log = std::fs::read_to_string(world.root.path().join("state/log/rig.log")).unwrap();
        assert!(log.contains("a session of its own, and no scope"), "{log}");
        // It leads a session of its own.
        let driver = world.drivers()[0];
        let stat = std::fs::read_to_string(format!("/proc/{driver}/stat")).unwrap();
        let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        assert_eq!(session, driver.to_string());
    }
}

#[test]
fn a_driver_that_gives_no_sign_for_five_minutes_is_ended_and_its_run_adopted_with_its_session() {
    let world = World::new();
    world.issue("Hold", "", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    until_it_works(&world);
    let (driver, sessions) = (world.drivers()[0], sessions_of(&world.root));
    stop_between_two_writes(&world, driver, "-4 minutes");
    // A beat of some minutes ago is no reason yet, however many ticks see it: it is told, and nothing is wrong.
    for (age, ended) in [("-4 minutes", false), ("-4 minutes", false), ("-6 minutes", true)] {
        until("the driver seems to be silent", || beat_was(&world, age));
        if ended {
            // It was only asleep, as with the whole machine, and wakes after the tick has seen it so.
            let mut poll = world.process(&["dev", "poll"]).env("RIG_ROOT", world.root.path()).spawn().unwrap();
            until("the tick has looked", || {
                let log = std::fs::read_to_string(world.root.path().join("state/log/rig.log")).unwrap_or_default();
                log.contains("it is looked at again").then_some(())
            });
            end(driver, "CONT");
            assert_eq!(poll.wait().unwrap().code(), Some(0));
            assert_eq!(world.drivers(), [driver], "who wakes is left alone");
            stop_between_two_writes(&world, driver, age);
        }
        let (code, lines) = world.json(&["dev", "poll"]);
        assert_eq!(code, 0, "{lines:?}");
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{driver}/stat")).unwrap_or_default();
            state.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
        };
        if ended {
            until("the silent driver is dead", || (!lives()).then_some(()));
        } else {
            assert!(lives());
            assert_eq!(world.drivers(), [driver], "nobody else is sent");
            let told = |line: &serde_json::Value| line["words"].to_string().contains("its driver is silent since");
            assert!(lines.iter().any(told), "{lines:?}");
        }
    }
    until("another driver leads", || world.runs(false).iter().any(|run| run["driver"] == "alive").then_some(()));
    assert_eq!(sessions_of(&world.root), sessions);
    let drivers = drivers_of(&world.root);
    assert!(drivers.len() == 1 && drivers[0] != driver, "{drivers:?}");
    end_all_of(&world.root);
}

/// Stops a driver where it holds nothing that would keep everybody from the store.
fn stop_between_two_writes(world: &World, driver: u32, age: &str) {
    until("the driver stands still between two writes", || {
        end(driver, "STOP");
        let done = beat_was(world, age);
        if done.is_none() {
            end(driver, "CONT");
        }
        done
    });
}

/// Makes the last sign of life of all drivers this old, unless somebody else writes: then it does nothing.
fn beat_was(world: &World, age: &str) -> Option<()> {
    // The lock by which rig orders its writers; SQLite's own alone would not show who has it and has not begun.
    let lock = std::fs::File::open(world.root.root().database().with_file_name("db.lock")).unwrap();
    fs2::FileExt::try_lock_exclusive(&lock).ok()?;
    let written = write_beat(world, age);
    // Closing it would do, but not while a child of this process is between its fork and its exec.
    fs2::FileExt::unlock(&lock).unwrap();
    written.ok()
}

fn write_beat(world: &World, age: &str) -> sqlx::Result<()> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(world.root.root().database())
        .busy_timeout(std::time::Duration::from_millis(200));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
        sqlx::query("UPDATE drivers SET beat_at = strftime('%Y-%m-%dT%H:%M:%f000000Z', 'now', $1)")
            .bind(age)
            .execute(&mut connection)
            .await
            .map(drop)
    })
}
