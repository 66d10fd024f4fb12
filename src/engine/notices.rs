//! Sends what people are to be told: every notice to the log, those that need somebody also to the issue. At least once
//! sent, once shown: a comment carries the notice's id.

use super::{World, comments};
use crate::ports::{forge::ForgeError, lock::LockName, store::StoreResult};
use std::time::Duration;

/// Notices that one round takes from the outbox.
const ROUND: u32 = 1_000;

/// Time that another process that sends notices is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// Sends what waits in the outbox for this project. What the forge does not take now stays for the next round.
pub async fn send(world: &World) -> StoreResult<()> {
    if world.store.unsent_notices(1).await?.is_empty() {
        return Ok(());
    }
    let _sending = match world.locks.take(LockName::Notices, WAIT).await {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(project = %world.project.name, %error, "notices wait");
            return Ok(());
        }
    };
    for notice in world.store.unsent_notices(ROUND).await? {
        if notice.project != world.project.name {
            continue;
        }
        if notice.on_issue {
            match comments::post_once(world, notice.issue.0, &notice.id.to_string(), &addressed(world, &notice.text))
                .await
            {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    tracing::warn!(issue = notice.issue.0, %error, "a notice waits for the forge");
                    continue;
                }
                Err(error @ (ForgeError::Unauthorized { .. } | ForgeError::Forbidden { .. })) => {
                    tracing::error!(issue = notice.issue.0, %error, notice = notice.text, "a notice cannot be written on the issue");
                }
                Err(error) => {
                    tracing::error!(issue = notice.issue.0, %error, notice = notice.text, "a notice was refused");
                }
            }
        }
        if notice.urgent {
            tracing::warn!(project = %notice.project, issue = notice.issue.0, "{}", notice.text);
        } else {
            tracing::info!(project = %notice.project, issue = notice.issue.0, "{}", notice.text);
        }
        world.store.mark_notice_sent(&notice.id).await?;
    }
    Ok(())
}

/// The first reviewer is the one who looks at the forge anyway; when nobody is configured nobody is mentioned.
pub(super) fn addressed(world: &World, text: &str) -> String {
    match world.project.review.reviewers.first() {
        Some(reviewer) => format!("@{reviewer} {text}"),
        None => text.to_owned(),
    }
}
