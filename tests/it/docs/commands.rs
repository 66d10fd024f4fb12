//! The commands that the pages show.

use super::pages::{self, Code};
use clap::{CommandFactory, Parser, error::ErrorKind};
use regex::Regex;
use rig::cli::Cli;
use std::sync::LazyLock;

/// Languages of blocks whose lines a reader may type.
const TYPED: [&str; 3] = ["sh", "console", "crontab"];

#[test]
fn every_command_line_of_the_pages_is_one_that_rig_takes() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for page in pages::all() {
        for code in pages::code(&page.text) {
            let Some(words) = command_of(&code) else { continue };
            tried += 1;
            if let Err(error) = Cli::try_parse_from(&words)
                && !is_fine(&code, error.kind())
            {
                let first = error.to_string().lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}:{}: {}: {first}", page.name, code.line, words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 50, "only {tried} commands were found");
}

#[test]
fn every_command_of_the_help_texts_is_one_that_rig_takes() {
    let mut open = vec![Cli::command()];
    let mut tried = 0;
    while let Some(command) = open.pop() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines() {
            // What explains a command stands behind it, after some blanks.
            let line = line.trim().split("   ").next().unwrap_or_default().split("  ").next().unwrap_or_default();
            let code = Code { line: 0, text: line.to_owned(), language: Some("sh".to_owned()) };
            if let Some(words) = command_of(&code) {
                tried += 1;
                Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{}: {error}", words.join(" ")));
            }
        }
        open.extend(command.get_subcommands().cloned());
    }
    assert!(tried > 10, "only {tried} commands were found");
}

/// Returns the words of a call of rig, with an example in place of each word that stands for something.
fn command_of(code: &Code) -> Option<Vec<String>> {
    static CALL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(^|[ /])rig (?<arguments>[a-z-].*)").unwrap());
    let text = code.text.trim();
    let arguments = match &code.language {
        Some(language) if !TYPED.contains(&language.as_str()) => return None,
        Some(_) => {
            let call = CALL.captures(text)?;
            let before = text[..call.get(0)?.start()].split_whitespace();
            // The prompt, the fields of a line of a crontab, variables that are set for one command, a folder.
            let may_stand_before = |word: &str| word == "$" || word.contains(['=', '*', '/']);
            let rest = call.name("arguments")?.as_str();
            before.into_iter().all(may_stand_before).then_some(rest)?
        }
        None => text.strip_prefix("rig ")?,
    };
    let words = words(arguments);
    Some(std::iter::once("rig").chain(words.iter().map(|word| example(word))).map(str::to_owned).collect())
}

/// Splits as a shell would, as far as the pages need it: quotes hold a word together, and a comment, a pipe or a redirection
/// ends the command.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ';' | '|' | '>' | '&' | '#') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Returns something that a placeholder can stand for.
fn example(word: &str) -> &str {
    match word {
        "N" => "7",
        "NAME" | "PROJECT" => "widget",
        "DIR" | "ROOT" => "/tmp",
        "PHASE" => "done",
        "RUN" => "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "OWNER/NAME" => "acme/widget",
        "TEXT" => "text",
        other => other,
    }
}

/// Within a sentence a command may be named without its arguments.
fn is_fine(code: &Code, kind: ErrorKind) -> bool {
    let named = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
        || (code.language.is_none() && named.contains(&kind))
}
