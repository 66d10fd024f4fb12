//! The CI providers: a command in a real checkout, and the statuses that others post.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use crate::{git_world::World, status_board::StatusBoard};
use rig::{
    adapters::ci::{ForgeStatusCi, ForgeStatusPlan, LocalCi, LocalCiPlan, NoCi},
    domain::{
        ci::{CiVerdict, FailedStep},
        ids::Sha,
        pull_request::{Protection, StatusState},
    },
    ports::{ci::Ci, clock::Clock},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// Bound of what must happen soon; only a failing test waits for it.
const SOON: Duration = Duration::from_secs(30);

fn local(world: &World, board: &Arc<StatusBoard>, command: &str, timeout: Duration) -> LocalCi {
    let plan = LocalCiPlan {
        command: command.into(),
        timeout,
        env_allow: Vec::new(),
        log_url: "https://logs.example.org/{sha}.log".into(),
        log_dir: world.path().join("state/ci/demo"),
        redact: Arc::new(|text| text.replace("hunter2", "[redacted]")),
    };
    LocalCi::new(plan, Arc::new(world.workspace()), board.clone())
}

fn only_step(verdict: CiVerdict) -> FailedStep {
    match verdict {
        CiVerdict::Red { mut steps } if steps.len() == 1 => steps.remove(0),
        other => panic!("{other:?}"),
    }
}

fn checkouts(world: &World) -> usize {
    fs::read_dir(world.git_dir().join("checkouts")).unwrap().count()
}

#[tokio::test]
async fn a_command_that_succeeds_is_green_and_says_so_on_the_forge() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.push_to_remote("fix/issue-1", "x.txt", "x");
    let ci = local(&world, &board, "test -f x.txt && test \"$(git rev-parse HEAD)\" != '' && echo fine", SOON);
    assert!(ci.runs_here());
    assert_eq!(ci.run(&head).await.unwrap(), CiVerdict::Green);
    assert_eq!(board.states(&head), [StatusState::Pending, StatusState::Success]);
    assert_eq!(checkouts(&world), 0);
    let log = world.path().join(format!("state/ci/demo/{head}.log"));
    assert_eq!(fs::read_to_string(&log).unwrap().trim(), "fine");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_command_that_fails_is_red_with_the_end_of_its_log() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    let command = r"echo first; printf '\033[31merror\033[0m: hunter2\n 1%%\r99%%\n' >&2; echo last; exit 3";
    let step = only_step(local(&world, &board, command, SOON).run_for(&head, 17).await.unwrap());
    assert_eq!((step.exit_code, step.log_tail.as_str()), (Some(3), "first\nerror: [redacted]\n99%\nlast"));
    assert!(step.name.starts_with("echo first") && !step.name.contains("hunter2"), "{}", step.name);
    assert!(!fs::read_to_string(&step.link).unwrap().contains("hunter2"));
    assert_eq!(board.states(&head), [StatusState::Pending, StatusState::Failure]);
    let posted = board.posted.lock().unwrap()[1].1.clone();
    assert!(posted.description.contains("exit code 3 (the log: rig logs 17 --ci)"), "{}", posted.description);
    assert_eq!(posted.target_url, format!("https://logs.example.org/{head}.log"));
}

#[tokio::test]
async fn a_command_that_hangs_is_red_and_leaves_no_process() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    let pids = world.path().join("pids");
    // One child in the process group, one that has left it.
    let command = format!(
        "echo started; sleep 300 & echo $! >> '{0}'; setsid sh -c 'echo $$ >> \"{0}\"; exec sleep 300' & \
         until [ $(wc -l < '{0}') -ge 2 ]; do :; done; wait",
        pids.display()
    );
    let step = only_step(local(&world, &board, &command, Duration::from_secs(10)).run(&head).await.unwrap());
    assert!(step.name.contains("did not end within 10 s"), "{}", step.name);
    assert_eq!((step.exit_code, step.log_tail.as_str()), (None, "started"));
    assert_eq!((checkouts(&world), board.states(&head)), (0, vec![StatusState::Pending, StatusState::Failure]));
    let started = fs::read_to_string(&pids).unwrap();
    assert_eq!(started.lines().count(), 2);
    let deadline = Instant::now() + SOON;
    for pid in started.lines() {
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "process {pid} lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn is_alive(pid: &str) -> bool {
    // An ended process that nobody has waited for is dead all the same.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_fault_of_the_machine_is_not_the_codes() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    for command in ["kill -9 $$", "exit 137", "kill -TERM $$"] {
        let verdict = local(&world, &board, command, SOON).run(&head).await.unwrap();
        assert!(matches!(verdict, CiVerdict::Broken { .. }), "{command}: {verdict:?}");
    }
    assert_eq!(board.states(&head).last(), Some(&StatusState::Error));
    let unknown: Sha = "1234567890123456789012345678901234567890".parse().unwrap();
    let verdict = local(&world, &board, "true", SOON).run(&unknown).await.unwrap();
    assert!(matches!(&verdict, CiVerdict::Broken { why } if why.contains("1234567890")), "{verdict:?}");
}

