//! The brake: where CI breaks for many runs and checks at once the machinery of all is at fault, and starting anew would only add
//! to its load. It is released by itself, as the breaks grow old.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// With so many runs and checks that broke lately the fault lies with the machinery.
const BRAKE_AT: usize = 3;
/// How long a break is held against the machinery.
const LATELY: SignedDuration = SignedDuration::from_mins(10);

/// Returns since when breaks count.
pub fn counts_since(now: Timestamp) -> Timestamp {
    now.checked_sub(LATELY).unwrap_or_default()
}

/// Returns whether CI is to be left alone for a run or a check, by the breaks that are known: whose, and when. One from the
/// future is of a clock that was put back since, and holds nobody.
pub fn holds<'a>(who: &str, breaks: impl IntoIterator<Item = (&'a str, Timestamp)>, now: Timestamp) -> bool {
    let lately = counts_since(now)..=now;
    let broken: BTreeSet<&str> = breaks.into_iter().filter(|(_, at)| lately.contains(at)).map(|(who, _)| who).collect();
    broken.len() >= BRAKE_AT && broken.contains(who)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(who: &str, breaks: &[(&'static str, i64)], minute: i64) -> bool {
        let at = |minute: i64| Timestamp::from_second(minute * 60).expect("a near time");
        holds(who, breaks.iter().map(|(who, minute)| (*who, at(*minute))), at(minute))
    }

    #[test]
    fn three_runs_that_break_at_once_are_left_alone_for_ten_minutes() {
        let breaks = [("A", 100), ("B", 101), ("C", 103)];
        for who in ["A", "B", "C"] {
            assert!(held(who, &breaks, 103) && held(who, &breaks, 110), "{who}");
            assert!(!held(who, &breaks, 111), "{who}: the first break is no longer held against CI");
        }
        assert!(!held("D", &breaks, 103), "what has not broken is asked as ever");
    }

    #[test]
    fn one_run_that_breaks_often_is_not_many() {
        assert!(!held("A", &[("A", 100), ("A", 101), ("A", 102), ("B", 102)], 103));
    }

    #[test]
    fn breaks_before_a_clock_was_put_back_hold_nobody() {
        assert!(!held("A", &[("A", 100), ("B", 100), ("C", 100)], 40));
    }
}
