//! The SQLite store under many real processes: nothing acknowledged is lost, whatever kills them or fills the disk.
//! A child is this test binary again, running the ignored test `child` with its order in an environment variable.

use crate::store_support::{append_one, event, row, run_id};
use rig::{
    adapters::store::sqlite::SqliteStore,
    domain::ids::Seq,
    ports::store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};
use sqlx::Connection;
use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const ORDER: &str = "RIG_TEST_STORE_CHILD";
/// Longest that any of these tests waits for its children.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many appends a child adds once it has room again.
const AFTER_THE_ERROR: u64 = 5;

/// What a child is to do. It writes each acknowledged sequence number as a line into `acks`, and `error: ...` when one failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    database: PathBuf,
    acks: PathBuf,
    run: u32,
    appends: u64,
    /// Others append to the same run: after a conflict the child reads again.
    shared: bool,
}

impl Order {
    fn new(folder: &Path, name: u32, run: u32, appends: u64) -> Self {
        let acks = folder.join(format!("acks-{name}"));
        Self { database: folder.join("state/rig.db"), acks, run, appends, shared: false }
    }

    fn start(&self) -> Child {
        self.spawn(Command::new(std::env::current_exe().unwrap()))
    }

    /// Starts the child so that no file of it may grow beyond so many blocks of 512 bytes.
    fn start_with_file_limit(&self, blocks: u32) -> Child {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$@\"")).arg("sh");
        shell.arg(std::env::current_exe().unwrap());
        self.spawn(shell)
    }

    fn spawn(&self, mut command: Command) -> Child {
        command
            .args(["--exact", "store_processes::child", "--nocapture", "--test-threads=1"])
            .env(ORDER, serde_json::to_string(self).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Returns the sequence numbers that the store acknowledged to the child; a torn last line is none.
    fn acknowledged(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.acks).unwrap_or_default();
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .filter_map(|line| line.parse().ok())
            .collect()
    }

    fn error(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.acks).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned)
    }
}

#[test]
fn child() {
    // A child process of the tests beside it: without an order it does nothing.
    let Ok(order) = std::env::var(ORDER) else { return };
    let mut order: Order = serde_json::from_str(&order).unwrap();
    let mut acks = File::options().append(true).create(true).open(&order.acks).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&order.database, "host").await.unwrap();
        let row = row(order.run, u64::from(order.run));
        let mut last = store.events(&row.run, Seq(0)).await.unwrap().len() as u64;
        let mut done = 0;
        while done < order.appends {
            match append_one(&store, &row, last).await {
                Ok(seq) => {
                    last = seq.0;
                    done += 1;
                    writeln!(acks, "{seq}").unwrap();
                }
                Err(StoreError::Conflict { actual, .. }) if order.shared => last = actual.0,
                Err(error) => {
                    assert!(order.error().is_none(), "a second error: {error}");
                    let kept = store.events(&row.run, Seq(0)).await.unwrap().len() as u64;
                    writeln!(acks, "error: {error}").unwrap();
                    assert_eq!(kept, last, "after a failed write the store reads as before it");
                    lift_file_limit();
                    order.appends = done + AFTER_THE_ERROR;
                }
            }
        }
    });
}

/// Makes room on the "disk" again.
fn lift_file_limit() {
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, unlimited).unwrap();
}

fn wait(child: &mut Child) {
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < DEADLINE, "a child did not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn assert_sound(database: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let answer: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, "ok");
}

#[tokio::test]
async fn eight_processes_at_once_lose_nothing_and_none_is_locked_out() {
    const APPENDS: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    // No store exists yet, so that the children race to make it too.
    let orders: Vec<Order> = (1..=8).map(|number| Order::new(folder.path(), number, number, APPENDS)).collect();
    let mut children: Vec<Child> = orders.iter().map(Order::start).collect();
    children.iter_mut().for_each(wait);

    let store = SqliteStore::open(&orders[0].database, "host").await.unwrap();
    for order in &orders {
        assert_eq!(order.error(), None);
        assert_eq!(order.acknowledged(), (1..=APPENDS).collect::<Vec<_>>());
        let events = store.events(&run_id(order.run), Seq(0)).await.unwrap();
        assert_eq!(events.len() as u64, APPENDS);
        assert!(events.iter().zip(1..).all(|(recorded, number)| recorded.body == event(number).body));
    }
    assert_eq!(store.journal(0, 1000).await.unwrap().len() as u64, 8 * APPENDS);
    assert_sound(&orders[0].database).await;
}

