//! `rig cron`, with a crontab program that keeps its table in a file and is as strict as Debian's.

use crate::root_support::{GOOD, TestRoot};
use predicates::{prelude::*, str::contains};
use std::{os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

/// A root, and a folder with the program.
struct Place {
    root: TestRoot,
    bin: PathBuf,
    table: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::at(TestRoot::new())
    }

    fn at(root: TestRoot) -> Self {
        let (bin, table) = (root.home().join("bin"), root.home().join("table"));
        std::fs::create_dir_all(&bin).unwrap();
        let script = format!(
            "#!/bin/sh\ntable='{}'\ncase $1 in\n\
             -l) if [ -e \"$table\" ]; then exec cat \"$table\"; fi; echo \"no crontab for $(id -un)\" >&2; exit 1 ;;\n\
             -) cat > \"$table.new\"\n\
             if [ -s \"$table.new\" ] && [ -n \"$(tail -c 1 \"$table.new\")\" ]; then\n\
             echo 'new crontab file is missing newline before EOF, can'\"'\"'t install.' >&2; exit 1; fi\n\
             mv \"$table.new\" \"$table\" ;;\n*) echo usage >&2; exit 1 ;;\nesac\n",
            table.display()
        );
        for (name, text) in [("crontab", script.as_str()), ("claude", "#!/bin/sh\n")] {
            std::fs::write(bin.join(name), text).unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { root, bin, table }
    }

    fn rig(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = self.root.rig(args);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()));
        command
    }

    fn table(&self) -> Vec<u8> {
        std::fs::read(&self.table).unwrap_or_default()
    }

    /// The installed line that calls rig.
    fn line(&self) -> String {
        let output = self.rig(&["cron", "show"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| !line.starts_with('#')).unwrap().to_owned()
    }

    /// Runs the installed command as cron does: `%` taken back, a bare environment, `sh -c`.
    fn as_cron(&self) -> i32 {
        let line = self.line();
        let command = line.splitn(6, ' ').nth(5).unwrap().replace(r"\%", "%");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).env_clear().env("HOME", self.root.home()).env("PATH", "/usr/bin:/bin");
        shell.current_dir("/").status().unwrap().code().unwrap()
    }
}

#[test]
fn installing_twice_and_removing_leaves_all_other_lines_as_they_are() {
    let place = Place::new();
    let others: [&[u8]; 3] = [b"# mine\r\nMAILTO=ann\n\n5 4 * * * backup\n", b"", b"# caf\xe9\n* * * * * no-end"];
    for other in others {
        std::fs::write(&place.table, other).unwrap();
        place.rig(&["cron", "install"]).assert().success().stdout(contains("every ten minutes"));
        let installed = place.table();
        assert!(installed.starts_with(other));
        place.rig(&["cron", "install"]).assert().success().stdout(contains("already"));
        assert_eq!(place.table(), installed);
        place.rig(&["cron", "remove"]).assert().success();
        let mut left = other.to_vec();
        if left.last().is_some_and(|last| *last != b'\n') {
            left.push(b'\n');
        }
        assert_eq!(place.table(), left);
        place.rig(&["cron", "remove"]).assert().success().stdout(contains("no line of this root"));
    }
}

#[test]
fn the_line_works_under_cron_with_blanks_percents_and_quotes_in_its_paths() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("it's 100% my rig");
    for name in ["projects", "state"] {
        std::fs::create_dir_all(odd.join(name)).unwrap();
    }
    let place = Place::new();
    let odd_text = odd.to_str().unwrap();
    std::fs::write(odd.join("projects/broken.toml"), "colour = 'red'\n").unwrap();
    let rig = |args: &[&str]| {
        let mut command = place.rig(args);
        command.env("RIG_ROOT", odd_text).env("XDG_STATE_HOME", folder.path().join("state home"));
        command
    };
    rig(&["dev", "start"]).assert().success();
    rig(&["cron", "install"]).assert().success();
    let output = rig(&["cron", "show"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(line.contains(r"100\% my rig") && line.contains("XDG_STATE_HOME="), "{line}");
    let minutes: Vec<u32> = line.split(' ').next().unwrap().split(',').map(|minute| minute.parse().unwrap()).collect();
    assert!(minutes.len() == 6 && minutes.windows(2).all(|pair| pair[1] - pair[0] == 10) && minutes[5] < 60);
    let command = line.splitn(6, ' ').nth(5).unwrap().replace(r"\%", "%");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &command]).env_clear().env("HOME", place.root.home()).env("PATH", "/usr/bin:/bin");
    assert_eq!(shell.current_dir("/").status().unwrap().code(), Some(1), "the broken project is the user's to mend");
    let log = odd.join("state/log/cron.log");
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("unknown key `colour`"), "{said}");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_tick_under_cron_finds_what_is_found_now_and_is_quiet() {
    let place = Place::new();
    place.root.env_file("", 0o600);
    place.rig(&["cron", "install"]).assert().success().stderr(contains("the dev loop is off"));
    let line = place.line();
    let path = format!("PATH={}:/usr/bin:/bin:/usr/local/bin ", place.bin.display());
    assert!(line.contains(&path) && line.contains(&format!("RIG_ROOT={}", place.root.path().display())), "{line}");
    assert_eq!(place.as_cron(), 0);
    // Only that the loop is off is worth a word, and the log is kept within bounds.
    let log = place.root.path().join("state/log/cron.log");
    assert!(std::fs::read_to_string(&log).unwrap().contains("the dev loop is off"));
    place.rig(&["dev", "start"]).assert().success();
    std::fs::write(&log, "").unwrap();
    assert_eq!(place.as_cron(), 0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
}

#[test]
fn what_only_this_environment_has_is_named_and_never_its_value() {
    let place = Place::new();
    place
        .root
        .project("widget", &format!("{GOOD}review_token_env = \"REVIEW_TOKEN\"\n[agent]\nenv_allow = [\"API_KEY\"]\n"));
    place.root.env_file("REVIEW_TOKEN=in-the-file\n", 0o600);
    let mut command = place.rig(&["cron", "install", "--dry-run"]);
    command.env("FORGE_TOKEN", "hunter2-token").env("API_KEY", "hunter2-key").env("REVIEW_TOKEN", "hunter2-review");
    let assert = command.assert().success();
    let said = contains("API_KEY, FORGE_TOKEN;").and(contains("state/env")).and(contains("chmod 600"));
    assert.stderr(said.and(contains("REVIEW_TOKEN").not()).and(contains("hunter2").not())).stdout(contains("dev poll"));
    assert!(!place.table.exists(), "a dry run writes nothing");
    let output = place.rig(&["cron", "install", "--dry-run", "--json"]).env("FORGE_TOKEN", "hunter2").output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["only_in_this_environment"], serde_json::json!(["FORGE_TOKEN"]), "{document}");
    assert_eq!((&document["dry_run"], &document["changed"]), (&true.into(), &serde_json::Value::Null));
}

