//! Repeats reads that may succeed a moment later. Writes never come through here: after an unknown answer only the caller
//! can find out whether they took effect. A read that hung is not repeated either: the next tick or look asks again.

use super::connections::Timing;
use crate::ports::forge::{ForgeError, ForgeResult};
use backon::{ExponentialBuilder, Retryable};
use futures::FutureExt;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Repetitions after the first try.
const REPETITIONS: usize = 2;
/// Longest pause that rig takes of its own accord.
const LONGEST_OWN_PAUSE: Duration = Duration::from_secs(2);

/// Tries a read up to three times, with growing pauses and some chance in them, so that many drivers do not return at once.
pub(in crate::adapters) async fn read<T, F: Future<Output = ForgeResult<T>>>(
    timing: Timing,
    mut attempt: impl FnMut() -> F,
) -> ForgeResult<T> {
    let slow = AtomicBool::new(false);
    let timed = || {
        let (begun, attempt, slow) = (Instant::now(), attempt(), &slow);
        attempt.inspect(move |_| slow.store(begun.elapsed() >= timing.slow, Ordering::Relaxed))
    };
    let pauses = ExponentialBuilder::new()
        .with_min_delay(timing.first_pause)
        .with_max_delay(LONGEST_OWN_PAUSE)
        .with_max_times(REPETITIONS)
        .with_jitter();
    timed
        .retry(pauses)
        .when(|error| is_worth_it(error) && !slow.load(Ordering::Relaxed))
        .adjust(|error, pause| longer(error, pause?, timing.longest_pause))
        .notify(|error, pause| tracing::debug!(%error, pause_ms = pause.as_millis() as u64, "reading again"))
        .await
}

/// Returns whether the same read may succeed within seconds.
fn is_worth_it(error: &ForgeError) -> bool {
    error.is_transient() && !matches!(error, ForgeError::NotAsked { .. })
}

/// Returns the pause before the next try, `None` when the forge asks for more than a read may wait.
fn longer(error: &ForgeError, pause: Duration, longest: Duration) -> Option<Duration> {
    match error {
        ForgeError::RateLimited { retry_after: Some(asked), .. } if *asked > longest => None,
        ForgeError::RateLimited { retry_after: Some(asked), .. } => Some(pause.max(*asked)),
        _ => Some(pause),
    }
}
