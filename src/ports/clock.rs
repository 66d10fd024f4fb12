//! The clock port: wall time, for what people see and agree on, and monotonic time, for what is measured.

use jiff::Timestamp;
use std::time::Duration;

pub trait Clock: Send + Sync {
    /// Returns the wall time.
    fn now(&self) -> Timestamp;
    /// Returns the time since some fixed moment; never goes back, rests while the machine sleeps.
    fn monotonic(&self) -> Duration;
}
