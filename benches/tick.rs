//! What one tick costs: `rig dev poll` against a forge on this machine that takes a given time for each answer and does nothing
//! else. Prints a table: requests, time from start to end, processor time, and the largest memory, each of the process as
//! its starter sees it; the median of several ticks over a project in which nothing changes.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and may give up anywhere")]

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Ticks of each case; an odd number, for its median. One more is made before them and counts only as the first.
const TICKS: usize = 11;
/// Entries of a page, as most forges have it.
const PAGE: usize = 50;
/// The first number of what the issues wait for.
const DEPENDENCIES: usize = 100_000;
/// The first number of pull requests.
const PULLS: usize = 200_000;
/// Text of an issue besides what it waits for, about as long as people write.
const TEXT: &str =
    "What happens, what should happen, and how to see it.\n\nSome more words about it, a list of steps, a log.\n";

/// What the forge holds, and how slow it is.
struct Forge {
    /// Issues in the backlog; each waits for another one that is open and not in the backlog.
    issues: usize,
    /// Pull requests of the bot; every second has its approval and waits for CI, the others for their review.
    pulls: usize,
    latency: Duration,
    requests: AtomicUsize,
}

fn issue(number: usize) -> Value {
    let waits = number < DEPENDENCIES;
    let body = if waits { format!("{TEXT}\n## Dependencies\n- #{}\n", DEPENDENCIES + number) } else { TEXT.to_owned() };
    let labels = if waits { json!([{ "id": 1, "name": "backlog", "color": "00aa00" }]) } else { json!([]) };
    json!({ "id": number, "number": number, "title": format!("issue {number}"), "body": body, "labels": labels,
        "user": { "id": 7, "login": "ann" }, "assignees": null, "state": "open", "created_at": "2026-01-01T00:00:00Z",
        "html_url": format!("http://127.0.0.1/dev/widget/issues/{number}"), "pull_request": null })
}

fn sha(number: usize) -> String {
    format!("{number:040x}")
}

fn pull(number: usize) -> Value {
    let end = |name: String, sha: String| json!({ "ref": name, "sha": sha, "repo_id": 1, "repo": { "full_name": "dev/widget" } });
    json!({ "id": number, "number": number, "title": format!("change {number}"), "body": TEXT, "user": { "login": "dev" },
        "state": "open", "merged": false, "mergeable": true, "draft": false, "created_at": "2026-01-01T00:00:00Z",
        "head": end(format!("work/{number}"), sha(number)), "base": end("main".into(), sha(1)), "html_url": "" })
}

fn reviews(number: usize) -> Value {
    if number.is_multiple_of(2) {
        return json!([]);
    }
    json!([{ "id": number, "user": { "login": "review" }, "state": "APPROVED", "body": "", "commit_id": sha(number),
        "official": true, "stale": false, "dismissed": false, "comments_count": 0, "submitted_at": "2026-01-01T00:00:00Z" }])
}

