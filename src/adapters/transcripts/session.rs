//! What one session has used: its answers by id, from its own transcript and those of its subagents.

use super::line::{self, Answer, Line};
use crate::{
    adapters::session::files::open_regular,
    domain::usage::{Tokens, Usage},
};
use jiff::{civil::Date, tz::TimeZone};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// Most answers of one session that are told apart; weeks of an agent's work. Later ones are not counted.
const MOST_ANSWERS: usize = 500_000;
/// Most transcripts of subagents of one session that are read.
const MOST_SUBAGENTS: usize = 10_000;

#[derive(Default)]
pub(super) struct SessionUsage {
    /// The session's own transcript, once it was found.
    transcript: Option<PathBuf>,
    files: BTreeMap<PathBuf, FileRead>,
    answers: HashMap<String, Counted>,
}

/// How far a file was read.
#[derive(Default)]
struct FileRead {
    next: u64,
    /// Prompts since the last answer.
    prompts: u64,
}

/// An answer as it counts.
struct Counted {
    subagent: bool,
    model: String,
    service_tier: String,
    day: Date,
    turns: u64,
    tokens: Tokens,
}

impl SessionUsage {
    /// Reads what has come to the session's files since the last time.
    pub(super) fn read_on(&mut self, projects: &[PathBuf], session: &str) {
        if self.transcript.is_none() {
            self.transcript = find(projects, session);
        }
        let Some(transcript) = self.transcript.clone() else { return };
        self.read_file(&transcript, false);
        for path in subagents(&transcript.with_extension("")) {
            self.read_file(&path, true);
        }
    }

    fn read_file(&mut self, path: &Path, subagent: bool) {
        let Ok((file, meta)) = open_regular(path) else { return };
        let mut read = self.files.remove(path).unwrap_or_default();
        if meta.len() < read.next {
            // Another file in its place: answers that were counted are known by their ids.
            read = FileRead::default();
        }
        let answers = &mut self.answers;
        let lines = line::whole_lines(file, read.next, |offset, text| match line::read(text) {
            Some(Line::Prompt) if !subagent => read.prompts += 1,
            Some(Line::Answer(answer)) => {
                let id = answer.id.clone().unwrap_or_else(|| format!("{}:{offset}", path.display()));
                count(answers, id, answer, subagent, &mut read.prompts);
            }
            Some(Line::Prompt) | None => {}
        });
        match lines {
            Ok(next) => read.next = next,
            Err(error) => tracing::debug!(path = %path.display(), %error, "a transcript cannot be read"),
        }
        self.files.insert(path.to_owned(), read);
    }

    /// Returns the sums, by what money will tell apart, in a stable order.
    pub(super) fn counts(&self, session: &str) -> Vec<Usage> {
        let mut sums: BTreeMap<_, Usage> = BTreeMap::new();
        for one in self.answers.values() {
            let key = (one.subagent, one.day, &one.model, &one.service_tier);
            let sum = sums.entry(key).or_insert_with(|| Usage {
                session: session.to_owned(),
                subagent: one.subagent,
                model: one.model.clone(),
                service_tier: one.service_tier.clone(),
                day: one.day,
                messages: 0,
                turns: 0,
                tokens: Tokens::default(),
            });
            sum.messages += 1;
            sum.turns += one.turns;
            sum.tokens.add(&one.tokens);
        }
        sums.into_values().collect()
    }
}

/// Counts an answer, or puts the newer word about one that was counted in its place.
fn count(answers: &mut HashMap<String, Counted>, id: String, answer: Answer, subagent: bool, prompts: &mut u64) {
    if let Some(known) = answers.get_mut(&id) {
        // What it counts under stays, or it would be counted under both.
        known.tokens = answer.tokens;
        return;
    }
    if answers.len() >= MOST_ANSWERS {
        return;
    }
    let subagent = subagent || answer.subagent;
    let turns = if subagent { 0 } else { std::mem::take(prompts) };
    let day = answer.at.to_zoned(TimeZone::UTC).date();
    let Answer { model, service_tier, tokens, .. } = answer;
    answers.insert(id, Counted { subagent, model, service_tier, day, turns, tokens });
}

/// Finds a session's transcript, whichever folder it was begun in.
fn find(projects: &[PathBuf], session: &str) -> Option<PathBuf> {
    let folders = projects.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    { folders }.map(|folder| folder.path().join(format!("{session}.jsonl"))).find(|path| open_regular(path).is_ok())
}

fn subagents(session: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(session.join("subagents")).into_iter().flatten().flatten().take(MOST_SUBAGENTS);
    let is_one = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_one).collect();
    paths.sort();
    paths
}