#[tokio::test]
async fn the_command_sees_next_to_nothing_of_the_environment() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    let command = "env | cut -d= -f1 | sort | tr '\\n' ' '; cat < /dev/stdin; exit 1";
    let step = only_step(local(&world, &board, command, SOON).run(&head).await.unwrap());
    let known = ["CI", "GIT_TERMINAL_PROMPT", "HOME", "LANG", "OLDPWD", "PATH", "PWD", "RIG_CHECKOUT", "SHLVL", "_"];
    let others: Vec<&str> = step.log_tail.split_whitespace().filter(|name| !known.contains(name)).collect();
    assert_eq!(others, [""; 0]);
    assert!(step.log_tail.contains("CI ") && step.log_tail.contains("PATH "), "{}", step.log_tail);
}

#[tokio::test]
async fn a_forge_that_takes_no_status_decides_nothing() {
    let world = World::new();
    let board = Arc::new(StatusBoard { down: true, ..StatusBoard::default() });
    let head = world.remote_tip("main").unwrap();
    assert_eq!(local(&world, &board, "true", SOON).run(&head).await.unwrap(), CiVerdict::Green);
}

#[tokio::test]
async fn the_run_after_a_kill_clears_what_the_killed_one_left() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    let stale = world.git_dir().join(format!("checkouts/{}.{}-1.0", head.short(), std::process::id()));
    fs::create_dir_all(stale.join("sub")).unwrap();
    // A command of the killed run that goes on in its checkout.
    let mut orphan =
        std::process::Command::new("sleep").arg("300").env("RIG_CHECKOUT", &stale).current_dir(&stale).spawn().unwrap();
    assert_eq!(local(&world, &board, "true", SOON).run(&head).await.unwrap(), CiVerdict::Green);
    assert_eq!(checkouts(&world), 0);
    let ended = orphan.wait().unwrap();
    assert!(!ended.success());
}

