//! The usage port: what the agent's model has used, from what the agent itself writes down about its sessions.

use crate::domain::{ids::RunId, usage::Usage};
use async_trait::async_trait;
use std::path::PathBuf;

/// Whose usage is asked for.
#[derive(Debug, Clone)]
pub struct UsageOf {
    pub run: RunId,
    /// The run's own file of hooks: it names the sessions that its agent had.
    pub hooks_file: PathBuf,
    /// A session that is the run's whether or not a hook has named it yet.
    pub session: String,
}

#[async_trait]
pub trait UsageMeter: Send + Sync {
    /// Returns what each session of a run has used from its beginning until now. What cannot be read is left out: usage is
    /// worth knowing, and no reason to hold up any work.
    async fn measure(&self, of: &UsageOf) -> Vec<Usage>;
}
