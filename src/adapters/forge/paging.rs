//! Whole lists out of pages, whatever the size of a page is and however the list moves meanwhile.
//!
//! A server may give fewer entries per page than it was asked for, may leave out the length of the list, and may drop entries
//! from a page after cutting it (reviews that others have not submitted). So the size of a page is taken from what came, never
//! from what was asked for, and the links that a server offers are not followed: they name hosts that need not be reachable.

use super::{
    answer::{self, Answer},
    http::{Api, Target},
    retry,
};
use crate::ports::forge::{ForgeError, ForgeResult, Listed, Unreadable};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::HashSet, hash::Hash};

/// Entries asked for per page: the most that forges give as they are delivered.
const PAGE_LIMIT: u64 = 50;
/// Pages of one list that are fetched at a time.
const PAGES_AT_ONCE: usize = 12;
/// Most pages of one list: 50,000 entries at the usual size. A longer one is an error, not a shorter list.
const MAX_PAGES: u64 = 1_000;
/// Characters of what is wrong with an entry that are kept.
const WHY_CAP: usize = 200;
/// Times that a list which changes while it is read is read from its beginning.
const ROUNDS: usize = 3;

/// A list of the API: where it is, how a page is taken apart, and what tells its entries apart.
pub(super) struct List<'a, T, K> {
    pub(super) api: &'a Api,
    pub(super) target: Target,
    pub(super) rows: fn(&Answer) -> ForgeResult<Vec<Row<T>>>,
    pub(super) key: fn(&T) -> K,
    /// Whether `X-Total-Count` is the length of the whole list here, where it is given at all.
    pub(super) total_is_trusted: bool,
}

/// An entry of a page.
pub(super) enum Row<T> {
    Entry(T),
    /// Forges say `null` for an entry that they cannot show.
    Null,
    Unreadable(Unreadable),
}

struct Page<T> {
    rows: Vec<Row<T>>,
    total: Option<u64>,
}

/// Returns the entries of a page that is a plain list. Forges say `null` for an empty list.
pub(super) fn plain_rows<T: DeserializeOwned>(answer: &Answer) -> ForgeResult<Vec<Row<T>>> {
    let whole = match answer.json::<Option<Vec<Option<T>>>>() {
        Ok(rows) => rows.unwrap_or_default(),
        Err(error) => return one_by_one(answer, error),
    };
    Ok(whole.into_iter().map(|row| row.map_or(Row::Null, Row::Entry)).collect())
}

/// Takes a page apart entry by entry: one that is not what it should be is told from the others.
fn one_by_one<T: DeserializeOwned>(answer: &Answer, error: ForgeError) -> ForgeResult<Vec<Row<T>>> {
    let Ok(rows) = answer.json::<Vec<Value>>() else { return Err(error) };
    let row = |value: Value| {
        let number = value["number"].as_u64();
        match serde_json::from_value::<Option<T>>(value) {
            Ok(entry) => entry.map_or(Row::Null, Row::Entry),
            Err(error) => Row::Unreadable(Unreadable { number, why: answer::bounded(&error.to_string(), WHY_CAP) }),
        }
    };
    Ok(rows.into_iter().map(row).collect())
}

impl<T> Row<T> {
    /// Takes an entry that lacks what it must have for one that cannot be read.
    pub(super) fn checked(self, is_whole: impl Fn(&T) -> bool, lack: &str) -> Self {
        match self {
            Self::Entry(entry) if !is_whole(&entry) => {
                Self::Unreadable(Unreadable { number: None, why: lack.to_owned() })
            }
            row => row,
        }
    }

    /// Takes `null` for an entry that cannot be read.
    pub(super) fn not_null(self) -> Self {
        match self {
            Self::Null => Self::Unreadable(Unreadable { number: None, why: "it is null".to_owned() }),
            row => row,
        }
    }
}

