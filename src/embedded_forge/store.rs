//! The forge's database: one SQLite file, the rollback journal with full synchronisation, one writer at a time.
//! Owns how connections and transactions are made; what is in them belongs to the concepts.

use super::schema::STEPS;
use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Connections: a few concurrent readers; writers queue anyway.
const CONNECTIONS: u32 = 4;
/// A reader waits this long for a commit to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: SqlitePool,
    writer: Arc<Mutex<()>>,
}

/// A write: the only one at its time. Dropped without `commit`, it never happened.
pub(super) struct Write {
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl Store {
    /// Opens the database, creates or completes its tables.
    pub(super) async fn open(file: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Truncate)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        let mut connection = pool.acquire().await?;
        complete(&mut connection).await?;
        drop(connection);
        Ok(Self { pool, writer: Arc::new(Mutex::new(())) })
    }

    pub(super) async fn read(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.pool.acquire().await
    }

    pub(super) async fn write(&self) -> Result<Write, sqlx::Error> {
        let turn = self.writer.clone().lock_owned().await;
        Ok(Write { transaction: self.pool.begin_with("BEGIN IMMEDIATE").await?, _turn: turn })
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Write {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl std::ops::Deref for Write {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl std::ops::DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// Applies the steps that are missing, each in a transaction with its number.
async fn complete(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let version = usize::try_from(version).unwrap_or(0);
    if version > STEPS.len() {
        return Err(sqlx::Error::Configuration("the database was written by a newer version".into()));
    }
    for (index, step) in STEPS.iter().enumerate().skip(version) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        // PRAGMA takes no bound values; the number is this program's own.
        let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", index + 1));
        sqlx::raw_sql(mark).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}
