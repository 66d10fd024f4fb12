//! A world as a person sets it up by hand: a root, `rig forge serve` as a process of its own, a project file, tokens in
//! `state/env`, a scripted agent. Everything that was started ends with it.

use crate::{
    forge_support,
    root_support::{TestRoot, program},
};
use assert_cmd::assert::Assert;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for something that a driver or an agent does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What the agent does: it makes a file, pushes, and waits for CI and the review. An issue whose title says `Hold` is held
/// until the test makes the file `go` in the root.
const SCRIPT: &str = r#"{ "version": 1, "rules": [
    { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: Hold", "actions": [
        { "wait_until": { "command": "test -e \"$RIG_ROOT/go\"", "timeout_secs": 600 } },
        { "run": "echo $RIG_ISSUE > work-$RIG_ISSUE.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: ", "actions": [
        { "run": "echo $RIG_ISSUE > work-$RIG_ISSUE.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] } ] }"#;

pub(crate) struct World {
    pub(crate) root: TestRoot,
    forge: Option<Child>,
    pub(crate) url: String,
    /// Tokens by the name of their user.
    pub(crate) tokens: BTreeMap<String, String>,
}

impl World {
    /// Returns a world with the forge up, the loop on, and `projects/widget.toml` for `acme/widget`.
    pub(crate) fn new() -> Self {
        let world = Self::with_forge_only();
        world.project("widget", "acme/widget", "");
        world.env(&[]);
        world.rig(&["dev", "start"]).success();
        world
    }

    /// Returns a world with the forge up and nothing configured.
    pub(crate) fn with_forge_only() -> Self {
        let mut world = Self { root: TestRoot::new(), forge: None, url: String::new(), tokens: BTreeMap::new() };
        world.serve("127.0.0.1:0", &[]);
        let agent = world.agent();
        std::fs::write(world.root.path().join("script.json"), SCRIPT).unwrap();
        let text = format!(
            "#!/bin/sh\nexport RIG_STAND_IN_SCRIPT={0}/script.json\nexec {1} stand-in \"$@\"\n",
            world.root.path().display(),
            program()
        );
        std::fs::write(&agent, text).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    /// The scripted agent as a program.
    pub(crate) fn agent(&self) -> PathBuf {
        self.root.path().join("agent.sh")
    }

    /// Serves the forge with the accounts and the repository of the world; remembers the tokens that it tells.
    pub(crate) fn serve(&mut self, listen: &str, more: &[&str]) -> Vec<Value> {
        let log = self.root.home().join("forge.out");
        let users = ["--user", "dev-bot", "--user", "review-bot", "--user", "acme", "--repository", "acme/widget"];
        let child = self
            .process(&["forge", "serve", "--json", "--listen", listen])
            .args(users)
            .args(more)
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::fs::File::create(self.root.home().join("forge.err")).unwrap())
            .spawn()
            .unwrap();
        self.forge = Some(child);
        let lines = until("the forge serves", || {
            let lines = json_lines(std::fs::read_to_string(&log).unwrap_or_default().as_bytes());
            lines.iter().any(|line| line.get("serving").is_some()).then_some(lines)
        });
        for line in &lines {
            if let Some(token) = line["token"].as_str() {
                self.tokens.insert(line["user"].as_str().unwrap().to_owned(), token.to_owned());
            }
            if let Some(url) = line["serving"].as_str() {
                self.url = url.to_owned();
            }
        }
        lines
    }

    /// Ends the forge by SIGTERM, as a person would. Returns what it exited with.
    pub(crate) fn stop_forge(&mut self) -> Option<i32> {
        let mut child = self.forge.take().unwrap();
        end(child.id(), "TERM");
        child.wait().unwrap().code()
    }

    /// Writes a project's file; `more` is TOML that comes last, from within `[limits]`.
    pub(crate) fn project(&self, name: &str, repository: &str, more: &str) {
        self.root.project(name, &self.project_text(repository, more));
    }

    pub(crate) fn project_text(&self, repository: &str, more: &str) -> String {
        format!(
            "repo = \"{repository}\"\nforge_url = \"{}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev-bot\"\n\
             token_env = \"BOT_TOKEN\"\nreview_token_env = \"REVIEW_TOKEN\"\npoll_interval = \"200ms\"\n\
             [ci]\nprovider = \"local\"\ncommand = \"test -e README.md\"\n\
             [agent]\ncommand = \"{}\"\nmin_free_memory_mb = 0\n[review]\nreviewers = [\"review-bot\"]\n[limits]\n{more}",
            self.url,
            self.agent().display()
        )
    }

    /// Writes `state/env` with the tokens that the forge told, some of them replaced.
    pub(crate) fn env(&self, replaced: &[(&str, &str)]) {
        let mut values = BTreeMap::from([
            ("BOT_TOKEN", self.tokens["dev-bot"].as_str()),
            ("REVIEW_TOKEN", self.tokens["review-bot"].as_str()),
        ]);
        values.extend(replaced.iter().copied());
        let text: String = values.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        self.root.env_file(&text, 0o600);
    }

    /// Runs rig to its end.
    pub(crate) fn rig(&self, args: &[&str]) -> Assert {
        self.root.rig(args).timeout(PATIENCE).assert()
    }

    /// Runs rig with `--json`. Returns its exit code and its lines.
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let assert = self.root.rig(args).arg("--json").timeout(PATIENCE).assert();
        let output = assert.get_output();
        (output.status.code().unwrap_or(-1), json_lines(&output.stdout))
    }

    /// Returns rig as a process that is not waited for, with closed input.
    pub(crate) fn process(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("HOME", self.root.home()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.root.path()).args(args).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Calls the forge's API as a user. Panics when it does not answer with a success.
    pub(crate) fn api(&self, user: &str, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(user, method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    pub(crate) fn ask(&self, user: &str, method: &str, path: &str, body: Value) -> forge_support::Answer {
        let token = self.tokens.get(user).map_or("", String::as_str);
        runtime().block_on(forge_support::call(&self.url, method, path, token, body))
    }

    /// Files an issue in `acme/widget` with labels. Returns its number.
    pub(crate) fn issue(&self, title: &str, body: &str, labels: &[&str]) -> u64 {
        self.issue_in("acme/widget", title, body, labels)
    }

    pub(crate) fn issue_in(&self, repository: &str, title: &str, body: &str, labels: &[&str]) -> u64 {
        let at = |rest: &str| format!("/repos/{repository}{rest}");
        let known = self.api("acme", "GET", &at("/labels"), Value::Null);
        let ids: Vec<Value> = labels
            .iter()
            .map(|name| {
                let found = known.as_array().unwrap().iter().find(|label| label["name"] == *name);
                let made = || {
                    let label = json!({ "name": name, "color": "#0a84ff" });
                    self.api("acme", "POST", &at("/labels"), label)["id"].clone()
                };
                found.map_or_else(made, |label| label["id"].clone())
            })
            .collect();
        let issue = json!({ "title": title, "body": body, "labels": ids });
        self.api("acme", "POST", &at("/issues"), issue)["number"].as_u64().unwrap()
    }

    /// Returns what rig may have left on an issue: its labels, its comments, its assignees.
    pub(crate) fn traces(&self, issue: u64) -> (Vec<String>, Vec<String>, Vec<String>) {
        let texts = |list: &Value, key: &str| -> Vec<String> {
            list.as_array().into_iter().flatten().map(|one| one[key].as_str().unwrap().to_owned()).collect()
        };
        let path = format!("/repos/acme/widget/issues/{issue}");
        let found = self.api("acme", "GET", &path, Value::Null);
        let comments = self.api("acme", "GET", &format!("{path}/comments"), Value::Null);
        (texts(&found["labels"], "name"), texts(&comments, "body"), texts(&found["assignees"], "login"))
    }

    /// Approves every open pull request of `acme/widget` whose head has a green status. Returns how many reviews it gave.
    pub(crate) fn approve_green(&self) -> usize {
        let open = self.api("acme", "GET", "/repos/acme/widget/pulls?state=open", Value::Null);
        let mut given = 0;
        for pull in open.as_array().unwrap() {
            let (number, head) = (&pull["number"], pull["head"]["sha"].as_str().unwrap());
            let state = self.api("acme", "GET", &format!("/repos/acme/widget/commits/{head}/status"), Value::Null);
            let path = format!("/repos/acme/widget/pulls/{number}/reviews");
            let reviews = self.api("acme", "GET", &path, Value::Null);
            let reviewed = reviews.as_array().unwrap().iter().any(|review| review["commit_id"] == head);
            if state["state"] == "success" && !reviewed {
                let review = json!({ "event": "APPROVED", "commit_id": head, "body": "Good." });
                self.api("review-bot", "POST", &path, review);
                given += 1;
            }
        }
        given
    }

    /// Waits until the forge has found out that a pull request of `acme/widget` merges.
    pub(crate) fn until_mergeable(&self, number: u64) {
        until("the pull request merges", || {
            let pull = self.api("acme", "GET", &format!("/repos/acme/widget/pulls/{number}"), Value::Null);
            (pull["mergeable"] == true).then_some(())
        });
    }

    /// Waits until the agent has heard that CI passed: a merge does not wait for that.
    pub(crate) fn until_review_is_awaited(&self, issue: &str) {
        until("the agent waits for its review", || self.awaits_review(issue).then_some(()));
    }

    pub(crate) fn awaits_review(&self, issue: &str) -> bool {
        let output = self.root.rig(&["phase", "get", issue]).timeout(PATIENCE).output().unwrap();
        output.stdout == b"awaiting_review\n"
    }

    /// Returns the runs that `rig status --json` shows.
    pub(crate) fn runs(&self, all: bool) -> Vec<Value> {
        let (code, lines) = self.json(if all { &["status", "--all"] } else { &["status"] });
        assert_eq!(code, 0);
        lines[0]["runs"].as_array().unwrap().clone()
    }

    /// Returns the process ids of the drivers of this root.
    pub(crate) fn drivers(&self) -> Vec<u32> {
        drivers_of(&self.root)
    }
}

/// Returns the process ids of the drivers of a root.
pub(crate) fn drivers_of(root: &TestRoot) -> Vec<u32> {
    let root = format!("RIG_ROOT={}", root.path().display());
    processes().into_iter().filter(|id| is_driver(*id, &root)).collect()
}

/// Returns the names of the agents' sessions on a root's own tmux server, sorted.
pub(crate) fn sessions_of(root: &TestRoot) -> Vec<String> {
    let socket = rig::commands::wire::tmux_socket(&root.root());
    let output = Command::new("tmux").args(["-L", &socket, "list-sessions", "-F", "#{session_name}"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<String> = text.lines().filter(|name| name.starts_with("dev-")).map(str::to_owned).collect();
    names.sort();
    names
}

/// Ends the drivers and the tmux server of a root.
pub(crate) fn end_all_of(root: &TestRoot) {
    for driver in drivers_of(root) {
        end(driver, "KILL");
    }
    // The name of the root's own server; there may be none.
    let socket = rig::commands::wire::tmux_socket(&root.root());
    let _ = Command::new("tmux").args(["-L", &socket, "kill-server"]).stderr(Stdio::null()).status();
}

impl Drop for World {
    fn drop(&mut self) {
        end_all_of(&self.root);
        if let Some(mut forge) = self.forge.take() {
            let _ = forge.kill();
            let _ = forge.wait();
        }
    }
}

fn is_driver(id: u32, root: &str) -> bool {
    let read = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
    let has = |bytes: &[u8], wanted: &str| bytes.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes());
    has(&read("cmdline"), "agent") && has(&read("environ"), root)
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Sends a signal to one process.
pub(crate) fn end(id: u32, signal: &str) {
    let _ = Command::new("kill").args([format!("-{signal}"), id.to_string()]).stderr(Stdio::null()).status();
}

/// Waits until something is there; fails when it does not come.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads whole lines, each of which must be JSON.
pub(crate) fn json_lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
