//! A running embedded forge with a client, for tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use rig::embedded_forge::{Options, Running, start};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a test waits for something that happens in the background.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A forge in a temporary folder with a writer `dev`, a writer `review`, a reader `reader` and the repository `dev/widget`.
pub(crate) struct TestForge {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
    pub(crate) admin: String,
    pub(crate) dev: String,
    pub(crate) review: String,
    pub(crate) reader: String,
}

pub(crate) async fn started(folder: &Path) -> Running {
    let listen = "127.0.0.1:0".parse().unwrap();
    start(Options { folder: folder.to_owned(), listen, root_url: None, faults: true }).await.unwrap()
}

impl TestForge {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = started(&folder.path().join("forge")).await;
        let admin = running.admin_token().await.unwrap();
        let dev = running.ensure_user("dev").await.unwrap();
        let review = running.ensure_user("review").await.unwrap();
        let reader = running.ensure_user("reader").await.unwrap();
        running.ensure_repository("dev", "widget").await.unwrap();
        running.ensure_collaborator("dev", "widget", "review", "write").await.unwrap();
        Self { running, folder, admin, dev, review, reader }
    }

    /// Returns the path of something in `dev/widget`.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("/repos/dev/widget{rest}")
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        call(&self.running.url(), method, path, token, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &self.dev, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &self.dev, body).await
    }

    /// Clones the repository as `dev` into a new folder. The token is in the URL only, in the test's own folder.
    pub(crate) fn clone(&self, name: &str) -> Checkout {
        let folder = self.folder.path().join(name);
        let url = self.running.url().replace("http://", &format!("http://dev:{}@", self.dev));
        let output = git(self.folder.path(), &["clone", "--quiet", &format!("{url}/dev/widget.git"), name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Checkout { folder }
    }

    /// Waits until the forge has found out whether a pull request merges.
    pub(crate) async fn until_mergeable(&self, number: i64) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let pull = self.get(&self.at(&format!("/pulls/{number}"))).await.body;
            if pull["mergeable"] == true {
                return pull;
            }
            assert!(Instant::now() < deadline, "never mergeable: {pull}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Pushes a branch with one file and opens a pull request for it. Returns its number.
    pub(crate) async fn pull(&self, checkout: &Checkout, branch: &str, file: &str, text: &str) -> i64 {
        checkout.run(&["checkout", "--quiet", "-b", branch, "origin/main"]);
        checkout.commit(file, text, &format!("change {file}"));
        checkout.run(&["push", "--quiet", "origin", branch]);
        let body = json!({ "head": branch, "base": "main", "title": format!("fix: {file}"), "body": "" });
        let answer = self.post(&self.at("/pulls"), body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["number"].as_i64().unwrap()
    }
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn call(url: &str, method: &str, path: &str, token: &str, body: Value) -> Answer {
    let method = method.parse().unwrap();
    let mut request = reqwest::Client::new().request(method, format!("{url}/api/v1{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("token {token}"));
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, body, headers }
}

/// A clone.
pub(crate) struct Checkout {
    pub(crate) folder: PathBuf,
}

impl Checkout {
    pub(crate) fn try_run(&self, args: &[&str]) -> Output {
        git(&self.folder, args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.try_run(args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn commit(&self, file: &str, text: &str, message: &str) -> String {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.run(&["add", "--all"]);
        self.run(&["commit", "--quiet", "-m", message]);
        self.run(&["rev-parse", "HEAD"])
    }
}

/// Runs git with nobody's configuration.
pub(crate) fn git(folder: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "dev")
        .env("GIT_AUTHOR_EMAIL", "dev@example.org")
        .env("GIT_COMMITTER_NAME", "dev")
        .env("GIT_COMMITTER_EMAIL", "dev@example.org")
        .output()
        .unwrap()
}

/// `rig forge serve` as a process; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
}

impl Served {
    /// Starts it for `ann/widget` and waits until it serves. Returns it with the lines that it printed.
    pub(crate) fn start(root: &Path) -> (Self, String) {
        let log = root.join("out");
        let child = Command::new(env!("CARGO_BIN_EXE_rig"))
            .args(["forge", "serve", "--json", "--listen", "127.0.0.1:0", "--user", "ann"])
            .args(["--repository", "ann/widget"])
            .env("RIG_ROOT", root)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { child };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.contains("clone_url") && text.ends_with('\n') {
                return (served, text);
            }
            assert!(Instant::now() < deadline, "it never served: {text}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
