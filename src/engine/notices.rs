//! Sends what people are to be told: every notice to the log, those that need somebody also to the issue. At least once
//! sent, once shown: a comment carries the notice's id.

use super::{World, bridge, comments, pump::Pump};
use crate::ports::{forge::ForgeError, lock::LockName, store::StoreResult};
use std::time::Duration;

/// Notices that one round takes from the outbox.
const ROUND: u32 = 1_000;

/// Time that another process that sends notices is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// Sends what waits in the outbox for this project. What the forge does not take now stays for the next round.
pub async fn send(world: &World) -> StoreResult<()> {
    send_to_issue(world).await?;
    send_by_channels(world).await
}

/// Empties the outboxes of the channels that need no process of their own, and sees to the bridge of the one that does.
async fn send_by_channels(world: &World) -> StoreResult<()> {
    if world.project.matrix.is_some() {
        let projects = std::slice::from_ref(&world.project.name);
        if bridge::is_needed(&*world.store, &*world.outbox, projects).await? {
            world.machine.ensure_bridge();
        }
    }
    if world.senders.is_empty() {
        return Ok(());
    }
    // One process at a time, so that the order holds; whoever comes second knows that the first sends.
    let Ok(_sending) = world.locks.take(LockName::Channels, Duration::ZERO).await else { return Ok(()) };
    for (channel, sender) in &world.senders {
        let pump = Pump {
            outbox: &*world.outbox,
            sender: &**sender,
            clock: &*world.clock,
            channel: *channel,
            project: &world.project.name,
            room: None,
        };
        pump.empty().await?;
    }
    Ok(())
}

async fn send_to_issue(world: &World) -> StoreResult<()> {
    if world.store.unsent_notices(Some(&world.project.name), 1).await?.is_empty() {
        return Ok(());
    }
    let _sending = match world.locks.take(LockName::Notices, WAIT).await {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(project = %world.project.name, %error, "notices wait");
            return Ok(());
        }
    };
    for notice in world.store.unsent_notices(Some(&world.project.name), ROUND).await? {
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
                    // Kept: a token is replaced sooner or later, and then this must be said.
                    tracing::error!(issue = notice.issue.0, %error, notice = notice.text, "a notice waits for a token that may write");
                    continue;
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
