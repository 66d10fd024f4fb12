//! What CI broke for lately, as empty files outside every root: one for each run or check, its time that of the latest break.
//! Nothing in them can be torn or garbled, and writing one twice is writing it once.

use crate::ports::ci_breaks::{Break, CiBreaks};
use jiff::Timestamp;
use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    time::SystemTime,
};

/// The breaks of this host's user.
#[derive(Debug, Clone)]
pub struct BreakFiles {
    folder: PathBuf,
}

impl BreakFiles {
    /// Keeps them in a folder, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl CiBreaks for BreakFiles {
    fn note(&self, broken: &Break) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(&broken.who);
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.set_modified(SystemTime::from(broken.at))
    }

    fn since(&self, since: Timestamp) -> io::Result<Vec<Break>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut breaks = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Another process may forget an old one at this moment.
            let Ok(at) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
            let Ok(at) = Timestamp::try_from(at) else { continue };
            if at < since {
                let _ = std::fs::remove_file(entry.path());
            } else if let Ok(who) = entry.file_name().into_string() {
                breaks.push(Break { who, at });
            }
        }
        Ok(breaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn broken(who: &str, second: i64) -> Break {
        Break { who: who.into(), at: at(second) }
    }

    #[test]
    fn two_processes_see_the_latest_break_of_each_and_the_old_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let one = BreakFiles::new(folder.path().join("below/breaks"));
        let other = BreakFiles::new(folder.path().join("below/breaks"));
        assert!(other.since(at(0)).unwrap().is_empty(), "no folder is no break");
        for noted in [broken("a", 100), broken("b", 110), broken("a", 120)] {
            one.note(&noted).unwrap();
        }
        let mut seen = other.since(at(100)).unwrap();
        seen.sort();
        assert_eq!(seen, [broken("a", 120), broken("b", 110)]);
        assert_eq!(other.since(at(115)).unwrap(), [broken("a", 120)]);
        assert_eq!(one.since(at(0)).unwrap(), [broken("a", 120)], "the older one is gone for good");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let breaks = BreakFiles::new(file);
        assert!(breaks.note(&broken("a", 1)).is_err() && breaks.since(at(0)).is_err());
    }
}
