//! Many processes want the same issues: two roots, two projects of one repository in each, pollers and people at once. Every
//! issue has one session, one claim, one pull request.

use crate::{
    by_hand_support::{World, drivers_of, end_all_of, json_lines, sessions_of, until},
    root_support::TestRoot,
};
use rig::{adapters::store::sqlite::SqliteStore, ports::store::Store};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
};

const ISSUES: usize = 4;
const POLLS_OF_EACH_ROOT: usize = 5;

/// Another root of the same user on the same host.
struct Second(TestRoot);

impl Drop for Second {
    fn drop(&mut self) {
        end_all_of(&self.0);
    }
}

fn second_root(world: &World) -> Second {
    let second = Second(TestRoot::new());
    second.0.env_file(&std::fs::read_to_string(world.root.path().join("state/env")).unwrap(), 0o600);
    std::fs::write(second.0.path().join("state/.dev-active"), "").unwrap();
    second
}

/// Two projects of one repository, spelt differently.
fn projects(world: &World, root: &TestRoot) {
    let text = |repository: &str| world.project_text(repository, "").replace("[agent]\n", "[agent]\nmax_agents = 9\n");
    root.project("widget", &text("acme/widget")).project("again", &text("Acme/Widget"));
}

/// Starts rig in a root, with the world's home: the user is the same, and so are the locks.
fn start(world: &World, root: &TestRoot, args: &[&str]) -> Child {
    let mut command = world.process(args);
    command.current_dir(root.path()).env("RIG_ROOT", root.path()).stdout(Stdio::null()).spawn().unwrap()
}

fn end_of(mut child: Child) -> i32 {
    until("a process has ended", || child.try_wait().unwrap()).code().unwrap()
}

fn runs_of(world: &World, root: &TestRoot) -> Vec<Value> {
    let output = world.process(&["status", "--all", "--json"]).current_dir(root.path()).output().unwrap();
    json_lines(&output.stdout)[0]["runs"].as_array().unwrap().clone()
}

/// Returns how many sessions were ever started for each issue, by all runs of these roots.
fn sessions_ever(world: &World, roots: &[&TestRoot]) -> BTreeMap<u64, usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut started = BTreeMap::new();
    for root in roots {
        let issues: BTreeMap<String, u64> = runs_of(world, root)
            .iter()
            .map(|run| (run["run"].as_str().unwrap().to_owned(), run["issue"].as_u64().unwrap()))
            .collect();
        let events = runtime.block_on(async {
            let store = SqliteStore::open(&root.root().database(), "test").await.unwrap();
            store.journal(0, 10_000).await.unwrap()
        });
        for event in events.iter().filter(|event| event.kind == "SessionStarted") {
            *started.entry(issues[event.run.as_str()]).or_default() += 1;
        }
    }
    started
}

#[test]
fn of_many_processes_in_two_roots_and_two_projects_one_works_on_each_issue() {
    let world = World::new();
    let second = second_root(&world);
    let roots = [&world.root, &second.0];
    roots.iter().for_each(|root| projects(&world, root));
    let issues: Vec<u64> = (0..ISSUES).map(|number| world.issue(&format!("Hold {number}"), "", &["backlog"])).collect();

    // Ten polls over four projects, and eight drivers by hand: each issue is wanted by two of them and by every poll.
    let mut polls = Vec::new();
    let mut people = Vec::new();
    for _ in 0..POLLS_OF_EACH_ROOT {
        polls.extend(roots.map(|root| start(&world, root, &["dev", "poll"])));
    }
    for (index, issue) in issues.iter().enumerate() {
        let issue = issue.to_string();
        for (root, project) in [(roots[index % 2], "widget"), (roots[(index + 1) % 2], "again")] {
            people.push(start(&world, root, &["dev", "agent", &issue, "--project", project]));
        }
    }
    for poll in polls {
        let code = end_of(poll);
        assert!(code == 0, "a poll ended with {code}");
    }
    let open = || -> Vec<Value> {
        let all = roots.iter().flat_map(|root| runs_of(&world, root));
        all.filter(|run| run["open"] == true).collect()
    };
    let all_work =
        || open().len() == ISSUES && open().iter().all(|run| run["stage"] == "working" && run["driver"] == "alive");
    until("every issue is worked on", || {
        // Who has lost against a driver that is gone by now leaves the issue to the next tick.
        for root in roots {
            end_of(start(&world, root, &["dev", "poll"]));
        }
        all_work().then_some(())
    });
    let mut worked: Vec<u64> = open().iter().map(|run| run["issue"].as_u64().unwrap()).collect();
    worked.sort_unstable();
    assert_eq!(worked, issues);
    assert_eq!(roots.iter().map(|root| sessions_of(root).len()).sum::<usize>(), ISSUES);
    for issue in &issues {
        let (labels, comments, assignees) = world.traces(*issue);
        assert_eq!((labels, assignees), (vec!["in-progress".to_owned()], vec!["dev-bot".to_owned()]), "issue {issue}");
        let claims = comments.iter().filter(|comment| comment.contains("<!-- rig:claim run=")).count();
        assert_eq!(claims, 1, "issue {issue}: {comments:?}");
    }
    // Whoever is still there leads a run: as many drivers as issues, by tick or by hand.
    until("the losers have left", || {
        (roots.iter().map(|root| drivers_of(root).len()).sum::<usize>() == ISSUES).then_some(())
    });

    roots.iter().for_each(|root| std::fs::write(root.path().join("go"), "").unwrap());
    until("all are merged", || {
        world.approve_green();
        let polls: Vec<Child> = roots.iter().map(|root| start(&world, root, &["dev", "poll"])).collect();
        for poll in polls {
            end_of(poll);
        }
        open().is_empty().then_some(())
    });
    assert_eq!(sessions_ever(&world, &roots), issues.iter().map(|issue| (*issue, 1)).collect());
    let pulls = world.api("acme", "GET", "/repos/acme/widget/pulls?state=all", Value::Null);
    let mut fixed: Vec<String> =
        pulls.as_array().unwrap().iter().map(|pull| pull["body"].as_str().unwrap().to_owned()).collect();
    fixed.sort_unstable();
    let is_of = |(body, issue): (&String, &u64)| body.contains(&format!("Fixes #{issue}"));
    assert!(fixed.len() == ISSUES && fixed.iter().zip(&issues).all(is_of), "{fixed:?}");
    assert!(pulls.as_array().unwrap().iter().all(|pull| pull["merged"] == true), "{pulls}");
    for person in people {
        end_of(person);
    }
}
