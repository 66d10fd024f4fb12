//! Which variables the projects need that only the present environment has: a tick that cron starts does not see them.

use super::{
    environment::{Environment, Source},
    load::{LoadError, explain},
    resolve::Origin,
    root::Root,
    value::Value,
};
use std::collections::BTreeSet;

/// Returns the names of variables that enabled projects name or are filled from, and that are set here and not in `state/env`.
pub fn variables_only_here(root: &Root) -> Result<BTreeSet<String>, LoadError> {
    let explained = explain(root, None)?;
    // A `state/env` that is refused was told just now.
    let environment = Environment::of_process().with_file(root).unwrap_or_default();
    let in_file: BTreeSet<&str> =
        environment.file_variables().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name).collect();
    let mut names = BTreeSet::new();
    for setting in explained.into_iter().filter(|project| project.enabled).flat_map(|project| project.settings) {
        if let Origin::Variable { name, source: Source::Process } = setting.origin {
            names.insert(name.to_owned());
        }
        let key = setting.key.path();
        match setting.value {
            Some(Value::Text(name)) if key.ends_with("_env") => drop(names.insert(name)),
            Some(Value::List(list)) if key == "agent.env_allow" => names.extend(list),
            _ => {}
        }
    }
    names.retain(|name| !in_file.contains(name.as_str()) && environment.get(name).is_some());
    Ok(names)
}
