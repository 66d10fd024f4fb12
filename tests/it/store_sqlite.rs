//! What is particular to the SQLite store: its files, its schema, damage, and places that cannot be written.

use crate::store_support::{append_one, at, event, notice, plain, row, run_id};
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::ids::{IssueNumber, Seq},
    ports::store::{Append, Store, StoreError},
};
use sqlx::{Connection, SqliteConnection};
use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// A store with one event of run 1, in a folder of its own.
async fn store() -> (SqliteStore, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/rig.db");
    let store = SqliteStore::open(&path, "host").await.unwrap();
    append_one(&store, &row(1, 1), 0).await.unwrap();
    (store, path, folder)
}

/// Does to the database what no rig does.
async fn tamper(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn folder_and_files_are_for_their_owner_only() {
    let (_store, path, _folder) = store().await;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut names = Vec::new();
    for entry in path.parent().unwrap().read_dir().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["db.lock", "rig.db", "rig.db-journal"]);
}

#[tokio::test]
async fn a_state_folder_that_others_can_read_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    SqliteStore::open(&state.join("rig.db"), "host").await.unwrap();
    assert_eq!(mode(&state), 0o700);
}

#[tokio::test]
async fn a_folder_that_everybody_shares_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    SqliteStore::open(&shared.join("rig.db"), "host").await.unwrap();
    assert_eq!(mode(&shared), 0o777);
}

#[tokio::test]
async fn a_store_of_a_newer_rig_is_not_opened_and_not_written() {
    const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                         VALUES (99, 'from the future', 1, x'00', 0)";
    let (open_before, path, _folder) = store().await;
    tamper(&path, NEWER).await;
    match SqliteStore::open(&path, "host").await {
        Err(StoreError::NewerSchema { found: 99, known: 6 }) => {}
        other => panic!("{other:?}"),
    }
    let refused = append_one(&open_before, &row(1, 1), 1).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 99, .. })), "{refused:?}");
    tamper(&path, "DELETE FROM _sqlx_migrations WHERE version = 99").await;
    assert_eq!(open_before.events(&run_id(1), Seq(0)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/rig.db");
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(&path, "").unwrap();
    // Made by the rig of that time, and dumped by sqlite3.
    tamper(&path, include_str!("../fixtures/store-v1.sql")).await;
    let store = SqliteStore::open(&path, "host").await.unwrap();
    let open = store.open_runs(None).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0].run, open[0].repository.is_unknown()), (&run_id(1), true));
    assert_eq!(store.recent_runs(None, 10).await.unwrap().len(), 2, "the ended one is there too");
    assert_eq!(store.events(&run_id(1), Seq(0)).await.unwrap().len(), 2);
    assert_eq!(store.unsent_notices(None, 10).await.unwrap(), [notice(1, 2, "told")]);
    // Its run goes on, and is given its repository by that.
    append_one(&store, &row(1, 1), 2).await.unwrap();
    assert_eq!(store.open_runs(None).await.unwrap()[0].repository, row(1, 1).repository);
}

#[tokio::test]
async fn the_events_of_one_kind_are_found_without_reading_the_journal() {
    use sqlx::{Connection, Row};
    let (_store, path, _folder) = store().await;
    let mut connection = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    // The statement of the store's `events_of_kind`.
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM events WHERE kind = $1 AND at >= $2 ORDER BY position";
    let rows = sqlx::query(plan).bind("UsageMeasured").bind("").fetch_all(&mut connection).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert!(steps[0].starts_with("SEARCH events USING INDEX events_of_a_kind"), "{steps:?}");
}

#[tokio::test]
async fn a_store_outlives_its_opening_process() {
    let (first, path, _folder) = store().await;
    drop(first);
    let again = SqliteStore::open(&path, "host").await.unwrap();
    assert_eq!(again.events(&run_id(1), Seq(0)).await.unwrap().len(), 1);
    append_one(&again, &row(1, 1), 1).await.unwrap();
}

