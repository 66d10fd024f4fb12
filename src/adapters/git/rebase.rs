//! Bringing a run's branch up to date: its commits are made anew in `rig.git`, pushed to that one branch with a lease on the old
//! head, and the worktree is moved along. The head on the forge is the truth: a push whose answer was lost is found there.
//! Deliberately absent: forcing anything without a lease, pushing any other branch, and throwing anything away.

use super::{
    GitWorkspace,
    command::{brief, failed, local, over_tree, remote, run_local},
    rebase_commits::Made,
    stale,
    url::Remote,
    worktree::current_branch,
};
use crate::{
    adapters::process::ProcessError,
    domain::{
        ids::{BranchName, IssueNumber, Sha},
        run::WhenBehind,
    },
    ports::workspace::{BroughtUp, WorkspaceError, WorkspaceResult},
};

/// Files of a worktree's folder in `work.git` that say that its agent is in the middle of something.
const UNDER_WAY: [&str; 5] = ["rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];

/// What is to be pushed, or why nothing is.
enum Plan {
    Push(Sha),
    /// It was pushed before, and the answer was lost.
    Pushed(Sha),
    No(BroughtUp),
}

impl GitWorkspace {
    pub(super) async fn lacks_primary(&self, head: &Sha) -> WorkspaceResult<bool> {
        let _rig = self.lock_rig().await?;
        let primary = self.fetch_locked().await?;
        self.fetch_commit_locked(head).await?;
        Ok(!self.is_ancestor(&primary, head).await?)
    }

    pub(super) async fn have_same_files(&self, one: &Sha, other: &Sha) -> WorkspaceResult<bool> {
        let _rig = self.lock_rig().await?;
        self.ensure_rig().await?;
        for commit in [one, other] {
            self.fetch_commit_locked(commit).await?;
        }
        Ok(self.tree_of_commit(one).await? == self.tree_of_commit(other).await?)
    }

    pub(super) async fn bring_branch_up(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        head: &Sha,
        how: WhenBehind,
    ) -> WorkspaceResult<BroughtUp> {
        if branch.as_str() == self.plan.primary_branch {
            return Ok(BroughtUp::Refused(format!("`{branch}` is the primary branch")));
        }
        let new = match self.plan_rebase(issue, branch, head, how).await? {
            Plan::No(answer) => return Ok(answer),
            Plan::Pushed(new) => new,
            Plan::Push(new) => match self.push_with_lease(branch, head, &new).await? {
                None => new,
                Some(refused) => return Ok(refused),
            },
        };
        if let Err(error) = self.move_worktree(issue, branch, head, &new).await {
            // The branch is pushed; the agent is told by its own `git status`, and by rig, where it stands.
            tracing::warn!(issue = issue.0, %branch, %error, "the worktree stays at the old head");
        }
        Ok(BroughtUp::To(new))
    }

    async fn plan_rebase(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        head: &Sha,
        how: WhenBehind,
    ) -> WorkspaceResult<Plan> {
        let _work = self.lock_work().await?;
        let _rig = self.lock_rig().await?;
        let primary = self.fetch_locked().await?;
        let tip = self.resolve(&self.rig_git(), &self.tracking_ref(branch.as_str())).await?;
        let made_before = self.resolve(&self.rig_git(), &made_ref(issue, head)).await?;
        if tip.as_ref() != Some(head) {
            return Ok(match (tip, made_before) {
                (Some(tip), Some(made)) if tip == made => Plan::Pushed(made),
                (tip, _) => Plan::No(BroughtUp::Elsewhere(tip)),
            });
        }
        if self.is_ancestor(&primary, head).await? {
            return Ok(Plan::No(BroughtUp::UpToDate));
        }
        if let Some(why) = self.why_not_movable(issue, branch, head).await? {
            return Ok(Plan::No(BroughtUp::NotClean(why)));
        }
        match self.make_anew(head, &primary, branch.as_str(), how).await? {
            Made::Conflict(why) => Ok(Plan::No(BroughtUp::Conflict(why))),
            Made::Tip(new) => {
                // Before the push, so that whoever comes after a crash knows whose commit it finds on the forge.
                let remember = local(&self.rig_git()).args(["update-ref", &made_ref(issue, head), new.as_str()]);
                run_local("remembering a rebased branch", remember).await?;
                Ok(Plan::Push(new))
            }
        }
    }

    /// Returns why the worktree cannot be moved without risk; one that is not there can.
    async fn why_not_movable(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        head: &Sha,
    ) -> WorkspaceResult<Option<String>> {
        let (path, admin) = (self.worktree_path(issue), self.admin_dir(issue));
        let (at, tip) = self.collect_branch(issue, branch).await?;
        if let Some(tip) = tip.filter(|tip| tip != head) {
            return Ok(Some(format!("the branch in the worktree is at {}, not at {}", tip.short(), head.short())));
        }
        if !path.is_dir() {
            return Ok(None);
        }
        if current_branch(&admin).as_ref() != Some(branch) || at.as_ref() != Some(head) {
            return Ok(Some(format!("the worktree is not on {branch}")));
        }
        if let Some(name) = UNDER_WAY.iter().find(|name| admin.join(name).exists()) {
            return Ok(Some(format!("the worktree is in the middle of something ({name})")));
        }
        let changed = self.changes_against(issue, head).await?;
        Ok((changed > 0).then(|| format!("the worktree has {changed} uncommitted files")))
    }

    async fn changes_against(&self, issue: IssueNumber, commit: &Sha) -> WorkspaceResult<usize> {
        let folder = stale::temporary_folder(&self.plan.git_dir)?;
        let index = folder.path().join("index");
        Ok(self.changed_paths(&self.worktree_path(issue), &index, commit).await?.len())
    }

    /// Pushes; `None` when the forge has taken it.
    async fn push_with_lease(&self, branch: &BranchName, old: &Sha, new: &Sha) -> WorkspaceResult<Option<BroughtUp>> {
        let what = format!("pushing {branch} to {}", self.remote.url());
        let forge = Remote::parse(&self.plan.remote_url).with_token(&self.plan.push_token);
        let push = remote(&self.rig_git(), &forge, self.plan.network_timeout)
            .args(["push", "--porcelain", "--no-verify"])
            .arg(format!("--force-with-lease=refs/heads/{branch}:{old}"))
            .arg("--end-of-options")
            .arg(forge.url())
            .arg(format!("{new}:refs/heads/{branch}"));
        let output = match push.run().await {
            Ok(output) if output.status.success() => return Ok(None),
            Ok(output) => output,
            Err(error @ ProcessError::NotInstalled { .. }) => return Err(super::command::from_process(what, error)),
            Err(error) => return Err(WorkspaceError::Unavailable { what, message: error.to_string() }),
        };
        let report = output.text();
        let told = format!("{}; {}", report, output.error_text());
        let rejected = report.lines().find(|line| line.starts_with("!\t"));
        Ok(Some(match rejected {
            Some(line) if line.contains("stale info") || line.contains("fetch first") => {
                BroughtUp::Elsewhere(self.tip_on_forge(branch).await?)
            }
            Some(line) => BroughtUp::Refused(brief(line.rsplit('\t').next().unwrap_or(line))),
            None if super::command::is_refusal(&told) => BroughtUp::Refused(brief(&output.error_text())),
            None => return Err(WorkspaceError::Unavailable { what, message: brief(&output.error_text()) }),
        }))
    }

    async fn tip_on_forge(&self, branch: &BranchName) -> WorkspaceResult<Option<Sha>> {
        self.fetch().await?;
        self.resolve(&self.rig_git(), &self.tracking_ref(branch.as_str())).await
    }

    /// Moves branch, index and files from the old head to the new one, where nothing but that stands in the worktree. Whatever
    /// else stands there is kept by a rescue and left as it is.
    async fn move_worktree(
        &self,
        issue: IssueNumber,
        branch: &BranchName,
        old: &Sha,
        new: &Sha,
    ) -> WorkspaceResult<()> {
        let _work = self.lock_work().await?;
        if !self.work_git().join("HEAD").exists() {
            return Ok(());
        }
        let name = format!("refs/heads/{branch}");
        let what = format!("moving {branch} to {} in its worktree", new.short());
        self.copy_to_work(&[format!("+{new}:refs/remotes/origin/{branch}")]).await?;
        let tip = self.resolve(&self.work_git(), &name).await?;
        let (path, admin) = (self.worktree_path(issue), self.admin_dir(issue));
        if path.is_dir() && self.admin_dir(issue).join("index").is_file() {
            let is_on_branch = current_branch(&admin).as_ref() == Some(branch);
            let known_tip = tip.as_ref() == Some(old) || tip.as_ref() == Some(new);
            let is_quiet = !UNDER_WAY.iter().any(|name| admin.join(name).exists());
            let at_new = self.changes_against(issue, new).await? == 0;
            if !(is_on_branch && known_tip && is_quiet) || !at_new && self.changes_against(issue, old).await? > 0 {
                drop(_work);
                let kept = self.rescue_work(issue, branch, "rebase").await?;
                let kept = kept.unwrap_or_else(|| "nothing had to be kept".into());
                return Err(failed(what, &format!("it has other work ({kept})")));
            }
            let index = admin.join("index");
            let read = over_tree(&self.rig_git(), &path, &index).args(["read-tree"]);
            // Two trees: a file that is neither the old nor the new one stops git before it touches anything.
            let read =
                if at_new { read.arg(new.as_str()) } else { read.args(["-m", "-u", old.as_str(), new.as_str()]) };
            let refresh = over_tree(&self.rig_git(), &path, &index).args(["update-index", "-q", "--refresh"]);
            if !at_new {
                // Says by its exit status that something differs, which is no failure.
                let _ = refresh.run().await;
            }
            run_local(what.as_str(), read).await?;
        }
        if tip.as_ref() == Some(old) {
            let set = local(&self.work_git()).args(["update-ref", &name, new.as_str(), old.as_str()]);
            run_local(what, set).await?;
        }
        let _rig = self.lock_rig().await?;
        self.collect_branch(issue, branch).await.map(drop)
    }
}

/// Returns where the commit is remembered that was made anew of a head. It goes with the worktree's other refs.
fn made_ref(issue: IssueNumber, head: &Sha) -> String {
    format!("{}/rebased/{head}", GitWorkspace::run_refs(issue))
}
