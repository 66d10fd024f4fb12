//! The kinds of text that keys hold, and the check of each.

use crate::domain::{
    ids::{BranchName, Login, ProjectName, RepositoryPath},
    merge_words,
};
use std::fmt;

/// Longest text that a key may hold, in bytes: room for a long command, not for a file pasted in by mistake.
const LONGEST_TEXT: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// Any text that is not empty.
    Plain,
    Project,
    /// `owner/name`.
    Repository,
    /// Base URL over HTTP, without credentials.
    Url,
    Branch,
    Login,
    /// A folder of this machine: absolute, or below `~`.
    Folder,
    /// Path inside a repository.
    RelativePath,
    /// Name of an environment variable.
    Variable,
    /// Name of an environment variable that holds a secret; a secret itself is refused.
    SecretVariable,
    Label,
    Glob,
    /// A Matrix room id, `!abc:example.org`; newer rooms have no server part.
    MatrixRoom,
    /// A Matrix account, `@ann:example.org`.
    MatrixUser,
    /// URL over HTTP with path and query, without credentials.
    WebAddress,
    /// The same, with `{sha}` in the place of a commit.
    LogUrl,
    /// A regular expression.
    Pattern,
    /// A text with placeholders of the merge commit's words.
    Template,
    /// A git remote: URL without credentials, scp form, or folder.
    Remote,
}

/// Why a text does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Fragment that reads after the key's name.
    pub message: String,
    pub hint: String,
}

impl Misfit {
    pub(super) fn new(message: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: hint.to_string() }
    }
}

impl TextKind {
    /// Returns the word that the reference uses for the kind.
    pub fn word(self) -> &'static str {
        match self {
            TextKind::Plain => "text",
            TextKind::Project => "name",
            TextKind::Repository => "owner/name",
            TextKind::Url => "URL",
            TextKind::Branch => "branch",
            TextKind::Login => "account",
            TextKind::Folder => "folder",
            TextKind::RelativePath => "relative path",
            TextKind::Variable | TextKind::SecretVariable => "variable name",
            TextKind::Label => "label",
            TextKind::Glob => "glob",
            TextKind::MatrixRoom => "room id",
            TextKind::MatrixUser => "Matrix account",
            TextKind::WebAddress | TextKind::LogUrl => "URL",
            TextKind::Pattern => "regular expression",
            TextKind::Template => "text with placeholders",
            TextKind::Remote => "git URL",
        }
    }

    /// Checks a text. Returns it in the form that the rest of the program uses.
    pub fn check(self, text: &str) -> Result<String, Misfit> {
        if text.trim().is_empty() {
            return Err(Misfit::new("is empty", "leave the key out to have its default"));
        }
        if text.len() > LONGEST_TEXT || text.contains('\0') {
            return Err(Misfit::new(format!("is longer than {LONGEST_TEXT} bytes or holds a zero byte"), ""));
        }
        let invalid = |error: crate::domain::ids::InvalidId| Misfit::new(format!("must be {}", error.expected), "");
        match self {
            TextKind::Plain => {}
            TextKind::Project => ProjectName::new(text).map(drop).map_err(invalid)?,
            TextKind::Repository => text.parse::<RepositoryPath>().map(drop).map_err(invalid)?,
            TextKind::Branch => BranchName::new(text).map(drop).map_err(invalid)?,
            TextKind::Login => Login::new(text).map(drop).map_err(invalid)?,
            TextKind::Url => return http_url(text),
            TextKind::Folder => folder(text)?,
            TextKind::RelativePath => relative_path(text)?,
            TextKind::Variable => variable_name(text)?,
            TextKind::SecretVariable => secret_variable(text)?,
            TextKind::Label => label(text)?,
            TextKind::Glob => glob(text)?,
            TextKind::MatrixRoom => matrix_room(text)?,
            TextKind::MatrixUser => matrix_user(text)?,
            TextKind::WebAddress => web_address(text)?,
            TextKind::LogUrl => {
                web_address(text)?;
                if !text.contains("{sha}") {
                    return Err(Misfit::new("has no place for the commit", "write {sha} there"));
                }
            }
            TextKind::Pattern => pattern(text)?,
            TextKind::Template => template(text)?,
            TextKind::Remote => remote(text)?,
        }
        Ok(text.to_owned())
    }
}

