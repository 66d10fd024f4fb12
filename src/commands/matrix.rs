//! `rig matrix`: log an account in, see how it stands, be the bridge, send a test message.

mod bridge;
mod check;
#[cfg(feature = "matrix")]
pub(super) mod control;
mod password;

use super::{CommandResult, Context, load_failure, root_failure, runtime, wire};
use crate::{
    cli::{MatrixCommand, MatrixLoginArgs, MatrixSendArgs},
    config::{
        self, Root,
        settings::{Matrix, Project},
    },
    domain::{
        chat::{Channel, Letter},
        ids::ProjectName,
    },
    output::{Exit, Failure},
    ports::{
        chat::ChatError,
        outbox::{Body, Outbox, Outgoing},
    },
};
use serde_json::json;
use std::time::Duration;

/// Time that a test message may take: a bridge has to start, and a homeserver to answer.
const SEND_TIME: Duration = Duration::from_secs(30);
/// Pause between two looks at whether the message is sent.
const SEND_LOOK: Duration = Duration::from_millis(50);

pub fn run(context: &Context, command: MatrixCommand) -> CommandResult {
    if !cfg!(feature = "matrix") {
        return Err(Failure::user("this rig was built without Matrix")
            .hint("build it without --no-default-features: cargo install --locked --path ."));
    }
    match command {
        MatrixCommand::Login(args) => login(context, args),
        MatrixCommand::Check(args) => check::run(context, args),
        MatrixCommand::Run(args) => bridge::run(context, &args),
        MatrixCommand::Send(args) => send(context, args),
    }
}

/// Returns what a homeserver's answer is to people.
pub(super) fn chat_failure(error: &ChatError) -> Failure {
    let exit = match error {
        ChatError::Limited { .. } | ChatError::Unavailable { .. } | ChatError::ThreadGone => Exit::Outside,
        ChatError::Account { .. } | ChatError::Refused { .. } | ChatError::Impossible { .. } => Exit::User,
    };
    let hint = match error {
        ChatError::Unavailable { .. } => "check [matrix] homeserver, and that it is up",
        error => error.hint(),
    };
    Failure::new(exit, error).hint(hint)
}

/// Returns the projects that have a room, with its settings; those that are wrong are told.
fn rooms(context: &Context, root: &Root, only: Option<&ProjectName>) -> Result<Vec<(Project, Matrix)>, Failure> {
    if let Some(name) = only {
        let project = config::load_one(root, Some(name)).map_err(load_failure)?;
        let matrix = project.matrix.clone().ok_or_else(|| {
            Failure::user(format!("project {name} has no room")).hint("set homeserver and room_id in its [matrix]")
        })?;
        return Ok(vec![(project, matrix)]);
    }
    let loaded = config::load(root, &[]);
    super::tell_problems(&context.printer, &loaded.problems);
    let with_room: Vec<_> = loaded
        .projects
        .into_iter()
        .filter_map(|project| project.matrix.clone().map(|matrix| (project, matrix)))
        .collect();
    if with_room.is_empty() {
        return Err(Failure::user(format!("no project in {} has a room", root.projects_dir().display()))
            .hint("set homeserver and room_id in [matrix] of a project's file"));
    }
    Ok(with_room)
}

fn one_room(context: &Context, root: &Root, only: Option<&ProjectName>) -> Result<(Project, Matrix), Failure> {
    let mut found = rooms(context, root, only)?;
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|(project, _)| project.name.to_string()).collect();
        return Err(Failure::new(Exit::Usage, format!("several projects have a room: {}", names.join(", ")))
            .hint("name one with --project"));
    }
    found.pop().ok_or_else(|| Failure::internal("a list that is not empty has no element"))
}

