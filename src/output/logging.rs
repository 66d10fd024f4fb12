//! The log: JSON lines in `state/log`, one file a day, `rig.log` naming the newest. Every line is redacted and goes out with one
//! write before the event returns, so that a process may end at any moment and many may share the file. A log that cannot be
//! written stops nothing.
//!
//! The files are opened here and not by tracing-appender: that one makes them readable for others, prints to stderr when two
//! processes tidy up at once, and fails to start when two move its link at once.

mod file;

use crate::domain::redact::Redactor;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt};

/// Level when the user names none, or nothing that can be understood.
const DEFAULT_FILTER: &str = "info,matrix_sdk=off";
/// Longest line. Longer ones have their texts cut: a log is for reading, and a line is one write.
const MOST_LINE_BYTES: usize = 16 * 1024;
/// What is kept of each text of a line that is too long.
const KEPT_TEXT_BYTES: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log folder {folder} cannot be written: {message}")]
    NotWritable { folder: String, message: String },
    #[error("a log is set up already")]
    SetUpAlready,
}

/// The log of this process.
#[derive(Debug, Clone)]
pub struct Logging {
    redactor: Arc<RwLock<Redactor>>,
}

impl Logging {
    /// Sends this process's events to files in `folder`. `filter` is the value of `RIG_LOG`: a level, or directives such as
    /// `rig::engine=debug,info`; one that cannot be understood is reported in the log and counts as `info`.
    pub fn start(folder: &Path, filter: Option<&str>, redactor: Redactor) -> Result<Self, LogError> {
        let (logging, subscriber, complaint) = Self::prepare(folder, filter, redactor)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::SetUpAlready)?;
        if let Some(complaint) = complaint {
            tracing::warn!("{complaint}");
        }
        Ok(logging)
    }

    /// Redacts with this one from now on: the secrets of a project are known later than the log is needed.
    pub fn set_redactor(&self, redactor: Redactor) {
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor;
    }

    fn prepare(
        folder: &Path,
        filter: Option<&str>,
        redactor: Redactor,
    ) -> Result<(Self, impl Subscriber + Send + Sync + use<>, Option<String>), LogError> {
        let redactor = Arc::new(RwLock::new(redactor));
        let file = file::DailyFile::open(folder).map_err(|error| LogError::NotWritable {
            folder: folder.display().to_string(),
            message: error.to_string(),
        })?;
        let wanted = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER);
        let (filter, complaint) = match EnvFilter::try_new(wanted) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(format!("RIG_LOG is not understood: {error}"))),
        };
        let writer = LogWriter { redactor: Arc::clone(&redactor), file: Arc::new(file) };
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .log_internal_errors(false)
            .with_writer(writer);
        Ok((Self { redactor }, tracing_subscriber::registry().with(filter).with(layer), complaint))
    }
}

