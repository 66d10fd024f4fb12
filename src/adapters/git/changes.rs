//! What a commit changes against the primary branch as it is now, and who owns it: read in `rig.git`, so that the list is
//! complete however long it is. Deliberately absent: what a change means.

use super::{
    GitWorkspace,
    command::{failed, local, run_local},
};
use crate::{
    domain::{
        gate::{CODE_OWNERS_PLACES, Changes, CodeOwners},
        ids::Sha,
    },
    ports::workspace::WorkspaceResult,
};

/// Bytes of a list of paths: some hundred thousand files. A longer one is an error, never cut short.
const LIST_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of CODEOWNERS: what GitHub reads of it.
const CODE_OWNERS_BYTES: usize = 3 * 1024 * 1024;

impl GitWorkspace {
    pub(super) async fn changes_of(&self, head: &Sha) -> WorkspaceResult<Changes> {
        let _rig = self.lock_rig().await?;
        let primary = self.fetch_locked().await?;
        self.fetch_commit_locked(head).await?;
        let files = self.changed_files(&primary, head).await?;
        let code_owners = self.code_owners(&primary).await?;
        Ok(Changes { base: Some(primary), files, code_owners })
    }

    /// Returns the paths that differ between the merge base and the head; a renamed file is there with both names.
    async fn changed_files(&self, primary: &Sha, head: &Sha) -> WorkspaceResult<Vec<String>> {
        let what = format!("listing what {} changes", head.short());
        let options =
            ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none"];
        let diff = local(&self.rig_git()).args(options).arg(format!("{primary}...{head}")).output_cap(LIST_BYTES);
        let output = run_local(what.as_str(), diff).await?;
        if output.truncated {
            return Err(failed(what, "the list is too long"));
        }
        Ok(output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(lossy).collect())
    }

    async fn code_owners(&self, primary: &Sha) -> WorkspaceResult<Option<CodeOwners>> {
        let what = format!("reading CODEOWNERS at {}", primary.short());
        let list = local(&self.rig_git()).args(["ls-tree", "-z", "--full-tree", primary.as_str()]);
        let listed = run_local(what.as_str(), list.args(CODE_OWNERS_PLACES)).await?;
        let entries: Vec<String> = listed.stdout.split(|byte| *byte == 0).map(lossy).collect();
        let found = CODE_OWNERS_PLACES.iter().find_map(|place| {
            let entry = entries.iter().find_map(|entry| entry.strip_suffix(&format!("\t{place}")))?;
            // "100644 blob ID": only a plain file; a symbolic link names something else.
            let (mode, id) = (entry.split(' ').next()?, entry.split(' ').next_back()?);
            mode.starts_with("100").then(|| (*place, id.to_owned()))
        });
        let Some((place, id)) = found else { return Ok(None) };
        let read = local(&self.rig_git()).args(["cat-file", "blob", &id]).output_cap(CODE_OWNERS_BYTES);
        let output = run_local(what.as_str(), read).await?;
        if output.truncated {
            return Err(failed(what, "the file is too long"));
        }
        Ok(Some(CodeOwners::parse(place, &lossy(&output.stdout))))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
