//! Carries out what people ask rig for in a chat, by what the command line does too. Every order is safe twice: a message
//! that is read again after a crash asks for what has been done.

use crate::{
    domain::{
        chat::{
            Channel,
            order::{ChatOrder, HELP},
        },
        ids::{IssueNumber, ProjectName},
        run::Event,
    },
    engine::approve::{self, Approval, Question, Word},
    ports::{
        chat::Chat,
        launch::Machine,
        outbox::Outbox,
        store::{RunRow, Store, StoreResult},
    },
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt::Write, sync::Arc};

/// Runs that `status` tells of.
const STATUS_RUNS: usize = 30;
/// What is said to an order that names no issue, in no thread.
const WHICH: &str = "Which issue? Name its number, or ask in its thread.";

/// Who asks, and by which message.
#[derive(Debug, Clone)]
pub struct Asker {
    pub who: String,
    pub event: String,
    pub room: String,
    /// When it was written, by the homeserver.
    pub at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub order: ChatOrder,
    /// The run in whose thread it was asked.
    pub run: Option<RunRow>,
    pub asker: Asker,
}

/// What a chat can ask rig for.
#[async_trait]
pub trait Control: Send + Sync {
    /// Does what was asked, for the projects of the room. Returns the answer in words.
    async fn carry_out(&self, asked: &Asked, projects: &[ProjectName]) -> String;
}

/// What a chat is told by the commands of the same names.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Returns why an issue or pull request of these projects is where it is.
    async fn why(&self, projects: &[ProjectName], issue: IssueNumber) -> String;
    /// Asks for another try of a run's issue. Twice for the same message of the asker: one try.
    async fn retry(&self, run: &RunRow, asker: &Asker) -> String;
}

/// The engine's own control.
pub struct Orders {
    pub store: Arc<dyn Store>,
    pub outbox: Arc<dyn Outbox>,
    pub chat: Arc<dyn Chat>,
    pub machine: Arc<dyn Machine>,
    pub commands: Arc<dyn Commands>,
}

#[async_trait]
impl Control for Orders {
    async fn carry_out(&self, asked: &Asked, projects: &[ProjectName]) -> String {
        match self.answer(asked, projects).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "a command of a chat failed");
                format!("That did not work: {error}")
            }
        }
    }
}

/// The run that an order is about, or why there is none.
enum Target {
    Run(Box<RunRow>),
    No(String),
}

impl Orders {
    async fn answer(&self, asked: &Asked, projects: &[ProjectName]) -> StoreResult<String> {
        Ok(match &asked.order {
            ChatOrder::Help => HELP.to_owned(),
            ChatOrder::Status => self.status(asked, projects).await?,
            ChatOrder::Pause => self.switch(false),
            ChatOrder::Resume => self.switch(true),
            ChatOrder::Why(number) => match (number, &asked.run) {
                (None, None) => WHICH.to_owned(),
                (None, Some(run)) => self.commands.why(std::slice::from_ref(&run.project), run.issue).await,
                (Some(number), Some(run)) => self.commands.why(std::slice::from_ref(&run.project), *number).await,
                (Some(number), None) => self.commands.why(projects, *number).await,
            },
            ChatOrder::Stop(number) => match self.target(asked, *number, projects).await? {
                Target::Run(run) => self.stop(&run, asked).await?,
                Target::No(why) => why,
            },
            ChatOrder::Retry(number) => match self.target(asked, *number, projects).await? {
                Target::Run(run) => {
                    // Of an issue that was taken up again since the run of the thread, the newest.
                    let newest = self.store.latest_run(&run.project, run.issue).await?;
                    self.commands.retry(newest.as_ref().unwrap_or(&run), &asked.asker).await
                }
                Target::No(why) => why,
            },
            ChatOrder::Approve { issue, head } => match self.target(asked, *issue, projects).await? {
                Target::Run(run) => self.approve(&run, head.as_deref(), asked).await?,
                Target::No(why) => why,
            },
        })
    }

    /// Finds the newest run of the issue that is meant.
    async fn target(
        &self,
        asked: &Asked,
        number: Option<IssueNumber>,
        projects: &[ProjectName],
    ) -> StoreResult<Target> {
        let wanted = match (number, &asked.run) {
            (None, Some(run)) => {
                return Ok(Target::Run(Box::new(self.store.run(&run.run).await?.unwrap_or_else(|| run.clone()))));
            }
            (None, None) => return Ok(Target::No(WHICH.into())),
            (Some(number), _) => number,
        };
        let of_thread = asked.run.iter().map(|run| &run.project);
        let mut found = Vec::new();
        for project in of_thread.chain(projects) {
            if let Some(run) = self.store.latest_run(project, wanted).await?
                && found.iter().all(|known: &RunRow| known.run != run.run)
            {
                found.push(run);
            }
        }
        if found.len() > 1 && asked.run.is_none() {
            let open: Vec<RunRow> = found.iter().filter(|run| run.open).cloned().collect();
            if open.len() != 1 {
                return Ok(Target::No(format!(
                    "Several projects of this room have an issue {wanted}: ask in its thread."
                )));
            }
            found = open;
        }
        Ok(match found.into_iter().next() {
            Some(run) => Target::Run(Box::new(run)),
            None => Target::No(format!("rig has never worked on issue {wanted}.")),
        })
    }

