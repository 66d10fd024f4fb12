//! The bare repositories: git as plumbing, in an environment of its own so that nobody's configuration leaks in.
//! Owns how git is called; what a merge is made of is in `merge_git`.

use crate::adapters::process::{Output, ProcessError, Program};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// A git command that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The most that a git command may say; a diff or a list of refs beyond it is cut.
const OUTPUT_CAP: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("git {command} failed: {message}")]
    Failed { command: String, message: String },
}

/// Who a commit is by.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) email: String,
    /// As git writes it (`<seconds> <zone>`); empty for now.
    pub(super) date: String,
}

/// The refs of a repository at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Refs(BTreeMap<String, String>);

impl Refs {
    /// Returns the commit at the tip of a branch.
    pub(super) fn branch(&self, name: &str) -> Option<&str> {
        self.0.get(&format!("refs/heads/{name}")).map(String::as_str)
    }

    /// Returns the commit of any full ref name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the branches with their tips, by name.
    pub(super) fn branches(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|(name, sha)| Some((name.strip_prefix("refs/heads/")?.to_owned(), sha.clone())))
            .collect()
    }
}

/// One bare repository.
#[derive(Debug, Clone)]
pub(super) struct Git {
    folder: PathBuf,
}

impl Git {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes an empty bare repository, in place of what an interrupted creation may have left.
    pub(super) async fn init(&self, branch: &str) -> Result<(), GitError> {
        let failed = |message: String| GitError::Failed { command: "init".to_owned(), message };
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).map_err(|error| failed(error.to_string()))?;
        }
        let program = hermetic(Path::new("/")).args(["init", "--quiet", "--bare", "--template="]);
        let output = program.arg(format!("--initial-branch={branch}")).arg(&self.folder).run().await?;
        if output.status.success() { Ok(()) } else { Err(failed(output.error_text())) }
    }

    /// Returns a git command for this repository.
    pub(super) fn program(&self) -> Program {
        hermetic(&self.folder).arg("--git-dir").arg(&self.folder)
    }

    /// Runs git; any exit status is an answer.
    pub(super) async fn run(&self, args: &[&str]) -> Result<Output, GitError> {
        Ok(self.program().args(args).run().await?)
    }

    /// Runs git and returns what it says; a failure is an error.
    pub(super) async fn text(&self, args: &[&str]) -> Result<String, GitError> {
        self.checked(self.program().args(args), args).await.map(|output| output.text())
    }

    /// Runs a prepared git command; a failure is an error. `args` are for the message.
    pub(super) async fn checked(&self, program: Program, args: &[&str]) -> Result<Output, GitError> {
        let output = program.run().await?;
        if output.status.success() {
            return Ok(output);
        }
        let command = args.first().copied().unwrap_or_default().to_owned();
        Err(GitError::Failed { command, message: output.error_text() })
    }

    pub(super) async fn refs(&self) -> Result<Refs, GitError> {
        let text = self.text(&["for-each-ref", "--format=%(objectname) %(refname)"]).await?;
        let refs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(Refs(refs.map(|(sha, name)| (name.to_owned(), sha.to_owned())).collect()))
    }

    /// Returns the full commit id of a branch, tag, full ref or (abbreviated) commit id.
    pub(super) async fn commit(&self, name: &str) -> Result<Option<String>, GitError> {
        let refs = self.refs().await?;
        for full in [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.to_owned()] {
            if let Some(sha) = refs.get(&full) {
                return Ok(Some(sha.to_owned()));
            }
        }
        if name.len() < 4 || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let output = self.run(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await?;
        Ok(output.status.success().then(|| output.text()))
    }

    pub(super) async fn is_ancestor(&self, ancestor: &str, of: &str) -> Result<bool, GitError> {
        Ok(self.run(&["merge-base", "--is-ancestor", ancestor, of]).await?.status.success())
    }

    /// Returns the best common ancestor; empty when the histories are unrelated.
    pub(super) async fn merge_base(&self, one: &str, other: &str) -> Result<String, GitError> {
        Ok(self.run(&["merge-base", one, other]).await?.text())
    }

    /// Moves a ref from `old` to `new`; `false` when it was no longer at `old`. An empty `old` means that it must not
    /// exist.
    pub(super) async fn move_ref(&self, name: &str, new: &str, old: &str) -> Result<bool, GitError> {
        let old = if old.is_empty() { "0000000000000000000000000000000000000000" } else { old };
        Ok(self.run(&["update-ref", name, new, old]).await?.status.success())
    }

    /// Points a ref at a commit, wherever it was.
    pub(super) async fn set_ref(&self, name: &str, new: &str) -> Result<(), GitError> {
        self.text(&["update-ref", name, new]).await.map(drop)
    }

    /// Removes a ref that is at `old`.
    pub(super) async fn delete_ref(&self, name: &str, old: &str) -> Result<(), GitError> {
        self.text(&["update-ref", "-d", name, old]).await.map(drop)
    }

    /// Makes a commit object. Returns its id.
    pub(super) async fn commit_tree(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        author: &Identity,
        committer: &Identity,
    ) -> Result<String, GitError> {
        let mut program = self.program().args(["commit-tree", tree]);
        for parent in parents {
            program = program.arg("-p").arg(parent);
        }
        program = program.env("GIT_AUTHOR_NAME", &author.name).env("GIT_AUTHOR_EMAIL", &author.email);
        program = program.env("GIT_COMMITTER_NAME", &committer.name).env("GIT_COMMITTER_EMAIL", &committer.email);
        if !author.date.is_empty() {
            program = program.env("GIT_AUTHOR_DATE", &author.date);
        }
        let output = self.checked(program.stdin(message.as_bytes()), &["commit-tree"]).await?;
        Ok(output.text())
    }

    /// Stores bytes as a blob. Returns its id.
    pub(super) async fn blob(&self, bytes: &[u8]) -> Result<String, GitError> {
        let program = self.program().args(["hash-object", "-w", "--stdin"]).stdin(bytes);
        Ok(self.checked(program, &["hash-object"]).await?.text())
    }
}

