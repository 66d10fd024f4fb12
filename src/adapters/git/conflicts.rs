//! Whether a merge would conflict, as git itself sees it: a merge of trees in `rig.git`, without a working tree or an index.
//! Its result is thrown away. Deliberately absent: merging, and what follows from a conflict.

use super::{
    GitWorkspace,
    command::{failed, from_process, local},
};
use crate::{domain::ids::Sha, ports::workspace::WorkspaceResult};

/// Exit codes of `git merge-tree --write-tree` (see its manual); any other says that git could not tell.
const CLEAN: i32 = 0;
const CONFLICTS: i32 = 1;
/// Exit code for options that git does not know: before 2.38 it could not merge trees.
const USAGE: i32 = 129;

impl GitWorkspace {
    pub(super) async fn merge_conflicts(&self, head: &Sha) -> WorkspaceResult<bool> {
        let _rig = self.lock_rig().await?;
        let primary = self.fetch_locked().await?;
        self.fetch_commit_locked(head).await?;
        let what = format!("merging {} into {} on trial", head.short(), primary.short());
        let merge = local(&self.rig_git()).args(["merge-tree", "--write-tree", "--no-messages", "--name-only"]);
        let merged = merge.args([primary.as_str(), head.as_str()]).run().await;
        let output = merged.map_err(|error| from_process(what.clone(), error))?;
        // Both answers begin with the tree that came out; without one git has said nothing about conflicts.
        let has_tree = output.text().lines().next().is_some_and(|line| Sha::new(line).is_ok());
        match output.status.code() {
            Some(CLEAN) if has_tree => Ok(false),
            Some(CONFLICTS) if has_tree => Ok(true),
            Some(USAGE) => Err(failed(what, "this git cannot merge trees (2.38 or newer is needed)")),
            _ => Err(failed(what, &output.error_text())),
        }
    }
}
