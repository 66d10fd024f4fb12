//! Takes secrets out of text on its way to a log, a comment, a notice or a person: values that are known, in every form in which
//! programs print them, and values whose shape or context gives them away. When in doubt a word too much goes, but commit ids,
//! plain URLs and ordinary sentences stay. Deliberately absent: where secrets come from.

mod known;
mod shapes;
mod wrapped;

use std::{borrow::Cow, fmt};

/// What stands where a secret stood.
pub const MARKER: &str = "[redacted]";

/// Shorter values are not searched for: they would be found everywhere, and they keep nothing secret.
const SHORTEST_SECRET: usize = 6;

/// What one pass takes away can show the next one more; texts that are not made for it need two.
const MOST_PASSES: usize = 8;

/// A secret as text, which does not show itself in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Redacts text. Applying it again changes nothing more.
#[derive(Debug, Default)]
pub struct Redactor {
    known: Vec<known::KnownSecret>,
}

impl Redactor {
    /// Returns a redactor of these values and of all known shapes. Values of fewer than six characters are left out.
    pub fn new(known: impl IntoIterator<Item = SecretText>) -> Self {
        let mut values: Vec<String> = known.into_iter().flat_map(|secret| searched_values(secret.expose())).collect();
        // The longest first: a value may be part of another.
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { known: values.iter().map(|value| known::KnownSecret::new(value)).collect() }
    }

    /// Returns the text without secrets; the same text when there were none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..MOST_PASSES {
            let redacted = self.pass(&text);
            if redacted == text {
                break;
            }
            text = Cow::Owned(redacted.into_owned());
        }
        text
    }

    /// Returns the text of a terminal's screen without secrets, those that the terminal has wrapped among them.
    pub fn redact_screen<'t>(&self, screen: &'t str) -> Cow<'t, str> {
        match wrapped::redact(screen, &self.known) {
            Cow::Borrowed(screen) => self.redact(screen),
            Cow::Owned(unwrapped) => Cow::Owned(self.redact(&unwrapped).into_owned()),
        }
    }

    /// Returns the beginning of a text without secrets. Cut first, a secret at the end would leave a part that nobody knows.
    pub fn redact_and_cut(&self, text: &str, chars: usize) -> String {
        self.redact(text).chars().take(chars).collect()
    }

    fn pass<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.known {
            replace(&mut text, |text| secret.redact(text));
        }
        shapes::redact(text)
    }
}

/// Returns the value itself, and each long line of one that has several: logs print those apart.
fn searched_values(secret: &str) -> Vec<String> {
    const SHORTEST_LINE: usize = 16;
    let whole = secret.trim();
    let mut values = vec![whole];
    if whole.contains('\n') {
        values.extend(whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE));
    }
    let searched = |value: &&str| value.chars().count() >= SHORTEST_SECRET && !MARKER.contains(*value);
    values.into_iter().filter(searched).map(str::to_owned).collect()
}

/// Applies one step, keeping the borrowed text when it changes nothing.
fn replace(text: &mut Cow<'_, str>, step: impl for<'a> Fn(&'a str) -> Cow<'a, str>) {
    if let Cow::Owned(changed) = step(text) {
        *text = Cow::Owned(changed);
    }
}
