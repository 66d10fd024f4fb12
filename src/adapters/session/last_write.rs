//! When an agent last wrote to its own transcript: the sign of life of one that thinks long or works long without a hook.
//! Where the transcript lies is what its hooks have told.

use super::{files::open_regular, hooks};
use crate::domain::ids::{Attempt, RunId};
use jiff::Timestamp;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most transcripts of subagents that are looked at.
const SUBAGENTS: usize = 1_000;

/// Returns when the attempt's transcript, or one of its subagents', was last written; `None` when no hook has named one, or it
/// is not there.
pub(crate) fn of_transcript(hooks_file: &Path, run: &RunId, attempt: Attempt) -> Option<Timestamp> {
    let transcript = hooks::transcript(hooks_file, run, attempt)?;
    let subagents = fs::read_dir(transcript.with_extension("").join("subagents"));
    let subagents = subagents.into_iter().flatten().flatten().take(SUBAGENTS).map(|entry| entry.path());
    subagents.chain([transcript]).filter_map(written).max()
}

fn written(file: PathBuf) -> Option<Timestamp> {
    let (_, meta) = open_regular(&file).ok()?;
    Timestamp::try_from(meta.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn write(file: &Path, secs: u64) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let file = fs::File::create(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
    }

    #[test]
    fn the_newest_of_transcript_and_subagents_counts_and_only_what_this_attempt_has_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hooks.jsonl");
        let run = RunId::new(RUN).unwrap();
        let last = |attempt| of_transcript(&file, &run, Attempt(attempt)).map(Timestamp::as_second);
        assert_eq!(last(1), None, "no hooks yet");
        for (attempt, name) in [(1, "one.jsonl"), (2, "two.jsonl")] {
            let reporter = hooks::Reporter { file: file.clone(), run: RUN.into(), attempt, secrets: Vec::new() };
            let payload = serde_json::json!({ "transcript_path": folder.path().join(name) });
            reporter.append("SessionStart", &payload, Timestamp::UNIX_EPOCH).unwrap();
            reporter.append("Stop", &serde_json::json!({}), Timestamp::UNIX_EPOCH).unwrap();
        }
        assert_eq!(last(1), None, "it is not written yet");
        write(&folder.path().join("one.jsonl"), 100);
        write(&folder.path().join("two.jsonl"), 200);
        assert_eq!((last(1), last(2), last(3)), (Some(100), Some(200), None));
        write(&folder.path().join("one/subagents/agent-x.jsonl"), 300);
        assert_eq!(last(1), Some(300));
    }
}
