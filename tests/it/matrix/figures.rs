//! How fast and how small. `scripts/figures --matrix` holds an optimised rig to what is wanted; here, where others share the machine
//! and nothing is optimised, what is printed is held to bounds that are missed only when something is wrong.

use super::{
    outages::{all_is_told_once, queue, waiting},
    world::MatrixWorld,
};
use crate::by_hand_support::until;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Threads of the many messages, with as many each as are not folded: a thousand.
const THREADS: u32 = 50;
const EACH: u32 = 20;
/// Longest time without one of them being sent; a bridge that was refused pauses for as long.
const STILL: Duration = Duration::from_secs(60);

/// Prints a figure for `scripts/figures`, with what is wanted.
#[expect(clippy::print_stderr, reason = "a figure is there to be read")]
fn figure(name: &str, value: impl std::fmt::Display, unit: &str, wanted: u64) {
    eprintln!("figure: {name};{value};{unit};{wanted}");
}

#[test]
fn messages_are_sent_at_once_and_replies_heard_at_once() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let millis = |lines: &[Value]| lines.last().unwrap()["millis"].as_u64().unwrap();
    let (_, lines) = matrix.world.json(&["matrix", "send", "first"]);
    figure("a message, with the start of the bridge", millis(&lines), "ms", 5_000);
    let mut up = Vec::new();
    for number in 0..5 {
        let (_, lines) = matrix.world.json(&["matrix", "send", &format!("message {number}")]);
        up.push(millis(&lines));
    }
    up.sort_unstable();
    figure("a message when all is up, median of 5", up[2], "ms", 500);
    assert!(up[2] < 3_000, "{up:?}");

    let issue = matrix.world.issue("Ask quickly", "Please.", &["backlog"]);
    matrix.poll();
    matrix.until_told("which port?");
    let root = matrix.thread(issue);
    let asked = Instant::now();
    matrix.ann.reply(&matrix.room, &root, "use port 8080");
    let inbox = matrix.world.root.path().join(format!("state/run/widget/{issue}/inbox"));
    until("the session has it", || {
        let files = std::fs::read_dir(&inbox).into_iter().flatten().flatten();
        files.into_iter().find(|file| std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains("8080")))
    });
    let heard = asked.elapsed();
    figure("a reply until it is in the session's inbox", heard.as_millis(), "ms", 1_000);
    assert!(heard < Duration::from_secs(10), "{heard:?}");

    let id = matrix.bridge().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let of = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    figure("the bridge's resident memory", of("VmRSS") / 1024, "MB", 60);
    assert!(of("RssAnon") / 1024 < 60, "{status}");
}

#[test]
fn a_thousand_messages_over_many_threads_are_sent_in_order_without_loss() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    queue(&matrix, THREADS, EACH);
    let began = Instant::now();
    // However busy the machine is, it gets on. Not looked at too often: that would be measured too.
    let (mut left, mut since) = (waiting(&matrix), Instant::now());
    while left > 0 {
        std::thread::sleep(Duration::from_millis(100));
        let now = waiting(&matrix);
        if now < left {
            (left, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < STILL, "{left} are not sent");
    }
    figure("a thousand messages over fifty threads", format!("{:.1}", began.elapsed().as_secs_f64()), "s", 120);
    all_is_told_once(&matrix, THREADS, EACH);
}
