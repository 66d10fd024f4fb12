//! The agent's lifecycle events: `rig hook EVENT` appends each as one line to the run's own file, the driver reads
//! them from where it stopped. Nothing is lost while no driver lives.
//!
//! A line is one JSON object: `v` (1), `at`, `run`, `attempt`, `event`, `session` (the agent's own id), and of `prompt`,
//! `source`, `last_assistant_message`, `background_tasks` (their number), `error`, `reason`, `message`,
//! `notification_type`, `trigger`, `transcript_path` what the event has. It is written by one append, so lines of
//! processes that write at once do not mix; a torn last line is completed with a line end by the next writer and skipped
//! by the reader.

use super::{
    credential,
    files::{append_to_regular, open_regular},
};
use crate::{
    domain::{
        ids::{Attempt, RunId},
        redact::{Redactor, SecretText},
    },
    ports::session::{HookEvent, HookKind, HooksRead},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const LINE_VERSION: u32 = 1;
/// Largest payload that is read: a prompt of 100 KiB and a long last message, escaped.
const PAYLOAD_BYTES: u64 = 4 * 1024 * 1024;
/// Longest line that is written or read.
const LINE_BYTES: usize = 16 * 1024;
/// Longest text kept of one field, in characters; halved until the line fits.
const FIELD_CHARS: usize = 6_000;
/// From this size on lines are written without texts: such a file is that of a runaway, and readers keep byte offsets
/// into it, so it is never cut.
const FILE_BYTES_WITH_TEXT: u64 = 32 * 1024 * 1024;
/// Beyond this size nothing is written any more.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes that one reading takes up; the next goes on behind them.
const READ_BYTES: u64 = 4 * 1024 * 1024;
/// Text fields that are taken over from the payload.
const TEXT_FIELDS: [&str; 9] = [
    "prompt",
    "source",
    "last_assistant_message",
    "error",
    "reason",
    "message",
    "notification_type",
    "trigger",
    "transcript_path",
];

/// Put back into the agent's context after compaction has dropped the beginning of the conversation.
const REMINDER: &str = "You work in a session of rig. When you stop, the phase file must say why, or the work stands still: \
`rig phase set PHASE --reason TEXT`, or PHASE:<phase> as the first line of the file \"$PHASE_FILE\". Phases: awaiting_ci \
(everything is committed and pushed), awaiting_review (CI is green), escalate (a person must decide; say what in the reason), \
done (the pull request is merged), failed (you cannot go on; say why in \"$SUMMARY_FILE\"). Write a summary for the pull \
request into \"$SUMMARY_FILE\". rig opens and merges the pull request; you never do.\n";

/// Where and as whom this process reports; from the environment that the session was started with.
#[derive(Debug, Clone)]
pub struct Reporter {
    pub file: PathBuf,
    pub run: String,
    pub attempt: u32,
    /// Values that must not be kept: what this process can know of them.
    pub secrets: Vec<SecretText>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    v: u32,
    at: Timestamp,
    run: String,
    attempt: u32,
    event: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    session: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    background_tasks: u32,
    #[serde(flatten)]
    texts: serde_json::Map<String, Value>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Reporter {
    /// Returns the reporter of the session that this process runs in; `None` outside of one.
    pub fn from_env() -> Option<Self> {
        Some(Self {
            file: PathBuf::from(env::var_os("RIG_HOOKS_FILE")?),
            run: env::var("RIG_RUN").ok()?,
            attempt: env::var("RIG_ATTEMPT").ok()?.parse().ok()?,
            secrets: env::var_os("PHASE_FILE").and_then(|phase| credential::known_token(&phase)).into_iter().collect(),
        })
    }

    /// Appends one event with what its payload tells.
    pub fn append(&self, event: &str, payload: &Value, now: Timestamp) -> io::Result<()> {
        let (mut file, meta) = append_to_regular(&self.file)?;
        let size = meta.len();
        if size >= FILE_BYTES {
            return Ok(());
        }
        let room = if size >= FILE_BYTES_WITH_TEXT { 0 } else { FIELD_CHARS };
        let mut text = self.line(event, payload, room, now);
        if size > 0 && last_byte(&file)? != b'\n' {
            text.insert(0, b'\n');
        }
        file.write_all(&text)
    }

    fn line(&self, event: &str, payload: &Value, room: usize, now: Timestamp) -> Vec<u8> {
        let redactor = Redactor::new(self.secrets.iter().cloned());
        let mut room = room;
        loop {
            let mut texts = serde_json::Map::new();
            for name in TEXT_FIELDS.into_iter().filter(|_| room > 0) {
                if let Some(text) = payload[name].as_str() {
                    texts.insert(name.to_owned(), Value::String(for_the_record(text, room, &redactor)));
                }
            }
            let line = Line {
                v: LINE_VERSION,
                at: now,
                run: self.run.clone(),
                attempt: self.attempt,
                event: event.to_owned(),
                session: payload["session_id"].as_str().unwrap_or_default().chars().take(64).collect(),
                background_tasks: payload["background_tasks"].as_array().map_or(0, |tasks| tasks.len() as u32),
                texts,
            };
            let mut text = serde_json::to_vec(&line).unwrap_or_default();
            text.push(b'\n');
            if text.len() <= LINE_BYTES || room == 0 {
                return text;
            }
            room /= 2;
        }
    }
}

/// Returns the text that an event's hook gives back to the agent; empty for most.
pub fn reminder(event: &str, payload: &Value) -> &'static str {
    if event == "SessionStart" && payload["source"] == "compact" { REMINDER } else { "" }
}

/// Reads a hook's payload; anything but a JSON object reads as an empty one.
pub fn read_payload(payload: impl Read) -> Value {
    let mut content = Vec::new();
    let _ = payload.take(PAYLOAD_BYTES).read_to_end(&mut content);
    serde_json::from_slice(&content).ok().filter(Value::is_object).unwrap_or_default()
}

/// Returns text as it may be kept: secrets blanked first, in more than will be shown so that none is cut in two and
/// missed, and then cut to size.
fn for_the_record(text: &str, room: usize, redactor: &Redactor) -> String {
    let ahead: String = text.chars().take(room * 2).collect();
    let redacted = redactor.redact(&ahead);
    let mut kept: String = redacted.chars().take(room).collect();
    if kept.len() < redacted.len() || ahead.len() < text.len() {
        kept.push('…');
    }
    kept
}

fn last_byte(mut file: &File) -> io::Result<u8> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

/// Returns the complete events behind `from`, in order, and up to where the file was read; those of other runs are left
/// out, and those of other attempts when one is named. A missing file has none, and so has whatever is no regular file; a
/// file that is shorter than `from` is a new one and is read from its beginning. Lines that are no event are skipped.
pub fn read_hooks(path: &Path, from: u64, run: &RunId, attempt: Option<Attempt>) -> io::Result<HooksRead> {
    let Ok((mut file, meta)) = open_regular(path) else { return Ok(HooksRead::default()) };
    let mut next = if meta.len() < from { 0 } else { from };
    let mut events = Vec::new();
    file.seek(SeekFrom::Start(next))?;
    let mut content = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut content)?;
    if content.len() as u64 == READ_BYTES && !content.contains(&b'\n') {
        // No line of ours is nearly that long: it is passed over, or it would be all that is ever read.
        return Ok(HooksRead { events, next: next + READ_BYTES, more: true });
    }
    for line in content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        next += line.len() as u64;
        let Some(read) = read_line(line) else { continue };
        if read.run == run.as_str() && attempt.is_none_or(|attempt| attempt.0 == read.attempt) {
            events.push(HookEvent { attempt: Attempt(read.attempt), kind: kind(&read), offset: next });
        }
    }
    Ok(HooksRead { events, next, more: content.len() as u64 == READ_BYTES })
}

