//! Values as the tables hold them, and rows read back with a report that names the damaged one.

use crate::ports::store::{StoreError, StoreResult};
use jiff::Timestamp;
use sqlx::{Row, sqlite::SqliteRow};
use std::{fmt::Display, str::FromStr};

/// Returns a time as text that sorts: UTC, nine digits below the second, always of one length.
pub(super) fn time_text(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Returns an unsigned number as SQLite's signed one.
pub(super) fn integer(number: u64) -> StoreResult<i64> {
    i64::try_from(number)
        .map_err(|_| StoreError::Failed { message: format!("the number {number} is too large to be stored") })
}

/// One row of a table, to be read column by column.
pub(super) struct Record<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    position: i64,
}

impl<'r> Record<'r> {
    /// Wraps a row whose query names its row id `position`.
    pub(super) fn new(table: &'static str, row: &'r SqliteRow) -> StoreResult<Self> {
        let position = row
            .try_get("position")
            .map_err(|error| StoreError::Failed { message: format!("a row of {table} has no position: {error}") })?;
        Ok(Self { row, table, position })
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }

    pub(super) fn text(&self, column: &str) -> StoreResult<String> {
        self.row.try_get(column).map_err(|error| self.damaged(column, error))
    }

    fn optional_text(&self, column: &str) -> StoreResult<Option<String>> {
        self.row.try_get(column).map_err(|error| self.damaged(column, error))
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, column: &str) -> StoreResult<T> {
        self.optional_number(column)?.ok_or_else(|| self.damaged(column, "it is empty"))
    }

    pub(super) fn optional_number<T: TryFrom<i64>>(&self, column: &str) -> StoreResult<Option<T>> {
        let number: Option<i64> = self.row.try_get(column).map_err(|error| self.damaged(column, error))?;
        let out_of_range = |number| self.damaged(column, format!("{number} is out of range"));
        number.map(|number| T::try_from(number).map_err(|_| out_of_range(number))).transpose()
    }

    pub(super) fn flag(&self, column: &str) -> StoreResult<bool> {
        Ok(self.number::<i64>(column)? != 0)
    }

    /// Reads a column whose text form is checked by its type: an id, a name, a time.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, column: &str) -> StoreResult<T> {
        self.text(column)?.parse().map_err(|error| self.damaged(column, error))
    }

    pub(super) fn optional_parsed<T: FromStr<Err: Display>>(&self, column: &str) -> StoreResult<Option<T>> {
        let text = self.optional_text(column)?;
        text.map(|text| text.parse().map_err(|error| self.damaged(column, error))).transpose()
    }

    pub(super) fn json(&self, column: &str) -> StoreResult<serde_json::Value> {
        serde_json::from_str(&self.text(column)?).map_err(|error| self.damaged(column, error))
    }

    fn damaged(&self, column: &str, why: impl Display) -> StoreError {
        StoreError::Damaged { position: self.position, message: format!("{}.{column}: {why}", self.table) }
    }
}

/// Reads every row by `read`; the first damaged one fails all.
pub(super) fn read_all<T>(
    table: &'static str,
    rows: &[SqliteRow],
    read: impl Fn(&Record<'_>) -> StoreResult<T>,
) -> StoreResult<Vec<T>> {
    rows.iter().map(|row| read(&Record::new(table, row)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_text_and_survive_it() {
        let times: Vec<Timestamp> = [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000000001Z",
            "2026-01-02T03:04:05.1Z",
            "2026-01-02T03:04:06Z",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let texts: Vec<String> = times.iter().copied().map(time_text).collect();
        assert_eq!(texts[0], "2026-01-02T03:04:05.000000000Z");
        assert!(texts.is_sorted());
        assert_eq!(texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Timestamp>>(), times);
    }

    #[test]
    fn numbers_beyond_the_signed_range_are_refused() {
        assert_eq!(integer(i64::MAX as u64).unwrap(), i64::MAX);
        assert!(integer(1 << 63).is_err());
    }
}
