//! `rig credential DIR get`: git's question for a password inside a session, answered for the attempt's own remote only.
//! The token lies in `push-token` of the attempt's folder (0600, JSON with a version), never in the agent's environment.

use super::{
    files::{read_bounded, shell_quote, write_private},
    launch::LaunchPlace,
};
use crate::domain::redact::SecretText;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
    io::{self, Read},
    path::Path,
};

const TOKEN_FILE_VERSION: u32 = 1;
const TOKEN_FILE_BYTES: u64 = 64 * 1024;
/// Largest question that is read; git sends a few short lines.
const QUESTION_BYTES: u64 = 64 * 1024;
/// Forges take a token as the password of any account name.
const USERNAME: &str = "rig";

#[derive(Serialize, Deserialize)]
struct TokenFile {
    version: u32,
    remote_url: String,
    token: String,
}

/// What git asks for, or what a remote URL names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remote {
    protocol: String,
    /// Host and, when it is not the default one, port.
    host: String,
    path: String,
}

/// Writes the token and the remote that it is for.
pub(crate) fn write(place: &LaunchPlace, remote_url: &str, token: &SecretString) -> io::Result<()> {
    let file = TokenFile {
        version: TOKEN_FILE_VERSION,
        remote_url: remote_url.to_owned(),
        token: token.expose_secret().to_owned(),
    };
    write_private(&place.push_token(), &serde_json::to_vec(&file)?)
}

/// Returns the token of the attempt that a phase file belongs to, for those who must keep it out of what they write.
pub(crate) fn known_token(phase_file: &OsStr) -> Option<SecretText> {
    let place = LaunchPlace::new(Path::new(phase_file).parent()?);
    let file: TokenFile = serde_json::from_slice(&read_bounded(&place.push_token(), TOKEN_FILE_BYTES).ok()?).ok()?;
    Some(SecretText::new(file.token))
}

/// Returns the environment that makes git ask rig, and nobody else, for this remote's password. It wins over every
/// configuration file: git reads `GIT_CONFIG_*` last.
pub(crate) fn git_environment(rig: &Path, attempt_dir: &Path, remote_url: &str) -> Vec<(String, String)> {
    let mut environment = vec![
        ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
        ("GIT_ASKPASS".to_owned(), String::new()),
        ("SSH_ASKPASS".to_owned(), String::new()),
    ];
    // An empty value forgets the helpers of all configuration files, those for single URLs too.
    let mut config = vec![
        ("credential.helper".to_owned(), String::new()),
        // So that a push that names no branch pushes the one that the agent is on, and nothing else.
        ("push.default".to_owned(), "current".to_owned()),
    ];
    if let Some(remote) = Remote::of_url(remote_url) {
        // git compares whole path parts, so `widget` would not cover `widget.git`: the helper itself looks at the path.
        let url = format!("{}://{}", remote.protocol, remote.host);
        let quoted = |path: &Path| shell_quote(&path.display().to_string());
        let helper = format!("!{} credential {}", quoted(rig), quoted(attempt_dir));
        config.push((format!("credential.{url}.helper"), helper));
        config.push(("credential.useHttpPath".to_owned(), "true".to_owned()));
    }
    environment.push(("GIT_CONFIG_COUNT".to_owned(), config.len().to_string()));
    for (index, (key, value)) in config.into_iter().enumerate() {
        environment.push((format!("GIT_CONFIG_KEY_{index}"), key));
        environment.push((format!("GIT_CONFIG_VALUE_{index}"), value));
    }
    environment
}

