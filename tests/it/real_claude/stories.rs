//! Whole issues with the real program: cron's command, real git and tmux, the embedded forge, and a scripted model.

use super::{VARIABLES, claude};
use crate::{
    recovery::{
        agent::quick,
        world::{Plan, World, beside, kill},
    },
    scripted_api::{self, Script},
};
use jiff::Timestamp;
use rig::domain::run::Event;
use serde_json::json;
use std::sync::OnceLock;

fn phase(name: &str) -> String {
    format!("echo PHASE:{name} > \"$PHASE_FILE\"")
}

fn note(what: &str) -> String {
    format!("echo \"$RIG_ATTEMPT {what}\" >> \"$NOTES/done\"")
}

/// Returns the commands that change something, push it and ask for CI.
fn push(what: &str, change: &str) -> Vec<String> {
    let push = format!("{change} && git add -A && git commit -qm 'A change' && git push -q -u origin HEAD");
    vec![note(what), push, format!("echo Done. > \"$SUMMARY_FILE\" && {}", phase("awaiting_ci"))]
}

/// An agent whose first push breaks CI, and that does what it is told.
fn careless(text: &str) -> Vec<String> {
    if text.contains("CI passed at") {
        return vec![note("passed"), phase("awaiting_review")];
    }
    if text.contains("CI failed at") {
        return push("failed", "git rm -qf --ignore-unmatch broken && echo repaired >> work.txt");
    }
    if text.contains("asks for changes") {
        return push("changes", "echo changed >> work.txt");
    }
    match text.contains("Title: Task") {
        true => push("begun", "touch broken work.txt"),
        false => Vec::new(),
    }
}

/// The same, but at first it waits until the test lets it go on.
fn waiting(text: &str) -> Vec<String> {
    let mut commands = careless(text);
    if commands.first().is_some_and(|first| *first == note("begun")) {
        commands.insert(1, "timeout 60 sh -c 'until test -e \"$NOTES/go\"; do sleep 0.1; done'".to_owned());
    }
    commands
}

fn plan(program: &str, url: &str) -> Plan {
    let mut plan = quick();
    plan.agent = format!("command = {}\n", json!(program));
    plan.variables = VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    plan.variables.push(("ANTHROPIC_BASE_URL".into(), url.to_owned()));
    plan
}

async fn world(program: &str, script: Script) -> World {
    World::new(&plan(program, &scripted_api::serve(script).await)).await
}

/// Returns what it has done, without the number of the attempt. That CI passed is told too, but a review or the merge may come
/// first.
fn done(world: &World) -> Vec<String> {
    let notes = world.notes();
    let done = notes.iter().filter_map(|line| line.split_once(' ')).map(|(_, what)| what.to_owned());
    done.filter(|what| what != "passed").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_is_merged_after_red_ci_and_a_review_round() {
    let Some(claude) = claude() else { return };
    let world = world(&claude.program, careless).await;
    let story = async {
        assert_eq!(world.poll().await, 0);
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    assert_eq!(done(&world), ["begun", "failed", "changes"]);
    assert_eq!(world.count("SessionStarted").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_in_each_stage_with_its_driver_comes_back_and_finishes() {
    let Some(claude) = claude() else { return };
    let world = world(&claude.program, waiting).await;
    // Nobody reviews yet, so that the last of these stays.
    for stage in ["working", "awaiting_ci", "awaiting_review"] {
        world.poll().await;
        world.until_it_was(stage).await;
        if stage == "working" {
            world.until("it has begun", || async { !world.notes().is_empty() }).await;
        }
        world.kill_drivers().await;
        let panes = world.tmux(&["list-panes", "-a", "-F", "#{pane_pid}"]).stdout;
        for pid in String::from_utf8_lossy(&panes).lines() {
            kill(pid.parse().unwrap());
        }
        std::fs::write(world.path("notes/go"), "").unwrap();
    }
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["REQUEST_CHANGES", "APPROVED"])).await;
    let done = done(&world);
    assert_eq!(done.iter().filter(|what| *what == "changes").count(), 1, "{done:?}");
    assert!(world.count("SessionStarted").await > 1, "the killed one came back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_comes_to_a_person_at_once() {
    let Some(claude) = claude() else { return };
    let world = world(&claude.program, |_| vec![scripted_api::error(403)]).await;
    world.poll().await;
    world.until_stage("escalated").await;
    world
        .until("the issue says so", || async {
            world.comments_of_bot().await.iter().any(|text| text.contains("refuses its credentials"))
        })
        .await;
    assert_eq!(world.count("SessionStarted").await, 1, "another attempt would meet the same refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_service_costs_no_attempt() {
    let Some(claude) = claude() else { return };
    let script: Script = |text| match text.contains("Title: Task") {
        true => vec![note("begun"), scripted_api::error(529)],
        false if text.contains("Your last turn was cut off") => push("again", "touch work.txt"),
        false => careless(text),
    };
    let world = world(&claude.program, script).await;
    let story = async {
        world.poll().await;
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(done(&world), ["begun", "again"]);
    assert_eq!(world.count("SessionStarted").await, 1);
}

/// Where the account is known by a key, the service's own words come through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_limit_is_waited_out_until_the_time_that_it_names() {
    let Some(claude) = claude() else { return };
    static RESETS_AT: OnceLock<i64> = OnceLock::new();
    let script: Script = |text| match text.contains("Title: Task") {
        true => {
            // Counted from the first answer, however long the start takes.
            let resets_at = RESETS_AT.get_or_init(|| Timestamp::now().as_second() + 30);
            vec![note("begun"), scripted_api::usage_limit(*resets_at)]
        }
        false if text.contains("cut off by a usage limit") => push("again", "touch work.txt"),
        false => careless(text),
    };
    let world = world(&claude.program, script).await;
    let story = async {
        world.poll().await;
        world.until("the limit is known", || async { world.count("UsageLimited").await == 1 }).await;
        let status = world.rig(&["status"]).await;
        assert!(String::from_utf8_lossy(&status.stdout).contains("usage limit, until"), "{status:?}");
        world.expect_merged().await;
    };
    beside(story, world.reviewing(&["APPROVED"])).await;
    assert_eq!(done(&world), ["begun", "again"]);
    assert_eq!((world.count("UsageLimited").await, world.count("SessionStarted").await), (1, 1));
    let taken = world.facts().await.into_iter().filter(|fact| matches!(fact.event, Event::PromptTaken { .. }));
    let again = taken.map(|fact| fact.at.as_second()).nth(1).unwrap();
    assert!(again >= *RESETS_AT.get().unwrap(), "it went on before the limit was over");
    world.expect_log(&["the agent's usage limit is reached; it is over at", "the usage limit is over"]).await;
}
