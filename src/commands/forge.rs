//! `rig forge serve`: the embedded forge, kept under the root, until it is interrupted.

use super::{CommandResult, Context, runtime};
use crate::{
    cli::{ForgeCommand, ForgeServeArgs},
    config::{self, Root, RootError},
    embedded_forge::{ForgeServerError, Options, Running, start},
    output::{Exit, Failure, Printer},
};
use serde_json::json;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub fn run(context: &Context, command: ForgeCommand) -> CommandResult {
    match command {
        ForgeCommand::Serve(args) => runtime()?.block_on(serve(context, args)),
    }
}

async fn serve(context: &Context, args: ForgeServeArgs) -> CommandResult {
    let repositories = args.repository.iter().map(|name| split(name)).collect::<Result<Vec<_>, _>>()?;
    // Before anything is said, so that an interrupt that answers it is not missed.
    let (mut interrupt, mut terminate) = (listen_for(SignalKind::interrupt())?, listen_for(SignalKind::terminate())?);
    let root = begin_root(context)?;
    let folder = root.forge_dir();
    let options = Options { folder: folder.clone(), listen: args.listen, root_url: None, faults: false };
    let forge = start(options).await.map_err(failure)?;
    let printer = &context.printer;
    printer.line(forge.url());
    printer.json(&json!({ "url": forge.url(), "folder": folder }));
    if let Some(token) = forge.new_admin_token() {
        announce(printer, "forge-admin", token);
    }
    provision(printer, &forge, &args, &repositories).await.map_err(failure)?;
    say_how_to_begin(printer, &root, &forge.url(), &args);
    printer.talk("serving until interrupted");
    printer.json(&json!({ "serving": forge.url() }));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    forge.stop().await;
    Ok(Exit::Ok)
}

async fn provision(
    printer: &Printer,
    forge: &Running,
    args: &ForgeServeArgs,
    repositories: &[(&str, &str)],
) -> Result<(), ForgeServerError> {
    for name in &args.user {
        if let Some(token) = forge.new_user(name).await? {
            announce(printer, name, &token);
        } else if !args.new_token.contains(name) {
            printer.talk(format!("user {name} is there already; a lost token is replaced with --new-token {name}"));
        }
    }
    for name in &args.new_token {
        announce(printer, name, &forge.new_token(name).await?);
    }
    for (owner, name) in repositories {
        let created = forge.ensure_repository(owner, name).await?;
        for user in &args.user {
            forge.ensure_collaborator(owner, name, user, "write").await?;
        }
        let url = format!("{}/{owner}/{name}.git", forge.url());
        printer.line(format!("repository {owner}/{name}  {url}"));
        printer.json(&json!({ "repository": format!("{owner}/{name}"), "clone_url": url, "created": created }));
    }
    Ok(())
}

/// Prints a token, which is shown this once.
fn announce(printer: &Printer, user: &str, token: &str) {
    printer.line(format!("user {user}  token {token}  (shown once)"));
    printer.json(&json!({ "user": user, "token": token }));
}

fn split(name: &str) -> Result<(&str, &str), Failure> {
    name.split_once('/')
        .filter(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| Failure::user(format!("`{name}` is no repository")).hint("write it as OWNER/NAME"))
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::internal(format!("signals cannot be listened for: {error}")))
}

fn failure(error: ForgeServerError) -> Failure {
    let hint = match &error {
        ForgeServerError::PortTaken(_) => "choose another with --listen 127.0.0.1:PORT; port 0 takes a free one",
        ForgeServerError::InUse(_) => {
            "only one can serve a folder: use the one that runs, stop it first, or give another --root"
        }
        ForgeServerError::File { .. } | ForgeServerError::Database { .. } => "check the folder's permissions and space",
        ForgeServerError::Listen { .. } | ForgeServerError::Refused(_) => "",
    };
    Failure::user(error).hint(hint)
}

/// Returns the root with its two folders. `forge serve` begins a root, so what is missing of it is made, and said.
fn begin_root(context: &Context) -> Result<Root, Failure> {
    let root = match &context.global.root {
        Some(given) => Root::at(std::path::absolute(given).map_err(|error| Failure::user(format!("--root: {error}")))?),
        None => context.root()?,
    };
    if root.path().exists() && !root.path().is_dir() {
        return Err(super::root_failure(RootError::NotAFolder(root.path().to_owned())));
    }
    let projects = root.projects_dir();
    let missing: Vec<PathBuf> =
        [&projects, &root.state_dir()].into_iter().filter(|path| !path.is_dir()).cloned().collect();
    root.ensure_state().map_err(super::root_failure)?;
    std::fs::create_dir_all(&projects).map_err(|error| {
        Failure::user(format!("the folder {} cannot be made: {error}", projects.display()))
            .hint("check that the root can be written, or give another with --root")
    })?;
    for path in &missing {
        context.printer.talk(format!("made {}", path.display()));
    }
    if !missing.is_empty() {
        context.printer.json(&json!({ "made": missing, "root": root.path() }));
    }
    Ok(root)
}

/// Says what comes next to somebody who has no project yet: a file that can be used as it is.
fn say_how_to_begin(printer: &Printer, root: &Root, url: &str, args: &ForgeServeArgs) {
    let repository = args.repository.last().and_then(|name| split(name).ok());
    let (Some((owner, name)), Some(bot)) = (repository, args.user.first()) else { return };
    if !config::names(root).is_empty() || !printer.talks_to_person() {
        return;
    }
    let file = root.projects_dir().join(format!("{name}.toml"));
    printer.talk(format!("to let rig work on it, write {}:", file.display()));
    printer.talk(format!(
        "  repo = \"{owner}/{name}\"\n  forge_url = \"{url}\"\n  [forge]\n  kind = \"embedded\"\n  bot = \"{bot}\""
    ));
    printer.talk(format!("and FORGE_TOKEN=the token of {bot} into {} (mode 0600)", root.env_file().display()));
}
