//! Title and message of a merge commit, from templates with placeholders. Deliberately absent: what the forge writes where there
//! is no template.

use super::pull_request::PullRequest;

/// Names that may stand in braces in a template.
pub const PLACEHOLDERS: [&str; 7] = ["title", "number", "body", "branch", "base", "author", "issue"];
/// Longest first line of a commit, in characters: forges cut longer ones.
const LONGEST_TITLE: usize = 250;
/// Longest message, in characters: more than anybody reads in a log.
const LONGEST_MESSAGE: usize = 20_000;

/// Returns the first name in braces that is no placeholder. Braces around anything but a word are left as they are.
pub fn unknown_placeholder(template: &str) -> Option<String> {
    pieces(template).find_map(|piece| match piece {
        Piece::Name(name) if !PLACEHOLDERS.contains(&name) => Some(name.to_owned()),
        _ => None,
    })
}

/// Fills in a title: one line.
pub fn title(template: &str, pull_request: &PullRequest, issue: Option<u64>) -> String {
    let filled = fill(template, pull_request, issue);
    let line = filled.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST_TITLE).collect()
}

/// Fills in a message.
pub fn message(template: &str, pull_request: &PullRequest, issue: Option<u64>) -> String {
    let filled = fill(template, pull_request, issue).replace('\r', "");
    filled.trim().chars().take(LONGEST_MESSAGE).collect()
}

/// A value is never looked into for placeholders: texts of issues cannot bring in others.
fn fill(template: &str, pull_request: &PullRequest, issue: Option<u64>) -> String {
    let mut text = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Name("title") => text.push_str(&pull_request.title),
            Piece::Name("number") => text.push_str(&pull_request.number.0.to_string()),
            Piece::Name("body") => text.push_str(&pull_request.body),
            Piece::Name("branch") => text.push_str(pull_request.head_branch.as_ref().map_or("", |name| name.as_str())),
            Piece::Name("base") => text.push_str(&pull_request.base_branch),
            Piece::Name("author") => text.push_str(pull_request.author.as_str()),
            Piece::Name("issue") => text.push_str(&issue.map(|number| number.to_string()).unwrap_or_default()),
            Piece::Name(unknown) => text.push_str(&format!("{{{unknown}}}")),
        }
    }
    text
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            && is_word(name)
        {
            rest = after;
            return Some(Piece::Name(name));
        }
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == '{').map_or(rest.len(), |(at, _)| at);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::{BranchName, Login, PullRequestNumber, Sha},
        issue::OpenOrClosed,
    };

    fn pull_request() -> PullRequest {
        PullRequest {
            number: PullRequestNumber(7),
            title: "fix: a {number}\nof things".into(),
            body: "Fixes #3\r\n\r\nWords.".into(),
            author: Login::new("dev-bot").unwrap(),
            state: OpenOrClosed::Open,
            merged: false,
            merge_commit: None,
            head: Sha::new("a".repeat(40)).unwrap(),
            head_branch: BranchName::new("fix/issue-3").ok(),
            same_repository: true,
            base_branch: "main".into(),
            mergeable: true,
            draft: false,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            url: String::new(),
        }
    }

    #[test]
    fn placeholders_are_filled_in_once_and_a_title_is_one_line() {
        let pull_request = pull_request();
        assert_eq!(title("{title} (#{number})", &pull_request, Some(3)), "fix: a {number} of things (#7)");
        let text = message("{body}\n\n{branch} into {base} by {author}, issue {issue}", &pull_request, Some(3));
        assert_eq!(text, "Fixes #3\n\nWords.\n\nfix/issue-3 into main by dev-bot, issue 3");
        assert_eq!(title("{issue}|{ not }|{}|{", &pull_request, None), "|{ not }|{}|{");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        assert_eq!(unknown_placeholder("{title} {tittle}").as_deref(), Some("tittle"));
        assert_eq!(unknown_placeholder("{number} {not a name} {"), None);
    }
}
