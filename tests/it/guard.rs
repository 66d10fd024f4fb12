//! The guard: what an agent may run and write, and what not, as a table; and that nothing gets round it.

mod process;
mod real;
mod table;
mod wrapping;

use rig::{
    adapters::session::guard::Here,
    domain::guard::{Confines, GUARD_VERSION, Policy, ToolUse, Verdict, judge, judge_tool},
};
use std::{
    collections::BTreeMap,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const OWN_BRANCH: &str = "fix/issue-7";
const FORGE: &str = "http://forge.example.org:3000";

/// A worktree on the run's branch, in a root that is not below a temporary folder as far as the guard knows.
struct Stage {
    _folder: tempfile::TempDir,
    root: PathBuf,
    confines: Confines,
    here: Here,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Policy)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let worktree = root.join("state/worktrees/7");
        for made in ["src", "build", "target", ".claude", "run", "docs"] {
            std::fs::create_dir_all(worktree.join(made)).unwrap();
        }
        for file in ["README.md", "src/lib.rs", "a.txt", "b.txt", "taken"] {
            std::fs::write(worktree.join(file), "text").unwrap();
        }
        let admin = root.join("state/work.git/worktrees/7");
        std::fs::create_dir_all(&admin).unwrap();
        std::fs::write(admin.join("HEAD"), format!("ref: refs/heads/{OWN_BRANCH}\n")).unwrap();
        std::fs::write(admin.join("commondir"), "../..\n").unwrap();
        let heads = root.join("state/work.git/refs/heads");
        std::fs::create_dir_all(&heads).unwrap();
        for name in ["main", "taken"] {
            std::fs::write(heads.join(name), "0123\n").unwrap();
        }
        std::fs::write(root.join("state/work.git/packed-refs"), "# pack-refs\n0123 refs/heads/docs\n").unwrap();
        std::fs::write(root.join("hosts"), "127.0.0.1 localhost\n198.51.100.7 forge.example.org forge-alias\n")
            .unwrap();
        std::fs::write(worktree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
        symlink("/etc", worktree.join("etc-link")).unwrap();
        symlink("src", worktree.join("src-link")).unwrap();
        symlink("/dev/stdin", worktree.join("input-link")).unwrap();
        let attempt = root.join("state/run/widget/7/attempt-1");
        std::fs::create_dir_all(&attempt).unwrap();
        let mut policy = Policy::default();
        change(&mut policy);
        let variables = [
            ("HOME", "/home/agent"),
            ("PATH", "/usr/bin"),
            ("PHASE_FILE", &attempt.join("phase").display().to_string()),
            ("SUMMARY_FILE", &attempt.join("summary").display().to_string()),
            ("RIG_SESSION", "made-up"),
        ];
        let variables: BTreeMap<String, String> = variables.map(|(name, value)| (name.into(), value.into())).into();
        let confines = Confines {
            version: GUARD_VERSION,
            worktree,
            branch: OWN_BRANCH.into(),
            primary_branch: "main".into(),
            forge_url: FORGE.into(),
            root: root.clone(),
            rig: "/opt/rig/bin/rig".into(),
            tmux_socket: "rig-0123456789".into(),
            writable: vec![attempt.join("phase"), attempt.join("summary"), root.join("state/run/widget/7/scratch.md")],
            policy,
        };
        let here = Here::with(variables).with_hosts(root.join("hosts"));
        Self { _folder: folder, root, confines, here }
    }

    /// Returns the verdict on a command; `WT` in it is the worktree, `ROOT` rig's root.
    fn judge(&self, command: &str) -> Verdict {
        judge(&self.filled(command), &self.confines.worktree, &self.confines, &self.here)
    }

    fn filled(&self, text: &str) -> String {
        text.replace("WT", &self.confines.worktree.display().to_string())
            .replace("ROOT", &self.root.display().to_string())
    }

    fn write(&self, tool: &str, file: &str) -> Verdict {
        let file = self.filled(file);
        let folder: &Path = &self.confines.worktree;
        let tool = ToolUse { tool, folder, command: None, files: vec![&file], isolation: None };
        judge_tool(&tool, &self.confines, &self.here)
    }
}

