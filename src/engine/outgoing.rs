//! What a run's events mean for the channels of its project: news, the first message of its thread, the word that a reply has
//! arrived, and what the agent says. Written with the event, sent by others.

use super::World;
use crate::{
    domain::{
        chat::{Channel, Letter, letter::Links},
        run::{Event, Fact, Run, Stage},
    },
    ports::{
        outbox::{Body, Outgoing},
        session::{HookEvent, HookKind},
        store::{Notice, StoreResult},
    },
};
use serde_json::json;

/// Replies that came by Matrix have the event's id, which begins so.
const MATRIX_EVENT: char = '$';

/// Returns the messages that one event makes.
pub(super) fn of(world: &World, run: &Run, fact: &Fact, notices: &[Notice]) -> Vec<Outgoing> {
    let mut messages = Vec::new();
    for notice in notices {
        if world.project.matrix.is_some() {
            messages.push(threaded(world, run, notice.id.to_string(), news(world, run, notice), fact));
        }
        let channels =
            [(Channel::Webhook, &world.project.notify.webhook), (Channel::Command, &world.project.notify.command)];
        for (channel, _) in channels.into_iter().filter(|(_, address)| address.is_some()) {
            let news = as_json(world, run, notice);
            messages.push(message(run, channel, notice.id.to_string(), Body::News { news }, fact));
        }
    }
    if world.project.matrix.is_some() && matches!(fact.event, Event::PromptTaken { .. }) {
        for id in run.replies_taken().filter(|id| id.starts_with(MATRIX_EVENT)) {
            let body = Body::Confirmation { of: id.to_owned() };
            messages.push(message(run, Channel::Matrix, format!("taken-{id}"), body, fact));
        }
    }
    messages
}

/// Returns what tells people that their word came too late for the run.
pub(super) fn too_late(world: &World, run: &Run, event: &Event) -> Option<Outgoing> {
    let Event::HumanReplied { id, .. } = event else { return None };
    if world.project.matrix.is_none() || !id.starts_with(MATRIX_EVENT) || !run.stage.is_over() {
        return None;
    }
    let letter = Letter::text(&format!("This run has ended ({}); nobody reads your message.", run.stage.name()));
    let body = Body::Threaded { letter, opening: opening(world, run) };
    Some(Outgoing {
        id: format!("late-{id}"),
        channel: Channel::Matrix,
        project: run.project.clone(),
        issue: Some(run.issue),
        run: Some(run.id.clone()),
        body,
        at: world.clock.now(),
    })
}

/// Queues what the agent said at the end of a turn, as far as the project wants it in the thread. Queued before the turn's end is
/// journaled, under an id that the end of that turn alone has, so that none is lost and none is doubled.
pub(super) async fn say(world: &World, run: &Run, hook: &HookEvent) -> StoreResult<()> {
    let HookKind::TurnEnded { last_message, .. } = &hook.kind else { return Ok(()) };
    let Some(matrix) = &world.project.matrix else { return Ok(()) };
    let Some(letter) = Letter::said(&world.redactor.redact(last_message), matrix.stream) else { return Ok(()) };
    let message = Outgoing {
        id: format!("said-{}-{}-{}", run.id, hook.attempt, hook.offset),
        channel: Channel::Matrix,
        project: run.project.clone(),
        issue: Some(run.issue),
        run: Some(run.id.clone()),
        body: Body::Threaded { letter, opening: opening(world, run) },
        at: world.clock.now(),
    };
    world.outbox.queue(&[message]).await?;
    world.machine.ensure_bridge();
    Ok(())
}

fn message(run: &Run, channel: Channel, id: String, body: Body, fact: &Fact) -> Outgoing {
    Outgoing {
        id,
        channel,
        project: run.project.clone(),
        issue: Some(run.issue),
        run: Some(run.id.clone()),
        body,
        at: fact.at,
    }
}

fn threaded(world: &World, run: &Run, id: String, letter: Letter, fact: &Fact) -> Outgoing {
    message(run, Channel::Matrix, id, Body::Threaded { letter, opening: opening(world, run) }, fact)
}

fn opening(world: &World, run: &Run) -> Letter {
    Letter::thread(run.project.as_str(), run.issue.0, &run.title, &links(world, run).issue)
}

fn news(world: &World, run: &Run, notice: &Notice) -> Letter {
    Letter::news(&notice.text, &links(world, run), &mentions(world, run, notice))
}

/// Who must act is notified; the second contact too, once nobody has answered for long.
fn mentions(world: &World, run: &Run, notice: &Notice) -> Vec<String> {
    let Some(matrix) = world.project.matrix.as_ref().filter(|_| notice.urgent) else { return Vec::new() };
    let long = matches!(run.stage, Stage::Escalated { reminders, .. } if reminders >= 2);
    let second = matrix.second_contact.as_ref().filter(|_| long);
    let mut people: Vec<String> = matrix.mention_user.iter().chain(second).cloned().collect();
    people.dedup();
    people
}

fn links(world: &World, run: &Run) -> Links {
    let base = format!("{}/{}", world.project.forge_url, world.project.repository);
    Links {
        issue: format!("{base}/issues/{}", run.issue.0),
        pull_request: run.pull_request.map(|number| format!("{base}/pulls/{}", number.0)),
        ci: run.head.as_ref().filter(|_| run.pull_request.is_some()).map(|head| format!("{base}/commit/{head}")),
    }
}

/// The form of a notice for programs. Fields are only added.
fn as_json(world: &World, run: &Run, notice: &Notice) -> serde_json::Value {
    json!({
        "version": 1,
        "id": notice.id,
        "at": notice.at,
        "project": run.project,
        "repository": world.project.repository.to_string(),
        "issue": run.issue,
        "run": run.id,
        "title": run.title,
        "stage": run.stage.name(),
        "text": notice.text,
        "urgent": notice.urgent,
        "links": links(world, run),
    })
}
