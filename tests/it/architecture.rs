//! Who may import whom, as a test: the text of `src/` is read, not compiled, so a forbidden path fails here with its file and
//! line. Code under `#[cfg(test)]` is left out, because tests may put together what the program may not.

mod paths;

use paths::{PathUse, paths_in, without_comments_strings_and_tests};
use std::path::{Path, PathBuf};

/// Top-level modules that each layer may name, besides itself. `lib` and `main` stand above all layers.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("ports", &["domain"]),
    // Paths below the root and resolved settings are data, the same for all; see docs/decisions/.
    ("adapters", &["ports", "domain", "config"]),
    ("engine", &["ports", "domain", "config"]),
    ("embedded_forge", &[]),
    ("output", &["domain"]),
    ("cli", &["domain"]),
    ("commands", &["engine", "config", "output", "domain", "cli", "ports"]),
];

/// Exceptions: file, the path it may name all the same, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("commands/wire.rs", "crate::adapters", "it is the place that builds adapters"),
    ("commands/wire/chat.rs", "crate::adapters", "the part of the wiring that is about chats"),
    ("commands/wire/ci.rs", "crate::adapters", "the part of the wiring that is about CI"),
    ("commands/wire/sessions.rs", "crate::adapters", "the part of the wiring that is about sessions"),
    ("commands/wire/store.rs", "crate::adapters", "the part of the wiring that is about the store"),
    ("commands/wire.rs", "crate::embedded_forge", "it starts the embedded forge for the commands"),
    ("commands/forge.rs", "crate::embedded_forge", "`rig forge serve` is the embedded forge"),
    ("commands/demo", "crate::embedded_forge", "the demo runs on the embedded forge"),
    ("commands/demo", "crate::adapters::process", "the demo plays cron, and the owner's git"),
    (
        "commands/session.rs",
        "crate::adapters::session",
        "commands that tmux, git and the agent call are the other half of the adapter",
    ),
    ("commands/phase.rs", "crate::adapters::phase_watch", "`rig phase watch` is the watcher without an engine"),
    ("commands/phase/self_test.rs", "crate::adapters::phase_watch", "`rig phase test` tries the watch on this machine"),
    (
        "commands/phase/self_test.rs",
        "crate::adapters::session",
        "`rig phase test` tries the session adapter on this machine",
    ),
    ("embedded_forge", "crate::adapters::process", "it runs git, and programs are started in one place only"),
];

/// Crates that the domain may use; all of them are pure.
const DOMAIN_CRATES: &[&str] = &["std", "core", "serde", "sha2", "thiserror", "jiff", "regex", "globset"];
/// What the domain may not use of them, because it acts, waits, or is not the same twice.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "Timestamp::now",
    "Zoned::now",
    "Instant::now",
    "SystemTime::now",
];

/// Words that may occur in one file only.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("adapters/process/mod.rs", &["Command::new"], "programs are started with a time limit and capped output"),
    (
        "output/printer.rs",
        &["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr"],
        "what people and scripts see goes through the Printer",
    ),
];

/// Files that may use such a word all the same, and why.
const ONLY_IN_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Checks one file. `file` is relative to `src/`. Returns what is wrong, one line each.
fn check(file: &str, text: &str, crates: &[String]) -> Vec<String> {
    let text = without_comments_strings_and_tests(text);
    let uses = paths_in(&text, &module_of(file));
    let mut wrong = Vec::new();
    wrong.extend(uses.iter().filter_map(|path| forbidden_layer(file, path)));
    if layer_of(file) == "domain" {
        wrong.extend(uses.iter().filter_map(|path| forbidden_in_domain(file, path, crates)));
        if let Some(line) = line_with(&text, "async fn").or_else(|| line_with(&text, ".await")) {
            wrong.push(format!("{file}:{line}: the domain waits for nothing, so it has no async"));
        }
    }
    for (home, words, why) in ONLY_IN {
        for word in words.iter().filter(|_| file != *home) {
            let excepted = ONLY_IN_EXCEPTIONS.iter().any(|(at, what, _)| at == &file && what == word);
            if let Some(line) = line_with(&text, word).filter(|_| !excepted) {
                wrong.push(format!("{file}:{line}: `{word}` belongs in {home} only: {why}"));
            }
        }
    }
    wrong
}