#[test]
fn files_are_written_in_the_worktree_and_where_rig_expects_them() {
    let stage = Stage::new();
    for (file, allowed) in [
        ("WT/src/new.rs", true),
        ("WT/deep/new/file.txt", true),
        ("src/lib.rs", true),
        ("WT/src/../a.txt", true),
        ("WT/src-link/lib.rs", true),
        ("ROOT/state/run/widget/7/attempt-1/phase", true),
        ("ROOT/state/run/widget/7/attempt-1/summary", true),
        ("ROOT/state/run/widget/7/scratch.md", true),
        ("/var/tmp/note.txt", true),
        ("WT/.github/workflows/ci.yml", true),
        ("WT/.gitignore", true),
        ("WT/.git", false),
        ("WT/.git/hooks/pre-push", false),
        ("WT/.claude/settings.json", false),
        ("WT/.claude/settings.local.json", false),
        ("WT/.claude/commands/x.md", true),
        ("WT/../8/src/lib.rs", false),
        ("../8/src/lib.rs", false),
        ("WT/etc-link/passwd", false),
        ("WT/src/../../../rig.db", false),
        ("ROOT/state/rig.db", false),
        ("ROOT/state/env", false),
        ("ROOT/projects/widget.toml", false),
        ("ROOT/state/run/widget/7/attempt-1/settings.json", false),
        ("ROOT/state/run/widget/7/attempt-1/guard.json", false),
        ("ROOT/state/run/widget/7/attempt-2/phase", false),
        ("ROOT/state/work.git/hooks/pre-push", false),
        ("ROOT/state/work.git/config", false),
        ("/opt/rig/bin/rig", false),
        ("/home/agent/.bashrc", false),
        ("/home/agent/.claude/settings.json", false),
        ("/etc/passwd", false),
        ("/tmp/tmux-0/rig-0123456789", false),
    ] {
        for tool in ["Write", "Edit", "MultiEdit", "NotebookEdit", "ToolOfTomorrow"] {
            let verdict = stage.write(tool, file);
            assert_eq!(verdict.is_allowed(), allowed, "{tool} {file}: {verdict:?}");
        }
        assert!(stage.write("Read", file).is_allowed(), "reading {file}");
    }
}

#[test]
fn the_agent_cannot_move_into_another_worktree() {
    let stage = Stage::new();
    let folder: &Path = &stage.confines.worktree;
    for (tool, isolation) in [("EnterWorktree", None), ("Agent", Some("worktree"))] {
        let tool = ToolUse { tool, folder, command: None, files: Vec::new(), isolation };
        assert!(!judge_tool(&tool, &stage.confines, &stage.here).is_allowed());
    }
    let command = Some("git push origin main");
    let tool = ToolUse { tool: "ShellOfTomorrow", folder, command, files: Vec::new(), isolation: None };
    assert!(!judge_tool(&tool, &stage.confines, &stage.here).is_allowed(), "a tool with a command is a shell");
}

#[test]
fn the_policy_of_the_project_widens_and_narrows() {
    let stage = Stage::with(|policy| {
        policy.allow_commands = vec!["git tag".into(), "docker compose down".into(), "git push origin release".into()];
        policy.deny_commands = vec!["make deploy".into(), "docker".into()];
        policy.allow_paths = vec!["/srv/data".into()];
        policy.allow_sudo = true;
        policy.allow_packages = true;
    });
    for (command, allowed) in [
        ("git push origin release", true),
        ("git push origin release main", true),
        ("git push origin main", false),
        ("make deploy", false),
        ("env X=1 make deploy", false),
        ("make test", true),
        ("docker compose down", false),
        ("rm -rf /srv/data/cache", true),
        ("rm -rf /srv/database", false),
        ("echo x > /srv/data/x", true),
        ("sudo apt-get install -y jq", true),
        ("apt-get install -y jq", true),
        ("sudo rm -rf /etc", false),
        ("sudo git push origin main", false),
        ("npm install -g typescript", true),
    ] {
        let verdict = stage.judge(command);
        assert_eq!(verdict.is_allowed(), allowed, "{command}: {verdict:?}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused_at_once() {
    let stage = Stage::new();
    let deep = |open: &str, close: &str, times: usize| format!("{}true{}", open.repeat(times), close.repeat(times));
    for command in [
        format!("echo {}", "x".repeat(rig::domain::guard::TEXT_BYTES)),
        deep("( ", " )", 5_000),
        deep("$(", ")", 5_000),
        deep("{ ", "; }", 5_000),
        deep("for x in a; do ", "; done", 60),
        deep("eval ", "", 40),
        deep("env ", "", 40),
        "a && ".repeat(20_000) + "true",
        format!("uv run {}", "curl ".repeat(20_000)),
        format!("echo {}", "{a,b}".repeat(20_000)) + " && git push origin main",
        "f() { g; g; }; g() { h; h; }; h() { f; f; }; f; ".repeat(300),
    ] {
        let began = std::time::Instant::now();
        let verdict = stage.judge(&command);
        assert!(!verdict.is_allowed(), "{}", &command[..40]);
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{} took {:?}", &command[..40], began.elapsed());
    }
}

#[test]
fn a_refusal_says_why_and_what_to_do_instead() {
    let stage = Stage::new();
    let Verdict::Deny(refusal) = stage.judge("git push origin HEAD:main") else { panic!("allowed") };
    assert!(refusal.reason.contains("primary branch"), "{}", refusal.reason);
    assert!(refusal.reason.contains("git push origin HEAD:refs/heads/fix/issue-7"), "{}", refusal.reason);
    let Verdict::Deny(refusal) = stage.judge("rm -rf \"$BUILD\"/x") else { panic!("allowed") };
    assert!(refusal.reason.contains("not known before it runs"), "{}", refusal.reason);
}
