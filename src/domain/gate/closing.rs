//! The closing keywords of forges: which issues a pull request says it closes.
//! As on the forges each issue needs a keyword of its own, and issues of other repositories are no concern of ours.

use crate::domain::{
    ids::IssueNumber,
    prose::{plain, prose, reference_at},
};
use regex::Regex;
use std::sync::LazyLock;

static KEYWORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:^|[^\w/#-])(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?:[ \t]*:[ \t]*|[ \t]+)#")
        .expect("the pattern is a literal")
});

/// Returns the issues that a text says it closes, sorted, each once. Code, quotes and comments say nothing.
pub fn closed_issues(body: &str) -> Vec<IssueNumber> {
    let text = plain(&prose(body));
    let mut issues: Vec<IssueNumber> = KEYWORD
        .find_iter(&text)
        .filter_map(|keyword| reference_at(&text, keyword.end() - 1))
        .map(|(number, _)| number)
        .collect();
    issues.sort();
    issues.dedup();
    issues
}

/// Returns whether a text says that it closes the issue.
pub fn closes_issue(body: &str, number: IssueNumber) -> bool {
    closed_issues(body).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_keywords_of_forges_close() {
        for body in [
            "Closes #4",
            "closes #4.",
            "close #4",
            "closed #4",
            "Fix #4",
            "FIXES #4",
            "fixed #4",
            "resolve #4",
            "Resolves: #4",
            "resolved:#4",
            "Fixes : #4",
            "(fixes #4)",
            "A change.\n\nFixes #4\n",
            "- fixes #4",
            "**Fixes** #4",
            "Fixes **#4**",
            "Fixes [#4](https://example.org/4)",
            "`x` closes #4",
            "Closes #1, closes #4",
            "<!-- note --> Fixes #4",
        ] {
            assert!(closes_issue(body, IssueNumber(4)), "{body:?}");
        }
    }

    #[test]
    fn other_words_do_not_close() {
        for body in [
            "",
            "#4",
            "See #4",
            "closing #4",
            "fixing #4",
            "Fixes #41",
            "Fixes #4a",
            "Fixes other/repo#4",
            "Fixes issue #4",
            "Fixes\n#4",
            "prefixes #4",
            "hot-fix #4",
            "Closes #1, #4",
            "`Fixes #4`",
            "```\nFixes #4\n```",
            "> Fixes #4",
            "<!-- Fixes #4 -->",
            "~~Fixes #4~~",
            "Fixes \\#4",
            "Refs #4",
        ] {
            assert!(!closes_issue(body, IssueNumber(4)), "{body:?}");
        }
    }

    #[test]
    fn all_closed_issues_are_named_once_in_order() {
        assert_eq!(closed_issues("Fixes #9, closes #2 and fixes #9"), [IssueNumber(2), IssueNumber(9)]);
    }
}
