//! Which checks count where nobody has said so: those that the primary branch is known to show. Just after a merge CI posts
//! them one by one, so a tip is never taken at its word for what it does not show; only several tips in a row are.

use crate::domain::{
    ids::Sha,
    pull_request::{Status, StatusState},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tips in a row, each with all of its checks ended, that must lack a check before it counts as removed.
const ABSENT_TIPS: usize = 3;
/// Time after which a check that a tip does not show is not merely late there: longer than queues for runners are.
const LATE: SignedDuration = SignedDuration::from_hours(1);
/// Most contexts that are remembered; whoever may post statuses could make up any number of them.
const MOST_CONTEXTS: usize = 1_000;

/// Every context that a complete tip has shown and that has not been removed since, with the tips that lacked it lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownContexts {
    contexts: BTreeMap<String, Vec<Absence>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Absence {
    tip: Sha,
    since: Timestamp,
}

/// What a look at the primary branch's tip came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// These are the required contexts.
    Required(Vec<String>),
    /// No tip was complete so far, and this one shows these: more may come, so nothing is green yet.
    NotYet(Vec<String>),
}

impl KnownContexts {
    /// Takes in what a tip shows now. Only a tip whose checks have all ended adds contexts; a check that is shown at all,
    /// ended or not, is not removed. Safe to repeat: a tip counts once.
    pub fn look(&mut self, tip: &Sha, statuses: &[Status], now: Timestamp) {
        self.shown(statuses);
        if !is_complete(statuses) {
            return;
        }
        for status in statuses {
            if self.contexts.len() < MOST_CONTEXTS {
                self.contexts.entry(status.context.clone()).or_default();
            }
        }
        let lacking = self.contexts.iter_mut().filter(|(name, _)| !is_among(name, statuses));
        for (_, absences) in lacking {
            if absences.len() < ABSENT_TIPS && !absences.iter().any(|absence| absence.tip == *tip) {
                absences.push(Absence { tip: tip.clone(), since: now });
            }
        }
    }

    /// Returns the tips that speak for the removal of some check, all long enough ago. What they show now is to be given
    /// to `shown` before `forget` takes them at their word.
    pub fn to_read_again(&self, now: Timestamp) -> Vec<Sha> {
        let mut tips: Vec<Sha> = Vec::new();
        for absence in self.contexts.values().filter(|absences| is_removed(absences, now)).flatten() {
            if !tips.contains(&absence.tip) {
                tips.push(absence.tip.clone());
            }
        }
        tips
    }

    /// Takes in that a recent tip shows these after all: their checks were late there, not removed.
    pub fn shown(&mut self, statuses: &[Status]) {
        for status in statuses {
            if let Some(absences) = self.contexts.get_mut(&status.context) {
                absences.clear();
            }
        }
    }

    /// Forgets checks that were removed; `read` are the tips that were read again. Returns the names.
    pub fn forget(&mut self, read: &[Sha], now: Timestamp) -> Vec<String> {
        let removed = |absences: &[Absence]| {
            is_removed(absences, now) && absences.iter().all(|absence| read.contains(&absence.tip))
        };
        let names: Vec<String> =
            self.contexts.iter().filter(|(_, absences)| removed(absences)).map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.contexts.remove(name);
        }
        names
    }

    /// Returns what is required, given what the tip shows now.
    pub fn settled(&self, statuses: &[Status]) -> Settled {
        if self.contexts.is_empty() {
            return Settled::NotYet(statuses.iter().map(|status| status.context.clone()).collect());
        }
        Settled::Required(self.contexts.keys().cloned().collect())
    }
}

fn is_removed(absences: &[Absence], now: Timestamp) -> bool {
    absences.len() >= ABSENT_TIPS && absences.iter().all(|absence| now.duration_since(absence.since) >= LATE)
}

fn is_among(name: &str, statuses: &[Status]) -> bool {
    statuses.iter().any(|status| status.context == name)
}

