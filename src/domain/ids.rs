//! Names and numbers of things, checked once where they enter, so that the rest of the program never sees a wrong one.
//! Owns their text forms. Deliberately absent: how ids are made (that needs a clock and chance, see the adapters).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The text given is not a valid name, number or id of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    pub text: String,
    pub expected: &'static str,
}

/// Declares a newtype over `String` that can be built only from text that `check` accepts.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the value when `text` has the form that this type stands for.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidId { text, expected: $expected }) }
            }

            /// Returns the text form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Declares a newtype over an unsigned integer.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix('#')
                    .unwrap_or(text)
                    .parse()
                    .map(Self)
                    .map_err(|_| InvalidId { text: text.to_owned(), expected: "a whole number" })
            }
        }
    };
}

text_id!(
    /// Name of a project: its TOML's `name`; used in paths and tmux names.
    ProjectName,
    "a project name (1 to 63 of a-z, 0-9, `-`, `_`, beginning with a letter or digit)",
    |text| {
        (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    }
);
text_id!(
    /// Full object id of a git commit: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
    Sha,
    "a full commit id (40 or 64 lower-case hex digits)",
    |text| {
        (text.len() == 40 || text.len() == 64)
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
);
text_id!(
    /// Id of a run: a ULID, so that ids sort by the time of the claim.
    RunId,
    "a run id (a ULID: 26 characters of Crockford's base 32)",
    |text| text.len() == 26 && text.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b))
);
text_id!(
    /// Name of a git branch, without `refs/heads/`, of the forms that git itself accepts.
    BranchName,
    "a branch name",
    is_branch_name
);
text_id!(
    /// Account name on the forge.
    Login,
    "an account name (1 to 255 letters, digits, `-`, `_`, `.`, `[`, `]`)",
    |text| {
        (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.[]".contains(&b))
    }
);

number_id!(
    /// Number of an issue on its forge.
    IssueNumber,
    u64,
    "#"
);
number_id!(
    /// Number of a pull request on its forge.
    PullRequestNumber,
    u64,
    "#"
);
number_id!(
    /// Which start of a session within a run this is, from 1; a fencing token.
    Attempt,
    u32,
    ""
);
number_id!(
    /// Position of an event within its run's stream, from 1; 0 means no event yet.
    Seq,
    u64,
    ""
);

impl Sha {
    /// Returns the first ten digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl Seq {
    /// Returns the position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Attempt {
    /// Returns the attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Login {
    /// Returns whether both name one account; forges compare account names without regard to case.
    pub fn is(&self, other: &Login) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// Id of an ordered effect: the event that ordered it and its place among that event's effects. The idempotency key of
/// the effect wherever it acts: comment markers, inbox file names, transaction ids. Text form `RUN-SEQ-INDEX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EffectId {
    pub run: RunId,
    pub seq: Seq,
    pub index: u16,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.run, self.seq, self.index)
    }
}

impl FromStr for EffectId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let mut parts = text.split('-');
            let id = Self {
                run: RunId::new(parts.next()?).ok()?,
                seq: Seq(parts.next()?.parse().ok()?),
                index: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(id)
        };
        parse().ok_or_else(|| InvalidId { text: text.to_owned(), expected: "an effect id (RUN-SEQ-INDEX)" })
    }
}

impl TryFrom<String> for EffectId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<EffectId> for String {
    fn from(id: EffectId) -> String {
        id.to_string()
    }
}

/// Owner and name of a repository on a forge; text form `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryPath {
    pub owner: String,
    pub name: String,
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepositoryPath {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        match text.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidId { text: text.to_owned(), expected: "a repository (`owner/name`)" }),
        }
    }
}

impl TryFrom<String> for RepositoryPath {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RepositoryPath> for String {
    fn from(path: RepositoryPath) -> String {
        path.to_string()
    }
}

/// The rules of `git check-ref-format --branch`, for names without `@{...}` shorthand.
fn is_branch_name(text: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || c == '\x7f' || " ~^:?*[\\".contains(c);
    !text.is_empty()
        && text.len() <= 200
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with(['/', '.'])
        && !text.contains("..")
        && !text.contains("@{")
        && !text.contains(forbidden)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_or_become_an_option_are_refused() {
        for bad in ["", "..", "a/b", "-x", "A", "a b", "a.b", "x\n", &"a".repeat(64)] {
            assert!(ProjectName::new(bad).is_err(), "{bad:?}");
        }
        for bad in
            ["", "-d", "a..b", "a b", ".a", "a/.b", "a.lock", "a//b", "/a", "a/", "a.", "@", "a@{b", "a\\b", "a~1"]
        {
            assert!(BranchName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["main", "fix/issue-1", "fix/issue-1-2", "@x", "a.b", "ä"] {
            assert!(BranchName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn effect_ids_survive_their_text_form() {
        let run = RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let id = EffectId { run, seq: Seq(7), index: 2 };
        assert_eq!(id.to_string().parse::<EffectId>().unwrap(), id);
        for bad in ["", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV-1", "01ARZ3NDEKTSV4RRFFQ69G5FAV-1-2-3"] {
            assert!(bad.parse::<EffectId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repository_paths_have_exactly_two_plain_parts() {
        assert!("acme/widget".parse::<RepositoryPath>().is_ok());
        for bad in ["acme", "a/b/c", "/b", "a/", "../b", "a/..", "a b/c"] {
            assert!(bad.parse::<RepositoryPath>().is_err(), "{bad:?}");
        }
    }
}
