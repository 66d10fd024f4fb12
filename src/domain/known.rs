//! A fact that may be unknown, because a fetch failed, was cut short, or made no sense.
//! Whoever decides has to look at both cases; there is deliberately no way to take a default for an unknown fact.

use serde::{Deserialize, Serialize};

/// A fact, or why it is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known<T> {
    Known(T),
    /// What failed, as a lower-case fragment for people.
    Unknown(String),
}

impl<T> Known<T> {
    /// Returns an unknown fact.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }

    /// Returns the same fact, borrowed.
    pub fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Known(fact) => Known::Known(fact),
            Self::Unknown(why) => Known::Unknown(why.clone()),
        }
    }

    /// Returns what `change` makes of the fact; an unknown one stays unknown for the same reason.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Known(fact) => Known::Known(change(fact)),
            Self::Unknown(why) => Known::Unknown(why),
        }
    }

    /// Returns the fact when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::Unknown(_) => None,
        }
    }

    /// Returns why the fact is unknown.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Known<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(fact) => Self::Known(fact),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}
