//! CODEOWNERS: whose approval a changed file needs. Every line is a pattern and its owners; the last line that matches a
//! file decides, and a line without owners says that the file has none.
//!
//! Two syntaxes are about. GitHub's patterns are those of a gitignore file without negation and without `[ ]`; Forgejo's
//! and Gitea's are regular expressions that must match the whole path, with `!` for those that do not match. The place
//! tells which is meant: `.github` has GitHub's, `.forgejo` and `.gitea` have the forges'. The root and `docs` are read by
//! both, so what either of them makes of the file holds: the last line that matches as one syntax has it, and the last that
//! matches as the other has it.
//! Deliberately absent: resolving teams and mail addresses to accounts; who they are is for the forge to know.

use crate::domain::ids::Login;
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// Places of the file, in the order in which they are looked for; the first that exists counts.
pub const PLACES: &[&str] =
    &[".forgejo/CODEOWNERS", ".gitea/CODEOWNERS", ".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

/// Lines that are read; forges limit the file's size too (GitHub: 3 MB).
const MOST_RULES: usize = 10_000;

/// Who owns which files, as one version of the file says it.
#[derive(Debug, Clone, Default)]
pub struct CodeOwners {
    rules: Vec<Rule>,
    /// Numbers of the lines that make no sense, from 1; nothing that depends on the file is certain then.
    pub damaged_lines: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Rule {
    patterns: Vec<Pattern>,
    owners: Vec<Owner>,
}

#[derive(Debug, Clone)]
enum Pattern {
    Glob(GlobMatcher),
    Regex { regex: Regex, negated: bool },
}

/// One owner of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Account(Login),
    /// A team (`@org/team`) or a mail address, which rig cannot resolve.
    Other(String),
}

impl Owner {
    /// Returns the owner as the file names it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Account(login) => login.as_str(),
            Self::Other(name) => name,
        }
    }
}

/// Which patterns a place's file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Glob,
    Regex,
    Either,
}

fn syntax_of(place: &str) -> Syntax {
    match place.split('/').next() {
        Some(".github") => Syntax::Glob,
        Some(".forgejo" | ".gitea") => Syntax::Regex,
        _ => Syntax::Either,
    }
}

impl CodeOwners {
    /// Reads the text of the file that lies at `place` in the repository.
    pub fn parse(place: &str, text: &str) -> Self {
        let syntax = syntax_of(place);
        let mut read = Self::default();
        for (index, line) in text.lines().enumerate() {
            let words = words(line);
            let Some((pattern, owners)) = words.split_first() else { continue };
            let patterns = patterns(pattern, syntax);
            let owners: Option<Vec<Owner>> = owners.iter().map(|word| owner(word)).collect();
            match owners {
                Some(owners) if !patterns.is_empty() && read.rules.len() < MOST_RULES => {
                    read.rules.push(Rule { patterns, owners });
                }
                _ => read.damaged_lines.push(index + 1),
            }
        }
        read
    }

    /// Returns the owners of a file, of each list of which one has to approve it: one list, or, where the file may be read
    /// in either syntax, one for each that gives it owners.
    pub fn owners_of(&self, path: &str) -> Vec<&[Owner]> {
        let last = |of_syntax: fn(&Pattern) -> bool| {
            let matches =
                |rule: &&Rule| rule.patterns.iter().any(|pattern| of_syntax(pattern) && pattern.matches(path));
            self.rules.iter().rev().find(matches).map(|rule| rule.owners.as_slice())
        };
        let of_either = [last(Pattern::is_glob), last(|pattern| !pattern.is_glob())];
        let mut lists: Vec<&[Owner]> = of_either.into_iter().flatten().filter(|owners| !owners.is_empty()).collect();
        lists.dedup();
        lists
    }
}

impl Pattern {
    fn is_glob(&self) -> bool {
        matches!(self, Self::Glob(_))
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(path),
            Self::Regex { regex, negated } => regex.is_match(path) != *negated,
        }
    }
}

