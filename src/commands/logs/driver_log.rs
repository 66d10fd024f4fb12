//! The driver's part of rig's log: the lines of one run in the daily files, read on from where the last reading ended.

use super::Item;
use crate::domain::ids::RunId;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Name of the daily files, before their date.
const PREFIX: &str = "rig.log.";
/// Longest line; the log itself writes none that is longer.
const LINE_BYTES: u64 = 64 * 1024;
/// Fields that every line has, or that say what stands beside it already.
const COMMON: [&str; 7] = ["timestamp", "level", "message", "target", "pid", "run", "issue"];

/// Reads the lines of one run.
pub(super) struct DriverLog {
    folder: PathBuf,
    run: RunId,
    since: Date,
    offsets: BTreeMap<PathBuf, u64>,
}

impl DriverLog {
    pub(super) fn new(folder: PathBuf, run: RunId, claimed_at: Timestamp) -> Self {
        let since = claimed_at.to_zoned(TimeZone::UTC).date();
        Self { folder, run, since, offsets: BTreeMap::new() }
    }

    /// Returns the lines that have come since the last time, the oldest first. A file that cannot be read has none.
    pub(super) fn news(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        for path in days(&self.folder, self.since) {
            let offset = self.offsets.entry(path.clone()).or_default();
            lines_behind(&path, offset, |line| items.extend(item(line, &self.run)));
        }
        items
    }
}

fn days(folder: &Path, since: Date) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let day = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse::<Date>().ok();
    let mut days: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| day(path).is_some_and(|day| day >= since)).collect();
    days.sort();
    days
}

fn lines_behind(path: &Path, offset: &mut u64, mut take: impl FnMut(&[u8])) {
    let Ok(mut file) = File::open(path) else { return };
    if file.seek(SeekFrom::Start(*offset)).is_err() {
        return;
    }
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    while (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A line without its end is still being written, unless it is too long to be one.
        if !line.ends_with(b"\n") && (line.len() as u64) < LINE_BYTES {
            return;
        }
        *offset += line.len() as u64;
        take(&line);
        line.clear();
    }
}

/// Returns a line that speaks of the run. What only repeats an event of the journal is left out.
fn item(line: &[u8], run: &RunId) -> Option<Item> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.contains(run.as_str()))?;
    let fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let read = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    if read("run") != run.as_str() || read("message") == "moved" {
        return None;
    }
    let more: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !COMMON.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let words = format!("{} {} {}", read("level").to_lowercase(), read("message"), more.join(" "));
    Some(Item {
        at: read("timestamp").parse().ok()?,
        source: "driver",
        what: read("level").to_owned(),
        words: words.trim_end().to_owned(),
        colour: match read("level") {
            "ERROR" => 31,
            "WARN" => 33,
            _ => 2,
        },
        document: Value::Object(fields),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_whole_lines_of_the_run_are_read_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let line = |run: &str, message: &str| {
            format!(
                "{{\"timestamp\":\"2026-01-02T03:04:05Z\",\"level\":\"WARN\",\"message\":\"{message}\",\"run\":\"{run}\",\"error\":\"e\"}}\n"
            )
        };
        let path = folder.path().join("rig.log.2026-01-02");
        let other = line("01ARZ3NDEKTSV4RRFFQ69G5FAW", "of another");
        std::fs::write(
            &path,
            format!("{other}garbage\n{}{}", line(run.as_str(), "moved"), line(run.as_str(), "waits")),
        )
        .unwrap();
        std::fs::write(folder.path().join("rig.log.2026-01-01"), line(run.as_str(), "before")).unwrap();
        let mut log = DriverLog::new(folder.path().to_owned(), run.clone(), "2026-01-02T00:00:00Z".parse().unwrap());
        let words = |items: Vec<Item>| items.into_iter().map(|item| item.words).collect::<Vec<_>>();
        assert_eq!(words(log.news()), ["warn waits error=e"]);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let torn = line(run.as_str(), "later");
        file.write_all(&torn.as_bytes()[..20]).unwrap();
        assert_eq!(words(log.news()), Vec::<String>::new());
        file.write_all(&torn.as_bytes()[20..]).unwrap();
        assert_eq!(words(log.news()), ["warn later error=e"]);
        assert_eq!(words(log.news()), Vec::<String>::new());
    }
}
