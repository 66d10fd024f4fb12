//! What holds at the end of every story.

use super::world::World;
use rig::domain::run::{Fact, Step, begin, step};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// State labels of an issue; all of them go when it is done.
const STATES: [&str; 4] = ["backlog", "in-progress", "blocked", "underspecified"];

impl World {
    /// Waits until issue 1 is merged and everything is tidied up, then checks that nothing happened twice.
    pub(crate) async fn expect_merged(&self) {
        self.until_stage("merged").await;
        self.expect_tidy().await;
        let problems = self.problems_of_merged().await;
        assert!(problems.is_empty(), "{problems:#?}\n{}", self.story().await);
    }

    async fn problems_of_merged(&self) -> Vec<String> {
        let mut problems = self.problems(&[]).await;
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                problems.push(what.to_owned());
            }
        };
        let issue = self.get("/issues/1").await;
        expect(issue["state"] == "closed", "the issue is open");
        let pulls = self.get("/pulls?state=all&limit=50").await;
        let pulls = pulls.as_array().unwrap();
        expect(pulls.len() == 1, &format!("{} pull requests", pulls.len()));
        expect(pulls.iter().all(|pull| pull["merged"] == true), "a pull request is not merged");
        let main = self.get("/branches/main").await["commit"]["id"].as_str().unwrap().to_owned();
        let mirrored = crate::forge_support::git(&self.path("mirror.git"), &["rev-parse", "refs/heads/main"]);
        expect(String::from_utf8_lossy(&mirrored.stdout).trim() == main, "the mirror stays behind");
        expect(!self.worktree().exists(), "the worktree is still there");
        problems
    }

    /// Waits until no driver and no session is left.
    pub(crate) async fn expect_tidy(&self) {
        self.until("no driver and no session is left", || async {
            self.drivers().is_empty() && self.sessions().is_empty()
        })
        .await;
    }

    /// Returns what is wrong whatever the end: duplicates, labels, a journal that does not fold.
    pub(crate) async fn problems(&self, labels: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.journal_problems().await);
        problems.extend(self.comment_problems().await);
        let issue = self.get("/issues/1").await;
        let names: BTreeSet<&str> =
            issue["labels"].as_array().unwrap().iter().filter_map(|label| label["name"].as_str()).collect();
        let states: BTreeSet<&str> = names.into_iter().filter(|name| STATES.contains(name)).collect();
        if states != labels.iter().copied().collect() {
            problems.push(format!("the labels are {states:?}, not {labels:?}"));
        }
        problems
    }

    async fn comment_problems(&self) -> Vec<String> {
        let comments = self.get("/issues/1/comments").await;
        let mut markers: BTreeMap<String, u32> = BTreeMap::new();
        for comment in comments.as_array().unwrap() {
            let body = comment["body"].as_str().unwrap_or_default();
            let marker = body.split("<!-- rig:").nth(1).and_then(|rest| rest.split(" -->").next());
            let key = marker.map(|marker| if marker.starts_with("claim ") { "claim" } else { marker });
            *markers.entry(key.unwrap_or_default().to_owned()).or_default() += 1;
        }
        let twice = markers.iter().filter(|(key, count)| !key.is_empty() && **count > 1);
        twice.map(|(key, count)| format!("{count} comments are marked {key}")).collect()
    }

    /// Every recorded event moves its run: none was written that the machine ignores.
    async fn journal_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut runs = BTreeMap::new();
        for event in self.journal().await {
            let fact: Fact = serde_json::from_value(event.body.clone()).unwrap();
            let moved = match runs.get(&event.run) {
                None => begin(&event.run, &fact).map(|(run, _)| run),
                Some(run) => match step(run, &fact) {
                    Step::Moved { run, .. } => Some(*run),
                    Step::Ignored(why) => {
                        problems.push(format!("event {} ({}) was recorded in vain: {why:?}", event.seq, event.kind));
                        continue;
                    }
                },
            };
            match moved {
                Some(run) => drop(runs.insert(event.run.clone(), run)),
                None => problems.push(format!("run {} does not begin with a claim", event.run)),
            }
        }
        problems
    }

    /// Returns how often an event of a kind is in the journal.
    pub(crate) async fn count(&self, kind: &str) -> usize {
        self.journal().await.iter().filter(|event| event.kind == kind).count()
    }

    /// Returns the texts of rig's own comments on the issue.
    pub(crate) async fn comments_of_bot(&self) -> Vec<String> {
        let comments = self.get("/issues/1/comments").await;
        let own = comments.as_array().unwrap().iter().filter(|comment| comment["user"]["login"] == "dev-bot");
        own.filter_map(|comment| comment["body"].as_str().map(str::to_owned)).collect()
    }

    pub(crate) async fn pulls(&self) -> Vec<Value> {
        self.get("/pulls?state=all&limit=50").await.as_array().unwrap().clone()
    }
}