/// Splits a line at spaces that no backslash escapes, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut chars) = (Vec::new(), String::new(), line.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            // Escaped spaces and hashes are meant as they are; other escapes belong to the pattern.
            '\\' => match chars.next_if(|next| matches!(next, ' ' | '#')) {
                Some(' ') => word.push(' '),
                Some(next) => word.push(next),
                None => word.push('\\'),
            },
            '#' if word.is_empty() => break,
            char if char.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            char => word.push(char),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn owner(word: &str) -> Option<Owner> {
    match word.strip_prefix('@') {
        Some(team) if team.contains('/') => Some(Owner::Other(word.to_owned())),
        Some(name) => Login::new(name).ok().map(Owner::Account),
        None if word.contains('@') => Some(Owner::Other(word.to_owned())),
        None => None,
    }
}

fn patterns(pattern: &str, syntax: Syntax) -> Vec<Pattern> {
    let (globs, regexes) = match syntax {
        Syntax::Glob => (globs(pattern), None),
        Syntax::Regex => (Vec::new(), regex(pattern)),
        Syntax::Either if pattern.starts_with('!') => (Vec::new(), regex(pattern)),
        Syntax::Either => (globs(pattern), regex(pattern)),
    };
    globs.into_iter().chain(regexes).collect()
}

/// Makes a gitignore pattern into globs: one for the path itself, one for everything below it.
fn globs(pattern: &str) -> Vec<Pattern> {
    if pattern.starts_with('!') || pattern.contains(['[', ']']) {
        return Vec::new();
    }
    let folder_only = pattern.ends_with('/');
    let trimmed = pattern.trim_end_matches('/');
    // A slash at the beginning or in the middle ties the pattern to the root; `**/` at the beginning unties it again.
    let anchored = trimmed.contains('/');
    let body = trimmed.trim_start_matches('/');
    if body.is_empty() {
        return Vec::new();
    }
    let prefix = if anchored { "" } else { "**/" };
    let mut texts = Vec::new();
    if !folder_only {
        texts.push(format!("{prefix}{body}"));
    }
    // `docs/*` and `/*` mean the files there, not those in folders there.
    if folder_only || !trimmed.ends_with("/*") {
        texts.push(format!("{prefix}{body}/**"));
    }
    let glob = |text: &String| {
        let built = GlobBuilder::new(text).literal_separator(true).build().ok()?;
        Some(Pattern::Glob(built.compile_matcher()))
    };
    texts.iter().filter_map(glob).collect()
}

