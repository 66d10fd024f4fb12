//! One file a day, shared by all processes of a root: `rig.log.2026-11-20`, with `rig.log` a link to the newest. The oldest go.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const NAME: &str = "rig.log";
/// How many days are kept: two weeks, so that what a long weekend broke can still be found.
const KEPT_FILES: usize = 14;
/// Most bytes of one day. Beyond, something writes in a loop, and the disk is worth more than its words.
const MOST_DAY_BYTES: u64 = 32 * 1024 * 1024;
const FULL: &[u8] =
    b"{\"level\":\"ERROR\",\"message\":\"the log of this day is full; nothing more is written to it\"}\n";

/// The log file of the present day.
#[derive(Debug)]
pub(super) struct DailyFile {
    folder: PathBuf,
    open: Mutex<(Date, File)>,
}

impl DailyFile {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let day = today();
        let open = Mutex::new((day, open_day(folder, day)?));
        Ok(Self { folder: folder.to_owned(), open })
    }

    /// Appends a whole line in one write, so that lines of many processes do not mix.
    pub(super) fn write_line(&self, line: &str) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let day = today();
        if day != open.0 {
            *open = (day, open_day(&self.folder, day)?);
        }
        append(&mut open.1, line, MOST_DAY_BYTES)
    }
}

fn append(file: &mut File, line: &str, most_bytes: u64) -> io::Result<()> {
    let before = file.metadata()?.len();
    if before >= most_bytes {
        return Ok(());
    }
    file.write_all(line.as_bytes())?;
    if before + line.len() as u64 >= most_bytes { file.write_all(FULL) } else { Ok(()) }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn open_day(folder: &Path, day: Date) -> io::Result<File> {
    let name = format!("{NAME}.{day}");
    let file = File::options().append(true).create(true).mode(0o600).open(folder.join(&name))?;
    // The link and the old files are for people; the log goes on without.
    let _ = point_link(folder, &name);
    let _ = remove_oldest(folder);
    Ok(file)
}

/// Makes the link name today's file, by renaming over it: other processes do the same at the same time.
fn point_link(folder: &Path, name: &str) -> io::Result<()> {
    let link = folder.join(NAME);
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(name)) {
        return Ok(());
    }
    let made = folder.join(format!(".{NAME}.{}", std::process::id()));
    let _ = fs::remove_file(&made);
    std::os::unix::fs::symlink(name, &made)?;
    fs::rename(&made, &link)
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    let mut days: Vec<Date> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(NAME)?.strip_prefix('.')?.parse().ok())
        .collect();
    days.sort_unstable();
    for day in days.iter().rev().skip(KEPT_FILES) {
        // Another process may have been faster.
        let _ = fs::remove_file(folder.join(format!("{NAME}.{day}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn the_fourteen_newest_days_are_kept_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rig.log.notes"), "of a person").unwrap();
        fs::write(folder.path().join("other.2026-01-01"), "of another program").unwrap();
        for number in 1..=20 {
            open_day(folder.path(), day(&format!("2026-01-{number:02}"))).unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected = vec!["other.2026-01-01".to_owned(), "rig.log".to_owned()];
        expected.extend((7..=20).map(|number| format!("rig.log.2026-01-{number:02}")));
        expected.push("rig.log.notes".to_owned());
        assert_eq!(names, expected);
        assert_eq!(fs::read_link(folder.path().join("rig.log")).unwrap(), Path::new("rig.log.2026-01-20"));
    }

    #[test]
    fn the_day_is_bounded_and_says_so_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        for _ in 0..10 {
            append(&mut file, "0123456789\n", 30).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}{}", "0123456789\n".repeat(3), str::from_utf8(FULL).unwrap()));
    }

    #[test]
    fn lines_of_many_writers_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let folder = folder.path();
                scope.spawn(move || {
                    let file = DailyFile::open(folder).unwrap();
                    for _ in 0..50 {
                        file.write_line(&format!("{}\n", writer.to_string().repeat(300))).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text.lines().count(), 400);
        assert!(text.lines().all(|line| line.len() == 300 && line.bytes().all(|byte| byte == line.as_bytes()[0])));
    }
}
