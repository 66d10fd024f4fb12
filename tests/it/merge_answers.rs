//! Every answer that a forge gives to a merge, and what rig concludes from it once it has read the pull request again.

use crate::{
    forge_support::{Checkout, DEADLINE, TestForge},
    root_support::TestRoot,
};
use rig::{
    adapters::flock::FlockLocks,
    commands::wire,
    domain::{
        ids::{PullRequestNumber, Sha},
        run::Event,
    },
    engine::{
        World,
        merge::{Wanted, judge_and_merge},
    },
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

struct Scene {
    forge: TestForge,
    /// Keeps the root's folder.
    _root: TestRoot,
    world: World,
    checkout: Checkout,
}

impl Scene {
    /// A repository of `dev`, who is the bot, with rig's world around it; nothing but one approval is required.
    async fn new(merge: &str) -> Self {
        let (forge, root) = (TestForge::new().await, TestRoot::new());
        let project = format!(
            "repo = \"dev/widget\"\nforge_url = \"{}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev\"\ntoken_env = \"BOT\"\n\
             [ci]\nprovider = \"none\"\n[review]\nreviewers = [\"review\"]\n[merge]\nrequire_closes = false\n{merge}",
            forge.running.url()
        );
        root.project("widget", &project).env_file(&format!("BOT={}\n", forge.dev), 0o600);
        root.root().ensure_state().unwrap();
        let project = rig::config::load_one(&root.root(), None).unwrap();
        let store = wire::store(&root.root()).await.unwrap();
        let mut world = wire::world(&root.root(), project, store).await.unwrap();
        let locks = FlockLocks::new(&root.home().join("locks"), &world.project.forge_url, &world.project.repository);
        world.locks = Arc::new(locks);
        let checkout = forge.clone("clone");
        Self { forge, _root: root, world, checkout }
    }

    /// Opens and approves a pull request. Returns its number and its head.
    async fn ready(&self, name: &str) -> (u64, Sha) {
        let number = self.forge.pull(&self.checkout, name, &format!("{name}.txt"), name).await;
        let pull = self.forge.until_mergeable(number).await;
        let head: Sha = pull["head"]["sha"].as_str().unwrap().parse().unwrap();
        let review = json!({ "event": "APPROVED", "commit_id": head.as_str(), "body": "Good." });
        let path = self.forge.at(&format!("/pulls/{number}/reviews"));
        assert_eq!(self.forge.call("POST", &path, &self.forge.review, review).await.status, 200);
        (number.try_into().unwrap(), head)
    }

    async fn spoil(&self, action: Value) {
        let rule = json!([{ "method": "POST", "path": "/merge$", "action": action }]);
        assert_eq!(self.forge.call("POST", "/-/faults", &self.forge.admin, rule).await.status, 204);
    }

    async fn merge(&self, number: u64, head: &Sha) -> Result<Event, rig::engine::merge::MergeError> {
        let pull_request = PullRequestNumber(number);
        let wanted = Wanted { pull_request, head, issue: None, is_led: false, journaled_green: None, accepted: &[] };
        judge_and_merge(&self.world, &wanted).await
    }

    async fn is_merged(&self, number: u64) -> bool {
        self.forge.get(&self.forge.at(&format!("/pulls/{number}"))).await.body["merged"] == true
    }

    /// Returns how many commits of the primary branch speak of a file: a second merge would be a second one.
    fn merges_of(&self, name: &str) -> usize {
        self.checkout.run(&["fetch", "--quiet", "origin"]);
        let log =
            self.checkout.run(&["log", "--first-parent", "--format=%H", "origin/main", "--", &format!("{name}.txt")]);
        log.lines().count()
    }
}

/// Returns what an answer was taken for.
fn taken_for(event: &Event) -> String {
    match event {
        Event::MergeRefused { why, .. } => serde_json::to_value(why).unwrap()["name"].as_str().unwrap().to_owned(),
        other => other.kind().to_owned(),
    }
}

fn status(status: u16, message: &str) -> Value {
    json!({ "kind": "status", "status": status, "body": json!({ "message": message }).to_string() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_of_a_merge_has_its_own_next_step_and_none_merges_twice() {
    let scene = Scene::new("").await;
    let refused = |reason: &str| status(405, &format!("not allowed to merge [reason: {reason}]"));
    let git =
        json!({ "Style": "rebase", "StdOut": "CONFLICT (content): Merge conflict in a", "StdErr": "", "Err": {} });
    let rows: Vec<(&str, Value, &str)> = vec![
        ("no-words", json!({ "kind": "status", "status": 405, "body": "" }), "try_again"),
        ("later", status(405, "Please try again later"), "try_again"),
        ("wip", status(405, "Work in progress PRs cannot be merged"), "not_ready"),
        ("checks", refused("Not all required status checks successful"), "not_ready"),
        ("approvals", refused("Does not have enough approvals"), "not_ready"),
        ("rejected", refused("There are requested changes"), "not_ready"),
        ("behind", refused("The head branch is behind the base branch"), "outdated"),
        ("files", refused("Changed protected files"), "protected"),
        ("user", status(405, "User not allowed to merge PR"), "protected"),
        ("moved", status(409, "head out of date"), "try_again"),
        ("pushed", status(409, "merge push out of date"), "try_again"),
        ("scheduled", status(409, "The pull request is already scheduled"), "try_again"),
        ("git", json!({ "kind": "status", "status": 409, "body": git.to_string() }), "outdated"),
        ("gone", status(404, "not found"), "protected"),
        ("forbidden", status(403, "no permission"), "protected"),
        ("invalid", status(422, "[Do]: Required"), "protected"),
        ("locked", status(423, "archived"), "try_again"),
        ("depends", status(500, "cannot merge this pull request because it still has open dependencies"), "protected"),
        ("diverged", status(500, "merge diverging fast forward only"), "outdated"),
        ("promised", status(201, "will be merged"), "error"),
        ("broken", status(502, "bad gateway"), "error"),
        ("html", json!({ "kind": "html" }), "try_again"),
        ("dropped", json!({ "kind": "drop" }), "error"),
        ("lost", json!({ "kind": "lose_answer" }), "Merged"),
        ("garbage", json!({ "kind": "garbage" }), "Merged"),
        ("slow", json!({ "kind": "latency", "ms": 50 }), "Merged"),
    ];
    for (name, action, expected) in rows {
        let (number, head) = scene.ready(name).await;
        scene.spoil(action).await;
        let answer = scene.merge(number, &head).await;
        let taken = answer.as_ref().map_or_else(|_| "error".to_owned(), taken_for);
        assert_eq!(taken, expected, "{name}: {answer:?}");
        assert_eq!(scene.is_merged(number).await, taken == "Merged", "{name}");
        if let Err(error) = &answer {
            assert!(error.is_transient(), "{name}: {error}");
        }
        // The next try lands it, once; one after that finds it merged.
        for _ in 0..2 {
            let again = scene.merge(number, &head).await.unwrap();
            assert_eq!(again.kind(), "Merged", "{name}: {again:?}");
        }
        assert_eq!(scene.merges_of(name), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_whose_branch_may_not_be_deleted_is_a_merge() {
    let scene = Scene::new("").await;
    let (number, head) = scene.ready("kept").await;
    // It merges first and is told 403 all the same, as forges do when the branch may not be deleted.
    let body = json!({ "Do": "merge", "head_commit_id": head.as_str() });
    let path = scene.forge.at(&format!("/pulls/{number}/merge"));
    assert_eq!(scene.forge.post(&path, body).await.status, 200);
    scene.spoil(status(403, "branch protected")).await;
    assert_eq!(scene.merge(number, &head).await.unwrap().kind(), "Merged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_between_judgement_and_merge_is_judged_anew() {
    let scene = Scene::new("").await;
    let (number, head) = scene.ready("raced").await;
    scene.spoil(json!({ "kind": "latency", "ms": 5_000 })).await;
    // Only the push has to be quicker than the merge.
    let new = scene.checkout.commit("raced.txt", "changed", "a change after the judgement");
    let push = async {
        // Once the merge is on its way, which the forge's own count of requests tells.
        let path = format!("/api/v1{}", scene.forge.at(&format!("/pulls/{number}/merge")));
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = scene.forge.call("GET", "/-/requests", &scene.forge.admin, Value::Null).await.body;
            if seen["requests"].as_array().unwrap().iter().any(|one| one["path"] == path) {
                break;
            }
            assert!(Instant::now() < deadline, "the merge is not asked for: {seen}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scene.checkout.run(&["push", "--quiet", "origin", "raced"]);
    };
    let (answer, ()) = tokio::join!(scene.merge(number, &head), push);
    let answer = answer.unwrap();
    assert!(matches!(&answer, Event::HeadMoved { head } if head.as_str() == new), "{answer:?}");
    assert!(!scene.is_merged(number).await);
    // What was approved is another commit, so that this one is not ready.
    let answer = scene.merge(number, &new.parse().unwrap()).await.unwrap();
    assert_eq!(taken_for(&answer), "not_ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projects_words_stand_in_the_merge_commit() {
    let scene =
        Scene::new("method = \"squash\"\ntitle = \"{title} (!{number})\"\nmessage = \"From {branch} by {author}\"\n")
            .await;
    let (number, head) = scene.ready("worded").await;
    assert_eq!(scene.merge(number, &head).await.unwrap().kind(), "Merged");
    scene.checkout.run(&["fetch", "--quiet", "origin"]);
    let text = scene.checkout.run(&["log", "-1", "--format=%B", "origin/main"]);
    assert_eq!(text.trim(), format!("fix: worded.txt (!{number})\n\nFrom worded by dev"));
}
