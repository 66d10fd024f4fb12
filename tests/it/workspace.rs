//! The workspace over real git, with bare repositories in temporary folders as the forge and as mirrors.

use crate::{
    git_world::{World, branch, git, issue},
    ports::ClosedPort,
};
use rig::ports::workspace::{MirrorPush, Workspace, WorkspaceError};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
    time::Duration,
};

#[tokio::test]
async fn a_fresh_worktree_stands_at_the_primary_branch_and_can_push() {
    let world = World::new();
    let workspace = world.workspace();
    let worktree = workspace.prepare(issue(7), &branch("fix/issue-7")).await.unwrap();
    assert_eq!(worktree.head, world.remote_tip("main").unwrap());
    assert_eq!((worktree.head.clone(), worktree.path.clone()), (worktree.base.clone(), world.worktree(7)));
    assert_eq!(git(&worktree.path, &["status", "--porcelain", "--branch"]), "## fix/issue-7");
    world.commit_in(7, "new.txt", "hello");
    git(&worktree.path, &["push", "--quiet", "-u", "origin", "HEAD"]);
    let state = workspace.inspect(issue(7), &branch("fix/issue-7")).await.unwrap();
    assert_eq!((state.remote.as_ref(), state.ahead, state.uncommitted), (Some(&state.local), 1, 0));
    assert_eq!(state.remote, world.remote_tip("fix/issue-7"));
    assert!(state.diff_stat.contains("new.txt") && state.diff_stat.contains("1 file changed"), "{}", state.diff_stat);
}

#[tokio::test]
async fn a_conflict_with_the_primary_branch_as_it_is_now_is_seen() {
    let world = World::new();
    let workspace = world.workspace();
    let head = world.push_to_remote("fix/issue-1", "file.txt", "mine");
    assert!(!workspace.conflicts(&head).await.unwrap());
    world.push_to_remote("main", "elsewhere.txt", "theirs");
    assert!(!workspace.conflicts(&head).await.unwrap());
    // Moved since rig's last fetch.
    let tip = world.push_to_remote("main", "file.txt", "theirs");
    assert!(workspace.conflicts(&head).await.unwrap());
    assert!(workspace.conflicts(&head).await.unwrap());
    assert_eq!((world.remote_tip("main"), world.remote_tip("fix/issue-1")), (Some(tip.clone()), Some(head)));
    assert!(!workspace.conflicts(&tip).await.unwrap());
}

#[tokio::test]
async fn a_conflict_that_git_cannot_judge_is_unknown() {
    let world = World::new();
    let workspace = world.workspace();
    let nowhere = "1234567890123456789012345678901234567890".parse().unwrap();
    assert!(workspace.conflicts(&nowhere).await.is_err());
    // A history of its own: git refuses to merge it, which is not a conflict.
    let tree = world.remote_git(&["rev-parse", "main^{tree}"]);
    let root = world.remote_git(&["commit-tree", "-m", "another beginning", &tree]);
    world.remote_git(&["update-ref", "refs/heads/other", &root]);
    let error = workspace.conflicts(&root.parse().unwrap()).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("on trial"), "{error}");
    fs::remove_dir_all(world.remote()).unwrap();
    assert!(workspace.conflicts(&root.parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn prepare_leaves_work_that_was_not_pushed_as_it_is() {
    let world = World::new();
    let workspace = world.workspace();
    let first = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    fs::write(first.path.join("dirty.txt"), "not even committed").unwrap();
    fs::write(first.path.join("file.txt"), "changed").unwrap();
    world.push_to_remote("main", "other.txt", "moved on");
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!((again.head, again.base), (tip, world.remote_tip("main").unwrap()));
    assert_eq!(fs::read_to_string(first.path.join("dirty.txt")).unwrap(), "not even committed");
    let state = workspace.inspect(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!((state.ahead, state.uncommitted, state.remote), (1, 2, None));
}

#[test]
fn a_branch_that_moves_while_it_is_looked_at_is_no_failure() {
    let world = World::new();
    let workspace = world.workspace();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(workspace.prepare(issue(1), &branch("fix/issue-1"))).unwrap();
    let looked = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            let commits = (0..).take_while(|_| !looked.load(Ordering::Relaxed));
            commits.for_each(|number: u32| drop(world.commit_in(1, "moving.txt", &number.to_string())));
        });
        let look = || runtime.block_on(workspace.inspect(issue(1), &branch("fix/issue-1")));
        let seen: Vec<_> = (0..20).map(|_| look().map(|state| state.ahead)).collect();
        looked.store(true, Ordering::Relaxed);
        seen
    });
    let ahead = seen.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    assert!(ahead.is_sorted() && ahead.last() > ahead.first(), "{ahead:?}");
}

