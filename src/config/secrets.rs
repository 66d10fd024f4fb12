//! Which values must be kept out of logs, comments and the journal: the tokens of all projects, and what else rig hands on
//! without knowing what it is: `state/env`, the variables of `agent.env_allow`, and copied files of `NAME=value` lines.
//!
//! Of those others each value is taken for a secret unless its name or its look says that it is none: texts in which every
//! `true`, path and host name is blanked are of no use to anyone. A name that speaks of secrets decides alone.

use super::{
    environment::{Environment, VARIABLES, parse_line},
    load::load_with,
    root::Root,
    settings::Project,
};
use secrecy::ExposeSecret;
use std::{io::Read, path::Path};

/// Shortest value that is taken for a secret by its look alone.
const SHORTEST: usize = 8;
/// Shortest value under a name that speaks of secrets.
const SHORTEST_NAMED: usize = 6;
/// Most digits of a word that is none, such as `us-east-1` or `python3.12`.
const FEW_DIGITS: usize = 3;
/// Largest copied file that is looked into, in bytes: one of variables is far smaller.
const LARGEST_COPY: u64 = 64 * 1024;
/// Most files below one entry of `copy_files` that are looked into.
const MOST_COPIES: usize = 200;
/// Parts of names that speak of secrets.
const SECRET_NAMES: [&str; 12] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "_PWD",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "DSN",
];
/// Ends of names that say where something is, not what.
const PLACE_NAMES: [&str; 6] = ["_FILE", "_PATH", "_DIR", "_SOCK", "_HOME", "_NAME"];

/// Returns every value that rig knows or must suppose to be a secret, of all projects of the root and of those given.
pub fn known_values(root: &Root, projects: &[Project]) -> Vec<String> {
    let process = Environment::of_process();
    // A refused `state/env` is told by the commands that need it; nothing of it is used then.
    let environment = process.clone().with_file(root).unwrap_or_else(|_| process.clone());
    let all = load_with(root, &[], process).projects;
    let mut values = Vec::new();
    let mut suppose = |name: &str, value: &str| {
        if may_be_secret(name, value) {
            values.push(value.to_owned());
        }
    };
    environment.file_variables().for_each(|(name, value)| suppose(name, value));
    for project in all.iter().chain(projects) {
        for name in &project.agent.env_allow {
            if let Some((value, _)) = environment.get(name) {
                suppose(name, value);
            }
        }
        if let Some(checkout) = &project.repo_root {
            for entry in &project.agent.copy_files {
                let mut left = MOST_COPIES;
                look_into(&checkout.join(entry), &mut left, &mut suppose);
            }
        }
    }
    let is_public = |value: &String| all.iter().chain(projects).any(|project| is_public_of(project, value));
    values.retain(|value| !is_public(value));
    for project in all.iter().chain(projects) {
        let forge = &project.forge;
        let ci = project.ci.woodpecker.as_ref().map(|woodpecker| &woodpecker.token);
        let tokens = [Some(&forge.token), Some(&forge.push_token), forge.review_token.as_ref(), ci];
        let of_mirrors = project.mirrors.values().map(|mirror| mirror.token.as_ref());
        let tokens = tokens.into_iter().chain(of_mirrors).flatten();
        values.extend(tokens.map(|token| token.expose_secret().to_owned()));
        let others =
            [project.matrix.as_ref().and_then(|matrix| matrix.token.as_ref()), project.notify.webhook_secret.as_ref()];
        values.extend(others.into_iter().flatten().map(|secret| secret.expose_secret().to_owned()));
    }
    values.sort();
    values.dedup();
    values
}

/// Returns whether a variable's value is to be taken for a secret.
fn may_be_secret(name: &str, value: &str) -> bool {
    let (name, value) = (name.to_ascii_uppercase().replace("AUTHOR", ""), value.trim());
    if VARIABLES.iter().any(|(known, _)| *known == name) && !name.contains("TOKEN") {
        return false;
    }
    let is_place = PLACE_NAMES.iter().any(|end| name.ends_with(end));
    if SECRET_NAMES.iter().any(|part| name.contains(part)) && !is_place {
        return value.chars().count() >= SHORTEST_NAMED && !is_common_word(value);
    }
    value.chars().count() >= SHORTEST && !is_harmless(value)
}

/// Words that variables of any name have.
fn is_common_word(value: &str) -> bool {
    let words = ["true", "false", "enabled", "disabled", "default", "changeme", "required", "optional", "production"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_harmless(value: &str) -> bool {
    is_number(value) || is_path(value) || is_plain_url(value) || is_plain_word(value)
}

/// Numbers, versions, dates, addresses: digits and what stands between them.
fn is_number(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_digit() || ".,:+-_/ ".contains(c))
}

fn is_path(value: &str) -> bool {
    let starts = ["/", "./", "../", "~/"].iter().any(|start| value.starts_with(start));
    starts && !value.contains(|c: char| c.is_whitespace() || "+=?&".contains(c))
}

/// A URL without an account, a query or a fragment.
fn is_plain_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]/".contains(c);
    let is_scheme = scheme.chars().all(|c| c.is_ascii_alphanumeric());
    // Webhooks carry their secret as a part of the path.
    is_scheme && !host.is_empty() && host.chars().all(plain) && path.split('/').all(is_plain_word)
}

