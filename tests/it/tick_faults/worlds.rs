//! The worlds that ticks are disturbed in. Each is made once on a forge that is then stopped; every case gets a copy of it.

use crate::forge_support::{Checkout, TestForge};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The id of the root that ticks.
pub(super) const ROOT_ID: &str = "the-root";

/// A forge at rest, with everything in it.
pub(super) struct Template {
    folder: TempDir,
    pub(super) admin: String,
    pub(super) dev: String,
    /// Issues whose work may begin, in whatever order.
    pub(super) may_start: Vec<u64>,
    /// Issues that others wait for: that one does not exist is an answer, told with the issue that waits.
    pub(super) awaited: Vec<u64>,
    /// Whether CI is watched on the forge.
    pub(super) watches_ci: bool,
}

impl Template {
    pub(super) async fn of(forge: TestForge, watches_ci: bool, may_start: &[u64]) -> Self {
        let TestForge { running, folder, admin, dev, .. } = forge;
        running.stop().await;
        Self { folder, admin, dev, watches_ci, may_start: may_start.to_vec(), awaited: Vec::new() }
    }

    /// Puts a copy of the forge's folder into another one. Returns its path.
    pub(super) fn copy_to(&self, folder: &Path) -> PathBuf {
        let to = folder.join("forge");
        copy(&self.folder.path().join("forge"), &to);
        to
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            copy(&entry.path(), &path);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), path).unwrap();
        }
    }
}

pub(super) async fn label(forge: &TestForge, name: &str) -> Value {
    forge.post(&forge.at("/labels"), json!({ "name": name, "color": "#00aa00" })).await.body["id"].clone()
}

pub(super) async fn issue(forge: &TestForge, title: &str, body: &str, labels: &[&Value]) -> u64 {
    let answer = forge.post(&forge.at("/issues"), json!({ "title": title, "body": body, "labels": labels })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["number"].as_u64().unwrap()
}

async fn pull(forge: &TestForge, checkout: &Checkout, branch: &str, body: &str, event: &str) -> Value {
    pull_by(forge, &forge.dev, checkout, branch, body, event).await
}

/// Opens and reviews a pull request of somebody.
pub(super) async fn pull_by(
    forge: &TestForge,
    author: &str,
    checkout: &Checkout,
    branch: &str,
    body: &str,
    event: &str,
) -> Value {
    checkout.run(&["checkout", "--quiet", "-b", branch, "origin/main"]);
    checkout.commit(&format!("{}.txt", branch.replace('/', "-")), "text\n", "change");
    checkout.run(&["push", "--quiet", "origin", branch]);
    let new = json!({ "head": branch, "base": "main", "title": format!("fix: {branch}"), "body": body });
    let number = forge.call("POST", &forge.at("/pulls"), author, new).await.body["number"].as_i64().unwrap();
    let review = json!({ "event": event, "body": "looked at" });
    let answer = forge.call("POST", &forge.at(&format!("/pulls/{number}/reviews")), &forge.review, review).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    forge.until_mergeable(number).await
}

/// Issues that wait, by their text or by a link, for one that is open; one that may start; and one that is not reached.
pub(super) async fn queue() -> Template {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    let open = issue(&forge, "open", "", &[]).await;
    let done = issue(&forge, "done", "", &[]).await;
    forge.call("PATCH", &forge.at(&format!("/issues/{done}")), &forge.dev, json!({ "state": "closed" })).await;
    issue(&forge, "waits by its text", &format!("Depends on #{open}"), &[&backlog]).await;
    let linked = issue(&forge, "waits by a link", "", &[&backlog]).await;
    let link = json!({ "owner": "dev", "repo": "widget", "index": open });
    let answer = forge.post(&forge.at(&format!("/issues/{linked}/dependencies")), link).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let may = issue(&forge, "may start", &format!("Depends on #{done}"), &[&backlog]).await;
    let next = issue(&forge, "is not reached", "", &[&backlog]).await;
    let template = Template::of(forge, false, &[may, next]).await;
    Template { awaited: vec![open, done], ..template }
}

/// A pull request for no issue, which the tick merges, and one for an issue, which a run merges; both approved.
pub(super) async fn approved() -> Template {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let number = issue(&forge, "has an accepted pull request", "", &[]).await;
    pull(&forge, &checkout, "work/one", "", "APPROVED").await;
    pull(&forge, &checkout, &format!("fix/issue-{number}"), &format!("Fixes #{number}"), "APPROVED").await;
    Template::of(forge, false, &[number]).await
}

/// A pull request that is approved, and green by the forge's own CI.
pub(super) async fn green() -> Template {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let pull = pull(&forge, &checkout, "work/one", "", "APPROVED").await;
    let head = pull["head"]["sha"].as_str().unwrap();
    let status = json!({ "state": "success", "context": "ci", "description": "", "target_url": "" });
    let answer = forge.post(&forge.at(&format!("/statuses/{head}")), status).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    Template::of(forge, true, &[]).await
}

/// An issue that this root has claimed, and that no run works on.
pub(super) async fn orphan() -> Template {
    let forge = TestForge::new().await;
    let in_progress = label(&forge, "in-progress").await;
    let number = issue(&forge, "was begun", "", &[&in_progress]).await;
    let claim = format!("rig works on this issue.\n<!-- rig:claim run=01ARZ3NDEKTSV4RRFFQ69G5FAV root={ROOT_ID} -->");
    forge.post(&forge.at(&format!("/issues/{number}/comments")), json!({ "body": claim })).await;
    Template::of(forge, false, &[number]).await
}

/// A pull request with changes requested, and no run.
pub(super) async fn stuck() -> Template {
    let forge = TestForge::new().await;
    let checkout = forge.clone("checkout");
    let number = issue(&forge, "has a stuck pull request", "", &[]).await;
    let body = format!("Fixes #{number}");
    pull(&forge, &checkout, &format!("fix/issue-{number}"), &body, "REQUEST_CHANGES").await;
    Template::of(forge, false, &[number]).await
}
