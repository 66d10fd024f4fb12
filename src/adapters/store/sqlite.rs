//! The embedded store: one SQLite file, one connection a process, and one short transaction a write, taken in turn by an flock.
//! Reads need no lock. A connection that failed in a write is closed and a new one opened by the next use, so that a half-done
//! transaction can never be continued. Dropping a write's future leaves it either done or undone; the journal tells which.

use super::{
    connection::{self, FileId},
    decisions, drivers,
    error::database_error,
    inputs, journal, mirrors, notices, runs,
    write_lock::{HeldWriteLock, WriteLock},
};
use crate::{
    domain::ids::{EffectId, IssueNumber, ProjectName, RunId, Seq},
    ports::store::{
        Append, DecisionRow, DriverRow, Input, MirrorRow, Notice, RecordedEvent, RunRow, Store, StoreError, StoreResult,
    },
};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::path::{Path, PathBuf};
use tokio::sync::{Mutex, MutexGuard};

/// Name of the writers' lock file, beside the database.
const LOCK_FILE: &str = "db.lock";

/// The store of one root in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    host: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Option<(SqliteConnection, FileId)>,
    lock: WriteLock,
}

impl SqliteStore {
    /// Opens the store at `path`, making it when it is missing. `host` is written into every event.
    ///
    /// # Errors
    /// `NewerSchema` when a newer rig wrote it, `NotWritable` when its folder or file cannot be made or written.
    pub async fn open(path: &Path, host: &str) -> StoreResult<Self> {
        connection::prepare_files(path)?;
        let (mut connection, file) = connection::connect(path).await?;
        let mut lock = WriteLock::new(path.with_file_name(LOCK_FILE));
        connection::migrate(path, &mut connection, &mut lock).await?;
        let state = Mutex::new(State { connection: Some((connection, file)), lock });
        Ok(Self { path: path.to_owned(), host: host.to_owned(), state })
    }

    async fn reader(&self) -> StoreResult<Session<'_>> {
        Ok(Session { path: &self.path, state: self.ready().await? })
    }

    async fn writer(&self) -> StoreResult<Transaction<'_>> {
        let mut state = self.ready().await?;
        let held = state.lock.take().await?;
        let mut transaction =
            Transaction { session: Session { path: &self.path, state }, finished: false, _held: held };
        transaction.begin().await?;
        Ok(transaction)
    }

    /// Returns the connection, opened again when the last use lost it.
    async fn ready(&self) -> StoreResult<MutexGuard<'_, State>> {
        let mut state = self.state.lock().await;
        let on_disk = FileId::of(&self.path).ok();
        if state.connection.as_ref().is_some_and(|(_, file)| Some(*file) != on_disk) {
            // What is written into a removed file is lost, however durable it was.
            state.connection = None;
        }
        if state.connection.is_none() {
            let mut opened = connection::connect(&self.path).await?;
            connection::migrate(&self.path, &mut opened.0, &mut state.lock).await?;
            state.connection = Some(opened);
        }
        Ok(state)
    }
}

/// The connection of this process, for one caller.
struct Session<'s> {
    path: &'s Path,
    state: MutexGuard<'s, State>,
}

impl Session<'_> {
    fn db(&mut self) -> StoreResult<Db<'_>> {
        match &mut self.state.connection {
            Some((connection, _)) => Ok(Db { connection, path: self.path }),
            None => Err(StoreError::Failed { message: format!("{}: the connection is closed", self.path.display()) }),
        }
    }
}

/// A connection, and the path that errors name.
pub(super) struct Db<'c> {
    pub(super) connection: &'c mut SqliteConnection,
    path: &'c Path,
}

impl Db<'_> {
    /// Returns what turns an error of SQLite into the port's.
    pub(super) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + use<> {
        let path = self.path.to_owned();
        move |error| database_error(&path, &error)
    }
}

/// A write that is under way: the flock is held and the transaction begun. Without `finish` nothing of it remains.
struct Transaction<'s> {
    session: Session<'s>,
    finished: bool,
    _held: HeldWriteLock,
}

