//! Where the program keeps its own files. The user's folder serves when it lets an unattended start through; where it would
//! ask its first questions and the environment brings the login, a folder of rig's own serves, and the user's files stay as
//! they are.

use crate::adapters::session::files::{make_private_folder, write_private};
use serde_json::{Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Variables that each bring a login, so that none from the user's own files is needed.
const LOGINS: [&str; 5] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
];
/// Characters at the end of a key by which the program remembers that it may be used.
const KEY_TAIL: usize = 20;
const FILE: &str = ".claude.json";

/// Returns the folder that stands in for the user's own, made and filled; `None` when the user's own lets the agent through,
/// or when nothing else would.
pub(super) fn stand_in_for(given: &[(String, String)], root: &Path) -> io::Result<Option<PathBuf>> {
    let value = |name: &str| given.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let key = value("ANTHROPIC_API_KEY").filter(|key| !key.is_empty());
    let folder = value("CLAUDE_CONFIG_DIR").or_else(|| value("HOME")).map(PathBuf::from);
    let users = folder.map(|folder| read(&folder.join(FILE))).unwrap_or_default();
    let brings_login = LOGINS.iter().any(|name| value(name).is_some_and(|value| !value.is_empty()));
    if lets_through(&users, key) || !brings_login {
        return Ok(None);
    }
    let own = root.join("state").join("claude");
    make_private_folder(&own)?;
    let mut settings = read(&own.join(FILE));
    if !lets_through(&settings, key) {
        if !settings.is_object() {
            settings = json!({});
        }
        settings["hasCompletedOnboarding"] = json!(true);
        if let Some(key) = key {
            let approved = &mut settings["customApiKeyResponses"]["approved"];
            match approved.as_array_mut() {
                Some(list) => list.push(json!(tail(key))),
                None => *approved = json!([tail(key)]),
            }
        }
        write_private(&own.join(FILE), settings.to_string().as_bytes())?;
    }
    Ok(Some(own))
}

fn read(path: &Path) -> Value {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Returns whether the program starts with these settings without asking for a theme, or about the key.
fn lets_through(settings: &Value, key: Option<&str>) -> bool {
    let approved = settings["customApiKeyResponses"]["approved"].as_array();
    let knows = |key: &str| approved.is_some_and(|list| list.iter().any(|known| *known == tail(key)));
    settings["hasCompletedOnboarding"] == true && key.is_none_or(knows)
}

fn tail(key: &str) -> String {
    let count = key.chars().count();
    key.chars().skip(count.saturating_sub(KEY_TAIL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_folder_serves_unless_it_would_ask_and_the_environment_brings_a_login() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = (folder.path().join("home"), folder.path().join("root"));
        std::fs::create_dir_all(&home).unwrap();
        let given = |more: &[(&str, &str)]| -> Vec<(String, String)> {
            let home = ("HOME".to_owned(), home.display().to_string());
            std::iter::once(home).chain(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))).collect()
        };
        let key = ("ANTHROPIC_API_KEY", "sk-made-up-0123456789abcdefghij");
        let own = root.join("state/claude");
        // Never started by hand: without a login of the environment nothing helps.
        assert_eq!(stand_in_for(&given(&[]), &root).unwrap(), None);
        assert_eq!(stand_in_for(&given(&[("ANTHROPIC_AUTH_TOKEN", "x")]), &root).unwrap(), Some(own.clone()));
        // Started by hand, and the key not known to it.
        std::fs::write(home.join(FILE), r#"{"hasCompletedOnboarding": true}"#).unwrap();
        assert_eq!(stand_in_for(&given(&[("ANTHROPIC_AUTH_TOKEN", "x")]), &root).unwrap(), None);
        assert_eq!(stand_in_for(&given(&[key]), &root).unwrap(), Some(own.clone()));
        let written = read(&own.join(FILE));
        assert_eq!(written["customApiKeyResponses"]["approved"], json!(["0123456789abcdefghij"]));
        let users = std::fs::read_to_string(home.join(FILE)).unwrap();
        assert_eq!(users, r#"{"hasCompletedOnboarding": true}"#, "the user's own file is left alone");
    }
}
