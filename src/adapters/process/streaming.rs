//! A program whose input and output are streams.

use super::{GroupGuard, ProcessError, capture::Capture, start_error};
use std::{process::ExitStatus, time::Duration};

/// A program that runs while its input is written and its output read. Dropping it kills its process group.
#[derive(Debug)]
pub struct Streaming {
    /// Standard input, for the caller to take; dropping it is the end of the input.
    pub stdin: Option<tokio::process::ChildStdin>,
    /// Standard output, for the caller to take.
    pub stdout: Option<tokio::process::ChildStdout>,
    pub(super) program: String,
    pub(super) limit: Duration,
    pub(super) child: tokio::process::Child,
    pub(super) stderr: Capture,
    pub(super) guard: GroupGuard,
}

impl Streaming {
    /// Waits for the end. Returns the exit status and what was said on standard error. A time-out kills the group.
    pub async fn finish(mut self) -> Result<(ExitStatus, Vec<u8>), ProcessError> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let Ok(status) = tokio::time::timeout(self.limit, self.child.wait()).await else {
            return Err(ProcessError::TimedOut { program: self.program, limit: self.limit });
        };
        let status = status.map_err(|error| start_error(&self.program, &error))?;
        let (stderr, _) = self.stderr.finish().await;
        drop(self.guard);
        Ok((status, stderr))
    }
}
