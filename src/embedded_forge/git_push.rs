//! What a push may touch. The commands at the head of the request are read first; what protection forbids is told to a hook by
//! the environment, and git refuses the whole push in its own words. Only the hook can see whether history is rewritten, because
//! the commits arrive after the commands.

use super::{
    error::{ApiError, ApiResult},
    protection,
    repositories::{Permission, Repository},
    state::Forge,
};
use crate::adapters::process::Program;
use axum::{body::BodyDataStream, http::StatusCode};
use futures::StreamExt as _;
use std::path::{Path, PathBuf};

/// The largest list of ref updates.
const MAX_COMMANDS: usize = 1024 * 1024;
/// Lines of refs that the account may not push to at all.
const REFUSED: &str = "RIG_FORGE_REFUSED_REFS";
/// Lines of refs that may only go forward.
const FORWARD_ONLY: &str = "RIG_FORGE_FORWARD_ONLY_REFS";

/// Runs with the pushed objects in quarantine: they can be looked at and go away when it fails.
const HOOK: &str = r#"#!/bin/sh
# Refuses a push that touches a protected branch. Written by the embedded forge at its start.
listed() {
    printf '%s\n' "$1" | grep -Fqx -- "$2"
}
status=0
while read -r old new ref; do
    if listed "$RIG_FORGE_REFUSED_REFS" "$ref"; then
        echo "Not allowed to push to protected branch ${ref#refs/heads/}" >&2
        status=1
    elif listed "$RIG_FORGE_FORWARD_ONLY_REFS" "$ref"; then
        case $new in
        *[!0]*) ;;
        *) echo "branch ${ref#refs/heads/} is protected from deletion" >&2; status=1; continue ;;
        esac
        case $old in
        *[!0]*) git merge-base --is-ancestor "$old" "$new" || {
            echo "branch ${ref#refs/heads/} is protected from force push" >&2; status=1; } ;;
        esac
    fi
done
exit $status
"#;

/// Writes the hook that all repositories share.
pub(super) fn install(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let hooks = hooks(folder);
    std::fs::create_dir_all(&hooks)?;
    let (file, new) = (hooks.join("pre-receive"), hooks.join("pre-receive.new"));
    std::fs::write(&new, HOOK)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700))?;
    std::fs::rename(new, file)
}

fn hooks(folder: &Path) -> PathBuf {
    folder.join("hooks")
}

/// Returns the git configuration under which clients are served.
pub(super) fn config(forge: &Forge) -> Vec<(&'static str, String)> {
    vec![
        ("core.hooksPath", hooks(&forge.folder).to_string_lossy().into_owned()),
        ("http.receivepack", "true".into()),
        // The heads of pull requests are the forge's.
        ("receive.hideRefs", "refs/pull".into()),
        ("receive.autogc", "false".into()),
        ("receive.maxInputSize", "536870912".into()),
        ("uploadpack.allowAnySHA1InWant", "true".into()),
        ("safe.directory", "*".into()),
    ]
}

/// What a push may not do.
#[derive(Debug, Default)]
pub(super) struct Refused {
    refused: Vec<String>,
    forward_only: Vec<String>,
}

impl Refused {
    pub(super) fn environment(&self, program: Program) -> Program {
        program.env(REFUSED, self.refused.join("\n")).env(FORWARD_ONLY, self.forward_only.join("\n"))
    }
}

/// Reads the commands of a push into `first` and returns what of them is forbidden.
pub(super) async fn refused(
    forge: &Forge,
    repository: &Repository,
    user: &str,
    permission: Permission,
    body: &mut BodyDataStream,
    first: &mut Vec<u8>,
) -> ApiResult<Refused> {
    let malformed = || ApiError::new(StatusCode::BAD_REQUEST, "this is not a push");
    let refs = loop {
        if let Some(refs) = commands(first).map_err(|()| malformed())? {
            break refs;
        }
        if first.len() > MAX_COMMANDS {
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too many refs in one push"));
        }
        match body.next().await {
            Some(Ok(chunk)) => first.extend_from_slice(&chunk),
            // An empty request is how git asks whether it is let in.
            None if first.is_empty() => return Ok(Refused::default()),
            _ => return Err(malformed()),
        }
    };
    let rules = protection::rules(&mut *forge.store.read().await?, repository.id).await?;
    let mut found = Refused::default();
    for name in refs {
        let rule = name.strip_prefix("refs/heads/").and_then(|branch| protection::matching(&rules, branch));
        match rule {
            Some(rule) if rule.may_push(user, permission >= Permission::Write) => found.forward_only.push(name),
            Some(_) => found.refused.push(name),
            None => {}
        }
    }
    Ok(found)
}

/// Returns the refs that the pkt-lines name up to the first flush; `None` when more bytes are needed.
fn commands(bytes: &[u8]) -> Result<Option<Vec<String>>, ()> {
    let (mut refs, mut at) = (Vec::new(), 0);
    loop {
        let Some(length) = bytes.get(at..at + 4) else { return Ok(None) };
        let length = std::str::from_utf8(length).ok().and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or(())?;
        if length == 0 {
            return Ok(Some(refs));
        }
        if length < 4 {
            return Err(());
        }
        let Some(line) = bytes.get(at + 4..at + length) else { return Ok(None) };
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        // Anything but `old new ref`, such as `shallow <id>`, touches no ref.
        if let [_, _, name] = String::from_utf8_lossy(line).trim_end().splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            refs.push((*name).to_owned());
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    fn line(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    #[test]
    fn the_refs_of_a_push_are_read_however_the_bytes_arrive() {
        let whole =
            format!("{}{}0000PACK...", line("a b refs/heads/main\0report-status"), line("a b refs/heads/x/y\n"));
        let expected = ["refs/heads/main", "refs/heads/x/y"].map(str::to_owned).to_vec();
        assert_eq!(commands(whole.as_bytes()), Ok(Some(expected)));
        let end = whole.find("0000PACK").unwrap() + 4;
        for cut in 0..end {
            assert_eq!(commands(&whole.as_bytes()[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn what_is_no_push_is_an_error() {
        assert_eq!(commands(b"zzzz"), Err(()));
        assert_eq!(commands(b"0003abc"), Err(()));
        assert_eq!(commands(&[0xff; 8]), Err(()));
    }
}
