//! What the commands about one run have in common: finding the run of an issue, and putting something before its driver.

use super::{Context, wire};
use crate::{
    config::{self, Root},
    domain::{
        ids::{Attempt, IssueNumber, ProjectName, Seq},
        run::{Event, Run, fold},
    },
    engine::resume,
    output::{Exit, Failure},
    ports::{
        session::SessionName,
        store::{RecordedEvent, RunRow, Store, StoreError},
    },
};
use std::{sync::Arc, time::Duration};

/// Longest time that a command waits to see what became of what it asked.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Pause between two looks at the journal.
const LOOK: Duration = Duration::from_millis(100);

/// The newest run of an issue.
pub(super) struct Handle {
    pub(super) root: Root,
    pub(super) store: Arc<dyn Store>,
    pub(super) run: RunRow,
}

/// Who does what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// A driver led the run already.
    Lives,
    /// None did, and one was started.
    Started,
}

impl Driver {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Driver::Lives => "alive",
            Driver::Started => "started",
        }
    }
}

/// What became of something that was asked.
pub(super) enum Answer {
    /// The journal has it.
    Taken,
    /// The run made nothing of it.
    Refused,
    /// Nobody has looked at it yet.
    Waits,
}

impl Handle {
    /// Finds the newest run of an issue, whichever project it belongs to when only one has the issue.
    pub(super) async fn find(
        context: &Context,
        issue: IssueNumber,
        project: Option<&ProjectName>,
    ) -> Result<Self, Failure> {
        let root = context.root()?;
        let names = match project {
            // A name that no file has may still be that of a run.
            Some(name) => vec![name.clone()],
            None => config::names(&root),
        };
        let mut found = Vec::new();
        let store = wire::existing_store(&root).await?;
        if let Some(store) = &store {
            for name in &names {
                found.extend(store.latest_run(name, issue).await.map_err(|error| wire::store_failure(&error))?);
            }
        }
        if found.iter().filter(|run| run.open).count() == 1 {
            found.retain(|run| run.open);
        }
        match (store, found.len()) {
            (Some(store), 1) => Ok(Self { root, store, run: found.remove(0) }),
            (_, 0) => Err(no_run(&root, issue, project)),
            _ => {
                let names: Vec<_> = found.iter().map(|run| run.project.to_string()).collect();
                Err(Failure::user(format!("issue {issue} has runs in {}", names.join(", ")))
                    .hint("say which with --project NAME"))
            }
        }
    }

    pub(super) fn session(&self) -> SessionName {
        SessionName { project: self.run.project.clone(), issue: self.run.issue }
    }

    /// Returns the run's events after a sequence number.
    pub(super) async fn events(&self, after: Seq) -> Result<Vec<RecordedEvent>, Failure> {
        self.store.events(&self.run.run, after).await.map_err(|error| wire::store_failure(&error))
    }

    /// Folds the run's journal.
    pub(super) async fn folded(&self) -> Result<Run, Failure> {
        let events = self.events(Seq(0)).await?;
        let facts = events.iter().map(resume::read).collect::<Result<Vec<_>, StoreError>>();
        let facts = facts.map_err(|error| wire::store_failure(&error))?;
        fold(&self.run.run, &facts).ok_or_else(|| {
            Failure::internal(format!("the journal of run {} does not begin with a claim", self.run.run))
        })
    }

    /// Reads the run's row anew.
    pub(super) async fn refresh(&mut self) -> Result<(), Failure> {
        let row = self.store.run(&self.run.run).await.map_err(|error| wire::store_failure(&error))?;
        if let Some(row) = row {
            self.run = row;
        }
        Ok(())
    }

    /// Queues an event for the run's driver and wakes it, or starts one when none lives. Queued once for each key, whatever
    /// dies in between; what was queued and not looked at is taken by the next driver.
    pub(super) async fn ask(&self, key: &str, event: &Event) -> Result<(i64, Driver), Failure> {
        let body = serde_json::to_value(event)
            .map_err(|error| Failure::internal(format!("an input cannot be written: {error}")))?;
        let queued = self.store.put_input(&self.run.run, key, event.kind(), &body).await;
        let input = queued.map_err(|error| match error {
            StoreError::RunEnded { .. } => ended(&self.run, "has just ended"),
            error => wire::store_failure(&error),
        })?;
        let machine = wire::machine(&self.root, wire::this_program()?);
        let drivers = self.store.drivers().await.map_err(|error| wire::store_failure(&error))?;
        if drivers.iter().any(|driver| driver.run == self.run.run && wire::driver_lives(driver)) {
            machine.wake_driver(&self.run.project, self.run.issue);
            return Ok((input, Driver::Lives));
        }
        machine.launch_driver(&self.run.project, self.run.issue, &self.run.run).map_err(|error| {
            Failure::internal(error).hint("what was asked is kept; the next rig dev poll starts a driver that takes it")
        })?;
        Ok((input, Driver::Started))
    }

    /// Waits a while for what became of an input that leads to an event of which `is_it` holds.
    pub(super) async fn answer(&self, input: i64, is_it: impl Fn(&Event) -> bool) -> Result<Answer, Failure> {
        let failure = |error| wire::store_failure(&error);
        let deadline = tokio::time::Instant::now() + ANSWER_TIME;
        loop {
            // In this order: what is taken is in the journal by the time that it does not wait any more.
            let waiting = self.store.waiting_inputs(&self.run.run).await.map_err(failure)?;
            let events = self.events(Seq(0)).await?;
            if events.iter().any(|event| resume::read(event).is_ok_and(|fact| is_it(&fact.event))) {
                return Ok(Answer::Taken);
            }
            if !waiting.iter().any(|waiting| waiting.id == input) {
                return Ok(Answer::Refused);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(Answer::Waits);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits a while for the run's end. Returns whether it has ended.
    pub(super) async fn wait_for_end(&mut self) -> Result<bool, Failure> {
        let deadline = tokio::time::Instant::now() + ANSWER_TIME;
        loop {
            self.refresh().await?;
            if !self.run.open || tokio::time::Instant::now() >= deadline {
                return Ok(!self.run.open);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Returns the name of the person at the terminal, as the journal and the agent are told it.
pub(super) fn this_person() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("user {id}"))
}

/// Returns the failure of asking something of a run that is over.
pub(super) fn ended(run: &RunRow, how: &str) -> Failure {
    Failure::user(format!("the run of issue {} {how} ({})", run.issue, run.stage))
        .hint(format!("`rig logs {0}` tells what happened; `rig retry {0}` begins another run", run.issue.0))
}

/// Returns the attempt's number when there was one.
pub(super) fn last_attempt(run: &RunRow) -> Option<Attempt> {
    (run.attempt.0 > 0).then_some(run.attempt)
}

fn no_run(root: &Root, issue: IssueNumber, project: Option<&ProjectName>) -> Failure {
    if let Err(error @ config::LoadError::Unknown { .. }) = config::one_name(root, project) {
        return super::load_failure(error);
    }
    let of = project.map_or_else(String::new, |project| format!(" of {project}"));
    Failure::new(Exit::User, format!("issue {issue}{of} has no run in {}", root.path().display())).hint(format!(
        "`rig status --all` shows the runs; `rig dev agent {}` begins one; --root names another root",
        issue.0
    ))
}
