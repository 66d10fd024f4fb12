//! The two bare repositories of a project: making them, fetching from the forge, and reading refs and objects.

use super::{
    GitWorkspace,
    command::{failed, local, remote, run_local, run_remote},
    lock::{self, FolderLock},
    rescue::PATH_LIST_CAP,
    stale,
};
use crate::{
    adapters::process::Program,
    domain::ids::{IssueNumber, Sha},
    ports::workspace::{WorkspaceError, WorkspaceResult},
};
use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Time for a whole history to come or go. One that stands still is given up much earlier (`http.lowSpeedTime`).
const FIRST_TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

impl GitWorkspace {
    pub(in crate::adapters) fn rig_git(&self) -> PathBuf {
        self.plan.git_dir.join("rig.git")
    }

    pub(super) fn work_git(&self) -> PathBuf {
        self.plan.git_dir.join("work.git")
    }

    pub(super) fn tracking_ref(&self, branch: &str) -> String {
        format!("refs/remotes/origin/{branch}")
    }

    /// Returns the prefix of what was copied over from an issue's worktree.
    pub(super) fn run_refs(issue: IssueNumber) -> String {
        format!("refs/rig/runs/{}", issue.0)
    }

    /// Returns the lock for changes of `rig.git`, after having made the folder.
    pub(super) async fn lock_rig(&self) -> WorkspaceResult<FolderLock> {
        make_folder(&self.plan.git_dir)?;
        lock::take(&self.plan.git_dir.join("rig.lock")).await
    }

    /// Returns the lock for changes of `work.git`. Taken before that of `rig.git` where both are needed.
    pub(super) async fn lock_work(&self) -> WorkspaceResult<FolderLock> {
        make_folder(&self.plan.git_dir)?;
        lock::take(&self.plan.git_dir.join("work.lock")).await
    }

    /// Makes `rig.git` unless it is there; under its lock.
    pub(super) async fn ensure_rig(&self) -> WorkspaceResult<()> {
        let rig = self.rig_git();
        if !rig.join("rig-ready").exists() {
            self.init(&rig).await?;
            self.borrow_objects(&rig).await;
            write(&rig.join("rig-ready"), "")?;
        }
        Ok(())
    }

    /// Makes `work.git` unless it is there and readable; under its lock.
    pub(super) async fn ensure_work(&self) -> WorkspaceResult<()> {
        let work = self.work_git();
        let readable = local(&work).args(["config", "--file"]).arg(work.join("config")).args(["--get", "core.bare"]);
        let sound = work.join("HEAD").is_file() && run_local("reading work.git", readable).await.is_ok();
        if !sound {
            // A configuration that cannot be read is of no use to anybody.
            stale::set_aside(&work.join("config"), &self.plan.git_dir.join("aside"))?;
            self.init(&work).await?;
        }
        let settings = [
            ("remote.origin.url", self.remote.url()),
            ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("user.name", &self.plan.author_name),
            ("user.email", &self.plan.author_email),
        ];
        for (key, value) in settings {
            let present = local(&work).args(["config", "--file"]).arg(work.join("config")).args(["--get", key]);
            let present = run_local("reading work.git", present).await.map(|output| output.text());
            if !present.is_ok_and(|present| present == value) {
                self.configure(&work, key, value).await?;
            }
        }
        Ok(())
    }

    /// Makes the configuration of `work.git` anew; refs and objects are kept.
    pub(super) async fn reset_work_settings(&self) -> WorkspaceResult<()> {
        stale::set_aside(&self.work_git().join("config"), &self.plan.git_dir.join("aside"))?;
        self.ensure_work().await
    }

    async fn init(&self, folder: &Path) -> WorkspaceResult<()> {
        make_folder(folder)?;
        let init = local(folder)
            .args(["init", "--quiet", "--bare", "--template="])
            .arg(format!("--initial-branch={}", self.plan.primary_branch));
        run_local(format!("making {}", folder.display()), init).await?;
        Ok(())
    }

    /// Writes one setting, without reading any file that the repository's configuration includes.
    async fn configure(&self, git: &Path, key: &str, value: &str) -> WorkspaceResult<()> {
        let set = local(git).args(["config", "--file"]).arg(git.join("config")).args(["--replace-all", key, value]);
        run_local(format!("configuring {}", git.display()), set).await.map(drop)
    }

