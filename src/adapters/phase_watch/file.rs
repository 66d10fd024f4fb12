//! The phase file of an attempt, and the log beside it that `rig phase set` writes so that fast successive phases are not
//! lost. Reading has no effect on either. What a phase means is decided elsewhere.
//!
//! A line of `phase.log` is one JSON object: `v` (1), `id` (a ULID), `at`, `inode` and `mtime_ns` of the phase file that
//! was put in place right after the line, `phase`, `reason`. Whoever reads both recognises by inode and time that the file
//! shows a phase that the log has told already.

use crate::{
    adapters::session::files::{append_to_regular, make_private_folder, open_regular},
    domain::phase::{Phase, PhaseReport, PhaseText, read_phase_text, write_phase_text},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

const LINE_VERSION: u32 = 1;
/// Most bytes of a phase file that are read: a word and a paragraph are meant to be in it.
const PHASE_BYTES: u64 = 64 * 1024;
/// Most bytes of the log that one reading takes up: some thousand phases.
const LOG_READ_BYTES: u64 = 1024 * 1024;
/// Hexadecimal digits of the content's hash in an id: two writings within one tick of the clock are told apart by them.
const HASH_DIGITS: usize = 16;
/// How often a file that changes while it is read is read again before it is left for the next look.
const READ_TRIES: u32 = 3;

/// What a phase file held at one moment. The same inode, time and text mean the same writing: a file that is written
/// twice within one tick of the kernel's clock keeps the first two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub inode: u64,
    pub mtime_ns: i128,
    pub content: PhaseText,
    /// Whether nothing more is to be expected of the writer; if not, this is judged when it has stayed for a while.
    pub is_whole: bool,
    text: String,
}

impl Observed {
    fn new(inode: u64, mtime_ns: i128, text: String) -> Self {
        let content = read_phase_text(&text);
        let is_whole = text.is_empty() || text.ends_with('\n') && needs_no_more(&content);
        Self { inode, mtime_ns, content, is_whole, text }
    }

    /// Returns what tells this writing from others: inode, time in ns, size and a hash of the text.
    pub fn id(&self) -> String {
        let hash: String = Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{}:{}:{}", self.inode, self.mtime_ns, self.text.len(), &hash[..HASH_DIGITS])
    }

    fn is_same_writing(&self, other: &Self) -> bool {
        (self.inode, self.mtime_ns, &self.text) == (other.inode, other.mtime_ns, &other.text)
    }

    /// Returns how long ago it was written, by the file's time; zero when that is in the future.
    pub fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let written = u64::try_from(self.mtime_ns).map(Duration::from_nanos).unwrap_or_default();
        now.saturating_sub(written)
    }
}