fn regex(pattern: &str) -> Option<Pattern> {
    let (negated, expression) = match pattern.strip_prefix('!') {
        Some(expression) => (true, expression),
        None => (false, pattern),
    };
    let regex = Regex::new(&format!("^(?:{expression})$")).ok()?;
    Some(Pattern::Regex { regex, negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(place: &str, text: &str, path: &str) -> Vec<String> {
        CodeOwners::parse(place, text).owners_of(path).concat().iter().map(|owner| owner.as_str().to_owned()).collect()
    }

    #[test]
    fn githubs_patterns_match_as_a_gitignore_does() {
        for (pattern, path, matches) in [
            ("*", "a/b.rs", true),
            ("*.js", "a.js", true),
            ("*.js", "deep/er/a.js", true),
            ("*.js", "a.jsx", false),
            ("/build/logs/", "build/logs/x/y.txt", true),
            ("/build/logs/", "a/build/logs/x.txt", false),
            ("docs/*", "docs/getting-started.md", true),
            ("docs/*", "docs/build-app/troubleshooting.md", false),
            ("docs/*/", "docs/build-app/troubleshooting.md", true),
            ("docs/*/", "docs/getting-started.md", false),
            ("/*", "README.md", true),
            ("/*", "src/main.rs", false),
            ("/*", "src/deep/gate.rs", false),
            ("/*/", "src/deep/gate.rs", true),
            ("/*/", "README.md", false),
            ("**/*", "src/deep/gate.rs", true),
            ("/**", "src/deep/gate.rs", true),
            ("apps/", "apps/x.rs", true),
            ("apps/", "deep/apps/x.rs", true),
            ("apps/", "apps", false),
            ("/docs/", "docs/x.md", true),
            ("/docs/", "a/docs/x.md", false),
            ("**/logs", "build/logs/x", true),
            ("**/logs", "logs/x", true),
            ("/scripts", "scripts/run", true),
            ("/scripts", "scripts", true),
            ("/scripts", "a/scripts", false),
            ("src/**/gate.rs", "src/domain/deep/gate.rs", true),
            ("src/**/gate.rs", "src/gate.rs", true),
            ("a\\ b.txt", "a b.txt", true),
            ("\\#x", "#x", true),
            ("Makefile", "Makefile", true),
            ("Makefile", "makefile", false),
        ] {
            let found = owners(".github/CODEOWNERS", &format!("{pattern} @ann"), path);
            assert_eq!(!found.is_empty(), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn forgejos_patterns_are_whole_regular_expressions() {
        for (pattern, path, matches) in [
            (r".*\.js", "a/b.js", true),
            (r".*\.js", "a/b.jsx", false),
            (r"docs/.*", "docs/x/y.md", true),
            (r"docs/", "docs/x", false),
            (r"!docs/.*", "src/x.rs", true),
            (r"!docs/.*", "docs/x.md", false),
            (r"(aws|gcp)\.tf", "gcp.tf", true),
            (r"a\ b", "a b", true),
        ] {
            let found = owners(".forgejo/CODEOWNERS", &format!("{pattern} @ann"), path);
            assert_eq!(!found.is_empty(), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn where_both_syntaxes_may_be_meant_either_match_counts() {
        for (pattern, path) in [("*.js", "a/b.js"), (r".*\.js", "a/b.js"), ("/docs/", "docs/x"), ("docs/.*", "docs/x")]
        {
            for place in ["CODEOWNERS", "docs/CODEOWNERS"] {
                assert_eq!(owners(place, &format!("{pattern} @ann"), path), ["ann"], "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_line_of_one_syntax_takes_no_owner_from_the_other() {
        for (text, path, expected) in [
            // A regular expression behind a glob, and the other way round.
            ("*.rs @ann\nsrc/.* @bea\n", "src/x.rs", &["ann", "bea"][..]),
            ("src/.* @bea\n*.rs @ann\n", "src/x.rs", &["ann", "bea"]),
            ("*.rs @ann\nsrc/.*\n", "src/x.rs", &["ann"]),
            ("src/.* @bea\n*.rs\n", "src/x.rs", &["bea"]),
            // What both syntaxes understand is said to both.
            ("*.rs @ann\nsrc/.* @bea\nsrc/x.rs @cid\n", "src/x.rs", &["cid"]),
            ("*.rs @ann\nsrc/.* @bea\nsrc/x.rs\n", "src/x.rs", &[]),
            ("*.rs @ann\nsrc/.* @bea\n", "y.rs", &["ann"]),
        ] {
            for place in ["CODEOWNERS", "docs/CODEOWNERS"] {
                assert_eq!(owners(place, text, path), expected, "{text}");
            }
        }
        assert_eq!(owners(".github/CODEOWNERS", "*.rs @ann\nsrc/.* @bea\n", "src/x.rs"), ["ann"]);
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let text = "# all\n* @ann\n*.rs @bea @cid # two\n/src/free.rs\n";
        assert_eq!(owners(".github/CODEOWNERS", text, "README.md"), ["ann"]);
        assert_eq!(owners(".github/CODEOWNERS", text, "src/x.rs"), ["bea", "cid"]);
        assert!(owners(".github/CODEOWNERS", text, "src/free.rs").is_empty());
    }

    #[test]
    fn teams_and_addresses_are_owners_that_cannot_be_resolved() {
        let read = CodeOwners::parse("CODEOWNERS", "* @org/team ann@example.org @bea\n");
        let expected = [
            Owner::Other("@org/team".into()),
            Owner::Other("ann@example.org".into()),
            Owner::Account(Login::new("bea").expect("a plain name")),
        ];
        assert_eq!(read.owners_of("x"), [expected.as_slice()]);
    }

    #[test]
    fn lines_that_make_no_sense_are_told() {
        for (place, text) in [
            (".github/CODEOWNERS", "* @ann\n[ab].rs @bea\n"),
            (".github/CODEOWNERS", "* @ann\n!x @bea\n"),
            (".forgejo/CODEOWNERS", ".* @ann\n(unclosed @bea\n"),
            ("CODEOWNERS", "* @ann\n* bea\n"),
        ] {
            assert_eq!(CodeOwners::parse(place, text).damaged_lines, [2], "{text}");
        }
        assert!(CodeOwners::parse("CODEOWNERS", "\n  \n# only words\n").damaged_lines.is_empty());
    }
}