impl<T, K: Hash + Eq> List<'_, T, K> {
    /// Returns all entries, each once, in the order of the server; an unreadable one is an error.
    pub(super) async fn all(&self) -> ForgeResult<Vec<T>> {
        let Listed { items, unreadable } = self.readable().await?;
        match unreadable.first() {
            Some(one) => Err(self.garbled(format!("an entry cannot be read: {}", one.why))),
            None => Ok(items),
        }
    }

    /// Returns all entries that can be read, each once, in the order of the server, and what is wrong with the others.
    pub(super) async fn readable(&self) -> ForgeResult<Listed<T>> {
        for _ in 0..ROUNDS {
            if let Some(entries) = self.walk().await? {
                return Ok(entries);
            }
        }
        Err(self.garbled("the list kept changing while it was read"))
    }

    /// Reads the list once; `None` when it was seen to change meanwhile, so that an entry may have slipped through.
    async fn walk(&self) -> ForgeResult<Option<Listed<T>>> {
        let first = self.page(1).await?;
        match first.total {
            Some(total) => self.walk_counted(first, total).await,
            None => self.walk_to_the_end(first).await.map(Some),
        }
    }

    async fn walk_counted(&self, first: Page<T>, total: u64) -> ForgeResult<Option<Listed<T>>> {
        let mut largest = first.rows.len() as u64;
        let mut gathered = Gathered::new(self.key);
        gathered.add(first.rows);
        let mut read = 1;
        loop {
            // No page is larger than the largest seen, so this many pages hold the whole list, whatever was dropped from them.
            let wanted = if gathered.seen >= total { read } else { total.div_ceil(largest.max(1)) };
            if wanted <= read {
                return Ok((gathered.seen == gathered.kept_and_not()).then(|| gathered.listed()));
            }
            if wanted > MAX_PAGES {
                return Err(self.too_long(wanted));
            }
            // Without a single entry yet, the size of a page is unknown: one page at a time.
            let until = if largest == 0 { read + 1 } else { wanted };
            let pages: Vec<Page<T>> = stream::iter(read + 1..=until)
                .map(|number| self.page(number))
                .buffered(PAGES_AT_ONCE)
                .try_collect()
                .await?;
            read = until;
            for page in pages {
                if page.total.is_some_and(|now| now != total) {
                    return Ok(None);
                }
                largest = largest.max(page.rows.len() as u64);
                gathered.add(page.rows);
            }
        }
    }

    /// Goes on page by page until one is empty or repeats what is known (a server that does not page this list).
    async fn walk_to_the_end(&self, first: Page<T>) -> ForgeResult<Listed<T>> {
        let mut gathered = Gathered::new(self.key);
        let (mut page, mut number) = (first, 1);
        while gathered.add(page.rows) {
            number += 1;
            if number > MAX_PAGES {
                return Err(self.too_long(number));
            }
            page = self.page(number).await?;
        }
        Ok(gathered.listed())
    }

    async fn page(&self, number: u64) -> ForgeResult<Page<T>> {
        let target = self.target.clone().query("page", number).query("limit", PAGE_LIMIT);
        retry::read(self.api.timing(), || async {
            let answer = self.api.send(&Method::GET, &target, None).await?;
            let rows = (self.rows)(&answer)?;
            Ok(Page { rows, total: answer.total.filter(|_| self.total_is_trusted) })
        })
        .await
    }

    fn too_long(&self, pages: u64) -> ForgeError {
        self.garbled(format!("the list has {pages} or more pages; at most {MAX_PAGES} are read"))
    }

    fn garbled(&self, message: impl Into<String>) -> ForgeError {
        ForgeError::Garbled { request: self.target.label(&Method::GET), message: message.into() }
    }
}

/// Entries so far, each once.
struct Gathered<T, K> {
    key: fn(&T) -> K,
    keys: HashSet<K>,
    entries: Vec<T>,
    nulls: u64,
    unreadable: Vec<Unreadable>,
    /// Rows that came, repeated, null and unreadable ones included.
    seen: u64,
}

impl<T, K: Hash + Eq> Gathered<T, K> {
    fn new(key: fn(&T) -> K) -> Self {
        Self { key, keys: HashSet::new(), entries: Vec::new(), nulls: 0, unreadable: Vec::new(), seen: 0 }
    }

    /// Takes in a page; returns whether it brought anything new.
    fn add(&mut self, rows: Vec<Row<T>>) -> bool {
        let before = self.entries.len();
        let mut no_entry = !rows.is_empty();
        for row in rows {
            self.seen += 1;
            match row {
                Row::Null => self.nulls += 1,
                Row::Unreadable(one) => self.unreadable.push(one),
                Row::Entry(entry) => {
                    no_entry = false;
                    if self.keys.insert((self.key)(&entry)) {
                        self.entries.push(entry);
                    }
                }
            }
        }
        no_entry || self.entries.len() > before
    }

    fn kept_and_not(&self) -> u64 {
        self.entries.len() as u64 + self.nulls + self.unreadable.len() as u64
    }

    /// A server that does not page repeats everything on each page.
    fn listed(mut self) -> Listed<T> {
        self.unreadable.sort_by_key(|one| one.number);
        self.unreadable.dedup();
        Listed { items: self.entries, unreadable: self.unreadable }
    }
}
