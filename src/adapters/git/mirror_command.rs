//! The parts of git that pushing to a mirror needs: no token of the forge comes near it.

use super::{
    GitWorkspace, command,
    command::{from_process, run_remote},
    url::Remote,
};
use crate::{
    adapters::process::{ProcessError, Program},
    domain::ids::Sha,
    ports::workspace::WorkspaceResult,
};

pub(in crate::adapters) use super::command::brief;

/// Returns the address of a mirror without credentials.
pub(in crate::adapters) fn address(url: &str) -> String {
    Remote::parse(url).url().to_owned()
}

/// Returns in words why git did not come to an end.
pub(in crate::adapters) fn told(what: &str, error: ProcessError) -> String {
    match error {
        ProcessError::TimedOut { limit, .. } => format!("{what}: no answer within {} s", limit.as_secs_f32()),
        other => from_process(what.to_owned(), other).to_string(),
    }
}

impl GitWorkspace {
    pub(in crate::adapters) fn primary_ref(&self) -> String {
        format!("refs/heads/{}", self.plan.primary_branch)
    }

    pub(in crate::adapters) fn mirror_call(&self, name: &str, url: &str) -> Program {
        let remote = Remote::parse(url);
        let remote = match self.plan.mirror_tokens.get(name) {
            Some(token) => remote.with_token(token),
            None => remote,
        };
        command::mirror(&self.rig_git(), &remote, self.plan.network_timeout)
    }

    /// Fetches commits and tags from the forge. When it does not answer, what is here already will do, if the commit is.
    pub(in crate::adapters) async fn ensure_for_mirror(&self, commit: &Sha) -> WorkspaceResult<()> {
        let fetched = self.fetch().await;
        match self.has_commit(commit).await? {
            true => Ok(()),
            false => {
                fetched?;
                let what = format!("looking for commit {commit} in what {} has", self.remote.url());
                Err(command::failed(what, "it is not part of any branch there"))
            }
        }
    }

    /// Asks a mirror for the tip of its primary branch.
    pub(in crate::adapters) async fn mirror_tip(&self, name: &str, url: &str) -> WorkspaceResult<Option<Sha>> {
        let (url_clean, primary) = (address(url), self.primary_ref());
        let ask =
            self.mirror_call(name, url).args(["ls-remote", "--quiet", "--refs", "--end-of-options"]).arg(&url_clean);
        let answer = run_remote(format!("asking {url_clean}"), ask.arg(&primary)).await?.text();
        let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines.find(|(_, name)| *name == primary).and_then(|(id, _)| Sha::new(id).ok()))
    }

    /// Returns whether `tip` has `commit` and is itself part of the primary branch, as last fetched or as it is now.
    pub(in crate::adapters) async fn is_on_the_way(&self, commit: &Sha, tip: &Sha) -> WorkspaceResult<bool> {
        let primary = self.fetch().await?;
        Ok(self.has_commit(tip).await?
            && self.is_ancestor(commit, tip).await?
            && self.is_ancestor(tip, &primary).await?)
    }
}
