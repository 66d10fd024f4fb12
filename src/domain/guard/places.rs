//! Where a path lies: in the worktree, in a folder that the project allows, in a temporary folder, or elsewhere.

use super::{
    rules::{Confines, Refusal, Surroundings},
    shell::Folders,
    value::Value,
};
use std::path::{Component, Path, PathBuf};

/// Folders for temporary files, shared by all programs of the machine: new files may be made there, none removed.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Devices that take what is written and keep nothing.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/full"];
/// What to do instead of naming a path that is not known.
pub(super) const WRITE_OUT: &str = "Write the path out.";
/// What the sockets of tmux lie in, below a temporary folder.
const TMUX_FOLDER: &str = "tmux-";

/// Judges paths of one place in a command.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    confines: &'a Confines,
    around: &'a dyn Surroundings,
    folders: &'a Folders,
}

/// Where a path lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The agent's own: worktree, allowed folders, the files that rig expects it to write.
    Own,
    Temporary,
    /// git's own files in the worktree, and settings that start programs.
    Machinery,
    /// The worktree as a whole.
    Whole,
    Elsewhere,
}

impl<'a> Places<'a> {
    pub(super) fn new(confines: &'a Confines, around: &'a dyn Surroundings, folders: &'a Folders) -> Self {
        Self { confines, around, folders }
    }