/// Returns the agent's own sessions that a run's hooks behind `from` name, each once, and moves `from` behind them.
pub fn read_sessions(path: &Path, from: &mut u64, run: &RunId) -> Vec<String> {
    let mut sessions: Vec<String> = Vec::new();
    let Ok((mut file, meta)) = open_regular(path) else { return sessions };
    if meta.len() < *from {
        *from = 0;
    }
    let mut content = Vec::new();
    if file.seek(SeekFrom::Start(*from)).and_then(|_| file.take(FILE_BYTES).read_to_end(&mut content)).is_err() {
        return sessions;
    }
    for line in content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        *from += line.len() as u64;
        let named = read_line(line).filter(|line| line.run == run.as_str()).map(|line| line.session);
        sessions.extend(named.filter(|session| !session.is_empty() && !sessions.contains(session)));
    }
    sessions
}

/// Returns the transcript that an attempt's newest event names. A file longer than one reading takes up is read from its end.
pub(crate) fn transcript(path: &Path, run: &RunId, attempt: Attempt) -> Option<PathBuf> {
    let (mut file, meta) = open_regular(path).ok()?;
    file.seek(SeekFrom::Start(meta.len().saturating_sub(READ_BYTES))).ok()?;
    let mut content = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut content).ok()?;
    let lines = content.split(|byte| *byte == b'\n').rev().filter_map(read_line);
    let mut own = lines.filter(|line| line.run == run.as_str() && line.attempt == attempt.0);
    own.find_map(|line| line.texts.get("transcript_path")?.as_str().map(PathBuf::from))
}

