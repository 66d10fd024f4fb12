//! Reads a root's journal through the library and prints, for each run, every event and the stage that it led to:
//! `cargo run --example replay -- ROOT`.
//!
//! A run is nothing but the fold of its journal, so this needs neither the forge nor a session. It also shows what another
//! tool would do to follow rig: read the journal by position, and let `domain::run` say what the events mean.

use anyhow::{Context, bail};
use rig::{
    adapters::store::sqlite::SqliteStore,
    config::Root,
    domain::{
        ids::RunId,
        run::{self, Fact, Run, Step},
    },
    engine::resume,
    ports::store::{RecordedEvent, Store},
};
use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

/// Events that are read at once.
const PAGE: u32 = 1_000;

fn main() -> anyhow::Result<()> {
    let root = std::env::args_os().nth(1).context("usage: replay ROOT")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(replay(&Root::at(std::path::absolute(root)?)))?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Returns every run of a root with its events and stages, the oldest run first.
pub(crate) async fn replay(root: &Root) -> anyhow::Result<String> {
    let database = root.database();
    if !database.is_file() {
        bail!("{} is no journal", database.display());
    }
    let store = SqliteStore::open(&database, "replay").await?;
    let mut text = String::new();
    // A run's id tells the time of its claim, so that the order of ids is the order of claims.
    for (id, events) in streams(&store).await? {
        write_run(&mut text, &id, &events)?;
    }
    Ok(text)
}

/// Reads the whole journal, page by page, and sorts it by run.
async fn streams(store: &dyn Store) -> anyhow::Result<BTreeMap<RunId, Vec<RecordedEvent>>> {
    let mut streams: BTreeMap<RunId, Vec<RecordedEvent>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.journal(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(streams) };
        after = last.position;
        for event in page {
            streams.entry(event.run.clone()).or_default().push(event);
        }
    }
}

fn write_run(text: &mut String, id: &RunId, events: &[RecordedEvent]) -> anyhow::Result<()> {
    let mut run: Option<Run> = None;
    for event in events {
        let fact: Fact = resume::read(event)?;
        let next = match &run {
            None => run::begin(id, &fact).map(|(run, _)| run).context("a journal begins with a claim")?,
            Some(run) => match run::step(run, &fact) {
                Step::Moved { run, .. } => *run,
                Step::Ignored(_) => Run { seq: run.seq.next(), ..run.clone() },
            },
        };
        if run.is_none() {
            writeln!(text, "run {id}: {} issue {}: {}", next.project, next.issue, next.title)?;
        }
        writeln!(text, "  {:>4}  {}  {:<20}  {}", event.seq.0, event.at, event.kind, next.stage.name())?;
        run = Some(next);
    }
    if let Some(run) = &run {
        let used = &run.used;
        writeln!(
            text,
            "  ends at {}, waits for {}; {} fixes of CI, {} reviews, {} orders pending",
            run.stage.name(),
            run.stage.waits_for(),
            used.ci_fixes,
            used.reviews,
            run.pending.len()
        )?;
    }
    Ok(())
}
