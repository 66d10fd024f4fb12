//! The demo's timeline: every event of the journal as it comes, and where the time went.

use super::{people::Posted, sample};
use crate::{
    commands::words,
    domain::{
        ids::{IssueNumber, PullRequestNumber, RunId},
        run::Event,
    },
    engine::resume,
    output::{Failure, Printer},
    ports::store::{RecordedEvent, Store},
};
use jiff::Timestamp;
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Events that one look takes up.
const LOOK: u32 = 200;

/// What became of one issue.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) issue: IssueNumber,
    pub(super) title: String,
    pub(super) pull_request: Option<PullRequestNumber>,
    pub(super) commit: Option<String>,
    pub(super) claimed_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) merged: bool,
    /// When the merge was noticed, until the mirror is seen to have it; then how long that took.
    pub(super) mirrored: Mirrored,
    last_at: Timestamp,
}

/// How far the mirror is with a merge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mirrored {
    NotMerged,
    Awaited { since: Timestamp },
    After { seconds: f64 },
}

/// Follows the journal.
pub(super) struct Timeline {
    printer: Printer,
    store: Arc<dyn Store>,
    began: Instant,
    began_at: Timestamp,
    position: i64,
    pub(super) stories: BTreeMap<RunId, Story>,
    posted: Posted,
    noticed: usize,
    /// Time in which nothing outside rig was waited for: no agent, CI, person, forge, git or terminal.
    pub(super) own_time: Duration,
    /// Issues in the order of their claims.
    pub(super) order: Vec<IssueNumber>,
}

impl Timeline {
    pub(super) fn new(printer: Printer, store: Arc<dyn Store>, began: Instant) -> Self {
        Self {
            printer,
            store,
            began,
            began_at: Timestamp::now(),
            position: 0,
            stories: BTreeMap::new(),
            posted: Posted::default(),
            noticed: 0,
            own_time: Duration::ZERO,
            order: Vec::new(),
        }
    }

    /// Returns where the reviewer notes when it posted.
    pub(super) fn posted_reviews(&self) -> Posted {
        self.posted.clone()
    }

    /// Shows what is new in the journal. Returns how many runs have ended.
    pub(super) async fn show_news(&mut self) -> Result<usize, Failure> {
        let events =
            self.store.journal(self.position, LOOK).await.map_err(|error| super::wire::store_failure(&error))?;
        for recorded in &events {
            self.position = recorded.position;
            self.show(recorded).await?;
        }
        self.show_status().await?;
        Ok(self.stories.values().filter(|story| story.ended_at.is_some()).count())
    }

    /// Looks whether the mirror has by now what was merged.
    pub(super) async fn look_at_mirror(&mut self, mirror: &Path) {
        for story in self.stories.values_mut() {
            let (Mirrored::Awaited { since }, Some(commit)) = (story.mirrored, &story.commit) else { continue };
            if sample::contains(mirror, commit).await {
                story.mirrored = Mirrored::After { seconds: Timestamp::now().duration_since(since).as_secs_f64() };
            }
        }
    }

    /// Returns the longest time, in seconds, from a merge until the mirror had it; `None` when it never had one of them.
    pub(super) fn longest_to_mirror(&self) -> Option<f64> {
        let times = self.stories.values().map(|story| match story.mirrored {
            Mirrored::After { seconds } => Some(seconds),
            Mirrored::NotMerged | Mirrored::Awaited { .. } => None,
        });
        times.collect::<Option<Vec<f64>>>().map(|times| times.into_iter().fold(0.0, f64::max))
    }

    /// Takes the live line away.
    pub(super) fn clear(&self) {
        self.printer.live("");
    }

    async fn show(&mut self, recorded: &RecordedEvent) -> Result<(), Failure> {
        let fact = resume::read(recorded).map_err(|error| super::wire::store_failure(&error))?;
        if let Event::IssueClaimed { issue, title, .. } = &fact.event {
            self.order.push(*issue);
            let story = Story {
                issue: *issue,
                title: title.clone(),
                pull_request: None,
                commit: None,
                claimed_at: recorded.at,
                ended_at: None,
                merged: false,
                mirrored: Mirrored::NotMerged,
                last_at: recorded.at,
            };
            self.stories.insert(recorded.run.clone(), story);
        }
        let Some(story) = self.stories.get_mut(&recorded.run) else { return Ok(()) };
        let gap = recorded.at.duration_since(story.last_at).max(jiff::SignedDuration::ZERO).unsigned_abs();
        story.last_at = recorded.at;
        match &fact.event {
            Event::PullRequestOpened { number, .. } => story.pull_request = Some(*number),
            Event::Merged { pull_request, commit } => {
                story.pull_request = Some(*pull_request);
                story.commit = commit.as_ref().map(ToString::to_string);
                story.merged = true;
                story.mirrored = Mirrored::Awaited { since: recorded.at };
            }
            Event::RunEnded => story.ended_at = Some(recorded.at),
            _ => {}
        }
        let issue = story.issue;
        let own = match &fact.event {
            // The agent worked.
            Event::PhaseReported { .. } | Event::TurnEnded { .. } => Duration::ZERO,
            // The reviewer thought; only noticing it is rig's.
            Event::ReviewReceived { .. } => self.noticing().min(gap),
            // A message had to wait until it could be typed.
            Event::PromptTaken { .. } => gap,
            // The forge, git, tmux or CI was at work on an order.
            _ if fact.completes.is_some() => Duration::ZERO,
            _ => gap,
        };
        self.own_time += own;
        self.print(recorded, issue, &fact.event);
        Ok(())
    }

    /// Time since the review that is now noticed was posted.
    fn noticing(&mut self) -> Duration {
        let posted = self.posted.lock().ok().and_then(|posted| posted.get(self.noticed).copied());
        self.noticed += 1;
        posted.map_or(Duration::ZERO, |at| at.elapsed())
    }

    fn print(&self, recorded: &RecordedEvent, issue: IssueNumber, event: &Event) {
        let Some((colour, words)) = words::of(event) else { return };
        let since = recorded.at.duration_since(self.began_at).as_secs_f64().max(0.0);
        self.printer.live("");
        let number = self.printer.paint(36, &format!("{issue}"));
        self.printer.line(format!("{since:>7.2}s  {number}  {}", self.printer.paint(colour, &words)));
        self.printer.json(&json!({
            "seconds": (since * 1_000.0).round() / 1_000.0, "issue": issue, "event": recorded.kind, "run": recorded.run, "words": words,
        }));
    }

    /// The live line: where the open runs stand.
    async fn show_status(&self) -> Result<(), Failure> {
        if !self.printer.is_live() {
            return Ok(());
        }
        let rows = self.store.open_runs(None).await.map_err(|error| super::wire::store_failure(&error))?;
        let states: Vec<String> = rows.iter().map(|row| format!("{} waits for {}", row.issue, row.waits_for)).collect();
        let text = if states.is_empty() { "waiting for the next tick".to_owned() } else { states.join("; ") };
        self.printer.live(&format!("{:>7.2}s  {text}", self.began.elapsed().as_secs_f64()));
        Ok(())
    }
}