/// Stores that share nothing but the file, as processes do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_and_issues_are_given_once_whatever_connection_asks() {
    const CLAIMS: u32 = 24;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rig.db");
    let claims = (1..=CLAIMS).map(|number| {
        let path = path.clone();
        tokio::spawn(async move {
            let store = SqliteStore::open(&path, "host").await.unwrap();
            // Two runs want each issue.
            let row = row(number, u64::from(number / 2));
            let events = [event(1)];
            store.append(Append { slot_limit: Some(5), ..plain(&row, 0, &events) }).await
        })
    });
    let outcomes: Vec<_> = futures::future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refused, StoreError::NoSlot { .. } | StoreError::AlreadyOpen { .. }), "{refused:?}");
    }
    let store = SqliteStore::open(&path, "host").await.unwrap();
    let open = store.open_runs(None).await.unwrap();
    let issues: BTreeSet<_> = open.iter().map(|row| row.issue).collect();
    assert_eq!((open.len(), issues.len()), (5, 5));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    assert_eq!(store.journal(0, 100).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_damaged_event_is_named_and_the_others_stay_readable() {
    let (store, path, _folder) = store().await;
    append_one(&store, &row(1, 1), 1).await.unwrap();
    append_one(&store, &row(2, 2), 0).await.unwrap();
    tamper(&path, "UPDATE events SET body = '{\"cut' WHERE position = 2").await;
    match store.events(&run_id(1), Seq(0)).await {
        Err(StoreError::Damaged { position: 2, message }) => assert!(message.starts_with("events.body: "), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.events(&run_id(2), Seq(0)).await.unwrap().len(), 1);
    assert_eq!(store.journal(0, 10).await.unwrap().len(), 1, "the batch ends before the damage");
    assert!(matches!(store.journal(1, 10).await, Err(StoreError::Damaged { position: 2, .. })));
    assert_eq!(store.journal(2, 10).await.unwrap().len(), 1, "a reader can go on after it");
}

#[tokio::test]
async fn a_missing_event_is_damage() {
    let (store, path, _folder) = store().await;
    append_one(&store, &row(1, 1), 1).await.unwrap();
    append_one(&store, &row(1, 1), 2).await.unwrap();
    tamper(&path, "DELETE FROM events WHERE seq = 2").await;
    let read = store.events(&run_id(1), Seq(0)).await;
    assert!(matches!(read, Err(StoreError::Damaged { position: 3, .. })), "{read:?}");
}

#[tokio::test]
async fn a_damaged_run_is_named_with_its_column() {
    let (store, path, _folder) = store().await;
    tamper(&path, "UPDATE runs SET claimed_at = 'yesterday'").await;
    match store.open_runs(None).await {
        Err(StoreError::Damaged { position: 1, message }) => {
            assert!(message.starts_with("runs.claimed_at: "), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_notice_does_not_hold_back_the_next() {
    let (store, path, _folder) = store().await;
    let notices = [notice(1, 1, "first"), notice(1, 2, "second")];
    let row = row(1, 1);
    store.append(Append { notices: &notices, ..plain(&row, 1, &[]) }).await.unwrap();
    tamper(&path, "UPDATE notices SET issue = -1 WHERE position = 1").await;
    assert_eq!(store.unsent_notices(None, 1).await.unwrap(), notices[1..]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rig.db");
    let text = "this is not a database, but it may be dear to somebody\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let error = SqliteStore::open(&path, "host").await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed { message } if message.contains("rig.db")), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn places_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join("rig.db")).unwrap();
    // Nobody, not even root, can make a folder in /proc.
    for path in [file.join("rig.db"), taken.join("rig.db"), PathBuf::from("/proc/rig-state/rig.db")] {
        let parent = path.parent().unwrap().display().to_string();
        match SqliteStore::open(&path, "host").await {
            Err(StoreError::NotWritable { message }) => assert!(message.contains(&parent), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_that_could_not_be_written_for_a_while_goes_on() {
    let (store, path, _folder) = store().await;
    // A folder in the place of the journal is an error deep within SQLite, one in the place of the lock one before it.
    for name in ["rig.db-journal", "db.lock"] {
        let obstacle = path.with_file_name(name);
        std::fs::remove_file(&obstacle).unwrap();
        std::fs::create_dir(&obstacle).unwrap();
        let refused = append_one(&store, &row(1, 1), 1).await.unwrap_err();
        assert!(refused.to_string().contains("/state/"), "{name}: {refused}");
        std::fs::remove_dir(&obstacle).unwrap();
    }
    assert_eq!(append_one(&store, &row(1, 1), 1).await.unwrap(), Seq(2));
}

#[tokio::test]
async fn nothing_is_written_into_a_database_that_was_removed() {
    let (store, path, _folder) = store().await;
    std::fs::remove_file(&path).unwrap();
    let lost = append_one(&store, &row(1, 1), 1).await;
    assert!(matches!(&lost, Err(StoreError::NotWritable { message }) if message.contains("rig.db")), "{lost:?}");
    assert!(!path.exists(), "a store that vanished is not replaced by an empty one");
}

#[tokio::test]
async fn an_append_that_is_dropped_half_way_is_whole_or_nothing() {
    let (store, _path, _folder) = store().await;
    let row = row(1, 1);
    for polls in 1..40 {
        let before = store.events(&row.run, Seq(0)).await.unwrap().len() as u64;
        let notices = [notice(1, before + 1, "told")];
        let events = [event(before + 1), event(before + 2)];
        {
            let append = store.append(Append { notices: &notices, ..plain(&row, before, &events) });
            let mut append = std::pin::pin!(append);
            let mut left = polls;
            // Polls the append so many times and then drops it.
            std::future::poll_fn(|context| {
                left -= 1;
                match append.as_mut().poll(context) {
                    std::task::Poll::Pending if left > 0 => std::task::Poll::Pending,
                    _ => std::task::Poll::Ready(()),
                }
            })
            .await;
        }
        let after = store.events(&row.run, Seq(0)).await.unwrap().len() as u64;
        assert!(after == before || after == before + 2, "{before} -> {after}");
        let told = store.unsent_notices(None, 1000).await.unwrap().iter().any(|told| told.id == notices[0].id);
        assert_eq!(told, after > before);
        let row = store.latest_run(&row.project, IssueNumber(1)).await.unwrap().unwrap();
        assert_eq!(row.seq, Seq(after));
        assert_eq!(row.claimed_at, at(1));
    }
}
