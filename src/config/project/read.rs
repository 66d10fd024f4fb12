//! Reads settings as the types that the schema gives them. `None` tells of a key that is not set, or of one that the schema and
//! its reader do not agree on.

use super::super::{resolve::Settings, value::Value};
use crate::domain::ids::Login;
use std::{collections::BTreeMap, str::FromStr, time::Duration};

pub(super) fn text(settings: &Settings, path: &str) -> Option<String> {
    match settings.value(path)? {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

pub(super) fn parsed<T: FromStr>(settings: &Settings, path: &str) -> Option<T> {
    text(settings, path)?.parse().ok()
}

pub(super) fn flag(settings: &Settings, path: &str) -> Option<bool> {
    match settings.value(path)? {
        Value::Flag(flag) => Some(*flag),
        _ => None,
    }
}

pub(super) fn number(settings: &Settings, path: &str) -> Option<u64> {
    match settings.value(path)? {
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn count(settings: &Settings, path: &str) -> Option<u32> {
    number(settings, path)?.try_into().ok()
}

pub(super) fn duration(settings: &Settings, path: &str) -> Option<Duration> {
    match settings.value(path)? {
        Value::Duration(duration) => Some(*duration),
        _ => None,
    }
}

pub(super) fn list(settings: &Settings, path: &str) -> Option<Vec<String>> {
    match settings.value(path)? {
        Value::List(list) => Some(list.clone()),
        _ => None,
    }
}

pub(super) fn logins(settings: &Settings, path: &str) -> Option<Vec<Login>> {
    list(settings, path)?.iter().map(|login| login.parse().ok()).collect()
}

/// Empty where nothing is set.
pub(super) fn map(settings: &Settings, path: &str) -> BTreeMap<String, String> {
    match settings.value(path) {
        Some(Value::Map(map)) => map.clone(),
        _ => BTreeMap::new(),
    }
}
