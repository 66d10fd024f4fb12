//! An issue and what is said on it, as rig sees them, whatever the forge.

use super::ids::{IssueNumber, Login};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenOrClosed {
    Open,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    pub number: IssueNumber,
    pub title: String,
    pub body: String,
    /// Names of the labels, as the forge spells them.
    pub labels: Vec<String>,
    pub state: OpenOrClosed,
    pub author: Login,
    pub assignees: Vec<Login>,
    pub created_at: Timestamp,
    /// The page for people.
    pub url: String,
}

impl Issue {
    /// Returns whether the issue carries the label, compared as forges do, without regard to case.
    pub fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label.eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub id: u64,
    pub author: Login,
    pub body: String,
    pub created_at: Timestamp,
}

/// An issue that another waits for by the forge's own dependency links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyLink {
    pub number: IssueNumber,
    /// `owner/name` of the repository that the issue is in.
    pub repository: String,
    pub state: OpenOrClosed,
}
