//! A root in a temporary folder, and rig run in it with nothing of this machine's environment.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

/// The lines of a project file that is right, but for its token.
pub(crate) const GOOD: &str =
    "repo = \"acme/widget\"\nforge_url = \"https://git.example.org\"\n[forge]\nbot = \"dev-bot\"\n";

/// Returns the program under test: the one that was built with the tests, or the one that RIG_TEST_RIG names, such as an optimised
/// one whose memory is to be measured.
pub(crate) fn program() -> String {
    std::env::var("RIG_TEST_RIG").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rig").to_owned())
}

pub(crate) struct TestRoot {
    folder: tempfile::TempDir,
}

impl TestRoot {
    /// Returns a root with empty `projects/` and `state/`, and a home folder beside them.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/projects", "root/state", "home"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        std::fs::canonicalize(self.folder.path().join("root")).unwrap()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn root(&self) -> rig::config::Root {
        rig::config::Root::at(self.path())
    }

    /// Writes `projects/NAME.toml`.
    pub(crate) fn project(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join("projects").join(format!("{name}.toml")), text).unwrap();
        self
    }

    /// Writes `state/env` with a mode.
    pub(crate) fn env_file(&self, text: &str, mode: u32) -> &Self {
        let path = self.path().join("state/env");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Returns the command `rig ARGS`, run in the root with its own home and no other variable.
    pub(crate) fn rig(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(program());
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.path()).args(args);
        command
    }
}
