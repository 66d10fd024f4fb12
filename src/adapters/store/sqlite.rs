//! The embedded store: one SQLite file, one connection a process, and one short transaction a write, taken in turn by an flock.
//! Reads need no lock. A connection that failed in a write is closed and a new one opened by the next use, so that a half-done
//! transaction can never be continued. Dropping a write's future leaves it either done or undone; the journal tells which.

use super::{
    chat, checks,
    connection::{self, FileId},
    decisions, drivers,
    error::database_error,
    inputs, journal, mirrors, notices, outbox, runs, told,
    write_lock::{HeldWriteLock, WriteLock},
};
use crate::{
    domain::{
        chat::Channel,
        ids::{EffectId, IssueNumber, ProjectName, PullRequestNumber, RunId, Seq, Sha},
        repository::RepositoryKey,
    },
    ports::{
        outbox::{MessageState, Outbox, OutboxState, Outgoing, Reading, Thread, Waiting},
        store::{
            Append, CheckRow, DecisionRow, DriverRow, Input, MirrorRow, Notice, RecordedEvent, RunRow, Store,
            StoreError, StoreResult, ToldLongAgo,
        },
    },
};
use async_trait::async_trait;
use jiff::Timestamp;
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
    /// Returns the same connection for one further statement of a transaction.
    pub(super) fn again(&mut self) -> Db<'_> {
        Db { connection: &mut *self.connection, path: self.path }
    }

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

    async fn open_runs_of(&self, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<Vec<RunRow>> {
        runs::open_of(self.reader().await?.db()?, project, repository).await
    }

    async fn name_repository(&self, project: &ProjectName, repository: &RepositoryKey) -> StoreResult<()> {
        write!(self, |db| runs::name_repository(db, project, repository))
    }

    async fn recent_runs(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<RunRow>> {
        runs::recent(self.reader().await?.db()?, project, limit).await
    }

    async fn usage_limit(&self, now: Timestamp) -> StoreResult<Option<Timestamp>> {
        runs::usage_limit(self.reader().await?.db()?, now).await
    }

    async fn latest_run(&self, project: &ProjectName, issue: IssueNumber) -> StoreResult<Option<RunRow>> {
        runs::latest(self.reader().await?.db()?, project, issue).await
    }

    async fn events_of_kind(&self, kind: &str, since: Option<Timestamp>) -> StoreResult<Vec<RecordedEvent>> {
        journal::of_kind(self.reader().await?.db()?, kind, since).await
    }

    async fn put_input(&self, run: &RunId, key: &str, kind: &str, body: &serde_json::Value) -> StoreResult<i64> {
        write!(self, |db| inputs::put(db, run, key, kind, body))
    }

    async fn run(&self, run: &RunId) -> StoreResult<Option<RunRow>> {
        runs::of(self.reader().await?.db()?, run).await
    }

    async fn waiting_inputs(&self, run: &RunId) -> StoreResult<Vec<Input>> {
        inputs::waiting(self.reader().await?.db()?, run).await
    }

    async fn drop_inputs(&self, run: &RunId, ids: &[i64]) -> StoreResult<()> {
        write!(self, |db| inputs::drop_all(db, run, ids))
    }

    async fn put_notice(&self, notice: &Notice) -> StoreResult<()> {
        write!(self, |db| notices::put(db, notice))
    }

    async fn unsent_notices(&self, project: Option<&ProjectName>, limit: u32) -> StoreResult<Vec<Notice>> {
        notices::unsent(self.reader().await?.db()?, project, limit).await
    }

    async fn mark_notice_sent(&self, id: &EffectId) -> StoreResult<()> {
        write!(self, |db| notices::mark_sent(db, id))
    }

    async fn told_long_ago(&self, before: Timestamp) -> StoreResult<ToldLongAgo> {
        told::long_ago(self.reader().await?.db()?, before).await
    }

    async fn forget_told(&self, runs: &[RunId], before: Timestamp) -> StoreResult<()> {
        write!(self, |db| told::forget(db, runs, before))
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

    async fn standing_decisions(&self, project: &ProjectName, code: &str) -> StoreResult<Vec<DecisionRow>> {
        decisions::standing(self.reader().await?.db()?, project, code).await
    }

    async fn mirrors(&self, project: &ProjectName) -> StoreResult<Vec<MirrorRow>> {
        mirrors::of_project(self.reader().await?.db()?, project).await
    }

    async fn set_mirror(&self, row: &MirrorRow) -> StoreResult<()> {
        write!(self, |db| mirrors::set(db, row))
    }

    async fn check(&self, repository: &RepositoryKey, head: &Sha, command: &str) -> StoreResult<Option<CheckRow>> {
        checks::of(self.reader().await?.db()?, repository, head, command).await
    }

    async fn checks_of(
        &self,
        project: &ProjectName,
        number: PullRequestNumber,
        limit: u32,
    ) -> StoreResult<Vec<CheckRow>> {
        checks::of_pull_request(self.reader().await?.db()?, project, number, limit).await
    }

    async fn record_check(&self, row: &CheckRow) -> StoreResult<()> {
        write!(self, |db| checks::record(db, row))
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

#[async_trait]
impl Outbox for SqliteStore {
    async fn queue(&self, messages: &[Outgoing]) -> StoreResult<()> {
        write!(self, |db| async {
            let mut db = db;
            outbox::put_all(&mut db, messages).await
        })
    }

    async fn due(
        &self,
        channel: Channel,
        project: Option<&ProjectName>,
        now: Timestamp,
        limit: u32,
    ) -> StoreResult<Vec<Waiting>> {
        outbox::due(self.reader().await?.db()?, channel, project, now, limit).await
    }

    async fn crowded(&self, channel: Channel, most: u32) -> StoreResult<Vec<Waiting>> {
        outbox::crowded(self.reader().await?.db()?, channel, most).await
    }

    async fn next_due(&self, channel: Channel) -> StoreResult<Option<Timestamp>> {
        outbox::next_due(self.reader().await?.db()?, channel).await
    }

    async fn outbox_state(&self, channel: Channel) -> StoreResult<OutboxState> {
        outbox::state(self.reader().await?.db()?, channel).await
    }

    async fn message_state(&self, channel: Channel, id: &str) -> StoreResult<Option<MessageState>> {
        outbox::message_state(self.reader().await?.db()?, channel, id).await
    }

    async fn mark_sent(&self, position: i64, event: &str) -> StoreResult<()> {
        write!(self, |db| async {
            let mut db = db;
            outbox::settle(&mut db, position, event, "").await
        })
    }

    async fn put_off(&self, position: i64, until: Timestamp, error: &str) -> StoreResult<()> {
        write!(self, |db| outbox::put_off(db, position, until, error))
    }

    async fn give_up(&self, position: i64, error: &str) -> StoreResult<()> {
        write!(self, |db| async {
            let mut db = db;
            outbox::settle(&mut db, position, "", error).await
        })
    }

    async fn fold(&self, positions: &[i64], into: &Outgoing) -> StoreResult<()> {
        write!(self, |db| async {
            let mut db = db;
            outbox::fold(&mut db, positions, into).await
        })
    }

    async fn thread(&self, run: &RunId) -> StoreResult<Option<Thread>> {
        chat::thread(self.reader().await?.db()?, run).await
    }

    async fn set_thread(&self, thread: &Thread) -> StoreResult<()> {
        write!(self, |db| chat::set_thread(db, thread))
    }

    async fn run_of(&self, room: &str, event: &str) -> StoreResult<Option<RunId>> {
        chat::run_of(self.reader().await?.db()?, room, event).await
    }

    async fn input_of(&self, event: &str) -> StoreResult<Option<(RunId, serde_json::Value)>> {
        inputs::by_key(self.reader().await?.db()?, event).await
    }

    async fn chat_position(&self, account: &str) -> StoreResult<Option<String>> {
        chat::position(self.reader().await?.db()?, account).await
    }

    async fn take_reading(&self, reading: &Reading, at: Timestamp) -> StoreResult<()> {
        write!(self, |db| chat::take(db, reading, at))
    }

    async fn unreadable(&self, account: &str) -> StoreResult<Vec<(String, String, Timestamp)>> {
        chat::unreadable(self.reader().await?.db()?, account).await
    }
}
