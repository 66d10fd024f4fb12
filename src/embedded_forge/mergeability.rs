//! Whether a head merges into a base without conflict: found out in the background, so that the first to ask is told "not yet",
//! as on the real forges. The answer depends on the two commits only and is remembered by them.

use super::{
    git::{Git, GitError},
    state::Forge,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Answers kept; beyond that all are forgotten and found out again when asked for.
const MAX_ANSWERS: usize = 10_000;
/// Checks at a time.
const CONCURRENT_CHECKS: usize = 2;

/// Repository, base and head.
type Key = (i64, String, String);

/// What is known so far; `None` is being checked.
#[derive(Debug, Clone)]
pub(super) struct Mergeability {
    answers: Arc<Mutex<HashMap<Key, Option<bool>>>>,
    turns: Arc<Semaphore>,
}

impl Default for Mergeability {
    fn default() -> Self {
        Self { answers: Arc::default(), turns: Arc::new(Semaphore::new(CONCURRENT_CHECKS)) }
    }
}

impl Mergeability {
    /// Returns whether `head` merges into `base`; `None` while that is being checked, which this starts.
    pub(super) fn look(&self, forge: &Forge, repository: i64, base: &str, head: &str) -> Option<bool> {
        let key = (repository, base.to_owned(), head.to_owned());
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = answers.get(&key) {
                return *answer;
            }
            if answers.len() >= MAX_ANSWERS {
                answers.clear();
            }
            answers.insert(key.clone(), None);
        }
        let (git, known) = (forge.git(repository), self.clone());
        tokio::spawn(async move { known.check(&git, key).await });
        None
    }

    async fn check(&self, git: &Git, key: Key) {
        let _turn = self.turns.acquire().await;
        let result = merges(git, &key.1, &key.2).await;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(answer) => drop(answers.insert(key, Some(answer))),
            Err(error) => {
                tracing::warn!(%error, "embedded forge: mergeability check failed");
                answers.remove(&key);
            }
        }
    }
}

async fn merges(git: &Git, base: &str, head: &str) -> Result<bool, GitError> {
    let output = git.run(&["merge-tree", "--write-tree", "--no-messages", base, head]).await?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ if output.error_text().contains("unrelated histories") => Ok(false),
        _ => Err(GitError::Failed { command: "merge-tree".into(), message: output.error_text() }),
    }
}
