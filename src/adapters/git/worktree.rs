//! An issue's worktree: made, found again after anything that may have happened to it, and removed once its work is safe.
//! The links between worktree and `work.git` are written here, not by `git worktree add`, which would run what the
//! repository's configuration names (filters, above all).

use super::{
    GitWorkspace,
    command::{failed, local, over_tree, run_local},
    copy_files, repositories, stale,
};
use crate::{
    domain::ids::{BranchName, IssueNumber, Sha},
    ports::workspace::{WorkspaceResult, Worktree},
};
use std::path::{Path, PathBuf};

/// What lies at the place of a worktree.
enum Found {
    Nothing,
    /// A worktree that no agent was ever given: rig ended while making it.
    Unfinished,
    /// On the branch asked for, or on no branch (an agent may be in the middle of a rebase).
    Usable,
    /// On this other branch.
    OtherBranch(BranchName),
    /// Files of an agent whose link to `work.git` is gone or wrong.
    Unlinked,
}

impl GitWorkspace {
    pub(super) fn worktree_path(&self, issue: IssueNumber) -> PathBuf {
        (self.plan.worktree)(issue)
    }

    /// Returns the folder in `work.git` that holds a worktree's HEAD and index.
    pub(super) fn admin_dir(&self, issue: IssueNumber) -> PathBuf {
        self.work_git().join("worktrees").join(issue.0.to_string())
    }

    /// Returns the file that is there while rig makes a worktree: what lies at its place then was never an agent's.
    /// Without it everything there is taken for an agent's work.
    pub(super) fn unfinished(&self, issue: IssueNumber) -> PathBuf {
        self.plan.git_dir.join("unfinished").join(issue.0.to_string())
    }

    /// Returns the file with the command that the worktree was set up with; it goes with the worktree.
    pub(super) fn set_up_file(&self, issue: IssueNumber) -> PathBuf {
        self.plan.git_dir.join("set-up").join(issue.0.to_string())
    }

    /// Returns a folder beside the worktrees, on the same disk, so that moving there is one step.
    fn beside_worktrees(&self, issue: IssueNumber, name: &str) -> PathBuf {
        self.worktree_path(issue).with_file_name(name)
    }

