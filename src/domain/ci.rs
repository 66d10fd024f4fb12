//! The verdict of CI on one commit.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStep {
    pub name: String,
    pub exit_code: Option<i32>,
    /// End of the log, bounded, without control sequences, redacted; empty when no log is to be had.
    pub log_tail: String,
    /// Page or file for people; empty when there is none.
    pub link: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiVerdict {
    /// Not all required checks have answered; what is missing, in words.
    Pending {
        missing: Vec<String>,
    },
    Green,
    /// The code is at fault.
    Red {
        steps: Vec<FailedStep>,
    },
    /// The machinery is at fault: tried again later, costs no fix attempt.
    Broken {
        why: String,
    },
}
