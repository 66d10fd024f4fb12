//! What the driver looks at by itself, because it gives no hint: the forge, the session, the outbox.

use super::{BEAT, Driver, DriverError, LIVENESS, NAP, Outcome, WORKING_FACTOR};
use crate::{
    domain::{
        ci::CiVerdict,
        ids::{EffectId, RunId},
        run::{Effect, Event, Lane, Run, Stage, Timer},
    },
    engine::{
        World, notices,
        observe::{self, Seen},
    },
    ports::store::{DriverRow, StoreError},
};
use jiff::Timestamp;
use std::time::Duration;

impl Driver {
    /// Looks at what gives no hint of its own: the forge, the session, the outbox; and shows that the driver lives.
    pub(super) fn look_at_intervals(&mut self) {
        let now = self.world.clock.monotonic();
        if self.last_forge_stage != self.run.stage.name() {
            self.last_forge_stage = self.run.stage.name().to_owned();
            if matches!(self.run.stage, Stage::AwaitingReview { .. }) {
                self.forge_at = now;
            }
        }
        let wanted = self.wants_forge();
        // Where there is nothing to be seen there, nothing can be missed.
        self.observed_once |= !wanted;
        if now >= self.forge_at && wanted && !self.looking_at_forge {
            self.looking_at_forge = true;
            self.forge_at = now + self.forge_interval();
            self.spawn(|world, run| async move {
                match observe::forge(&world, &run).await {
                    Ok(seen) => Outcome::Forge(Some(seen)),
                    Err(error) => {
                        tracing::warn!(run = %run.id, %error, "the forge cannot be looked at now");
                        Outcome::Forge(None)
                    }
                }
            });
        }
        if now >= self.liveness_at && !self.looking_at_session {
            self.looking_at_session = true;
            self.liveness_at = now + LIVENESS;
            self.spawn(|world, run| async move {
                match observe::session_loss(&world, &run).await {
                    Ok(None) if observe::may_stand_idle(&world, &run) => {
                        Outcome::IdleScreen(observe::idle_screen(&world, &run).await.ok().flatten())
                    }
                    Ok(seen) => Outcome::Liveness(seen),
                    Err(error) => {
                        tracing::warn!(run = %run.id, %error, "nobody knows whether the session lives");
                        Outcome::Liveness(None)
                    }
                }
            });
        }
        self.look_at_screen();
        if now >= self.beat_at {
            self.beat_at = now + BEAT;
            // Ticks judge it by the clock of the machine.
            let at = self.machine_clock.now();
            self.spawn(move |world, run| async move {
                if let Err(error) = beat(&world, &run.id, at).await {
                    tracing::error!(run = %run.id, %error, "the sign of life cannot be written");
                }
                Outcome::Beaten
            });
            // What the forge did not take is tried again.
            self.notices_due = true;
        }
        self.record();
        if self.notices_due && !self.telling {
            (self.notices_due, self.telling) = (false, true);
            self.spawn(|world, run| async move {
                if let Err(error) = notices::send(&world).await {
                    tracing::warn!(run = %run.id, %error, "notices wait");
                }
                Outcome::Told
            });
        }
    }

    pub(super) fn forge_interval(&self) -> Duration {
        let interval = self.world.project.forge.poll_interval;
        match self.run.stage {
            Stage::AwaitingCi { .. } | Stage::AwaitingReview { .. } | Stage::Escalated { .. } => interval,
            _ => interval * WORKING_FACTOR,
        }
    }

