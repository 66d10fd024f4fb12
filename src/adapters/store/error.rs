//! SQLite's and the file system's errors as the port's.

use crate::ports::store::StoreError;
use sqlx::migrate::MigrateError;
use std::{io, path::Path};

// Primary result codes, https://www.sqlite.org/rescode.html; an extended code has its primary one in the low byte.
const PERM: u32 = 3;
const BUSY: u32 = 5;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;
// Extended codes of I/O errors that are not about writing.
const IOERR_READ: u32 = 266;
const IOERR_SHORT_READ: u32 = 522;

/// Returns what an error of SQLite means for the database at `path`.
pub(super) fn database_error(path: &Path, error: &sqlx::Error) -> StoreError {
    let place = path.display();
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(error) => file_error(path, error),
            other => StoreError::Failed { message: format!("{place}: {other}") },
        };
    };
    let code: u32 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let message = database.message();
    match code & 0xff {
        IOERR if matches!(code, IOERR_READ | IOERR_SHORT_READ) => {
            StoreError::Failed { message: format!("{place}: it cannot be read (SQLite code {code})") }
        }
        FULL => StoreError::NotWritable { message: format!("{place}: the disk is full ({message})") },
        READONLY => StoreError::NotWritable { message: format!("{place}: it is read-only ({message})") },
        PERM => StoreError::NotWritable { message: format!("{place}: no permission ({message})") },
        CANTOPEN => StoreError::NotWritable { message: format!("{place}: it cannot be opened ({message})") },
        IOERR => StoreError::NotWritable { message: format!("{place}: {message} (SQLite code {code})") },
        BUSY => StoreError::Failed { message: format!("{place}: another process kept it locked ({message})") },
        CORRUPT | NOTADB => StoreError::Failed { message: format!("{place}: it is damaged as a whole ({message})") },
        _ => StoreError::Failed { message: format!("{place}: {message} (SQLite code {code})") },
    }
}

/// Returns what an error of the file system means for writing to `path`.
pub(super) fn file_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::NotWritable { message: format!("{}: {error}", path.display()) }
}

/// Returns what a failed migration means for the database at `path`.
pub(super) fn migration_error(path: &Path, error: &MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => database_error(path, error),
        other => StoreError::Failed { message: format!("{}: {other}", path.display()) },
    }
}