#[tokio::test]
async fn a_worktree_that_was_removed_by_hand_is_made_again_from_its_branch() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    fs::remove_dir_all(world.worktree(1)).unwrap();
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(again.head, tip);
    assert_eq!(fs::read_to_string(again.path.join("mine.txt")).unwrap(), "unpushed");
    assert_eq!(git(&again.path, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn collected_work_survives_the_loss_of_the_agents_repository() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    workspace.collect(issue(1), &branch("fix/issue-1")).await.unwrap();
    fs::remove_dir_all(world.git_dir().join("work.git")).unwrap();
    fs::write(world.worktree(1).join("dirty.txt"), "kept").unwrap();
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(again.head, tip);
    assert_eq!(git(&again.path, &["status", "--porcelain"]), "?? dirty.txt");
}

#[tokio::test]
async fn work_in_a_worktree_survives_the_loss_of_all_of_rigs_repositories() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    world.commit_in(1, "mine.txt", "unpushed");
    fs::write(made.path.join("dirty.txt"), "dirty").unwrap();
    fs::remove_dir_all(world.git_dir()).unwrap();
    // Without any commit to stand on nothing can be rescued, so nothing is removed.
    assert!(workspace.remove(issue(1), &branch("fix/issue-1")).await.is_err());
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(again.head, again.base);
    assert_eq!(git(&made.path, &["status", "--porcelain"]), "?? dirty.txt\n?? mine.txt");
}

#[tokio::test]
async fn a_worktree_whose_link_was_destroyed_keeps_its_files() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    fs::write(made.path.join("dirty.txt"), "kept").unwrap();
    fs::remove_file(made.path.join(".git")).unwrap();
    git(&made.path, &["init", "--quiet"]);
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(again.head, tip);
    assert_eq!(git(&again.path, &["status", "--porcelain"]), "?? dirty.txt");
}

