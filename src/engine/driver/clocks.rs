//! Time as a run lives it. Its wall time never goes back, and what nobody watched does not count: after a sleep of the machine,
//! or of this process, everything is looked at before anything is due.

use super::Driver;
use crate::{
    domain::run::{Due, Timer},
    ports::clock::Clock,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Wall and monotonic time that have parted by more than this tell of a suspended machine or a set clock. The loop never
/// sleeps that long: when it took longer nobody watched.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// Time that the bridge of a chat has to bring the answers that came while nobody watched.
const CHAT_CATCHES_UP: Duration = Duration::from_secs(60);

/// The wall time of one run: never before what its journal has. While the machine's wall clock is behind that, it goes on at
/// the pace of the monotonic one, so that no pause of the run becomes as long as the clock was wrong.
pub(super) struct RunClock {
    machine: Arc<dyn Clock>,
    last: Mutex<(Timestamp, Duration)>,
}

impl RunClock {
    pub(super) fn new(machine: Arc<dyn Clock>, not_before: Timestamp) -> Self {
        let last = Mutex::new((not_before, machine.monotonic()));
        Self { machine, last }
    }
}

impl Clock for RunClock {
    fn now(&self) -> Timestamp {
        // One at a time, or a later time could be replaced by an earlier one. Nothing in it can fail half-way.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.machine.monotonic();
        let passed = SignedDuration::try_from(now.saturating_sub(last.1)).unwrap_or(SignedDuration::MAX);
        let at_least = last.0.checked_add(passed).unwrap_or(Timestamp::MAX);
        let at = self.machine.now().max(at_least);
        *last = (at, now);
        at
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

/// When the driver began to watch without a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) wall: Timestamp,
    pub(super) since: Duration,
}

impl Driver {
    /// Compares what the two clocks say has passed since the last turn of the loop. A machine that slept has news for rig:
    /// everything is looked at before any time is let pass.
    pub(super) fn compare_clocks(&mut self) {
        let (wall, now) = (self.machine_clock.now(), self.machine_clock.monotonic());
        let (wall_before, before) = std::mem::replace(&mut self.clocks, (wall, now));
        let turn = now.saturating_sub(before);
        let passed = SignedDuration::try_from(turn).unwrap_or(SignedDuration::MAX);
        let apart = wall.duration_since(wall_before).saturating_sub(passed).unsigned_abs();
        if apart.max(turn) <= CLOCKS_APART {
            return;
        }
        tracing::info!(run = %self.run.id, apart_secs = apart.as_secs(), unwatched_secs = turn.as_secs(), "the clocks have parted; everything is looked at first");
        self.observed_once = false;
        // An answer that is under way may be one of before.
        self.look_is_old = self.looking_at_forge;
        (self.forge_at, self.liveness_at, self.beat_at, self.looked_at) = (now, now, now, now);
        self.retries.values_mut().for_each(|(_, when)| *when = now.min(*when));
        self.watch = Watch { wall: self.world.clock.now(), since: now };
        if turn > CLOCKS_APART {
            self.leave_out(turn, now);
        }
    }

    /// Takes time that nobody watched out of what is measured.
    fn leave_out(&mut self, unwatched: Duration, now: Duration) {
        let idle = self.idle_since.as_mut().map(|(since, _)| since);
        for since in [&mut self.counted_to, &mut self.alive_at, &mut self.started_at].into_iter().chain(idle) {
            *since = (*since + unwatched).min(now);
        }
        self.delivery.leave_out(unwatched, now);
    }

    /// Returns whether a timer is due. Nobody is given up on for not having answered before a chat had its time to say that
    /// they have.
    pub(super) fn is_due(&self, timer: Timer, due: Due, wall: Timestamp, now: Duration) -> bool {
        match due {
            Due::At(when) if self.may_be_answered(timer, when, now) => false,
            Due::At(when) => when <= wall,
            Due::Watched(left) => left <= now.saturating_sub(self.counted_to),
        }
    }

    fn may_be_answered(&self, timer: Timer, when: Timestamp, now: Duration) -> bool {
        let has_chat = self.world.project.matrix.is_some();
        let catches_up = now.saturating_sub(self.watch.since) < CHAT_CATCHES_UP;
        has_chat && catches_up && timer == Timer::Escalation && when <= self.watch.wall
    }

    /// Returns how long it is until a timer is due.
    pub(super) fn due_in(&self, timer: Timer, due: Due, wall: Timestamp, now: Duration) -> Duration {
        match due {
            Due::At(when) if self.may_be_answered(timer, when, now) => {
                (self.watch.since + CHAT_CATCHES_UP).saturating_sub(now)
            }
            Due::At(when) => when.duration_since(wall).max(SignedDuration::ZERO).unsigned_abs(),
            Due::Watched(left) => left.saturating_sub(now.saturating_sub(self.counted_to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows what it is told to, in seconds: wall and monotonic.
    #[derive(Default)]
    struct Hands(Mutex<(i64, u64)>);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.lock().unwrap().0).unwrap()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }
    }

    #[test]
    fn the_time_of_a_run_never_goes_back_and_never_stands() {
        let hands = Arc::new(Hands::default());
        let clock = RunClock::new(hands.clone(), Timestamp::from_second(1_000).unwrap());
        let shows = |wall: i64, monotonic: u64| {
            *hands.0.lock().unwrap() = (wall, monotonic);
            clock.now().as_second()
        };
        assert_eq!(shows(900, 0), 1_000, "the journal has later events");
        assert_eq!(shows(910, 10), 1_010, "it goes on meanwhile");
        assert_eq!(shows(2_000, 20), 2_000, "the wall clock has come by");
        assert_eq!(shows(500, 30), 2_010, "it was put back");
        assert_eq!(shows(90_000, 40), 90_000, "the machine slept");
    }
}
