//! Keeping what only a worktree has: its commits are copied into `rig.git`, and what is not committed becomes a commit there.
//! The worktree, its index and its HEAD stay as they are. Pushing what is kept is another file's.

use super::{
    GitWorkspace,
    command::{failed, local, over_tree, run_local, run_remote},
    copy_files, stale,
};
use crate::{
    domain::ids::{BranchName, IssueNumber, Sha},
    ports::workspace::WorkspaceResult,
};
use std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Bytes of a list of paths: some hundred thousand files.
pub(super) const PATH_LIST_CAP: usize = 64 * 1024 * 1024;
/// How deep repositories within a worktree are followed; a repository in a repository in a repository is an accident.
const NESTED_DEPTH: u32 = 3;
/// Characters of a label in a rescue's name.
const LABEL_LENGTH: usize = 40;

/// What is taken as known to the forge.
struct Known {
    /// Lines for `rev-list --stdin`.
    commits: String,
    /// The forge has just said so.
    is_fresh: bool,
}

impl GitWorkspace {
    /// Returns where the tip of an issue's branch is kept in `rig.git`.
    pub(super) fn collected_ref(issue: IssueNumber, branch: &BranchName) -> String {
        format!("{}/branches/{branch}", Self::run_refs(issue))
    }

    /// Copies branch and HEAD of an issue's worktree to `rig.git`; under its lock. Returns HEAD's commit and the branch's.
    pub(super) async fn collect_branch(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
    ) -> WorkspaceResult<(Option<Sha>, Option<Sha>)> {
        self.ensure_rig().await?;
        let (work, admin) = (self.work_git(), self.admin_dir(issue));
        if !work.join("HEAD").exists() {
            return Ok((None, None));
        }
        let tip = self.resolve(&work, &format!("refs/heads/{branch}")).await?;
        let head = if admin.join("HEAD").exists() { self.resolve(&admin, "HEAD").await? } else { None };
        let mut refs = Vec::new();
        if let Some(tip) = &tip {
            refs.push(format!("+{tip}:{}", Self::collected_ref(issue, branch)));
        }
        if let Some(head) = &head {
            refs.push(format!("+{head}:{}/head", Self::run_refs(issue)));
        }
        if !refs.is_empty() {
            self.copy_from_work(&refs).await?;
        }
        Ok((head, tip))
    }

    /// Keeps what no ref of the forge reaches. When the forge does not answer, whatever its primary branch was not last
    /// seen to have counts as that: a rescue too many does no harm.
    pub(super) async fn rescue_work(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        label: &str,
    ) -> WorkspaceResult<Option<String>> {
        // The network before the lock: others must not wait for it.
        let known = self.known_to_forge().await;
        let Some((name, commit)) = self.keep_work(issue, branch, label, &known.commits).await? else { return Ok(None) };
        if known.is_fresh {
            self.push_rescue(&name, &commit, &known.commits).await;
        }
        Ok(Some(name))
    }

    /// Keeps the work in `rig.git`. Returns the ref and the commit.
    async fn keep_work(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        label: &str,
        known: &str,
    ) -> WorkspaceResult<Option<(String, Sha)>> {
        let _rig = self.lock_rig().await?;
        let (head, tip) = self.collect_branch(issue, branch).await?;
        let path = self.worktree_path(issue);
        let has_files = !self.unfinished(issue).exists() && path.is_dir();
        let Some(head) = head.or_else(|| tip.clone()) else {
            let nothing = "its branch and HEAD are gone, so that its files have no commit to stand on";
            return if has_files { Err(failed(format!("rescuing {}", path.display()), nothing)) } else { Ok(None) };
        };
        let mut parents = Vec::new();
        for commit in [Some(head.clone()), tip].into_iter().flatten() {
            if !parents.contains(&commit) && !self.reached(&commit, known).await? {
                parents.push(commit);
            }
        }
        let tree = if has_files { self.tree_of(&path, &head).await? } else { None };
        let commit = match (tree, parents.as_slice()) {
            (None, []) => return Ok(None),
            (None, [only]) => only.clone(),
            (tree, _) => {
                parents.retain(|parent| *parent != head);
                parents.insert(0, head.clone());
                let tree = tree.unwrap_or_else(|| format!("{head}^{{tree}}"));
                self.commit(issue, label, &tree, &parents).await?
            }
        };
        let name = self.keep(issue, label, &commit).await?;
        // One that was kept before may differ in its time.
        let kept = self.resolve(&self.rig_git(), &name).await?;
        Ok(Some((name, kept.unwrap_or(commit))))
    }

