//! The answer about one issue or pull request.

use super::{
    super::{
        last_tick::{LastTick, Line},
        status::{age, plain, seconds_between},
    },
    Place,
    standstill::Standstill,
};
use crate::{
    domain::code::Code,
    engine::why::{self, Known},
    output::Failure,
    ports::store::RunRow,
};
use jiff::Timestamp;
use serde::Serialize;

/// Earlier decisions that are shown.
const EARLIER: usize = 5;

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    project: String,
    number: u64,
    /// `issue`, `pull_request`, or nothing where rig does not know.
    subject: Option<&'static str>,
    /// One of docs/reason-codes.md, or that of another version of rig.
    code: String,
    words: String,
    since: Option<Timestamp>,
    change: String,
    run: Option<Run>,
    /// What held before, the newest first.
    earlier: Vec<Earlier>,
    last_tick: Option<Timestamp>,
    /// Of the project as a whole: while one of them holds, no tick decides anew.
    standstills: Vec<Standstill>,
}

#[derive(Debug, Serialize)]
struct Run {
    run: String,
    issue: u64,
    title: String,
    open: bool,
    stage: String,
    waits_for: String,
    since: Timestamp,
    pull_request: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Earlier {
    at: Timestamp,
    code: String,
    words: String,
}

/// What holds now.
struct Verdict {
    code: String,
    words: String,
    since: Option<Timestamp>,
    change: String,
}

pub(super) async fn answer(place: &Place<'_>, number: u64) -> Result<Answer, Failure> {
    let known = match &place.store {
        Some(store) => why::known(store.as_ref(), &place.name, number).await.map_err(Place::failed)?,
        None => Known::default(),
    };
    let verdict = verdict(place, number, &known);
    let is_known = known.run.is_some() || !known.decisions.is_empty();
    let subject = if known.is_pull_request(number) { "pull_request" } else { "issue" };
    let earlier = known.decisions.iter().filter(|one| one.code != verdict.code || Some(one.at) < verdict.since);
    let run = known.run.as_ref().filter(|run| run.open || verdict.code == Code::RunEnded.name());
    Ok(Answer {
        project: place.name.to_string(),
        number,
        subject: is_known.then_some(subject),
        earlier: earlier
            .take(EARLIER)
            .map(|one| Earlier { at: one.at, code: one.code.clone(), words: plain(&one.words) })
            .collect(),
        code: verdict.code,
        words: verdict.words,
        since: verdict.since,
        change: verdict.change,
        run: run.map(Run::of),
        last_tick: place.tick.as_ref().map(|tick| tick.at),
        standstills: place.standstills.clone(),
    })
}

fn verdict(place: &Place<'_>, number: u64, known: &Known) -> Verdict {
    let newest = known.decisions.first();
    let line = place.tick.as_ref().and_then(|tick| tick.lines.iter().rfind(|line| line.subject == number));
    if let Some(run) = known.run.as_ref().filter(|run| run.open && run.issue.0 == number) {
        return in_work(run);
    }
    // A run that ended after the last decision says more than that decision.
    let ended = known.run.as_ref().filter(|run| !run.open && run.issue.0 == number);
    if let Some(run) = ended.filter(|run| newest.is_none_or(|decision| decision.at <= run.changed_at)) {
        let words = format!("its run ended as {}", words_of_stage(run));
        return Verdict::of(Code::RunEnded, words, Some(run.changed_at));
    }
    let Some(newest) = newest else { return never_seen(place) };
    if let Some(tick) = place.tick.as_ref().filter(|tick| line.is_none() && saw_everything(tick))
        && newest.at <= tick.at
        && newest.code != Code::Merged.name()
    {
        let words = match newest.subject_kind.as_str() {
            "pull_request" => "the last tick did not find it among the open pull requests: merged or closed".to_owned(),
            _ => format!("the last tick did not find it: it is closed, or carries {}", labels(place)),
        };
        return Verdict::of(Code::NoLongerListed, words, Some(newest.at));
    }
    // The table has the change, the last tick the words of now.
    let words = line.filter(|line| line.code == newest.code).map_or(&newest.words, |line| &line.words);
    Verdict {
        code: newest.code.clone(),
        words: plain(words),
        since: known.since(),
        change: changes(&newest.code, line),
    }
}

fn in_work(run: &RunRow) -> Verdict {
    let words = format!("a run works on it: {}, waits for {}", words_of_stage(run), plain(&run.waits_for));
    let change = match run.stage.as_str() {
        "escalated" => "an answer of a person, as a comment on the issue".to_owned(),
        _ => format!("it goes on by itself once this is there: {}", plain(&run.waits_for)),
    };
    Verdict { code: Code::OpenRun.name().to_owned(), words, since: Some(run.changed_at), change }
}

fn never_seen(place: &Place<'_>) -> Verdict {
    let words = match place.standstills.first() {
        Some(first) => format!("no tick has decided anything about it, and {}", first.words),
        None => format!("no tick has seen it: it is closed, does not exist, or carries {}", labels(place)),
    };
    let change = match place.standstills.first() {
        Some(first) => first.change.to_owned(),
        None => match &place.settings {
            Some(project) => {
                format!("put the label `{}` on the issue; the next tick decides about it", project.labels.backlog)
            }
            None => "put the backlog label on the issue; the next tick decides about it".to_owned(),
        },
    };
    Verdict { code: Code::NeverSeen.name().to_owned(), words, since: None, change }
}

fn labels(place: &Place<'_>) -> String {
    match &place.settings {
        Some(project) => format!("neither `{}` nor `{}`", project.labels.backlog, project.labels.in_progress),
        None => "no label that rig looks for".to_owned(),
    }
}

/// Returns whether what a tick did not name was not there.
fn saw_everything(tick: &LastTick) -> bool {
    tick.failed.is_none() && tick.ended_early.is_none() && tick.problems.is_empty()
}

fn changes(code: &str, line: Option<&Line>) -> String {
    match code.parse::<Code>().ok().or_else(|| line.and_then(Line::code)) {
        Some(code) => code.what_changes_it().to_owned(),
        None => "this version of rig does not know the code; another one wrote it".to_owned(),
    }
}

fn words_of_stage(run: &RunRow) -> String {
    plain(&run.stage).replace('_', " ")
}

impl Verdict {
    fn of(code: Code, words: String, since: Option<Timestamp>) -> Self {
        Self { code: code.name().to_owned(), words, since, change: code.what_changes_it().to_owned() }
    }
}

impl Run {
    fn of(row: &RunRow) -> Self {
        Self {
            run: row.run.to_string(),
            issue: row.issue.0,
            title: plain(&row.title),
            open: row.open,
            stage: row.stage.clone(),
            waits_for: plain(&row.waits_for),
            since: row.changed_at,
            pull_request: row.pull_request.map(|number| number.0),
        }
    }
}

impl Answer {
    /// Returns whether the project has ever had to do with the number.
    pub(super) fn is_known(&self) -> bool {
        self.subject.is_some()
    }

