//! The bridge between the store and one chat account: empties the outbox, and reads what people write. One process for a root;
//! it lives while there is something to send or somebody may answer. Nothing is kept in memory that a restart would miss.

pub mod orders;
mod reading;

use super::pump::Pump;
use crate::{
    domain::{chat::Channel, ids::ProjectName},
    ports::{
        chat::Chat,
        clock::Clock,
        launch::Machine,
        outbox::Outbox,
        store::{Store, StoreResult},
    },
};
use orders::Control;
pub use reading::ReadingError;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Longest time for which the outbox is not looked at without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Time that the homeserver holds a request for news.
const LONG_POLL: Duration = Duration::from_secs(25);
/// Time between two looks at whether the bridge is still needed.
const NEEDED_EVERY: Duration = Duration::from_secs(5);
/// Time for which a bridge stays that nothing needs: the next run often follows soon.
const LINGER: Duration = Duration::from_secs(120);

/// A project whose people are reached by this account.
#[derive(Debug, Clone)]
pub struct Room {
    pub project: ProjectName,
    pub room: String,
    pub allowed_users: Vec<String>,
}

/// Everything of the outside that a bridge works with.
#[derive(Clone)]
pub struct Bridge {
    pub account: String,
    pub rooms: Vec<Room>,
    pub chat: Arc<dyn Chat>,
    pub outbox: Arc<dyn Outbox>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub machine: Arc<dyn Machine>,
    pub control: Arc<dyn Control>,
}

impl Bridge {
    /// Reads once what has come, so that rooms and their encryption are known before anything is sent.
    pub async fn begin(&self) -> Result<(), ReadingError> {
        reading::read(self, Duration::ZERO).await
    }

    /// Sends and reads until it is dropped. `wake` tells that something was queued.
    pub async fn work(&self, wake: Arc<Notify>) -> StoreResult<()> {
        tokio::select! {
            result = self.send(&wake) => result,
            result = reading::read_on(self, LONG_POLL, &wake) => result,
        }
    }

    async fn send(&self, wake: &Notify) -> StoreResult<()> {
        loop {
            self.send_due().await?;
            let next = self.outbox.next_due(Channel::Matrix).await?;
            let until = next.map(|next| next.duration_since(self.clock.now())).map_or(LOOK_AGAIN, |left| {
                Duration::try_from(left).unwrap_or_default().clamp(Duration::from_millis(20), LOOK_AGAIN)
            });
            // Told or not: looking again at intervals makes it right.
            let _ = tokio::time::timeout(until, wake.notified()).await;
        }
    }

    /// Sends all that is due now.
    pub async fn send_due(&self) -> StoreResult<()> {
        for room in &self.rooms {
            self.pump(room).empty().await?;
        }
        Ok(())
    }

    fn pump<'a>(&'a self, room: &'a Room) -> Pump<'a> {
        Pump {
            outbox: &*self.outbox,
            sender: &*self.chat,
            clock: &*self.clock,
            channel: Channel::Matrix,
            project: &room.project,
            room: Some(&room.room),
        }
    }
}

/// Returns whether there is something to send by a chat or to wait for there: messages, or runs that people may speak to.
pub async fn is_needed(store: &dyn Store, outbox: &dyn Outbox, projects: &[ProjectName]) -> StoreResult<bool> {
    if outbox.outbox_state(Channel::Matrix).await?.waiting > 0 {
        return Ok(true);
    }
    Ok(store.open_runs(None).await?.iter().any(|run| projects.contains(&run.project)))
}

/// Resolves when nothing has needed the bridge for a while.
pub async fn until_idle(store: &dyn Store, outbox: &dyn Outbox, projects: &[ProjectName]) -> StoreResult<()> {
    let mut idle = Duration::ZERO;
    while idle < LINGER {
        tokio::time::sleep(NEEDED_EVERY).await;
        idle = if is_needed(store, outbox, projects).await? { Duration::ZERO } else { idle + NEEDED_EVERY };
    }
    Ok(())
}
