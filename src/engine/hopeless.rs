//! What an issue waits for and can never come: itself, a cycle, a number that does not exist. Said on the issue, once.
//!
//! It is said when the second tick in a row finds it, because one wrong answer of a forge (a 404 while it is restored) looks
//! the same. That it was said is part of the recorded decision, so that the ticks that follow ask the forge nothing.

use super::{World, comments};
use crate::{
    domain::{code::Code, ids::IssueNumber},
    ports::{forge::ForgeResult, lock::LockName, store::StoreResult},
};
use std::time::Duration;

/// Ends the words of a decision that stands on its issue.
const SAID: &str = "; said on the issue";

/// Returns whether only an edit of the issue can help.
pub fn is_hopeless(code: Code) -> bool {
    matches!(code, Code::SelfDependency | Code::DependencyCycle | Code::DependencyUnknown)
}

/// Says on the issue, once for each reason, what has to happen first.
pub async fn say(world: &World, issue: IssueNumber, words: &str) -> ForgeResult<()> {
    let body =
        format!("This issue cannot be worked on yet: {words}. Do that first, or change the dependencies in its text.");
    comments::post_once(world, issue.0, &format!("preflight {words}"), &body).await
}

/// Returns the words of the decision, with whether they stand on the issue; says them there where it is time. The second
/// value is what went wrong.
pub(super) async fn words(
    world: &World,
    issue: IssueNumber,
    code: Code,
    words: String,
) -> StoreResult<(String, Option<String>)> {
    let last = world.store.decisions(&world.project.name, Some(issue.0), 1).await?;
    let Some(last) = last.first().filter(|last| last.code == code.name()) else { return Ok((words, None)) };
    let said = format!("{words}{SAID}");
    if last.words == said {
        return Ok((said, None));
    }
    if last.words != words {
        return Ok((words, None));
    }
    // Two ticks at once would both look, find nothing, and write.
    let Ok(_saying) = world.locks.take(LockName::Notices, Duration::ZERO).await else { return Ok((words, None)) };
    Ok(match say(world, issue, &words).await {
        Ok(()) => (said, None),
        Err(error) => (words, Some(format!("issue {issue}: what a person must mend is not said there yet: {error}"))),
    })
}
