//! The driver's orders: one under way in each lane, tried again when it failed for a passing reason; and the messages that it
//! types into the session.

use super::{Driver, DriverError, LIVENESS, Outcome, RETRY_FIRST, RETRY_MOST};
use crate::{
    domain::{
        ids::EffectId,
        run::{Effect, Event, Lane},
    },
    engine::{
        deliver::{Delivery, Next, Typed, type_line},
        dispatch::{self, DispatchError},
        observe::Seen,
    },
};
use std::{collections::BTreeSet, time::Duration};

impl Driver {
    /// Starts the oldest pending order of each free lane, and ends tasks whose order was withdrawn.
    pub(super) fn start_orders(&mut self) {
        let pending = &self.run.pending;
        self.in_flight.retain(|_, (id, task)| {
            let wanted = pending.contains_key(id);
            if !wanted {
                task.abort();
            }
            wanted
        });
        self.retries.retain(|id, _| pending.contains_key(id));
        let now = self.world.clock.monotonic();
        let wall = self.world.clock.now();
        let mut busy: BTreeSet<Lane> = self.in_flight.keys().copied().collect();
        for (id, effect) in self.run.pending.clone() {
            let lane = effect.lane();
            if lane == Lane::Delivery || !busy.insert(lane) {
                continue;
            }
            let waits = self.retries.get(&id).is_some_and(|(_, when)| *when > now);
            let early = match &effect {
                Effect::RunCi { not_before, .. } => not_before.is_some_and(|when| when > wall),
                Effect::StartSession { .. } => self.run.usage_limit.is_some_and(|until| until > wall),
                // It looks at what all the others have done.
                Effect::Audit { .. } => self.run.pending.len() > 1,
                _ => false,
            };
            if !waits && !early {
                self.start_order(lane, id, effect);
            }
        }
    }

    pub(super) fn start_order(&mut self, lane: Lane, id: EffectId, effect: Effect) {
        let (world, run, files) = (self.world.clone(), self.run.clone(), self.files.clone());
        let results = self.results.clone();
        let order = id.clone();
        let task = tokio::spawn(async move {
            let result = dispatch::carry_out(&world, &run, files.as_ref(), &order, &effect).await;
            let _ = results.send(Outcome::Order { id: order, lane, result });
        });
        self.in_flight.insert(lane, (id, task.abort_handle()));
    }

    /// Types the next message when the time has come. Returns when to look again.
    pub(super) fn deliver(&mut self) -> Option<Duration> {
        if self.typing {
            return None;
        }
        let now = self.world.clock.monotonic();
        match self.delivery.next(&self.run, self.files.as_ref(), now, self.world.clock.now()) {
            Next::Nothing => None,
            Next::Wait(wait) => Some(wait),
            Next::Type { id, line } => {
                self.typing = true;
                let (world, run, results) = (self.world.clone(), self.run.clone(), self.results.clone());
                let files = self.files.clone();
                tokio::spawn(async move {
                    let note = || files.note_typed(&id, run.attempt, world.clock.now());
                    let typed = type_line(&world, &run, &line, note).await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "a line cannot be typed now");
                        Typed::NotNow
                    });
                    let _ = results.send(Outcome::Typed { id, typed });
                });
                None
            }
            Next::GiveUp(why) => {
                self.delivery = Delivery::default();
                let event = Event::DeliveryFailed { attempt: self.run.attempt, why };
                let _ = self.results.send(Outcome::GaveUp(Seen::new(event)));
                None
            }
        }
    }

    pub(super) async fn take_result(
        &mut self,
        id: EffectId,
        lane: Lane,
        result: Result<Option<Seen>, DispatchError>,
    ) -> Result<(), DriverError> {
        if self.in_flight.get(&lane).is_some_and(|(current, _)| *current == id) {
            self.in_flight.remove(&lane);
        }
        let now = self.world.clock.monotonic();
        if lane == Lane::Ci {
            self.ci_unreachable = match &result {
                Err(DispatchError::Ci(error)) => Some(error.to_string()),
                _ => None,
            };
        }
        match result {
            Ok(Some(seen)) => {
                self.retries.remove(&id);
                if matches!(seen.event, Event::SessionStarted { .. }) {
                    (self.alive_at, self.started_at) = (now, now);
                    self.liveness_at = now + LIVENESS;
                }
                if matches!(seen.event, Event::UsagePaused { .. }) {
                    // The start stays ordered. It is held back by the run; this is for clocks that went back.
                    self.retries.insert(id, (0, now + self.world.project.forge.poll_interval));
                }
                self.commit(seen).await
            }
            Ok(None) => {
                self.retries.insert(id, (0, now + self.world.project.forge.poll_interval));
                Ok(())
            }
            Err(error) if error.is_refused_token() => {
                // This process has the token that it began with; the next driver reads the new one.
                Err(DriverError::Token { message: error.to_string() })
            }
            Err(error) if error.is_transient() => {
                let tries = self.retries.get(&id).map_or(0, |(tries, _)| *tries);
                let pause = (RETRY_FIRST * 2_u32.pow(tries.min(10))).min(RETRY_MOST);
                if self.told_unavailable.insert(id.clone()) {
                    tracing::warn!(run = %self.run.id, order = %id, %error, "an order waits and is tried again");
                }
                self.retries.insert(id, (tries + 1, now + pause));
                Ok(())
            }
            Err(error) => {
                tracing::error!(run = %self.run.id, order = %id, %error, "an order cannot be carried out");
                let words = self.run.pending.get(&id).map_or("an order", Effect::words);
                self.commit(dispatch::failed(&id, &format!("cannot {words}: {error}"))).await
            }
        }
    }
}