/// A word that is no phase may be half of one, and a reason may follow where people need one.
fn needs_no_more(content: &PhaseText) -> bool {
    match content {
        PhaseText::Nothing | PhaseText::Malformed(_) => false,
        PhaseText::Report(report) => match report.phase {
            Phase::Escalate | Phase::Failed => !report.reason.is_empty(),
            Phase::AwaitingCi | Phase::AwaitingReview | Phase::Done => true,
        },
    }
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
        let (file, before) = open_regular(path).ok()?;
        let mut bytes = Vec::new();
        (&file).take(PHASE_BYTES).read_to_end(&mut bytes).ok()?;
        let after = file.metadata().ok()?;
        if (mtime_ns(&before), before.len()) == (mtime_ns(&after), after.len()) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Some(Observed::new(after.ino(), mtime_ns(&after), text));
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

/// Returns what one look finds, the oldest first: the lines of the log behind `from`, of a long log the newest, and what
/// the file holds unless a line told it, this one or an earlier one. The file's own is returned at every look: compare ids.
pub fn look(phase: &Path, log: &Path, from: u64) -> io::Result<Vec<SeenPhase>> {
    // In this order: a line is written before its file is in place, so what the file holds now is in the log already,
    // while the newest line may be ahead of the file.
    let file = read_phase(phase);
    let size = std::fs::symlink_metadata(log).map_or(0, |meta| meta.len());
    let from = if size < from { 0 } else { from };
    // The log's newest part, for there lie the phases that count.
    let told: Vec<SeenPhase> =
        read_phase_log(log, size.saturating_sub(LOG_READ_BYTES))?.into_iter().map(SeenPhase::from).collect();
    let is_told = |seen: &Observed| told.iter().any(|line| line.observed.is_same_writing(seen));
    let unlogged = file.filter(|seen| seen.content != PhaseText::Nothing && !is_told(seen));
    let mut found: Vec<SeenPhase> = told.into_iter().filter(|line| line.log_offset > Some(from)).collect();
    found.extend(unlogged.map(|observed| SeenPhase { observed, log_offset: None }));
    found.sort_by_key(|seen| seen.observed.mtime_ns);
    Ok(found)
}

impl From<LoggedPhase> for SeenPhase {
    fn from(line: LoggedPhase) -> Self {
        let mut observed = Observed::new(line.inode, line.mtime_ns, write_phase_text(&line.report));
        // `rig phase set` wrote it as a whole, with a reason or without.
        observed.is_whole = true;
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
    let Ok((mut file, meta)) = open_regular(path) else { return Ok(Vec::new()) };
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
    let (mut file, _) = append_to_regular(log)?;
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
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
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

    #[test]
    fn the_newest_phase_of_a_long_log_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (phase, log) = (folder.path().join("phase"), folder.path().join("phase.log"));
        let filler = "what an agent put there\n".repeat(LOG_READ_BYTES as usize / 10);
        fs::write(&log, filler).unwrap();
        write_phase(&phase, &log, &report(Phase::Done, ""), Timestamp::UNIX_EPOCH).unwrap();
        let seen = look(&phase, &log, 0).unwrap();
        assert_eq!(seen.len(), 1, "once, by its line: {seen:?}");
        assert!(seen[0].log_offset.is_some());
    }

    #[test]
    fn a_writing_is_told_from_another_of_the_same_file_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let (phase, log) = (folder.path().join("phase"), folder.path().join("phase.log"));
        let at_one_time = |write: &dyn Fn()| {
            write();
            fs::OpenOptions::new().write(true).open(&phase).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            look(&phase, &log, 0).unwrap().pop().unwrap().observed
        };
        let first = at_one_time(&|| fs::write(&phase, "PHASE:failed\n").unwrap());
        let second = at_one_time(&|| fs::write(&phase, "PHASE:failed\nReason: x\n").unwrap());
        assert_eq!((first.inode, first.mtime_ns), (second.inode, second.mtime_ns));
        assert_ne!(first.id(), second.id());
        assert_eq!(read_phase(&phase).unwrap().id(), second.id(), "the same writing again");
        // A line of the log stands for the file's own text, and for no other of the same time.
        write_phase(&phase, &log, &report(Phase::Escalate, "which\nport?"), Timestamp::UNIX_EPOCH).unwrap();
        let (logged, file) = (look(&phase, &log, 0).unwrap().pop().unwrap(), read_phase(&phase).unwrap());
        assert_eq!((logged.observed.id(), logged.log_offset.is_some()), (file.id(), true));
        let time = fs::metadata(&phase).unwrap().modified().unwrap();
        fs::write(&phase, "PHASE:done\n").unwrap();
        fs::OpenOptions::new().write(true).open(&phase).unwrap().set_modified(time).unwrap();
        let seen = look(&phase, &log, 0).unwrap();
        assert!(seen.iter().any(|seen| seen.log_offset.is_none() && seen.observed.is_whole), "{seen:?}");
    }

    #[test]
    fn more_is_expected_of_texts_that_may_be_halves() {
        for (text, is_whole) in [
            ("", true),
            ("PHASE:awa", false),
            ("PHASE:done", false),
            ("PHASE:done\n", true),
            ("PHASE:failed\n", false),
            ("PHASE:failed\nReason: no", false),
            ("PHASE:failed\nReason: none\n", true),
            ("hello", false),
            ("hello\n", false),
        ] {
            assert_eq!(Observed::new(1, 1, text.to_owned()).is_whole, is_whole, "{text:?}");
        }
    }
}
