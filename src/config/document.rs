//! Reads the text of a project file against the schema: every value with its place, every unknown key with the nearest known
//! one. Knows nothing of defaults, variables, or how keys belong together.

use super::{
    kind::{Reader, quoted},
    problem::{Place, Problem},
    schema::{self, KEYS, Key},
    value::Value,
};
use std::{collections::BTreeMap, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// How alike two names must be (0 to 1) for one to be offered in the place of the other.
const ALIKE: f64 = 0.55;
/// Most mistakes in the grammar that are told of one file: after the first few they follow from one another.
const MOST_SYNTAX_PROBLEMS: usize = 3;

/// What a file says.
#[derive(Debug, Default)]
pub struct Document {
    /// By the whole name of the key.
    pub values: BTreeMap<String, (Value, Place)>,
    /// Keys that are in the file with a value that cannot be used; they are not missing.
    pub spoilt: Vec<String>,
    /// The file has at least one key or table.
    pub any_key: bool,
    /// The file could not be read at all, so nothing can be said of its keys.
    pub unreadable: bool,
    pub problems: Vec<Problem>,
}

impl Document {
    /// Returns the document of a file that cannot be read, for the given reasons.
    pub fn unreadable(problems: Vec<Problem>) -> Self {
        Self { any_key: true, unreadable: true, problems, ..Self::default() }
    }
}

/// Reads a file's text.
pub fn read(file: &Path, text: &str) -> Document {
    let mut reader = Reader { file, text, problems: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    if !errors.is_empty() {
        for error in errors.iter().take(MOST_SYNTAX_PROBLEMS) {
            let span = error.span().unwrap_or(text.len()..text.len());
            reader.problem(&span, format!("is no TOML: {}", first_lower(error.message())), String::new());
        }
        return Document::unreadable(reader.problems);
    }
    let mut document = Document { any_key: !table.is_empty(), ..Document::default() };
    read_table("", table, &mut document, &mut reader);
    for (name, value) in table {
        if let Some(table) = known_table(name.get_ref(), value, &mut reader) {
            read_table(name.get_ref(), table, &mut document, &mut reader);
        }
    }
    reader.problems.sort_by_key(|problem| problem.place);
    document.problems = reader.problems;
    document
}

/// Returns the table of that name when it has named keys; a wrong value in its place is a problem.
fn known_table<'a>(name: &str, value: &'a Spanned<DeValue<'a>>, reader: &mut Reader<'_>) -> Option<&'a DeTable<'a>> {
    if !schema::tables().contains(&name) || schema::find(name).is_some() {
        return None;
    }
    if let DeValue::Table(table) = value.get_ref() {
        return Some(table);
    }
    reader.problem(&value.span(), format!("`{name}` must be a table"), format!("write [{name}] above its keys"));
    None
}

fn read_table(table: &str, entries: &DeTable<'_>, document: &mut Document, reader: &mut Reader<'_>) {
    for (name, value) in entries {
        let name_text: &str = name.get_ref();
        let path = if table.is_empty() { name_text.to_owned() } else { format!("{table}.{name_text}") };
        if let Some(key) = schema::find(&path) {
            match key.kind.read_toml(&path, value, reader) {
                Some(found) => drop(document.values.insert(path, (found, reader.place(&name.span())))),
                None => document.spoilt.push(path),
            }
        } else if !table.is_empty() || !schema::tables().contains(&name_text) {
            let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
            // What was meant is not missing as well.
            if let Some(near) = nearest(name_text, &names_in(table)) {
                document.spoilt.push(if table.is_empty() { near.to_owned() } else { format!("{table}.{near}") });
            }
            let what = if value.get_ref().is_table() { "table" } else { "key" };
            reader.problem(&name.span(), format!("unknown {what} `{name_text}`{place}"), advice(table, name_text));
        }
    }
}

/// Returns what was probably meant by an unknown name.
fn advice(table: &str, name: &str) -> String {
    let elsewhere: Vec<&Key> = KEYS.iter().filter(|key| key.name == name && key.table != table).collect();
    match elsewhere.as_slice() {
        [first, ..] if first.table.is_empty() => format!("`{name}` belongs above the first table"),
        [first, ..] => {
            let tables: Vec<_> = elsewhere.iter().map(|key| format!("[{}]", key.table)).collect();
            format!("`{}` belongs in {}", first.name, tables.join(" or "))
        }
        [] => nearest_or_all(table, name),
    }
}

fn nearest_or_all(table: &str, name: &str) -> String {
    let names = names_in(table);
    match nearest(name, &names) {
        Some(near) if table.is_empty() && schema::tables().contains(&near) => {
            format!("did you mean the table [{near}]?")
        }
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("[{table}] has no keys in this version"),
        None => format!("known are {}", quoted(&names).replace('"', "`")),
    }
}

fn names_in(table: &str) -> Vec<&'static str> {
    let mut names: Vec<_> =
        KEYS.iter().filter(|key| key.table == table && !key.name.is_empty()).map(|key| key.name).collect();
    if table.is_empty() {
        names.extend(schema::tables());
    }
    names
}

/// Returns the known name that is most like the given one, when one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (likeness(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Returns how alike two names are, 0 to 1. Part of a name counts a little less than all of it: `brnach` is `primary_branch`.
fn likeness(name: &str, known: &str) -> f64 {
    const OF_A_PART: f64 = 0.8;
    let parts = known.split('_').map(|part| OF_A_PART * strsim::normalized_damerau_levenshtein(name, part));
    parts.fold(strsim::normalized_damerau_levenshtein(name, known), f64::max)
}

fn first_lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
