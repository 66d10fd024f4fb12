//! Opens the database as every process must: rollback journal, full durability, private files, the schema of this rig.
//! Never write-ahead logging: the SQLite that is built in (3.50.2) can corrupt such a database when many short processes reset
//! its log, and that is how rig writes. Never `mmap_size`: an I/O error would be a SIGBUS.

use super::{
    error::{database_error, file_error, migration_error},
    write_lock::WriteLock,
};
use crate::ports::store::{StoreError, StoreResult};
use sqlx::{
    ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    fs::{DirBuilder, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// How long SQLite waits for another connection: a reader for a commit, a writer for readers.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Oldest SQLite that knows what the schema and the statements use (STRICT tables, RETURNING).
const OLDEST_SQLITE: (u32, u32) = (3, 37);
/// The bit of a folder where everybody may make files, such as /tmp; such a folder is not ours to close.
const STICKY: u32 = 0o1000;

/// The schema's steps, in order.
const MIGRATIONS: [(i64, &str, &str); 6] = [
    (1, "store", include_str!("../../../migrations/0001_store.sql")),
    (2, "repositories", include_str!("../../../migrations/0002_repositories.sql")),
    (3, "usage_limit", include_str!("../../../migrations/0003_usage_limit.sql")),
    (4, "outbox", include_str!("../../../migrations/0004_outbox.sql")),
    (5, "events_by_kind", include_str!("../../../migrations/0005_events_by_kind.sql")),
    (6, "checks", include_str!("../../../migrations/0006_checks.sql")),
];

/// Returns the newest schema that this rig knows.
pub(super) fn known_schema() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

/// Which file a connection has open, to notice when another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        path.metadata().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Makes the folder and an empty database file when they are missing, for their owner only. SQLite gives its journal the
/// permissions of the database, so this is where they come from. The database itself is never opened here: closing any
/// descriptor of a file drops the locks that this process's SQLite holds on it.
pub(super) fn prepare_files(path: &Path) -> StoreResult<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prepare_folder(folder).map_err(|error| file_error(folder, &error))?;
    match path.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_empty(folder, path),
        Err(error) => Err(error),
    }
    .map_err(|error| file_error(path, &error))
}

/// Puts an empty file of mode 0600 at `path`, unless another process was faster.
fn create_empty(folder: &Path, path: &Path) -> io::Result<()> {
    let closed = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    match closed.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn prepare_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = folder.metadata()?;
    let mode = metadata.permissions().mode();
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && mode & STICKY == 0 && mode & 0o077 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(mode & !0o077))?;
    }
    Ok(())
}

/// Connects to a database file that exists.
pub(super) async fn connect(path: &Path) -> StoreResult<(SqliteConnection, FileId)> {
    let file = FileId::of(path).map_err(|error| file_error(path, &error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Truncate)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let failed = |error: sqlx::Error| database_error(path, &error);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.map_err(failed)?;
    check_sqlite(&version)?;
    Ok((connection, file))
}

fn check_sqlite(version: &str) -> StoreResult<()> {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST_SQLITE => Ok(()),
        _ => Err(StoreError::Failed {
            message: format!("SQLite is {version}, at least {}.{} is needed", OLDEST_SQLITE.0, OLDEST_SQLITE.1),
        }),
    }
}

/// Brings the schema to what this rig knows, or reports a newer one. Costs one read when there is nothing to do.
pub(super) async fn migrate(path: &Path, connection: &mut SqliteConnection, lock: &mut WriteLock) -> StoreResult<()> {
    if schema_is_current(path, connection).await? {
        return Ok(());
    }
    let _held = lock.take().await?;
    if schema_is_current(path, connection).await? {
        return Ok(());
    }
    migrator().run_direct(None, connection, false).await.map_err(|error| migration_error(path, &error))
}

async fn schema_is_current(path: &Path, connection: &mut SqliteConnection) -> StoreResult<bool> {
    let failed = |error: sqlx::Error| database_error(path, &error);
    let tables = sqlx::query("SELECT count(*) AS found FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if tables.try_get::<i64, _>("found").map_err(failed)? == 0 {
        return Ok(false);
    }
    let found: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await.map_err(failed)?;
    check_schema(found.unwrap_or_default()).map(|()| found == Some(known_schema()))
}

/// Refuses a schema that a newer rig made.
pub(super) fn check_schema(found: i64) -> StoreResult<()> {
    let known = known_schema();
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(()) }
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        assert!(check_sqlite("3.50.2").is_ok());
        assert!(check_sqlite("4.0").is_ok());
        for bad in ["3.36.0", "2.99", "", "x.y"] {
            assert!(check_sqlite(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, ..)| *version).collect();
        assert_eq!(versions, (1..=known_schema()).collect::<Vec<_>>());
    }
}