#[test]
fn the_blocks_of_two_roots_stand_side_by_side_and_a_torn_one_is_refused() {
    let (one, two) = (Place::new(), TestRoot::new());
    one.rig(&["cron", "install"]).assert().success();
    let alone = one.table();
    let other = two.path();
    one.rig(&["cron", "install"]).env("RIG_ROOT", &other).assert().success();
    assert!(one.table().starts_with(&alone));
    one.rig(&["cron", "show"]).env("RIG_ROOT", &other).assert().stdout(contains(other.to_str().unwrap()));
    one.rig(&["cron", "remove"]).env("RIG_ROOT", &other).assert().success();
    assert_eq!(one.table(), alone);
    one.rig(&["cron", "show"])
        .env("RIG_ROOT", &other)
        .assert()
        .success()
        .stdout("")
        .stderr(contains("rig cron install"));

    let torn = [&alone[..], format!("# rig begin {}\n", other.display()).as_bytes()].concat();
    std::fs::write(&one.table, &torn).unwrap();
    for command in ["install", "show", "remove"] {
        one.rig(&["cron", command]).env("RIG_ROOT", &other).assert().code(1).stderr(contains("crontab -e"));
    }
    assert_eq!(one.table(), torn);
}

#[test]
fn a_machine_without_cron_and_a_user_who_may_not_are_told_what_to_do() {
    let place = Place::new();
    let empty = place.root.home().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for command in ["install", "show", "remove"] {
        let mut without = place.rig(&["cron", command]);
        without.env("PATH", &empty).assert().code(1).stderr(contains("apt-get install cron"));
    }
    std::fs::write(
        place.bin.join("crontab"),
        "#!/bin/sh\necho 'you are not allowed to use this program' >&2; exit 1\n",
    )
    .unwrap();
    place.rig(&["cron", "install"]).assert().code(3).stderr(contains("not allowed").and(contains("/etc/cron.allow")));
}

/// Debian's cron starts a tick. Takes up to a minute, and writes into the crontab of the user who runs it, so it is asked for by
/// `RIG_TEST_CRON=1`, as `.ci/run` does; whatever stood there before is put back.
#[test]
fn the_real_cron_starts_a_tick() {
    if std::env::var_os("RIG_TEST_CRON").is_none() {
        return;
    }
    let before = Command::new("crontab").arg("-l").output().unwrap();
    let _restore = Restore(before.status.success().then_some(before.stdout));
    let root = TestRoot::new();
    root.project("broken", "colour = 'red'\n");
    root.rig(&["dev", "start"]).assert().success();
    root.rig(&["cron", "install"]).assert().success();
    // Every minute, so that the test takes one.
    let table = Command::new("crontab").arg("-l").output().unwrap().stdout;
    let table = String::from_utf8(table).unwrap();
    let minutes = table.lines().find_map(|line| line.split_once(" * * * * /usr/bin/env")).unwrap().0.to_owned();
    write_table(table.replace(&format!("{minutes} * * * * "), "* * * * * ").as_bytes());
    let mut cron = Command::new("cron").arg("-f").spawn().unwrap();
    let log = root.path().join("state/log/cron.log");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(150);
    let said = loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if said.contains('\n') || std::time::Instant::now() > deadline {
            break said;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let _ = cron.kill();
    let _ = cron.wait();
    assert!(said.contains("unknown key `colour`"), "{said}");
    root.rig(&["cron", "remove"]).assert().success();
}

struct Restore(Option<Vec<u8>>);

impl Drop for Restore {
    fn drop(&mut self) {
        match &self.0 {
            Some(table) => write_table(table),
            None => drop(Command::new("crontab").arg("-r").status()),
        }
    }
}

fn write_table(table: &[u8]) {
    use std::io::Write;
    let mut child = Command::new("crontab").arg("-").stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(table).unwrap();
    assert!(child.wait().unwrap().success());
}
