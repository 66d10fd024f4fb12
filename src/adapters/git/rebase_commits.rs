//! Making the commits of a branch anew in `rig.git`, by merges of trees: without a working tree, an index, hooks or filters.
//! Deliberately absent: any resolution of a conflict, and branches with merges of their own, which are not put in a line.

use super::{
    GitWorkspace,
    command::{failed, from_process, local, run_local},
};
use crate::{
    domain::{ids::Sha, run::WhenBehind},
    ports::workspace::WorkspaceResult,
};

/// Commits that are put onto another base one by one; a branch with more is for its author to rebase.
const MOST_COMMITS: usize = 200;
/// Exit codes of `git merge-tree --write-tree` (see its manual).
const CLEAN: i32 = 0;
const CONFLICTS: i32 = 1;
/// Fields of a commit as `git log` gives them, each ended by a zero byte: author, address, date, message.
const FIELDS: &str = "--format=%an%x00%ae%x00%ad%x00%B%x00";

/// What came of making the commits anew.
pub(super) enum Made {
    Tip(Sha),
    Conflict(String),
}

impl GitWorkspace {
    /// Makes what the branch at `head` comes to on top of `primary`.
    pub(super) async fn make_anew(
        &self,
        head: &Sha,
        primary: &Sha,
        branch: &str,
        how: WhenBehind,
    ) -> WorkspaceResult<Made> {
        match how {
            WhenBehind::Update => self.merge_primary_in(head, primary, branch).await,
            WhenBehind::AsIs | WhenBehind::Rebase => self.put_onto(head, primary).await,
        }
    }

    async fn merge_primary_in(&self, head: &Sha, primary: &Sha, branch: &str) -> WorkspaceResult<Made> {
        let tree = match self.merged_tree(head, primary).await? {
            Ok(tree) => tree,
            Err(conflict) => return Ok(Made::Conflict(conflict)),
        };
        let message = format!("Merge branch '{}' into {branch}", self.plan.primary_branch);
        let own = (self.plan.author_name.as_str(), self.plan.author_email.as_str());
        self.write_commit(&tree, &[head, primary], &message, own, None).await.map(Made::Tip)
    }

    async fn put_onto(&self, head: &Sha, primary: &Sha) -> WorkspaceResult<Made> {
        let what = format!("listing the commits of {}", head.short());
        let list = local(&self.rig_git()).args(["rev-list", "--reverse", "--topo-order", "--parents"]);
        let text = run_local(what, list.arg(format!("{primary}..{head}"))).await?.text();
        let commits: Vec<Vec<Sha>> =
            text.lines().map(|line| line.split(' ').filter_map(|id| Sha::new(id).ok()).collect()).collect();
        if commits.len() > MOST_COMMITS {
            return Ok(Made::Conflict(format!("it has {} commits, more than {MOST_COMMITS}", commits.len())));
        }
        let mut tip = primary.clone();
        for commit in &commits {
            let [commit, parent] = commit.as_slice() else {
                return Ok(Made::Conflict("it has a merge, or a commit without a parent, of its own".into()));
            };
            // The commit's parent becomes the merge base: git merges trees against a base of choice only from 2.40 on.
            let tree = self.tree_of_commit(&tip).await?;
            let own = (self.plan.author_name.as_str(), self.plan.author_email.as_str());
            let beside = self.write_commit(&tree, &[parent], "rig: a base to merge on", own, None).await?;
            match self.merged_tree(&beside, commit).await? {
                // What the primary branch has already is left out.
                Ok(merged) if merged == tree => {}
                Ok(merged) => tip = self.copy_commit(commit, &merged, &tip).await?,
                Err(conflict) => return Ok(Made::Conflict(format!("commit {} conflicts: {conflict}", commit.short()))),
            }
        }
        match tip == *primary {
            true => Ok(Made::Conflict("the primary branch has everything that it changes".into())),
            false => Ok(Made::Tip(tip)),
        }
    }

    /// Merges two commits' trees against their merge base. Returns the tree, or the files that conflict.
    async fn merged_tree(&self, ours: &Sha, theirs: &Sha) -> WorkspaceResult<Result<String, String>> {
        let what = format!("merging {} and {}", ours.short(), theirs.short());
        let merge = local(&self.rig_git()).args(["merge-tree", "--write-tree", "--no-messages", "--name-only"]);
        let merged = merge.args([ours.as_str(), theirs.as_str()]).run().await;
        let output = merged.map_err(|error| from_process(what.clone(), error))?;
        let text = output.text();
        let mut lines = text.lines();
        let tree = lines.next().filter(|line| Sha::new(*line).is_ok()).map(str::to_owned);
        match (output.status.code(), tree) {
            (Some(CLEAN), Some(tree)) => Ok(Ok(tree)),
            (Some(CONFLICTS), Some(_)) => Ok(Err(lines.take(5).collect::<Vec<_>>().join(", "))),
            _ => Err(failed(what, &output.error_text())),
        }
    }

    pub(super) async fn tree_of_commit(&self, commit: &Sha) -> WorkspaceResult<String> {
        let parse = local(&self.rig_git()).args(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]);
        Ok(run_local("reading a tree", parse).await?.text())
    }

    /// Writes a commit anew with another tree and parent; its author, date and message stay.
    async fn copy_commit(&self, commit: &Sha, tree: &str, parent: &Sha) -> WorkspaceResult<Sha> {
        let read = local(&self.rig_git()).args(["log", "--no-walk", "--date=raw", "--encoding=UTF-8", FIELDS]);
        let text = run_local("reading a commit", read.arg(commit.as_str())).await?.text();
        let fields: Vec<&str> = text.splitn(4, '\0').collect();
        let [name, address, date, message] = fields.as_slice() else {
            return Err(failed(format!("reading commit {}", commit.short()), "its fields are not to be told apart"));
        };
        let message = message.trim_end_matches(['\0', '\n']);
        self.write_commit(tree, &[parent], message, (name, address), Some(date)).await
    }

    async fn write_commit(
        &self,
        tree: &str,
        parents: &[&Sha],
        message: &str,
        (name, address): (&str, &str),
        date: Option<&str>,
    ) -> WorkspaceResult<Sha> {
        let mut write = local(&self.rig_git())
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", address)
            .env("GIT_COMMITTER_NAME", &self.plan.author_name)
            .env("GIT_COMMITTER_EMAIL", &self.plan.author_email)
            .args(["commit-tree", "-F", "-", tree])
            .stdin(format!("{message}\n"));
        if let Some(date) = date {
            write = write.env("GIT_AUTHOR_DATE", format!("@{date}"));
        }
        for parent in parents {
            write = write.args(["-p", parent.as_str()]);
        }
        let id = run_local("writing a commit", write).await?.text();
        Sha::new(id).map_err(|error| failed("writing a commit", &error.to_string()))
    }
}