    pub(super) fn spawn<F: Future<Output = Outcome> + Send + 'static>(&self, task: impl FnOnce(World, Run) -> F) {
        let future = task(self.world.clone(), self.run.clone());
        let results = self.results.clone();
        tokio::spawn(async move {
            let _ = results.send(future.await);
        });
    }

    /// Timers count only after everything was observed once, so that nothing times out that has in fact arrived.
    pub(super) async fn let_time_pass(&mut self, wall: Timestamp) -> Result<(), DriverError> {
        let now = self.clocks.1;
        let timers = self.run.deadlines().into_iter();
        let due: Vec<_> = timers.filter(|(timer, due)| self.is_due(*timer, *due, wall, now)).collect();
        for (timer, _) in due {
            let unreachable = self.unreachable_ci().filter(|_| timer == Timer::Ci);
            self.commit(unreachable.unwrap_or_else(|| Seen::new(Event::TimePassed { timer }))).await?;
        }
        self.look_at_start(now);
        let quiet = now.saturating_sub(self.alive_at);
        let most = self.world.project.agent.idle_timeout;
        if super::is_at_work(&self.run, wall) && quiet >= most {
            // One that thinks long or runs one long command fires no hook; what it writes down shows that it lives.
            if let Some(written) = self.files.transcript_written(self.run.attempt) {
                let since = wall.duration_since(written).max(jiff::SignedDuration::ZERO).unsigned_abs();
                if since < most {
                    self.alive_at = now.saturating_sub(since);
                    return Ok(());
                }
            }
            let event = Event::AgentQuiet { attempt: self.run.attempt, secs: quiet.as_secs() };
            self.alive_at = now;
            self.commit(Seen::new(event)).await?;
        }
        Ok(())
    }

    /// Returns what there is to say of CI that cannot be asked: a matter for people, and not the agent's doing.
    fn unreachable_ci(&self) -> Option<Seen> {
        let why = self.ci_unreachable.clone()?;
        let order = self.run.pending.iter().find_map(|(id, effect)| match effect {
            Effect::RunCi { head, .. } => Some((id.clone(), head.clone())),
            _ => None,
        });
        let (id, head) = order?;
        let event = Event::CiFinished { head, verdict: CiVerdict::Held { why } };
        Some(Seen { completes: Some(id), ..Seen::new(event) })
    }

    /// Returns how long the loop may sleep when nothing wakes it. What is under way wakes it by itself.
    pub(super) fn nap(&self, deliver_in: Option<Duration>) -> Duration {
        let now = self.world.clock.monotonic();
        let wall = self.world.clock.now();
        let timers = self.run.deadlines().into_iter().filter(|_| self.observed_once);
        let timers = timers.map(|(timer, due)| self.due_in(timer, due, wall, now));
        let under_way = |id: &EffectId| self.in_flight.values().any(|(current, _)| current == id);
        let retries =
            self.retries.iter().filter(|(id, _)| !under_way(id)).map(|(_, (_, when))| when.saturating_sub(now));
        let later = self.run.pending.values().filter_map(|effect| match effect {
            Effect::RunCi { not_before: Some(when), .. } => {
                Some(when.duration_since(wall).max(jiff::SignedDuration::ZERO).unsigned_abs())
            }
            _ => None,
        });
        let waits_for_ci = self.in_flight.contains_key(&Lane::Ci);
        let later = later.filter(|_| !waits_for_ci);
        let session = (!self.looking_at_session).then(|| self.liveness_at.saturating_sub(now));
        let forge = (self.wants_forge() && !self.looking_at_forge).then(|| self.forge_at.saturating_sub(now));
        let fixed = [NAP, self.beat_at.saturating_sub(now)];
        let floor = Duration::from_millis(5);
        timers
            .chain(retries)
            .chain(later)
            .chain(fixed)
            .chain(session)
            .chain(forge)
            .chain(deliver_in)
            .chain(self.screen_in(now))
            .chain(self.start_due_in(now))
            .min()
            .unwrap_or(NAP)
            .max(floor)
    }

    /// Before the claim is confirmed and after the end is decided there is nothing to be seen on the forge.
    pub(super) fn wants_forge(&self) -> bool {
        !self.run.stage.is_over() && !matches!(self.run.stage, Stage::Claiming)
    }
}

async fn beat(world: &World, run: &RunId, at: Timestamp) -> Result<(), StoreError> {
    let process = world.machine.this_process();
    let row = DriverRow {
        run: run.clone(),
        pid: process.pid,
        process_start: process.start,
        boot_id: process.boot_id,
        beat_at: at,
    };
    world.store.beat(&row).await
}
