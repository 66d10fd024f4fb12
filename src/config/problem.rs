//! What is wrong with a file of the configuration: where, what, and what to do about it. Values of secrets never enter here.

use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Line and column of a place in a file, from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Returns the place of a byte offset; an offset beyond the end is the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// One thing that is wrong in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Lower-case fragment.
    pub message: String,
    /// What the user can do; empty when the message says it all.
    pub hint: String,
}

impl Problem {
    pub fn new(file: &Path, place: Option<Place>, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place, message: message.to_string(), hint: String::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = hint.to_string();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with one project's file; the project cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectProblem {
    /// The project's name as far as it is known, else the stem of its file.
    pub project: String,
    /// Never empty, in the order of the file.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ProjectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
            if !problem.hint.is_empty() {
                write!(f, " ({})", problem.hint)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nbü = x\n";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, 7), Place { line: 2, column: 5 });
        assert_eq!(Place::of(text, 999), Place { line: 3, column: 1 });
    }
}
