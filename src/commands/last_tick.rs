//! What the last tick said of a project, kept for `rig why`: the decisions table has changes only, so it cannot tell what a
//! tick did not see any more, nor that a tick failed as a whole. Written by each tick, read by people; nothing decides from it.

use crate::{
    config::Root,
    domain::{code::Code, ids::ProjectName},
    engine::tick::{self, Report},
    output::Failure,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{io::Write, os::unix::fs::DirBuilderExt};

/// Version of the file's format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LastTick {
    version: u32,
    pub(super) at: Timestamp,
    /// Why the tick could not look at the project; nothing is known then.
    pub(super) failed: Option<String>,
    /// What made the tick end early: a code, and its words. What it did not ask is unknown.
    #[serde(default)]
    pub(super) ended_early: Option<(String, String)>,
    /// What went wrong; the tick went on all the same.
    pub(super) problems: Vec<String>,
    /// One for each issue and pull request that it saw, the queue in its order.
    pub(super) lines: Vec<Line>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) subject_kind: String,
    pub(super) subject: u64,
    pub(super) code: String,
    pub(super) words: String,
}

impl Line {
    fn of(line: &tick::Line) -> Self {
        Self {
            subject_kind: line.subject_kind.to_owned(),
            subject: line.subject,
            code: line.code.name().to_owned(),
            words: line.words.clone(),
        }
    }

    /// Returns the code; `None` when another version of rig wrote one that this one does not know.
    pub(super) fn code(&self) -> Option<Code> {
        self.code.parse().ok()
    }

    pub(super) fn is_pull_request(&self) -> bool {
        self.subject_kind == "pull_request"
    }
}

/// Keeps what came of a tick. Not being able to costs an answer of `rig why`, and nothing else.
pub(super) fn write(root: &Root, project: &ProjectName, result: &Result<Report, Failure>) {
    let (failed, report) = match result {
        Ok(report) => (None, Some(report)),
        Err(failure) => (Some(failure.message.clone()), None),
    };
    let lines = match report {
        Some(report) if !report.lines.is_empty() || report.ended_early.is_none() => {
            report.lines.iter().map(Line::of).collect()
        }
        // What the tick before said is the best that is known.
        _ => read(root, project).map(|before| before.lines).unwrap_or_default(),
    };
    let tick = LastTick {
        version: VERSION,
        at: Timestamp::now(),
        failed,
        ended_early: report
            .and_then(|report| report.ended_early.as_ref())
            .map(|(code, words)| (code.name().to_owned(), words.clone())),
        problems: report.map(|report| report.problems.clone()).unwrap_or_default(),
        lines,
    };
    if let Err(error) = replace(root, project, &tick) {
        tracing::warn!(%project, %error, "what the tick said cannot be kept for rig why");
    }
}

/// Puts the file in place in one step: readers and other ticks never see half of it.
fn replace(root: &Root, project: &ProjectName, tick: &LastTick) -> std::io::Result<()> {
    let path = root.last_tick(project);
    let folder = path.parent().unwrap_or(&path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(tick)?)?;
    file.persist(&path)?;
    Ok(())
}

/// Returns what the last tick said; `None` when there was none, or another version of rig wrote it.
pub(super) fn read(root: &Root, project: &ProjectName) -> Option<LastTick> {
    let bytes = std::fs::read(root.last_tick(project)).ok()?;
    serde_json::from_slice(&bytes).ok().filter(|tick: &LastTick| tick.version == VERSION)
}
