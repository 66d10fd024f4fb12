//! The help texts, as a person sees them.

use crate::root_support::TestRoot;
use predicates::{prelude::*, str::contains};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["dev"],
    &["dev", "poll"],
    &["dev", "agent"],
    &["dev", "start"],
    &["dev", "stop"],
    &["phase"],
    &["phase", "path"],
    &["phase", "get"],
    &["phase", "set"],
    &["phase", "watch"],
    &["phase", "log"],
    &["phase", "test"],
    &["status"],
    &["attach"],
    &["logs"],
    &["send"],
    &["stop"],
    &["retry"],
    &["usage"],
    &["config"],
    &["config", "show"],
    &["config", "check"],
    &["demo"],
    &["forge"],
    &["forge", "serve"],
];

#[test]
fn the_help_texts_are_as_they_were_agreed() {
    let root = TestRoot::new();
    let mut all = String::new();
    for command in COMMANDS {
        let output = root.rig(command).arg("--help").env("COLUMNS", "100").assert().success();
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(text.contains("Examples:") || text.contains("Commands:"), "no example: {text}");
        for hidden in ["stand-in", "session-exec", "credential", "rig hook"] {
            let shown = text.replace("[default: stand-in]", "").replace("- stand-in:", "");
            assert!(!shown.contains(hidden), "{hidden}: {text}");
        }
        all.push_str(&format!("$ rig {} --help\n{text}\n", command.join(" ")).replace("rig  --help", "rig --help"));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_version_is_told() {
    let root = TestRoot::new();
    root.rig(&["--version"]).assert().success().stdout(concat!("rig ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn without_a_command_the_help_is_a_usage_error() {
    let root = TestRoot::new();
    root.rig(&[]).assert().code(2).stderr(contains("Usage: rig").and(contains("Examples:")));
}
