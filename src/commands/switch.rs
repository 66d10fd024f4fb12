//! `rig dev start` and `rig dev stop`: the switch of the dev loop, a file that is there or not. Both are harmless when repeated.

use super::{CommandResult, Context, root_failure, tell_problems};
use crate::{
    config::{self, Root},
    output::{Exit, Failure},
};
use serde_json::json;
use std::io::ErrorKind;

/// Switches the dev loop on, and says which projects that means.
pub fn start(context: &Context) -> CommandResult {
    let root = context.root()?;
    root.ensure_state().map_err(root_failure)?;
    let changed = switch_on(&root)?;
    let loaded = config::load(&root, &[]);
    let (on, off): (Vec<_>, Vec<_>) = loaded.projects.iter().partition(|project| project.enabled);
    let names = |projects: &[&config::settings::Project]| -> Vec<String> {
        projects.iter().map(|project| project.name.to_string()).collect()
    };
    let (on, off) = (names(&on), names(&off));
    context.printer.line(if changed { "the dev loop is on" } else { "the dev loop was on already" });
    context.printer.line(match on.as_slice() {
        [] => "  projects: none".to_owned(),
        names => format!("  projects: {}", names.join(", ")),
    });
    if !off.is_empty() {
        context.printer.line(format!("  switched off in their files: {}", off.join(", ")));
    }
    tell_problems(&context.printer, &loaded.problems);
    for project in &loaded.projects {
        for key in &project.unused_keys {
            context
                .printer
                .talk(format!("note: {}: {key} is accepted, but not acted on by this version", project.name));
        }
    }
    if on.is_empty() {
        context.printer.talk(format!("warning: no project to work on in {}", root.projects_dir().display()));
    }
    context.printer.json(&json!({
        "switch": "on", "changed": changed, "projects": on, "switched_off": off,
        "problems": loaded.problems,
    }));
    Ok(Exit::Ok)
}

/// Switches the dev loop off. What runs goes on; nothing new begins.
pub fn stop(context: &Context) -> CommandResult {
    let root = context.root()?;
    let changed = switch_off(&root)?;
    context.printer.line(if changed {
        "the dev loop is off; sessions that run go on"
    } else {
        "the dev loop was off already"
    });
    context.printer.json(&json!({ "switch": "off", "changed": changed }));
    Ok(Exit::Ok)
}

/// Returns whether the dev loop may act. A switch that cannot be looked at is an error, never taken for one that is off.
pub fn is_on(root: &Root) -> Result<bool, Failure> {
    let path = root.dev_switch();
    match std::fs::metadata(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::user(format!("the switch {} cannot be looked at: {error}", path.display()))
            .hint("check that the state folder is a folder, and run rig as the user who owns it")),
    }
}

/// Makes the switch file. Returns whether it was not there.
fn switch_on(root: &Root) -> Result<bool, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = root.dev_switch();
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Failure::user(format!("the switch {} cannot be made: {error}", path.display()))
            .hint("check that the state folder is writable and its disk is not full")),
    }
}

/// Removes the switch file. Returns whether it was there.
fn switch_off(root: &Root) -> Result<bool, Failure> {
    let path = root.dev_switch();
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(Failure::user(format!("the switch {} cannot be removed: {error}", path.display()))
            .hint("check that the state folder is writable")),
    }
}
