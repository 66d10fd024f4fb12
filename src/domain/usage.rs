//! What the agent's model has used: tokens by session, model, service tier and day. Counts are absolute, never differences,
//! so that reading the same transcript twice counts nothing twice. Money is not computed here; what it needs is kept apart.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Tokens of model requests, by what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(default)]
    pub input: u64,
    #[serde(default)]
    pub output: u64,
    /// All tokens written into the cache, those of the next two fields included.
    #[serde(default)]
    pub cache_creation: u64,
    /// Of these, kept for five minutes; 0 when the model did not say.
    #[serde(default)]
    pub cache_creation_5m: u64,
    /// Of these, kept for an hour; 0 when the model did not say.
    #[serde(default)]
    pub cache_creation_1h: u64,
    #[serde(default)]
    pub cache_read: u64,
}

impl Tokens {
    /// Adds, and stays at the largest number instead of beginning anew.
    pub fn add(&mut self, other: &Tokens) {
        for (sum, more) in [
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.cache_creation, other.cache_creation),
            (&mut self.cache_creation_5m, other.cache_creation_5m),
            (&mut self.cache_creation_1h, other.cache_creation_1h),
            (&mut self.cache_read, other.cache_read),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Returns all tokens, read, written and cached.
    pub fn total(&self) -> u64 {
        [self.input, self.output, self.cache_creation, self.cache_read].into_iter().fold(0, u64::saturating_add)
    }
}

/// What one session of the agent has used of one model on one day, from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The agent's own session id.
    pub session: String,
    /// Used by a subagent of the session.
    #[serde(default)]
    pub subagent: bool,
    pub model: String,
    /// As the model's answer names it; empty when it does not.
    #[serde(default)]
    pub service_tier: String,
    /// Day in UTC.
    pub day: Date,
    /// Answers of the model.
    pub messages: u64,
    /// Prompts that these answers began with.
    pub turns: u64,
    pub tokens: Tokens,
}

impl Usage {
    fn is_about_the_same(&self, other: &Usage) -> bool {
        self.session == other.session
            && self.subagent == other.subagent
            && self.model == other.model
            && self.service_tier == other.service_tier
            && self.day == other.day
    }
}

/// Puts newer counts in the place of older ones about the same. Returns whether that changed anything. Counts only grow:
/// what a shortened or lost transcript seems to say is passed over.
pub fn take_in(known: &mut Vec<Usage>, measured: &[Usage]) -> bool {
    let mut changed = false;
    for new in measured {
        match known.iter_mut().find(|old| old.is_about_the_same(new)) {
            Some(old) if old.messages > new.messages || old == new => {}
            Some(old) => {
                old.clone_from(new);
                changed = true;
            }
            None => {
                known.push(new.clone());
                changed = true;
            }
        }
    }
    changed
}

/// Returns the sum of several.
pub fn sum<'a>(all: impl IntoIterator<Item = &'a Usage>) -> (Tokens, u64, u64) {
    all.into_iter().fold((Tokens::default(), 0, 0), |(mut tokens, messages, turns), one| {
        tokens.add(&one.tokens);
        (tokens, messages.saturating_add(one.messages), turns.saturating_add(one.turns))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(session: &str, day: i8, messages: u64, input: u64) -> Usage {
        Usage {
            session: session.into(),
            subagent: false,
            model: "m".into(),
            service_tier: String::new(),
            day: Date::constant(2026, 1, day),
            messages,
            turns: 1,
            tokens: Tokens { input, ..Tokens::default() },
        }
    }

    #[test]
    fn the_same_measurement_twice_counts_once_and_a_newer_one_replaces() {
        let mut known = Vec::new();
        assert!(take_in(&mut known, &[usage("a", 1, 1, 10), usage("a", 2, 1, 5)]));
        assert!(!take_in(&mut known, &[usage("a", 1, 1, 10), usage("a", 2, 1, 5)]));
        assert!(take_in(&mut known, &[usage("a", 1, 2, 30)]));
        assert!(take_in(&mut known, &[usage("b", 1, 1, 1)]));
        let (tokens, messages, turns) = sum(&known);
        assert_eq!((tokens.input, messages, turns), (36, 4, 3));
    }

    #[test]
    fn a_transcript_that_was_cut_takes_nothing_away() {
        let mut known = vec![usage("a", 1, 3, 30)];
        assert!(!take_in(&mut known, &[usage("a", 1, 1, 10)]));
        assert_eq!(known[0].tokens.input, 30);
    }

    #[test]
    fn sums_stay_at_the_largest_number() {
        let mut tokens = Tokens { input: u64::MAX, ..Tokens::default() };
        tokens.add(&Tokens { input: 1, output: 2, ..Tokens::default() });
        assert_eq!((tokens.input, tokens.output, tokens.total()), (u64::MAX, 2, u64::MAX));
    }
}