fn template(text: &str) -> Result<(), Misfit> {
    match merge_words::unknown_placeholder(text) {
        None => Ok(()),
        Some(unknown) => {
            let known = merge_words::PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
            Err(Misfit::new(format!("has the unknown placeholder {{{unknown}}}"), format!("known are {known}")))
        }
    }
}

fn matrix_room(text: &str) -> Result<(), Misfit> {
    if text.starts_with('#') {
        let hint = "in Element: room settings, Advanced, Internal room ID";
        return Err(Misfit::new("is a room's alias; the room's id begins with `!`", hint));
    }
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
    match text.strip_prefix('!') {
        Some(rest) if !rest.is_empty() && rest.chars().all(plain) => Ok(()),
        _ => Err(Misfit::new("must be a room's id", "the form is !abcdef:example.org")),
    }
}

fn matrix_user(text: &str) -> Result<(), Misfit> {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '/');
    match text.strip_prefix('@').and_then(|rest| rest.split_once(':')) {
        Some((name, server)) if plain(name) && plain(server) => Ok(()),
        _ => Err(Misfit::new("must be a Matrix account", "the form is @ann:example.org")),
    }
}

/// Checks a base URL. Returns it without slashes at its end.
fn http_url(text: &str) -> Result<String, Misfit> {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return Err(Misfit::new("must begin with http:// or https://", ""));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Misfit::new("holds credentials", "name the variable that holds the token in a `*_env` key"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Misfit::new("has no host, or a wrong port", "the form is https://git.example.org:3000"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '?' || c == '#') {
        return Err(Misfit::new("holds white space, `?` or `#`", ""));
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

fn web_address(text: &str) -> Result<(), Misfit> {
    http_url(text.split('?').next().unwrap_or_default())?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Misfit::new("holds white space", ""));
    }
    Ok(())
}

fn folder(text: &str) -> Result<(), Misfit> {
    if text.starts_with('/') || text == "~" || text.starts_with("~/") {
        return Ok(());
    }
    Err(Misfit::new("must be an absolute path or begin with `~/`", "cron starts rig in another folder than you do"))
}

fn relative_path(text: &str) -> Result<(), Misfit> {
    let inside = !text.starts_with('/') && text.split('/').all(|part| part != ".." && part != ".git");
    if inside { Ok(()) } else { Err(Misfit::new("must be a path inside the repository, without `..` or `.git`", "")) }
}

fn variable_name(text: &str) -> Result<(), Misfit> {
    let name = text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name { Ok(()) } else { Err(Misfit::new("must be the name of an environment variable", "such as FORGE_TOKEN")) }
}

/// The text is not quoted: it may be the secret.
fn secret_variable(text: &str) -> Result<(), Misfit> {
    if looks_like_a_token(text) {
        return Err(Misfit::new(
            "holds what looks like a token itself; it wants the name of the variable that holds the token",
            "put the token into state/env (0600), replace it if this file was ever shared",
        ));
    }
    variable_name(text)
}

/// Known beginnings of tokens, and long runs of digits and letters that no one would choose as a name.
fn looks_like_a_token(text: &str) -> bool {
    const BEGINNINGS: [&str; 10] =
        ["ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "sk-", "syt_", "gta_", "eyJ"];
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let hex = text.len() >= 20 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex || BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) || (text.len() >= 20 && digits >= 6)
}

/// The forge's filter takes label names with commas between them.
fn label(text: &str) -> Result<(), Misfit> {
    let fits =
        text.chars().count() <= 50 && !text.contains(|c: char| c == ',' || c.is_control()) && text.trim() == text;
    if fits { Ok(()) } else { Err(Misfit::new("must be a label name of at most 50 characters without commas", "")) }
}

fn glob(text: &str) -> Result<(), Misfit> {
    globset::Glob::new(text).map(drop).map_err(|error| Misfit::new(format!("is no glob: {}", error.kind()), ""))
}

/// A pattern that matches nothing at all would take every screen for an input line.
fn pattern(text: &str) -> Result<(), Misfit> {
    let found = regex::Regex::new(text).map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        Misfit::new(format!("is no regular expression: {}", last.trim_start_matches("error: ")), "")
    })?;
    match found.is_match("") {
        true => Err(Misfit::new("matches nothing at all, so it would be found everywhere", "such as \"^you> \"")),
        false => Ok(()),
    }
}

