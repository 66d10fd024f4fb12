//! The pages of the documentation, and their parts.

use regex::Regex;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// One page.
pub(super) struct Page {
    /// Relative to the repository.
    pub(super) name: String,
    pub(super) text: String,
}

/// A piece of a page that is written as code, with the line that it stands on.
pub(super) struct Code {
    pub(super) line: usize,
    pub(super) text: String,
    /// Language of the block; `None` for a span within a sentence.
    pub(super) language: Option<String>,
}

pub(super) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(name: &str) -> String {
    let path = repository().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks the part of a page below a line, which is made; writes it anew instead with `RIG_UPDATE_DOCS=1`.
pub(super) fn is_made(name: &str, begin: &str, made: &str) {
    let page = read(name);
    let (head, found) = page.split_once(begin).expect("the page says where its made part begins");
    if std::env::var_os("RIG_UPDATE_DOCS").is_some() {
        fs::write(repository().join(name), format!("{head}{begin}{made}")).unwrap();
        return;
    }
    let differs = made.lines().zip(found.lines()).find(|(made, found)| made != found);
    assert!(
        found == made,
        "{name} is behind its source; write it anew with RIG_UPDATE_DOCS=1. First difference: {differs:#?}"
    );
}

/// Returns every page: those beside the README, and all of docs/.
pub(super) fn all() -> Vec<Page> {
    let mut names = Vec::new();
    collect(&repository(), Path::new(""), false, &mut names);
    collect(&repository(), Path::new("docs"), true, &mut names);
    names.sort();
    names.into_iter().map(|name| Page { text: read(&name), name }).collect()
}

fn collect(root: &Path, folder: &Path, deep: bool, names: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if deep {
                collect(root, &path, deep, names);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            names.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// Returns everything of a page that is written as code.
pub(super) fn code(text: &str) -> Vec<Code> {
    static SPAN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"``([^`]|[^`]`[^`])+``|`([^`]+)`").unwrap());
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim().to_owned()) };
        } else if let Some(language) = &block {
            found.push(Code { line: line_number, text: line.to_owned(), language: Some(language.clone()) });
        } else {
            found.extend(SPAN.find_iter(line).map(|span| Code {
                line: line_number,
                text: span.as_str().trim_matches('`').trim().to_owned(),
                language: None,
            }));
        }
    }
    found
}

/// Returns the text of a section, from its title to the next one of the same or a higher level.
pub(super) fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let start = text.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no section `{title}`")) + 1;
    let level = title.chars().take_while(|c| *c == '#').count();
    let mut end = start + title.len();
    for line in text[end..].split_inclusive('\n') {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        if hashes > 0 && hashes <= level && line[hashes..].starts_with(' ') {
            break;
        }
        end += line.len();
    }
    &text[start..end]
}