    pub(super) async fn prepare_worktree(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<Worktree> {
        let base = self.fetch().await?;
        {
            let _work = self.lock_work().await?;
            self.ensure_work().await?;
            if let Err(error) = self.give_remote_branches().await {
                tracing::warn!(%error, "the settings in work.git stand in the way and are made anew");
                self.reset_work_settings().await?;
                self.give_remote_branches().await?;
            }
        }
        if let Found::OtherBranch(other) = self.look(issue, branch).await? {
            self.remove_worktree(issue, &other).await?;
        }
        let work = self.lock_work().await?;
        let path = self.worktree_path(issue);
        stale::clear_locks(&path, &self.admin_dir(issue), &self.work_git(), branch).await;
        match self.look(issue, branch).await? {
            Found::Usable => {}
            Found::Unlinked => self.link(issue, branch, &base).await?,
            Found::Nothing | Found::Unfinished | Found::OtherBranch(_) => {
                stale::discard(&path, &self.beside_worktrees(issue, ".trash"))?;
                stale::delete(&self.admin_dir(issue));
                stale::delete(&self.set_up_file(issue));
                self.make(issue, branch, &base).await?;
            }
        }
        let not_copied = copy_files::copy_all(&self.plan, &path)?;
        self.write_excludes()?;
        let head = self.resolve(&self.admin_dir(issue), "HEAD").await?;
        let head = head.ok_or_else(|| failed(format!("preparing {}", path.display()), "its HEAD names no commit"))?;
        drop(work);
        stale::empty(self.beside_worktrees(issue, ".trash")).await;
        Ok(Worktree { path, branch: branch.clone(), not_copied, head, base })
    }

    async fn look(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<Found> {
        let (path, admin) = (self.worktree_path(issue), self.admin_dir(issue));
        if path.symlink_metadata().is_err() {
            return Ok(Found::Nothing);
        }
        if self.unfinished(issue).exists() {
            return Ok(Found::Unfinished);
        }
        let linked = std::fs::read_to_string(path.join(".git")).is_ok_and(|link| link == link_text(&admin))
            && admin.join("index").is_file()
            && admin.join("commondir").is_file();
        if !linked || self.resolve(&admin, "HEAD").await?.is_none() {
            return Ok(Found::Unlinked);
        }
        Ok(match current_branch(&admin) {
            Some(current) if current != *branch => Found::OtherBranch(current),
            _ => Found::Usable,
        })
    }

    /// Copies the branches of the forge, as rig knows them, to where the agent sees them as `origin/...`.
    async fn give_remote_branches(&self) -> WorkspaceResult<()> {
        let fetch = local(&self.work_git())
            .args(["fetch", "--quiet", "--prune", "--no-write-fetch-head"])
            .arg(self.rig_git())
            .arg("+refs/remotes/origin/*:refs/remotes/origin/*");
        run_local("copying from rig.git to work.git", fetch).await.map(drop)
    }

    /// Makes a worktree where nothing is, on a branch that is continued or begun.
    async fn make(&self, issue: IssueNumber, branch: &BranchName, base: &Sha) -> WorkspaceResult<()> {
        let path = self.worktree_path(issue);
        let unfinished = self.unfinished(issue);
        repositories::make_folder(&self.plan.git_dir.join("unfinished"))?;
        repositories::write(&unfinished, "")?;
        repositories::make_folder(&path)?;
        self.link(issue, branch, base).await?;
        let tip = self.resolve(&self.admin_dir(issue), "HEAD").await?;
        let what = format!("checking out {branch} in {}", path.display());
        let tip = tip.ok_or_else(|| failed(what.as_str(), "its HEAD names no commit"))?;
        let fill = over_tree(&self.rig_git(), &path, &self.admin_dir(issue).join("index"))
            .args(["read-tree", "--reset", "-u"])
            .arg(tip.as_str());
        run_local(what.as_str(), fill).await?;
        std::fs::remove_file(&unfinished).map_err(|error| failed(what, &error.to_string()))
    }

    /// Links the folder of a worktree to `work.git`, leaving its files alone: branch, HEAD, index, and the link itself.
    async fn link(&self, issue: IssueNumber, branch: &BranchName, base: &Sha) -> WorkspaceResult<()> {
        let (path, admin) = (self.worktree_path(issue), self.admin_dir(issue));
        repositories::make_folder(&admin)?;
        repositories::write(&admin.join("commondir"), "../..\n")?;
        repositories::write(&admin.join("gitdir"), &format!("{}\n", path.join(".git").display()))?;
        if self.resolve(&admin, "HEAD").await?.is_none() {
            self.set_branch(issue, branch, base).await?;
            repositories::write(&admin.join("HEAD"), &format!("ref: refs/heads/{branch}\n"))?;
        }
        let index = admin.join("index");
        if !index.is_file() {
            let head = self.collect_head(issue).await?;
            if let Some(head) = head {
                let fill = over_tree(&self.rig_git(), &path, &index).args(["read-tree", head.as_str()]);
                run_local(format!("making the index of {}", path.display()), fill).await?;
            }
        }
        let link = path.join(".git");
        if !std::fs::read_to_string(&link).is_ok_and(|text| text == link_text(&admin)) {
            stale::set_aside(&link, &self.beside_worktrees(issue, ".aside"))?;
            repositories::write(&link, &link_text(&admin))?;
        }
        Ok(())
    }

    /// Points the branch in `work.git` at where work on it goes on: local work first, then what was collected from a
    /// worktree that is gone, then the forge's branch, else the primary branch's tip. Leaves it in `rig.git` too.
    async fn set_branch(&self, issue: IssueNumber, branch: &BranchName, base: &Sha) -> WorkspaceResult<()> {
        let (work, rig) = (self.work_git(), self.rig_git());
        let ours = self.resolve(&work, &format!("refs/heads/{branch}")).await?;
        let collected = self.resolve(&rig, &Self::collected_ref(issue, branch)).await?;
        let theirs = self.resolve(&rig, &self.tracking_ref(branch.as_str())).await?;
        let start = match (ours.clone().or(collected), theirs) {
            (Some(mine), Some(theirs)) if self.is_ancestor(&mine, &theirs).await? => theirs,
            (Some(mine), _) => mine,
            (None, Some(theirs)) => theirs,
            (None, None) => base.clone(),
        };
        if ours.as_ref() != Some(&start) {
            self.copy_to_work(&[format!("+{start}:refs/heads/{branch}")]).await?;
        }
        let _rig = self.lock_rig().await?;
        self.copy_from_work(&[format!("+refs/heads/{branch}:{}", Self::collected_ref(issue, branch))]).await
    }

    /// Copies the commit that the worktree is at to `rig.git`. Returns it.
    async fn collect_head(&self, issue: IssueNumber) -> WorkspaceResult<Option<Sha>> {
        let Some(head) = self.resolve(&self.admin_dir(issue), "HEAD").await? else { return Ok(None) };
        let _rig = self.lock_rig().await?;
        self.copy_from_work(&[format!("+{head}:{}/head", Self::run_refs(issue))]).await?;
        Ok(Some(head))
    }

    /// Rescues what is nowhere else, then removes worktree and branch. The folder is moved away in one step before it is
    /// deleted, so that a half-deleted one is never taken for an agent's work.
    pub(super) async fn remove_worktree(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()> {
        let path = self.worktree_path(issue);
        if !self.plan.git_dir.exists() && !path.exists() {
            return Ok(());
        }
        if let Some(rescued) = self.rescue_work(issue, branch, "removed").await? {
            tracing::info!(issue = issue.0, %branch, rescued, "work that was nowhere else is kept");
        }
        let forgotten = self.forget_worktree(issue, branch).await;
        // Once others may go on: it takes long.
        stale::empty(self.beside_worktrees(issue, ".trash")).await;
        forgotten
    }

    async fn forget_worktree(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<()> {
        let _work = self.lock_work().await?;
        stale::discard(&self.worktree_path(issue), &self.beside_worktrees(issue, ".trash"))?;
        stale::delete(&self.admin_dir(issue));
        stale::delete(&self.set_up_file(issue));
        stale::delete(&self.unfinished(issue));
        if self.work_git().join("HEAD").exists() {
            let delete = local(&self.work_git()).args(["update-ref", "-d", &format!("refs/heads/{branch}")]);
            run_local(format!("deleting branch {branch} in work.git"), delete).await?;
        }
        let _rig = self.lock_rig().await?;
        self.forget_collected(issue).await
    }

    pub(super) fn list_worktrees(&self) -> Vec<IssueNumber> {
        let folder = self.beside_worktrees(IssueNumber(0), "");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(IssueNumber)).collect()
    }

    async fn forget_collected(&self, issue: IssueNumber) -> WorkspaceResult<()> {
        let rig = self.rig_git();
        if !rig.join("HEAD").exists() {
            return Ok(());
        }
        let list =
            local(&rig).args(["for-each-ref", "--format=delete %(refname)", &format!("{}/", Self::run_refs(issue))]);
        let orders = run_local("listing collected refs", list).await?.stdout;
        run_local("forgetting collected refs", local(&rig).args(["update-ref", "--stdin"]).stdin(orders))
            .await
            .map(drop)
    }

    /// Tells git in every worktree to ignore the copied files, and rig itself by a file of its own.
    fn write_excludes(&self) -> WorkspaceResult<()> {
        let block = copy_files::exclude_lines(&self.plan.copy_files);
        repositories::write(&self.exclude_file(), &block)?;
        let info = self.work_git().join("info");
        repositories::make_folder(&info)?;
        let present = std::fs::read_to_string(info.join("exclude")).unwrap_or_default();
        if present.contains(&block) {
            return Ok(());
        }
        repositories::write(&info.join("exclude"), &format!("{}\n{block}", present.trim_end()))
    }

    pub(super) fn exclude_file(&self) -> PathBuf {
        self.plan.git_dir.join("exclude")
    }
}

fn link_text(admin: &Path) -> String {
    format!("gitdir: {}\n", admin.display())
}

/// Returns the branch that a worktree is on; `None` when it is on none.
pub(super) fn current_branch(admin: &Path) -> Option<BranchName> {
    let head = std::fs::read_to_string(admin.join("HEAD")).ok()?;
    BranchName::new(head.trim_end().strip_prefix("ref: refs/heads/")?).ok()
}