/// Words, host and file names: letters, what stands between them, and few digits.
fn is_plain_word(value: &str) -> bool {
    let letters_and_signs = value.chars().all(|c| c.is_alphanumeric() || "-_.,:/@ ".contains(c));
    let digits = value.chars().filter(char::is_ascii_digit).count();
    // A port is no part of a secret.
    let port = value.rsplit_once(':').map_or("", |(_, port)| port);
    let port_digits = if port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit()) { port.len() } else { 0 };
    let mixes_cases = value.split(|c: char| !c.is_alphabetic()).any(is_mixed);
    let has_account = value.contains("://") && value.contains('@');
    letters_and_signs && !has_account && digits - port_digits <= FEW_DIGITS && !mixes_cases
}

/// Returns whether a word changes between cases more often than names do.
fn is_mixed(word: &str) -> bool {
    const MOST_CHANGES: usize = 6;
    let cases: Vec<bool> = word.chars().map(char::is_uppercase).collect();
    cases.windows(2).filter(|pair| pair[0] != pair[1]).count() > MOST_CHANGES
}

/// Returns whether everybody may see a value because it is one of the project's own names.
fn is_public_of(project: &Project, value: &str) -> bool {
    let names = [
        project.name.to_string(),
        project.repository.to_string(),
        project.forge_url.clone(),
        project.primary_branch.clone(),
        project.forge.bot.to_string(),
    ];
    names.iter().any(|name| name == value)
}

/// Takes the `NAME=value` lines of a copied file, or of those in a copied folder.
fn look_into(path: &Path, left: &mut usize, suppose: &mut impl FnMut(&str, &str)) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if *left == 0 {
        return;
    }
    *left -= 1;
    if meta.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| look_into(&entry.path(), left, suppose));
        return;
    }
    if !meta.is_file() || meta.len() > LARGEST_COPY {
        return;
    }
    let mut bytes = Vec::new();
    if std::fs::File::open(path).and_then(|file| file.take(LARGEST_COPY).read_to_end(&mut bytes)).is_err() {
        return;
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    for (name, value) in lines.filter_map(|line| parse_line(line).ok()) {
        suppose(&name, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_secret_unless_name_or_look_says_otherwise() {
        for (name, value, expected) in [
            ("API_TOKEN", "abcdef", true),
            ("API_TOKEN", "true", false),
            ("FORGE_TOKEN", "only-letters-here", true),
            ("DB_PASSWORD", "/starts/like/a/path", true),
            ("DB_PASSWORD", "123456", true),
            ("DB_PASSWORD", "short", false),
            ("STRIPE_KEY", "disabled", false),
            ("DATABASE_URL", "postgres://app:hunter2@db.example.org/app", true),
            ("DATABASE_URL", "postgres://db.example.org:5432/app", false),
            ("WEBHOOK", "https://hooks.example.org/services/T0123ABCD/B0456EFGH/x1y2z3a4b5", true),
            ("SENTRY_DSN", "https://abc@sentry.example.org/1", true),
            ("SETTING", "aB3dE6gH9jK2mN5pQ8", true),
            ("SETTING", "aBcDeFgHiJkLmNoP", true),
            ("SETTING", "Summer!2024", true),
            ("SETTING", "two words", false),
            ("MODE", "true", false),
            ("NODE_ENV", "production", false),
            ("SSH_AUTH_SOCK", "/tmp/ssh-XXXX/agent.123456", false),
            ("KEY_FILE", "/home/user/.ssh/id_ed25519", false),
            ("GOPATH", "/home/user/go:/srv/go", false),
            ("REGION", "us-east-1", false),
            ("LC_ALL", "en_US.UTF-8", false),
            ("GIT_AUTHOR_EMAIL", "bot@example.org", false),
            ("HOST", "localhost:8080", false),
            ("LIMIT", "1234567890", false),
            ("VERSION", "2026.11.20-1", false),
            ("PROXY", "http://proxy.example.org:3128", false),
            ("MATRIX_ROOM_ID", "!aBcDeFgHiJkLmNoP:example.org", false),
            ("MATRIX_TOKEN", "syt_abcdef", true),
        ] {
            assert_eq!(may_be_secret(name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn copied_files_are_looked_into_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("conf")).unwrap();
        let text =
            "# TOKEN=comment-1\nexport API_TOKEN='in quotes 1'\nNODE_ENV=development\nnot a line\nDB_PASS=hunter22\n";
        std::fs::write(folder.path().join("conf/.env"), text).unwrap();
        std::fs::write(folder.path().join("conf/image"), [0xff; 100]).unwrap();
        let mut found = Vec::new();
        let mut left = MOST_COPIES;
        look_into(folder.path(), &mut left, &mut |name, value| {
            if may_be_secret(name, value) {
                found.push(value.to_owned());
            }
        });
        assert_eq!(found, ["in quotes 1", "hunter22"]);
    }
}
