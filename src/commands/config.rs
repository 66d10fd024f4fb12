//! `rig config show` and `rig config check`: what the configuration comes to, where each value is from, what is wrong.

use super::{CommandResult, Context, load_failure};
use crate::{
    cli::ConfigCommand,
    config::{self, Explained, Setting, environment::Environment, kind::Kind, text_kind::TextKind, value::Value},
    domain::ids::ProjectName,
    output::{Exit, Printer},
};
use serde_json::json;

pub fn run(context: &Context, command: ConfigCommand) -> CommandResult {
    match command {
        ConfigCommand::Show { project } => show(context, project.as_ref()),
        ConfigCommand::Check => check(context),
    }
}

/// Prints every key with its value and its source. A broken project is shown as far as it goes, and the exit code says so.
fn show(context: &Context, project: Option<&ProjectName>) -> CommandResult {
    let root = context.root()?;
    let explained = config::explain(&root, project).map_err(load_failure)?;
    let environment = Environment::of_process().with_file(&root).unwrap_or_default();
    if explained.is_empty() {
        context.printer.talk(format!("no project in {}", root.projects_dir().display()));
    }
    for (index, project) in explained.iter().enumerate() {
        if index > 0 {
            context.printer.line("");
        }
        show_one(&context.printer, project, &environment);
    }
    Ok(exit_for(&context.printer, &explained))
}

fn show_one(printer: &Printer, project: &Explained, environment: &Environment) {
    printer.line(format!("project {} ({})", project.project, project.file.display()));
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for setting in &project.settings {
        let secret = secret_state(setting, environment);
        let mut shown = setting.value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        if let Some(state) = &secret {
            shown.push_str(&format!("  {state}"));
        }
        rows.push(vec![setting.key.path(), shown, setting.origin.to_string()]);
        documents.push(json!({
            "key": setting.key.path(), "value": setting.value, "source": setting.origin.to_string(),
            "secret": secret, "acted_on": setting.key.acted_on,
        }));
    }
    printer.table(&["KEY", "VALUE", "SOURCE"], &rows);
    for key in &project.unused_keys {
        printer.talk(format!("note: {key} is accepted, but not acted on by this version"));
    }
    tell(printer, project);
    printer.json(&json!({
        "project": project.project, "file": project.file, "enabled": project.enabled, "settings": documents,
        "unused_keys": project.unused_keys, "problems": project.problems,
    }));
}

/// Says whether the variable that a key names is set, never what is in it.
fn secret_state(setting: &Setting, environment: &Environment) -> Option<String> {
    let Some(Value::Text(name)) = &setting.value else { return None };
    if setting.key.kind != Kind::Text(TextKind::SecretVariable) {
        return None;
    }
    Some(match environment.get(name) {
        Some((_, config::environment::Source::Process)) => format!("set (from {name} in the environment)"),
        Some((_, config::environment::Source::EnvFile)) => format!("set (from {name} in state/env)"),
        None => "not set".to_owned(),
    })
}

/// Reports the problems of every project file.
fn check(context: &Context) -> CommandResult {
    let root = context.root()?;
    let explained = config::explain(&root, None).map_err(load_failure)?;
    let environment = Environment::of_process().with_file(&root).unwrap_or_default();
    let printer = &context.printer;
    if explained.is_empty() {
        printer.talk(format!("no project in {}", root.projects_dir().display()));
    }
    for project in &explained {
        let word = if project.problems.is_empty() { printer.paint(32, "ok") } else { printer.paint(31, "wrong") };
        let off = if project.enabled { "" } else { ", switched off" };
        printer.line(format!("{word}  {} ({}{off})", project.file.display(), project.project));
        for key in &project.unused_keys {
            printer.talk(format!("note: {}: {key} is accepted, but not acted on by this version", project.project));
        }
        let missing = missing_copies(project, &environment);
        for entry in &missing {
            printer.talk(format!(
                "note: {}: `agent.copy_files` names {entry}, which is not in `repo_root`",
                project.project
            ));
        }
        tell(printer, project);
        printer.json(&json!({
            "project": project.project, "file": project.file, "enabled": project.enabled,
            "ok": project.problems.is_empty(), "unused_keys": project.unused_keys, "missing_copies": missing,
            "problems": project.problems,
        }));
    }
    Ok(exit_for(printer, &explained))
}

/// Returns the entries of `copy_files` that worktrees would begin without. No error: they may come later.
fn missing_copies(project: &Explained, environment: &Environment) -> Vec<String> {
    let value = |path: &str| project.settings.iter().find(|setting| setting.key.path() == path)?.value.as_ref();
    let (Some(Value::Text(checkout)), Some(Value::List(entries))) = (value("repo_root"), value("agent.copy_files"))
    else {
        return Vec::new();
    };
    let checkout = environment.expand(checkout);
    entries.iter().filter(|entry| !checkout.join(entry).exists()).cloned().collect()
}

fn tell(printer: &Printer, project: &Explained) {
    for problem in &project.problems {
        printer.talk(format!("{} {problem}", printer.paint(31, "error:")));
        if !problem.hint.is_empty() {
            printer.talk(format!("  hint: {}", problem.hint));
        }
    }
}

fn exit_for(printer: &Printer, explained: &[Explained]) -> Exit {
    let wrong: Vec<_> = explained.iter().filter(|project| !project.problems.is_empty()).collect();
    if wrong.is_empty() {
        return Exit::Ok;
    }
    let names: Vec<&str> = wrong.iter().map(|project| project.project.as_str()).collect();
    printer.conclude(Exit::User, format!("something is wrong with {}", names.join(", ")));
    Exit::User
}