/// Configuration of every git that runs here: what the database says happened is on the disk in the repositories too.
const CONFIG: &[(&str, &str)] = &[("core.fsync", "all"), ("core.fsyncMethod", "batch"), ("gc.auto", "0")];

/// Returns `git` with a cleared environment: no user's or system's configuration, no prompts, no localised messages.
pub(super) fn hermetic(home: &Path) -> Program {
    configured(home, CONFIG.iter().copied())
}

/// The same with further configuration.
pub(super) fn hermetic_with<'a>(home: &Path, more: impl Iterator<Item = (&'a str, &'a str)>) -> Program {
    configured(home, CONFIG.iter().copied().chain(more))
}

fn configured<'a>(home: &Path, config: impl Iterator<Item = (&'a str, &'a str)>) -> Program {
    let mut program = Program::new("git");
    let mut count = 0;
    for (index, (key, value)) in config.enumerate() {
        program = program.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        count = index + 1;
    }
    program
        .env("GIT_CONFIG_COUNT", count.to_string())
        .clear_env()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
        .env("HOME", home)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .timeout(TIMEOUT)
        .output_cap(OUTPUT_CAP)
}

/// Returns whether a name can be a branch (the rules of `git check-ref-format`, without starting it).
pub(super) fn is_branch_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    !(name.is_empty()
        || name.len() > 200
        || name == "@"
        || name.starts_with('-')
        || name.ends_with('/')
        || name.ends_with('.')
        || name.contains("..")
        || name.contains("@{")
        || name.contains(bad)
        || name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")))
}

#[cfg(test)]
mod tests {
    use super::is_branch_name;

    #[test]
    fn names_that_git_refuses_are_refused() {
        for good in ["main", "fix/issue-1", "a.b", "chore/x_y"] {
            assert!(is_branch_name(good), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b", "a:b", "a/", "/a", "a//b", ".a", "a/.b", "x.lock", "a@{0}", "@", "a\n"] {
            assert!(!is_branch_name(bad), "{bad:?}");
        }
    }
}
