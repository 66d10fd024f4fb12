//! docs/cli.md is made from the command line's own description, so that it cannot fall behind. To write it anew:
//! `RIG_UPDATE_DOCS=1 cargo test --test it docs::reference`.

use super::pages;
use clap::{Arg, Command, CommandFactory};
use rig::cli::Cli;
use std::fmt::Write;

const PAGE: &str = "docs/cli.md";
/// Above the commands; what follows it is made.
const BEGIN: &str = "<!-- From here on this page is made by tests/it/docs/reference.rs. -->";

#[test]
fn the_reference_has_every_command_with_every_argument() {
    pages::is_made(PAGE, BEGIN, &made_part());
}

fn made_part() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from("\n\n## Everywhere\n\n");
    table(&mut text, root.get_arguments().filter(|arg| arg.is_global_set() || arg.get_id() == "version"));
    for command in root.get_subcommands() {
        write_command(&mut text, command, "rig", false);
    }
    text.push_str("\n## Called by others\n\nHidden from the help: tmux, git and the agent call them, and nobody else needs them.\n");
    for command in root.get_subcommands().filter(|command| command.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "\n- `{}`: {about}.", usage(command, "rig"));
    }
    text.push('\n');
    text
}

fn write_command(text: &mut String, command: &Command, parents: &str, is_sub: bool) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{parents} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let subcommands: Vec<&Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    let _ = write!(text, "\n{} {name}\n\n{about}.\n", if is_sub { "###" } else { "##" });
    if subcommands.is_empty() {
        let _ = write!(text, "\n```text\n{}\n```\n", usage(command, parents));
    }
    let own = |arg: &&Arg| {
        !arg.is_global_set() && !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
    };
    if command.get_arguments().any(|arg| own(&arg)) {
        text.push('\n');
        table(text, command.get_arguments().filter(own));
    }
    if let Some(examples) = command.get_after_help().map(ToString::to_string) {
        let lines: String = examples.lines().skip(1).map(|line| format!("{}\n", line.trim())).collect();
        let _ = write!(text, "\n```sh\n{}```\n", with_comments(&lines));
    }
    for sub in subcommands {
        write_command(text, sub, &name, true);
    }
}

/// Returns the way to call a command, without the options that all commands have.
fn usage(command: &Command, parents: &str) -> String {
    let mut words = vec![parents.to_owned(), command.get_name().to_owned()];
    let args = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
    let (named, placed): (Vec<&Arg>, Vec<&Arg>) = args.partition(|arg| !arg.is_positional());
    if named.iter().any(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        words.push("[OPTIONS]".to_owned());
    }
    words.extend(placed.iter().map(|arg| {
        let more = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        if arg.is_required_set() { format!("<{}>{more}", value(arg)) } else { format!("[{}]{more}", value(arg)) }
    }));
    words.join(" ")
}

fn value(arg: &Arg) -> String {
    arg.get_value_names()
        .and_then(|names| names.first())
        .map_or_else(|| arg.get_id().to_string().to_uppercase(), ToString::to_string)
}

fn table<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    text.push_str("| argument | meaning |\n|---|---|\n");
    for arg in args {
        let name = match arg.get_long() {
            Some(long) if arg.get_action().takes_values() => format!("--{long} {}", value(arg)),
            Some(long) => format!("--{long}"),
            None => value(arg),
        };
        let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let choices: Vec<String> =
            arg.get_possible_values().iter().map(|choice| format!("`{}`", choice.get_name())).collect();
        if !choices.is_empty() && arg.get_action().takes_values() {
            let _ = write!(meaning, ": {}", choices.join(", "));
        }
        let defaults: Vec<_> = arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
        if defaults.iter().any(|value| !value.is_empty()) && arg.get_action().takes_values() {
            let _ = write!(meaning, " [default: {}]", defaults.join(" "));
        }
        if let Some(variable) = arg.get_env().and_then(|name| name.to_str()) {
            let _ = write!(meaning, " [variable: `{variable}`]");
        }
        let _ = writeln!(text, "| `{name}` | {} |", meaning.replace('|', "\\|"));
    }
}

/// Puts a `#` before what explains an example.
fn with_comments(lines: &str) -> String {
    lines
        .lines()
        .map(|line| match line.split_once("   ") {
            Some((command, words)) if command.starts_with("rig") => format!("{command}   # {}\n", words.trim()),
            _ => match line.split_once("  ") {
                Some((command, words)) if command.starts_with("rig") => format!("{command}   # {}\n", words.trim()),
                _ => format!("{line}\n"),
            },
        })
        .collect()
}
