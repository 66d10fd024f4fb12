//! The tmux server: where its socket is, how it is called, whether it is there.

use crate::adapters::process::Program;
use std::{io, os::unix::net::UnixStream, path::PathBuf, time::Duration};

/// Time limit of one tmux command: it talks to a local server that answers in milliseconds.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Variables of the starter that the tmux server and, through it, the pane may see.
const SERVER_ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "LANG", "TERM", "USER", "SHELL", "TMPDIR"];

/// Which tmux server: its socket's name, and the folder of its socket when that is not tmux's own default.
#[derive(Debug, Clone)]
pub struct TmuxPlace {
    pub socket: String,
    pub folder: Option<PathBuf>,
}

impl TmuxPlace {
    /// Returns the server with this socket name in tmux's default folder, whatever TMUX_TMPDIR says: cron and a login
    /// must find the same one.
    pub fn named(socket: impl Into<String>) -> Self {
        Self { socket: socket.into(), folder: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        let folder = self.folder.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
        folder.join(format!("tmux-{}", rustix::process::getuid().as_raw())).join(&self.socket)
    }

    /// Returns a tmux command for this server, with the environment that a server is started with.
    pub(super) fn program(&self) -> Program {
        let mut program = Program::new("tmux").clear_env().timeout(COMMAND_TIMEOUT);
        for (name, value) in std::env::vars_os() {
            let allowed =
                name.to_str().is_some_and(|name| SERVER_ENVIRONMENT.contains(&name) || name.starts_with("XDG_"));
            if allowed {
                program = program.env(name, value);
            }
        }
        if let Some(folder) = &self.folder {
            program = program.env("TMUX_TMPDIR", folder);
        }
        program.args(["-u", "-L", &self.socket, "-f", "/dev/null"])
    }

    /// Returns whether no server listens. Only that is known for sure from outside: tmux ends with 1 for many reasons.
    pub(super) fn has_no_server(&self) -> bool {
        let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        UnixStream::connect(self.path()).is_err_and(|error| kinds.contains(&error.kind()))
    }
}
