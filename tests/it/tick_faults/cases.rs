//! Ticks over accepted pull requests that no run leads, whatever their issue is like.

use super::{
    ticking::Ticking,
    worlds::{Template, issue, label, pull_by},
};
use crate::forge_support::TestForge;
use rig::{
    domain::{
        ids::{BranchName, IssueNumber},
        run::{Event, IssueState, Run},
    },
    engine::{claim, commit, resume},
};
use serde_json::{Value, json};

/// An account besides the bot whose `chore/*` branches rig merges.
async fn helper(forge: &TestForge) -> String {
    let token = forge.running.ensure_user("helper").await.unwrap();
    forge.running.ensure_collaborator("dev", "widget", "helper", "write").await.unwrap();
    token
}

async fn close(forge: &TestForge, number: u64) {
    forge.call("PATCH", &forge.at(&format!("/issues/{number}")), &forge.dev, json!({ "state": "closed" })).await;
}

async fn branch(ticking: &Ticking, name: &str) -> Value {
    ticking.control("GET", &format!("/repos/dev/widget/branches/{name}"), Value::Null).await["name"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chore_that_closes_an_issue_is_merged_by_the_tick_and_no_agent_is_started() {
    for event in ["APPROVED", "REQUEST_CHANGES"] {
        let forge = TestForge::new().await;
        let (helper, checkout) = (helper(&forge).await, forge.clone("checkout"));
        let number = issue(&forge, "is solved by a chore", "", &[]).await;
        let body = format!("Closes #{number}");
        let pull = pull_by(&forge, &helper, &checkout, "chore/tidy", &body, event).await["number"].as_u64().unwrap();
        let mut ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
        let (result, launched) = ticking.tick().await;
        let problems = result.unwrap().problems;
        assert!(launched.is_empty() && problems.is_empty(), "{launched:?} {problems:?}");
        let state = ticking.state().await;
        let expected = if event == "APPROVED" { (vec![pull], vec![number]) } else { (vec![], vec![]) };
        assert_eq!((state.merged, state.closed, state.runs), (expected.0, expected.1, vec![]), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_that_a_forge_left_open_is_closed_once_its_chore_reads_back_merged() {
    let forge = TestForge::new().await;
    let (helper, checkout) = (helper(&forge).await, forge.clone("checkout"));
    let number = issue(&forge, "is solved by a chore", "", &[]).await;
    let other = issue(&forge, "comes before", "", &[]).await;
    // What waits for another issue is not closed by the forge.
    let link = json!({ "owner": "dev", "repo": "widget", "index": other });
    assert_eq!(forge.post(&forge.at(&format!("/issues/{number}/dependencies")), link).await.status, 201);
    let body = format!("Closes #{number}");
    let pull = pull_by(&forge, &helper, &checkout, "chore/tidy", &body, "APPROVED").await["number"].as_u64().unwrap();
    let mut ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
    // It dies right after the merge.
    let path = format!("/pulls/{pull}$");
    let spoiled = json!({ "method": "GET", "path": path, "skip": 1, "count": 0, "action": { "kind": "drop" } });
    ticking.spoil(spoiled).await;
    let (result, _) = ticking.tick().await;
    assert!(!result.unwrap().problems.is_empty());
    let state = ticking.state().await;
    assert_eq!((state.merged, state.closed), (vec![pull], vec![]), "merged, and nothing that follows");
    ticking.mend().await;
    ticking.control("PATCH", &format!("/repos/dev/widget/issues/{other}"), json!({ "state": "closed" })).await;
    ticking.tick().await.0.unwrap();
    assert_eq!(ticking.state().await.closed, vec![number, other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_pull_request_lands_when_its_issue_was_closed_meanwhile() {
    for dies in [false, true] {
        let forge = TestForge::new().await;
        let checkout = forge.clone("checkout");
        let blocked = label(&forge, "blocked").await;
        let number = issue(&forge, "was closed too early", "", &[&blocked]).await;
        let (name, body) = (format!("fix/issue-{number}"), format!("Fixes #{number}"));
        let pull = pull_by(&forge, &forge.dev, &checkout, &name, &body, "APPROVED").await["number"].as_u64().unwrap();
        close(&forge, number).await;
        let mut ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
        if dies {
            let path = format!("/pulls/{pull}$");
            let spoiled = json!({ "method": "GET", "path": path, "skip": 1, "count": 0, "action": { "kind": "drop" } });
            ticking.spoil(spoiled).await;
            ticking.tick().await.0.unwrap();
            ticking.mend().await;
            assert_eq!(branch(&ticking, &name).await, name.as_str());
        }
        let report = ticking.tick().await.0.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let state = ticking.state().await;
        assert_eq!((state.merged, state.closed, state.runs), (vec![pull], vec![number], vec![]), "{:?}", report.lines);
        assert_eq!(state.issues[&number]["labels"], json!([]), "what it was blocked by is over");
        assert_eq!(branch(&ticking, &name).await, Value::Null, "the branch goes after the merge");
        let report = ticking.tick().await.0.unwrap();
        assert!(report.lines.iter().all(|line| line.subject != pull), "it is done: {:?}", report.lines);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_pull_request_lands_when_its_issue_does_not_exist() {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let pull = pull_by(&forge, &forge.dev, &checkout, "fix/issue-99", "Fixes #99", "APPROVED").await;
    let pull = pull["number"].as_u64().unwrap();
    // One that closes a pull request closes no issue either.
    let other = pull_by(&forge, &forge.dev, &checkout, "work", &format!("Fixes #{pull}"), "APPROVED").await;
    let other = other["number"].as_u64().unwrap();
    // One that nobody has accepted lands nowhere, and is no news for ever.
    pull_by(&forge, &forge.dev, &checkout, "fix/issue-98", "Fixes #98", "REQUEST_CHANGES").await;
    let mut ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
    let (first, launched) = ticking.tick().await;
    // One wrong answer of a forge looks the same: it is told, and believed when the next tick finds it too.
    assert_eq!((launched, first.unwrap().problems.len()), (vec![], 2));
    assert_eq!(ticking.state().await.merged, vec![other]);
    // The merge has moved the primary branch.
    ticking.settled().await;
    let report = ticking.tick().await.0.unwrap();
    assert_eq!((report.problems, ticking.state().await.merged), (vec![], vec![pull, other]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_does_not_stay_is_told_of_and_one_that_has_just_begun_is_not() {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    let number = issue(&forge, "is worked on", "", &[&backlog]).await;
    let mut ticking = Ticking::over(&Template::of(forge, false, &[]).await).await;
    // Ticks in quick succession: the drivers that they start have not come to a sign of life yet.
    for _ in 0..4 {
        let (report, launched) = ticking.tick().await;
        assert_eq!((launched, report.unwrap().problems), (vec![number], vec![]));
    }
    ticking.pass_hours(1);
    let (report, launched) = ticking.tick().await;
    let problems = report.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("does not stay"), "{problems:?}");
    assert_eq!(launched, vec![number], "and it is tried again");
}

async fn answer(ticking: &Ticking, run: &mut Run, event: Event) {
    let order = run.pending.keys().next().cloned();
    commit::commit(ticking.world(), run, 0, event, order, &[]).await.unwrap();
}

/// Ends the one open run as blocked, on this branch.
async fn block(ticking: &Ticking, branch: &BranchName) {
    let id = ticking.world().store.open_runs(None).await.unwrap()[0].run.clone();
    let mut run = resume::load(ticking.world(), &id).await.unwrap();
    let surveyed = Event::PriorWorkSurveyed {
        branch: branch.clone(),
        adopted: None,
        head: None,
        prior: Vec::new(),
        ci_fixes_spent: 0,
    };
    answer(ticking, &mut run, surveyed).await;
    answer(ticking, &mut run, Event::EffectFailed { error: "it cannot be started".into() }).await;
    while !run.pending.is_empty() {
        answer(ticking, &mut run, Event::EffectDone).await;
    }
    commit::commit(ticking.world(), &mut run, 0, Event::RunEnded, None, &[]).await.unwrap();
    claim::set_state(ticking.world(), run.issue, IssueState::Blocked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_blocked_run_left_goes_once_its_issue_is_closed_and_its_work_is_kept() {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    let number = issue(&forge, "is given up", "", &[&backlog]).await;
    let mut ticking = Ticking::over(&Template::of(forge, false, &[number]).await).await;
    ticking.tick().await.0.unwrap();
    let branch = BranchName::new(format!("fix/issue-{number}")).unwrap();
    block(&ticking, &branch).await;
    let world = ticking.world();
    let worktree = world.workspace.prepare(IssueNumber(number), &branch).await.unwrap().path;
    std::fs::write(worktree.join("precious.txt"), "nowhere else").unwrap();
    let folder = world.root.run(&world.project.name, IssueNumber(number)).path().to_owned();
    std::fs::create_dir_all(folder.join("attempt-1")).unwrap();

    let tick = async |ticking: &mut Ticking, hours: i64| {
        ticking.pass_hours(hours);
        let report = ticking.tick().await.0.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    };
    tick(&mut ticking, 31 * 24).await;
    assert!(worktree.exists() && folder.exists(), "the issue is open: somebody may come back to it");
    ticking.control("PATCH", &format!("/repos/dev/widget/issues/{number}"), json!({ "state": "closed" })).await;
    tick(&mut ticking, 0).await;
    assert!(!worktree.exists());
    let rig_git = ticking.world().root.git_dir(&ticking.world().project.name).join("rig.git");
    let rescued = crate::forge_support::git(&rig_git, &["for-each-ref", "refs/heads/rig/rescue"]);
    assert_eq!(String::from_utf8_lossy(&rescued.stdout).lines().count(), 1, "what only it had is kept");
    tick(&mut ticking, 0).await;
    assert!(!folder.exists(), "its files go with the time");
}
