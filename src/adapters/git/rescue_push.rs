//! Pushing rescues to the forge, so that they outlive this machine: never forced, and never with a known secret in any of
//! their commits. What is not pushed stays in `rig.git`, and is tried again with the next rescue of the same state.

use super::{
    GitWorkspace,
    command::{self, local, run_local, run_remote},
};
use crate::{domain::ids::Sha, ports::workspace::WorkspaceResult};
use std::borrow::Cow;

/// Bytes of changes that are searched for secrets; with more than that nobody can say that there is none.
const SEARCHED_BYTES: usize = 32 * 1024 * 1024;

impl GitWorkspace {
    /// Pushes a rescue, as far as that is allowed. It is safe here already, so that nothing that goes wrong is an error.
    pub(super) async fn push_rescue(&self, name: &str, commit: &Sha, known: &str) {
        let Some((forge, redactor)) = &self.rescues else { return };
        let holds_secret = match self.unpublished_changes(commit, known).await {
            Ok(Some(changes)) => matches!(redactor.redact(&changes), Cow::Owned(redacted) if redacted != changes),
            Ok(None) => {
                tracing::warn!(
                    rescue = name,
                    "too much changed to be searched for secrets; the rescue stays on this machine"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(rescue = name, %error, "the rescue cannot be searched for secrets, and stays on this machine");
                return;
            }
        };
        if holds_secret {
            tracing::warn!(rescue = name, "there is a secret in the rescued work; it stays on this machine");
            return;
        }
        let push = command::remote(&self.rig_git(), forge, self.plan.network_timeout)
            .args(["push", "--quiet", "--porcelain", "--no-verify", "--end-of-options"])
            .arg(forge.url())
            .arg(format!("{commit}:{name}"));
        match run_remote(format!("pushing {name}"), push).await {
            Ok(_) => tracing::info!(rescue = name, commit = commit.short(), "rescued work was pushed to the forge"),
            Err(error) => {
                tracing::warn!(rescue = name, %error, "rescued work was not pushed and stays on this machine")
            }
        }
    }

    /// Returns messages and changes of every commit that the forge does not have, those of merges against each parent;
    /// `None` when there are too many to be read.
    async fn unpublished_changes(&self, commit: &Sha, known: &str) -> WorkspaceResult<Option<String>> {
        let options = ["log", "-p", "-m", "--text", "--no-ext-diff", "--no-textconv", "--no-color", "--format=%B"];
        let log = local(&self.rig_git())
            .args(options)
            .args(["--ignore-missing", "--stdin", commit.as_str()])
            .stdin(known)
            .output_cap(SEARCHED_BYTES);
        let output = run_local("reading what a rescue changes", log).await?;
        Ok((!output.truncated).then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}