    /// Returns what to take as known to the forge, as lines for `rev-list --stdin`.
    async fn known_to_forge(&self) -> Known {
        let fresh = async {
            self.fetch().await?;
            let ask = self.ask_remote().args(["ls-remote", "--quiet"]).arg(self.remote.url());
            run_remote(format!("asking {}", self.remote.url()), ask.output_cap(PATH_LIST_CAP)).await
        };
        match fresh.await {
            Ok(output) => {
                let text = output.text();
                let commits =
                    text.lines().filter_map(|line| line.split('\t').next()).filter_map(|id| Sha::new(id).ok());
                let commits = commits.fold(String::new(), |lines, commit| lines + "^" + commit.as_str() + "\n");
                Known { commits, is_fresh: true }
            }
            Err(error) => {
                tracing::warn!(%error, "the forge cannot be asked what it has; rescuing on the safe side");
                let primary = self.tracking_ref(&self.plan.primary_branch);
                let tip = self.resolve(&self.rig_git(), &primary).await.ok().flatten();
                let commits = tip.map_or(String::new(), |tip| format!("^{tip}\n"));
                Known { commits, is_fresh: false }
            }
        }
    }

    async fn reached(&self, commit: &Sha, known: &str) -> WorkspaceResult<bool> {
        let list = local(&self.rig_git())
            .args(["rev-list", "--ignore-missing", "--max-count=1", "--stdin", commit.as_str()])
            .stdin(known);
        Ok(run_local("looking for commits that the forge lacks", list).await?.stdout.is_empty())
    }

    /// Writes the files of a worktree as a tree in `rig.git`; `None` when they are those of `head`.
    async fn tree_of(&self, path: &Path, head: &Sha) -> WorkspaceResult<Option<String>> {
        let what = format!("reading the files of {}", path.display());
        let folder = stale::temporary_folder(&self.plan.git_dir)?;
        let index = folder.path().join("index");
        let git = || over_tree(&self.rig_git(), path, &index);
        let changed = self.changed_paths(path, &index, head).await?;
        if !changed.is_empty() {
            let list: Vec<u8> = changed.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
            let add = git().args(["update-index", "--add", "--remove", "--replace", "-z", "--stdin"]).stdin(list);
            run_local(what.as_str(), add).await?;
        }
        let tree = run_local(what.as_str(), git().arg("write-tree")).await?.text();
        let unchanged = run_local(what, git().args(["rev-parse", &format!("{head}^{{tree}}")])).await?.text();
        Ok((tree != unchanged).then_some(tree))
    }

    /// Returns the paths whose content differs from `head`: changed, deleted, and new ones that are not ignored; never
    /// copied files. Reads `head` into `index`, which is a fresh one: that of the worktree is the agent's, and its flags
    /// can hide changes.
    pub(super) async fn changed_paths(&self, path: &Path, index: &Path, head: &Sha) -> WorkspaceResult<Vec<PathBuf>> {
        let what = format!("looking for changes in {}", path.display());
        let git = || over_tree(&self.rig_git(), path, index).output_cap(PATH_LIST_CAP);
        run_local(what.as_str(), git().args(["read-tree", head.as_str()])).await?;
        // Says by its exit status that something differs, which is no failure.
        let _ = git().args(["update-index", "-q", "--refresh", "--ignore-submodules"]).run().await;
        let differing = git().args(["diff-files", "--name-only", "--ignore-submodules=all", "--no-ext-diff", "-z"]);
        let mut changed = paths(&run_local(what.as_str(), differing).await?.stdout);
        changed.extend(self.new_paths(path, index).await?);
        changed.retain(|changed| {
            !copy_files::is_copied(&self.plan.copy_files, changed) && is_readable(&path.join(changed))
        });
        Ok(changed)
    }

