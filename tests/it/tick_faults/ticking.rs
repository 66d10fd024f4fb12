//! One copy of a world that ticks, with a machine that only writes down what it is told, and a stand-in for drivers that goes
//! no further than claiming and giving back.

use super::worlds::{ROOT_ID, Template};
use crate::{forge_support::started, root_support::TestRoot};
use jiff::{SignedDuration, Timestamp};
use rig::{
    adapters::{
        ci::{ForgeStatusCi, ForgeStatusPlan},
        flock::FlockLocks,
        forge::{Connections, Gitea, Timing},
        system_clock::SystemClock,
    },
    commands::{dev::tick_world, wire},
    config,
    domain::{
        ids::{IssueNumber, ProjectName, RunId},
        run::{Event, Stage},
    },
    embedded_forge::Running,
    engine::{World, commit, dispatch, resume, tick::Report},
    output::Failure,
    ports::{
        clock::Clock,
        launch::{Errand, LaunchError, Machine, ProcessIdentity},
    },
};
use serde_json::{Value, json};
use sqlx::Connection;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Time limit of a request where one is to hang.
pub(super) const SHORT: Duration = Duration::from_millis(700);
/// Time limit of all others: a busy machine is no fault.
const LONG: Duration = Duration::from_secs(20);
/// Orders that the stand-in carries out for one run at most; an ending needs a handful.
const MOST_ORDERS: usize = 30;

/// How a comment begins that says that an issue went back to the queue.
const GIVEN_BACK: &str = "@review given back to the queue: cannot claim the issue: ";

/// A clock that is put forward between ticks: what is left alone for an hour is not left alone by the next tick.
#[derive(Debug, Default)]
struct ForwardClock {
    real: SystemClock,
    hours: AtomicI64,
}

impl Clock for ForwardClock {
    fn now(&self) -> Timestamp {
        self.real.now() + SignedDuration::from_hours(self.hours.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }
}

/// Starts and ends nothing; remembers what it was to start and to end.
#[derive(Default)]
struct Recorded {
    root: Option<config::Root>,
    launched: Mutex<Vec<u64>>,
    ended: Mutex<Vec<u32>>,
}

impl Machine for Recorded {
    fn launch_driver(&self, _: &ProjectName, issue: IssueNumber, _: &RunId) -> Result<(), LaunchError> {
        self.launched.lock().unwrap().push(issue.0);
        Ok(())
    }

    fn start_errand(&self, _: &ProjectName, _: Errand) -> std::io::Result<()> {
        Ok(())
    }

    fn wake_driver(&self, _: &ProjectName, _: IssueNumber) {}

    fn ensure_bridge(&self) {}

    fn is_switched_on(&self) -> bool {
        true
    }

    fn switch(&self, _: bool) -> std::io::Result<bool> {
        Ok(false)
    }

    fn this_process(&self) -> ProcessIdentity {
        ProcessIdentity { pid: 1, start: 1, boot_id: "boot".into() }
    }

    fn is_alive(&self, _: &ProcessIdentity) -> bool {
        false
    }

    fn end(&self, process: &ProcessIdentity) {
        self.ended.lock().unwrap().push(process.pid);
    }

    fn available_memory_mb(&self) -> Option<u64> {
        Some(64_000)
    }

    fn forget_hooks(&self, _: &ProjectName, _: IssueNumber, _: &RunId) -> std::io::Result<()> {
        Ok(())
    }

    fn run_folders(&self, project: &ProjectName) -> Vec<IssueNumber> {
        let entries = std::fs::read_dir(self.root.as_ref().unwrap().runs_dir(project)).into_iter().flatten().flatten();
        entries.map(|entry| IssueNumber(entry.file_name().to_str().unwrap().parse().unwrap())).collect()
    }

