//! rig turns issues into merged pull requests, with people in control.
//!
//! The modules in reading order: `domain` decides and does nothing else; `config` says what is wanted; `ports` name what the
//! outside must offer; `adapters` offer it; `engine` connects; `commands` are what a person calls; `output` is what they see.

pub mod domain;

pub mod config;
pub mod ports;

pub mod adapters;
pub mod engine;

pub mod embedded_forge;

pub mod cli;
pub mod commands;
pub mod output;

use clap::Parser;
use std::process::ExitCode;

/// Reads the command line and runs it.
pub fn run() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli).into(),
        // clap prints help and usage errors itself: help to stdout with 0, usage to stderr with 2.
        Err(error) => {
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                output::Printer::new(true).conclude(output::Exit::Usage, first.trim_start_matches("error: "));
            }
            error.exit()
        }
    }
}
