//! What a shell knows at one place of a command: the folders that it may be in, variables, functions, aliases, its input.

use super::{tree::Node, value::Value, variables::Variables};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Most folders that a command may be in at one place; beyond it the folder counts as unknown.
const FOLDERS: usize = 8;

/// Folders that a shell may be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folders {
    Any(Vec<PathBuf>),
    Unknown,
}

impl Folders {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self::Any(vec![folder])
    }

    /// Returns the folder, when it can be only one.
    pub(super) fn only(&self) -> Option<&Path> {
        match self {
            Self::Any(folders) if folders.len() == 1 => folders.first().map(PathBuf::as_path),
            _ => None,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        let (Self::Any(mut all), Self::Any(more)) = (self, other) else { return Self::Unknown };
        for folder in more {
            if !all.contains(&folder) {
                all.push(folder);
            }
        }
        if all.len() > FOLDERS { Self::Unknown } else { Self::Any(all) }
    }
}

/// What a command reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Nothing that rules care for.
    Terminal,
    /// A heredoc or here-string.
    Text(Value),
    /// What another program writes, or a file.
    Other,
}

/// What a shell knows at one place.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    pub(super) folders: Folders,
    pub(super) variables: Variables,
    pub(super) functions: BTreeMap<String, Node>,
    pub(super) aliases: BTreeMap<String, String>,
    /// Functions and aliases that are being walked through.
    pub(super) active: BTreeSet<String>,
    pub(super) input: Input,
    /// git may read other settings than those of the session: other files, or without those of the environment.
    pub(super) git_settings_moved: bool,
}

/// Where the shell is after a command that succeeded, and after one that failed.
pub(super) struct Ends {
    pub(super) ok: Folders,
    pub(super) bad: Folders,
}

impl Ends {
    pub(super) fn both(folders: &Folders) -> Self {
        Self { ok: folders.clone(), bad: folders.clone() }
    }

    pub(super) fn either(self) -> Folders {
        self.ok.or(self.bad)
    }
}
