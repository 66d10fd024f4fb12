//! Loads the projects of a root. Each file stands for itself: a broken one is reported and the others are loaded.

use super::{
    document::{self, Document, nearest},
    environment::Environment,
    problem::{Problem, ProjectProblem},
    project,
    resolve::{self, Origin, Setting, Settings},
    root::Root,
    settings::Project,
    text_kind::TextKind,
    value::Value,
};
use crate::domain::ids::ProjectName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Largest project file that is read, in bytes; a real one is a hundredth of it.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The projects that can be worked on, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Loaded {
    pub projects: Vec<Project>,
    pub problems: Vec<ProjectProblem>,
}

/// Why the one project that was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("there is no project in {}", .0.display())]
    None(PathBuf),
    #[error("there are several projects: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("there is no project `{name}`")]
    Unknown { name: String, near: Option<String>, known: Vec<String> },
    #[error("{}", broken(.0))]
    Broken(ProjectProblem),
}

impl LoadError {
    /// Returns what the user can do about it; empty when the message says it.
    pub fn hint(&self) -> String {
        match self {
            LoadError::None(folder) => {
                format!("write {}/NAME.toml; every key is in projects/example.toml", folder.display())
            }
            LoadError::Several(_) => "say which with --project".to_owned(),
            LoadError::Unknown { near: Some(near), .. } => format!("did you mean `{near}`?"),
            LoadError::Unknown { known, .. } if known.is_empty() => "this root has no project".to_owned(),
            LoadError::Unknown { known, .. } => format!("known are {}", known.join(", ")),
            LoadError::Broken(problem) => match problem.problems.as_slice() {
                [only] => only.hint.clone(),
                _ => String::new(),
            },
        }
    }
}

/// A single problem leaves its hint to the error's; several carry theirs themselves.
fn broken(problem: &ProjectProblem) -> String {
    match problem.problems.as_slice() {
        [only] => only.to_string(),
        _ => problem.to_string(),
    }
}

/// What a project's file comes to, for people; complete even when something is wrong with it.
#[derive(Debug)]
pub struct Explained {
    pub project: String,
    pub file: PathBuf,
    pub enabled: bool,
    pub settings: Vec<Setting>,
    pub unused_keys: Vec<String>,
    pub problems: Vec<Problem>,
}

/// Loads the projects of a root, or only the named ones. A project that is switched off and broken is left out silently.
pub fn load(root: &Root, only: &[ProjectName]) -> Loaded {
    load_with(root, only, Environment::of_process())
}

/// Loads as [`load`] does, with a given environment.
pub fn load_with(root: &Root, only: &[ProjectName], environment: Environment) -> Loaded {
    let environment = match environment.with_file(root) {
        Ok(environment) => environment,
        // Without its variables every project would be misread, so none is loaded.
        Err(problems) => {
            let problem = ProjectProblem { project: "state/env".to_owned(), problems };
            return Loaded { problems: vec![problem], ..Loaded::default() };
        }
    };
    let files = read_files(root, &environment);
    let mut loaded = Loaded { problems: unknown_names(&files, only), projects: Vec::new() };
    for file in files {
        if !only.is_empty() && !only.iter().any(|name| name.as_str() == file.name) {
            continue;
        }
        let (name, enabled) = (file.name.clone(), file.enabled());
        match project::build(file.settings, &environment) {
            Ok(project) => loaded.projects.push(project),
            Err(_) if !enabled => {}
            Err(problems) => loaded.problems.push(ProjectProblem { project: name, problems }),
        }
    }
    loaded
}

/// Loads one project: the named one, or the only one there is.
pub fn load_one(root: &Root, name: Option<&ProjectName>) -> Result<Project, LoadError> {
    let environment = Environment::of_process()
        .with_file(root)
        .map_err(|problems| LoadError::Broken(ProjectProblem { project: "state/env".to_owned(), problems }))?;
    let file = choose(root, read_files(root, &environment), name)?;
    let project = file.name.clone();
    project::build(file.settings, &environment)
        .map_err(|problems| LoadError::Broken(ProjectProblem { project, problems }))
}

/// Returns the names of the projects that have a file; asks for no token and reports no problem.
pub fn names(root: &Root) -> Vec<ProjectName> {
    let files = read_files(root, &readable_environment(root));
    files.iter().filter_map(|file| ProjectName::new(&file.name).ok()).collect()
}

/// Returns what changes whenever a file is written from which settings come.
pub fn fingerprint(root: &Root) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let files = project_files(&root.projects_dir()).unwrap_or_default().into_iter().chain([root.env_file()]);
    files
        .map(|path| match path.metadata() {
            Ok(meta) => (path, meta.modified().ok(), meta.len()),
            Err(_) => (path, None, 0),
        })
        .collect()
}

/// Returns the given name if it is a project's, or that of the only one there is; asks for no token.
pub fn one_name(root: &Root, name: Option<&ProjectName>) -> Result<ProjectName, LoadError> {
    let file = choose(root, read_files(root, &readable_environment(root)), name)?;
    ProjectName::new(&file.name)
        .map_err(|_| LoadError::Broken(ProjectProblem { project: file.name.clone(), problems: file.settings.problems }))
}

