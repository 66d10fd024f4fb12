//! What claude has used, from its transcripts: `<config>/projects/<folder>/<session>.jsonl`, and those of the session's
//! subagents in `<session>/subagents/agent-*.jsonl`.
//!
//! A transcript is found by the session's id below the agent's own folder and by nothing else: a path that a hook's payload
//! names is not followed, since whatever runs in a session can write there what it likes. Files are read on from where the
//! last reading ended; a new process reads them from the beginning and comes to the same numbers.

mod line;
mod session;

use self::session::SessionUsage;
use super::session::hooks::read_sessions;
use crate::{
    domain::usage::Usage,
    ports::usage::{UsageMeter, UsageOf},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// Most sessions of one run that are followed: an attempt has one, and a person may begin some more in it.
const MOST_SESSIONS: usize = 64;

/// Reads the transcripts below claude's own folders.
pub struct Transcripts {
    /// The folders `projects` in which one may lie.
    projects: Vec<PathBuf>,
    known: Arc<Mutex<Known>>,
}

/// What was read so far.
#[derive(Default)]
struct Known {
    /// How far each hooks file was read.
    hooks: BTreeMap<PathBuf, u64>,
    sessions: BTreeMap<String, SessionUsage>,
    /// Sessions by the run that they belong to.
    of_run: BTreeMap<String, Vec<String>>,
}

impl Transcripts {
    /// Follows the transcripts of an agent whose own files lie in one of these folders, such as `~/.claude`.
    pub fn new(configs: &[PathBuf]) -> Self {
        Self { projects: configs.iter().map(|config| config.join("projects")).collect(), known: Arc::default() }
    }
}

#[async_trait]
impl UsageMeter for Transcripts {
    async fn measure(&self, of: &UsageOf) -> Vec<Usage> {
        let (projects, known, of) = (self.projects.clone(), self.known.clone(), of.clone());
        // A long session's transcript has hundreds of megabytes; nothing else waits while it is read.
        let read = move || known.lock().map_or_else(|_| Vec::new(), |mut known| known.measure(&projects, &of));
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

impl Known {
    fn measure(&mut self, projects: &[PathBuf], of: &UsageOf) -> Vec<Usage> {
        let offset = self.hooks.entry(of.hooks_file.clone()).or_default();
        let mut named = read_sessions(&of.hooks_file, offset, &of.run);
        named.insert(0, of.session.clone());
        let sessions = self.of_run.entry(of.run.to_string()).or_default();
        for session in named.into_iter().filter(|session| is_session_id(session)) {
            if sessions.len() < MOST_SESSIONS && !sessions.contains(&session) {
                sessions.push(session);
            }
        }
        let mut all = Vec::new();
        for session in sessions.iter() {
            let usage = self.sessions.entry(session.clone()).or_default();
            usage.read_on(projects, session);
            all.extend(usage.counts(session));
        }
        all
    }
}

/// Only what looks like a session's id becomes part of a path.
fn is_session_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ids::RunId, usage};
    use serde_json::{Value, json};
    use std::{fs, io::Write, path::Path};

    const SESSION: &str = "00000000-0000-4000-8000-000000000001";

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(place.subagents()).unwrap();
            place
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("projects/-w-7")
        }

        fn subagents(&self) -> PathBuf {
            self.folder().join(SESSION).join("subagents")
        }

        fn main(&self) -> PathBuf {
            self.folder().join(format!("{SESSION}.jsonl"))
        }

        fn of(&self) -> UsageOf {
            let run = RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
            UsageOf { run, hooks_file: self.0.path().join("hooks.jsonl"), session: SESSION.into() }
        }

        fn measure(&self, transcripts: &Transcripts) -> Vec<Usage> {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(transcripts.measure(&self.of()))
        }

        fn transcripts(&self) -> Transcripts {
            Transcripts::new(&[self.0.path().join("not-there"), self.0.path().to_owned()])
        }
    }

    fn add(path: &Path, line: &Value) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn prompt() -> Value {
        json!({"type": "user", "message": {"role": "user", "content": "Fix it"}, "timestamp": "2026-01-01T10:00:00Z"})
    }

    fn answer(id: &str, day: u8, output: u64) -> Value {
        json!({"type": "assistant", "timestamp": format!("2026-01-0{day}T10:00:00.5Z"), "message": {
            "id": id, "model": "m-1", "role": "assistant", "content": [{"type": "text", "text": "x"}],
            "usage": {"input_tokens": 3, "output_tokens": output, "cache_creation_input_tokens": 70,
                "cache_read_input_tokens": 1000, "service_tier": "standard",
                "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 10}}}})
    }

    #[test]
    fn each_message_counts_once_with_its_last_value_and_subagents_apart() {
        let place = Place::new();
        add(&place.main(), &prompt());
        add(&place.main(), &answer("a", 1, 1));
        add(&place.main(), &answer("a", 1, 40));
        add(
            &place.main(),
            &json!({"type": "user", "message": {"content": [{"type": "tool_result", "content": "ok"}]}}),
        );
        add(&place.main(), &answer("b", 1, 2));
        add(&place.main(), &answer("c", 2, 5));
        add(&place.subagents().join("agent-1.jsonl"), &prompt());
        add(&place.subagents().join("agent-1.jsonl"), &answer("d", 1, 7));
        let mut of_side = answer("e", 1, 9);
        of_side["isSidechain"] = json!(true);
        add(&place.main(), &of_side);
        let counts = place.measure(&place.transcripts());
        let brief: Vec<_> = counts
            .iter()
            .map(|one| (one.subagent, one.day.day(), one.messages, one.turns, one.tokens.output))
            .collect();
        assert_eq!(brief, [(false, 1, 2, 1, 42), (false, 2, 1, 0, 5), (true, 1, 2, 0, 16)]);
        let first = &counts[0];
        assert_eq!((first.model.as_str(), first.service_tier.as_str()), ("m-1", "standard"));
        let tokens = first.tokens;
        assert_eq!((tokens.cache_creation, tokens.cache_creation_5m, tokens.cache_creation_1h), (140, 120, 20));
        assert_eq!((tokens.input, tokens.cache_read), (6, 2000));
    }

    #[test]
    fn reading_on_and_reading_from_the_beginning_come_to_the_same() {
        let place = Place::new();
        let follower = place.transcripts();
        let mut known = Vec::new();
        for (id, output) in [("a", 1), ("a", 10), ("b", 3)] {
            add(&place.main(), &answer(id, 1, output));
            usage::take_in(&mut known, &place.measure(&follower));
            assert_eq!(place.measure(&follower), place.measure(&place.transcripts()));
        }
        assert_eq!(usage::sum(&known).0.output, 13);
        assert!(
            !usage::take_in(&mut known, &place.measure(&place.transcripts())),
            "a new process counts nothing twice"
        );
    }

    #[test]
    fn a_torn_line_is_read_when_it_is_whole_and_garbage_costs_nothing() {
        let place = Place::new();
        let follower = place.transcripts();
        let whole = format!("{}\n", answer("a", 1, 4));
        let (start, rest) = whole.split_at(whole.len() / 2);
        fs::write(place.main(), format!("garbage\n{{\"type\":\"assistant\"}}\n\u{0}\n{start}")).unwrap();
        assert_eq!(place.measure(&follower), []);
        fs::OpenOptions::new().append(true).open(place.main()).unwrap().write_all(rest.as_bytes()).unwrap();
        assert_eq!(usage::sum(&place.measure(&follower)).0.output, 4);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let place = Place::new();
        let long = "x".repeat(line::LINE_BYTES as usize * 2 + 5);
        fs::write(place.main(), format!("{long}\n{}\n", answer("a", 1, 4))).unwrap();
        assert_eq!(usage::sum(&place.measure(&place.transcripts())).0.output, 4);
    }

    #[test]
    fn what_is_no_transcript_is_not_opened() {
        let place = Place::new();
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, place.main(), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let secret = place.0.path().join("elsewhere.jsonl");
        add(&secret, &answer("a", 1, 4));
        std::os::unix::fs::symlink(&secret, place.subagents().join("agent-1.jsonl")).unwrap();
        assert_eq!(place.measure(&place.transcripts()), []);
        let hook = json!({"v": 1, "at": "2026-01-01T00:00:00Z", "run": place.of().run, "attempt": 1, "event": "Stop",
            "session": "../../../../../../../../../../../etc"});
        fs::write(place.of().hooks_file, format!("{hook}\n")).unwrap();
        assert_eq!(place.measure(&place.transcripts()), []);
    }

    #[test]
    fn a_session_that_only_a_hook_names_is_counted_too() {
        let place = Place::new();
        let other = "00000000-0000-4000-8000-00000000000f";
        add(&place.folder().join(format!("{other}.jsonl")), &answer("z", 1, 6));
        let hook = json!({"v": 1, "at": "2026-01-01T00:00:00Z", "run": place.of().run, "attempt": 1, "event": "Stop",
            "session": other});
        fs::write(place.of().hooks_file, format!("{hook}\n")).unwrap();
        let counts = place.measure(&place.transcripts());
        assert_eq!((counts.len(), counts[0].session.as_str(), counts[0].tokens.output), (1, other, 6));
    }
}
