//! The texts beside a run's journal: what its driver printed, the logs of CI on this machine, the session's screen.

use crate::{
    commands::{handle::Handle, wire},
    config::Root,
    domain::{
        ids::{ProjectName, Seq, Sha},
        run::Event,
    },
    engine::resume,
    output::Failure,
    ports::session::{Liveness, Sessions},
};
use jiff::Timestamp;
use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes shown of a text, its end.
const TEXT_BYTES: u64 = 64 * 1024;
/// Lines of the session's history that are shown.
const SCREEN_LINES: u32 = 1_000;
/// Most logs of CI that are shown, the newest ones.
const CI_LOGS: usize = 3;

pub(super) struct Text {
    /// `driver_output`, `ci` or `pane`.
    pub(super) source: &'static str,
    /// Where it comes from, for people.
    pub(super) place: String,
    pub(super) at: Option<Timestamp>,
    pub(super) content: String,
}

/// Returns what the run's drivers printed, most of all when they crashed; nothing when they printed nothing.
pub(super) fn driver_output(handle: &Handle) -> Option<Text> {
    let path = handle.root.run(&handle.run.project, handle.run.issue).driver_log();
    tail("driver_output", &path).filter(|text| !text.content.trim().is_empty())
}

/// Returns the logs that CI on this machine left of the run's commits, the oldest first.
pub(super) async fn ci_logs(handle: &Handle) -> Result<Vec<Text>, Failure> {
    let mut heads = Vec::new();
    for event in handle.events(Seq(0)).await? {
        let fact = resume::read(&event).map_err(|error| wire::store_failure(&error))?;
        if let Event::CiFinished { head, .. } = fact.event
            && !heads.contains(&head)
        {
            heads.push(head);
        }
    }
    let (root, project) = (&handle.root, &handle.run.project);
    let logs: Vec<Text> = heads.iter().filter_map(|head| ci_log(root, project, head)).collect();
    let first = logs.len().saturating_sub(CI_LOGS);
    Ok(logs.into_iter().skip(first).collect())
}

/// Returns the log that CI on this machine left of a commit.
pub(super) fn ci_log(root: &Root, project: &ProjectName, head: &Sha) -> Option<Text> {
    tail("ci", &root.ci_dir(project).join(format!("{head}.log")))
}

/// Returns what the session shows now, or what was kept of it last.
pub(super) async fn screen(handle: &Handle) -> Option<Text> {
    let (name, run) = (handle.session(), &handle.run);
    let sessions = wire::any_sessions(&handle.root);
    if let Ok(Liveness::Alive) = sessions.liveness(&name, &run.run, run.attempt).await
        && let Ok(content) = sessions.screen(&name, SCREEN_LINES).await
    {
        let place = format!("{} (live)", name.for_tmux());
        return Some(Text { source: "pane", place, at: Some(Timestamp::now()), content });
    }
    let folder = handle.root.run(&run.project, run.issue);
    let attempts = (1..=run.attempt.0).rev().map(crate::domain::ids::Attempt);
    attempts.map(|attempt| folder.attempt(attempt).screen()).find_map(|path| tail("pane", &path))
}

/// Returns the end of a file with the time of its last change.
fn tail(source: &'static str, path: &Path) -> Option<Text> {
    let (mut file, meta) = wire::open_regular(path).ok()?;
    let skipped = meta.len().saturating_sub(TEXT_BYTES);
    file.seek(SeekFrom::Start(skipped)).ok()?;
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let content = match skipped {
        0 => text.into_owned(),
        _ => format!("[the beginning is left out]\n{}", text.split_once('\n').map_or("", |(_, rest)| rest)),
    };
    let at = meta.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    Some(Text { source, place: path.display().to_string(), at, content })
}

/// Returns text on one line that a terminal shows as it is.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns the lines of a text without what a terminal would obey, and without empty ones at the end.
pub(super) fn lines(text: &str) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
    let mut lines: Vec<String> = text.lines().map(|line| clean(line).trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(lines("a\x1b[31m\r\n\tb\x07  \n\n\n"), ["a[31m", "\tb"]);
        assert_eq!(plain("a\nb\u{9b}c"), "a b c");
    }

    #[test]
    fn a_long_text_is_shown_from_a_whole_line_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "0123456789\n".repeat(10_000)).unwrap();
        let text = tail("ci", &path).unwrap().content;
        assert!(text.starts_with("[the beginning is left out]\n0123456789\n") && text.len() as u64 <= TEXT_BYTES + 40);
        assert!(tail("ci", &folder.path().join("none")).is_none() && tail("ci", folder.path()).is_none());
    }
}
