//! What a review finds, in a form in which two reviews can be compared: by place and text, whatever the line has become, and
//! however the words are set.

use super::pull_request::Review;
use regex::Regex;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::LazyLock};

/// Bytes of a finding's digest: enough that two findings of a run never share one.
const DIGEST_BYTES: usize = 12;

/// Comments that people do not see, such as the marker of a review, and the words of a marked verdict.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?is)<!--.*?-->|\*\*\s*(?:approve|request_changes|discuss)\s*\*\*").expect("the pattern is a literal")
});
/// How lines are named: `line 12`, `lines 3-9`, `L12`, `main.rs:12:4`.
static LINE_NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:lines?\s+|l)\d+(?:\s*[-–]\s*l?\d+)?\b|(\w):\d+(?::\d+)?\b").expect("the pattern is a literal")
});

/// Returns the findings of a review as digests: of its own text, and of each remark in it with its path. Empty for a review
/// that says nothing.
pub fn findings(review: &Review) -> BTreeSet<String> {
    let own = ("", review.body.as_str());
    let unresolved = review.comments.iter().filter(|comment| !comment.resolved);
    let remarks = unresolved.map(|comment| (comment.path.as_str(), comment.body.as_str()));
    std::iter::once(own).chain(remarks).filter_map(|(path, text)| digest(path, text)).collect()
}

fn digest(path: &str, text: &str) -> Option<String> {
    let text = normal(text);
    if text.is_empty() {
        return None;
    }
    let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(text).finalize();
    Some(digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect())
}

fn normal(text: &str) -> String {
    let text = INVISIBLE.replace_all(text, " ").to_lowercase();
    let text = LINE_NUMBERS.replace_all(&text, "$1");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::Login,
        pull_request::{InlineComment, Verdict},
    };

    fn review(body: &str, remarks: &[(&str, u64, &str, bool)]) -> Review {
        Review {
            id: 1,
            reviewer: Login::new("ann").expect("a login"),
            verdict: Verdict::ChangesRequested,
            commit: None,
            body: body.into(),
            comments: remarks
                .iter()
                .map(|(path, line, body, resolved)| InlineComment {
                    path: (*path).into(),
                    line: *line,
                    body: (*body).into(),
                    resolved: *resolved,
                })
                .collect(),
            stale: false,
            official: true,
            dismissed: false,
            submitted_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn of(body: &str) -> BTreeSet<String> {
        findings(&review(body, &[]))
    }

    #[test]
    fn the_same_words_are_the_same_finding_however_they_are_set() {
        for (one, other) in [
            ("Handle the error", "handle  the\r\nERROR "),
            ("Line 12: unwrap", "line 40: unwrap"),
            ("lines 3-9 repeat", "Lines 13 - 19 repeat"),
            ("see src/a.rs:12", "see src/a.rs:99:4"),
            ("L3-L9 repeat", "L30-L90 repeat"),
            ("Fix it", "<!-- reviewed: abc -->\n**REQUEST_CHANGES**\n\nfix it"),
        ] {
            assert_eq!(of(one), of(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn other_words_and_other_numbers_are_other_findings() {
        for (one, other) in [
            ("Handle the error", "Handle the errors"),
            ("at most 3 retries", "at most 5 retries"),
            ("exit code 1", "exit code 2"),
            ("see src/a.rs:12", "see src/b.rs:12"),
        ] {
            assert_ne!(of(one), of(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_remark_is_told_by_its_path_and_not_by_its_line() {
        let with = |path, line| findings(&review("", &[(path, line, "Unwrap.", false)]));
        assert_eq!(with("a", 3), with("a", 30));
        assert_ne!(with("a", 3), with("b", 3));
    }

    #[test]
    fn what_is_resolved_or_empty_is_no_finding() {
        assert!(of(" \n").is_empty() && of("<!-- reviewed: abc -->\n**APPROVE**").is_empty());
        assert!(findings(&review("", &[("a", 3, "Unwrap.", true)])).is_empty());
    }
}
