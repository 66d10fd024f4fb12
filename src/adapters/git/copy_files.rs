//! Files that a fresh worktree needs and git does not carry, such as `.env`: copied from the human's checkout, ignored by
//! git, and never part of a rescue.

use super::{GitPlan, command::failed, repositories::make_folder};
use crate::ports::workspace::{WorkspaceError, WorkspaceResult};
use std::path::{Component, Path, PathBuf};

/// Most files that one entry of `copy_files` may stand for: a folder of settings, not of dependencies.
const MOST_FILES: usize = 10_000;

/// Copies each entry that the worktree does not have yet. Returns what is not there to be copied.
pub(super) fn copy_all(plan: &GitPlan, worktree: &Path) -> WorkspaceResult<Vec<String>> {
    let mut missing = Vec::new();
    if plan.copy_files.is_empty() {
        return Ok(missing);
    }
    let root = plan
        .repo_root
        .as_ref()
        .ok_or_else(|| failed("copying `copy_files`", "`repo_root` is not set, so there is nothing to copy from"))?;
    let root = root.canonicalize().map_err(|error| failed(root.display().to_string(), &error.to_string()))?;
    let worktree =
        worktree.canonicalize().map_err(|error| failed(worktree.display().to_string(), &error.to_string()))?;
    for entry in &plan.copy_files {
        let relative = checked(entry)?;
        let mut left = MOST_FILES;
        copy(&root, &worktree, &relative, &mut left, &mut missing)?;
    }
    Ok(missing)
}

/// Returns the lines that make git ignore exactly these paths.
pub(super) fn exclude_lines(copy_files: &[String]) -> String {
    let mut lines = String::from("# copied by rig (copy_files)\n");
    for relative in copy_files.iter().filter_map(|entry| checked(entry).ok()) {
        lines.push('/');
        for c in relative.to_string_lossy().chars() {
            if matches!(c, '\\' | '*' | '?' | '[' | ']' | '!' | '#' | ' ') {
                lines.push('\\');
            }
            lines.push(c);
        }
        lines.push('\n');
    }
    lines
}

/// Returns whether a path in the worktree is one of the copied files, or in a copied folder.
pub(super) fn is_copied(copy_files: &[String], path: &Path) -> bool {
    copy_files.iter().filter_map(|entry| checked(entry).ok()).any(|copied| path.starts_with(copied))
}

/// Returns the entry as a plain relative path, or an error when it could lead elsewhere.
fn checked(entry: &str) -> WorkspaceResult<PathBuf> {
    let refuse = |why: &str| Err(failed(format!("`copy_files` entry `{entry}`"), why));
    let mut relative = PathBuf::new();
    for part in Path::new(entry).components() {
        match part {
            Component::Normal(part) if part.eq_ignore_ascii_case(".git") => {
                return refuse("git's own files are not copied");
            }
            Component::Normal(part) => relative.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return refuse("only paths within `repo_root` may be copied");
            }
        }
    }
    if relative.as_os_str().is_empty() || entry.contains(['\n', '\0']) {
        return refuse("is not a path");
    }
    Ok(relative)
}

fn copy(
    root: &Path,
    worktree: &Path,
    relative: &Path,
    left: &mut usize,
    missing: &mut Vec<String>,
) -> WorkspaceResult<()> {
    let (from, to) = (root.join(relative), worktree.join(relative));
    let what = || format!("copying {} into the worktree", relative.display());
    let io = |error: std::io::Error| failed(what(), &error.to_string());
    let real = match from.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %from.display(), "`copy_files` names what is not there");
            missing.push(relative.display().to_string());
            return Ok(());
        }
        Err(error) => return Err(io(error)),
    };
    if !real.starts_with(root) {
        return Err(failed(what(), "a symbolic link leads out of `repo_root`"));
    }
    *left = left.checked_sub(1).ok_or_else(|| failed(what(), &format!("more than {MOST_FILES} files")))?;
    if real.is_dir() {
        for entry in std::fs::read_dir(&real).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if name != ".git" {
                copy(root, worktree, &relative.join(name), left, missing)?;
            }
        }
        return Ok(());
    }
    if to.symlink_metadata().is_ok() {
        return Ok(());
    }
    make_parent(worktree, &to, &what())?;
    // A copy that is cut short must not pass for the file: it gets its name last.
    let partial = to.with_file_name(format!(".{}.rig-partial", to.file_name().unwrap_or_default().to_string_lossy()));
    std::fs::copy(&real, &partial).and_then(|_| std::fs::rename(&partial, &to)).map_err(io)
}

/// Makes the folder above `to`, unless a symbolic link in the worktree would lead it elsewhere.
fn make_parent(worktree: &Path, to: &Path, what: &str) -> Result<(), WorkspaceError> {
    let Some(parent) = to.parent() else { return Ok(()) };
    let existing = parent.ancestors().find(|folder| folder.symlink_metadata().is_ok());
    let inside = existing.and_then(|folder| folder.canonicalize().ok()).is_some_and(|real| real.starts_with(worktree));
    if !inside {
        return Err(failed(what, "a symbolic link leads out of the worktree"));
    }
    make_folder(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_lead_elsewhere_are_refused() {
        for bad in ["/etc/passwd", "../x", "a/../../x", "", ".", ".git/config", "a\nb"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert_eq!(checked("./a//b/").unwrap(), PathBuf::from("a/b"));
    }

    #[test]
    fn ignored_lines_mean_the_path_and_no_pattern() {
        let lines = exclude_lines(&[".env".into(), "a b/[x]*".into(), "../no".into()]);
        assert_eq!(lines, "# copied by rig (copy_files)\n/.env\n/a\\ b/\\[x\\]\\*\n");
    }

    #[test]
    fn a_copied_folder_covers_what_is_in_it() {
        let copied = [".env".to_owned(), "conf".to_owned()];
        assert!(is_copied(&copied, Path::new("conf/local.toml")));
        assert!(!is_copied(&copied, Path::new("config")) && !is_copied(&copied, Path::new(".env.example")));
    }
}