    /// Returns files that the index lacks and nothing ignores, also those in repositories within the worktree.
    async fn new_paths(&self, path: &Path, index: &Path) -> WorkspaceResult<Vec<PathBuf>> {
        let what = format!("looking for new files in {}", path.display());
        let (mut found, mut folders) = (Vec::new(), vec![(PathBuf::new(), 0)]);
        while let Some((folder, depth)) = folders.pop() {
            let no_index = index.with_file_name("none");
            let here = if depth == 0 { index } else { &no_index };
            let mut list = over_tree(&self.rig_git(), &path.join(&folder), here).output_cap(PATH_LIST_CAP).args([
                "ls-files",
                "-z",
                "--others",
                "--exclude-per-directory=.gitignore",
            ]);
            for excludes in [self.exclude_file(), self.work_git().join("info/exclude")] {
                if depth == 0 && excludes.is_file() {
                    list = list.arg("--exclude-from").arg(excludes);
                }
            }
            for entry in paths(&run_local(what.as_str(), list).await?.stdout) {
                let is_repository = entry.as_os_str().as_bytes().ends_with(b"/");
                match folder.join(entry) {
                    nested if is_repository && depth < NESTED_DEPTH => folders.push((nested, depth + 1)),
                    file => found.push(file),
                }
            }
        }
        Ok(found)
    }

    async fn commit(&self, issue: IssueNumber, label: &str, tree: &str, parents: &[Sha]) -> WorkspaceResult<Sha> {
        let what = format!("keeping the work of issue {issue}");
        let mut commit = local(&self.rig_git())
            .env("GIT_AUTHOR_NAME", &self.plan.author_name)
            .env("GIT_AUTHOR_EMAIL", &self.plan.author_email)
            .env("GIT_COMMITTER_NAME", &self.plan.author_name)
            .env("GIT_COMMITTER_EMAIL", &self.plan.author_email)
            .args(["commit-tree", "-m", &format!("rig: work on issue {issue} that was not pushed ({label})"), tree]);
        for parent in parents {
            commit = commit.args(["-p", parent.as_str()]);
        }
        let id = run_local(what.as_str(), commit).await?.text();
        Sha::new(id).map_err(|error| failed(what, &error.to_string()))
    }

    /// Points a ref at a rescued commit. A ref of that name with other content is never moved: a number is added.
    async fn keep(&self, issue: IssueNumber, label: &str, commit: &Sha) -> WorkspaceResult<String> {
        let rig = self.rig_git();
        let wanted = self.content(commit).await?;
        for number in 1.. {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let name = format!("refs/heads/rig/rescue/{}-{}{suffix}", issue.0, plain(label));
            match self.resolve(&rig, &name).await? {
                Some(kept) if kept == *commit || self.content(&kept).await? == wanted => return Ok(name),
                Some(_) => {}
                None => {
                    // All zeros: only if it is not there.
                    let create =
                        local(&rig).args(["update-ref", &name, commit.as_str(), &"0".repeat(commit.as_str().len())]);
                    run_local(format!("making {name}"), create).await?;
                    return Ok(name);
                }
            }
        }
        Err(failed("keeping a rescue", "no name is free"))
    }

    /// Returns tree and parents of a commit: two rescues of one state differ in nothing but their time.
    async fn content(&self, commit: &Sha) -> WorkspaceResult<String> {
        let show = local(&self.rig_git()).args(["log", "--no-walk", "--format=%T %P", commit.as_str()]);
        Ok(run_local("reading a rescue", show).await?.text())
    }
}

fn paths(list: &[u8]) -> Vec<PathBuf> {
    list.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(|path| OsStr::from_bytes(path).into()).collect()
}

/// Returns whether git can take the file as it is: one that is gone it can, too; one that may not be read stops it.
fn is_readable(path: &Path) -> bool {
    let readable = match path.symlink_metadata() {
        Ok(found) if found.is_file() => File::open(path).is_ok(),
        Ok(found) => found.is_symlink() || found.is_dir(),
        Err(_) => true,
    };
    if !readable {
        tracing::warn!(path = %path.display(), "cannot be read, so it cannot be rescued");
    }
    readable
}

/// Returns the label as a part of a ref's name.
fn plain(label: &str) -> String {
    let plain: String = label
        .chars()
        .take(LABEL_LENGTH)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    if plain.is_empty() { "work".to_owned() } else { plain }
}
