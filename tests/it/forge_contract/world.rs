//! One forge seen from outside: accounts, repositories, requests, and git pushes, with names that no other test uses.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Method, header::HeaderMap};
use rig::{
    adapters::{forge::Gitea, process::Program},
    domain::ids::{Login, Sha},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    fmt::Display,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Forges do some things a little later than they answer: moving heads, computing `mergeable`, closing issues.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(40);
const PASSWORD: &str = "Only-for-Tests-4711";
/// Everything that rig's own tokens carry.
const SCOPES: [&str; 4] = ["write:repository", "write:issue", "write:user", "write:organization"];

/// A forge and an administrator's token.
#[derive(Clone)]
pub(super) struct World {
    pub(super) url: String,
    admin_token: String,
    client: reqwest::Client,
}

#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) token: String,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Reply {
    /// Returns the reply when it has this status.
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub(super) fn expect_any(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "{} is none of {statuses:?}: {}", self.status, self.text);
        self
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns a field of every entry of a list, without its `null` entries.
    pub(super) fn each(&self, field: &str) -> Vec<Value> {
        let rows = self.json.as_array().expect("a list");
        rows.iter().filter(|row| !row.is_null()).map(|row| row[field].clone()).collect()
    }
}

impl Account {
    pub(super) fn login(&self) -> Login {
        Login::new(self.name.as_str()).unwrap()
    }
}

impl World {
    pub(super) fn new(url: &str, admin_token: &str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        Self { url: url.trim_end_matches('/').to_owned(), admin_token: admin_token.to_owned(), client }
    }

