//! The kinds of values that keys hold: how each is read from TOML and from the text of an environment variable.

use super::{
    duration,
    problem::{Place, Problem},
    text_kind::{Misfit, TextKind},
    value::Value,
};
use std::{ops::Range, path::Path, time::Duration};
use toml::{Spanned, de::DeValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text(TextKind),
    List(TextKind),
    /// One of the first words; the second list holds words that are known and cannot be honoured yet.
    Choice(&'static [&'static str], &'static [&'static str]),
    Flag,
    /// A whole number within bounds.
    Number(u64, u64),
    /// A length of time, not shorter than this many milliseconds.
    Duration(u64),
    /// A table of names, each with a text.
    Map(TextKind),
}

/// Shortest name of an entry in a map, and longest: it becomes part of file names and messages.
const MAP_NAME: std::ops::RangeInclusive<usize> = 1..=63;

impl Kind {
    /// Returns the words that the reference uses for the kind.
    pub fn words(self) -> String {
        match self {
            Kind::Text(kind) => kind.word().to_owned(),
            Kind::List(kind) => format!("list of {}", kind.word()),
            Kind::Choice(known, _) => quoted(known),
            Kind::Flag => "true or false".to_owned(),
            Kind::Number(least, most) => format!("whole number, {least} to {most}"),
            Kind::Duration(_) => "duration".to_owned(),
            Kind::Map(kind) => format!("{} for each name", kind.word()),
        }
    }

    /// Reads the text of an environment variable.
    pub fn read_text(self, text: &str) -> Result<Value, Misfit> {
        match self {
            Kind::Text(kind) => kind.check(text).map(Value::Text),
            Kind::Choice(known, later) => choice(known, later, text).map(Value::Text),
            Kind::Duration(least) => length(text, least).map(Value::Duration),
            Kind::Number(least, most) => match text.trim().parse() {
                Ok(number) => number_within(number, least, most),
                Err(_) => Err(Misfit::new(format!("must be a {}", self.words()), "")),
            },
            // No variable fills such a key; the schema's tests see to it.
            Kind::List(_) | Kind::Flag | Kind::Map(_) => Err(Misfit::new("cannot come from a variable", "")),
        }
    }

    /// Reads a TOML value. Everything that is wrong goes to `reader`; then there is no value.
    pub(super) fn read_toml(self, key: &str, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Value> {
        let found = value.get_ref();
        let result = match (self, found) {
            (Kind::List(kind), DeValue::Array(items)) => return read_list(kind, key, items, reader),
            (Kind::Map(kind), DeValue::Table(table)) => return read_map(kind, key, table, reader),
            (Kind::Text(_) | Kind::Choice(..) | Kind::Duration(_), DeValue::String(text)) => self.read_text(text),
            (Kind::Duration(least), DeValue::Integer(number)) => match whole(number) {
                Some(secs) => length(&secs.to_string(), least).map(Value::Duration),
                None => Err(Misfit::new("must not be negative", "")),
            },
            (Kind::Number(least, most), DeValue::Integer(number)) => match whole(number) {
                Some(number) => number_within(number, least, most),
                None => Err(Misfit::new(format!("must be a {}", self.words()), "")),
            },
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            _ => Err(self.wrong_type(found)),
        };
        result.map_err(|misfit| reader.misfit(key, &value.span(), misfit)).ok()
    }

    fn wrong_type(self, found: &DeValue<'_>) -> Misfit {
        let (wanted, example) = match self {
            Kind::Text(_) => ("a text in quotes", String::new()),
            Kind::List(_) => ("a list of texts", "such as [\"a\", \"b\"]".to_owned()),
            Kind::Choice(known, _) => ("one of the words in quotes", format!("allowed are {}", quoted(known))),
            Kind::Flag => ("true or false", "without quotes".to_owned()),
            Kind::Number(..) => ("a whole number", "without quotes".to_owned()),
            Kind::Duration(_) => ("a duration", "such as \"90s\", \"1h30m\", or whole seconds".to_owned()),
            Kind::Map(_) => ("a table", "each name with its own value".to_owned()),
        };
        Misfit::new(format!("must be {wanted}, not {}", type_word(found)), example)
    }
}

/// Collects what is wrong in one text.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.text, span.start)
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, message: String, hint: String) {
        let place = self.place(span);
        self.problems.push(Problem::new(self.file, Some(place), message).hint(hint));
    }

    fn misfit(&mut self, key: &str, span: &Range<usize>, misfit: Misfit) {
        self.problem(span, format!("`{key}` {}", misfit.message), misfit.hint);
    }
}

/// Returns words as `"a", "b"`.
pub fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn read_list(kind: TextKind, key: &str, items: &[Spanned<DeValue<'_>>], reader: &mut Reader<'_>) -> Option<Value> {
    let before = reader.problems.len();
    let mut list = Vec::new();
    for item in items {
        match Kind::Text(kind).read_toml(key, item, reader) {
            Some(Value::Text(text)) if list.contains(&text) => {
                reader.misfit(key, &item.span(), Misfit::new(format!("names `{text}` twice"), ""));
            }
            Some(Value::Text(text)) => list.push(text),
            _ => {}
        }
    }
    (reader.problems.len() == before).then_some(Value::List(list))
}

fn read_map(kind: TextKind, table: &str, entries: &toml::de::DeTable<'_>, reader: &mut Reader<'_>) -> Option<Value> {
    let before = reader.problems.len();
    let mut map = std::collections::BTreeMap::new();
    for (name, item) in entries {
        let text: &str = name.get_ref();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !MAP_NAME.contains(&text.len()) || !text.bytes().all(plain) || text.starts_with('-') {
            let message = format!("name of an entry in [{table}] must be 1 to 63 letters, digits, `-` or `_`");
            reader.problem(&name.span(), message, String::new());
        } else if let Some(Value::Text(value)) = Kind::Text(kind).read_toml(text, item, reader) {
            map.insert(text.to_owned(), value);
        }
    }
    (reader.problems.len() == before).then_some(Value::Map(map))
}

fn choice(known: &[&str], later: &[&str], text: &str) -> Result<String, Misfit> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let hint = format!("allowed are {}", quoted(known));
    let shown: String = text.chars().take(40).collect();
    if later.contains(&text) {
        return Err(Misfit::new(format!("= \"{shown}\" is not supported by this version yet"), hint));
    }
    Err(Misfit::new(format!("cannot be \"{shown}\""), hint))
}

fn length(text: &str, least: u64) -> Result<Duration, Misfit> {
    let length = duration::parse(text)
        .map_err(|message| Misfit::new(format!("is wrong: {message}"), "the form is 90s, 2h, 1h30m or 500ms"))?;
    let least = Duration::from_millis(least);
    if length < least {
        return Err(Misfit::new(format!("must be at least {}", duration::render(least)), ""));
    }
    Ok(length)
}

fn number_within(number: u64, least: u64, most: u64) -> Result<Value, Misfit> {
    if (least..=most).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(Misfit::new(format!("must be {least} to {most}, not {number}"), ""))
}

fn whole(number: &toml::de::DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn type_word(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
