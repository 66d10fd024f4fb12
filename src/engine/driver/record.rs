//! What is written down at each stop of the agent: what its screen shows, for people who look later, and what its model has
//! used, for the journal. Neither holds anything up, and neither is missed for long when it cannot be had.

use super::{Driver, DriverError, Outcome};
use crate::{
    domain::{
        run::{Event, Run, Session},
        usage::Usage,
    },
    engine::{
        World,
        observe::Seen,
        session::{agent_session_id, name_of},
    },
    ports::{run_files::RunFiles, usage::UsageOf},
};
use std::time::Duration;

/// Lines of a screen's history that are kept.
const SCREEN_LINES: u32 = 2_000;
/// Longest time for reading what was used; a run does not end later because of a slow disk.
const USAGE_TIME: Duration = Duration::from_secs(20);

impl Driver {
    /// Records the screen and the usage when the agent has stopped.
    pub(super) fn record(&mut self) {
        if !self.record_due || self.recording {
            return;
        }
        (self.record_due, self.recording) = (false, true);
        let files = self.files.clone();
        self.spawn(|world, run| async move {
            keep_screen(&world, &run, files.as_ref()).await;
            Outcome::Recorded(usage(&world, &run).await)
        });
    }

    /// Journals what was used, unless the journal has it.
    pub(super) async fn take_usage(&mut self, usage: Vec<Usage>) -> Result<(), DriverError> {
        if usage.is_empty() {
            return Ok(());
        }
        self.commit(Seen::new(Event::UsageMeasured { attempt: self.run.attempt, usage })).await
    }

    /// Says once when a message begins to wait for a person, and once when that is over.
    pub(super) fn note_writer(&mut self, held_up: bool) {
        if held_up == self.held_up {
            return;
        }
        self.held_up = held_up;
        let (run, issue) = (&self.run.id, self.run.issue.0);
        match held_up {
            true => tracing::info!(%run, issue, "a message waits: a person writes in the session"),
            false => tracing::info!(%run, issue, "the person has left the session or is idle; messages go on"),
        }
    }
}

/// Returns whether after this there is something new to write down.
pub(super) fn is_due_after(event: &Event) -> bool {
    matches!(event, Event::TurnEnded { .. } | Event::TurnFailed { .. } | Event::SessionLost { .. })
}

/// Keeps what the session's screen shows. Without a session what was kept before stays.
pub(in crate::engine) async fn keep_screen(world: &World, run: &Run, files: &dyn RunFiles) {
    if run.session != Session::Started {
        return;
    }
    let Ok(screen) = world.sessions.screen(&name_of(run), SCREEN_LINES).await else { return };
    if let Err(error) = files.put_screen(run.attempt, &world.redactor.redact_screen(screen.trim_end())) {
        tracing::debug!(run = %run.id, %error, "the screen cannot be kept");
    }
}

pub(super) async fn usage(world: &World, run: &Run) -> Vec<Usage> {
    let of = UsageOf {
        run: run.id.clone(),
        hooks_file: world.root.run(&run.project, run.issue).hooks(&run.id),
        session: agent_session_id(run, run.agent_session),
    };
    tokio::time::timeout(USAGE_TIME, world.usage.measure(&of)).await.unwrap_or_default()
}
