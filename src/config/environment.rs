//! Every environment variable that rig reads, and where their values come from: the process's own environment first, then
//! `state/env`, a file of `NAME=value` lines that only its owner may read, so that cron has them.

use super::{
    problem::{Place, Problem},
    root::Root,
};
use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Largest `state/env` that is read, in bytes; a hundred tokens are a tenth of it.
const LARGEST_FILE: u64 = 64 * 1024;

/// Name and meaning of every variable that rig itself reads. Those named by `*_env` keys come on top.
pub const VARIABLES: &[(&str, &str)] = &[
    ("RIG_ROOT", "folder with projects/ and state/, when --root is not given"),
    ("XDG_DATA_HOME", "its `rig` is the root when nothing else names one; ~/.local/share when unset"),
    ("XDG_STATE_HOME", "its `rig` holds the locks and what CI broke for lately; ~/.local/state when unset"),
    ("XDG_RUNTIME_DIR", "where the user's systemd listens, for scopes of drivers and tmux; /run/user/UID when unset"),
    ("HOME", "what `~` stands for"),
    ("PATH", "where git, tmux and the agent are found; handed to the programs that rig starts"),
    ("TERM", "the kind of terminal, handed to the agent"),
    ("LANG", "the language of messages, handed to the programs that rig starts"),
    ("NO_COLOR", "no colour when set and not empty"),
    ("FORGE_TOKEN", "the bot's token, unless forge.token_env names another variable"),
    ("FORGE_REPO", "fills repo in a root with one project"),
    ("FORGE_URL", "fills forge_url"),
    ("FORGE_API", "fills forge_url when FORGE_URL is unset; its /api/v1 is cut off"),
    ("PROJECT_NAME", "fills name in a root with one project"),
    ("PROJECT_REPO_ROOT", "fills repo_root in a root with one project"),
    ("PRIMARY_BRANCH", "fills primary_branch in a root with one project"),
    ("CLAUDE_TIMEOUT", "fills agent.timeout"),
    ("WOODPECKER_SERVER", "fills ci.woodpecker_url"),
    ("WOODPECKER_REPO_ID", "fills ci.woodpecker_repo_id in a root with one project"),
    ("WOODPECKER_TOKEN", "the Woodpecker token, unless ci.woodpecker_token_env names another variable"),
    ("MATRIX_HOMESERVER", "fills matrix.homeserver"),
    ("MATRIX_ROOM_ID", "fills matrix.room_id"),
    ("MATRIX_TOKEN", "the Matrix token, unless matrix.token_env names another variable"),
    ("MATRIX_MENTION_USER", "fills matrix.mention_user"),
    ("RIG_PROJECT", "inside a session: the project, for `rig phase` and `rig hook`"),
    ("RIG_ISSUE", "inside a session: the issue, for `rig phase` and `rig hook`"),
    ("RIG_ATTEMPT", "inside a session: the attempt, for `rig phase` and `rig hook`"),
    ("RIG_RUN", "inside a session: the run, for `rig hook`"),
    ("RIG_HOOKS_FILE", "inside a session: where `rig hook` writes"),
    ("RIG_LOG", "what goes into state/log: a level, or directives such as `rig::engine=debug,info`; info when unset"),
    ("RIG_SESSION", "inside a session: marks the processes that belong to it"),
    ("RIG_STAND_IN_SCRIPT", "the script of the stand-in agent"),
    ("RIG_BOOT_ID", "for tests: stands for the boot id of the kernel, as after a restart of the machine"),
    ("CLAUDE_CONFIG_DIR", "where the agent keeps its own files; ~/.claude when unset"),
    ("IS_SANDBOX", "1 lets the stand-in agent run as root, as it lets claude"),
    ("CLAUDE_CODE_SANDBOXED", "read by the stand-in agent where claude reads it"),
    ("PHASE_FILE", "inside a session: the phase file that `rig phase set` writes"),
    ("SUMMARY_FILE", "inside a session: the file for the agent's summary"),
];

/// Where a variable was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Process,
    EnvFile,
}

/// The variables of one process, read once. Shows no values, some are secrets.
#[derive(Clone, Default)]
pub struct Environment {
    process: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("file", &self.file.keys()).finish_non_exhaustive()
    }
}

impl Environment {
    /// Returns the process's own variables; one that is not UTF-8 counts as unset.
    pub fn of_process() -> Self {
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { process, file: BTreeMap::new() }
    }

    /// Returns the given variables, for callers that want to know exactly what is there.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let process = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { process, file: BTreeMap::new() }
    }

    /// Adds what the root's `state/env` holds; a missing file is an empty one.
    pub fn with_file(mut self, root: &Root) -> Result<Self, Vec<Problem>> {
        let path = root.env_file();
        if let Some(text) = read_private(&path).map_err(|problem| vec![problem])? {
            self.file = parse(&path, &text)?;
        }
        Ok(self)
    }

    /// Returns a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<(&str, Source)> {
        let set = |variables: &BTreeMap<String, String>| variables.get(name).is_some_and(|value| !value.is_empty());
        if set(&self.process) {
            return Some((&self.process[name], Source::Process));
        }
        set(&self.file).then(|| (self.file[name].as_str(), Source::EnvFile))
    }

    /// Returns the names and values of `state/env`.
    pub fn file_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.file.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the user's home folder.
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(|(home, _)| PathBuf::from(home)).filter(|home| home.is_absolute())
    }

    /// Returns a path with `~` replaced by the home folder.
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), self.home()) {
            (Some(""), Some(home)) => home,
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(path),
        }
    }
}

