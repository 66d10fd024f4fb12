//! What a pull request changes, and what of it the gate itself rests on.

use super::CodeOwners;
use crate::domain::ids::Sha;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::{collections::BTreeSet, sync::LazyLock};

/// The files that a pull request changes: the complete list, by git's own account.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Commit of the primary branch that the list was made against.
    pub base: Option<Sha>,
    /// Paths relative to the repository; of a renamed file both.
    pub files: Vec<String>,
    /// The CODEOWNERS of the base, not of the pull request: a change must not choose its own owners.
    pub code_owners: Option<CodeOwners>,
}

/// What the gate rests on in any repository: who weakens one of these can let anything pass. Definitions of CI, the files
/// that name owners, configuration of linters and of tests, and what tells rig's agents how to work.
pub const FOUNDATIONS: &[&str] = &[
    ".ci/**",
    ".circleci/**",
    ".claude/**",
    ".forgejo/**",
    ".gitea/**",
    ".github/CODEOWNERS",
    ".github/actions/**",
    ".github/workflows/**",
    ".gitlab-ci.yml",
    ".drone.yml",
    ".rig/**",
    ".travis.yml",
    ".woodpecker.{yml,yaml}",
    ".woodpecker/**",
    "CODEOWNERS",
    "Jenkinsfile",
    "azure-pipelines.yml",
    "docs/CODEOWNERS",
    "**/.clang-tidy",
    "**/.coveragerc",
    "**/.eslintrc*",
    "**/.flake8",
    "**/.golangci.{yml,yaml,toml,json}",
    "**/.pre-commit-config.yaml",
    "**/.pylintrc",
    "**/.rubocop.yml",
    "**/.shellcheckrc",
    "**/clippy.toml",
    "**/.clippy.toml",
    "**/codecov.yml",
    "**/conftest.py",
    "**/deny.toml",
    "**/eslint.config.*",
    "**/jest.config.*",
    "**/mypy.ini",
    "**/nextest.toml",
    "**/phpstan.neon",
    "**/playwright.config.*",
    "**/pytest.ini",
    "**/ruff.toml",
    "**/rustfmt.toml",
    "**/tox.ini",
    "**/tsconfig*.json",
    "**/vitest.config.*",
];

/// Made once: dozens of globs take far longer to read than files to compare with them, and the gate is asked at every tick.
static FOUNDATION_SET: LazyLock<GlobSet> = LazyLock::new(|| set(FOUNDATIONS));

/// Returns the files that the gate rests on: those of any repository, those that match a glob of the project's, and those
/// that the command of CI names. A symlink or a submodule is one file to git, and stands for whatever is found below it: it
/// is one of them where something below it would be.
pub(super) fn resting_on<'a>(files: &'a [String], protected: &[&str], of_ci: &BTreeSet<String>) -> Vec<&'a str> {
    let set = set(protected);
    let matches = |path: &str| FOUNDATION_SET.is_match(path) || set.is_match(path);
    let named = || FOUNDATIONS.iter().copied().chain(protected.iter().copied()).chain(of_ci.iter().map(String::as_str));
    let rests = |file: &&str| {
        let is_above = |path: &str| path.strip_prefix(*file).is_some_and(|rest| rest.starts_with('/'));
        matches(file) || of_ci.contains(*file) || matches(&format!("{file}/_")) || named().any(is_above)
    };
    files.iter().map(String::as_str).filter(rests).collect()
}

/// Returns the files that match one of the globs. A glob that cannot be read is left out: the configuration has checked it.
fn matching<'a>(files: &'a [String], globs: &[&str]) -> Vec<&'a str> {
    let set = set(globs);
    files.iter().map(String::as_str).filter(|file| set.is_match(file)).collect()
}

/// Returns whether there are files and all of them match one of the globs.
pub(super) fn lies_within(files: &[String], globs: &[&str]) -> bool {
    !files.is_empty() && !globs.is_empty() && matching(files, globs).len() == files.len()
}

fn set(globs: &[&str]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_foundation_is_a_glob_that_can_be_read() {
        for glob in FOUNDATIONS {
            assert!(GlobBuilder::new(glob).literal_separator(true).build().is_ok(), "{glob}");
        }
    }

    #[test]
    fn foundations_are_found_and_ordinary_files_are_not() {
        let shaken = [
            ".github/workflows/ci.yml",
            ".woodpecker.yml",
            ".woodpecker/test.yaml",
            ".ci/run",
            "clippy.toml",
            "crates/a/rustfmt.toml",
            "docs/CODEOWNERS",
            "web/jest.config.js",
            ".claude/settings.json",
        ];
        assert_eq!(resting_on(&files(&shaken), &[], &BTreeSet::new()), shaken);
        let ordinary = ["src/main.rs", "README.md", ".github/ISSUE_TEMPLATE/bug.md", "tests/it.rs", "Cargo.toml"];
        assert!(resting_on(&files(&ordinary), &[], &BTreeSet::new()).is_empty());
    }

    #[test]
    fn what_stands_for_a_folder_that_is_rested_on_is_found() {
        let (protected, of_ci) = (["infra/**", "web/*/lock/**", "{a,b}/**"], ["ci/run.sh".to_owned()].into());
        let resting = [".ci", ".claude", ".github", ".github/workflows", "docs", "infra", "web", "a", "ci"];
        assert_eq!(resting_on(&files(&resting), &protected, &of_ci), resting);
        let beside =
            ["claude", ".claude2", "infra2", "in", "c", "ci2", "x/ci", "web/README.md", "README.md", "src/docs"];
        assert!(resting_on(&files(&beside), &protected, &of_ci).is_empty());
    }

    #[test]
    fn a_change_lies_within_globs_only_as_a_whole() {
        let docs = ["docs/**", "*.md"];
        assert!(lies_within(&files(&["docs/a/b.md", "README.md"]), &docs));
        assert!(!lies_within(&files(&["docs/a.md", "src/main.rs"]), &docs));
        assert!(!lies_within(&files(&["src/README.md"]), &docs));
        assert!(!lies_within(&files(&[]), &docs));
        assert!(!lies_within(&files(&["docs/a.md"]), &[]));
    }
}
