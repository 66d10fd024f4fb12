//! A word as far as it is known before it runs.

/// A word's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// The text; of one that is not known as a whole, the part before what is not known.
    pub(super) text: String,
    pub(super) known: bool,
    /// It has `*`, `?` or `[` that the shell expands.
    pub(super) glob: bool,
    /// It has a `:` behind what is not known.
    pub(super) maps: bool,
}

impl Value {
    pub(super) fn literal(text: impl Into<String>) -> Self {
        Self { text: text.into(), known: true, glob: false, maps: false }
    }

    pub(super) fn unknown(prefix: impl Into<String>) -> Self {
        Self { text: prefix.into(), known: false, glob: false, maps: false }
    }

    /// Returns the text when it is known as a whole and stands for itself.
    pub(super) fn plain(&self) -> Option<&str> {
        (self.known && !self.glob).then_some(self.text.as_str())
    }

    /// Returns whether it is known not to be an option: whatever follows does not change its first character.
    pub(super) fn is_option(&self) -> bool {
        self.text.starts_with('-') && self.text.len() > 1
    }

    /// Returns it as it is shown to the agent.
    pub(super) fn shown(&self) -> String {
        let shown: String = self.text.chars().take(80).collect();
        if self.known { shown } else { format!("{shown}$...") }
    }

    /// Returns what stands behind a prefix, as a value of its own.
    pub(super) fn after(&self, prefix: &str) -> Option<Self> {
        let rest = self.text.strip_prefix(prefix)?;
        Some(Self { text: rest.to_owned(), ..self.clone() })
    }
}

/// Returns the last component of a program's name.
pub(super) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