fn login(context: &Context, args: MatrixLoginArgs) -> CommandResult {
    let root = context.root()?;
    let (project, matrix) = one_room(context, &root, args.project.as_ref())?;
    let user = args.user.or(matrix.bot_user.clone()).ok_or_else(|| {
        Failure::user("no account is named").hint("set [matrix] bot_user, or give --user @rig:example.org")
    })?;
    root.ensure_state().map_err(root_failure)?;
    let lock = wire::bridge_lock(&root)?.ok_or_else(|| {
        Failure::new(Exit::Held, "the bridge is running, and it alone may use the keys")
            .hint("end it (systemctl --user stop rig-matrix, or kill the `rig matrix run` that bridge.lock names), then log in")
    })?;
    let password = password::read(&context.printer, &user)?;
    let session = runtime()?.block_on(wire::matrix_login(
        &root,
        &matrix.homeserver,
        &user,
        password,
        &args.device_name,
        args.new_device,
    ))?;
    drop(lock);
    wire::bridge_failure(&root, None);
    context.printer.line(format!("logged in as {} with the device {}", session.user, session.device));
    context.printer.line(format!("  token and keys: {}", session.folder.display()));
    if matrix.bot_user.is_none() {
        context.printer.talk(format!("note: set [matrix] bot_user = \"{}\" in {}.toml", session.user, project.name));
    }
    context.printer.talk("next: rig matrix check");
    context.printer.json(&json!({ "user": session.user, "device": session.device, "folder": session.folder }));
    Ok(Exit::Ok)
}

/// Queues a message as a run would, makes sure that a bridge runs, and waits until it is sent.
fn send(context: &Context, args: MatrixSendArgs) -> CommandResult {
    let root = context.root()?;
    let (project, matrix) = one_room(context, &root, args.project.as_ref())?;
    let redactor = wire::redactor(&root, std::slice::from_ref(&project));
    let text = redactor.redact(args.text.trim()).into_owned();
    if text.is_empty() {
        return Err(Failure::new(Exit::Usage, "the message is empty"));
    }
    let began = std::time::Instant::now();
    let id = format!("test-{}", wire::new_id());
    let event = runtime()?.block_on(async {
        let store = wire::store(&root).await?;
        let machine = wire::machine(&root, wire::this_program()?);
        let body = Body::Answer { letter: Letter::text(&text), room: matrix.room.clone(), thread: None };
        let message = Outgoing {
            id: id.clone(),
            channel: Channel::Matrix,
            project: project.name.clone(),
            issue: None,
            run: None,
            body,
            at: jiff::Timestamp::now(),
        };
        store.queue(&[message]).await.map_err(|error| wire::store_failure(&error))?;
        wire::bridge_failure(&root, None);
        machine.ensure_bridge();
        wait_until_sent(&root, &*store, &id).await
    })?;
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    context.printer.line(format!("sent in {millis} ms: {event}"));
    context.printer.json(&json!({ "sent": event, "room": matrix.room, "millis": millis }));
    Ok(Exit::Ok)
}

async fn wait_until_sent(root: &Root, outbox: &dyn Outbox, id: &str) -> Result<String, Failure> {
    let mut waited = Duration::ZERO;
    while waited < SEND_TIME {
        let state = outbox.message_state(Channel::Matrix, id).await.map_err(|error| wire::store_failure(&error))?;
        let Some(state) = state else { return Err(Failure::internal("the message is gone from the outbox")) };
        if state.is_sent && !state.event.is_empty() {
            return Ok(state.event);
        }
        if state.is_sent || !state.error.is_empty() {
            return Err(Failure::outside(format!("it could not be sent: {}", state.error))
                .hint("it is tried again while it waits; rig matrix check tells what is wrong"));
        }
        if let Some(why) = wire::bridge_last_failure(root) {
            return Err(Failure::user(format!("the bridge does not run: {why}"))
                .hint("the message waits; rig matrix check tells what is wrong"));
        }
        tokio::time::sleep(SEND_LOOK).await;
        waited += SEND_LOOK;
    }
    Err(Failure::outside(format!("it was not sent within {} s, and waits", SEND_TIME.as_secs()))
        .hint(format!("see {}", root.matrix_dir().join("bridge.log").display())))
}
