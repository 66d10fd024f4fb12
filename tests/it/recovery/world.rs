//! A whole world for one test: forge with its people, repository, mirror, root, and a scripted agent; all in one temporary
//! folder. Everything that was started is ended when the world is dropped.

use super::DEADLINE;
use crate::forge_support::{Answer, Checkout, call, git};
use rig::{
    adapters::store::sqlite::SqliteStore,
    commands::wire::tmux_socket,
    config::Root,
    domain::run::{Fact, Run, fold},
    embedded_forge::Running,
    ports::store::{RecordedEvent, Store},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::Command;

/// Pause between two looks at a condition.
pub(crate) const LOOK: Duration = Duration::from_millis(25);
/// What the scripted agent has to know.
const STAND_IN_VARIABLES: [&str; 3] = ["RIG_STAND_IN_SCRIPT", "CLAUDE_CONFIG_DIR", "NOTES"];
/// A command that takes longer has hung.
const COMMAND_TIME: Duration = Duration::from_secs(90);

/// What differs from one world to another.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The agent's script.
    pub(crate) script: Value,
    /// Time without a sign of life that an agent has.
    pub(crate) idle_timeout: &'static str,
    /// Which agent there is, as lines of `[agent]`, and what else stands there.
    pub(crate) agent: String,
    /// Further variables of cron, which the agent is given too.
    pub(crate) variables: Vec<(String, String)>,
}

/// The lines of the scripted agent.
pub(crate) fn stand_in() -> String {
    format!("kind = \"claude\"\ncommand = {}\nargs = [\"stand-in\"]\n", json!(env!("CARGO_BIN_EXE_rig")))
}

/// Runs a future beside another that never ends.
pub(crate) async fn beside<T>(main: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    tokio::select! {
        result = main => result,
        () = other => unreachable!("it works for ever"),
    }
}

/// One forge, one project with one issue, one root.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) root: Root,
    pub(crate) forge: Running,
    pub(crate) store: SqliteStore,
    pub(crate) admin: String,
    /// Tokens. The forge makes a new one, and forgets the old, whenever it is asked for an account's.
    pub(crate) owner: String,
    pub(crate) bot: String,
    pub(crate) reviewer: String,
    variables: Vec<(String, String)>,
}

impl World {
    pub(crate) async fn new(plan: &Plan) -> Self {
        let folder = tempfile::Builder::new().prefix("rig-recovery-").tempdir().unwrap();
        let root = Root::at(folder.path().join("root"));
        for made in ["root/projects", "home", "xdg-state", "agent", "notes"] {
            std::fs::create_dir_all(folder.path().join(made)).unwrap();
        }
        root.ensure_state().unwrap();
        let forge = crate::forge_support::started(&folder.path().join("forge")).await;
        let admin = forge.admin_token().await.unwrap();
        let bot = forge.ensure_user("dev-bot").await.unwrap();
        let reviewer = forge.ensure_user("review-bot").await.unwrap();
        let owner = forge.ensure_user("acme").await.unwrap();
        forge.ensure_empty_repository("acme", "greeter").await.unwrap();
        for account in ["dev-bot", "review-bot"] {
            forge.ensure_collaborator("acme", "greeter", account, "write").await.unwrap();
        }
        let store = SqliteStore::open(&root.database(), "test").await.unwrap();
        let variables = plan.variables.clone();
        let world = Self { folder, root, forge, store, admin, owner, bot, reviewer, variables };
        world.push_first_commit();
        world.write_files(plan);
        for label in ["backlog", "in-progress", "blocked", "underspecified"] {
            world.owner_call("POST", "/labels", json!({ "name": label, "color": "#0a84ff" })).await;
        }
        world.file_issue("Task").await;
        assert!(world.rig(&["dev", "start"]).await.status.success());
        world
    }

