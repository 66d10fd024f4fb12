//! The phase file of an attempt, and the log beside it that `rig phase set` writes so that fast successive phases are not
//! lost. Reading has no effect on either. What a phase means is decided elsewhere.
//!
//! A line of `phase.log` is one JSON object: `v` (1), `id` (a ULID), `at`, `inode` and `mtime_ns` of the phase file that
//! was put in place right after the line, `phase`, `reason`. Whoever reads both recognises by inode and time that the file
//! shows a phase that the log has told already.

use crate::{
    adapters::session::files::make_private_folder,
    domain::phase::{PhaseReport, PhaseText, read_phase_text, write_phase_text},
};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

const LINE_VERSION: u32 = 1;
/// Most bytes of a phase file that are read: a word and a paragraph are meant to be in it.
const PHASE_BYTES: u64 = 64 * 1024;
/// Most bytes of the log that one reading takes up; the next goes on behind them.
const LOG_READ_BYTES: u64 = 1024 * 1024;
/// How often a file that changes while it is read is read again before it is left for the next look.
const READ_TRIES: u32 = 3;

/// What a phase file held at one moment. The same inode and time mean the same writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub inode: u64,
    pub mtime_ns: i128,
    pub content: PhaseText,
}

/// One phase that `rig phase set` wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedPhase {
    pub id: String,
    pub at: Timestamp,
    pub inode: u64,
    pub mtime_ns: i128,
    pub report: PhaseReport,
    /// Byte offset in the log behind this line.
    pub offset: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    id: String,
    at: Timestamp,
    inode: u64,
    mtime_ns: i128,
    #[serde(flatten)]
    report: PhaseReport,
}

/// Returns what the phase file says; `None` when there is no file, it is no regular one, or it cannot be read.
pub fn read_phase(path: &Path) -> Option<Observed> {
    for _ in 0..READ_TRIES {
        let (file, before) = open_regular(path)?;
        let mut bytes = Vec::new();
        (&file).take(PHASE_BYTES).read_to_end(&mut bytes).ok()?;
        let after = file.metadata().ok()?;
        if (mtime_ns(&before), before.len()) == (mtime_ns(&after), after.len()) {
            let content = read_phase_text(&String::from_utf8_lossy(&bytes));
            return Some(Observed { inode: after.ino(), mtime_ns: mtime_ns(&after), content });
        }
    }
    None
}

/// A phase as one look found it, in the log or in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPhase {
    pub observed: Observed,
    /// Byte offset in the log behind its line; `None` for one that was written in another way.
    pub log_offset: Option<u64>,
}

/// Returns what one look finds, the oldest first: the lines of the log behind `from`, and what the file holds unless a line
/// told it, this one or an earlier one. The file's own is returned at every look: compare inode and time.
pub fn look(phase: &Path, log: &Path, from: u64) -> io::Result<Vec<SeenPhase>> {
    // In this order: a line is written before its file is in place, so what the file holds now is in the log already,
    // while the newest line may be ahead of the file.
    let file = read_phase(phase);
    let size = std::fs::metadata(log).map_or(0, |meta| meta.len());
    let told = read_phase_log(log, size.saturating_sub(LOG_READ_BYTES))?;
    let is_told = |seen: &Observed| told.iter().any(|line| (line.inode, line.mtime_ns) == (seen.inode, seen.mtime_ns));
    let mut found: Vec<SeenPhase> = read_phase_log(log, from)?.into_iter().map(SeenPhase::from).collect();
    let unlogged = file.filter(|seen| seen.content != PhaseText::Nothing && !is_told(seen));
    found.extend(unlogged.map(|observed| SeenPhase { observed, log_offset: None }));
    found.sort_by_key(|seen| seen.observed.mtime_ns);
    Ok(found)
}

impl From<LoggedPhase> for SeenPhase {
    fn from(line: LoggedPhase) -> Self {
        let content = PhaseText::Report(line.report);
        let observed = Observed { inode: line.inode, mtime_ns: line.mtime_ns, content };
        Self { observed, log_offset: Some(line.offset) }
    }
}