fn read_line(line: &[u8]) -> Option<Line> {
    let line: Line = (line.len() <= LINE_BYTES).then(|| serde_json::from_slice(line).ok())??;
    (line.v == LINE_VERSION).then_some(line)
}

fn kind(line: &Line) -> HookKind {
    let text = |name: &str| line.texts.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match line.event.as_str() {
        "SessionStart" => HookKind::SessionStarted { source: text("source") },
        "UserPromptSubmit" => HookKind::PromptTaken { prompt: text("prompt") },
        "Stop" => HookKind::TurnEnded {
            last_message: text("last_assistant_message"),
            background_tasks: line.background_tasks,
        },
        "StopFailure" => HookKind::TurnFailed { error: text("error"), message: text("last_assistant_message") },
        // Only what is refused is on record.
        "PreToolUse" => HookKind::ToolRefused { what: text("message"), why: text("reason") },
        "SessionEnd" => HookKind::SessionEnded { reason: text("reason") },
        _ => HookKind::Alive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn reporter(folder: &Path, attempt: u32) -> Reporter {
        Reporter {
            file: folder.join("hooks.jsonl"),
            run: RUN.to_owned(),
            attempt,
            secrets: vec![SecretText::new("t0ken-value")],
        }
    }

    fn read(reporter: &Reporter, from: u64) -> Vec<HookEvent> {
        read_hooks(&reporter.file, from, &RunId::new(RUN).unwrap(), None).unwrap().events
    }

    #[test]
    fn events_are_read_once_from_where_the_last_reading_ended() {
        let folder = tempfile::tempdir().unwrap();
        let first = reporter(folder.path(), 1);
        assert!(read(&first, 0).is_empty(), "no file, no events");
        first
            .append("SessionStart", &read_payload(br#"{"source":"startup"}"#.as_slice()), Timestamp::UNIX_EPOCH)
            .unwrap();
        let events = read(&first, 0);
        assert_eq!(events[0].kind, HookKind::SessionStarted { source: "startup".into() });
        let second = reporter(folder.path(), 2);
        let stop = br#"{"last_assistant_message":"done","background_tasks":[{},{}]}"#;
        second.append("Stop", &read_payload(stop.as_slice()), Timestamp::UNIX_EPOCH).unwrap();
        let later = read(&first, events[0].offset);
        let expected = HookKind::TurnEnded { last_message: "done".into(), background_tasks: 2 };
        assert_eq!((later.len(), &later[0].kind, later[0].attempt), (1, &expected, Attempt(2)));
        let run = RunId::new(RUN).unwrap();
        assert_eq!(read_hooks(&first.file, 0, &run, Some(Attempt(1))).unwrap().events.len(), 1);
        let other = RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAW").unwrap();
        assert!(read_hooks(&first.file, 0, &other, None).unwrap().events.is_empty());
    }

    #[test]
    fn torn_and_malformed_lines_cost_no_other_event() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), 1);
        std::fs::write(&reporter.file, "not json\n{\"v\":1,\"at\":\"20").unwrap();
        assert!(read(&reporter, 0).is_empty());
        reporter.append("Stop", &read_payload("garbage".as_bytes()), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(read(&reporter, 0).len(), 1);
    }

    #[test]
    fn what_is_no_event_of_the_run_is_scanned_once_and_hides_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), 1);
        let run = RunId::new(RUN).unwrap();
        let long = READ_BYTES as usize + 1;
        for filler in ["another run's line\n".repeat(long / 19 + 1), "x".repeat(long)] {
            std::fs::write(&reporter.file, filler).unwrap();
            reporter.append("Stop", &read_payload("{}".as_bytes()), Timestamp::UNIX_EPOCH).unwrap();
            let (mut from, mut found) = (0, 0);
            loop {
                let read = read_hooks(&reporter.file, from, &run, None).unwrap();
                found += read.events.len();
                assert!(read.next > from, "it goes on");
                from = read.next;
                if !read.more {
                    break;
                }
            }
            assert_eq!((found, from), (1, std::fs::metadata(&reporter.file).unwrap().len()));
            assert_eq!(
                read_hooks(&reporter.file, from, &run, None).unwrap(),
                HooksRead { next: from, ..HooksRead::default() }
            );
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_has_no_events_and_takes_none() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), 1);
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &reporter.file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(read(&reporter, 7).is_empty());
        assert!(reporter.append("Stop", &read_payload("{}".as_bytes()), Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn a_line_stays_within_its_bound_whatever_the_payload() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), 1);
        let payload =
            serde_json::json!({"prompt": "\u{1}\"".repeat(100_000), "last_assistant_message": "\u{1}".repeat(50_000)});
        reporter.append("UserPromptSubmit", &payload, Timestamp::UNIX_EPOCH).unwrap();
        let content = std::fs::read(&reporter.file).unwrap();
        assert!(content.len() <= LINE_BYTES, "{}", content.len());
        assert!(matches!(&read(&reporter, 0)[0].kind, HookKind::PromptTaken { prompt } if prompt.len() > 100));
    }

    #[test]
    fn secrets_are_blanked_and_the_line_that_rig_types_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), 1);
        let typed = format!("Read /srv/rig/state/run/widget/7/inbox/{RUN}-12-0.md and carry it out");
        for prompt in ["it is t0ken-value", "FORGE_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345", &typed] {
            let payload = serde_json::json!({ "prompt": prompt });
            reporter.append("UserPromptSubmit", &payload, Timestamp::UNIX_EPOCH).unwrap();
        }
        let kept = std::fs::read_to_string(&reporter.file).unwrap();
        assert!(!kept.contains("t0ken-value") && !kept.contains("ghp_"), "{kept}");
        assert_eq!(read(&reporter, 0)[2].kind, HookKind::PromptTaken { prompt: typed });
    }

    #[test]
    fn only_compaction_brings_the_reminder() {
        assert!(reminder("SessionStart", &serde_json::json!({"source": "compact"})).contains("PHASE_FILE"));
        assert!(reminder("SessionStart", &serde_json::json!({"source": "startup"})).is_empty());
        assert!(reminder("Stop", &serde_json::json!({"source": "compact"})).is_empty());
    }
}
