//! How an issue's branch stands, here and on the forge.

use super::{
    GitWorkspace,
    command::{failed, local, run_local, run_remote},
    stale,
};
use crate::{
    domain::ids::{BranchName, IssueNumber, Sha},
    ports::workspace::{BranchState, WorkspaceError, WorkspaceResult},
};

/// Bytes of a diff stat: what a prompt has room for.
const DIFF_STAT_BYTES: usize = 4 * 1024;

impl GitWorkspace {
    pub(super) async fn inspect_branch(&self, issue: IssueNumber, branch: &BranchName) -> WorkspaceResult<BranchState> {
        let what = format!("inspecting {branch}");
        // The tip of the worktree first: a push in between then shows as a remote that is ahead, not as one that lags.
        let (head, tip) = {
            let _rig = self.lock_rig().await?;
            self.collect_branch(issue, branch).await?
        };
        let local = tip.ok_or_else(|| failed(what.as_str(), "there is no such branch in work.git"))?;
        let (remote, base) = self.ask_tips(branch).await?;
        if !self.has_commit(&base).await? {
            self.fetch().await?;
        }
        let uncommitted = self.uncommitted(issue, head.as_ref()).await?;
        let ahead = self.ahead(&base, &local).await?;
        let diff_stat = self.diff_stat(&base, &local).await?;
        Ok(BranchState { local, remote, base, ahead, uncommitted, diff_stat })
    }

    /// Asks the forge for the tips of a branch and of the primary branch.
    async fn ask_tips(&self, branch: &BranchName) -> WorkspaceResult<(Option<Sha>, Sha)> {
        let what = format!("asking {} for branch {branch}", self.remote.url());
        let primary = format!("refs/heads/{}", self.plan.primary_branch);
        let branch = format!("refs/heads/{branch}");
        let ask = self.ask_remote().args(["ls-remote", "--quiet", "--refs"]).arg(self.remote.url());
        let answer = run_remote(what.as_str(), ask.args([&branch, &primary])).await?.text();
        let tip = |wanted: &str| {
            // git matches the end of names, so that others can be in the answer.
            let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
            lines.find(|(_, name)| *name == wanted).and_then(|(id, _)| Sha::new(id).ok())
        };
        // An answer without the primary branch is more likely no answer at all: a page in its place reads as an empty list.
        let base = tip(&primary).ok_or_else(|| WorkspaceError::Unavailable {
            what,
            message: format!("the remote's answer has no {primary}"),
        })?;
        Ok((tip(&branch), base))
    }

    async fn ahead(&self, base: &Sha, tip: &Sha) -> WorkspaceResult<u32> {
        let count = local(&self.rig_git()).args(["rev-list", "--count", &format!("{base}..{tip}")]);
        let text = run_local("counting commits", count).await?.text();
        text.parse().map_err(|_| failed("counting commits", &text))
    }

    async fn diff_stat(&self, base: &Sha, tip: &Sha) -> WorkspaceResult<String> {
        let diff = |range: String| {
            let options = ["diff", "--stat=100", "--no-ext-diff", "--no-textconv", "--no-color"];
            local(&self.rig_git()).args(options).arg(range).output_cap(DIFF_STAT_BYTES * 4)
        };
        let output = match run_local("comparing with the merge base", diff(format!("{base}...{tip}"))).await {
            Ok(output) => output,
            // Histories without a common commit have no merge base.
            Err(_) => run_local("comparing branches", diff(format!("{base}..{tip}"))).await?,
        };
        Ok(bounded(&output.text()))
    }

    /// Counts changed files, seen from the commit that was copied to `rig.git`: HEAD itself may have moved on since, to a
    /// commit that is not there.
    async fn uncommitted(&self, issue: IssueNumber, head: Option<&Sha>) -> WorkspaceResult<u32> {
        let path = self.worktree_path(issue);
        let (true, Some(head)) = (path.is_dir(), head) else { return Ok(0) };
        let folder = stale::temporary_folder(&self.plan.git_dir)?;
        let changed = self.changed_paths(&path, &folder.path().join("index"), head).await?;
        Ok(u32::try_from(changed.len()).unwrap_or(u32::MAX))
    }
}

/// Returns whole lines up to the bound; the last line, which sums up, is kept.
fn bounded(stat: &str) -> String {
    if stat.len() <= DIFF_STAT_BYTES {
        return stat.to_owned();
    }
    let summary = stat.lines().last().unwrap_or_default();
    let mut kept = String::new();
    for line in stat.lines() {
        if kept.len() + line.len() + summary.len() + 8 > DIFF_STAT_BYTES {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    format!("{kept} ...\n{summary}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_diff_stat_keeps_its_sum() {
        let stat = format!("{} 900 files changed", " some/file | 1 +\n".repeat(900));
        let short = bounded(&stat);
        assert!(short.len() <= DIFF_STAT_BYTES && short.ends_with("\n ...\n 900 files changed"), "{}", short.len());
    }
}
