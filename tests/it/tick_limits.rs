//! A tick and a forge that limits it, and a tick that limits itself: it says so, does nothing destructive, and leaves alone
//! whom it was told to leave alone.

use crate::{
    forge_support::TestForge,
    root_support::TestRoot,
    store_support::{event, notice, plain, project, row, run_id},
};
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::ids::IssueNumber,
    ports::store::{Append, RunRow, Store},
};
use serde_json::{Value, json};
use sqlx::Connection;

struct Poll {
    code: i32,
    lines: Vec<Value>,
    requests: u64,
}

impl Poll {
    /// The codes of the decisions about issues and pull requests.
    fn codes(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["code"].as_str()).collect()
    }

    fn ended_early(&self) -> &Value {
        &self.lines.iter().find(|line| line.get("ended_early").is_some()).unwrap()["ended_early"]
    }

    fn problems(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["problem"].as_str()).collect()
    }
}

fn root(forge: &TestForge, limits: &str) -> TestRoot {
    let root = TestRoot::new();
    let text = format!(
        "repo = \"dev/widget\"\nforge_url = \"{}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev\"\n\
         [agent]\ncommand = \"sh\"\nmin_free_memory_mb = 0\n[review]\nreviewers = [\"review\"]\n[limits]\n{limits}",
        forge.running.url()
    );
    root.project("widget", &text).env_file(&format!("FORGE_TOKEN={}\n", forge.dev), 0o600);
    root.rig(&["dev", "start"]).assert().success();
    root
}

