//! A forge's bare repository, a root's git folder and a human's checkout, all in one temporary folder.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use rig::{
    adapters::git::{GitPlan, GitWorkspace, NETWORK_TIMEOUT},
    domain::{
        ids::{BranchName, IssueNumber, Sha},
        redact::{Redactor, SecretText},
    },
};
use secrecy::SecretString;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) const TOKEN: &str = "s3same-token";

pub(crate) struct World {
    folder: tempfile::TempDir,
}

pub(crate) fn issue(number: u64) -> IssueNumber {
    IssueNumber(number)
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

/// Runs git as a person would, with an identity and without this machine's configuration. Returns what it printed.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "someone")
        .env("GIT_AUTHOR_EMAIL", "someone@example.org")
        .env("GIT_COMMITTER_NAME", "someone")
        .env("GIT_COMMITTER_EMAIL", "someone@example.org")
        .output()
        .unwrap();
    // 1 is how git says "nothing found".
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code == 0 || (code == 1 && error.is_empty())), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', '\0']).to_owned()
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.bare("remote.git");
        world.push_to_remote("main", "file.txt", "original");
        world.push_to_remote("main", ".gitignore", "target/\n");
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.path().join("remote.git")
    }

    pub(crate) fn git_dir(&self) -> PathBuf {
        self.path().join("state/git/demo")
    }

    pub(crate) fn worktree(&self, number: u64) -> PathBuf {
        self.path().join("state/worktrees/demo").join(number.to_string())
    }

    pub(crate) fn workspace(&self) -> GitWorkspace {
        self.workspace_with(|_| {})
    }

    pub(crate) fn workspace_with(&self, change: impl FnOnce(&mut GitPlan)) -> GitWorkspace {
        let worktrees = self.path().join("state/worktrees/demo");
        let mut plan = GitPlan {
            git_dir: self.git_dir(),
            worktree: Box::new(move |issue| worktrees.join(issue.0.to_string())),
            remote_url: self.remote().display().to_string(),
            token: SecretString::from(TOKEN),
            push_token: SecretString::from(TOKEN),
            mirror_tokens: std::collections::BTreeMap::new(),
            primary_branch: "main".into(),
            repo_root: None,
            copy_files: Vec::new(),
            author_name: "dev-bot".into(),
            author_email: "dev-bot@example.org".into(),
            network_timeout: NETWORK_TIMEOUT,
        };
        change(&mut plan);
        GitWorkspace::new(plan)
    }

    /// The workspace as rig itself has it: rescues are pushed to the forge unless a secret is in them.
    pub(crate) fn workspace_that_pushes(&self) -> GitWorkspace {
        let redactor = Redactor::new([SecretText::new("s3cret-of-the-project")]);
        self.workspace().pushing_rescues(&SecretString::from(TOKEN), std::sync::Arc::new(redactor))
    }

    /// Makes an empty bare repository. Returns its path.
    pub(crate) fn bare(&self, name: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap();
        git(&path, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        path.display().to_string()
    }

    /// Pushes one more commit to a branch of the forge from somewhere else; a new branch starts at the primary one.
    pub(crate) fn push_to_remote(&self, branch: &str, file: &str, content: &str) -> Sha {
        let folder = tempfile::tempdir_in(self.path()).unwrap();
        let clone = folder.path();
        git(clone, &["clone", "--quiet", self.remote().to_str().unwrap(), "."]);
        let start = [branch, "main"].into_iter().find(|name| self.remote_tip(name).is_some());
        if let Some(start) = start {
            git(clone, &["checkout", "--quiet", "-B", branch, &format!("origin/{start}")]);
        }
        let sha = commit(clone, file, content);
        git(clone, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        sha
    }

    /// Commits in a worktree as its agent would.
    pub(crate) fn commit_in(&self, number: u64, file: &str, content: &str) -> Sha {
        commit(&self.worktree(number), file, content)
    }

    /// Puts a commit on a bare repository's branch that nobody else has.
    pub(crate) fn commit_on_bare(&self, bare: &str, branch: &str) -> Sha {
        let tree = format!("{branch}^{{tree}}");
        let sha = git(bare.as_ref(), &["commit-tree", "-p", branch, "-m", "stray", &tree]);
        git(bare.as_ref(), &["update-ref", &format!("refs/heads/{branch}"), &sha]);
        sha.parse().unwrap()
    }

    pub(crate) fn human_checkout(&self) -> PathBuf {
        let path = self.path().join("human");
        git(self.path(), &["clone", "--quiet", self.remote().to_str().unwrap(), path.to_str().unwrap()]);
        path
    }

    pub(crate) fn remote_git(&self, args: &[&str]) -> String {
        git(&self.remote(), args)
    }

    pub(crate) fn remote_tip(&self, branch: &str) -> Option<Sha> {
        Sha::new(self.remote_git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{branch}")])).ok()
    }

    pub(crate) fn rig_git(&self, args: &[&str]) -> String {
        git(&self.git_dir().join("rig.git"), args)
    }

    pub(crate) fn rig_ref(&self, name: &str) -> Option<Sha> {
        Sha::new(self.rig_git(&["rev-parse", "--quiet", "--verify", name])).ok()
    }
}

fn commit(folder: &Path, file: &str, content: &str) -> Sha {
    fs::write(folder.join(file), content).unwrap();
    git(folder, &["add", "--", file]);
    git(folder, &["commit", "--quiet", "-m", &format!("change {file}")]);
    git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
}