/// Puts a phase in place: first the line in the log, then the file by a rename. Died in between, the log has told it.
pub fn write_phase(phase: &Path, log: &Path, report: &PhaseReport, at: Timestamp) -> io::Result<()> {
    let id = ulid::Ulid::new().to_string();
    let folder = phase.parent().unwrap_or(Path::new("."));
    make_private_folder(folder)?;
    let temporary = folder.join(format!(".phase.{id}.new"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(write_phase_text(report).as_bytes())?;
        file.sync_all()?;
        let meta = file.metadata()?;
        let line = Line {
            v: LINE_VERSION,
            id,
            at,
            inode: meta.ino(),
            mtime_ns: mtime_ns(&meta),
            report: PhaseReport { phase: report.phase, reason: report.reason.clone() },
        };
        append(log, &line)?;
        std::fs::rename(&temporary, phase)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Returns the complete lines of the log behind `from`, in order; what is no such line is skipped. A missing log has none;
/// one that is shorter than `from` is a new one and is read from its beginning.
pub fn read_phase_log(path: &Path, from: u64) -> io::Result<Vec<LoggedPhase>> {
    let Some((mut file, meta)) = open_regular(path) else { return Ok(Vec::new()) };
    let mut offset = if meta.len() < from { 0 } else { from };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(LOG_READ_BYTES).read_to_end(&mut bytes)?;
    let mut logged = Vec::new();
    for text in bytes.split_inclusive(|byte| *byte == b'\n').filter(|text| text.ends_with(b"\n")) {
        offset += text.len() as u64;
        if let Ok(Line { v: LINE_VERSION, id, at, inode, mtime_ns, report }) = serde_json::from_slice(text) {
            logged.push(LoggedPhase { id, at, inode, mtime_ns, report, offset });
        }
    }
    Ok(logged)
}

fn append(log: &Path, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(log)?;
    if ends_torn(&mut file)? {
        text.insert(0, b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()
}

/// Returns whether the last writer died in the middle of a line.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Opens a regular file without waiting: an agent may have put a pipe in its place.
fn open_regular(path: &Path) -> Option<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let meta = file.metadata().ok()?;
    meta.is_file().then_some((file, meta))
}

fn mtime_ns(meta: &Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::phase::Phase;
    use std::fs;

    fn report(phase: Phase, reason: &str) -> PhaseReport {
        PhaseReport { phase, reason: reason.to_owned() }
    }

    #[test]
    fn whatever_lies_at_the_path_reads_as_a_phase_or_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phase");
        assert_eq!(read_phase(&path), None, "missing");
        let content = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_phase(&path).unwrap().content
        };
        assert_eq!(content(b""), PhaseText::Nothing);
        assert!(matches!(content(b"PHASE:done\nReason: \xff\xfe\n"), PhaseText::Report(_)));
        assert!(matches!(content(&[0xff; 200_000]), PhaseText::Malformed(_)));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read_phase(&path), None, "a folder");
        fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(read_phase(&path), None, "a pipe that nobody writes to");
    }

    #[test]
    fn successive_phases_are_all_in_the_log_and_the_last_is_recognised_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (phase, log) = (folder.path().join("attempt-1/phase"), folder.path().join("attempt-1/phase.log"));
        assert!(read_phase_log(&log, 0).unwrap().is_empty());
        let reports = [report(Phase::AwaitingCi, ""), report(Phase::Escalate, "which\nport?"), report(Phase::Done, "")];
        for report in &reports {
            write_phase(&phase, &log, report, Timestamp::UNIX_EPOCH).unwrap();
        }
        let logged = read_phase_log(&log, 0).unwrap();
        assert_eq!(logged.iter().map(|line| line.report.phase).collect::<Vec<_>>(), reports.map(|report| report.phase));
        let (seen, last) = (read_phase(&phase).unwrap(), logged.last().unwrap());
        assert_eq!((seen.inode, seen.mtime_ns), (last.inode, last.mtime_ns));
        assert_eq!(read_phase_log(&log, logged[1].offset).unwrap().len(), 1);
        fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"{\"v\":1,\"id").unwrap();
        assert_eq!(read_phase_log(&log, 0).unwrap().len(), 3, "a torn line is none");
        let phases =
            |from| look(&phase, &log, from).unwrap().into_iter().map(|seen| (seen.observed.content, seen.log_offset));
        assert_eq!(phases(logged[2].offset).count(), 0, "the file is told by the log");
        // A writer that died between its line and its file: the line counts, and the old file is no news.
        let kept = fs::read(&phase).unwrap();
        fs::rename(&phase, folder.path().join("kept")).unwrap();
        write_phase(&phase, &log, &report(Phase::Failed, ""), Timestamp::UNIX_EPOCH).unwrap();
        fs::rename(folder.path().join("kept"), &phase).unwrap();
        let seen: Vec<_> = phases(logged[2].offset).collect();
        assert!(
            matches!(&seen[..], [(PhaseText::Report(report), Some(_))] if report.phase == Phase::Failed),
            "{seen:?}"
        );
        fs::write(&phase, kept).unwrap();
        assert!(
            matches!(phases(u64::MAX - 1).next_back(), Some((PhaseText::Report(_), None))),
            "the same text again is news"
        );
        assert_eq!(read_phase_log(&log, logged[2].offset).unwrap()[0].report.phase, Phase::Failed);
    }
}