/// A state that this version does not know may be one of waiting.
fn is_complete(statuses: &[Status]) -> bool {
    let ended = |status: &Status| !matches!(status.state, StatusState::Pending | StatusState::Other);
    !statuses.is_empty() && statuses.iter().all(ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use StatusState::{Failure, Pending, Success};

    fn tip(letter: char) -> Sha {
        letter.to_string().repeat(40).parse().unwrap()
    }

    fn statuses(shown: &[(&str, StatusState)]) -> Vec<Status> {
        let status = |(context, state): &(&str, StatusState)| Status {
            context: (*context).to_owned(),
            state: *state,
            description: String::new(),
            target_url: String::new(),
            changed_at: None,
        };
        shown.iter().map(status).collect()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    fn names(known: &KnownContexts) -> Vec<String> {
        match known.settled(&[]) {
            Settled::Required(names) => names,
            Settled::NotYet(_) => Vec::new(),
        }
    }

    #[test]
    fn a_tip_whose_checks_come_one_by_one_takes_nothing_away() {
        let mut known = KnownContexts::default();
        known.look(&tip('a'), &statuses(&[("lint", Success), ("test", Failure)]), at(0));
        for shown in [&[][..], &[("lint", Pending)], &[("lint", Success)], &[("lint", Success), ("new", Pending)]] {
            known.look(&tip('b'), &statuses(shown), at(1));
            assert_eq!(names(&known), ["lint", "test"], "{shown:?}");
        }
        known.look(&tip('b'), &statuses(&[("lint", Success), ("new", Success)]), at(2));
        assert_eq!(names(&known), ["lint", "new", "test"]);
    }

    #[test]
    fn before_any_tip_was_complete_nothing_is_settled() {
        let mut known = KnownContexts::default();
        let shown = statuses(&[("lint", Success), ("test", Pending)]);
        known.look(&tip('a'), &shown, at(0));
        assert_eq!(known.settled(&shown), Settled::NotYet(vec!["lint".into(), "test".into()]));
        assert_eq!(known.settled(&[]), Settled::NotYet(Vec::new()));
    }

    #[test]
    fn a_check_is_forgotten_after_three_complete_tips_in_a_row_that_had_time_to_show_it() {
        let mut known = KnownContexts::default();
        known.look(&tip('a'), &statuses(&[("lint", Success), ("old", Success)]), at(0));
        let without = statuses(&[("lint", Success)]);
        for (minute, letter) in [(10, 'b'), (20, 'c'), (21, 'c'), (22, 'b')] {
            known.look(&tip(letter), &without, at(minute));
        }
        assert!(known.to_read_again(at(500)).is_empty());
        known.look(&tip('d'), &without, at(30));
        assert!(known.to_read_again(at(89)).is_empty());
        let read = known.to_read_again(at(90));
        assert_eq!(read, [tip('b'), tip('c'), tip('d')]);
        // A tip that could not be read again forgets nothing.
        assert!(known.clone().forget(&read[..2], at(90)).is_empty());
        // One that shows the check by now was only late.
        let mut late = known.clone();
        late.shown(&statuses(&[("old", Pending)]));
        assert!(late.forget(&read, at(90)).is_empty());
        assert_eq!(names(&late), ["lint", "old"]);
        assert_eq!(known.forget(&read, at(90)), ["old"]);
        assert_eq!(names(&known), ["lint"]);
    }

    #[test]
    fn a_check_that_comes_back_in_between_is_counted_anew() {
        let mut known = KnownContexts::default();
        let (with, without) = (statuses(&[("lint", Success), ("old", Success)]), statuses(&[("lint", Success)]));
        known.look(&tip('a'), &with, at(0));
        known.look(&tip('b'), &without, at(1));
        known.look(&tip('c'), &without, at(2));
        known.look(&tip('d'), &statuses(&[("old", Pending)]), at(3));
        known.look(&tip('e'), &without, at(4));
        assert!(known.to_read_again(at(500)).is_empty());
    }
}
