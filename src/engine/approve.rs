//! A person's word that a change of what the gate rests on may pass, given to a run from outside: by the command line or by
//! a chat. Nothing is asked of the forge: what waits for a person is in the run's journal.

use super::resume;
use crate::{
    domain::{
        ids::{PullRequestNumber, Sha},
        run::{Event, PersonWanted},
    },
    ports::{
        launch::Machine,
        store::{RunRow, Store, StoreError, StoreResult},
    },
};

/// What became of the word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// It is queued for the run.
    Given { pull_request: PullRequestNumber, head: Sha, files: Vec<String> },
    /// Somebody has accepted the same before.
    Known { who: String, head: Sha },
    /// There is nothing that it could accept, and why, as a sentence.
    Nothing(String),
}

/// Who says it, and by what; the same `id` counts once.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    pub id: &'a str,
    pub who: &'a str,
    /// The commit that is meant, or its beginning; without it the one that people were asked about.
    pub head: Option<&'a str>,
}

/// What a run asks a person to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub pull_request: PullRequestNumber,
    pub wanted: PersonWanted,
    /// Who has accepted it before.
    pub accepted_by: Option<String>,
}

/// Returns what a run asks a person to accept; or why there is nothing, as a sentence.
pub async fn question(store: &dyn Store, row: &RunRow) -> StoreResult<Result<Question, String>> {
    if !row.open {
        return Ok(Err(over(row)));
    }
    let run = resume::load_from(store, &row.run).await?;
    let asked = run.person_wanted.filter(|wanted| run.head.as_ref() == Some(&wanted.head));
    let (Some(pull_request), Some(wanted)) = (run.pull_request, asked) else {
        return Ok(Err(format!(
            "Issue {} has no gate of rig's own that waits for a person (it waits for {}). A pull request is approved by a \
             review on the forge.",
            row.issue, row.waits_for
        )));
    };
    let accepted_by = run.accepted.iter().find(|known| known.head == wanted.head).map(|known| known.who.clone());
    Ok(Ok(Question { pull_request, wanted, accepted_by }))
}

/// Gives a person's word to the run.
pub async fn approve(store: &dyn Store, machine: &dyn Machine, row: &RunRow, word: Word<'_>) -> StoreResult<Approval> {
    let Question { pull_request, wanted, accepted_by } = match question(store, row).await? {
        Ok(question) => question,
        Err(why) => return Ok(Approval::Nothing(why)),
    };
    if let Some(named) = word.head.filter(|named| !wanted.is_at(named)) {
        return Ok(Approval::Nothing(format!(
            "What waits for a person is pull request {pull_request} at {}, not at {named}.",
            wanted.head.short()
        )));
    }
    if let Some(who) = accepted_by {
        return Ok(Approval::Known { who, head: wanted.head });
    }
    let event = Event::HumanAccepted { id: word.id.to_owned(), who: word.who.to_owned(), head: wanted.head.clone() };
    let body = serde_json::to_value(&event)
        .map_err(|error| StoreError::Failed { message: format!("an input cannot be written: {error}") })?;
    match store.put_input(&row.run, word.id, event.kind(), &body).await {
        Ok(_) => machine.wake_driver(&row.project, row.issue),
        Err(StoreError::RunEnded { .. }) => return Ok(Approval::Nothing(over(row))),
        Err(error) => return Err(error),
    }
    Ok(Approval::Given { pull_request, head: wanted.head, files: wanted.files })
}

fn over(row: &RunRow) -> String {
    format!("The run of issue {} has ended ({}).", row.issue, row.stage)
}