impl Transaction<'_> {
    async fn begin(&mut self) -> StoreResult<()> {
        self.run("BEGIN IMMEDIATE").await?;
        let db = self.session.db()?;
        let failed = db.failed();
        // A process that lives for days may find that a newer rig has changed the schema meanwhile.
        let schema: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(db.connection)
            .await
            .map_err(failed)?;
        connection::check_schema(schema)
    }

    fn db(&mut self) -> StoreResult<Db<'_>> {
        self.session.db()
    }

    /// Commits what succeeded, undoes what failed, and passes the outcome on.
    async fn finish<T>(mut self, outcome: StoreResult<T>) -> StoreResult<T> {
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.run(end).await;
        self.finished = ended.is_ok();
        match outcome {
            Ok(value) => ended.map(|()| value),
            Err(error) => Err(error),
        }
    }

    async fn run(&mut self, statement: &'static str) -> StoreResult<()> {
        let db = self.session.db()?;
        let failed = db.failed();
        sqlx::query(statement).execute(db.connection).await.map(drop).map_err(failed)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // Closing the connection rolls back; the next use opens another.
            self.session.state.connection = None;
        }
    }
}

/// Runs one write in a transaction of its own.
macro_rules! write {
    ($store:expr, |$db:ident| $work:expr) => {{
        let mut transaction = $store.writer().await?;
        let outcome = match transaction.db() {
            Ok($db) => $work.await,
            Err(error) => Err(error),
        };
        transaction.finish(outcome).await
    }};
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, append: Append<'_>) -> StoreResult<Seq> {
        let prepared = journal::prepare(&append, &self.host)?;
        write!(self, |db| journal::append(db, &append, &prepared))
    }

    async fn events(&self, run: &RunId, after: Seq) -> StoreResult<Vec<RecordedEvent>> {
        journal::events(self.reader().await?.db()?, run, after).await
    }

    async fn journal(&self, after: i64, limit: u32) -> StoreResult<Vec<RecordedEvent>> {
        journal::journal(self.reader().await?.db()?, after, limit).await
    }

    async fn open_runs(&self, project: Option<&ProjectName>) -> StoreResult<Vec<RunRow>> {
        runs::open(self.reader().await?.db()?, project).await
    }

    async fn recent_runs(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<RunRow>> {
        runs::recent(self.reader().await?.db()?, project, limit).await
    }

    async fn latest_run(&self, project: &ProjectName, issue: IssueNumber) -> StoreResult<Option<RunRow>> {
        runs::latest(self.reader().await?.db()?, project, issue).await
    }

    async fn put_input(&self, run: &RunId, key: &str, kind: &str, body: &serde_json::Value) -> StoreResult<i64> {
        write!(self, |db| inputs::put(db, run, key, kind, body))
    }

    async fn waiting_inputs(&self, run: &RunId) -> StoreResult<Vec<Input>> {
        inputs::waiting(self.reader().await?.db()?, run).await
    }

    async fn unsent_notices(&self, limit: u32) -> StoreResult<Vec<Notice>> {
        notices::unsent(self.reader().await?.db()?, limit).await
    }

    async fn mark_notice_sent(&self, id: &EffectId) -> StoreResult<()> {
        write!(self, |db| notices::mark_sent(db, id))
    }

    async fn record_decisions(&self, decisions: &[DecisionRow]) -> StoreResult<()> {
        write!(self, |db| decisions::record(db, decisions))
    }

    async fn decisions(
        &self,
        project: &ProjectName,
        subject: Option<u64>,
        limit: u32,
    ) -> StoreResult<Vec<DecisionRow>> {
        decisions::newest(self.reader().await?.db()?, project, subject, limit).await
    }

    async fn mirrors(&self, project: &ProjectName) -> StoreResult<Vec<MirrorRow>> {
        mirrors::of_project(self.reader().await?.db()?, project).await
    }

    async fn set_mirror(&self, row: &MirrorRow) -> StoreResult<()> {
        write!(self, |db| mirrors::set(db, row))
    }

    async fn beat(&self, row: &DriverRow) -> StoreResult<()> {
        write!(self, |db| drivers::beat(db, row))
    }

    async fn drivers(&self) -> StoreResult<Vec<DriverRow>> {
        drivers::all(self.reader().await?.db()?).await
    }

    async fn remove_driver(&self, run: &RunId) -> StoreResult<()> {
        write!(self, |db| drivers::remove(db, run))
    }
}