    async fn status(&self, asked: &Asked, projects: &[ProjectName]) -> StoreResult<String> {
        if let Some(run) = &asked.run {
            let run = self.store.run(&run.run).await?.unwrap_or_else(|| run.clone());
            return Ok(line(&run));
        }
        let runs: Vec<RunRow> =
            self.store.open_runs(None).await?.into_iter().filter(|run| projects.contains(&run.project)).collect();
        let loop_is = if self.machine.is_switched_on() { "on" } else { "off" };
        let mut text = match runs.len() {
            0 => format!("The dev loop is {loop_is}. No open run."),
            1 => format!("The dev loop is {loop_is}. One open run:"),
            many => format!("The dev loop is {loop_is}. {many} open runs:"),
        };
        for run in runs.iter().take(STATUS_RUNS) {
            let _ = write!(text, "\n- {}", line(run));
        }
        if runs.len() > STATUS_RUNS {
            let _ = write!(text, "\nand {} more", runs.len() - STATUS_RUNS);
        }
        Ok(text)
    }

    async fn stop(&self, run: &RunRow, asked: &Asked) -> StoreResult<String> {
        if !run.open {
            return Ok(format!("Nothing to stop: {}", line(run)));
        }
        let event = Event::StopRequested { who: asked.asker.who.clone(), reason: String::new() };
        self.put(run, asked, &event).await?;
        Ok(format!("Stopping the work on issue {}; it goes back to the queue.", run.issue))
    }

    /// A word that names no commit means the one that people are asked about, if it was written after the question; the
    /// bridge may read it much later.
    async fn approve(&self, run: &RunRow, named: Option<&str>, asked: &Asked) -> StoreResult<String> {
        let meant = match named {
            Some(named) => named.to_owned(),
            None => match approve::question(&*self.store, run).await? {
                Err(why) => return Ok(why),
                Ok(question) if question.accepted_by.is_none() && !self.is_answer(&question, &asked.asker).await? => {
                    return Ok(unseen(run, &question));
                }
                Ok(question) => question.wanted.head.to_string(),
            },
        };
        let word = Word { id: &asked.asker.event, who: &asked.asker.who, head: Some(&meant) };
        Ok(match approve::approve(&*self.store, &*self.machine, run, word).await? {
            Approval::Given { pull_request, head, files } => {
                format!(
                    "Accepted: the change of {} in pull request {pull_request}, at {}.",
                    files.join(", "),
                    head.short()
                )
            }
            Approval::Known { who, head } => format!("{who} has accepted it already, at {}.", head.short()),
            Approval::Nothing(why) => why,
        })
    }

    /// Returns whether a message was written after the one that asks, both by the homeserver's word. What cannot be told is a no.
    async fn is_answer(&self, question: &Question, asker: &Asker) -> StoreResult<bool> {
        let sent = self.outbox.message_state(Channel::Matrix, &question.wanted.asked).await?;
        let Some(asking) = sent.filter(|sent| sent.is_sent && !sent.event.is_empty()) else { return Ok(false) };
        match self.chat.read_again(&asker.room, &asking.event).await {
            Ok(Some(asking)) => Ok(asking.at < asker.at),
            Ok(None) => Ok(false),
            Err(error) => {
                tracing::warn!(event = asking.event, %error, "the message that asks people cannot be fetched now");
                Ok(false)
            }
        }
    }

    async fn put(&self, run: &RunRow, asked: &Asked, event: &Event) -> StoreResult<()> {
        let body = serde_json::to_value(event).unwrap_or_default();
        self.store.put_input(&run.run, &asked.asker.event, event.kind(), &body).await?;
        self.machine.wake_driver(&run.project, run.issue);
        Ok(())
    }

    fn switch(&self, on: bool) -> String {
        match (self.machine.switch(on), on) {
            (Ok(true), true) => "The dev loop is on.".into(),
            (Ok(false), true) => "The dev loop was on already.".into(),
            (Ok(true), false) => "The dev loop is off; sessions that run go on. `!rig resume` switches it on.".into(),
            (Ok(false), false) => "The dev loop was off already.".into(),
            (Err(error), _) => format!("The switch cannot be set: {error}"),
        }
    }
}

/// What is said to a word that may be meant for another commit than the one that waits.
fn unseen(run: &RunRow, question: &Question) -> String {
    let (pull_request, wanted) = (question.pull_request, &question.wanted);
    let short = wanted.head.short();
    format!(
        "That accepts nothing: rig cannot tell that you wrote it after the question that stands. Pull request {pull_request} \
         changes {} at {short}; if that is what you mean, write `approve {short}` in its thread, or `!rig approve {} \
         {short}`.",
        wanted.files.join(", "),
        run.issue
    )
}

fn line(run: &RunRow) -> String {
    let pull_request = run.pull_request.map(|number| format!(", pull request {number}")).unwrap_or_default();
    format!("{} {} {}: {}{pull_request}, waits for {}", run.project, run.issue, run.title, run.stage, run.waits_for)
}
