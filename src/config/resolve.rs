//! What each key comes to: the file first, then environment variables, then the default; and where it came from.

use super::{
    document::Document,
    environment::{Environment, Source},
    kind::Reader,
    problem::{Place, Problem},
    schema::{KEYS, Key},
    value::Value,
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Where the value of a key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File {
        file: PathBuf,
        place: Place,
    },
    Variable {
        name: &'static str,
        source: Source,
    },
    /// The name of the project's file.
    FileName,
    Default,
    /// Nobody set it and there is no default.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, place } => write!(f, "{}:{}", file.display(), place.line),
            Origin::Variable { name, source: Source::Process } => write!(f, "environment {name}"),
            Origin::Variable { name, source: Source::EnvFile } => write!(f, "state/env {name}"),
            Origin::FileName => f.write_str("name of the file"),
            Origin::Default => f.write_str("default"),
            Origin::Unset => f.write_str("unset"),
        }
    }
}

/// One key with its value and its source.
#[derive(Debug, Clone)]
pub struct Setting {
    pub key: &'static Key,
    pub value: Option<Value>,
    pub origin: Origin,
}

/// What a project's keys come to, complete, though perhaps wrong.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) file: PathBuf,
    settings: BTreeMap<String, Setting>,
    pub(super) problems: Vec<Problem>,
}

impl Settings {
    pub(super) fn get(&self, path: &str) -> Option<&Setting> {
        self.settings.get(path)
    }

    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        self.get(path)?.value.as_ref()
    }

    /// Returns all settings in the order of the schema.
    pub(super) fn all(&self) -> Vec<Setting> {
        KEYS.iter().filter_map(|key| self.get(&key.path()).cloned()).collect()
    }

    /// Gives a key a value that neither the file nor the environment has.
    pub(super) fn set(&mut self, path: &str, value: Value, origin: Origin) {
        if let Some(setting) = self.settings.get_mut(path) {
            setting.value = Some(value);
            setting.origin = origin;
        }
    }

    /// Adds a problem at the place where a key was set.
    pub(super) fn problem(&mut self, path: &str, message: impl fmt::Display, hint: impl fmt::Display) {
        let place = match self.get(path).map(|setting| &setting.origin) {
            Some(Origin::File { place, .. }) => Some(*place),
            _ => None,
        };
        self.problems.push(Problem::new(&self.file, place, message).hint(hint));
    }
}

/// Resolves every key of a file. `alone`: the root has no other project.
pub(super) fn resolve(file: &Path, document: &Document, environment: &Environment, alone: bool) -> Settings {
    let mut all = Settings { file: file.to_owned(), settings: BTreeMap::new(), problems: document.problems.clone() };
    for key in KEYS {
        let path = key.path();
        let setting = match document.values.get(&path) {
            Some((value, place)) => Setting {
                key,
                value: Some(value.clone()),
                origin: Origin::File { file: file.to_owned(), place: *place },
            },
            None if document.unreadable || document.spoilt.contains(&path) => {
                Setting { key, value: None, origin: Origin::Unset }
            }
            None => fill(key, environment, alone, &mut all.problems, file),
        };
        all.settings.insert(path, setting);
    }
    follow_old_name(&mut all, "review.max_rounds", "limits.review_rounds");
    all
}

/// A key under an old name stands in where the file leaves the present one out.
fn follow_old_name(all: &mut Settings, old: &str, new: &str) {
    let in_file = |setting: &Setting| matches!(setting.origin, Origin::File { .. });
    if all.get(new).is_some_and(|setting| !in_file(setting))
        && let Some(Setting { value: Some(value), origin, .. }) = all.get(old).cloned()
    {
        all.set(new, value, origin);
    }
}

/// Returns what a key is that the file leaves out.
fn fill(
    key: &'static Key,
    environment: &Environment,
    alone: bool,
    problems: &mut Vec<Problem>,
    file: &Path,
) -> Setting {
    let found = key.variables.iter().find_map(|name| Some((*name, environment.get(name)?)));
    if let Some((name, (text, source))) = found {
        let origin = Origin::Variable { name, source };
        if alone || !key.one_project {
            return match key.kind.read_text(variable_text(name, text)) {
                Ok(value) => Setting { key, value: Some(value), origin },
                Err(misfit) => {
                    let message = format!("`{}` from {origin} {}", key.path(), misfit.message);
                    problems.push(Problem::new(file, None, message).hint(misfit.hint));
                    Setting { key, value: None, origin }
                }
            };
        }
        // The file's own name is a good name, so nobody is made to repeat it.
        if key.name != "name" {
            let message = format!("`{}` is missing, and {origin} counts only in a root with one project", key.path());
            problems.push(Problem::new(file, None, message).hint(format!("write {} into this file", key.path())));
            return Setting { key, value: None, origin: Origin::Unset };
        }
    }
    if key.required {
        let mut hint = format!("write it into the file: {} = {}", key.path(), example(key));
        if !key.variables.is_empty() && (alone || !key.one_project) {
            hint.push_str(&format!(", or set {}", key.variables[0]));
        }
        problems.push(Problem::new(file, None, format!("`{}` is missing", key.path())).hint(hint));
    }
    match key.default.and_then(|text| parse_default(key, text)) {
        Some(value) => Setting { key, value: Some(value), origin: Origin::Default },
        None => Setting { key, value: None, origin: Origin::Unset },
    }
}

/// The shell original's FORGE_API names the API, not the forge.
fn variable_text<'a>(name: &str, text: &'a str) -> &'a str {
    if name != "FORGE_API" {
        return text;
    }
    let base = text.trim_end_matches('/');
    base.strip_suffix("/api/v1").unwrap_or(base)
}

fn example(key: &Key) -> &'static str {
    match key.name {
        "repo" => "\"acme/widget\"",
        "forge_url" => "\"https://git.example.org\"",
        _ => "\"dev-bot\"",
    }
}

/// Reads a default of the schema; its tests see to it that each can be read.
pub(super) fn parse_default(key: &Key, text: &str) -> Option<Value> {
    let value = toml::de::DeValue::parse(text).ok()?;
    let mut reader = Reader { file: Path::new("default"), text, problems: Vec::new() };
    key.kind.read_toml(&key.path(), &value, &mut reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_the_schema_is_a_value_of_its_kind() {
        for key in KEYS {
            let parsed = key.default.map(|text| parse_default(key, text));
            assert!(!matches!(parsed, Some(None)), "{}", key.path());
            assert!(!key.required || key.default.is_none(), "{}", key.path());
        }
    }
}