fn forbidden_layer(file: &str, path: &PathUse) -> Option<String> {
    let layer = layer_of(file);
    let target = path.segments.strip_prefix(&["crate".to_owned()][..])?.first()?.as_str();
    let (_, allowed) = MAY_IMPORT.iter().find(|(name, _)| *name == layer)?;
    let is_layer = MAY_IMPORT.iter().any(|(name, _)| *name == target);
    let whole = path.segments.join("::");
    if !is_layer || target == layer || allowed.contains(&target) || excepted(file, &whole) {
        return None;
    }
    Some(format!("{file}:{}: {layer} may not use `{whole}`", path.line))
}

fn excepted(file: &str, path: &str) -> bool {
    EXCEPTIONS.iter().any(|(at, what, _)| {
        let here = file == *at || file.starts_with(&format!("{at}/"));
        here && (path == *what || path.starts_with(&format!("{what}::")))
    })
}

fn forbidden_in_domain(file: &str, path: &PathUse, crates: &[String]) -> Option<String> {
    let whole = path.segments.join("::");
    let first = path.segments.first()?;
    let foreign = crates.contains(first) && !DOMAIN_CRATES.contains(&first.as_str());
    let impure = IMPURE.iter().any(|what| whole == *what || whole.starts_with(&format!("{what}::")));
    (foreign || impure).then(|| format!("{file}:{}: domain may not use `{whole}`", path.line))
}

fn layer_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Returns the module path of a file, so that `super::` can be followed.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let parts = path.split('/').filter(|part| !matches!(*part, "lib" | "main"));
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

fn line_with(text: &str, word: &str) -> Option<usize> {
    let bounded = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let (at, _) = text.match_indices(word).find(|(at, _)| bounded(*at))?;
    Some(text[..at].matches('\n').count() + 1)
}

/// Returns whether a file is a `tests` module that its parent declares under `#[cfg(test)]`.
fn is_test_module(file: &str, files: &[(String, String)]) -> bool {
    let Some(parent) = file.strip_suffix("/tests.rs") else { return false };
    let declared = |text: &str| text.split_whitespace().collect::<String>().contains("#[cfg(test)]modtests;");
    let is_parent = |name: &str| name == format!("{parent}.rs") || name == format!("{parent}/mod.rs");
    files.iter().any(|(name, text)| is_parent(name) && declared(text))
}

/// Returns every file of `src/` with its text, by its path in there.
pub(crate) fn source_files() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&source, &mut files);
    files.sort();
    let name = |path: &PathBuf| path.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Returns the names of all crates of Cargo.toml, as code writes them, and of those that come with the compiler.
fn crate_names() -> Vec<String> {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    dependencies.keys().map(|name| name.replace('-', "_")).chain(["alloc".to_owned()]).collect()
}

