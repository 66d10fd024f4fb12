//! The map of the code and the walk through it, in ARCHITECTURE.md.

use super::pages;
use regex::Regex;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn the_map_names_every_folder_of_the_source_and_nothing_that_is_not_there() {
    let text = pages::read("ARCHITECTURE.md");
    let map = pages::section(&text, "## Code map");
    let named: Vec<String> = pages::code(map).into_iter().map(|code| code.text).filter(|text| is_path(text)).collect();
    let missing: Vec<_> = named.iter().filter(|name| !pages::repository().join(name).exists()).collect();
    assert!(missing.is_empty(), "the map names what does not exist: {missing:?}");
    let folders = folders_below(&pages::repository().join("src"), Path::new("src"));
    let unnamed: Vec<_> =
        folders.iter().filter(|folder| !named.iter().any(|name| Path::new(name) == folder.as_path())).collect();
    assert!(unnamed.is_empty(), "the map leaves out {unnamed:?}");
}

#[test]
fn the_pages_name_only_files_and_functions_that_exist() {
    let function = Regex::new(r"^(?:[A-Za-z_]+::)*([a-z_]+)\(\)$").unwrap();
    let source = all_source(&pages::repository().join("src"));
    let mut wrong = Vec::new();
    for page in pages::all() {
        for code in pages::code(&page.text).into_iter().filter(|code| code.language.is_none()) {
            let is_gone = is_path(&code.text) && !pages::repository().join(&code.text).exists();
            let is_unknown = function
                .captures(&code.text)
                .is_some_and(|found| !Regex::new(&format!(r"fn {}\b", &found[1])).unwrap().is_match(&source));
            if is_gone || is_unknown {
                wrong.push(format!("{}:{}: {}", page.name, code.line, code.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns whether a piece of code names a file or folder of the repository.
fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let known = ["src", "tests", "benches", "examples", "scripts", "migrations", "docs", ".ci"];
    text.contains('/') && known.contains(&first) && !text.contains([' ', '*', '<'])
}

fn folders_below(path: &Path, name: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            let name = name.join(entry.file_name());
            found.extend(folders_below(&entry.path(), &name));
            found.push(name);
        }
    }
    found
}

fn all_source(path: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            text.push_str(&all_source(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(entry.path()).unwrap());
        }
    }
    text
}