/// Explains every project file of a root, or only the named project's.
pub fn explain(root: &Root, only: Option<&ProjectName>) -> Result<Vec<Explained>, LoadError> {
    let environment = Environment::of_process()
        .with_file(root)
        .map_err(|problems| LoadError::Broken(ProjectProblem { project: "state/env".to_owned(), problems }))?;
    let mut files = read_files(root, &environment);
    if let Some(name) = only {
        files = vec![choose(root, files, Some(name))?];
    }
    let explained = files.into_iter().map(|file| Explained {
        project: file.name.clone(),
        file: file.settings.file.clone(),
        enabled: file.enabled(),
        settings: file.settings.all(),
        unused_keys: project::unused_keys(&file.settings),
        problems: project::build(file.settings, &environment).err().unwrap_or_default(),
    });
    Ok(explained.collect())
}

/// A project file that has keys.
struct File {
    name: String,
    settings: Settings,
}

impl File {
    fn enabled(&self) -> bool {
        self.settings.value("enabled") != Some(&Value::Flag(false))
    }
}

/// The variables that can be had; a refused `state/env` is told by the commands that need what is in it.
fn readable_environment(root: &Root) -> Environment {
    let process = Environment::of_process();
    process.clone().with_file(root).unwrap_or(process)
}

/// Reads all project files with keys, in the order of their names.
fn read_files(root: &Root, environment: &Environment) -> Vec<File> {
    let folder = root.projects_dir();
    let documents: Vec<_> = match project_files(&folder) {
        Ok(paths) => paths.into_iter().map(read_document).filter(|(_, document)| document.any_key).collect(),
        // Told as the one broken file there is: no project at all would look like nothing to do.
        Err(error) => {
            let problem = Problem::new(&folder, None, format!("cannot be read: {error}"));
            vec![(folder, Document::unreadable(vec![problem]))]
        }
    };
    let alone = documents.len() == 1;
    let mut files: Vec<File> = documents
        .into_iter()
        .map(|(path, document)| name_file(resolve::resolve(&path, &document, environment, alone), &document))
        .collect();
    report_shared_names(&mut files);
    files
}

fn project_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Editors keep `.#name.toml` and the like beside a file that is being written.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_document(path: PathBuf) -> (PathBuf, Document) {
    let text = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > LARGEST_FILE => Err(format!("is larger than {LARGEST_FILE} bytes")),
        _ => std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}")),
    };
    let document = match text {
        Ok(text) => document::read(&path, &text),
        Err(message) => Document::unreadable(vec![Problem::new(&path, None, message)]),
    };
    (path, document)
}

/// Gives the project its name: the key, a variable, else the stem of the file.
fn name_file(mut settings: Settings, document: &Document) -> File {
    if let Some(Value::Text(name)) = settings.value("name") {
        return File { name: name.clone(), settings };
    }
    let stem = settings.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if document.spoilt.iter().any(|path| path == "name") {
        return File { name: stem, settings };
    }
    match TextKind::Project.check(&stem) {
        Ok(name) => settings.set("name", Value::Text(name), Origin::FileName),
        Err(misfit) => {
            let message = format!("the file's name cannot be the project's: it {}", misfit.message);
            settings.problem("name", message, "write a `name` into the file, or rename it");
        }
    }
    File { name: stem, settings }
}

fn report_shared_names(files: &mut [File]) {
    let mut by_name: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files.iter() {
        by_name.entry(file.name.clone()).or_default().push(file.settings.file.clone());
    }
    for file in files {
        let paths = &by_name[&file.name];
        if paths.len() > 1 {
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            let message = format!("the project name `{}` is used by {}", file.name, paths.join(" and "));
            file.settings.problem("name", message, "give each project its own name");
        }
    }
}

fn unknown_names(files: &[File], only: &[ProjectName]) -> Vec<ProjectProblem> {
    let unknown = only.iter().filter(|name| !files.iter().any(|file| file.name == name.as_str()));
    unknown
        .map(|name| {
            let error = unknown_name(files, name);
            let problem = Problem::new(Path::new("projects"), None, &error).hint(error.hint());
            ProjectProblem { project: name.to_string(), problems: vec![problem] }
        })
        .collect()
}

fn unknown_name(files: &[File], name: &ProjectName) -> LoadError {
    let known: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    LoadError::Unknown {
        name: name.to_string(),
        near: nearest(name.as_str(), &known).map(str::to_owned),
        known: known.into_iter().map(str::to_owned).collect(),
    }
}

fn choose(root: &Root, files: Vec<File>, name: Option<&ProjectName>) -> Result<File, LoadError> {
    let Some(name) = name else {
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        let mut files = files.into_iter();
        return match (files.next(), files.next()) {
            (None, _) => Err(LoadError::None(root.projects_dir())),
            (Some(file), None) => Ok(file),
            (Some(_), Some(_)) => Err(LoadError::Several(names)),
        };
    };
    let error = unknown_name(&files, name);
    files.into_iter().find(|file| file.name == name.as_str()).ok_or(error)
}
