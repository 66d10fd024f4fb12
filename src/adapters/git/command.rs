//! How git is called: with nothing of the surroundings but what it needs to find its way, without hooks, prompts or
//! configuration that rig did not choose. A token reaches only the commands that are built for a remote, by environment.

use super::{
    stale,
    url::{Remote, without_credentials},
};
use crate::{
    adapters::process::{Output, ProcessError, Program},
    ports::workspace::WorkspaceError,
};
use secrecy::ExposeSecret;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Time that a local git command may take: reading and writing a large working tree is the slowest.
pub(super) const LOCAL_TIMEOUT: Duration = Duration::from_secs(300);
/// Time that a command which talks to a remote may take.
pub const NETWORK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a lock file may be in the way: longer than the age at which it is taken for a killed git's.
const LOCK_CLASH_PATIENCE: Duration = Duration::from_secs(15);
const LOCK_CLASH_PAUSE: Duration = Duration::from_millis(200);

/// Variables that git and ssh need to reach a remote as the user would; none of them is a token of rig's.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Settings of every call. Hooks, monitors, pagers and drivers would run programs that a repository names; automatic
/// upkeep would delete commits that only a rescue could still reach.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "core.autocrlf=false",
    "protocol.ext.allow=never",
    "protocol.version=2",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=all",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=30",
    "advice.detachedHead=false",
];

/// Returns git for a repository on this machine: it can reach no other host and knows no token.
pub(super) fn local(git_dir: &Path) -> Program {
    bare_call().env("GIT_ALLOW_PROTOCOL", "file").env("GIT_DIR", git_dir).timeout(LOCAL_TIMEOUT)
}

/// Returns git over rig's own repository and somebody else's working tree, with an index of the caller's choice. The
/// configuration of the working tree's own repository is not read, so that nothing named there can run.
pub(super) fn over_tree(git_dir: &Path, tree: &Path, index: &Path) -> Program {
    local(git_dir).env("GIT_WORK_TREE", tree).env("GIT_INDEX_FILE", index).cwd(tree)
}

/// Returns git for rig's own repository that may talk to `remote`, logged in there where the remote has a login.
pub(super) fn remote(git_dir: &Path, remote: &Remote, limit: Duration) -> Program {
    let mut program = bare_call().env("GIT_DIR", git_dir).timeout(limit);
    if let Some((key, value)) = remote.login_config() {
        program = program
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", key)
            .env("GIT_CONFIG_VALUE_0", value.expose_secret());
    }
    program
}

/// Returns git for pushing to a mirror: besides a login in the mirror's URL, the user's own git configuration and ssh
/// keys may open it.
pub(super) fn mirror(git_dir: &Path, mirror: &Remote, limit: Duration) -> Program {
    remote(git_dir, mirror, limit).without_env("GIT_CONFIG_GLOBAL")
}

fn bare_call() -> Program {
    let mut program = Program::new("git").clear_env();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    program = program
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        // Both ask for passwords through a program that has none, instead of at the terminal.
        .env("SSH_ASKPASS", "false")
        .env("SSH_ASKPASS_REQUIRE", "force");
    for setting in SETTINGS {
        program = program.args(["-c", setting]);
    }
    program
}

/// Runs a local git command; any failure is final.
pub(super) async fn run_local(what: impl Into<String>, program: Program) -> Result<Output, WorkspaceError> {
    let what = what.into();
    run_past_locks(program).await.map_err(|error| match error {
        ProcessError::Failed { message, .. } => failed(what, &message),
        other => from_process(what, other),
    })
}