#[tokio::test]
async fn processes_that_contend_for_one_run_never_get_the_same_number() {
    const APPENDS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let order = |name| Order { shared: true, ..Order::new(folder.path(), name, 1, APPENDS) };
    let orders: Vec<Order> = (1..=6).map(order).collect();
    let mut children: Vec<Child> = orders.iter().map(Order::start).collect();
    children.iter_mut().for_each(wait);

    let acknowledged: Vec<u64> = orders.iter().flat_map(Order::acknowledged).collect();
    let distinct: BTreeSet<u64> = acknowledged.iter().copied().collect();
    assert_eq!(acknowledged.len() as u64, 6 * APPENDS);
    assert_eq!(distinct, (1..=6 * APPENDS).collect());
    let store = SqliteStore::open(&orders[0].database, "host").await.unwrap();
    assert_eq!(store.events(&run_id(1), Seq(0)).await.unwrap().len() as u64, 6 * APPENDS);
}

#[tokio::test]
async fn killed_writers_leave_exactly_what_was_acknowledged() {
    const ROUNDS: u64 = 8;
    let folder = tempfile::tempdir().unwrap();
    let orders: Vec<Order> = (1..=4).map(|number| Order::new(folder.path(), number, number, u64::MAX)).collect();
    let mut kept = vec![0; orders.len()];
    for round in 1..=ROUNDS {
        let before: Vec<usize> = orders.iter().map(|order| order.acknowledged().len()).collect();
        let mut children: Vec<Child> = orders.iter().map(Order::start).collect();
        // Each round kills at another moment; most of a writer's time is spent within its commit.
        let wanted = usize::try_from(round).unwrap();
        wait_until("the children did not append", || {
            orders.iter().zip(&before).all(|(order, before)| order.acknowledged().len() >= before + wanted)
        });
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }

        let store = SqliteStore::open(&orders[0].database, "host").await.unwrap();
        let rows = store.open_runs(None).await.unwrap();
        for (order, kept) in orders.iter().zip(&mut kept) {
            let events = store.events(&run_id(order.run), Seq(0)).await.unwrap();
            let found = events.len() as u64;
            let acknowledged = order.acknowledged().last().copied().unwrap_or_default();
            // A kill between the commit and its acknowledgement leaves one event more, never less and never two.
            assert!(found == acknowledged || found == acknowledged + 1, "{found} events, {acknowledged} acknowledged");
            assert!(found > *kept);
            assert!(events.iter().zip(1..).all(|(recorded, number)| recorded.body == event(number).body));
            let row = rows.iter().find(|row| row.run == run_id(order.run)).unwrap();
            assert_eq!(row.seq, Seq(found), "the projection is that of the last event");
            *kept = found;
        }
        assert_sound(&orders[0].database).await;
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let order = Order::new(folder.path(), 1, 1, u64::MAX);
    drop(SqliteStore::open(&order.database, "host").await.unwrap());
    let blocks = u32::try_from(order.database.metadata().unwrap().len() / 512 + 64).unwrap();
    wait(&mut order.start_with_file_limit(blocks));

    let error = order.error().expect("the limit is reached");
    assert!(error.starts_with("the store cannot be written: "), "{error}");
    assert!(error.contains("rig.db"), "{error}");
    let acknowledged = order.acknowledged();
    assert!(acknowledged.len() as u64 > 10 + AFTER_THE_ERROR, "{acknowledged:?}");
    let store = SqliteStore::open(&order.database, "host").await.unwrap();
    let events = store.events(&run_id(1), Seq(0)).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), acknowledged);
    assert_sound(&order.database).await;
}
