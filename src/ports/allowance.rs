//! How much a process may ask of a forge: a number of requests and a time for reading. Shared by who asks (the forge's
//! adapter) and who has to know that not everything was asked (a tick).

use crate::domain::code::Code;
use jiff::Timestamp;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The part of a tick's requests (one in so many) that reading leaves for doing: what was read is of no use to anyone when
/// nothing may be done about it.
const ONE_IN: u32 = 5;

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("the {calls} requests of a tick are spent (limits.api_calls)")]
    Calls { calls: u32 },
    #[error("reading took longer than the {secs} s that a tick has for it")]
    Time { secs: u64 },
    #[error("the forge wants to be left alone until {until}")]
    Pause { until: Timestamp },
}

impl Limit {
    /// Returns the code, which stays the same across versions.
    pub fn code(&self) -> Code {
        match self {
            Self::Calls { .. } => Code::BudgetSpent,
            Self::Time { .. } => Code::OutOfTime,
            Self::Pause { .. } => Code::RateLimited,
        }
    }
}

#[derive(Debug)]
struct Bounds {
    calls: u32,
    reading: Duration,
    begun: Instant,
}

#[derive(Debug, Default)]
struct State {
    used: u32,
    acting: bool,
    hit: Option<Limit>,
}

/// What may be asked. The default has no bounds of its own.
#[derive(Debug, Default)]
pub struct Allowance {
    bounds: Option<Bounds>,
    state: Mutex<State>,
}

impl Allowance {
    /// Returns what one tick may ask of one project's forge: so many requests in all, and so long for reading.
    pub fn of_tick(calls: u32, reading: Duration) -> Self {
        let bounds = Bounds { calls, reading, begun: Instant::now() };
        Self { bounds: Some(bounds), state: Mutex::default() }
    }

    /// Takes one request. Returns how long it may take at most, where that is bounded.
    pub fn take(&self) -> Result<Option<Duration>, Limit> {
        let mut state = self.state();
        let mut left = None;
        if let Some(bounds) = &self.bounds {
            let calls = if state.acting { bounds.calls } else { bounds.calls - bounds.calls / ONE_IN };
            left = (!state.acting).then(|| bounds.reading.saturating_sub(bounds.begun.elapsed()));
            let limit = match left {
                _ if state.used >= calls => Some(Limit::Calls { calls: bounds.calls }),
                Some(Duration::ZERO) => Some(Limit::Time { secs: bounds.reading.as_secs() }),
                _ => None,
            };
            if let Some(limit) = limit {
                state.hit.get_or_insert_with(|| limit.clone());
                return Err(limit);
            }
        }
        state.used += 1;
        Ok(left)
    }

    /// Ends the reading: what was held back is free, and time no longer counts.
    pub fn begin_acting(&self) {
        self.state().acting = true;
    }

    /// Remembers that something was not asked, or not answered, for this reason.
    pub fn note(&self, limit: Limit) {
        self.state().hit.get_or_insert(limit);
    }

    /// Returns the first reason why something was not asked; `None` while everything was.
    pub fn hit(&self) -> Option<Limit> {
        self.state().hit.clone()
    }

    /// Returns the requests so far.
    pub fn used(&self) -> u32 {
        self.state().used
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_leaves_a_part_of_the_requests_for_doing() {
        let allowance = Allowance::of_tick(10, Duration::from_secs(60));
        let taken = (0..20).filter(|_| allowance.take().is_ok()).count();
        assert_eq!((taken, allowance.used()), (8, 8));
        assert_eq!(allowance.hit(), Some(Limit::Calls { calls: 10 }));
        allowance.begin_acting();
        assert_eq!((0..20).filter(|_| allowance.take().is_ok()).count(), 2);
    }

    #[test]
    fn the_time_for_reading_ends_it_and_not_what_is_done_after_it() {
        let allowance = Allowance::of_tick(10, Duration::ZERO);
        assert_eq!(allowance.take(), Err(Limit::Time { secs: 0 }));
        allowance.begin_acting();
        assert_eq!(allowance.take(), Ok(None));
    }

    #[test]
    fn the_first_reason_is_the_one_that_is_told() {
        let allowance = Allowance::default();
        assert_eq!((allowance.take(), allowance.hit()), (Ok(None), None));
        allowance.note(Limit::Time { secs: 1 });
        allowance.note(Limit::Calls { calls: 1 });
        assert_eq!(allowance.hit().map(|limit| limit.code()), Some(Code::OutOfTime));
    }
}
