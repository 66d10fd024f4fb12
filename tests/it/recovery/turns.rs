//! Turns that end in other ways than by their own hook.

use super::{
    agent::{note, phase, plan, push, rule, run},
    world::{World, beside},
};
use jiff::{SignedDuration, Timestamp};
use rig::ports::store::Store;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_limit_is_waited_out_costs_nothing_and_holds_other_issues_back() {
    let reset = (Timestamp::now() + SignedDuration::from_secs(30)).as_second();
    let limit = json!({ "say": format!("Claude AI usage limit reached|{reset}") });
    let world = World::new(&plan(vec![
        rule("cut off by a usage limit", &[note("again"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), limit, json!({ "api_error": "rate_limit" })]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.until("the limit is known", || async { world.count("UsageLimited").await == 1 }).await;
        world.file_issue("Another task").await;
        world.poll().await;
        let decided = world.store.decisions(&"greeter".parse().unwrap(), Some(2), 1).await.unwrap();
        assert_eq!(decided.first().map(|row| row.code.as_str()), Some("usage_limit"), "{decided:?}");
        let status = world.rig(&["status"]).await;
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(shown.contains("usage limit, until"), "{shown}");
        world.owner_call("PATCH", "/issues/2", json!({ "state": "closed" })).await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 again"]);
    let used = world.run().await.unwrap().used;
    assert_eq!((used.strikes, used.respawns, used.turn_failures), (0, 0, 0));
    world.expect_log(&["the agent's usage limit is reached; it is over at", "the usage limit is over"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_breaks_a_turn_off_is_left_alone_and_goes_on_by_hand() {
    let mut plan = plan(vec![
        rule("now push it", &[note("by hand"), push("touch work.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), run("touch \"$NOTES/ready\""), json!("hang")]),
    ]);
    plan.idle_timeout = "28s";
    let world = World::new(&plan).await;
    let story = async {
        world.poll().await;
        world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
        world.tmux(&["send-keys", "-t", "=dev-greeter-1:", "Escape"]);
        world.until("it is noticed", || async { world.count("AgentFoundIdle").await == 1 }).await;
        let led = world.run().await.unwrap();
        assert!(led.hands_off_until.is_some() && led.used.strikes == 0, "{led:?}");
        assert_eq!(world.notes(), ["1 begun"], "nothing is typed into the person's hands");
        world.tmux(&["send-keys", "-t", "=dev-greeter-1:", "-l", "now push it"]);
        world.tmux(&["send-keys", "-t", "=dev-greeter-1:", "Enter"]);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 by hand"]);
    world.expect_log(&["broken off"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_account_asks_a_person_at_once() {
    let refused = [json!({ "say": "Your credit balance is too low" }), json!({ "api_error": "billing_error" })];
    let world = World::new(&plan(vec![rule("Title: Task", &refused)])).await;
    world.poll().await;
    world.until_stage("escalated").await;
    assert_eq!(world.count("SessionStarted").await, 1);
    world
        .expect_log(&["billing_error, Your credit balance is too low", "a person is asked: the agent's account"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_puts_the_protocol_back_and_is_in_the_log() {
    let world = World::new(&plan(vec![rule(
        "Title: Task",
        &[note("begun"), json!("compact"), push("touch work.txt"), phase("awaiting_ci", "")],
    )]))
    .await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    world.expect_log(&["the protocol was put back"]).await;
}

impl World {
    /// Sees that `rig phase log` tells of each of these.
    pub(crate) async fn expect_log(&self, words: &[&str]) {
        let output = self.rig(&["phase", "log", "1"]).await;
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        for words in words {
            assert!(log.contains(words), "{words:?} is not in\n{log}");
        }
    }
}

/// An agent that works long without a hook is alive as long as its transcript grows; when that ends, so does the patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcript_that_grows_is_a_sign_of_life() {
    let mut plan = plan(vec![rule("Title: Task", &[note("begun"), run("touch \"$NOTES/ready\""), json!("hang")])]);
    plan.idle_timeout = "6s";
    let world = World::new(&plan).await;
    world.poll().await;
    world.until("the agent works", || async { world.path("notes/ready").exists() }).await;
    let projects = world.path("agent/projects");
    let folders = std::fs::read_dir(&projects).unwrap().flatten();
    let mut files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    let transcript = files.find(|file| file.path().extension().is_some_and(|kind| kind == "jsonl")).unwrap().path();
    let began = std::time::Instant::now();
    world
        .until("three times its patience have passed", || async {
            let mut file = std::fs::OpenOptions::new().append(true).open(&transcript).unwrap();
            std::io::Write::write_all(&mut file, b"{}\n").unwrap();
            assert_eq!(world.count("AgentQuiet").await, 0);
            began.elapsed() > std::time::Duration::from_secs(18)
        })
        .await;
    world.until("its silence is noticed", || async { world.count("AgentQuiet").await == 1 }).await;
    world.expect_log(&["the agent gave no sign of life for"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_the_primary_branch_is_refused_told_and_the_agent_goes_on() {
    let world = World::new(&plan(vec![
        rule(
            "You stopped without writing a phase",
            &[note("thought better of it"), push("touch work.txt"), phase("awaiting_ci", "")],
        ),
        rule("Title: Task", &[note("begun"), run("git push origin HEAD:main"), note("it went through")]),
    ]))
    .await;
    let before = world.get("/branches/main").await["commit"]["id"].clone();
    let story = async {
        world.poll().await;
        world.until("the refusal is on record", || async { world.count("ToolRefused").await == 1 }).await;
        // It is on record before it is drawn, and may have left the screen by now.
        world
            .until("the agent's screen tells of it", || async {
                let screen = world.tmux(&["capture-pane", "-p", "-J", "-S", "-", "-t", "=dev-greeter-1:"]);
                String::from_utf8_lossy(&screen.stdout).contains("primary branch")
            })
            .await;
        assert_eq!(world.get("/branches/main").await["commit"]["id"], before);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| note != "1 passed").collect();
    assert_eq!(notes, ["1 begun", "1 thought better of it"]);
    assert_eq!(world.run().await.unwrap().used.strikes, 0);
    world.expect_log(&["the guard refused `git push origin HEAD:main`: rig refuses this:", "primary branch"]).await;
}
