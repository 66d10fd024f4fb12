//! How fast an outbox is emptied: pauses after failures, and when many messages become one.

use std::time::Duration;

/// First pause after a failed try; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a homeserver that comes back after hours is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause that another side may ask for; one that asks for more is asked again.
const LONGEST_ASKED: Duration = Duration::from_secs(600);
/// Messages that may wait in one lane before they become one: nobody reads more of them one by one.
pub const MOST_WAITING: usize = 20;

/// Returns the pause after so many failed tries, or what the other side asked for if that is longer.
pub fn pause(attempts: u32, asked: Option<Duration>) -> Duration {
    let own = (FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(10))).min(LONGEST_PAUSE);
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_undercut_what_was_asked_for() {
        let secs: Vec<u64> = (0..9).map(|attempts| pause(attempts, None).as_secs()).collect();
        assert_eq!(secs, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(1, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(pause(9, Some(Duration::from_secs(2))), Duration::from_secs(60));
        assert_eq!(pause(u32::MAX, Some(Duration::MAX)), LONGEST_ASKED);
    }
}
