//! The driver's looks at the session's screen: those that tell of an agent without hooks, and the one that shows people why
//! an agent did not become ready.

use super::{Driver, DriverError, Outcome};
use crate::{
    domain::run::{Event, Run, Session, Stage},
    engine::{
        World,
        deliver::type_line,
        observe::Seen,
        screen_watch::{Glance, HISTORY_LINES, ScreenWatch},
        session::name_of,
    },
    ports::session::{SessionResult, Signals},
};
use std::time::Duration;

/// Characters of a screen that people are shown: what a start screen says.
const TOLD_CHARS: usize = 1_500;

impl Driver {
    /// Returns the time without a change that ends a turn; `None` for an agent whose hooks tell.
    fn quiet(&self) -> Option<Duration> {
        match self.world.sessions.signals() {
            Signals::Screen { quiet } if self.run.session == Session::Started && !self.run.stage.is_over() => {
                Some(quiet)
            }
            Signals::Screen { .. } | Signals::Hooks => None,
        }
    }

    /// Looks at the screen of an agent that has no hooks.
    pub(super) fn look_at_screen(&mut self) {
        let now = self.world.clock.monotonic();
        let Some(quiet) = self.quiet().filter(|_| now >= self.screen_at && !self.looking_at_screen) else { return };
        self.looking_at_screen = true;
        self.screen_at = now + ScreenWatch::pause(quiet);
        self.spawn(|world, run| async move {
            let screen = world.sessions.screen(&name_of(&run), HISTORY_LINES).await;
            // Whether it has ended is found out elsewhere.
            Outcome::Screen(run.attempt, screen.ok())
        });
    }

    /// Returns when the screen is to be looked at next.
    pub(super) fn screen_in(&self, now: Duration) -> Option<Duration> {
        self.quiet().filter(|_| !self.looking_at_screen).map(|_| self.screen_at.saturating_sub(now))
    }

    pub(super) async fn take_screen(
        &mut self,
        attempt: crate::domain::ids::Attempt,
        screen: Option<String>,
    ) -> Result<(), DriverError> {
        self.looking_at_screen = false;
        let (Some(screen), Some(quiet)) = (screen, self.quiet()) else { return Ok(()) };
        let now = self.world.clock.monotonic();
        if self.screen_watch.see(attempt, &screen, now) {
            self.alive_at = now;
        }
        let line = self.world.sessions.prompt_line(&screen);
        let run_dir = self.world.root.run(&self.run.project, self.run.issue);
        let first_line = self.world.sessions.first_line(run_dir.attempt(attempt).path());
        match self.screen_watch.judge(&self.run, &line, first_line, quiet, now) {
            Glance::Nothing => Ok(()),
            Glance::Type(line) => {
                self.spawn(|world, run| async move {
                    if let Err(error) = type_line(&world, &run, &line, || Ok(())).await {
                        tracing::warn!(run = %run.id, %error, "the first prompt cannot be typed now");
                    }
                    Outcome::Beaten
                });
                Ok(())
            }
            Glance::Taken(completes) => {
                let event = Event::PromptTaken { attempt, offset: 0 };
                self.commit(Seen { event, completes, input: None }).await
            }
            Glance::TurnEnded => {
                // What the agent wrote last counts before its stop does.
                self.observe_files().await?;
                if !self.files.is_settled(attempt) {
                    return Ok(());
                }
                self.commit(Seen::new(Event::TurnEnded { attempt, offset: 0, background_tasks: 0 })).await
            }
        }
    }

    /// Asks what the screen says when the attempt has not taken its first prompt in time.
    pub(super) fn look_at_start(&mut self, now: Duration) {
        let waits = matches!(self.run.stage, Stage::Working) && self.run.session == Session::Started;
        let late = now.saturating_sub(self.started_at) >= self.world.project.agent.ready_timeout;
        if !waits || self.run.prompted || !late {
            return;
        }
        self.started_at = now;
        self.spawn(|world, run| async move {
            match start_screen(&world, &run).await {
                Ok(screen) => Outcome::GaveUp(Seen::new(Event::SessionNotReady { attempt: run.attempt, screen })),
                Err(error) => {
                    tracing::warn!(run = %run.id, %error, "the screen of a session that is not ready cannot be read");
                    Outcome::Beaten
                }
            }
        });
    }

    /// Returns when the start has to have come through.
    pub(super) fn start_due_in(&self, now: Duration) -> Option<Duration> {
        let waits = matches!(self.run.stage, Stage::Working) && self.run.session == Session::Started;
        let due = self.started_at + self.world.project.agent.ready_timeout;
        (waits && self.observed_once && !self.run.prompted).then(|| due.saturating_sub(now))
    }
}

async fn start_screen(world: &World, run: &Run) -> SessionResult<String> {
    let screen = world.sessions.screen(&name_of(run), 0).await?;
    let mut text: String = world.redactor.redact_screen(screen.trim()).chars().take(TOLD_CHARS).collect();
    if let Some(remedy) = world.sessions.known_start(&screen) {
        text.push_str(&format!("\nWhat to do: {remedy}"));
    }
    Ok(text)
}