    /// Copies what the human's checkout has already, so that it need not be downloaded. Copied, not shared: a clean-up
    /// in that checkout must not take objects away from here. Only a saving, so a failure is no error.
    async fn borrow_objects(&self, rig: &Path) {
        let Some(repo_root) = &self.plan.repo_root else { return };
        let primary = &self.plan.primary_branch;
        for refs in ["+refs/remotes/*:refs/rig/lent/*".to_owned(), format!("+refs/heads/{primary}:refs/rig/lent/own")] {
            let fetch =
                local(rig).args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]).arg(repo_root).arg(refs);
            if let Err(error) = run_local("borrowing objects", fetch).await {
                tracing::debug!(%error, repo_root = %repo_root.display(), "nothing borrowed from repo_root");
            }
        }
    }

    /// Fetches all branches and tags from the forge. Returns the tip of the primary branch.
    pub(super) async fn fetch(&self) -> WorkspaceResult<Sha> {
        let _lock = self.lock_rig().await?;
        self.fetch_locked().await
    }

    /// The same, for who holds the lock of `rig.git`.
    pub(super) async fn fetch_locked(&self) -> WorkspaceResult<Sha> {
        self.ensure_rig().await?;
        let what = format!("fetching from {}", self.remote.url());
        let primary = &self.plan.primary_branch;
        let is_first = self.resolve(&self.rig_git(), &self.tracking_ref(primary)).await?.is_none();
        let limit = self.transfer_limit(is_first);
        // Named beside all others, so that an answer without it ends git before it prunes anything.
        let tip = format!("+refs/heads/{primary}:{}", self.tracking_ref(primary));
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", &tip];
        if let Err(error) = self.fetch_refs(&what, limit, &all).await {
            return Err(if error.is_transient() { error } else { self.without_primary(error).await });
        }
        let no_tip = || failed(what, &format!("git fetched no branch `{primary}`"));
        self.resolve(&self.rig_git(), &self.tracking_ref(primary)).await?.ok_or_else(no_tip)
    }

    /// Explains a refused fetch. A remote with other branches lacks the primary one; where no branch at all is shown, a page
    /// or half an answer in the place of the list is as likely as an empty repository, and may pass.
    async fn without_primary(&self, refused: WorkspaceError) -> WorkspaceError {
        let WorkspaceError::Failed { what, message } = refused else { return refused };
        if !message.contains("couldn't find remote ref") {
            return WorkspaceError::Failed { what, message };
        }
        let primary = &self.plan.primary_branch;
        let ask = self.ask_remote().args(["ls-remote", "--quiet", "--heads"]).arg(self.remote.url());
        let heads = match run_remote(what.as_str(), ask.output_cap(PATH_LIST_CAP)).await {
            Ok(output) => output.text(),
            Err(error) => return error,
        };
        let own = format!("\trefs/heads/{primary}");
        let message = if heads.lines().any(|line| line.ends_with(&own)) {
            format!("the remote's first answer had no branch `{primary}`, the second has")
        } else if heads.contains("\trefs/heads/") {
            return failed(what, &format!("the remote has no branch `{primary}` (see `primary_branch`)"));
        } else {
            format!(
                "the remote shows no branch, not even `{primary}`: \
                 the repository is empty, or something else answered in its place"
            )
        };
        WorkspaceError::Unavailable { what, message }
    }

    /// Fetches chosen refs from the forge, pruning what the remote no longer has among them.
    pub(super) async fn fetch_refs(&self, what: &str, limit: Duration, refs: &[&str]) -> WorkspaceResult<()> {
        let fetch = self.ask_remote().timeout(limit).args([
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
        ]);
        run_remote(what, fetch.arg(self.remote.url()).args(refs)).await.map(drop)
    }

    /// Returns the time that moving objects may take: the first time it is the whole history.
    pub(in crate::adapters) fn transfer_limit(&self, is_first: bool) -> Duration {
        if is_first { FIRST_TRANSFER_TIMEOUT.max(self.plan.network_timeout) } else { self.plan.network_timeout }
    }

    /// Returns git for `rig.git` with the way to the forge.
    pub(super) fn ask_remote(&self) -> Program {
        remote(&self.rig_git(), &self.remote, self.plan.network_timeout)
    }

    /// Returns the commit that a name stands for in a repository.
    pub(super) async fn resolve(&self, git: &Path, name: &str) -> WorkspaceResult<Option<Sha>> {
        let parse = local(git).args(["rev-parse", "--quiet", "--verify", "--end-of-options"]);
        let output = parse
            .arg(format!("{name}^{{commit}}"))
            .run()
            .await
            .map_err(|error| super::command::from_process(format!("resolving {name}"), error))?;
        Ok(output.status.success().then(|| Sha::new(output.text()).ok()).flatten())
    }

    /// Returns whether `rig.git` has a commit.
    pub(in crate::adapters) async fn has_commit(&self, commit: &Sha) -> WorkspaceResult<bool> {
        Ok(self.rig_git().join("HEAD").exists() && self.resolve(&self.rig_git(), commit.as_str()).await?.is_some())
    }

    /// Returns whether `rig.git` knows `ancestor` to be `commit` or one of its ancestors.
    pub(in crate::adapters) async fn is_ancestor(&self, ancestor: &Sha, commit: &Sha) -> WorkspaceResult<bool> {
        let ask = local(&self.rig_git()).args(["merge-base", "--is-ancestor", ancestor.as_str(), commit.as_str()]);
        let output =
            ask.run().await.map_err(|error| super::command::from_process("comparing commits".into(), error))?;
        Ok(output.status.success())
    }

    /// Copies refs from `work.git` into `rig.git` by path; git there runs nothing that `work.git` names. What an agent
    /// made is checked object by object; the forge's own history is not, since many a sound one has old blemishes.
    pub(super) async fn copy_from_work(&self, refs: &[String]) -> WorkspaceResult<()> {
        self.copy_by_path(&self.rig_git(), &self.work_git(), refs).await
    }

    /// Copies refs from `rig.git` into `work.git` by path.
    pub(super) async fn copy_to_work(&self, refs: &[String]) -> WorkspaceResult<()> {
        self.copy_by_path(&self.work_git(), &self.rig_git(), refs).await
    }

    async fn copy_by_path(&self, to: &Path, from: &Path, refs: &[String]) -> WorkspaceResult<()> {
        let what = format!("copying from {} to {}", name_of(from), name_of(to));
        let fetch = local(to)
            .args(["-c", "fetch.fsckObjects=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
            .arg(from)
            .args(refs);
        run_local(what, fetch).await.map(drop)
    }
}

/// Makes a folder that only the user can enter, and those above it.
pub(super) fn make_folder(path: &Path) -> WorkspaceResult<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed(format!("making {}", path.display()), &error.to_string()))
}

pub(super) fn write(path: &Path, text: &str) -> WorkspaceResult<()> {
    std::fs::write(path, text).map_err(|error| failed(format!("writing {}", path.display()), &error.to_string()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