fn remote(text: &str) -> Result<(), Misfit> {
    if text.starts_with('-') || text.contains(|c: char| c.is_whitespace() || c.is_control()) || text.contains("::") {
        return Err(Misfit::new("is no git URL", "such as https://git.example.org/acme/widget.git"));
    }
    match text.split_once("://") {
        Some(("http" | "https", rest)) if rest.split('/').next().unwrap_or_default().contains('@') => {
            Err(Misfit::new("holds credentials", "use an SSH key or a credential helper of the account that runs rig"))
        }
        Some(("http" | "https" | "ssh" | "git" | "file", rest)) if !rest.is_empty() => Ok(()),
        None if text.contains(':') => Ok(()),
        _ => folder(text).map_err(|_| Misfit::new("must be a git URL, `user@host:path`, or an absolute path", "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_bases_without_a_slash_at_the_end() {
        assert_eq!(TextKind::Url.check("https://git.example.org/sub//").unwrap(), "https://git.example.org/sub");
        assert_eq!(TextKind::Url.check("http://[::1]:3000").unwrap(), "http://[::1]:3000");
        for bad in
            ["git.example.org", "ftp://x", "https://", "http://:80", "http://h:port", "http://h/ x", "http://h?x"]
        {
            assert!(TextKind::Url.check(bad).is_err(), "{bad:?}");
        }
        assert_eq!(TextKind::Url.check("https://bot:pw@git.example.org").unwrap_err().message, "holds credentials");
    }

    #[test]
    fn a_token_in_the_place_of_a_name_is_refused_and_not_quoted() {
        for token in [
            "ghp_abcdefabcdef",
            "0123456789abcdef0123456789abcdef01234567",
            "deadbeefdeadbeefdeadbeef",
            "sk-ant-oat01-x",
        ] {
            let misfit = TextKind::SecretVariable.check(token).unwrap_err();
            assert!(misfit.message.contains("looks like a token"), "{token}");
            assert!(!misfit.message.contains(token) && !misfit.hint.contains(token));
        }
        for name in ["FORGE_TOKEN", "MY_VERY_LONG_NAME_OF_A_TOKEN_FOR_PROJECT_2", "_x1"] {
            assert!(TextKind::SecretVariable.check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_pattern_can_be_compiled_and_needs_something_to_match() {
        for bad in ["(", "a{999999999}", "x*", "^"] {
            assert!(TextKind::Pattern.check(bad).is_err(), "{bad}");
        }
        assert!(TextKind::Pattern.check("^(you|me)> ?$").is_ok());
    }

    #[test]
    fn remotes_cannot_be_options_helpers_or_carry_passwords() {
        for good in ["https://h/a.git", "ssh://git@h/a.git", "git@h:a/b.git", "/srv/a.git", "~/a.git", "file:///srv/a"]
        {
            assert!(TextKind::Remote.check(good).is_ok(), "{good}");
        }
        for bad in
            ["--upload-pack=x", "ext::sh -c x", "ext::sh", "https://u:p@h/a.git", "a/b", "javascript://x", "ssh://"]
        {
            assert!(TextKind::Remote.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside_the_repository() {
        for bad in ["/etc/passwd", "../x", "a/../../b", ".git/config"] {
            assert!(TextKind::RelativePath.check(bad).is_err(), "{bad}");
        }
        assert!(TextKind::RelativePath.check("config/.env").is_ok());
    }
}
