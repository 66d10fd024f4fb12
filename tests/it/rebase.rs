//! Bringing a run's branch up to date, over real git.

use crate::git_world::{World, branch, git, issue};
use rig::{
    adapters::git::GitWorkspace,
    domain::{ids::Sha, run::WhenBehind},
    ports::workspace::{BroughtUp, Workspace},
};
use std::fs;

const BRANCH: &str = "fix/issue-1";

/// A worktree with one pushed commit, and a primary branch that has moved on since. Returns the branch's head.
async fn outdated(world: &World, file: &str, content: &str) -> (GitWorkspace, Sha) {
    let workspace = world.workspace();
    workspace.prepare(issue(1), &branch(BRANCH)).await.unwrap();
    let head = world.commit_in(1, file, content);
    let to = world.remote().display().to_string();
    git(&world.worktree(1), &["push", "--quiet", &to, &format!("HEAD:refs/heads/{BRANCH}")]);
    world.push_to_remote("main", "other.txt", "other");
    (workspace, head)
}

async fn bring_up(workspace: &GitWorkspace, head: &Sha, how: WhenBehind) -> BroughtUp {
    workspace.bring_up_to_date(issue(1), &branch(BRANCH), head, how).await.unwrap()
}

fn new_head(answer: &BroughtUp) -> Sha {
    let BroughtUp::To(new) = answer else { panic!("{answer:?}") };
    new.clone()
}

#[tokio::test]
async fn a_rebased_branch_is_pushed_and_its_clean_worktree_moves_along() {
    let world = World::new();
    let (workspace, head) = outdated(&world, "work.txt", "work").await;
    assert!(workspace.is_behind(&head).await.unwrap());
    let new = new_head(&bring_up(&workspace, &head, WhenBehind::Rebase).await);
    assert_eq!(world.remote_tip(BRANCH), Some(new.clone()));
    assert!(!workspace.is_behind(&new).await.unwrap());
    let tree = world.worktree(1);
    assert_eq!(git(&tree, &["rev-parse", "HEAD"]), new.as_str());
    assert_eq!(git(&tree, &["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(tree.join("other.txt")).unwrap(), "other");
    // The author stays, and rig says that it wrote the commit.
    let who = world.remote_git(&["log", "-1", "--format=%an %cn %s", new.as_str()]);
    assert_eq!(who, "someone dev-bot change work.txt");
    assert_eq!(world.remote_git(&["rev-list", "--count", &format!("main..{BRANCH}")]), "1");
}

#[tokio::test]
async fn an_updated_branch_keeps_its_commits_and_has_the_primary_branch_merged_in() {
    let world = World::new();
    let (workspace, head) = outdated(&world, "work.txt", "work").await;
    let new = new_head(&bring_up(&workspace, &head, WhenBehind::Update).await);
    let main = world.remote_tip("main").unwrap();
    let parents = world.remote_git(&["log", "-1", "--format=%P", new.as_str()]);
    assert_eq!(parents, format!("{head} {main}"));
    assert_eq!(git(&world.worktree(1), &["rev-parse", "HEAD"]), new.as_str());
}

#[tokio::test]
async fn doing_it_again_after_a_lost_answer_finds_what_was_pushed() {
    let world = World::new();
    let (workspace, head) = outdated(&world, "work.txt", "work").await;
    let new = new_head(&bring_up(&workspace, &head, WhenBehind::Rebase).await);
    // As if rig had died right after the push: the worktree is still at the old head.
    git(&world.worktree(1), &["reset", "--quiet", "--hard", head.as_str()]);
    assert_eq!(new_head(&bring_up(&workspace, &head, WhenBehind::Rebase).await), new);
    assert_eq!(git(&world.worktree(1), &["rev-parse", "HEAD"]), new.as_str());
    assert_eq!(world.remote_tip(BRANCH), Some(new.clone()));
    assert_eq!(bring_up(&workspace, &new, WhenBehind::Rebase).await, BroughtUp::UpToDate);
}

#[tokio::test]
async fn a_worktree_with_work_of_its_own_stops_the_rebase_and_keeps_it() {
    let world = World::new();
    let (workspace, head) = outdated(&world, "work.txt", "work").await;
    fs::write(world.worktree(1).join("notes.txt"), "mine").unwrap();
    assert!(matches!(bring_up(&workspace, &head, WhenBehind::Rebase).await, BroughtUp::NotClean(_)));
    fs::remove_file(world.worktree(1).join("notes.txt")).unwrap();
    let unpushed = world.commit_in(1, "more.txt", "more");
    assert!(matches!(bring_up(&workspace, &head, WhenBehind::Rebase).await, BroughtUp::NotClean(_)));
    assert_eq!(world.remote_tip(BRANCH), Some(head));
    assert_eq!(git(&world.worktree(1), &["rev-parse", "HEAD"]), unpushed.as_str());
}

#[tokio::test]
async fn a_conflict_a_moved_head_and_the_primary_branch_are_left_as_they_are() {
    let world = World::new();
    let (workspace, head) = outdated(&world, "other.txt", "mine").await;
    let answer = bring_up(&workspace, &head, WhenBehind::Rebase).await;
    assert!(matches!(&answer, BroughtUp::Conflict(why) if why.contains("other.txt")), "{answer:?}");
    let answer = bring_up(&workspace, &head, WhenBehind::Update).await;
    assert!(matches!(&answer, BroughtUp::Conflict(_)), "{answer:?}");
    assert_eq!(world.remote_tip(BRANCH), Some(head.clone()));
    let moved = world.push_to_remote(BRANCH, "by-hand.txt", "a person's");
    assert_eq!(bring_up(&workspace, &head, WhenBehind::Rebase).await, BroughtUp::Elsewhere(Some(moved.clone())));
    assert_eq!(world.remote_tip(BRANCH), Some(moved));
    let main = world.remote_tip("main").unwrap();
    let answer = workspace.bring_up_to_date(issue(1), &branch("main"), &main, WhenBehind::Rebase).await.unwrap();
    assert!(matches!(answer, BroughtUp::Refused(_)), "{answer:?}");
}

#[tokio::test]
async fn a_branch_with_a_merge_of_its_own_is_not_flattened() {
    let world = World::new();
    let (workspace, _) = outdated(&world, "work.txt", "work").await;
    let tree = world.worktree(1);
    git(&tree, &["fetch", "--quiet", world.remote().to_str().unwrap(), "main"]);
    git(&tree, &["merge", "--quiet", "--no-edit", "FETCH_HEAD"]);
    let to = world.remote().display().to_string();
    git(&tree, &["push", "--quiet", &to, &format!("HEAD:refs/heads/{BRANCH}")]);
    let head = world.remote_tip(BRANCH).unwrap();
    world.push_to_remote("main", "third.txt", "third");
    let answer = bring_up(&workspace, &head, WhenBehind::Rebase).await;
    assert!(matches!(&answer, BroughtUp::Conflict(why) if why.contains("merge")), "{answer:?}");
    assert!(matches!(bring_up(&workspace, &head, WhenBehind::Update).await, BroughtUp::To(_)));
}

#[tokio::test]
async fn a_push_that_the_forge_refuses_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let (workspace, head) = outdated(&world, "work.txt", "work").await;
    let hook = world.remote().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = bring_up(&workspace, &head, WhenBehind::Rebase).await;
    assert!(matches!(&answer, BroughtUp::Refused(why) if why.contains("hook")), "{answer:?}");
    assert_eq!(git(&world.worktree(1), &["rev-parse", "HEAD"]), head.as_str());
}
