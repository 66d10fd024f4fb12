//! Errors as people see them: what failed and on what, a hint where they can act, and an exit code that scripts can use.

use std::{fmt, process::ExitCode};

/// Exit codes; they are an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Ok = 0,
    /// The user's input or configuration is wrong.
    User = 1,
    /// The command line is wrong.
    Usage = 2,
    /// An outside service failed.
    Outside = 3,
    /// rig itself is at fault.
    Internal = 70,
    /// A lock is held by another process.
    Held = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A command's failure.
#[derive(Debug, Clone)]
pub struct Failure {
    pub exit: Exit,
    /// Lower-case fragment without a full stop.
    pub message: String,
    /// What the user can do about it; empty when nothing.
    pub hint: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: String::new() }
    }

    pub fn user(message: impl fmt::Display) -> Self {
        Self::new(Exit::User, message)
    }

    pub fn outside(message: impl fmt::Display) -> Self {
        Self::new(Exit::Outside, message)
    }

    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = hint.to_string();
        self
    }

    /// Puts what was being done before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