/// Takes whole lines, as the JSON format gives them.
#[derive(Debug, Clone)]
struct LogWriter {
    redactor: Arc<RwLock<Redactor>>,
    file: Arc<file::DailyFile>,
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        self.file.write_line(&finished_line(line.trim_end(), &redactor))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the line as it is written: redacted, of bounded length, with the process's id, and always one JSON object.
fn finished_line(line: &str, redactor: &Redactor) -> String {
    let redacted = redactor.redact(line);
    let sound = match &redacted {
        Cow::Borrowed(_) => true,
        Cow::Owned(changed) => serde_json::from_str::<serde::de::IgnoredAny>(changed).is_ok(),
    };
    let redacted =
        if sound { redacted } else { Cow::Owned(withheld("a line could not be redacted without breaking it")) };
    let short = if redacted.len() > MOST_LINE_BYTES { Cow::Owned(shortened(&redacted)) } else { redacted };
    match short.strip_prefix('{') {
        Some(rest) => format!("{{\"pid\":{},{rest}\n", std::process::id()),
        None => format!("{short}\n"),
    }
}

fn shortened(line: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(line) else { return withheld("a line was no JSON") };
    if let Value::Object(fields) = &mut value {
        for field in fields.values_mut() {
            shorten(field);
        }
    }
    let text = value.to_string();
    if text.len() > MOST_LINE_BYTES { withheld("a line was too long") } else { text }
}

fn shorten(value: &mut Value) {
    if let Value::String(text) = value
        && text.len() > KEPT_TEXT_BYTES
    {
        let cut = text.len() - KEPT_TEXT_BYTES;
        text.truncate(text.floor_char_boundary(KEPT_TEXT_BYTES));
        text.push_str(&format!("... ({cut} bytes more)"));
    }
}

fn withheld(why: &str) -> String {
    json!({ "timestamp": jiff::Timestamp::now(), "level": "WARN", "message": why }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::redact::SecretText;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn read(folder: &Path) -> Vec<Value> {
        let text = fs::read_to_string(folder.join("rig.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Logs with a filter and one known secret; returns the lines.
    fn log(filter: Option<&str>, events: impl FnOnce(&Logging)) -> Vec<Value> {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::new([SecretText::new("s3cr\"t-value")]);
        let (logging, subscriber, _) = Logging::prepare(folder.path(), filter, redactor).unwrap();
        tracing::subscriber::with_default(subscriber, || events(&logging));
        read(folder.path())
    }

    #[test]
    fn an_event_is_one_line_of_json_with_its_fields_and_process() {
        let lines = log(None, |_| tracing::info!(run = "01ARZ", issue = 7, "the issue is claimed"));
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(
            (&line["message"], &line["run"], &line["issue"]),
            (&json!("the issue is claimed"), &json!("01ARZ"), &json!(7))
        );
        assert_eq!((&line["level"], &line["pid"]), (&json!("INFO"), &json!(std::process::id())));
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn the_filter_decides_and_a_wrong_one_counts_as_info() {
        let events = |_: &Logging| {
            tracing::debug!("debug");
            tracing::info!("info");
            tracing::warn!("warn");
        };
        for (filter, expected) in [(None, 2), (Some(" "), 2), (Some("warn"), 1), (Some("debug"), 3), (Some("a=b=c"), 2)]
        {
            assert_eq!(log(filter, events).len(), expected, "{filter:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (_, _, complaint) = Logging::prepare(folder.path(), Some("a=b=c"), Redactor::default()).unwrap();
        assert!(complaint.unwrap().starts_with("RIG_LOG is not understood"));
    }

    #[test]
    fn no_secret_reaches_the_file_and_every_line_stays_json() {
        let lines = log(None, |logging| {
            let secret = "s3cr\"t-value";
            tracing::info!(secret, ?secret, "{secret}");
            tracing::info!(header = "Authorization: Bearer abcdefgh", "url https://bot:hunter2@host/ and token=abc");
            tracing::info!(body = r#"{"password":"two words"}"#, "the answer");
            logging.set_redactor(Redactor::new([SecretText::new("learned-later")]));
            tracing::info!("now learned-later goes");
        });
        assert_eq!(lines.len(), 4);
        let text = format!("{lines:?}");
        for secret in ["s3cr", "t-value", "abcdefgh", "hunter2", "two words", "learned-later", "token=abc"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(lines[3]["message"], "now [redacted] goes");
    }

    #[test]
    fn a_long_line_is_cut_and_stays_json() {
        let lines = log(None, |_| {
            tracing::info!(output = "ä".repeat(100_000), "the end of the CI log");
            tracing::info!("next");
        });
        assert_eq!(lines[0]["message"], "the end of the CI log");
        let output = lines[0]["output"].as_str().unwrap();
        assert!(output.len() < 1100 && output.ends_with("bytes more)"), "{output}");
        assert_eq!(lines[1]["message"], "next");
    }

    #[test]
    fn a_line_that_redaction_breaks_is_withheld() {
        let redactor = Redactor::new([SecretText::new("message\":\"")]);
        let line = finished_line(r#"{"message":"x"}"#, &redactor);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a line could not be redacted without breaking it");
    }

    #[test]
    fn folder_and_file_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("state/log");
        Logging::prepare(&log, None, Redactor::default()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&log), 0o700);
        assert_eq!(mode(&log.join("rig.log")), 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Logging::prepare(&file.join("log"), None, Redactor::default()).map(drop).unwrap_err();
        assert!(error.to_string().contains("file/log"), "{error}");
    }
}