/// Answers one question of git, read from `question`. Returns the answer's text; `None` when it is not for this attempt's
/// remote, or no question for a password at all, so that git goes on without one.
pub fn answer(attempt_dir: &Path, operation: &str, question: impl Read) -> io::Result<Option<SecretString>> {
    if operation != "get" {
        return Ok(None);
    }
    let mut text = Vec::new();
    question.take(QUESTION_BYTES).read_to_end(&mut text)?;
    let asked = Remote::of_question(&String::from_utf8_lossy(&text));
    let content = read_bounded(&LaunchPlace::new(attempt_dir).push_token(), TOKEN_FILE_BYTES)?;
    let file: TokenFile = serde_json::from_slice(&content)?;
    let line_end = |c: char| c.is_control();
    if file.version != TOKEN_FILE_VERSION || file.token.is_empty() || file.token.contains(line_end) {
        return Ok(None);
    }
    if Remote::of_url(&file.remote_url) != Some(asked) {
        return Ok(None);
    }
    Ok(Some(SecretString::from(format!("username={USERNAME}\npassword={}\n", file.token))))
}

impl Remote {
    /// Reads an http or https URL; an account in it is left out.
    fn of_url(url: &str) -> Option<Self> {
        let (protocol, rest) = url.split_once("://")?;
        let protocol = protocol.to_ascii_lowercase();
        if !["http", "https"].contains(&protocol.as_str()) {
            return None;
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let plain = |text: &str| !text.contains(|c: char| c.is_control() || c == '\\');
        (!host.is_empty() && plain(rest)).then(|| Self::normal(protocol, host, path))
    }

    /// Reads git's lines `protocol=`, `host=`, `path=`, or `url=`; of repeated ones the last counts, as for git.
    fn of_question(text: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once('=')) {
            match name {
                "protocol" => asked.protocol = value.to_ascii_lowercase(),
                "host" => asked.host = value.to_owned(),
                "path" => asked.path = value.to_owned(),
                "url" => asked = Self::of_url(value).unwrap_or_default(),
                _ => {}
            }
        }
        Self::normal(asked.protocol, &asked.host, &asked.path)
    }

    fn normal(protocol: String, host: &str, path: &str) -> Self {
        let default_port = if protocol == "https" { ":443" } else { ":80" };
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(default_port).unwrap_or(&host).to_owned();
        let path = path.trim_matches('/');
        Self { protocol, host, path: path.strip_suffix(".git").unwrap_or(path).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let place = LaunchPlace::new(folder.path());
        write(&place, "https://bot@git.example.org/acme/widget.git", &SecretString::from("t0ken")).unwrap();
        answer(folder.path(), "get", question.as_bytes()).unwrap().map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn only_the_remote_of_the_attempt_gets_an_answer() {
        for question in [
            "protocol=https\nhost=git.example.org\npath=acme/widget.git\n\n",
            "protocol=https\nhost=git.example.org:443\npath=acme/widget\nusername=x\n",
            "url=https://git.example.org/acme/widget.git\n",
        ] {
            assert_eq!(ask(question).as_deref(), Some("username=rig\npassword=t0ken\n"), "{question:?}");
        }
        for question in [
            "protocol=http\nhost=git.example.org\npath=acme/widget.git\n",
            "protocol=https\nhost=git.example.org.evil.net\npath=acme/widget.git\n",
            "protocol=https\nhost=git.example.org\npath=acme/other.git\n",
            "protocol=https\nhost=git.example.org\n",
            "protocol=https\nhost=git.example.org\npath=acme/widget.git\nhost=evil.net\n",
            "",
        ] {
            assert_eq!(ask(question), None, "{question:?}");
        }
    }

    #[test]
    fn store_and_erase_are_no_questions() {
        for operation in ["store", "erase", "capability"] {
            assert!(answer(Path::new("/nonexistent"), operation, io::empty()).unwrap().is_none());
        }
    }

    #[test]
    fn a_remote_without_http_needs_no_helper_but_loses_all_others() {
        let environment = git_environment(Path::new("/rig"), Path::new("/a"), "/srv/widget.git");
        assert!(environment.contains(&("GIT_CONFIG_COUNT".into(), "2".into())));
        assert!(environment.contains(&("GIT_CONFIG_VALUE_0".into(), String::new())));
    }
}