    /// Sends a request with any `Authorization` header, or none.
    pub(super) async fn call(&self, auth: Option<&str>, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = self.client.request(method, format!("{}/api/v1{path}", self.url));
        if let Some(auth) = auth {
            request = request.header("Authorization", auth);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a whole answer");
        Reply { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    pub(super) async fn get(&self, who: &Account, path: &str) -> Reply {
        self.call(Some(&format!("token {}", who.token)), Method::GET, path, None).await
    }

    pub(super) async fn post(&self, who: &Account, path: &str, body: Value) -> Reply {
        self.call(Some(&format!("token {}", who.token)), Method::POST, path, Some(body)).await
    }

    pub(super) async fn patch(&self, who: &Account, path: &str, body: Value) -> Reply {
        self.call(Some(&format!("token {}", who.token)), Method::PATCH, path, Some(body)).await
    }

    pub(super) async fn put(&self, who: &Account, path: &str, body: Value) -> Reply {
        self.call(Some(&format!("token {}", who.token)), Method::PUT, path, Some(body)).await
    }

    pub(super) async fn delete(&self, who: &Account, path: &str) -> Reply {
        self.call(Some(&format!("token {}", who.token)), Method::DELETE, path, None).await
    }

    /// Makes an account that no other test has, with a token for everything that rig does.
    pub(super) async fn account(&self, kind: &str) -> Account {
        let name = format!("{kind}-{}", unique());
        let body = json!({"username": name, "email": format!("{name}@example.org"), "password": PASSWORD,
            "must_change_password": false});
        let admin = format!("token {}", self.admin_token);
        self.call(Some(&admin), Method::POST, "/admin/users", Some(body)).await.expect(201);
        let token = self.token(&name, &SCOPES).await;
        Account { name, token }
    }

    /// Makes a token with just these scopes.
    pub(super) async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let auth = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{PASSWORD}")));
        let body = json!({"name": format!("t-{}", unique()), "scopes": scopes});
        let reply =
            self.call(Some(&auth), Method::POST, &format!("/users/{name}/tokens"), Some(body)).await.expect(201);
        reply.json["sha1"].as_str().expect("the token is shown once").to_owned()
    }

    /// Makes a repository of a fresh owner, without any commit.
    pub(super) async fn empty_repository(&self) -> Repository {
        let owner = self.account("owner").await;
        let name = format!("repo-{}", unique());
        let body = json!({"name": name, "default_branch": "main", "private": false});
        self.post(&owner, "/user/repos", body).await.expect(201);
        Repository { world: self.clone(), owner, name, folder: tempfile::tempdir().unwrap() }
    }

    /// Makes a repository of a fresh owner, with one commit on `main`.
    pub(super) async fn repository(&self) -> Repository {
        let repository = self.empty_repository().await;
        repository.git(&["init", "--quiet", "--initial-branch=main"]).await.unwrap();
        repository.commit("README.md", "# A widget\n").await;
        repository.push("main", &repository.owner).await.unwrap();
        repository
    }
}

/// A repository on the forge, and a checkout of it here.
pub(super) struct Repository {
    pub(super) world: World,
    pub(super) owner: Account,
    pub(super) name: String,
    folder: TempDir,
}

impl Repository {
    pub(super) fn at(&self, rest: impl Display) -> String {
        format!("/repos/{}/{}{rest}", self.owner.name, self.name)
    }

    pub(super) async fn get(&self, rest: impl Display) -> Reply {
        self.world.get(&self.owner, &self.at(rest)).await
    }

    pub(super) async fn post(&self, rest: impl Display, body: Value) -> Reply {
        self.world.post(&self.owner, &self.at(rest), body).await
    }

    pub(super) async fn patch(&self, rest: impl Display, body: Value) -> Reply {
        self.world.patch(&self.owner, &self.at(rest), body).await
    }

    pub(super) async fn delete(&self, rest: impl Display) -> Reply {
        self.world.delete(&self.owner, &self.at(rest)).await
    }

    /// Returns the adapter for this repository with an account's token.
    pub(super) fn forge(&self, who: &Account) -> Gitea {
        let path = format!("{}/{}", self.owner.name, self.name).parse().unwrap();
        Gitea::new(&self.world.url, path, SecretString::from(who.token.as_str())).unwrap()
    }

    /// Makes an account that may write to the repository.
    pub(super) async fn collaborator(&self, kind: &str, permission: &str) -> Account {
        let account = self.world.account(kind).await;
        let path = self.at(format_args!("/collaborators/{}", account.name));
        self.world.put(&self.owner, &path, json!({ "permission": permission })).await.expect(204);
        account
    }

    pub(super) async fn issue(&self, title: &str) -> u64 {
        let reply = self.post("/issues", json!({"title": title, "body": "text"})).await.expect(201);
        reply.json["number"].as_u64().unwrap()
    }

    pub(super) async fn label(&self, name: &str) -> u64 {
        let reply = self.post("/labels", json!({"name": name, "color": "#00aabb"})).await.expect(201);
        reply.json["id"].as_u64().unwrap()
    }

    /// Pushes a new branch off `main` with one commit.
    pub(super) async fn branch(&self, branch: &str, file: &str, text: &str) -> Sha {
        self.git(&["checkout", "--quiet", "-B", branch, "main"]).await.unwrap();
        let sha = self.commit(file, text).await;
        self.push(branch, &self.owner).await.unwrap();
        sha
    }

    /// Commits onto what is checked out.
    pub(super) async fn commit(&self, file: &str, text: &str) -> Sha {
        let path = self.folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.git(&["add", "--all"]).await.unwrap();
        self.git(&["commit", "--quiet", "--message", &format!("change {file}")]).await.unwrap();
        Sha::new(self.git(&["rev-parse", "HEAD"]).await.unwrap()).unwrap()
    }

    /// Commits onto `main` and pushes it.
    pub(super) async fn commit_to_main(&self, file: &str, text: &str) -> Sha {
        self.git(&["checkout", "--quiet", "main"]).await.unwrap();
        let sha = self.commit(file, text).await;
        self.push("main", &self.owner).await.unwrap();
        sha
    }

    pub(super) async fn push(&self, refspec: &str, who: &Account) -> Result<(), String> {
        let url = format!("{}/{}/{}.git", self.world.url, self.owner.name, self.name);
        let basic = BASE64_STANDARD.encode(format!("{}:{}", who.name, who.token));
        self.program(&["push", "--quiet", &url, refspec])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"))
            .run_ok()
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    pub(super) async fn git(&self, args: &[&str]) -> Result<String, String> {
        self.program(args).run_ok().await.map(|output| output.text()).map_err(|error| error.to_string())
    }

    fn program(&self, args: &[&str]) -> Program {
        let folder: &Path = self.folder.path();
        let mut program = Program::new("git").args(args).cwd(folder).clear_env();
        program = program.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder.join(".git"));
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", "Ann"),
            ("GIT_AUTHOR_EMAIL", "ann@example.org"),
            ("GIT_COMMITTER_NAME", "Ann"),
            ("GIT_COMMITTER_EMAIL", "ann@example.org"),
        ] {
            program = program.env(name, value);
        }
        program
    }

    /// Opens a pull request of a branch into `main`, as the owner.
    pub(super) async fn pull(&self, head: &str) -> u64 {
        self.pull_by(&self.owner, head, "Change it", "Because.").await
    }

    pub(super) async fn pull_by(&self, who: &Account, head: &str, title: &str, body: &str) -> u64 {
        let body = json!({"head": head, "base": "main", "title": title, "body": body});
        let reply = self.world.post(who, &self.at("/pulls"), body).await.expect(201);
        reply.json["number"].as_u64().unwrap()
    }

    /// Waits until the forge has computed that a pull request can be merged.
    pub(super) async fn mergeable(&self, pull: u64) {
        eventually("the pull request is mergeable", async || {
            let reply = self.get(format_args!("/pulls/{pull}")).await;
            (reply.json["mergeable"] == true).then_some(())
        })
        .await;
    }

    /// Waits until the forge shows this commit as the head of a pull request.
    pub(super) async fn head_is(&self, pull: u64, head: &Sha) {
        eventually("the pull request's head has moved", async || {
            let reply = self.get(format_args!("/pulls/{pull}")).await;
            (reply.json["head"]["sha"] == head.as_str()).then_some(())
        })
        .await;
    }
}

/// Asks again until there is an answer; fails the test when none comes.
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns text that no other call returns: external servers keep what earlier runs made.
fn unique() -> String {
    ulid::Ulid::new().to_string().to_lowercase()
}