    fn forget_run_folder(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<()> {
        std::fs::remove_dir_all(self.root.as_ref().unwrap().run(project, issue).path())
    }

    fn new_run_id(&self) -> RunId {
        RunId::new(ulid::Ulid::new().to_string()).unwrap()
    }
}

/// What is there after a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// By number: state, labels, assignees and comments of an issue; of a pull request, whether it is merged, too.
    pub(super) issues: BTreeMap<u64, Value>,
    pub(super) merged: Vec<u64>,
    pub(super) closed: Vec<u64>,
    /// Issues with an open run, and its stage.
    pub(super) runs: Vec<(u64, String)>,
    /// Issues for which a driver was ever started, each once.
    pub(super) launched: Vec<u64>,
    /// Comments that say that an issue went back to the queue: that the forge refused a claim is for people to know.
    pub(super) given_back: usize,
}

pub(super) struct Ticking {
    _folder: TempDir,
    forge: Running,
    world: World,
    root: TestRoot,
    clock: Arc<ForwardClock>,
    machine: Arc<Recorded>,
    admin: String,
    client: reqwest::Client,
}

impl Ticking {
    pub(super) async fn over(template: &Template) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let forge = started(&template.copy_to(folder.path())).await;
        let root = TestRoot::new();
        let provider = if template.watches_ci { "forge\"\nrequired_contexts = [\"ci\"]" } else { "none\"" };
        let text = format!(
            "repo = \"dev/widget\"\nforge_url = \"{}\"\n[forge]\nkind = \"embedded\"\nbot = \"dev\"\n\
             chore_authors = [\"helper\"]\n[ci]\n\
             provider = \"{provider}\n[agent]\ncommand = \"sh\"\nmin_free_memory_mb = 0\n\
             [review]\nreviewers = [\"review\"]\n",
            forge.url()
        );
        root.project("widget", &text).env_file(&format!("FORGE_TOKEN={}\n", template.dev), 0o600);
        std::fs::write(root.path().join("state/root-id"), ROOT_ID).unwrap();
        let place = root.root();
        let project = config::load_one(&place, None).unwrap();
        let store = wire::store(&place).await.unwrap();
        let mut world = wire::world(&place, project, store).await.unwrap();
        let (clock, machine) = (
            Arc::new(ForwardClock::default()),
            Arc::new(Recorded { root: Some(place.clone()), ..Recorded::default() }),
        );
        let (url, repository) = (world.project.forge_url.clone(), world.project.repository.clone());
        world.locks = Arc::new(FlockLocks::new(&root.home(), &url, &repository));
        world.clock = clock.clone();
        world.machine = machine.clone();
        // Reading the system's certificates takes longer than everything else here.
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let mut ticking =
            Self { _folder: folder, forge, world, root, clock, machine, admin: template.admin.clone(), client };
        ticking.limit_requests(LONG);
        ticking.settled().await;
        ticking
    }

