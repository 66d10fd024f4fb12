//! The answer about a project as a whole.

use super::{
    super::{
        last_tick::Line,
        status::{age, plain, seconds_between},
        wire,
    },
    Place,
    standstill::Standstill,
};
use crate::{
    domain::code::{About, Code, Standing},
    output::{Failure, Printer},
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Issues of the queue that are shown to people.
const NEXT: usize = 5;

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    project: String,
    standstills: Vec<Standstill>,
    last_tick: Option<Timestamp>,
    memory: Memory,
    slots: Slots,
    runs: Vec<Run>,
    /// In the order of the queue: what starts once slots and memory are there.
    next: Vec<Item>,
    pull_requests: Vec<Item>,
    /// What only a person can mend.
    needs_people: Vec<Item>,
    unknown: Vec<Item>,
    problems: Vec<String>,
    /// How many issues the last tick left for each code.
    issues_by_code: BTreeMap<String, usize>,
}

#[derive(Debug, Serialize)]
struct Memory {
    /// Free now, MiB; nothing when the machine does not say.
    free_mb: Option<u64>,
    min_free_mb: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Slots {
    taken: usize,
    max_agents: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Run {
    issue: u64,
    title: String,
    stage: String,
    waits_for: String,
    since: Timestamp,
    pull_request: Option<u64>,
    holds_slot: bool,
}

#[derive(Debug, Serialize)]
struct Item {
    subject: String,
    number: u64,
    code: String,
    words: String,
}

pub(super) async fn answer(place: &Place<'_>) -> Result<Answer, Failure> {
    let rows = match &place.store {
        Some(store) => store.open_runs(Some(&place.name)).await.map_err(Place::failed)?,
        None => Vec::new(),
    };
    let lines: &[Line] = place.tick.as_ref().map(|tick| tick.lines.as_slice()).unwrap_or_default();
    let items = |wanted: &dyn Fn(&Line, Code) -> bool| -> Vec<Item> {
        lines.iter().filter(|line| line.code().is_some_and(|code| wanted(line, code))).map(Item::of).collect()
    };
    let mut issues_by_code = BTreeMap::new();
    for line in lines.iter().filter(|line| !line.is_pull_request()) {
        *issues_by_code.entry(line.code.clone()).or_default() += 1;
    }
    let machine = wire::machine(place.root, wire::this_program()?);
    let agent = place.settings.as_ref().map(|project| &project.agent);
    let queues = |line: &Line, code: Code| {
        !line.is_pull_request() && code.standing() == Standing::Queues && code != Code::DependencyOpen
    };
    let waits = |line: &Line, code: Code| line.is_pull_request() && code.about() == About::PullRequest;
    Ok(Answer {
        project: place.name.to_string(),
        standstills: place.standstills.clone(),
        last_tick: place.tick.as_ref().map(|tick| tick.at),
        memory: Memory {
            free_mb: machine.available_memory_mb(),
            min_free_mb: agent.map(|agent| agent.min_free_memory_mb),
        },
        slots: Slots {
            taken: rows.iter().filter(|row| row.holds_slot).count(),
            max_agents: agent.map(|agent| agent.max_agents),
        },
        runs: rows
            .iter()
            .map(|row| Run {
                issue: row.issue.0,
                title: plain(&row.title),
                stage: row.stage.clone(),
                waits_for: plain(&row.waits_for),
                since: row.changed_at,
                pull_request: row.pull_request.map(|number| number.0),
                holds_slot: row.holds_slot,
            })
            .collect(),
        next: items(&queues),
        pull_requests: items(&|line, code| waits(line, code) && code != Code::Merged && code != Code::NotOurs),
        needs_people: items(&|line, code| !line.is_pull_request() && code.standing() == Standing::NeedsPeople),
        unknown: items(&|_, code| code.standing() == Standing::Unknown),
        problems: place.tick.iter().flat_map(|tick| &tick.problems).map(|problem| plain(problem)).collect(),
        issues_by_code,
    })
}

impl Item {
    fn of(line: &Line) -> Self {
        Self {
            subject: line.subject_kind.clone(),
            number: line.subject,
            code: line.code.clone(),
            words: plain(&line.words),
        }
    }
}

impl Answer {
    pub(super) fn print(&self, printer: &Printer, now: Timestamp) {
        let ago = |at: Timestamp| age(seconds_between(at, now));
        let tick = self.last_tick.map_or_else(String::new, |at| format!(" (the last tick was {} ago)", ago(at)));
        printer.line(format!("{}{tick}", self.project));
        for one in &self.standstills {
            printer.line(format!("  stands still: {} ({}); {}", one.words, one.code, one.change));
        }
        printer.line(format!("  agents:  {}", self.slots_in_words()));
        printer.line(format!("  memory:  {}", self.memory_in_words()));
        for run in &self.runs {
            let pull_request = run.pull_request.map(|number| format!(", pull request #{number}")).unwrap_or_default();
            printer.line(format!(
                "  run:     issue #{} \"{}\"{pull_request} is {}, waits for {} since {}",
                run.issue,
                run.title,
                run.stage.replace('_', " "),
                run.waits_for,
                ago(run.since)
            ));
        }
        print_items(printer, "next", &self.next);
        print_items(printer, "pull request", &self.pull_requests);
        print_items(printer, "a person", &self.needs_people);
        print_items(printer, "unknown", &self.unknown);
        for problem in &self.problems {
            printer.line(format!("  problem: {problem}"));
        }
        let waiting = self.issues_by_code.get(Code::DependencyOpen.name()).copied().unwrap_or_default();
        if waiting > 0 {
            printer.line(format!("  {waiting} wait for other issues (rig why N says for which)"));
        }
        if self.runs.is_empty() && self.next.is_empty() && self.standstills.is_empty() && waiting == 0 {
            printer.line("  nothing is in the queue");
        }
    }

    fn slots_in_words(&self) -> String {
        match self.slots.max_agents {
            Some(max) => format!("{} of {max} at work", self.slots.taken),
            None => format!("{} at work", self.slots.taken),
        }
    }

    fn memory_in_words(&self) -> String {
        match (self.memory.free_mb, self.memory.min_free_mb) {
            (Some(free), Some(min)) if free < min => {
                format!("{free} MiB free, too little: a new session needs {min} MiB (memory_low)")
            }
            (Some(free), Some(min)) => format!("{free} MiB free, a new session needs {min} MiB"),
            (Some(free), None) => format!("{free} MiB free"),
            (None, _) => "the machine does not say how much is free, so nothing new starts (unknown)".to_owned(),
        }
    }
}

fn print_items(printer: &Printer, what: &str, items: &[Item]) {
    for item in items.iter().take(NEXT) {
        printer.line(format!("  {:<8} #{}: {} ({})", format!("{what}:"), item.number, item.words, item.code));
    }
    if items.len() > NEXT {
        printer.line(format!("           and {} more (--json names all)", items.len() - NEXT));
    }
}