/// Runs git, and again while a lock file of another git is in its way: a living one lets go of it soon, and that of a
/// killed one is removed when it is old enough.
async fn run_past_locks(program: Program) -> Result<Output, ProcessError> {
    let start = Instant::now();
    loop {
        match program.clone().run_ok().await {
            Err(ProcessError::Failed { message, .. })
                if is_lock_clash(&message) && start.elapsed() < LOCK_CLASH_PATIENCE =>
            {
                stale::clear_lock_named_in(&message);
                tokio::time::sleep(LOCK_CLASH_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn is_lock_clash(message: &str) -> bool {
    ["cannot lock ref", "Unable to create", "unable to lock", "could not lock"]
        .iter()
        .any(|sign| message.contains(sign))
        && message.contains(".lock")
}

/// Runs a git command that talks to a remote; failures are told apart by what git says of them.
pub(super) async fn run_remote(what: impl Into<String>, program: Program) -> Result<Output, WorkspaceError> {
    let what = what.into();
    run_past_locks(program).await.map_err(|error| match error {
        ProcessError::Failed { message, .. } if is_refusal(&message) => failed(what, &message),
        ProcessError::Failed { message, .. } => WorkspaceError::Unavailable { what, message: brief(&message) },
        ProcessError::TimedOut { limit, .. } => {
            let message = format!("no answer within {} s", limit.as_secs_f32());
            WorkspaceError::Unavailable { what, message }
        }
        other => from_process(what, other),
    })
}

pub(super) fn failed(what: impl Into<String>, message: &str) -> WorkspaceError {
    WorkspaceError::Failed { what: what.into(), message: brief(message) }
}

pub(super) fn from_process(what: String, error: ProcessError) -> WorkspaceError {
    let message = match &error {
        ProcessError::NotInstalled { .. } => {
            "git is not installed or not on the PATH (install the package `git`, version 2.38 or newer)".to_owned()
        }
        other => other.to_string(),
    };
    failed(what, &message)
}

/// Returns git's message on one line, without the credentials of any URL, and no longer than people read.
pub(in crate::adapters) fn brief(message: &str) -> String {
    const LONGEST: usize = 600;
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    without_credentials(&lines.join("; ")).chars().take(LONGEST).collect()
}

/// Judges git's words (in the C locale): whether the remote, or git itself, has refused, so that only a person can help.
/// Whatever else goes wrong with a remote may pass: a connection that breaks, half an answer, the page of a proxy. To take
/// a refusal for that delays a word to people; the reverse gives up work that is sound.
pub(super) fn is_refusal(message: &str) -> bool {
    const SIGNS: &[&str] = &[
        "permission denied",
        "host key verification failed",
        "authentication failed",
        "could not read username",
        "could not read password",
        "' not found",
        "repository not found",
        "does not appear to be a git repository",
        "not a git repository",
        "dubious ownership",
        "couldn't find remote ref",
        "unable to find remote helper",
        "rejected]",
        "hook declined",
        "usage: git",
    ];
    let message = message.to_lowercase();
    // 408 and 429 ask for patience.
    let client_error = message
        .split_once("returned error: 4")
        .is_some_and(|(_, rest)| !rest.starts_with("08") && !rest.starts_with("29"));
    client_error || SIGNS.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn joined(program: &Program) -> (String, String) {
        let (args, env) = program.parts();
        let env: Vec<String> = env.into_iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        (args.join(" "), env.join(" "))
    }

    #[test]
    fn a_token_is_in_the_environment_of_remote_commands_and_nowhere_else() {
        let token = SecretString::from("sesame");
        let encoded = "cmlnOnNlc2FtZQ==";
        let forge = Remote::parse("https://git.example.org/a/b").with_token(&token);
        let call = remote(Path::new("/g"), &forge, NETWORK_TIMEOUT).args(["fetch", forge.url()]);
        let (args, env) = joined(&call);
        assert!(env.contains(encoded) && !args.contains(encoded) && !args.contains("sesame"), "{args}");
        assert!(!format!("{call:?}").contains(encoded));
        for other in [local(Path::new("/g")), over_tree(Path::new("/g"), Path::new("/t"), Path::new("/i"))] {
            assert!(!joined(&other).1.contains(encoded));
        }
        let (args, env) = joined(&mirror(Path::new("/g"), &Remote::parse("https://m.example.org/a"), NETWORK_TIMEOUT));
        assert!(!env.contains("GIT_CONFIG_COUNT") && !args.contains("sesame"), "{env}");
    }

    #[test]
    fn a_remote_that_may_answer_later_is_told_from_one_that_refuses() {
        for (message, may_pass) in [
            ("fatal: unable to access 'http://h/': Could not resolve host: h", true),
            ("fatal: unable to access 'http://h/': Failed to connect to h port 1: Connection refused", true),
            ("error: RPC failed; curl 56 Recv failure: Connection reset by peer", true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 502", true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 429", true),
            ("fatal: remote-curl: bad line length character: {\"id; fatal: expected flush after ref listing", true),
            ("fatal: http://h/info/refs not valid: is this a git repository?", true),
            ("fatal: protocol error: bad pack header", true),
            ("fatal: unable to access 'http://h/': The requested URL returned error: 403", false),
            ("! [remote rejected] main -> main (pre-receive hook declined)", false),
            ("fatal: Authentication failed for 'http://h/'", false),
            ("remote: Not found.; fatal: repository 'http://h/' not found", false),
            (
                "git@h: Permission denied (publickey).; fatal: Could not read from remote repository.; Connection closed",
                false,
            ),
            ("fatal: '/srv/x.git' does not appear to be a git repository", false),
        ] {
            assert_eq!(!is_refusal(message), may_pass, "{message}");
        }
    }

    #[test]
    fn a_missing_git_is_told_with_a_remedy() {
        let error = from_process("fetching".into(), ProcessError::NotInstalled { program: "git".into() });
        assert!(!error.is_transient() && error.to_string().contains("install the package `git`"), "{error}");
    }
}
