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
    /// Returns whether `run` is what makes the verdict (else it is only observed, and may be asked for at any rate).
    fn runs_here(&self) -> bool;
}