#[tokio::test]
async fn a_lock_file_of_a_killed_git_does_not_stop_the_next_agent() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    fs::write(world.git_dir().join("work.git/worktrees/1/index.lock"), "").unwrap();
    fs::write(world.git_dir().join("work.git/refs/heads/fix/issue-1.lock"), "").unwrap();
    fs::write(world.git_dir().join("rig.git/refs/remotes/origin/main.lock"), "").unwrap();
    fs::File::open(world.git_dir().join("rig.git/refs/remotes/origin/main.lock"))
        .unwrap()
        .set_modified(std::time::SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    world.push_to_remote("main", "later.txt", "later");
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    world.commit_in(1, "mine.txt", "works again");
    assert_eq!(git(&made.path, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_lock_file_of_a_living_git_is_left_alone() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let lock = world.git_dir().join("work.git/worktrees/1/index.lock");
    fs::write(&lock, "").unwrap();
    fs::File::open(&lock).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    // Waits for its input as long as that is held open.
    let mut living = std::process::Command::new("git")
        .args(["cat-file", "--batch"])
        .current_dir(&made.path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert!(lock.exists());
    drop(living.stdin.take());
    living.wait().unwrap();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert!(!lock.exists());
}

#[tokio::test]
async fn a_worktree_that_was_never_finished_is_made_anew() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    // As if rig had been killed in the middle of the first checkout.
    fs::write(world.git_dir().join("unfinished/1"), "").unwrap();
    fs::remove_file(world.worktree(1).join("file.txt")).unwrap();
    fs::remove_file(world.git_dir().join("work.git/worktrees/1/index")).unwrap();
    let again = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(git(&again.path, &["status", "--porcelain"]), "");
    assert!(again.path.join("file.txt").exists());
    assert_eq!(workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap(), None);
}

#[tokio::test]
async fn a_branch_that_only_the_forge_has_is_continued() {
    let world = World::new();
    let tip = world.push_to_remote("fix/issue-3", "theirs.txt", "from elsewhere");
    let worktree = world.workspace().prepare(issue(3), &branch("fix/issue-3")).await.unwrap();
    assert_eq!(worktree.head, tip);
    assert!(worktree.path.join("theirs.txt").exists());
}

#[tokio::test]
async fn a_worktree_on_another_branch_is_rescued_before_it_gives_way() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let old = world.commit_in(1, "old.txt", "of the last run");
    let made = workspace.prepare(issue(1), &branch("fix/issue-1-2")).await.unwrap();
    assert_eq!(made.head, made.base);
    assert_eq!(world.rig_ref("refs/heads/rig/rescue/1-removed"), Some(old));
}

#[tokio::test]
async fn removing_keeps_commits_and_changes_that_are_nowhere_else() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    fs::write(made.path.join("file.txt"), "changed").unwrap();
    fs::write(made.path.join("new with space\nand line.txt"), "new").unwrap();
    fs::create_dir(made.path.join("target")).unwrap();
    fs::write(made.path.join("target/ignored.o"), "ignored").unwrap();
    workspace.remove(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert!(!made.path.exists() && !world.git_dir().join("work.git/worktrees/1").exists());
    let name = "refs/heads/rig/rescue/1-removed";
    assert_eq!(world.rig_git(&["rev-parse", &format!("{name}^")]), tip.as_str());
    assert_eq!(world.rig_git(&["show", &format!("{name}:file.txt")]), "changed");
    let files = world.rig_git(&["ls-tree", "-r", "-z", "--name-only", name]);
    assert!(files.contains("new with space\nand line.txt") && !files.contains("ignored.o"), "{files}");
    assert_eq!(world.rig_git(&["for-each-ref", "refs/rig/runs/"]), "");
    // Nothing is there any more, and that is success.
    workspace.remove(issue(1), &branch("fix/issue-1")).await.unwrap();
}

#[tokio::test]
async fn a_rescue_leaves_the_worktree_alone_and_is_made_once() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    fs::write(made.path.join("staged.txt"), "staged").unwrap();
    git(&made.path, &["add", "staged.txt"]);
    fs::write(made.path.join("file.txt"), "changed").unwrap();
    // Flags of the agent's index do not hide the change.
    git(&made.path, &["update-index", "--assume-unchanged", "file.txt"]);
    let before = git(&made.path, &["status", "--porcelain"]);
    let first = workspace.rescue(issue(1), &branch("fix/issue-1"), "Crash!").await.unwrap();
    assert_eq!(first.as_deref(), Some("refs/heads/rig/rescue/1-crash-"));
    assert_eq!(workspace.rescue(issue(1), &branch("fix/issue-1"), "Crash!").await.unwrap(), first);
    assert_eq!(git(&made.path, &["status", "--porcelain"]), before);
    assert_eq!(world.rig_git(&["show", "rig/rescue/1-crash-:file.txt"]), "changed");
    assert_eq!(world.rig_git(&["show", "rig/rescue/1-crash-:staged.txt"]), "staged");
    fs::write(made.path.join("file.txt"), "changed again").unwrap();
    let other = workspace.rescue(issue(1), &branch("fix/issue-1"), "Crash!").await.unwrap();
    assert_eq!(other.as_deref(), Some("refs/heads/rig/rescue/1-crash--2"));
}

#[tokio::test]
async fn what_the_forge_has_needs_no_rescue() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    world.commit_in(1, "mine.txt", "pushed");
    git(&made.path, &["push", "--quiet", "origin", "HEAD"]);
    assert_eq!(workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap(), None);
    // A pull request's own ref is enough after its branch was deleted.
    world.remote_git(&["update-ref", "refs/pull/1/head", "refs/heads/fix/issue-1"]);
    world.remote_git(&["update-ref", "-d", "refs/heads/fix/issue-1"]);
    assert_eq!(workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap(), None);
}

#[tokio::test]
async fn a_rescue_does_not_need_the_forge() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    fs::rename(world.remote(), world.remote().with_extension("away")).unwrap();
    let kept = workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap().unwrap();
    assert_eq!(world.rig_ref(&kept), Some(tip));
    let error = workspace.fetch_primary().await.unwrap_err();
    assert!(error.to_string().contains("remote.git"), "{error}");
}

