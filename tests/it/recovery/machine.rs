//! What befalls the machine and what is on its disk.

use super::{
    agent::{note, phase, plan, push, quick, rule, run},
    world::{World, beside},
};
use serde_json::json;

const WORK: &str = "echo precious > work.txt && git add -A && git commit -qm Unpushed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_the_machine_cost_nothing_and_the_agents_session_goes_on() {
    let begin = [note("begun"), run(WORK), run("touch \"$NOTES/ready\""), json!("hang")];
    let world = World::new(&plan(vec![
        json!({ "turn": 3, "actions": [note("third"), push("touch more.txt"), phase("awaiting_ci", "")] }),
        json!({ "turn": 2, "actions": [note("second"), run("touch \"$NOTES/again\""), json!("hang")] }),
        rule("Title: Task", &begin),
    ]))
    .await;
    let restart = |boot: &'static str| {
        let world = &world;
        async move {
            world.kill_drivers().await;
            world.tmux(&["kill-server"]);
            std::fs::write(world.path("boot"), boot).unwrap();
            world.poll().await;
        }
    };
    let story = async {
        std::fs::write(world.path("boot"), "one").unwrap();
        world.poll().await;
        world.until_it_works("notes/ready", 1).await;
        restart("two").await;
        world.until_it_works("notes/again", 2).await;
        restart("three").await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| !note.ends_with("passed")).collect();
    assert_eq!(notes, ["1 begun", "2 second", "3 third"]);
    let led = world.run().await.unwrap();
    assert_eq!((led.used.strikes, led.used.respawns, led.agent_session.0), (0, 0, 1));
    world.expect_log(&["the machine was restarted"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_resumed_begins_afresh_once() {
    let world = World::new(&plan(vec![
        rule("This is a new attempt", &[note("afresh"), push("touch more.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), run(WORK), run("touch \"$NOTES/ready\""), json!("hang")]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.until_it_works("notes/ready", 1).await;
        world.kill_drivers().await;
        world.tmux(&["kill-server"]);
        // With its transcripts the program has forgotten the session.
        std::fs::remove_dir_all(world.path("agent")).unwrap();
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| !note.ends_with("passed")).collect();
    assert_eq!(notes, ["1 begun", "3 afresh"], "attempt 2 resumed in vain");
    let led = world.run().await.unwrap();
    assert_eq!((led.used.strikes, led.resume_failed, led.attempt.0), (1, true, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worktree_removed_by_hand_is_made_anew_with_its_commits() {
    let look = "git log -1 --format=%s | grep -q Unpushed && test -f work.txt";
    let world = World::new(&plan(vec![
        rule("This is a new attempt", &[run(look), note("again"), push("touch more.txt"), phase("awaiting_ci", "")]),
        rule("Title: Task", &[note("begun"), run(WORK), run("touch \"$NOTES/ready\""), json!("hang")]),
    ]))
    .await;
    let story = async {
        world.poll().await;
        world.until_it_works("notes/ready", 1).await;
        world.kill_drivers().await;
        world.tmux(&["kill-server"]);
        std::fs::remove_dir_all(world.worktree()).unwrap();
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let content = crate::forge_support::git(&world.path("mirror.git"), &["show", "main:work.txt"]);
    assert_eq!(String::from_utf8_lossy(&content.stdout), "precious\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phase_file_that_was_deleted_is_read_again_when_it_is_back() {
    let world = World::new(&plan(vec![rule(
        "Title: Task",
        &[note("begun"), run("rm -f \"$PHASE_FILE\""), push("touch work.txt"), phase("awaiting_ci", "")],
    )]))
    .await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.count("SessionStarted").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_a_person_overwrites_is_judged_anew_and_the_agents_work_is_kept() {
    let world = World::new(&quick()).await;
    world.poll().await;
    world.until_stage("awaiting_review").await;
    let of_agent = world.run().await.unwrap().head.unwrap();
    let checkout = world.clone_as_owner();
    checkout.run(&["checkout", "--quiet", "-b", "other", "origin/main"]);
    let head = checkout.commit("human.txt", "mine\n", "Done otherwise");
    checkout.run(&["push", "--quiet", "--force", "origin", "other:fix/issue-1"]);
    world
        .until("CI has passed at the new head", || async {
            world.run().await.unwrap().green_at.is_some_and(|green| green.as_str() == head)
        })
        .await;
    beside(world.expect_merged(), world.reviewing(&["APPROVED"])).await;
    let merged = crate::forge_support::git(&world.path("mirror.git"), &["ls-tree", "--name-only", "main"]);
    let merged = String::from_utf8_lossy(&merged.stdout).into_owned();
    assert!(merged.contains("human.txt") && !merged.contains("work.txt"), "{merged}");
    let rescued = world.rescued();
    assert_eq!(rescued.len(), 1, "{rescued:?}");
    assert_eq!(world.rig_git(&["rev-parse", &rescued[0]]).trim(), of_agent.as_str());
    let branch = rescued[0].trim_start_matches("refs/heads/");
    let on_forge = world.get(&format!("/branches/{branch}")).await["commit"]["id"].clone();
    assert_eq!(on_forge, of_agent.as_str(), "it is on the forge, too");
}

impl World {
    /// Waits until the agent has made a file, and until the start of its session is on record: a start that is not is made again.
    async fn until_it_works(&self, file: &str, sessions: usize) {
        self.until("the agent works", || async {
            self.path(file).exists() && self.count("SessionStarted").await == sessions
        })
        .await;
    }
}