#[test]
fn every_layer_imports_only_what_it_may() {
    let (files, crates) = (source_files(), crate_names());
    assert!(files.iter().any(|(file, _)| file == "domain/ids.rs"), "the sources were not found");
    let program = files.iter().filter(|(file, _)| !is_test_module(file, &files));
    let wrong: Vec<_> = program.flat_map(|(file, text)| check(file, text, &crates)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_layer_has_a_rule_and_no_module_is_unknown() {
    let layers: Vec<_> = MAY_IMPORT.iter().map(|(layer, _)| *layer).collect();
    for (file, _) in source_files() {
        let layer = layer_of(&file);
        assert!(layers.contains(&layer) || matches!(layer, "lib" | "main"), "{file} belongs to no layer");
    }
}

#[test]
fn a_planted_violation_is_found() {
    let crates = crate_names();
    let planted = [
        ("domain/gate.rs", "use crate::ports::forge::Forge;"),
        ("domain/gate.rs", "use crate::{config, domain::ids};"),
        ("domain/run/step.rs", "use super::super::super::adapters::git;"),
        ("domain/gate.rs", "fn f() { std::fs::read(\"x\"); }"),
        ("domain/gate.rs", "use std::{fmt, time::{Duration, SystemTime}};"),
        ("domain/gate.rs", "use std::{fmt, process};"),
        ("domain/gate.rs", "fn f() { let _ = jiff::Timestamp::now(); }"),
        ("domain/gate.rs", "use jiff::Timestamp; fn f() { let _ = Timestamp::now(); }"),
        ("domain/gate.rs", "use tokio::sync::Mutex;"),
        ("domain/gate.rs", "fn f() { let _ = ::reqwest::get(\"\"); }"),
        ("domain/gate.rs", "async fn f() {}"),
        ("engine/tick.rs", "use crate::adapters::git;"),
        ("engine/tick.rs", "fn f(p: &crate::output::Printer) {}"),
        ("engine/tick.rs", "pub use crate::{\n    domain::ids::Sha,\n    output::Printer as Out,\n};"),
        ("ports/forge.rs", "use crate::engine::driver;"),
        ("adapters/git.rs", "use crate::engine::tick;"),
        ("adapters/git.rs", "use super::super::engine;"),
        ("config/load.rs", "use crate::output::Failure;"),
        ("output/printer.rs", "use crate::config;"),
        ("commands/dev.rs", "use crate::adapters::git;"),
        ("commands/session.rs", "use crate::adapters::git;"),
        ("commands/status.rs", "use crate::embedded_forge;"),
        ("adapters/git.rs", "fn f() { tokio::process::Command::new(\"git\"); }"),
        ("commands/dev.rs", "fn f() { println!(\"x\"); }"),
        ("adapters/git.rs", "fn f() { let _ = std::io::stdout(); }"),
        ("engine/tick.rs", "fn a() -> char { '\"' } use crate::adapters::git;"),
        ("engine/tick.rs", "#[cfg(test)]\nmod tests { }\nuse crate::adapters::git;"),
    ];
    for (file, text) in planted {
        assert_eq!(check(file, text, &crates).len(), 1, "{file}: {text}: {:?}", check(file, text, &crates));
    }
}

#[test]
fn a_file_is_left_out_only_when_its_parent_makes_it_a_test() {
    let files = |parent: &str| [("domain/redact/mod.rs".to_owned(), parent.to_owned())];
    assert!(is_test_module("domain/redact/tests.rs", &files("pub fn f() {}\n#[cfg(test)]\nmod tests;\n")));
    assert!(!is_test_module("domain/redact/tests.rs", &files("mod tests;")));
    assert!(!is_test_module("domain/redact/rules.rs", &files("#[cfg(test)]\nmod tests;\n")));
}

#[test]
fn what_is_allowed_is_not_reported() {
    let crates = crate_names();
    let allowed = [
        ("domain/gate.rs", "use crate::domain::ids::Sha; use serde::Serialize; use std::{fmt, time::Duration};"),
        (
            "domain/gate.rs",
            "// use crate::ports::forge;\n/* std::fs /* nested */ */ const A: &str = \"crate::engine\";",
        ),
        ("domain/gate.rs", "const A: &str = r#\"println!(\"x\") \"#; const B: char = '\\''; fn f<'a>(_: &'a str) {}"),
        ("domain/gate.rs", "#[cfg(test)]\nmod tests { use crate::ports::forge; fn f() { println!(\"}\"); } }"),
        ("domain/gate.rs", "#[cfg(test)]\nuse crate::ports::forge::Forge;\nfn f() {}"),
        ("engine/tick.rs", "use crate::{domain, ports::store::Store}; fn f() { tokio::spawn(async {}); }"),
        ("commands/wire.rs", "use crate::adapters::git;"),
        ("commands/session.rs", "use crate::{adapters::session::tmux, config::Root};"),
        ("embedded_forge/git.rs", "use crate::adapters::process::Program;"),
        ("adapters/process/mod.rs", "fn f() { std::process::Command::new(\"x\"); }"),
        ("output/printer.rs", "fn f() { let _ = std::io::stdout(); }"),
        ("engine/tick.rs", "fn f() { MyCommand::new(); my_println!(); }"),
    ];
    for (file, text) in allowed {
        assert_eq!(check(file, text, &crates), Vec::<String>::new(), "{file}: {text}");
    }
}
