//! The driver is killed, again and again; the next tick goes on.

use super::{
    DEADLINE,
    world::{Plan, World},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An agent whose first push breaks CI; it repairs that, and does what the reviewer asks for. Each thing is noted.
pub(super) fn diligent(review_round: bool) -> Plan {
    let note = |what: &str| json!({ "run": format!("echo \"$RIG_ATTEMPT {what}\" >> \"$NOTES/done\"") });
    let phase = |phase: &str| json!({ "run": format!("echo PHASE:{phase} > \"$PHASE_FILE\"") });
    let push = |what: &str| json!({ "run": format!("{what} && git add -A && git commit -qm 'A change' && git push -q -u origin HEAD") });
    let rule =
        |contains: &str, actions: Vec<Value>| json!({ "contains": contains, "repeat": true, "actions": actions });
    let first = if review_round { "touch broken work.txt" } else { "touch work.txt" };
    Plan {
        script: json!({ "version": 1, "rules": [
            rule("CI passed at", vec![note("passed"), phase("awaiting_review")]),
            rule("CI failed at", vec![note("failed"), push("git rm -q broken && echo repaired >> work.txt"), phase("awaiting_ci")]),
            rule("asks for changes", vec![note("changes"), push("echo changed >> work.txt"), phase("awaiting_ci")]),
            rule("Title: Task", vec![note("begun"), push(first), phase("awaiting_ci")]),
        ]}),
        config: String::new(),
        issues: 1,
    }
}

/// Runs a future beside another that never ends.
pub(super) async fn beside<T>(main: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    tokio::select! {
        result = main => result,
        () = other => unreachable!("it works for ever"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_is_merged_after_red_ci_and_a_review_round() {
    let world = World::new(&diligent(true)).await;
    beside(
        async {
            assert_eq!(world.poll().await, 0);
            world.expect_merged().await;
        },
        world.reviewing(&["REQUEST_CHANGES", "APPROVED"]),
    )
    .await;
    assert_eq!(world.count("SessionStarted").await, 1);
    expect_done_once(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_killed_after_every_single_event_still_finishes() {
    let world = World::new(&diligent(true)).await;
    beside(
        async {
            let deadline = Instant::now() + DEADLINE;
            let (mut seen, mut kills) = (0, 0);
            while world.stage().await != "merged" {
                world.poll().await;
                // A driver that lives is killed as soon as it has written anything.
                while world.journal().await.len() == seen {
                    assert!(Instant::now() < deadline, "nothing more happens\n{}", world.story().await);
                    if world.drivers().is_empty() {
                        world.poll().await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                kills += u32::from(world.kill_drivers().await);
                seen = world.journal().await.len();
                assert!(Instant::now() < deadline, "it is not done\n{}", world.story().await);
            }
            world.poll().await;
            world.expect_merged().await;
            // Not every event is followed by a kill: a driver may end by itself, or write two before it is seen.
            assert!(kills > 15, "only {kills} kills in {seen} events");
        },
        world.reviewing(&["REQUEST_CHANGES", "APPROVED"]),
    )
    .await;
    assert_eq!(world.count("SessionStarted").await, 1);
    expect_done_once(&world);
}

/// The agent was told each thing once, in one attempt. That CI passed is told too, but a merge may come first.
pub(super) fn expect_done_once(world: &World) {
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 failed", "1 changes"], "the agent did other things");
}