#[tokio::test]
async fn a_rescue_is_pushed_to_the_forge_and_never_over_another() {
    let world = World::new();
    let workspace = world.workspace_that_pushes();
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let tip = world.commit_in(1, "mine.txt", "unpushed");
    workspace.rescue(issue(1), &branch("fix/issue-1"), "crash").await.unwrap();
    assert_eq!(world.remote_tip("rig/rescue/1-crash"), Some(tip.clone()));
    // Somebody else's branch of the next name stays what it is.
    let theirs = world.push_to_remote("rig/rescue/1-crash-2", "theirs.txt", "theirs");
    world.commit_in(1, "more.txt", "more");
    workspace.rescue(issue(1), &branch("fix/issue-1"), "crash").await.unwrap();
    assert_eq!(world.remote_tip("rig/rescue/1-crash"), Some(tip));
    assert_eq!(world.remote_tip("rig/rescue/1-crash-2"), Some(theirs));
    assert!(world.rig_ref("refs/heads/rig/rescue/1-crash-2").is_some(), "it is kept here all the same");
}

#[tokio::test]
async fn a_rescue_with_a_secret_in_any_of_its_commits_stays_on_this_machine() {
    let world = World::new();
    let workspace = world.workspace_that_pushes();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    world.commit_in(1, "config.txt", "password: s3cret-of-the-project\n");
    world.commit_in(1, "config.txt", "password: from the environment\n");
    let kept = workspace.rescue(issue(1), &branch("fix/issue-1"), "one").await.unwrap().unwrap();
    assert!(world.rig_ref(&kept).is_some());
    git(&made.path, &["reset", "--quiet", "--hard", "origin/main"]);
    fs::write(made.path.join("note.txt"), "ghp_0123456789abcdefghijABCDEFGHIJ012345").unwrap();
    workspace.rescue(issue(1), &branch("fix/issue-1"), "two").await.unwrap().unwrap();
    for name in ["rig/rescue/1-one", "rig/rescue/1-two"] {
        assert_eq!(world.remote_tip(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_detached_head_and_a_repository_within_are_rescued() {
    let world = World::new();
    let workspace = world.workspace();
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let on_branch = world.commit_in(1, "a.txt", "on the branch");
    git(&made.path, &["checkout", "--quiet", "--detach", "HEAD^"]);
    let detached = world.commit_in(1, "b.txt", "detached");
    let nested = made.path.join("vendor/lib");
    fs::create_dir_all(&nested).unwrap();
    git(&nested, &["init", "--quiet"]);
    fs::write(nested.join("code.c"), "int x;").unwrap();
    let kept = workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap().unwrap();
    let parents = world.rig_git(&["log", "-1", "--format=%P", &kept]);
    assert_eq!(parents, format!("{detached} {on_branch}"));
    assert_eq!(world.rig_git(&["show", &format!("{kept}:vendor/lib/code.c")]), "int x;");
}

#[tokio::test]
async fn copied_files_reach_the_worktree_and_never_a_rescue() {
    let world = World::new();
    let root = world.human_checkout();
    fs::write(root.join(".env"), "SECRET=1").unwrap();
    fs::create_dir(root.join("conf")).unwrap();
    fs::write(root.join("conf/local.toml"), "x = 1").unwrap();
    let before = git(&root, &["status", "--porcelain"]);
    let workspace = world.workspace_with(|plan| {
        plan.repo_root = Some(root.clone());
        plan.copy_files = vec![".env".into(), "conf".into(), "missing".into()];
    });
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    assert_eq!(fs::read_to_string(made.path.join("conf/local.toml")).unwrap(), "x = 1");
    // Objects came from the checkout before the forge was asked for the rest.
    assert_ne!(world.rig_git(&["for-each-ref", "refs/rig/lent/"]), "");
    assert_eq!(git(&made.path, &["status", "--porcelain"]), "");
    // Also when the agent has overruled the ignoring.
    git(&made.path, &["add", "--force", ".env"]);
    fs::write(made.path.join("work.txt"), "work").unwrap();
    let kept = workspace.rescue(issue(1), &branch("fix/issue-1"), "x").await.unwrap().unwrap();
    let files = world.rig_git(&["ls-tree", "-r", "--name-only", &kept]);
    assert!(files.contains("work.txt") && !files.contains(".env") && !files.contains("conf"), "{files}");
    assert_eq!(git(&root, &["status", "--porcelain"]), before);
}

#[tokio::test]
async fn copied_files_that_leave_the_checkout_are_refused() {
    let world = World::new();
    let root = world.human_checkout();
    std::os::unix::fs::symlink("/etc/hostname", root.join("link")).unwrap();
    for entry in ["../secret", "/etc/hostname", "link"] {
        let workspace = world.workspace_with(|plan| {
            plan.repo_root = Some(root.clone());
            plan.copy_files = vec![entry.into()];
        });
        let error = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap_err();
        assert!(matches!(&error, WorkspaceError::Failed { what, .. } if what.contains(entry)), "{error}");
    }
}

#[tokio::test]
async fn nothing_that_the_agents_repository_names_is_run() {
    let world = World::new();
    let workspace = world.workspace();
    world.push_to_remote("main", ".gitattributes", "* filter=evil diff=evil\n");
    let made = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    let work = world.git_dir().join("work.git");
    let sign = world.path().join("was-run");
    let evil = world.path().join("evil.sh");
    fs::write(&evil, format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", sign.display())).unwrap();
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(work.join("hooks")).unwrap();
    for hook in ["post-checkout", "reference-transaction", "pre-commit", "post-commit", "post-index-change"] {
        fs::copy(&evil, work.join("hooks").join(hook)).unwrap();
    }
    let evil = evil.display().to_string();
    let rig_git = world.git_dir().join("rig.git").display().to_string();
    for (key, value) in [
        ("core.fsmonitor", evil.as_str()),
        ("core.sshCommand", &evil),
        ("core.pager", &evil),
        ("core.alternateRefsCommand", &evil),
        ("filter.evil.clean", &evil),
        ("filter.evil.smudge", &evil),
        ("diff.evil.textconv", &evil),
        ("diff.external", &evil),
        ("gpg.program", &evil),
        ("commit.gpgSign", "true"),
        ("protocol.allow", "always"),
        ("uploadpack.packObjectsHook", &evil),
        (&format!("remote.{rig_git}.uploadpack"), &evil),
    ] {
        git(&work, &["config", key, value]);
    }
    fs::write(made.path.join("file.txt"), "changed").unwrap();
    fs::write(made.path.join("new.txt"), "new").unwrap();
    // The trap works: an ordinary git walks into it.
    git(&made.path, &["status", "--porcelain"]);
    fs::remove_file(&sign).unwrap();
    let name = branch("fix/issue-1");
    assert_eq!(workspace.inspect(issue(1), &name).await.unwrap().uncommitted, 2);
    workspace.collect(issue(1), &name).await.unwrap();
    workspace.rescue(issue(1), &name, "x").await.unwrap().unwrap();
    world.push_to_remote("main", "later.txt", "later");
    workspace.prepare(issue(1), &name).await.unwrap();
    workspace.remove(issue(1), &name).await.unwrap();
    git(&work, &["config", &format!("url.ext::{evil} .insteadOf"), &rig_git]);
    workspace.prepare(issue(2), &branch("fix/issue-2")).await.unwrap();
    assert!(!sign.exists(), "{}", fs::read_to_string(&sign).unwrap());
}

#[tokio::test]
async fn a_checkout_is_clean_and_has_no_way_to_the_forge() {
    let world = World::new();
    let workspace = world.workspace();
    workspace.fetch_primary().await.unwrap();
    let head = world.push_to_remote("fix/issue-9", "pr.txt", "of the pull request");
    let folder = workspace.checkout(&head).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("pr.txt")).unwrap(), "of the pull request");
    assert_eq!(git(&folder, &["rev-parse", "HEAD"]), head.as_str());
    assert_eq!((git(&folder, &["status", "--porcelain"]), git(&folder, &["remote"])), (String::new(), String::new()));
    let second = workspace.checkout(&head).await.unwrap();
    assert!(second != folder && folder.exists());
    let unknown = "1234567890123456789012345678901234567890".parse().unwrap();
    let error = workspace.checkout(&unknown).await.unwrap_err();
    assert!(error.to_string().contains("1234567890"), "{error}");
    assert_eq!(fs::read_dir(world.git_dir().join("checkouts")).unwrap().count(), 2);
}

#[tokio::test]
async fn checkouts_of_dead_processes_are_cleared_and_those_of_living_ones_kept() {
    let world = World::new();
    let workspace = world.workspace();
    let head = workspace.fetch_primary().await.unwrap();
    let living = workspace.checkout(&head).await.unwrap();
    let name = living.file_name().unwrap().to_str().unwrap().to_owned();
    let parts: Vec<&str> = name.split('.').collect();
    let pid = parts[1].split('-').next().unwrap();
    // The process id is in use, by a process that started at another time.
    let dead = living.with_file_name(format!("{}.{pid}-1.0", parts[0]));
    fs::create_dir(&dead).unwrap();
    let odd = living.with_file_name("somebody-elses");
    fs::create_dir(&odd).unwrap();
    workspace.checkout(&head).await.unwrap();
    assert!(living.exists() && odd.exists() && !dead.exists());
}

#[tokio::test]
async fn a_mirror_gets_the_branch_and_the_tags_and_is_never_forced() {
    let world = World::new();
    let workspace = world.workspace();
    let mirror = world.bare("mirror.git");
    world.remote_git(&["tag", "v1", "main"]);
    let first = workspace.fetch_primary().await.unwrap();
    assert_eq!(workspace.push_mirror("m", &mirror, &first).await.unwrap(), MirrorPush::At(first.clone()));
    assert_eq!(git(mirror.as_ref(), &["rev-parse", "main", "v1"]), format!("{first}\n{first}"));
    let second = world.push_to_remote("main", "b.txt", "b");
    assert_eq!(workspace.push_mirror("m", &mirror, &second).await.unwrap(), MirrorPush::At(second.clone()));
    // A late push of an older commit finds the mirror further along the same way.
    assert_eq!(workspace.push_mirror("m", &mirror, &first).await.unwrap(), MirrorPush::At(second.clone()));
    let stray = world.commit_on_bare(&mirror, "main");
    let third = world.push_to_remote("main", "c.txt", "c");
    let pushed = workspace.push_mirror("m", &mirror, &third).await.unwrap();
    assert!(matches!(&pushed, MirrorPush::Diverged(why) if why.contains(stray.short())), "{pushed:?}");
    assert_eq!(git(mirror.as_ref(), &["rev-parse", "main"]), stray.as_str());
}

#[tokio::test]
async fn a_mirror_that_is_missing_or_hangs_is_told_without_its_password() {
    let world = World::new();
    let workspace = world.workspace();
    let head = workspace.fetch_primary().await.unwrap();
    let missing = world.path().join("no-such.git").display().to_string();
    let answer = workspace.push_mirror("gone", &missing, &head).await.unwrap();
    assert!(
        matches!(&answer, MirrorPush::Failed(why) if why.contains("gone") && why.contains("no-such.git")),
        "{answer:?}"
    );
    // Accepts connections and never says a word.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:sesame@{}/x.git", deaf.local_addr().unwrap());
    let hasty = world.workspace_with(|plan| plan.network_timeout = Duration::from_secs(2));
    let answer = hasty.push_mirror("deaf", &url, &head).await.unwrap();
    let MirrorPush::Failed(why) = answer else { panic!("{answer:?}") };
    assert!(why.contains("no answer within 2 s") && !why.contains("sesame"), "{why}");
}

#[tokio::test]
async fn an_unreachable_forge_is_told_from_one_that_refuses() {
    let world = World::new();
    let closed = ClosedPort::new();
    let url = format!("http://bot:sesame@{}/a/b.git", closed.address());
    let unreachable = world.workspace_with(|plan| plan.remote_url = url);
    let error = unreachable.fetch_primary().await.unwrap_err();
    assert!(error.is_transient() && !error.to_string().contains("sesame"), "{error}");
    for (status, transient) in [(503, true), (401, false), (403, false), (404, false)] {
        let server = wiremock::MockServer::start().await;
        let answer = wiremock::ResponseTemplate::new(status);
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let workspace = world.workspace_with(|plan| plan.remote_url = format!("{}/a/b.git", server.uri()));
        let error = workspace.fetch_primary().await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{status}: {error}");
        // The token reached the server, in the header and nowhere else.
        let requests = server.received_requests().await.unwrap();
        let header = requests[0].headers.get("authorization").unwrap().to_str().unwrap();
        assert_eq!(header, "Basic cmlnOnMzc2FtZS10b2tlbg==");
        assert!(!error.to_string().contains("s3same-token"), "{error}");
    }
}

#[tokio::test]
async fn a_primary_branch_that_is_not_there_is_named() {
    let world = World::new();
    let workspace = world.workspace_with(|plan| plan.primary_branch = "trunk".into());
    let error = workspace.fetch_primary().await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("`trunk`"), "{error}");
}

/// What a proxy sends in the place of a list of branches reads to git as a repository without any.
#[tokio::test]
async fn a_page_in_the_place_of_the_branches_is_no_answer_and_forgets_none_of_them() {
    let world = World::new();
    world.remote_git(&["update-ref", "refs/heads/other", "refs/heads/main"]);
    world.workspace().fetch_primary().await.unwrap();
    let known = world.rig_ref("refs/remotes/origin/other");
    assert!(known.is_some());
    let server = wiremock::MockServer::start().await;
    let page = wiremock::ResponseTemplate::new(200).set_body_raw("{\"id\": 1, \"numb\0", "application/json");
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(page).mount(&server).await;
    let misled = world.workspace_with(|plan| plan.remote_url = format!("{}/a/b.git", server.uri()));
    let error = misled.fetch_primary().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("shows no branch"), "{error}");
    assert_eq!(world.rig_ref("refs/remotes/origin/other"), known);
}

#[tokio::test]
async fn many_workspaces_on_one_folder_do_not_disturb_each_other() {
    let world = World::new();
    let tasks: Vec<_> = (1..=6)
        .map(|number| {
            let workspace = world.workspace();
            tokio::spawn(async move {
                let name = branch(&format!("fix/issue-{number}"));
                workspace.prepare(issue(number), &name).await?;
                workspace.fetch_primary().await?;
                workspace.inspect(issue(number), &name).await?;
                workspace.remove(issue(number), &name).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

/// Lets a future run until it has been polled so many times, then drops it, as a kill would: git ends with it. Returns
/// whether it came to its end before.
async fn cut_off<F: Future>(work: F, polls: usize) -> Option<F::Output> {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_kill_at_any_moment_of_prepare_is_made_good_by_the_next() {
    let name = branch("fix/issue-1");
    for polls in (1..).step_by(2) {
        let world = World::new();
        let finished = cut_off(world.workspace().prepare(issue(1), &name), polls).await.is_some();
        let made = world.workspace().prepare(issue(1), &name).await.unwrap();
        assert_eq!((git(&made.path, &["status", "--porcelain"]), &made.head), (String::new(), &made.base), "{polls}");
        assert!(made.path.join("file.txt").exists());
        if finished {
            assert!(polls > 10, "nothing was cut off: {polls}");
            break;
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_of_remove_loses_nothing() {
    let name = branch("fix/issue-1");
    for polls in (1..).step_by(2) {
        let world = World::new();
        let made = world.workspace().prepare(issue(1), &name).await.unwrap();
        let tip = world.commit_in(1, "mine.txt", "unpushed");
        fs::write(made.path.join("dirty.txt"), "dirty").unwrap();
        let finished = cut_off(world.workspace().remove(issue(1), &name), polls).await.is_some();
        world.workspace().remove(issue(1), &name).await.unwrap();
        assert!(!made.path.exists());
        let kept = world.rig_git(&["for-each-ref", "--format=%(refname)", "refs/heads/rig/rescue/"]);
        assert_eq!(kept, "refs/heads/rig/rescue/1-removed", "{polls}");
        assert_eq!(world.rig_git(&["show", &format!("{kept}:dirty.txt")]), "dirty");
        assert_eq!(world.rig_git(&["rev-parse", &format!("{kept}^")]), tip.as_str());
        if finished {
            assert!(polls > 10, "nothing was cut off: {polls}");
            break;
        }
    }
}

#[tokio::test]
async fn no_token_lies_in_any_file() {
    let world = World::new();
    let url = format!("file://{}", world.remote().display());
    let workspace = world.workspace_with(|plan| plan.remote_url = url);
    workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap();
    workspace.inspect(issue(1), &branch("fix/issue-1")).await.unwrap();
    let found = git(world.path(), &["grep", "--no-index", "-l", "-a", "s3same-token", "--", "."]);
    assert_eq!(found, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_is_inspected_while_the_agent_commits() {
    let world = World::new();
    let workspace = world.workspace();
    let path = workspace.prepare(issue(1), &branch("fix/issue-1")).await.unwrap().path;
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let agent = std::thread::spawn(move || {
        for turn in 0.. {
            fs::write(path.join("work.txt"), format!("{turn}\n")).unwrap();
            git(&path, &["add", "--all"]);
            git(&path, &["commit", "--quiet", "-m", "work"]);
            if ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                break;
            }
        }
    });
    let mut ahead = 0;
    for _ in 0..20 {
        let state = workspace.inspect(issue(1), &branch("fix/issue-1")).await.unwrap();
        assert!(state.ahead >= ahead, "{state:?}");
        ahead = state.ahead;
    }
    drop(done);
    agent.join().unwrap();
    assert!(ahead > 0, "the agent made no commit");
}
