//! How sessions begin: worktrees that are made runnable, agents of another kind, starts that stand still.

use super::{
    agent::{note, phase, plan, push, quick, rule, run},
    world::{Plan, World, beside},
};
use serde_json::json;

/// The example of the manual as the agent, with these further variables.
fn shell_agent(variables: &[(&str, &str)]) -> Plan {
    let program = json!(format!("{}/examples/shell-agent.sh", env!("CARGO_MANIFEST_DIR")));
    let mut plan = quick();
    plan.agent = format!(
        "kind = \"command\"\ncommand = {program}\nready_pattern = \"^agent> \"\nidle_time = \"250ms\"\nready_timeout = \"30s\"\n"
    );
    plan.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    plan
}

fn program(world_folder: &std::path::Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = world_folder.join("program.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_script_as_the_agent_gets_an_issue_merged_after_a_review_round() {
    let world = World::new(&shell_agent(&[])).await;
    let story = async {
        assert_eq!(world.poll().await, 0);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    assert_eq!(world.count("SessionStarted").await, 1);
    let notes = world.clone_as_owner();
    let text = std::fs::read_to_string(notes.folder.join("NOTES.md")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_script_mends_what_ci_finds_and_outlives_killed_drivers() {
    let folder = tempfile::tempdir().unwrap();
    let work = "if grep -q '^CI failed at' \"$1\"; then git rm -q broken; else touch broken; fi; echo x >> work.txt\n";
    let world = World::new(&shell_agent(&[("SHELL_AGENT", &program(folder.path(), work))])).await;
    // Nobody reviews yet, so that the last of these stays.
    for stage in ["working", "awaiting_ci", "awaiting_review"] {
        world.poll().await;
        world.until_it_was(stage).await;
        world.kill_drivers().await;
    }
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(world.count("SessionStarted").await, 1, "the session outlives its drivers");
    let text = std::fs::read_to_string(world.clone_as_owner().folder.join("work.txt")).unwrap();
    assert_eq!(text, "x\nx\n", "each prompt was carried out once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_stands_still_is_tried_again_and_then_shown_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789";
    let dialog = format!(
        "case \"$*\" in *--version*) exit 1 ;; esac\necho \"$RIG_ATTEMPT\" >> \"$NOTES/done\"\necho 'Choose the text style: {secret}'\nread -r key\necho pressed >> \"$NOTES/done\"\n"
    );
    let mut plan = quick();
    plan.agent = format!("command = {}\nready_timeout = \"5s\"\n", json!(program(folder.path(), &dialog)));
    let world = World::new(&plan).await;
    world.poll().await;
    world.until_stage("escalated").await;
    assert_eq!(world.notes(), ["1", "2"], "two attempts, and no key was pressed");
    world
        .until("the issue shows the screen", || async {
            let comments = world.comments_of_bot().await;
            comments.iter().any(|text| text.contains("Choose the text style") && text.contains("by hand as this user"))
        })
        .await;
    assert!(!world.comments_of_bot().await.iter().any(|text| text.contains(secret)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worktree_is_set_up_once_before_its_first_session() {
    let setup = "echo setting up; test -n \"$RIG_ATTEMPT\" && test -z \"$BOT_TOKEN\" && echo made > made.txt && \
                 echo made.txt > \"$(git rev-parse --git-path info/exclude)\" && echo \"$RIG_ATTEMPT set up\" >> \"$NOTES/done\"";
    let mut plan = plan(vec![
        rule(
            "This is a new attempt",
            &[note("again"), push("test -e made.txt && touch work.txt"), phase("awaiting_ci", "")],
        ),
        rule("Title: Task", &[note("begun"), json!({ "exit": 1 })]),
    ]);
    plan.agent.push_str(&format!("setup = {}\n", json!(setup)));
    let world = World::new(&plan).await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    let notes: Vec<String> = world.notes().into_iter().filter(|note| !note.ends_with("passed")).collect();
    assert_eq!(notes, ["1 set up", "1 begun", "2 again"], "once for both attempts");
    let log = std::fs::read_to_string(world.path("root/state/run/greeter/1/setup.log")).unwrap();
    assert!(log.contains("succeeded") && log.contains("setting up"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_that_fails_twice_comes_to_a_person_with_the_end_of_its_output() {
    let mut plan = quick();
    let setup = "echo \"$RIG_ATTEMPT tried\" >> \"$NOTES/done\"; echo 'no such package: widget'; exit 3";
    plan.agent.push_str(&format!("setup = {}\n", json!(setup)));
    let world = World::new(&plan).await;
    world.poll().await;
    world.until_stage("blocked").await;
    world.expect_tidy().await;
    assert_eq!(world.notes(), ["1 tried", "1 tried"], "no session was started");
    let comments = world.comments_of_bot().await;
    let told = comments.iter().any(|text| text.contains("no such package: widget") && text.contains("exit status: 3"));
    assert!(told, "{comments:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_that_hangs_is_ended_with_its_children() {
    let mut plan = quick();
    let setup = "sleep 300 & echo $! >> \"$NOTES/done\"; wait";
    plan.agent.push_str(&format!("setup = {}\nsetup_timeout = \"3s\"\n", json!(setup)));
    let world = World::new(&plan).await;
    world.poll().await;
    world.until_stage("blocked").await;
    let children: Vec<u32> = world.notes().iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(children.len(), 2);
    world.until("they have ended", || async { !children.iter().any(|id| crate::terminal::process_lives(*id)) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_not_there_to_be_copied_are_told_to_who_looks() {
    let checkout = tempfile::tempdir().unwrap();
    assert!(crate::forge_support::git(checkout.path(), &["init", "--quiet"]).status.success());
    std::fs::write(checkout.path().join(".env"), "COLOUR=blue\n").unwrap();
    let there = rule("Title: Task", &[run("test -f .env && ! test -e missing.env"), note("begun"), json!("hang")]);
    let mut plan = plan(vec![there]);
    plan.agent.push_str("copy_files = [\".env\", \"missing.env\"]\n");
    plan.variables = vec![("PROJECT_REPO_ROOT".into(), checkout.path().display().to_string())];
    let world = World::new(&plan).await;
    let checked = world.rig(&["config", "check"]).await;
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && told.contains("`agent.copy_files` names missing.env"), "{checked:?}");
    assert!(!told.contains("names .env"), "{told}");
    world.poll().await;
    world.until("the agent works", || async { world.notes() == ["1 begun"] }).await;
    world.until("its start is on record", || async { world.count("SessionStarted").await == 1 }).await;
    world.expect_log(&["session started, attempt 1; `copy_files` names what is not there: missing.env"]).await;
    let logs = world.rig(&["logs", "1", "--events"]).await;
    assert!(String::from_utf8_lossy(&logs.stdout).contains("missing.env"), "{logs:?}");
}
