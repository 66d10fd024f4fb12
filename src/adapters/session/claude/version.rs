//! Which version of the program is installed, and which hook events it knows. An event that it does not know makes it ask a
//! question that nobody answers.

use crate::adapters::process::Program;
use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

/// Time for `--version`: a fifth of a second on a machine that does nothing else.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// A version number; what follows the third part is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// The first version that was seen to know every event that rig wants.
const SEEN: Version = Version(2, 1, 197);

/// Every event that rig wants to hear of, and the first version that it may be registered with; `None` for those that all
/// versions know which can be driven at all.
const SINCE: [(&str, Option<Version>); 8] = [
    ("SessionStart", None),
    ("UserPromptSubmit", None),
    ("Stop", None),
    ("StopFailure", Some(SEEN)),
    ("SubagentStop", None),
    ("Notification", None),
    ("PreCompact", None),
    ("SessionEnd", None),
];

impl Version {
    /// Reads the number that stands first in what the program answers, such as `2.1.329 (Claude Code)`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace().next()?.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }
}

/// Returns the names of all events that rig knows what to do with.
pub fn all_events() -> impl Iterator<Item = &'static str> {
    SINCE.iter().map(|(event, _)| *event)
}

/// Returns the events to register with a program that calls its version so. With an unknown or older one only those that
/// every version knows; what is missing is then found out by watching the screen and the clock.
pub(crate) fn events_of(version: Option<&str>) -> impl Iterator<Item = &'static str> {
    // The stand-in has a version of its own and knows what rig knows.
    let knows_all = version.is_some_and(|text| text.contains("stand-in"));
    let version = version.and_then(Version::read);
    SINCE.iter().filter(move |(_, since)| since.is_none() || knows_all || version >= *since).map(|(event, _)| *event)
}

/// What makes one program another: its file, and when that was last written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity(PathBuf, u64, u64, i64, i64);

/// Asks the program for its version; once for as long as its file stays the same.
pub(crate) async fn ask(program: &Path, arguments: &[String], environment: &[(String, String)]) -> Option<String> {
    static KNOWN: LazyLock<Mutex<HashMap<Identity, String>>> = LazyLock::new(Mutex::default);
    let path = program.canonicalize().ok()?;
    let meta = path.metadata().ok()?;
    let identity = Identity(path, meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec());
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&identity) {
        return Some(known.clone());
    }
    let mut question =
        Program::new(program).args(arguments).arg("--version").clear_env().timeout(ANSWER_TIME).output_cap(1_024);
    for (name, value) in environment {
        question = question.env(name, value);
    }
    match question.run_ok().await {
        Ok(output) => {
            let version = output.text();
            KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, version.clone());
            Some(version)
        }
        Err(error) => {
            tracing::warn!(program = %program.display(), %error, "the agent's program does not tell its version");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_that_the_version_knows_are_registered() {
        let count = |version: Option<&str>| events_of(version).count();
        assert_eq!(count(Some("2.1.329 (Claude Code)")), SINCE.len());
        assert_eq!(count(Some("2.1.197 (Claude Code)")), SINCE.len());
        assert_eq!(count(Some("0.1.0 (stand-in)")), SINCE.len());
        for older in [Some("2.1.196 (Claude Code)"), Some("1.0.128"), Some("nonsense"), Some(""), None] {
            assert!(!events_of(older).any(|event| event == "StopFailure"), "{older:?}");
            assert!(events_of(older).any(|event| event == "Stop"), "{older:?}");
        }
    }

    #[tokio::test]
    async fn a_program_is_asked_once_until_its_file_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("claude");
        // Another process writes it: a child that a test beside this one has just forked would have the open file too, and a
        // file that is open for writing cannot be executed.
        let install = async |version: &str| {
            let text = format!("#!/bin/sh\necho asked >> {}/count\necho {version}\n", folder.path().display());
            let write = "cat > draft && chmod 755 draft && mv draft claude";
            Program::new("sh").args(["-c", write]).cwd(folder.path()).stdin(text).run_ok().await.unwrap();
        };
        let environment = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        install("2.1.1").await;
        for _ in 0..3 {
            assert_eq!(ask(&program, &[], &environment).await.as_deref(), Some("2.1.1"));
        }
        install("2.1.2").await;
        assert_eq!(ask(&program, &[], &environment).await.as_deref(), Some("2.1.2"));
        assert_eq!(std::fs::read_to_string(folder.path().join("count")).unwrap().lines().count(), 2);
        assert_eq!(ask(Path::new("/nonexistent/claude"), &[], &environment).await, None);
    }
}
