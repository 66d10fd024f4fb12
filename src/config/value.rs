//! A value of a key, after its form was checked.

use super::duration;
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Duration(Duration),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// The form of a TOML file, so that what is shown can be written.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Duration(length) => write!(f, "\"{}\"", duration::render(*length)),
            Value::List(items) => write!(f, "{}", toml::Value::from(items.clone())),
            Value::Map(map) => {
                let items = map.iter().map(|(name, text)| format!("{name} = {}", toml::Value::from(text.as_str())));
                write!(f, "{{ {} }}", items.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The plain JSON value; a length of time is its text form.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Duration(length) => serializer.serialize_str(&duration::render(*length)),
            Value::List(items) => items.serialize(serializer),
            Value::Map(map) => map.serialize(serializer),
        }
    }
}
