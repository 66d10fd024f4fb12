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
    /// Forges show pull requests as issues, too.
    #[serde(default)]
    pub is_pull_request: bool,
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

impl Comment {
    /// Returns what the comment says to an account that it begins by addressing: `@name`, and no longer name.
    pub fn said_to(&self, login: &Login) -> Option<&str> {
        let (name, body) = (login.as_str(), self.body.trim().strip_prefix('@')?);
        let (addressed, rest) = (body.get(..name.len())?, body.get(name.len()..)?);
        // A name may hold these, and does not end in one.
        let goes_on =
            rest.trim_start_matches(['-', '_', '.', '[', ']']).starts_with(|c: char| c.is_ascii_alphanumeric());
        let says = rest.trim_start_matches([':', ',']).trim();
        (addressed.eq_ignore_ascii_case(name) && !goes_on).then_some(says)
    }
}

/// An issue that another waits for by the forge's own dependency links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyLink {
    pub number: IssueNumber,
    /// `owner/name` of the repository that the issue is in.
    pub repository: String,
    pub state: OpenOrClosed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_said_to_the_account_that_it_names_and_to_no_longer_name() {
        let said = |body: &str| {
            let author = Login::new("ann").unwrap();
            let comment = Comment { id: 1, author, body: body.to_owned(), created_at: Timestamp::UNIX_EPOCH };
            comment.said_to(&Login::new("dev-bot").unwrap()).map(str::to_owned)
        };
        for body in ["@dev-bot yes", " @Dev-Bot: yes", "@dev-bot, yes\n", "@dev-bot\nyes", "@dev-bot : yes"] {
            assert_eq!(said(body).unwrap().trim_start_matches([':', ' ']), "yes", "{body}");
        }
        for body in ["@dev-bot", "@dev-bot.", "@dev-bot -- yes", "@dev-bot\u{4f60}"] {
            assert!(said(body).is_some(), "{body}");
        }
        for body in [
            "@dev-bot2 yes",
            "@dev-bot-2: yes",
            "@dev-bot.ann",
            "@dev-bots",
            "@dev-bot[bot] yes",
            "@dev",
            "dev-bot yes",
            "to @dev-bot",
            "@",
        ] {
            assert_eq!(said(body), None, "{body}");
        }
    }
}