    /// Waits until the forge has made up its mind which pull requests can be merged.
    pub(super) async fn settled(&self) {
        let deadline = std::time::Instant::now() + LONG;
        loop {
            let open = self.control("GET", "/repos/dev/widget/pulls?state=open", Value::Null).await;
            if open.as_array().unwrap().iter().all(|one| one["mergeable"] == true) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the forge does not make up its mind: {open}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Connects to the forge with a time limit of its own.
    pub(super) fn limit_requests(&mut self, request: Duration) {
        let world = &mut self.world;
        let project = world.project.clone();
        let timing = Timing { request, first_pause: Duration::from_millis(1), slow: SHORT / 2, ..Timing::default() };
        let (repository, token) = (project.repository.clone(), project.forge.token.clone());
        let connections = Connections::new(timing);
        let forge = Gitea::with_connections(&project.forge_url, repository, token, connections).unwrap();
        world.forge = Arc::new(forge.within(world.allowance.clone()));
        if !project.ci.required_contexts.is_empty() {
            let plan = ForgeStatusPlan {
                stale: None,
                required_contexts: project.ci.required_contexts.clone(),
                primary_branch: project.primary_branch.clone(),
                contexts_file: self.root.path().join("state/contexts.json"),
            };
            world.ci = Arc::new(ForgeStatusCi::new(plan, world.forge.clone(), Arc::new(SystemClock::default())));
        }
    }

    /// Makes one tick. Returns also the issues for which it started a driver.
    pub(super) async fn tick(&mut self) -> (Result<Report, Failure>, Vec<u64>) {
        // Each tick is a process of its own.
        self.world.allowance = Arc::default();
        let before = self.machine.launched.lock().unwrap().len();
        let result = tick_world(&self.world).await;
        (result, self.machine.launched.lock().unwrap()[before..].to_vec())
    }

    /// Does what drivers do of claiming and giving back, and lets three hours pass.
    pub(super) async fn drive(&self) {
        for row in self.world.store.open_runs(None).await.unwrap() {
            let mut run = resume::load(&self.world, &row.run).await.unwrap();
            let files = wire::run_files(&self.world.root, &run.project, run.issue, &run.id).unwrap();
            for _ in 0..MOST_ORDERS {
                if !matches!(run.stage, Stage::Claiming | Stage::Finishing { .. }) {
                    break;
                }
                let order = run.pending.iter().next().map(|(id, effect)| (id.clone(), effect.clone()));
                let Some((id, effect)) = order else {
                    commit::commit(&self.world, &mut run, 0, Event::RunEnded, None, &[]).await.unwrap();
                    break;
                };
                let seen = dispatch::carry_out(&self.world, &run, files.as_ref(), &id, &effect).await.unwrap().unwrap();
                commit::commit(&self.world, &mut run, 0, seen.event, seen.completes, &[]).await.unwrap();
            }
        }
        self.clock.hours.fetch_add(3, Ordering::Relaxed);
    }

    pub(super) fn has_ended_processes(&self) -> bool {
        !self.machine.ended.lock().unwrap().is_empty()
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// Makes a table of the store unreadable.
    pub(super) async fn break_table(&self, name: &str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.root.root().database());
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("ALTER TABLE {name} RENAME TO {name}_elsewhere"));
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }

    /// Lets time pass.
    pub(super) fn pass_hours(&self, hours: i64) {
        self.clock.hours.fetch_add(hours, Ordering::Relaxed);
    }

    pub(super) async fn spoil(&self, rule: Value) {
        let answer = self.control("POST", "/-/faults", json!([rule])).await;
        assert!(answer == "", "{answer}");
    }

    pub(super) async fn mend(&self) {
        self.control("DELETE", "/-/faults", Value::Null).await;
    }

    /// Returns what was asked since the last call: method, path, and how often.
    pub(super) async fn requests(&self) -> Vec<(String, String, u64)> {
        let asked = self.control("GET", "/-/requests", Value::Null).await;
        self.control("DELETE", "/-/requests", Value::Null).await;
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        let each = asked["requests"].as_array().unwrap().iter();
        each.map(|one| (text(one, "method"), text(one, "path"), one["count"].as_u64().unwrap())).collect()
    }

    pub(super) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/api/v1{path}", self.forge.url());
        let request = self.client.request(method.parse().unwrap(), url);
        let request = request.header("authorization", format!("token {}", self.admin));
        let request = if body.is_null() { request } else { request.json(&body) };
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    pub(super) async fn state(&self) -> State {
        let at = |rest: &str| format!("/repos/dev/widget{rest}");
        let all = self.control("GET", &at("/issues?state=all&limit=50"), Value::Null).await;
        let (issues, given_back) = (BTreeMap::new(), 0);
        let mut state = State { issues, merged: vec![], closed: vec![], runs: vec![], launched: vec![], given_back };
        for issue in all.as_array().unwrap() {
            let number = issue["number"].as_u64().unwrap();
            let comments = self.control("GET", &at(&format!("/issues/{number}/comments")), Value::Null).await;
            let each = comments.as_array().unwrap().iter();
            let mut comments: Vec<String> = each.map(|one| nameless(one["body"].as_str().unwrap())).collect();
            let before = comments.len();
            comments.retain(|body| !body.starts_with(GIVEN_BACK));
            state.given_back += before - comments.len();
            comments.sort();
            let names = |list: &Value, name: &str| {
                let list = list.as_array().into_iter().flatten();
                let mut names: Vec<String> = list.map(|one| one[name].as_str().unwrap().to_owned()).collect();
                names.sort();
                names
            };
            let is_merged = issue["pull_request"]["merged"] == true;
            if is_merged {
                state.merged.push(number);
            } else if issue["state"] == "closed" {
                state.closed.push(number);
            }
            let (labels, assignees) = (names(&issue["labels"], "name"), names(&issue["assignees"], "login"));
            let shown = json!({
                "state": issue["state"], "labels": labels, "assignees": assignees, "comments": comments, "merged": is_merged,
            });
            state.issues.insert(number, shown);
        }
        state.merged.sort_unstable();
        state.closed.sort_unstable();
        let rows = self.world.store.open_runs(None).await.unwrap();
        state.runs = rows.into_iter().map(|row| (row.issue.0, row.stage)).collect();
        state.launched = self.machine.launched.lock().unwrap().clone();
        state.launched.sort_unstable();
        state.launched.dedup();
        state
    }
}

/// Takes the ids of runs out of a text: they are other ones each time.
fn nameless(text: &str) -> String {
    let is_id = |word: &str| word.len() == 26 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    words.map(|word| if is_id(&word[..word.len().min(26)]) { "RUN " } else { word }).collect()
}