    fn push_first_commit(&self) {
        let checkout = self.path("first");
        std::fs::create_dir_all(&checkout).unwrap();
        std::fs::write(checkout.join("README.md"), "A greeter.\n").unwrap();
        let url = self.forge.url().replace("http://", &format!("http://acme:{}@", self.owner));
        for args in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &["commit", "--quiet", "-m", "A greeter"],
            &["push", "--quiet", &format!("{url}/acme/greeter.git"), "main"],
            &["init", "--quiet", "--bare", "--initial-branch=main", "../mirror.git"],
        ] {
            let output = git(&checkout, args);
            assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn write_files(&self, plan: &Plan) {
        let further = plan.variables.iter().map(|(name, _)| name.as_str());
        let project = format!(
            "name = \"greeter\"\nrepo = \"acme/greeter\"\nforge_url = \"{url}\"\n\n\
             [forge]\nkind = \"embedded\"\nbot = \"dev-bot\"\ntoken_env = \"BOT_TOKEN\"\npoll_interval = \"100ms\"\n\n\
             [ci]\nprovider = \"local\"\ncommand = \"test ! -e broken\"\n\n\
             [agent]\n{agent}min_free_memory_mb = 0\nidle_timeout = \"{idle}\"\nenv_allow = {allowed}\n\n\
             [review]\nreviewers = [\"review-bot\"]\n\n[mirrors]\nbackup = {mirror}\n",
            url = self.forge.url(),
            agent = plan.agent,
            allowed = json!(STAND_IN_VARIABLES.into_iter().chain(further).collect::<Vec<_>>()),
            mirror = json!(self.path("mirror.git")),
            idle = plan.idle_timeout,
        );
        std::fs::write(self.root.projects_dir().join("greeter.toml"), project).unwrap();
        std::fs::write(self.path("script.json"), plan.script.to_string()).unwrap();
        std::fs::write(self.root.env_file(), format!("BOT_TOKEN={}\n", self.bot)).unwrap();
        std::fs::set_permissions(self.root.env_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the command line of rig with the environment that cron would give it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("xdg-state"))
            .env("RIG_ROOT", self.root.path())
            .env("RIG_STAND_IN_SCRIPT", self.path("script.json"))
            .env("CLAUDE_CONFIG_DIR", self.path("agent"))
            .env("NOTES", self.path("notes"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Ok(boot) = std::fs::read_to_string(self.path("boot")) {
            command.env("RIG_BOOT_ID", boot);
        }
        command
    }

    pub(crate) async fn rig(&self, args: &[&str]) -> Output {
        tokio::time::timeout(COMMAND_TIME, self.command(args).output())
            .await
            .unwrap_or_else(|_| {
                panic!("rig {args:?} hangs\n{}", self.story_text());
            })
            .unwrap()
    }

    /// One tick, as cron makes it. Returns its exit code.
    pub(crate) async fn poll(&self) -> i32 {
        self.rig(&["dev", "poll"]).await.status.code().unwrap_or(-1)
    }

    pub(crate) async fn as_account(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        call(&self.forge.url(), method, &format!("/repos/acme/greeter{path}"), token, body).await
    }

    pub(crate) async fn owner_call(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.as_account(&self.owner, method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.owner_call("GET", path, Value::Null).await
    }

    pub(super) async fn file_issue(&self, title: &str) {
        let labels = self.get("/labels").await;
        let backlog = labels.as_array().unwrap().iter().find(|label| label["name"] == "backlog").unwrap()["id"].clone();
        let text = json!({ "title": title, "body": "Please do it.", "labels": [backlog] });
        self.owner_call("POST", "/issues", text).await;
    }

    pub(crate) async fn journal(&self) -> Vec<RecordedEvent> {
        self.store.journal(0, 10_000).await.unwrap()
    }

    pub(crate) async fn facts(&self) -> Vec<Fact> {
        let journal = self.journal().await;
        journal.iter().map(|event| serde_json::from_value(event.body.clone()).unwrap()).collect()
    }

    /// Returns the newest run as the journal has it.
    pub(crate) async fn run(&self) -> Option<Run> {
        let journal = self.journal().await;
        let id = &journal.last()?.run;
        let facts: Vec<Fact> = journal
            .iter()
            .filter(|event| event.run == *id)
            .map(|event| serde_json::from_value(event.body.clone()).unwrap())
            .collect();
        fold(id, &facts)
    }

    pub(crate) async fn stage(&self) -> String {
        self.run().await.map(|run| run.stage.name().to_owned()).unwrap_or_default()
    }

    /// Waits until a condition holds.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let deadline = Instant::now() + DEADLINE;
        while !condition().await {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.story().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn until_stage(&self, stage: &str) {
        self.until(&format!("the run is {stage}"), || async { self.stage().await == stage }).await;
    }

    /// Waits until the newest run is in a stage or has been: one that passes quickly is over between two looks.
    pub(crate) async fn until_it_was(&self, stage: &str) {
        self.until(&format!("the run was {stage}"), || async { self.stages().await.iter().any(|was| was == stage) })
            .await;
    }

    /// Returns the stages of the newest run, one for each of its facts.
    async fn stages(&self) -> Vec<String> {
        let journal = self.journal().await;
        let Some(id) = journal.last().map(|event| &event.run) else { return Vec::new() };
        let of_run = journal.iter().filter(|event| event.run == *id);
        let facts: Vec<Fact> = of_run.map(|event| serde_json::from_value(event.body.clone()).unwrap()).collect();
        let after = |count: usize| fold(id, &facts[..count]).map(|run| run.stage.name().to_owned());
        (1..=facts.len()).filter_map(after).collect()
    }

    /// Returns the processes that lead runs of this root.
    pub(crate) fn drivers(&self) -> Vec<u32> {
        self.processes("agent")
    }

    /// Returns the processes of `rig dev WORD` in this root; processes that have ended and wait for their parent do not count.
    fn processes(&self, word: &str) -> Vec<u32> {
        let mark = format!("RIG_ROOT={}", self.root.path().display());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let split = |bytes: Vec<u8>| -> Vec<String> {
                bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
            };
            let arguments = split(read("cmdline"));
            arguments.first().is_some_and(|program| program == env!("CARGO_BIN_EXE_rig"))
                && arguments.get(1).is_some_and(|first| first == "dev")
                && arguments.get(2).is_some_and(|second| second == word)
                && split(read("environ")).contains(&mark)
        })
        .collect()
    }

    /// Kills every driver by SIGKILL and waits until none is left. Returns whether there was one.
    pub(crate) async fn kill_drivers(&self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut killed = false;
        loop {
            let drivers = self.drivers();
            if drivers.is_empty() {
                return killed;
            }
            killed = true;
            for pid in drivers {
                kill(pid);
            }
            assert!(Instant::now() < deadline, "a driver does not die");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Calls this root's own tmux server.
    pub(crate) fn tmux(&self, args: &[&str]) -> Output {
        std::process::Command::new("tmux")
            .args(["-L", &tmux_socket(&self.root)])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) fn sessions(&self) -> Vec<String> {
        let output = self.tmux(&["list-sessions", "-F", "#{session_name}"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|name| name.starts_with("dev-")).map(str::to_owned).collect()
    }

    /// Clones the repository as its owner.
    pub(crate) fn clone_as_owner(&self) -> Checkout {
        let url = self.forge.url().replace("http://", &format!("http://acme:{}@", self.owner));
        let output = git(self.folder.path(), &["clone", "--quiet", &format!("{url}/acme/greeter.git"), "human"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Checkout { folder: self.path("human") }
    }

    /// Returns what the agent has noted, one line for each thing that it did.
    pub(crate) fn notes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("notes/done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn worktree(&self) -> PathBuf {
        self.root.worktree(&"greeter".parse().unwrap(), rig::domain::ids::IssueNumber(1))
    }

    /// Posts a review as the reviewer, once for a commit. The forge may be in a bad mood: then nothing, or a later call, does.
    async fn review(&self, number: u64, head: &str, event: &str) -> reqwest::Result<()> {
        let client = reqwest::Client::new();
        let url = format!("{}/api/v1/repos/acme/greeter/pulls/{number}/reviews", self.forge.url());
        let token = format!("token {}", self.reviewer);
        let posted = client.get(format!("{url}?limit=50")).header("authorization", &token).send().await?;
        let posted: Value = posted.error_for_status()?.json().await?;
        if posted.as_array().is_some_and(|list| list.iter().any(|review| review["commit_id"] == head)) {
            return Ok(());
        }
        let review = json!({ "event": event, "commit_id": head, "body": format!("My word: {event}.") });
        client.post(url).header("authorization", &token).json(&review).send().await.map(|_| ())
    }

    /// The reviewer at work: reviews each commit whose CI is green, with these verdicts in turn; the last one stays.
    pub(crate) async fn reviewing(&self, verdicts: &[&str]) {
        let mut reviewed: Vec<String> = Vec::new();
        loop {
            if let Some(run) = self.run().await
                && let (Some(number), Some(green)) = (run.pull_request, &run.green_at)
                && !run.stage.is_over()
            {
                let head = green.to_string();
                let turn = reviewed.iter().position(|other| *other == head).unwrap_or(reviewed.len());
                if turn == reviewed.len() {
                    reviewed.push(head.clone());
                }
                // Posted again until the run has seen it: the forge may be in a bad mood.
                let _ = self.review(number.0, &head, verdicts[turn.min(verdicts.len() - 1)]).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns everything that helps to find out why a test failed.
    pub(crate) async fn story(&self) -> String {
        let mut text = String::new();
        for fact in self.facts().await {
            let words = serde_json::to_string(&fact.event).unwrap();
            text.push_str(&format!("{} {}\n", fact.at, words.chars().take(400).collect::<String>()));
        }
        if let Some(run) = self.run().await {
            text.push_str(&format!("run: {run:#?}\n"));
        }
        text + self.story_text().as_str()
    }

    fn story_text(&self) -> String {
        let mut text = format!("notes: {:?}\nsessions: {:?}\n", self.notes(), self.sessions());
        for folder in [self.root.log_dir(), self.root.state_dir().join("run/greeter/1")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "log" || extension == "jsonl") {
                    text.push_str(&format!("--- {}\n{}", entry.path().display(), tail(&entry.path())));
                }
            }
        }
        for session in self.sessions() {
            let screen = self.tmux(&["capture-pane", "-p", "-t", &format!("={session}:")]);
            text.push_str(&format!("--- {session}\n{}", String::from_utf8_lossy(&screen.stdout)));
        }
        text
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(60)..].iter().map(|line| line.chars().take(600).collect::<String>());
    last.collect::<Vec<_>>().join("\n") + "\n"
}

pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for word in ["poll", "agent"] {
            self.processes(word).into_iter().for_each(kill);
        }
        self.tmux(&["kill-server"]);
    }
}