#[tokio::test]
async fn a_run_that_is_dropped_ends_its_command() {
    let world = World::new();
    let board = Arc::new(StatusBoard::default());
    let head = world.remote_tip("main").unwrap();
    let pid_file = world.path().join("pid");
    let ci = local(&world, &board, &format!("echo $$ > '{}'; sleep 300; true", pid_file.display()), SOON * 10);
    let task = tokio::spawn(async move { ci.run(&head).await });
    let deadline = Instant::now() + SOON;
    let pid = loop {
        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "the command did not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    while is_alive(&pid) {
        assert!(Instant::now() < deadline, "the command lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // On a thread of its own: whoever drops it does not wait.
    while checkouts(&world) > 0 {
        assert!(Instant::now() < deadline, "its checkout stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A clock that is set by hand.
#[derive(Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

/// CI by statuses with its file in a temporary folder.
struct Statuses {
    board: Arc<StatusBoard>,
    folder: tempfile::TempDir,
    clock: Arc<HandClock>,
}

impl Statuses {
    fn new(board: StatusBoard) -> Self {
        Self { board: Arc::new(board), folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ci/demo/contexts.json")
    }

    /// Returns the provider as a process that has just begun makes it.
    fn ci(&self, required_contexts: &[&str]) -> ForgeStatusCi {
        let plan = ForgeStatusPlan {
            stale: None,
            required_contexts: required_contexts.iter().map(|name| (*name).to_owned()).collect(),
            primary_branch: "main".into(),
            contexts_file: self.file(),
        };
        ForgeStatusCi::new(plan, self.board.clone(), self.clock.clone())
    }

    async fn verdict(&self, head: &Sha) -> CiVerdict {
        self.ci(&[]).run(head).await.unwrap()
    }

    /// Moves the primary branch to a commit that shows these, all successful.
    fn merged(&self, tip: &Sha, contexts: &[&str]) {
        *self.board.primary_tip.lock().unwrap() = Some(tip.clone());
        contexts.iter().for_each(|context| self.board.put(tip, context, StatusState::Success));
    }
}

fn sha(letter: char) -> Sha {
    letter.to_string().repeat(40).parse().unwrap()
}

fn missing(names: &[&str]) -> CiVerdict {
    CiVerdict::Pending { missing: names.iter().map(|name| (*name).to_owned()).collect() }
}

#[tokio::test]
async fn required_contexts_come_from_the_settings_then_protection_then_what_was_seen() {
    let world = Statuses::new(StatusBoard::default());
    let head = sha('a');
    world.board.put(&head, "test", StatusState::Success);
    assert!(!world.ci(&[]).runs_here());
    // None ever seen, with and without a primary branch.
    assert!(world.verdict(&head).await.is_no_check_known());
    world.merged(&sha('b'), &[]);
    assert!(world.verdict(&head).await.is_no_check_known());
    world.merged(&sha('b'), &["test", "lint"]);
    assert_eq!(world.verdict(&head).await, missing(&["lint"]));
    // What the branch demands comes before what was seen, the settings before both.
    let required_contexts = vec!["te*".to_owned()];
    *world.board.protection.lock().unwrap() = Some(Protection { required_contexts, ..Protection::default() });
    assert_eq!(world.verdict(&head).await, CiVerdict::Green);
    assert_eq!(world.ci(&["deploy"]).run(&head).await.unwrap(), missing(&["deploy"]));
}

#[tokio::test]
async fn what_was_seen_of_pushes_is_compared_with_what_pull_requests_show() {
    let world = Statuses::new(StatusBoard::default());
    let head = sha('a');
    let (push, pull_request) = ("CI / test (push)", "CI / test (pull_request)");
    world.merged(&sha('b'), &[push]);
    assert_eq!(world.verdict(&head).await, missing(&[push]));
    world.board.put(&head, pull_request, StatusState::Success);
    assert_eq!(world.verdict(&head).await, CiVerdict::Green);
    // Who names a check means that one and no other.
    assert_eq!(world.ci(&[push]).run(&head).await.unwrap(), missing(&[push]));
    world.board.put(&head, push, StatusState::Success);
    world.board.put(&head, pull_request, StatusState::Failure);
    assert!(matches!(world.verdict(&head).await, CiVerdict::Red { .. }));
    assert_eq!(world.ci(&[push]).run(&head).await.unwrap(), CiVerdict::Green);
    let required_contexts = vec![push.to_owned()];
    *world.board.protection.lock().unwrap() = Some(Protection { required_contexts, ..Protection::default() });
    assert_eq!(world.verdict(&head).await, CiVerdict::Green);
}

#[tokio::test]
async fn a_check_that_is_pending_for_too_long_is_the_machinerys_fault() {
    let world = Statuses::new(StatusBoard::default());
    let head = sha('a');
    world.board.put(&head, "test", StatusState::Pending);
    world.board.posted.lock().unwrap()[0].1.changed_at = Some(jiff::Timestamp::UNIX_EPOCH);
    let ask = async |minute: i64, stale: Option<i64>| {
        world.clock.0.store(minute * 60, Ordering::Relaxed);
        let plan = ForgeStatusPlan {
            stale: stale.map(jiff::SignedDuration::from_mins),
            required_contexts: vec!["test".into()],
            primary_branch: "main".into(),
            contexts_file: world.file(),
        };
        ForgeStatusCi::new(plan, world.board.clone(), world.clock.clone()).run(&head).await.unwrap()
    };
    assert_eq!(ask(60, Some(60)).await, missing(&["test"]));
    assert_eq!(ask(10_000, None).await, missing(&["test"]));
    let lost = ask(61, Some(60)).await;
    assert!(matches!(&lost, CiVerdict::Broken { why } if why.contains("more than 60 minutes")), "{lost:?}");
    world.board.put(&head, "test", StatusState::Success);
    assert_eq!(ask(10_000, Some(60)).await, CiVerdict::Green, "a late answer is an answer");
}

#[tokio::test]
async fn a_fresh_merge_makes_no_check_forgotten_even_by_a_new_process() {
    let world = Statuses::new(StatusBoard::default());
    let head = sha('a');
    world.board.put(&head, "lint", StatusState::Success);
    world.merged(&sha('b'), &["lint", "test"]);
    assert_eq!(world.verdict(&head).await, missing(&["test"]));
    world.merged(&sha('c'), &[]);
    assert_eq!(world.verdict(&head).await, missing(&["test"]));
    world.merged(&sha('c'), &["lint"]);
    assert_eq!(world.verdict(&head).await, missing(&["test"]));
    assert_eq!(fs::metadata(world.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_first_tip_is_waited_for_until_all_that_it_shows_has_ended() {
    let world = Statuses::new(StatusBoard::default());
    let (head, tip) = (sha('a'), sha('b'));
    world.board.put(&head, "lint", StatusState::Success);
    world.merged(&tip, &[]);
    world.board.put(&tip, "lint", StatusState::Pending);
    let verdict = world.verdict(&head).await;
    assert!(matches!(&verdict, CiVerdict::Pending { .. }) && !verdict.is_no_check_known(), "{verdict:?}");
    world.board.put(&tip, "lint", StatusState::Success);
    assert_eq!(world.verdict(&head).await, CiVerdict::Green);
}

#[tokio::test]
async fn a_removed_check_does_not_block_for_ever_and_a_late_one_is_not_removed() {
    for late in [false, true] {
        let world = Statuses::new(StatusBoard::default());
        let head = sha('a');
        world.board.put(&head, "lint", StatusState::Success);
        world.merged(&sha('b'), &["lint", "old"]);
        assert_eq!(world.verdict(&head).await, missing(&["old"]));
        for tip in ['c', 'd', 'e'] {
            world.merged(&sha(tip), &["lint"]);
            assert_eq!(world.verdict(&head).await, missing(&["old"]));
        }
        if late {
            // It turns up on a tip that is no longer the newest.
            world.board.put(&sha('d'), "old", StatusState::Pending);
        }
        world.clock.0.fetch_add(3_600, Ordering::Relaxed);
        let expected = if late { missing(&["old"]) } else { CiVerdict::Green };
        assert_eq!(world.verdict(&head).await, expected);
        assert_eq!(world.verdict(&head).await, expected);
    }
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let world = Statuses::new(StatusBoard::default());
    let head = sha('a');
    world.board.put(&head, "lint", StatusState::Success);
    world.merged(&sha('b'), &["lint"]);
    assert_eq!(world.verdict(&head).await, CiVerdict::Green);
    let stored = fs::read_to_string(world.file()).unwrap();
    let newer = stored.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(stored, newer);
    for (text, says) in [(newer.as_str(), "newer rig"), ("{", "is damaged"), ("", "is damaged")] {
        fs::write(world.file(), text).unwrap();
        let error = world.ci(&[]).run(&head).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(fs::read_to_string(world.file()).unwrap(), text);
    }
    // The format of version 1, as it was first written.
    let old = r#"{"version":1,"contexts":{"lint":[],"x":[{"tip":"TIP","since":"2026-01-02T03:04:05Z"}]}}"#;
    fs::write(world.file(), old.replace("TIP", sha('b').as_str())).unwrap();
    assert_eq!(world.verdict(&head).await, missing(&["x"]));
}

#[tokio::test]
async fn a_forge_that_does_not_answer_is_unknown_and_never_green() {
    let world = Statuses::new(StatusBoard { down: true, ..StatusBoard::default() });
    for required in [&["test"][..], &[]] {
        let error = world.ci(required).run(&sha('a')).await.unwrap_err();
        assert!(error.to_string().contains("it is down"), "{error}");
    }
    assert_eq!(NoCi.run(&sha('a')).await.unwrap(), CiVerdict::Green);
}