/// Answers with one page of a list.
fn page(query: &BTreeMap<String, String>, all: &[usize], entry: fn(usize) -> Value) -> Response {
    let number = query.get("page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1);
    let entries: Vec<Value> = all.iter().skip((number - 1) * PAGE).take(PAGE).map(|number| entry(*number)).collect();
    ([("x-total-count", all.len().to_string())], Json(entries)).into_response()
}

async fn answer(State(forge): State<Arc<Forge>>, request: Request) -> Response {
    forge.requests.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(forge.latency).await;
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let path: Vec<&str> = request.uri().path().trim_start_matches("/api/v1/").split('/').collect();
    let backlog: Vec<usize> = (1..=forge.issues).collect();
    let number = |text: &str| text.parse::<usize>().unwrap();
    match path.as_slice() {
        ["user"] => Json(json!({ "login": "dev" })).into_response(),
        ["repos", "dev", "widget"] => {
            let permissions = json!({ "admin": false, "push": true });
            Json(json!({ "full_name": "dev/widget", "default_branch": "main", "permissions": permissions }))
                .into_response()
        }
        ["repos", _, _, "issues"] => match query.get("labels").map(String::as_str) {
            Some("backlog") => page(&query, &backlog, issue),
            Some(_) => page(&query, &[], issue),
            None => {
                let waited_for = backlog.iter().map(|number| DEPENDENCIES + number);
                page(&query, &backlog.iter().copied().chain(waited_for).collect::<Vec<_>>(), issue)
            }
        },
        ["repos", _, _, "issues", one] => Json(issue(number(one))).into_response(),
        ["repos", _, _, "pulls"] => page(&query, &(PULLS..PULLS + forge.pulls).collect::<Vec<_>>(), pull),
        ["repos", _, _, "pulls", one, "reviews"] => {
            let reviews = reviews(number(one));
            let total = reviews.as_array().map_or(0, Vec::len).to_string();
            ([("x-total-count", total)], Json(reviews)).into_response()
        }
        ["repos", _, _, "branch_protections"] => {
            let rule = json!({ "rule_name": "main", "enable_status_check": true, "status_check_contexts": ["ci"] });
            Json(json!([rule])).into_response()
        }
        ["repos", _, _, "commits", _, "status"] => {
            let pending = json!({ "id": 1, "status": "pending", "context": "ci", "description": "", "target_url": "" });
            Json(json!({ "state": "pending", "statuses": [pending] })).into_response()
        }
        _ => (StatusCode::NOT_FOUND, Json(json!({ "message": "not found" }))).into_response(),
    }
}

fn rig(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    environment(&mut command, root);
    command
}

fn environment(command: &mut Command, root: &Path) {
    let path = std::env::var_os("PATH").unwrap();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", root)
        .env("RIG_ROOT", root)
        .env("FORGE_TOKEN", "0123456789abcdef");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
}

/// Times from the start to the end of a process, and of the processor in it, in milliseconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

/// Makes one tick, timed by the shell: its `time` tells what the kernel has counted for the process.
fn timed(root: &Path) -> Cost {
    let mut command = Command::new("bash");
    environment(&mut command, root);
    let script = "TIMEFORMAT='%3R %3U %3S'; time \"$0\" dev poll 2>\"$HOME/said\"";
    let output = command.args(["-c", script, env!("CARGO_BIN_EXE_rig")]).stderr(Stdio::piped()).output().unwrap();
    let said = std::fs::read_to_string(root.join("said")).unwrap();
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stderr).unwrap();
    let figures: Vec<f64> = text.split_whitespace().map(|figure| figure.parse::<f64>().unwrap() * 1_000.0).collect();
    Cost { wall: figures[0], processor: figures[1] + figures[2] }
}

/// Makes one tick and watches its memory. Returns the most that it had resident, in MB of 1024 KiB.
fn memory(root: &Path) -> f64 {
    let mut child = rig(root).args(["dev", "poll"]).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = most.max(kib.unwrap_or_default() / 1024.0);
        std::thread::sleep(Duration::from_micros(200));
    }
    most
}

fn case(runtime: &tokio::runtime::Runtime, name: &str, issues: usize, pulls: usize, latency_ms: u64) {
    let latency = Duration::from_millis(latency_ms);
    let forge = Arc::new(Forge { issues, pulls, latency, requests: AtomicUsize::new(0) });
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = forge.clone();
    let server =
        runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(served)).await });
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["projects", "state"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    let text = format!(
        "repo = \"dev/widget\"\nforge_url = \"{url}\"\n[forge]\nbot = \"dev\"\n[agent]\ncommand = \"sh\"\n\
         min_free_memory_mb = 0\n[review]\nreviewers = [\"review\"]\n"
    );
    std::fs::write(root.join("projects/widget.toml"), text).unwrap();
    assert!(rig(root).args(["dev", "start"]).status().unwrap().success());
    let first = timed(root);
    forge.requests.store(0, Ordering::Relaxed);
    let mut costs: Vec<Cost> = (0..TICKS).map(|_| timed(root)).collect();
    let requests = forge.requests.load(Ordering::Relaxed) / TICKS;
    let median = |costs: &mut Vec<Cost>, of: fn(&Cost) -> f64| {
        costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&costs[TICKS / 2])
    };
    let (wall, processor) = (median(&mut costs, |cost| cost.wall), median(&mut costs, |cost| cost.processor));
    println!("{name:<44} {requests:>9} {wall:>9.0} {processor:>9.0} {:>9.1} {:>9.0}", memory(root), first.wall);
    server.abort();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let head = ["requests", "ms", "CPU ms", "peak MB", "first ms"];
    println!("{:<44} {:>9} {:>9} {:>9} {:>9} {:>9}", "", head[0], head[1], head[2], head[3], head[4]);
    case(&runtime, "nothing to do, 0 ms", 0, 0, 0);
    case(&runtime, "20 issues, 10 pull requests, 20 ms", 20, 10, 20);
    case(&runtime, "10 issues, 1 pull request, 20 ms", 10, 1, 20);
    case(&runtime, "100 issues, 10 pull requests, 20 ms", 100, 10, 20);
    case(&runtime, "1000 issues, 100 pull requests, 20 ms", 1_000, 100, 20);
}