async fn poll(forge: &TestForge, root: &TestRoot) -> Poll {
    forge.call("DELETE", "/-/requests", &forge.admin, Value::Null).await;
    let mut command = root.rig(&["dev", "poll", "--json"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = forge.call("GET", "/-/requests", &forge.admin, Value::Null).await.body;
    Poll { code: output.status.code().unwrap(), lines, requests: asked["total"].as_u64().unwrap() }
}

async fn fault(forge: &TestForge, path: &str, count: u64, status: u16, retry_after: &str) {
    let headers = json!({ "Retry-After": retry_after });
    let action = json!({ "kind": "status", "status": status, "body": "{}", "headers": headers });
    let rule = json!([{ "path": path, "count": count, "action": action }]);
    let answer = forge.call("POST", "/-/faults", &forge.admin, rule).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

async fn label(forge: &TestForge, name: &str) -> Value {
    forge.post(&forge.at("/labels"), json!({ "name": name, "color": "#00aa00" })).await.body["id"].clone()
}

/// Issues of the backlog that wait for one that is open.
async fn waiting_issues(forge: &TestForge, count: usize) {
    let backlog = label(forge, "backlog").await;
    let first = forge.post(&forge.at("/issues"), json!({ "title": "first" })).await.body["number"].clone();
    for number in 0..count {
        let issue =
            json!({ "title": format!("{number}"), "body": format!("Depends on #{first}"), "labels": [backlog] });
        assert_eq!(forge.post(&forge.at("/issues"), issue).await.status, 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_pause_is_waited_for_within_the_tick() {
    let forge = TestForge::new().await;
    waiting_issues(&forge, 1).await;
    let root = root(&forge, "");
    for status in [429, 503] {
        fault(&forge, "/issues$", 1, status, "1").await;
        let poll = poll(&forge, &root).await;
        assert_eq!((poll.code, poll.codes()), (0, vec!["dependency_open"]), "{:?}", poll.lines);
        assert!(poll.ended_early().is_null());
    }
    assert!(!root.path().join("state/pauses").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_pause_ends_the_tick_and_nothing_is_asked_before_it_is_over() {
    let forge = TestForge::new().await;
    waiting_issues(&forge, 1).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&soon).unwrap();
    for (status, retry_after) in [(429, "3600"), (503, date.as_str())] {
        let root = root(&forge, "");
        fault(&forge, "/pulls$", 1, status, retry_after).await;
        let first = poll(&forge, &root).await;
        assert_eq!((first.code, first.codes()), (3, vec![]), "{:?}", first.lines);
        assert_eq!(first.ended_early()["code"], "rate_limited");
        assert!(first.problems()[0].contains("wants to be left alone until 2"), "{:?}", first.problems());
        assert_eq!(first.problems().len(), 1, "{:?}", first.problems());
        for _ in 0..2 {
            let later = poll(&forge, &root).await;
            assert_eq!((later.code, later.requests), (0, 0), "{:?}", later.lines);
            assert_eq!(later.ended_early()["code"], "rate_limited");
        }
        // Another project of the root on the same account is paused with it; the pause ends with its file's time.
        let folder = root.path().join("state/pauses");
        let file = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut stored: Value = serde_json::from_str(&text).unwrap();
        stored["until"] = stored["noted_at"].clone();
        std::fs::write(&file, stored.to_string()).unwrap();
        let after = poll(&forge, &root).await;
        assert_eq!((after.code, after.codes()), (0, vec!["dependency_open"]), "{:?}", after.lines);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_at_once_keep_the_longest_pause() {
    let forge = TestForge::new().await;
    let root = root(&forge, "");
    for pause in ["120", "3600", "600"] {
        fault(&forge, "/user$", 1, 429, pause).await;
    }
    let polls = futures::future::join_all((0..3).map(|_| poll(&forge, &root))).await;
    assert!(polls.iter().all(|poll| poll.ended_early()["code"] == "rate_limited"));
    let later = poll(&forge, &root).await;
    assert_eq!(later.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_whose_requests_are_spent_says_so_and_starts_nothing() {
    let forge = TestForge::new().await;
    let backlog = label(&forge, "backlog").await;
    // The dependencies of issues that come later are closed, so more and more has to be asked; the last issue is free.
    for _ in 0..30 {
        let closed = forge.post(&forge.at("/issues"), json!({ "title": "dependency" })).await.body["number"].clone();
        let issue = json!({ "title": "waits", "body": format!("Depends on #{closed}"), "labels": [backlog] });
        assert_eq!(forge.post(&forge.at("/issues"), issue).await.status, 201);
    }
    let root = root(&forge, "api_calls = 20\n");
    let poll = poll(&forge, &root).await;
    assert_eq!(poll.code, 3, "{:?}", poll.lines);
    assert!(poll.requests <= 20, "{}", poll.requests);
    assert_eq!(poll.ended_early()["code"], "budget_spent");
    assert_eq!(poll.problems().len(), 1, "{:?}", poll.problems());
    assert!(poll.problems()[0].contains("the 20 requests of a tick are spent (limits.api_calls)"));
    let codes = poll.codes();
    assert_eq!(codes.len(), 30);
    assert!(codes.contains(&"unknown") && !codes.contains(&"started"), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_forgets_what_was_told_of_a_run_that_ended_long_ago_and_the_file_of_its_hooks() {
    let forge = TestForge::new().await;
    let root = root(&forge, "");
    let store = SqliteStore::open(&root.root().database(), "host").await.unwrap();
    // Two runs of one issue: the folder that they share stays for the later one.
    let hooks = |run: u32| root.root().run(&project("widget"), IssueNumber(901)).hooks(&run_id(run));
    for run in [901, 902] {
        let row = RunRow { open: false, ..row(run, 901) };
        let notices = [notice(run, 1, "is merged")];
        store.append(Append { notices: &notices, ..plain(&row, 0, &[event(1)]) }).await.unwrap();
        store.mark_notice_sent(&notices[0].id).await.unwrap();
        std::fs::create_dir_all(hooks(run).parent().unwrap()).unwrap();
        std::fs::write(hooks(run), "{}\n").unwrap();
    }
    drop(store);
    // As if the first had been told long ago.
    let url = format!("sqlite://{}", root.root().database().display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let old = "UPDATE notices SET sent_at = '2026-01-01T00:00:00.000000000Z' WHERE issue = 1 AND id LIKE $1";
    sqlx::query(old).bind(format!("{}-%", run_id(901))).execute(&mut database).await.unwrap();
    for (run, ended) in [(901, "2026-01-01T00:00:00.000000000Z".to_owned()), (902, jiff::Timestamp::now().to_string())]
    {
        let sql = "UPDATE runs SET changed_at = $1 WHERE run = $2";
        sqlx::query(sql).bind(ended).bind(run_id(run).to_string()).execute(&mut database).await.unwrap();
    }
    assert_eq!(poll(&forge, &root).await.code, 0);
    assert!(!hooks(901).exists() && hooks(902).exists());
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM notices").fetch_one(&mut database).await.unwrap();
    assert_eq!(told, 1);
}
