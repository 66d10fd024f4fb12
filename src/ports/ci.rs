//! The CI port: the verdict on one commit, and how to ask for it.

use crate::domain::{ci::CiVerdict, ids::Sha};
use async_trait::async_trait;

#[derive(Debug, Clone, thiserror::Error)]
#[error("CI cannot be asked: {message}")]
pub struct CiError {
    pub message: String,
}

#[async_trait]
pub trait Ci: Send + Sync {
    /// Runs the checks of a commit where rig itself runs them, and returns the verdict when they have ended; elsewhere
    /// returns what is known now. Safe to repeat.
    async fn run(&self, head: &Sha) -> Result<CiVerdict, CiError>;
    /// Does the same for who is to be told by which number, that of an issue or of a pull request, people find the log.
    async fn run_for(&self, head: &Sha, _number: u64) -> Result<CiVerdict, CiError> {
        self.run(head).await
    }
    /// Does the same for several commits, side by side where it is only asked. The answers are in the order of the commits.
    async fn run_all(&self, heads: &[Sha]) -> Vec<Result<CiVerdict, CiError>> {
        let mut verdicts = Vec::with_capacity(heads.len());
        for head in heads {
            verdicts.push(self.run(head).await);
        }
        verdicts
    }
    /// Starts the checks of a commit anew where the provider can do that itself, after they broke `breaks` times. Twice: what
    /// was started since the last break goes on.
    async fn restart(&self, _head: &Sha, _breaks: u32) -> Result<(), CiError> {
        Ok(())
    }
    /// Returns whether `run` is what makes the verdict (else it is only observed, and may be asked for at any rate).
    fn runs_here(&self) -> bool;
}
