//! How long the agent waits for the guard before each of its commands: the whole hook process, and the judgement alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

use rig::{
    adapters::session::guard::Here,
    domain::guard::{Confines, GUARD_VERSION, Policy, judge},
};
use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PROCESSES: usize = 200;
const JUDGEMENTS: usize = 2_000;
/// What agents run: short, a chain, a commit with its message in a heredoc, a pipeline, something refused.
const COMMANDS: [&str; 5] = [
    "cargo test",
    "cd src && grep -rn 'TODO' . | head -20 && git status --short",
    "git add -A && git commit -m \"$(cat <<'EOF'\nFix the widget\n\nIt was broken.\nEOF\n)\" && git push -u origin HEAD",
    "find . -name '*.rs' -not -path './target/*' | xargs grep -n unwrap | sort | uniq -c | sort -rn | head",
    "bash -c 'cd /tmp; rm -rf \"$X\"'",
];

fn main() {
    let folder = std::env::temp_dir().join(format!("rig-guard-bench-{}", std::process::id()));
    if let Err(error) = measure(&folder) {
        eprintln!("error: {error}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

fn measure(folder: &Path) -> std::io::Result<()> {
    let worktree = folder.join("worktree");
    std::fs::create_dir_all(worktree.join(".git"))?;
    std::fs::write(worktree.join(".git/HEAD"), "ref: refs/heads/fix/issue-7\n")?;
    let confines = Confines {
        version: GUARD_VERSION,
        worktree: worktree.clone(),
        branch: "fix/issue-7".into(),
        primary_branch: "main".into(),
        forge_url: "https://git.example.org".into(),
        root: folder.join("root"),
        rig: env!("CARGO_BIN_EXE_rig").into(),
        tmux_socket: "rig-0123456789".into(),
        writable: Vec::new(),
        policy: Policy::default(),
    };
    let file = folder.join("guard.json");
    std::fs::write(&file, serde_json::to_vec(&confines)?)?;
    println!("{:<44} {:>10} {:>10}", "the guard", "median", "p99");
    let here = Here::with(BTreeMap::from([("HOME".to_owned(), "/home/agent".to_owned())]));
    let judgements = (0..JUDGEMENTS).map(|round| {
        let began = Instant::now();
        std::hint::black_box(judge(COMMANDS[round % COMMANDS.len()], &worktree, &confines, &here));
        began.elapsed()
    });
    print("judging a command", judgements.collect());
    let mut processes = Vec::with_capacity(PROCESSES);
    for round in 0..PROCESSES {
        let payload = serde_json::json!({
            "session_id": "s", "cwd": worktree, "hook_event_name": "PreToolUse", "tool_name": "Bash",
            "tool_input": { "command": COMMANDS[round % COMMANDS.len()] },
        });
        let began = Instant::now();
        let mut hook = Command::new(env!("CARGO_BIN_EXE_rig"))
            .args(["hook", "pre-tool-use"])
            .arg(&file)
            .env_remove("RIG_HOOKS_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut input) = hook.stdin.take() {
            input.write_all(payload.to_string().as_bytes())?;
        }
        let status = hook.wait()?;
        processes.push(began.elapsed());
        assert!(status.success(), "the hook failed");
    }
    print("the hook's whole process", processes);
    Ok(())
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{name:<44} {:>7.3} ms {:>7.3} ms", ms(median), ms(p99));
}
