//! Finds the root folder and makes its state folder. A root that was named must be there; one that nobody named is made when
//! something is to be kept in it.

use super::{environment::Environment, root::Root};
use std::{
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    #[error("the root {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("the root {} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("no folder from {} upwards has projects/ and state/, and there is no home folder to fall back to", .0.display())]
    NoHome(PathBuf),
    #[error("the current folder cannot be told: {0}")]
    NoCurrentFolder(String),
    #[error("the state folder {} cannot be made: {message}", path.display())]
    NotMade { path: PathBuf, message: String },
    #[error("the state folder {} belongs to user {owner}, and rig runs as user {user}", path.display())]
    Foreign { path: PathBuf, owner: u32, user: u32 },
    #[error("the state folder {} cannot be written: {message}", path.display())]
    ReadOnly { path: PathBuf, message: String },
}

impl RootError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            RootError::Missing(path) => {
                format!("make it: mkdir -p {0}/projects {0}/state", path.display())
            }
            RootError::NotAFolder(_) => "give the folder that holds projects/ and state/".to_owned(),
            RootError::NoHome(_) => "give --root or set RIG_ROOT".to_owned(),
            RootError::NoCurrentFolder(_) => "change to a folder that exists, or give --root".to_owned(),
            RootError::NotMade { path, .. } => {
                format!("check that {} can be written", path.parent().unwrap_or(path).display())
            }
            RootError::Foreign { path, user, .. } => {
                format!("run rig as the owner, or give it over: chown -R {user} {}", path.display())
            }
            RootError::ReadOnly { path, .. } => {
                format!(
                    "make it writable: chmod u+rwx {}, and check that its disk is not mounted read-only",
                    path.display()
                )
            }
        }
    }
}

impl Root {
    /// Finds the root: the given one, else the nearest folder from here upwards that has `projects/` and `state/`, else
    /// `rig` in the user's data folder.
    pub fn find(given: Option<PathBuf>) -> Result<Root, RootError> {
        let here = std::env::current_dir().map_err(|error| RootError::NoCurrentFolder(error.to_string()));
        match given {
            Some(path) if path.is_absolute() => Root::find_from(Some(path), Path::new("/"), &Environment::default()),
            given => Root::find_from(given, &here?, &Environment::of_process()),
        }
    }

    /// Finds the root as [`Root::find`] does, seen from a folder and an environment.
    pub fn find_from(given: Option<PathBuf>, here: &Path, environment: &Environment) -> Result<Root, RootError> {
        if let Some(path) = given {
            let path = here.join(path);
            return match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => Ok(Root::at(std::fs::canonicalize(&path).unwrap_or(path))),
                Ok(_) => Err(RootError::NotAFolder(path)),
                Err(_) => Err(RootError::Missing(path)),
            };
        }
        let is_root = |folder: &&Path| folder.join("projects").is_dir() && folder.join("state").is_dir();
        if let Some(folder) = here.ancestors().find(is_root) {
            return Ok(Root::at(folder));
        }
        let data = environment.get("XDG_DATA_HOME").map(|(folder, _)| PathBuf::from(folder));
        data.filter(|folder| folder.is_absolute())
            .or_else(|| environment.home().map(|home| home.join(".local/share")))
            .map(|folder| Root::at(folder.join("rig")))
            .ok_or_else(|| RootError::NoHome(here.to_owned()))
    }

    /// Makes the state folder when it is missing, closes it to other users, and checks that it can be written.
    /// Harmless when repeated.
    pub fn ensure_state(&self) -> Result<(), RootError> {
        let path = self.state_dir();
        let not_made = |error: std::io::Error| RootError::NotMade { path: path.clone(), message: error.to_string() };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(not_made)?;
        let metadata = std::fs::metadata(&path).map_err(not_made)?;
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(RootError::Foreign { path, owner: metadata.uid(), user });
        }
        let read_only = |message: String| RootError::ReadOnly { path: path.clone(), message };
        if metadata.mode() & 0o077 != 0 {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
                .map_err(|error| read_only(error.to_string()))?;
        }
        // Asks the kernel instead of the mode bits: a file system mounted read-only has fine mode bits.
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|error| read_only(std::io::Error::from(error).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(folders: &[&str]) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for folder in folders {
            std::fs::create_dir_all(base.path().join(folder)).unwrap();
        }
        base
    }

    #[test]
    fn the_nearest_folder_upwards_with_both_wins() {
        let base = folder_with(&["projects", "state", "in/projects", "in/state", "in/deep/projects", "in/deep/er"]);
        let none = Environment::default();
        let found = Root::find_from(None, &base.path().join("in/deep/er"), &none).unwrap();
        assert_eq!(found.path(), base.path().join("in"));
    }

    #[test]
    fn without_one_it_is_in_the_data_folder() {
        let base = folder_with(&["empty"]);
        let find =
            |variables: &[(&str, &str)]| Root::find_from(None, &base.path().join("empty"), &Environment::of(variables));
        assert_eq!(find(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]).unwrap().path(), Path::new("/d/rig"));
        assert_eq!(find(&[("XDG_DATA_HOME", "d"), ("HOME", "/h")]).unwrap().path(), Path::new("/h/.local/share/rig"));
        assert!(matches!(find(&[]), Err(RootError::NoHome(_))));
    }

    #[test]
    fn a_given_root_must_be_a_folder() {
        let base = folder_with(&["root"]);
        std::fs::write(base.path().join("file"), "").unwrap();
        let find = |name: &str| Root::find_from(Some(name.into()), base.path(), &Environment::default());
        assert!(find("root").is_ok());
        assert!(matches!(find("gone"), Err(RootError::Missing(_))));
        assert!(matches!(find("file"), Err(RootError::NotAFolder(_))));
    }

    #[test]
    fn the_state_folder_is_closed_to_others() {
        let base = folder_with(&["state"]);
        std::fs::set_permissions(base.path().join("state"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for root in [Root::at(base.path()), Root::at(base.path().join("new/root"))] {
            root.ensure_state().unwrap();
            root.ensure_state().unwrap();
            assert_eq!(std::fs::metadata(root.state_dir()).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_state_folder_that_cannot_be_made_names_its_parent() {
        let base = folder_with(&[]);
        std::fs::write(base.path().join("state"), "").unwrap();
        let error = Root::at(base.path()).ensure_state().unwrap_err();
        assert!(matches!(error, RootError::NotMade { .. }), "{error}");
        assert!(error.hint().contains(&base.path().display().to_string()), "{}", error.hint());
    }
}
