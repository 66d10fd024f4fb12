//! `rig mirror`: how far each mirror is, and pushing to them now. Never forces anything.

use super::{CommandResult, Context, load_failure, runtime, wire};
use crate::{
    cli::{MirrorCommand, MirrorPushArgs, MirrorStatusArgs},
    config::{self, settings::Project},
    engine::{dispatch::DispatchError, mirrors, notices},
    output::{Exit, Failure, Printer},
    ports::{forge::ForgeError, store::MirrorRow},
};
use serde_json::json;

pub fn run(context: &Context, command: MirrorCommand) -> CommandResult {
    match command {
        MirrorCommand::Status(args) => status(context, &args),
        MirrorCommand::Push(args) => push(context, &args),
    }
}

fn status(context: &Context, args: &MirrorStatusArgs) -> CommandResult {
    let root = context.root()?;
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    let rows = runtime()?.block_on(async {
        match wire::existing_store(&root).await? {
            Some(store) => store.mirrors(&project.name).await.map_err(|error| wire::store_failure(&error)),
            None => Ok(Vec::new()),
        }
    })?;
    let names: Vec<String> = project.mirrors.keys().cloned().collect();
    print(&context.printer, &project, &names, &rows);
    if names.is_empty() {
        context.printer.talk(format!("project {} has no mirrors; add one to [mirrors]", project.name));
    }
    Ok(Exit::Ok)
}

fn push(context: &Context, args: &MirrorPushArgs) -> CommandResult {
    let root = context.root()?;
    let project = config::load_one(&root, args.project.as_ref()).map_err(load_failure)?;
    let chosen: Vec<String> = match &args.name {
        Some(name) if !project.mirrors.contains_key(name) => return Err(unknown(&project, name)),
        Some(name) => vec![name.clone()],
        None if project.mirrors.is_empty() => {
            return Err(Failure::user(format!("project {} has no mirrors", project.name)).hint("add one to [mirrors]"));
        }
        None => project.mirrors.keys().cloned().collect(),
    };
    root.ensure_state().map_err(super::root_failure)?;
    wire::log(&root, std::slice::from_ref(&project))?;
    let rows = runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let world = wire::world(&root, project.clone(), store).await?;
        let names: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let pushed = match args.behind {
            true => mirrors::push(&world).await,
            false => mirrors::push_anyway(&world, &names).await,
        };
        if args.behind {
            // Nobody else may come by for a while who tells of it.
            notices::send(&world).await.map_err(|error| wire::store_failure(&error))?;
        }
        pushed.map_err(|error| match error {
            DispatchError::Forge(error @ ForgeError::Unauthorized { .. }) => super::dev::forge_failure(error),
            DispatchError::Store(error) => wire::store_failure(&error),
            error => Failure::new(Exit::Outside, error).hint("nothing was pushed; try again when the forge answers"),
        })
    })?;
    // What stays behind is in the store, for ticks and people; the next tick tries again.
    if args.behind {
        return Ok(Exit::Ok);
    }
    print(&context.printer, &project, &chosen, &rows);
    let behind = rows.iter().filter(|row| !row.error.is_empty()).count();
    if behind > 0 {
        return Err(Failure::new(Exit::Outside, format!("{behind} of {} mirrors could not be pushed to", rows.len()))
            .hint("every tick tries again; nothing is ever forced"));
    }
    Ok(Exit::Ok)
}

fn unknown(project: &Project, name: &str) -> Failure {
    let known: Vec<&str> = project.mirrors.keys().map(String::as_str).collect();
    let hint = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Failure::user(format!("project {} has no mirror `{name}`", project.name)).hint(hint)
}

/// Prints these mirrors of a project, and what is known of each.
fn print(printer: &Printer, project: &Project, names: &[String], rows: &[MirrorRow]) {
    let mut table = Vec::new();
    for name in names {
        let row = rows.iter().find(|row| row.mirror == *name);
        let (state, sha) = (state_of(row), row.and_then(|row| row.sha.as_ref()));
        let at = row.map(|row| format!("{:.0}", row.at)).unwrap_or_default();
        let error = row.map(|row| row.error.clone()).unwrap_or_default();
        let has = sha.map_or("nothing yet", |sha| sha.short());
        printer.json(&json!({
            "project": project.name, "mirror": name, "url": project.mirrors[name].url, "state": state,
            "sha": sha, "at": row.map(|row| row.at), "error": error,
        }));
        table.push(vec![name.clone(), state.replace('_', " "), has.to_owned(), at, error]);
    }
    if !table.is_empty() {
        printer.table(&["MIRROR", "STATE", "HAS", "AT", "WHY"], &table);
    }
}

/// Returns the stable word for how a mirror stands.
fn state_of(row: Option<&MirrorRow>) -> &'static str {
    match row {
        None => "never_pushed",
        Some(row) if row.error.is_empty() => "pushed",
        Some(row) if row.error.starts_with("it has diverged") => "diverged",
        Some(_) => "behind",
    }
}
