//! `rig usage`: what the agents' models have used, by issue, model and day. Reads the journal, asks nobody.

use super::{CommandResult, Context, load_failure, runtime, wire};
use crate::{
    cli::UsageArgs,
    config::{self, LoadError},
    domain::{
        ids::{IssueNumber, ProjectName, RunId},
        run::Event,
        usage::{self, Tokens, Usage},
    },
    engine::resume,
    output::{Exit, Failure},
    ports::store::{RunRow, Store},
};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Kind of the events that tell of usage.
const KIND: &str = "UsageMeasured";
/// Most runs whose issue is looked up: years of work.
const MOST_RUNS: u32 = 100_000;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    project: String,
    issue: IssueNumber,
    day: Date,
    model: String,
    service_tier: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    tokens: Tokens,
    messages: u64,
    turns: u64,
    /// Of the tokens, those that subagents used.
    subagents: u64,
}

impl Sum {
    fn add(&mut self, one: &Usage) {
        self.tokens.add(&one.tokens);
        self.messages += one.messages;
        self.turns += one.turns;
        self.subagents += if one.subagent { one.tokens.total() } else { 0 };
    }

    fn cells(&self) -> Vec<String> {
        let tokens = &self.tokens;
        let counts = [self.turns, self.messages, tokens.input, tokens.output, tokens.cache_creation, tokens.cache_read];
        counts.into_iter().map(short).collect()
    }

    fn document(&self) -> Value {
        json!({ "turns": self.turns, "messages": self.messages, "tokens": self.tokens, "subagent_tokens": self.subagents })
    }
}

pub fn run(context: &Context, args: UsageArgs) -> CommandResult {
    let root = context.root()?;
    let since = args.since.map(first_day).transpose()?;
    let store = runtime()?.block_on(wire::existing_store(&root))?;
    let runs = match &store {
        Some(store) => runtime()?.block_on(runs(store.as_ref(), args.project.as_ref()))?,
        None => HashMap::new(),
    };
    if runs.is_empty()
        && let Some(name) = &args.project
        && let Err(error @ LoadError::Unknown { .. }) = config::one_name(&root, Some(name))
    {
        return Err(load_failure(error));
    }
    let wanted = |run: &RunRow| args.issue.is_none_or(|issue| run.issue == issue);
    let used = match &store {
        Some(store) => runtime()?.block_on(by_run(store.as_ref(), since))?,
        None => BTreeMap::new(),
    };
    let mut table: BTreeMap<Key, Sum> = BTreeMap::new();
    for (run, usage) in &used {
        let Some(row) = runs.get(run).filter(|row| wanted(row)) else { continue };
        for one in usage.iter().filter(|one| since.is_none_or(|since| one.day >= since)) {
            let key = Key {
                project: row.project.to_string(),
                issue: row.issue,
                day: one.day,
                model: one.model.clone(),
                service_tier: one.service_tier.clone(),
            };
            table.entry(key).or_default().add(one);
        }
    }
    print(context, &table, since);
    Ok(Exit::Ok)
}

/// Returns the first day of the time that is asked about, today included.
fn first_day(days: u32) -> Result<Date, Failure> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    today
        .checked_sub(i64::from(days.saturating_sub(1)).days())
        .map_err(|_| Failure::new(Exit::Usage, format!("{days} days are more than a calendar has")))
}

async fn runs(store: &dyn Store, project: Option<&ProjectName>) -> Result<HashMap<RunId, RunRow>, Failure> {
    let rows = store.recent_runs(project, MOST_RUNS).await.map_err(|error| wire::store_failure(&error))?;
    Ok(rows.into_iter().map(|row| (row.run.clone(), row)).collect())
}

/// Returns what each run has used, as its last measurements say.
pub(super) async fn by_run(store: &dyn Store, since: Option<Date>) -> Result<BTreeMap<RunId, Vec<Usage>>, Failure> {
    // A measurement of today may tell of yesterday, and none of yesterday of today.
    let from = since.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|start| start.timestamp());
    let events = store.events_of_kind(KIND, from).await.map_err(|error| wire::store_failure(&error))?;
    let mut used: BTreeMap<RunId, Vec<Usage>> = BTreeMap::new();
    for event in &events {
        let fact = resume::read(event).map_err(|error| wire::store_failure(&error))?;
        if let Event::UsageMeasured { usage: measured, .. } = fact.event {
            usage::take_in(used.entry(event.run.clone()).or_default(), &measured);
        }
    }
    Ok(used)
}

fn print(context: &Context, table: &BTreeMap<Key, Sum>, since: Option<Date>) {
    let printer = context.printer;
    let mut total = Sum::default();
    let mut rows = Vec::new();
    for (key, sum) in table {
        let tier = if key.service_tier.is_empty() { "-" } else { &key.service_tier };
        let start =
            [key.project.clone(), key.issue.to_string(), key.day.to_string(), key.model.clone(), tier.to_owned()];
        rows.push(start.into_iter().chain(sum.cells()).collect::<Vec<_>>());
        total.tokens.add(&sum.tokens);
        (total.turns, total.messages) = (total.turns + sum.turns, total.messages + sum.messages);
        total.subagents += sum.subagents;
    }
    if rows.is_empty() {
        printer
            .line("no usage is known; it is measured at each stop of an agent that writes transcripts as claude does");
    } else {
        let start = ["total", "", "", "", ""].map(str::to_owned);
        rows.push(start.into_iter().chain(total.cells()).collect());
        let header = [
            "PROJECT",
            "ISSUE",
            "DAY",
            "MODEL",
            "TIER",
            "TURNS",
            "MESSAGES",
            "INPUT",
            "OUTPUT",
            "CACHE WRITE",
            "CACHE READ",
        ];
        printer.table(&header, &rows);
    }
    let documents: Vec<Value> = table
        .iter()
        .map(|(key, sum)| {
            let mut document = sum.document();
            document["project"] = json!(key.project);
            document["issue"] = json!(key.issue);
            document["day"] = json!(key.day);
            document["model"] = json!(key.model);
            document["service_tier"] = json!(key.service_tier);
            document
        })
        .collect();
    printer.json(&json!({ "since": since, "usage": documents, "total": total.document() }));
}

/// Returns a count that a person can read at a glance: 950, 12.3k, 4.56M.
pub(super) fn short(count: u64) -> String {
    match count {
        0..=9_999 => count.to_string(),
        10_000..=999_949 => format!("{:.1}k", count as f64 / 1e3),
        _ => format!("{:.2}M", count as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let shown = [0, 9_999, 12_345, 999_949, 999_950, 4_560_000].map(short);
        assert_eq!(shown, ["0", "9999", "12.3k", "999.9k", "1.00M", "4.56M"]);
    }
}