/// Reads a file that nobody but this user may read or write.
fn read_private(path: &Path) -> Result<Option<String>, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new(path, None, format!("cannot be read: {error}")).hint("run rig as the user who owns it")
    };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    // Asked of the open file, so that it is the file that is read.
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Problem::new(path, None, format!("holds secrets and is open to other users (mode {mode:04o})"))
            .hint(format!("chmod 600 {}", path.display())));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Problem::new(path, None, "belongs to another user").hint("run rig as the user who owns it"));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(Problem::new(path, None, format!("is larger than {LARGEST_FILE} bytes")));
    }
    let mut text = String::new();
    file.by_ref().take(LARGEST_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Some(text))
}

/// Reads `NAME=value` lines. Lines are never quoted in problems, because they hold secrets.
fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let (mut variables, mut problems) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok((name, value)) => drop(variables.insert(name, value)),
            Err(message) => {
                let place = Place { line: index + 1, column: 1 };
                problems.push(Problem::new(path, Some(place), message).hint("the form of a line is NAME=value"));
            }
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

pub(super) fn parse_line(line: &str) -> Result<(String, String), &'static str> {
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (name, value) = line.split_once('=').ok_or("a line has no `=`")?;
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain {
        return Err("what stands before `=` is no name of a variable");
    }
    Ok((name.to_owned(), parse_value(value)?))
}

/// Reads a value: in single quotes as it is, in double quotes with `\"`, `\\`, `\$` and `` \` ``, bare up to ` #`. Nothing is expanded.
fn parse_value(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
        let bare = [" #", "\t#"].iter().filter_map(|mark| text.find(mark)).min().map_or(text, |end| &text[..end]);
        return Ok(if text.starts_with('#') { String::new() } else { bare.trim_end().to_owned() });
    };
    let (mut value, mut chars) = (String::new(), text[1..].chars());
    loop {
        match chars.next() {
            None => return Err("a quote is not closed on its line"),
            Some(next) if next == quote => break,
            Some('\\') if quote == '"' => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => return Err("a quote is not closed on its line"),
            },
            Some(next) => value.push(next),
        }
    }
    let rest = chars.as_str().trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err("text follows the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lines_are_read_as_a_shell_reads_them() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = no\n";
        assert!(parse(Path::new("env"), text).is_err(), "white space around `=` is no assignment");
        let text = "A=1\nexport B='it''s' # x\n";
        assert!(parse(Path::new("env"), text).is_err(), "text after a quote");
        let text = "# c\nA=1\n  export  B='a \"b\" \\n $X'  # note\nC=\"q\\\"\\\\\\$\\n\"\r\nD=bare # note\nE=a#b\nF=\nG= # none\nA=2\n";
        let read = parse(Path::new("env"), text).unwrap();
        let get = |name: &str| read[name].as_str();
        assert_eq!(
            (get("A"), get("B"), get("C"), get("D"), get("E"), get("F"), get("G")),
            ("2", "a \"b\" \\n $X", "q\"\\$\\n", "bare", "a#b", "", "")
        );
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number_and_never_quoted() {
        let problems = parse(Path::new("/s/env"), "A=1\nhunter2\n1X=hunter2\nB='hunter2\nC=\"hunter2\\\n").unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "/s/env:2:1: a line has no `=`",
                "/s/env:3:1: what stands before `=` is no name of a variable",
                "/s/env:4:1: a quote is not closed on its line",
                "/s/env:5:1: a quote is not closed on its line",
            ]
        );
    }

    #[test]
    fn the_process_wins_over_the_file_and_empty_is_unset() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        std::fs::create_dir(root.state_dir()).unwrap();
        std::fs::write(root.env_file(), "A=file\nB=file\nC=file\n").unwrap();
        std::fs::set_permissions(root.env_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let environment = Environment::of(&[("A", "process"), ("B", "")]).with_file(&root).unwrap();
        assert_eq!(environment.get("A"), Some(("process", Source::Process)));
        assert_eq!(environment.get("B"), Some(("file", Source::EnvFile)));
        assert_eq!(environment.get("D"), None);
        assert!(!format!("{environment:?}").contains("process"));
        for mode in [0o640, 0o604, 0o620, 0o644] {
            std::fs::set_permissions(root.env_file(), std::fs::Permissions::from_mode(mode)).unwrap();
            let problems = Environment::default().with_file(&root).unwrap_err();
            assert!(problems[0].hint.starts_with("chmod 600 "), "{mode:o}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_folder_and_nothing_else() {
        let environment = Environment::of(&[("HOME", "/home/ann")]);
        for (given, expanded) in [
            ("~", "/home/ann"),
            ("~/x", "/home/ann/x"),
            ("~bob/x", "~bob/x"),
            ("/a/~", "/a/~"),
            ("~//x", "/home/ann/x"),
        ] {
            assert_eq!(environment.expand(given), PathBuf::from(expanded), "{given}");
        }
    }
}
