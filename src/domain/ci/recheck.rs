//! When a commit that no run leads is checked (again) by the CI of this machine: once for each commit, and anew, at growing
//! intervals, after the machinery broke.

use super::CiVerdict;
use jiff::{SignedDuration, Timestamp};

/// Pause after the first break; doubled by each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// Longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// What the last check found, how often in a row the machinery has broken, and when that was.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    pub verdict: &'a CiVerdict,
    pub breaks: u32,
    pub at: Timestamp,
}

/// Returns whether it is to be checked now.
pub fn is_due(last: Option<Last<'_>>, now: Timestamp) -> bool {
    let Some(last) = last else { return true };
    match last.verdict {
        CiVerdict::Green | CiVerdict::Red { .. } => false,
        CiVerdict::Broken { .. } | CiVerdict::Pending { .. } | CiVerdict::Held { .. } => {
            now.duration_since(last.at) >= pause(last.breaks)
        }
    }
}

fn pause(breaks: u32) -> SignedDuration {
    let doubled = 2_i32.saturating_pow(breaks.saturating_sub(1).min(16));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(verdict: &CiVerdict, breaks: u32, minutes: i64) -> bool {
        let at = |minute: i64| Timestamp::from_second(minute * 60).expect("a near time");
        is_due(Some(Last { verdict, breaks, at: at(1_000) }), at(1_000 + minutes))
    }

    #[test]
    fn a_verdict_on_the_code_stands_and_a_break_is_tried_again_at_growing_intervals() {
        let broken = CiVerdict::Broken { why: "killed".into() };
        assert!(is_due(None, Timestamp::UNIX_EPOCH));
        for verdict in [CiVerdict::Green, CiVerdict::Red { steps: Vec::new() }] {
            assert!(!due(&verdict, 0, 100_000), "{verdict:?}");
        }
        for (breaks, minutes) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (60, 60)] {
            assert!(!due(&broken, breaks, minutes - 1) && due(&broken, breaks, minutes), "{breaks}");
        }
        assert!(!due(&broken, 1, -30), "a clock that went back checks nothing at once");
    }
}