    /// Judges a path that is written: made, or replaced.
    pub(super) fn write(&self, target: &Value, what: &str) -> Result<(), Refusal> {
        if target.plain().is_some_and(is_device) {
            return Ok(());
        }
        for path in self.paths(target, what, true)? {
            match self.place(&path) {
                Place::Own | Place::Temporary | Place::Whole => {}
                Place::Machinery => return Err(self.machinery(&path, what)),
                Place::Elsewhere => {
                    return Err(Refusal::new(
                        format!("{what} writes {}, which is outside the worktree", path.display()),
                        &format!("Write below {} or a temporary folder.", self.confines.worktree.display()),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Judges a path that is removed. A link is removed, not what it points to.
    pub(super) fn remove(&self, target: &Value, what: &str) -> Result<(), Refusal> {
        let follow = target.text.ends_with('/');
        for path in self.paths(target, what, follow)? {
            match self.place(&path) {
                Place::Own => {}
                Place::Machinery => return Err(self.machinery(&path, what)),
                Place::Whole => {
                    return Err(Refusal::new(
                        format!("{what} removes the worktree itself, {}", path.display()),
                        "Remove only what you mean, by its name.",
                    ));
                }
                Place::Temporary | Place::Elsewhere => {
                    return Err(Refusal::new(
                        format!("{what} removes {}, which is outside the worktree", path.display()),
                        &format!("Remove only below {}; leave the rest.", self.confines.worktree.display()),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns whether a path is the agent's own, from every folder that the command may be in.
    pub(super) fn is_own(&self, target: &Value) -> bool {
        let paths = self.paths(target, "", true).unwrap_or_default();
        !paths.is_empty() && paths.iter().all(|path| self.place(path) == Place::Own)
    }

    /// Returns whether a path is a file that rig expects the agent to write, from every folder that the command may be in.
    pub(super) fn is_expected_file(&self, target: &Value) -> bool {
        let paths = self.paths(target, "", true).unwrap_or_default();
        let expected: Vec<PathBuf> =
            self.confines.writable.iter().map(|file| self.around.real_path(file, true)).collect();
        !paths.is_empty() && paths.iter().all(|path| expected.contains(path))
    }

    /// Returns whether all folders that the command may be in are the agent's own, or temporary.
    pub(super) fn is_home(&self) -> bool {
        let Folders::Any(folders) = self.folders else { return false };
        folders.iter().all(|folder| matches!(self.place(folder), Place::Own | Place::Whole | Place::Temporary))
    }

    /// Returns the real paths that an operand may mean.
    pub(super) fn paths(&self, target: &Value, what: &str, follow: bool) -> Result<Vec<PathBuf>, Refusal> {
        if !target.known {
            return Err(Refusal::new(
                format!("which path {what} means by `{}` is not known before it runs", target.shown()),
                WRITE_OUT,
            ));
        }
        let path = Path::new(&target.text);
        if target.glob && climbs_behind_glob(path) {
            return Err(Refusal::new(
                format!("{what} climbs out of a folder that a pattern names, `{}`", target.shown()),
                "Write the path out.",
            ));
        }
        let folders = match self.folders {
            _ if path.is_absolute() => vec![PathBuf::from("/")],
            Folders::Any(folders) => folders.clone(),
            Folders::Unknown => {
                return Err(Refusal::new(
                    format!("in which folder {what} happens is not known before it runs"),
                    "Use absolute paths.",
                ));
            }
        };
        let follow = follow && !target.glob;
        Ok(folders.iter().map(|folder| self.around.real_path(&folder.join(path), follow)).collect())
    }

    /// Returns whether there is something at a path, from every folder that the command may be in.
    pub(super) fn exists(&self, target: &Value) -> bool {
        self.paths(target, "", true).is_ok_and(|paths| target.glob || paths.iter().all(|path| self.around.exists(path)))
    }

    /// Returns the branches that the command may be on.
    pub(super) fn branches(&self) -> Vec<Option<String>> {
        match self.folders {
            Folders::Any(folders) => folders.iter().map(|folder| self.around.current_branch(folder)).collect(),
            Folders::Unknown => vec![None],
        }
    }

    /// Returns whether an operand is, once its links are followed, none of the files that lie on a disk.
    pub(super) fn is_device(&self, target: &Value) -> bool {
        let paths = self.paths(target, "", true).unwrap_or_default();
        paths.iter().any(|path| path.starts_with("/dev") || path.starts_with("/proc"))
    }

    /// Returns whether a name is that of a branch or tag, in any folder that the command may be in.
    pub(super) fn has_branch(&self, name: &str) -> bool {
        match self.folders {
            Folders::Any(folders) => folders.iter().any(|folder| self.around.has_branch(folder, name)),
            Folders::Unknown => true,
        }
    }

    fn place(&self, path: &Path) -> Place {
        let real = |path: &Path| self.around.real_path(path, true);
        let policy = &self.confines.policy;
        if policy.allow_paths.iter().any(|allowed| path.starts_with(real(allowed))) {
            return Place::Own;
        }
        if self.confines.writable.iter().any(|file| path == real(file)) {
            return Place::Own;
        }
        let worktree = real(&self.confines.worktree);
        if path == worktree {
            return Place::Whole;
        }
        if let Ok(inside) = path.strip_prefix(&worktree) {
            return if is_machinery(inside) { Place::Machinery } else { Place::Own };
        }
        // rig's own files stay closed also where the root lies in a temporary folder.
        if path.starts_with(real(&self.confines.root)) || path == real(&self.confines.rig) {
            return Place::Elsewhere;
        }
        let variable = self.around.variables().get("TMPDIR").map(|folder| real(Path::new(folder)));
        let own = variable.filter(|folder| folder.is_absolute() && folder.components().count() > 2);
        let mut temporary = TEMPORARY.iter().map(|folder| real(Path::new(folder))).chain(own);
        let inside = temporary.find_map(|folder| path.strip_prefix(folder).ok().map(Path::to_owned));
        let is_tmux = |inside: &Path| {
            inside.components().next().is_some_and(|first| first.as_os_str().to_string_lossy().starts_with(TMUX_FOLDER))
        };
        match inside {
            Some(inside) if !is_tmux(&inside) => Place::Temporary,
            _ => Place::Elsewhere,
        }
    }

    fn machinery(&self, path: &Path, what: &str) -> Refusal {
        Refusal::new(
            format!("{what} changes {}, which decides what git or the agent itself runs", path.display()),
            "Leave it as it is; use git's own commands for git's files.",
        )
    }
}

/// Returns whether a path inside the worktree is git's own, or settings by which the agent would run programs unjudged.
/// A pattern counts when it may mean one.
fn is_machinery(inside: &Path) -> bool {
    let mut parts = inside.components().map(|part| part.as_os_str().to_string_lossy());
    let Some(first) = parts.next() else { return false };
    let is_glob = first.contains(['*', '?', '[']);
    let before = first.split(['*', '?', '[']).next().unwrap_or_default();
    let may_be = |name: &str| first == name || is_glob && before.starts_with('.') && name.starts_with(before);
    if may_be(".git") {
        return true;
    }
    let is_settings = |second: &str| {
        let before = second.split(['*', '?', '[']).next().unwrap_or_default();
        second.starts_with("settings") || before.len() < second.len() && "settings".starts_with(before)
    };
    may_be(".claude") && parts.next().is_some_and(|second| is_settings(&second))
}

fn is_device(path: &str) -> bool {
    let number = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
    DEVICES.contains(&path) || path.strip_prefix("/dev/fd/").is_some_and(number)
}

fn climbs_behind_glob(path: &Path) -> bool {
    let mut behind = false;
    path.components().any(|part| match part {
        Component::ParentDir => behind,
        Component::Normal(part) => {
            behind |= part.to_string_lossy().contains(['*', '?', '[']);
            false
        }
        _ => false,
    })
}