    /// Returns the answer in words, line by line.
    pub(super) fn lines(&self, now: Timestamp) -> Vec<String> {
        let kind = match self.subject {
            Some("pull_request") => "pull request",
            Some(_) => "issue",
            None => "number",
        };
        let mut lines = vec![format!("{} {kind} #{}: {} ({})", self.project, self.number, self.words, self.code)];
        if let Some(since) = self.since {
            lines.push(format!(
                "  since:   {} ({} ago)",
                since.strftime("%F %T UTC"),
                age(seconds_between(since, now))
            ));
        }
        lines.push(format!("  changes: {}", self.change));
        if let Some(run) = &self.run {
            let pull_request = run.pull_request.map(|number| format!(", pull request #{number}")).unwrap_or_default();
            lines.push(format!("  run:     {} of issue #{} \"{}\"{pull_request}", run.run, run.issue, run.title));
            if self.code != Code::OpenRun.name() && run.open {
                lines.push(format!("           {}, waits for {}", run.stage.replace('_', " "), run.waits_for));
            }
        }
        for (index, one) in self.earlier.iter().enumerate() {
            let head = if index == 0 { "before:" } else { "" };
            lines.push(format!("  {head:<8} {} {} ({})", one.at.strftime("%F %T UTC"), one.words, one.code));
        }
        for standstill in self.standstills.iter().filter(|one| self.is_known() || !self.words.contains(&one.words)) {
            lines.push(format!("  note:    {} ({}); {}", standstill.words, standstill.code, standstill.change));
        }
        if let Some(at) = self.last_tick {
            lines.push(format!("  looked:  the last tick was {} ago", age(seconds_between(at, now))));
        }
        lines
    }
}
