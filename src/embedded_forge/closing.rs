//! Closing keywords (`Fixes #3`): which issues a merge closes.

use super::{dependencies, error::ApiResult, issues};
use regex::Regex;
use sqlx::{Row, SqliteConnection};
use std::sync::LazyLock;

static KEYWORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?im)(?:^|[\s(\[])(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})(?:$|[\s)\],.;:!?])")
        .expect("the pattern is a constant that a test compiles")
});

/// Returns the numbers of the issues that a text closes, in order, each once.
pub(super) fn numbers(text: &str) -> Vec<i64> {
    let mut found = Vec::new();
    let mut at = 0;
    // The character behind one number may be the one before the next keyword, so each search begins at it.
    while let Some(captures) = KEYWORD.captures_at(text, at) {
        if let Some(number) = captures.get(1) {
            at = number.end();
            if let Ok(number) = number.as_str().parse()
                && !found.contains(&number)
            {
                found.push(number);
            }
        }
    }
    found
}

/// Closes these issues; one that is closed, unknown, a pull request, or waits for an open one stays as it is.
pub(super) async fn close(db: &mut SqliteConnection, repository: i64, numbers: &[i64]) -> ApiResult<()> {
    for number in numbers {
        let query =
            sqlx::query("SELECT id FROM issues WHERE repository = ?1 AND number = ?2 AND NOT is_pull AND NOT closed");
        if let Some(row) = query.bind(repository).bind(number).fetch_optional(&mut *db).await? {
            let issue = row.get("id");
            if !dependencies::has_open(db, issue).await? {
                issues::set_closed(db, issue, true).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn keywords_before_a_number_close() {
        assert_eq!(numbers("Fixes #1\ncloses: #2, resolves #3. (fix #4)"), [1, 2, 3, 4]);
        assert_eq!(numbers("Closed #7 fixed #7"), [7]);
    }

    #[test]
    fn anything_else_does_not() {
        for text in ["#1", "see #1", "prefix #1", "fixes other/repo#1", "fixes #1a", "fixes 1", "fixes#1"] {
            assert!(numbers(text).is_empty(), "{text}");
        }
    }
}
