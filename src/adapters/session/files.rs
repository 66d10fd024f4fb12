//! Small files that only their owner may read, each written as a whole or not at all; and reading what may have been put
//! there by an agent, which can put anything: a pipe, a folder, a link, a file without end.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder and those above it, for the owner only.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file (0600) by a temporary one beside it and a rename: a reader sees the old content or the new one.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name that nobody can have taken: something that is there already is never opened.
    let temporary = path.with_file_name(format!(".{name}.{}.new", ulid::Ulid::new()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes a file, or whatever has its place; nothing there is success.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => std::fs::remove_dir_all(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a regular file for reading, without waiting: a pipe, a device, a folder or a symbolic link in its place is an
/// error at once.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    open_checked(path, OFlags::RDONLY)
}

/// Opens a regular file for appending, making it (0600) when there is none; otherwise as [`open_regular`].
pub(crate) fn append_to_regular(path: &Path) -> io::Result<(File, Metadata)> {
    open_checked(path, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)
}

fn open_checked(path: &Path, access: OFlags) -> io::Result<(File, Metadata)> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(io::Error::other("is no regular file")) }
}

/// Reads at most `limit` bytes of a regular file; more is an error.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)?.0.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(content)
}

/// Returns text as one word of a POSIX shell.
pub(crate) fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Puts everything that is no regular file at a path, one after the other.
    fn with_each_oddity(path: &Path, check: impl Fn(&str)) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        check("a pipe that nobody writes to");
        remove_if_there(path).unwrap();
        std::fs::create_dir_all(path.join("deep")).unwrap();
        check("a folder");
        remove_if_there(path).unwrap();
        for target in [path, Path::new("/dev/zero"), Path::new("/nonexistent")] {
            symlink(target, path).unwrap();
            check("a link");
            remove_if_there(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        with_each_oddity(&path, |what| {
            assert!(open_regular(&path).is_err(), "{what}");
            assert!(append_to_regular(&path).is_err(), "{what}");
            assert!(read_bounded(&path, 10).is_err(), "{what}");
        });
        append_to_regular(&path).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), b"");
    }

    #[test]
    fn a_private_file_is_the_owners_alone_whatever_had_its_place() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        symlink("/nonexistent/elsewhere", &path).unwrap();
        write_private(&path, b"text").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap(), b"text");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
