//! The cross-check of hooks by the screen: an agent that stands idle although its hooks say that it is at work.

use super::{Driver, DriverError};
use crate::{domain::run::Event, engine::observe::Seen};
use std::time::Duration;

/// Time for which the screen must show the same idle agent before its turn counts as over without a hook; less where the
/// agent may be quiet for less.
const IDLE_SCREEN: Duration = Duration::from_secs(45);
/// The same while tasks run in the agent's background.
const IDLE_BACKGROUND: Duration = Duration::from_secs(15 * 60);

impl Driver {
    /// Hooks say that the agent is at work; the screen is asked whether that is so. A person who breaks a turn off fires
    /// no hook, and a hook can get lost.
    pub(super) async fn take_idle_screen(&mut self, screen: Option<[u8; 32]>) -> Result<(), DriverError> {
        self.looking_at_session = false;
        let now = self.world.clock.monotonic();
        let since = match (screen, self.idle_since) {
            (Some(shown), Some((since, before))) if shown == before => since,
            (Some(shown), _) => {
                self.idle_since = Some((now, shown));
                return Ok(());
            }
            (None, _) => {
                self.idle_since = None;
                return Ok(());
            }
        };
        let quiet = now.saturating_sub(since);
        let most = self.world.project.agent.idle_timeout / 2;
        let limit = if self.run.background { IDLE_BACKGROUND } else { IDLE_SCREEN }.min(most);
        if quiet < limit {
            return Ok(());
        }
        // The hook that tells of the end may have been written this moment.
        self.observe_files().await?;
        if self.idle_since.is_none() || !self.run.busy || !self.files.is_settled(self.run.attempt) {
            return Ok(());
        }
        self.idle_since = None;
        let event = Event::AgentFoundIdle { attempt: self.run.attempt, secs: quiet.as_secs() };
        self.commit(Seen::new(event)).await
    }
}
