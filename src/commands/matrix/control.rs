//! What a chat asks for in the words of a command: it is told what the command says.

use crate::{
    commands::{handle::Handle, retry, why},
    config::Root,
    domain::ids::{IssueNumber, ProjectName},
    engine::bridge::orders::{Asker, Commands},
    output::Failure,
    ports::store::{RunRow, Store},
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};

/// Longest time that a command may take: nothing else of the room is read meanwhile.
const LONGEST: Duration = Duration::from_secs(30);

/// The commands of a root.
pub(in crate::commands) struct RootCommands {
    pub(in crate::commands) root: Root,
    pub(in crate::commands) store: Arc<dyn Store>,
}

#[async_trait]
impl Commands for RootCommands {
    async fn why(&self, projects: &[ProjectName], issue: IssueNumber) -> String {
        let lines = why::in_words(&self.root, &self.store, projects, issue.0).await;
        lines.map_or_else(|failure| told(&failure), |lines| lines.join("\n"))
    }

    async fn retry(&self, run: &RunRow, asker: &Asker) -> String {
        let handle = Handle { root: self.root.clone(), store: self.store.clone(), run: run.clone() };
        match tokio::time::timeout(LONGEST, retry::ask(&handle, &asker.who, false, Some(&asker.event))).await {
            Ok(Ok(asked)) if asked.note.is_empty() => asked.words,
            Ok(Ok(asked)) => format!("{}\n{}", asked.words, asked.note),
            Ok(Err(failure)) => told(&failure),
            Err(_) => format!("This takes long; `!rig why {}` tells what has become of it.", run.issue.0),
        }
    }
}

fn told(failure: &Failure) -> String {
    let hint = if failure.hint.is_empty() { String::new() } else { format!("\n{}", failure.hint) };
    format!("That did not work: {}{hint}", failure.message)
}
