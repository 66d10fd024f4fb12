//! What people write in a room, turned into inputs for drivers, commands for rig, and answers: all of it written in one
//! transaction with the position up to which was read, so that each message counts once whatever happens in between.

use super::{
    Bridge, Room,
    orders::{Asked, Asker},
};
use crate::{
    domain::{
        chat::{
            Channel, Letter,
            order::{self, Said},
        },
        ids::{ProjectName, RunId},
        run::Event,
    },
    ports::{
        chat::{ChatError, Incoming, Written},
        outbox::{Body, NewInput, Outgoing, Reading},
        store::{RunRow, StoreError, StoreResult},
    },
};
use jiff::SignedDuration;
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::Notify;

/// First pause after a failed look at the room; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause: a homeserver that is back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Time for the key of a message to arrive before its sender is told.
const KEY_WAIT: SignedDuration = SignedDuration::from_mins(2);
/// Longest message of a person that is handed to an agent, in characters.
const LONGEST_REPLY: usize = 16_000;

#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads on and on. Only a store that fails ends it.
pub(super) async fn read_on(bridge: &Bridge, wait: Duration, wake: &Notify) -> StoreResult<()> {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        match read(bridge, wait).await {
            Ok(()) => {
                if told {
                    tracing::info!(account = bridge.account, "the homeserver answers again");
                }
                (pause, told) = (FIRST_PAUSE, false);
                wake.notify_one();
            }
            Err(ReadingError::Store(error)) => return Err(error),
            Err(ReadingError::Chat(error)) => {
                if !told {
                    tracing::warn!(account = bridge.account, %error, hint = error.hint(), "the rooms cannot be read now");
                    told = true;
                }
                tokio::time::sleep(pause.max(error.retry_after().unwrap_or_default())).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Reads what came since the last time, waiting for something to come.
pub(super) async fn read(bridge: &Bridge, wait: Duration) -> Result<(), ReadingError> {
    let after = bridge.outbox.chat_position(&bridge.account).await?;
    let batch = bridge.chat.events(after.as_deref(), wait).await?;
    let mut taking = Taking::new(bridge);
    taking.reading.next = batch.next;
    for incoming in batch.incoming {
        taking.take(incoming).await?;
    }
    taking.read_again().await?;
    let Taking { reading, runs, .. } = taking;
    bridge.outbox.take_reading(&reading, bridge.clock.now()).await?;
    for run in runs {
        bring(bridge, &run).await;
    }
    Ok(())
}

/// Makes the run's driver look, starting one when none lives. What goes wrong is the next tick's.
async fn bring(bridge: &Bridge, run: &RunRow) {
    bridge.machine.wake_driver(&run.project, run.issue);
    let drivers = bridge.store.drivers().await.unwrap_or_default();
    let led = drivers.iter().any(|driver| {
        driver.run == run.run
            && bridge.machine.is_alive(&crate::ports::launch::ProcessIdentity {
                pid: driver.pid,
                start: driver.process_start,
                boot_id: driver.boot_id.clone(),
            })
    });
    if !led
        && bridge.machine.is_switched_on()
        && let Err(error) = bridge.machine.launch_driver(&run.project, run.issue, &run.run)
    {
        tracing::warn!(run = %run.run, %error, "the driver for a reply has to wait for the next tick");
    }
}

/// One reading while it is made.
struct Taking<'a> {
    bridge: &'a Bridge,
    reading: Reading,
    /// Runs that got something.
    runs: Vec<RunRow>,
    seen: BTreeSet<String>,
}

impl<'a> Taking<'a> {
    fn new(bridge: &'a Bridge) -> Self {
        let reading = Reading { account: bridge.account.clone(), ..Reading::default() };
        Self { bridge, reading, runs: Vec::new(), seen: BTreeSet::new() }
    }

    async fn take(&mut self, incoming: Incoming) -> StoreResult<()> {
        let ours = self.bridge.rooms.iter().any(|room| room.room == incoming.room);
        if !ours || incoming.sender == self.bridge.chat.user() || !self.seen.insert(incoming.event.clone()) {
            // A deletion of rig's own message by itself is none that matters.
            return Ok(());
        }
        match incoming.what.clone() {
            Written::Text(text) => self.text(&incoming, &text).await,
            Written::Edit { of, text } => self.edit(&incoming, &of, &text).await,
            Written::Deletion { of } => self.deletion(&incoming, of).await,
            Written::Unreadable => {
                self.reading.unreadable.push((incoming.room, incoming.event));
                Ok(())
            }
        }
    }

    /// Tries again what could not be decrypted; whose key does not come is told so.
    async fn read_again(&mut self) -> StoreResult<()> {
        let now = self.bridge.clock.now();
        for (room, event, at) in self.bridge.outbox.unreadable(&self.bridge.account).await? {
            match self.bridge.chat.read_again(&room, &event).await {
                Ok(Some(incoming)) => {
                    self.reading.settled.push(event);
                    self.take(incoming).await?;
                }
                Ok(None) | Err(_) if now.duration_since(at) < KEY_WAIT => {}
                Ok(None) => {
                    let text = "A message in this room cannot be decrypted by rig: its key did not come. Write it again; if that \
                                does not help, `rig matrix check` on rig's machine says what is wrong with its device.";
                    let id = format!("unreadable-{event}");
                    self.reading.settled.push(event);
                    self.answer_in_room(&room, id, text);
                }
                Err(error) => tracing::debug!(%error, "an encrypted message cannot be fetched now"),
            }
        }
        Ok(())
    }

    async fn text(&mut self, incoming: &Incoming, text: &str) -> StoreResult<()> {
        let run = self.run_of(incoming).await?;
        let said = order::read(text, run.is_some());
        match (run, said) {
            (Some(run), said) => self.in_thread(incoming, &run, said).await,
            // Who talks with others in the room, or in their threads, is left alone.
            (None, Said::Words(_))
                if !incoming.mentions_me && (incoming.thread.is_some() || incoming.answers.is_some()) =>
            {
                Ok(())
            }
            (None, said) => self.in_room(incoming, said).await,
        }
    }

    async fn run_of(&self, incoming: &Incoming) -> StoreResult<Option<RunRow>> {
        for event in incoming.thread.iter().chain(&incoming.answers) {
            if let Some(run) = self.bridge.outbox.run_of(&incoming.room, event).await? {
                return self.bridge.store.run(&run).await;
            }
        }
        Ok(None)
    }

    async fn in_thread(&mut self, incoming: &Incoming, run: &RunRow, said: Said) -> StoreResult<()> {
        if !self.is_allowed(incoming, Some(&run.project)) {
            self.refuse(incoming, Some(run));
            return Ok(());
        }
        match said {
            Said::Order(order) => {
                let asked = Asked { order, run: Some(run.clone()), asker: asker(incoming) };
                let answer = self.bridge.control.carry_out(&asked, &self.projects_of(&incoming.room)).await;
                self.answer(incoming, Some(run), &answer);
            }
            Said::Unknown(why) => self.answer(incoming, Some(run), &format!("{why}; `!rig help` tells what there is")),
            Said::Words(text) if run.open => {
                let event = Event::HumanReplied {
                    id: incoming.event.clone(),
                    who: who(incoming),
                    text: crate::domain::chat::letter::bounded(&text, LONGEST_REPLY),
                };
                let late = self.late(incoming, run);
                self.input(run, &incoming.event, &event, Some(late));
                if !self.bridge.machine.is_switched_on() {
                    self.answer(incoming, Some(run), "The dev loop is off: your message waits until `!rig resume`.");
                }
            }
            Said::Words(_) => {
                let text = format!("This run has ended ({}): nobody reads your message.", run.stage);
                self.answer(incoming, Some(run), &text);
            }
        }
        Ok(())
    }

    async fn in_room(&mut self, incoming: &Incoming, said: Said) -> StoreResult<()> {
        let is_order = !matches!(said, Said::Words(_));
        if !self.is_allowed(incoming, None) {
            if is_order || incoming.mentions_me {
                self.refuse(incoming, None);
            }
            return Ok(());
        }
        match said {
            Said::Order(order) => {
                let asked = Asked { order, run: None, asker: asker(incoming) };
                let answer = self.bridge.control.carry_out(&asked, &self.projects_of(&incoming.room)).await;
                self.answer(incoming, None, &answer);
            }
            Said::Unknown(why) => self.answer(incoming, None, &format!("{why}; `!rig help` tells what there is")),
            Said::Words(_) => {
                // Once an hour for each person: a room is also for talking.
                let hour = self.bridge.clock.now().as_second() / 3_600;
                let text = "No agent hears this: write into the thread of a run, or as a reply to one of its messages. \
                            `!rig help` tells what else there is.";
                let id = format!("hint-{}-{}-{hour}", incoming.room, incoming.sender);
                self.queue(incoming, None, id, text);
            }
        }
        Ok(())
    }

    async fn edit(&mut self, incoming: &Incoming, of: &str, text: &str) -> StoreResult<()> {
        let Some((run, by)) = self.reply(of).await? else { return Ok(()) };
        // Only the author's edits count; servers let anybody send one.
        if by != incoming.sender && !by.ends_with(&format!("({})", incoming.sender)) {
            return Ok(());
        }
        let event = Event::ReplyChanged {
            id: of.to_owned(),
            who: by,
            text: crate::domain::chat::letter::bounded(text.trim(), LONGEST_REPLY),
        };
        self.input(&run, &incoming.event, &event, None);
        Ok(())
    }

    async fn deletion(&mut self, incoming: &Incoming, of: String) -> StoreResult<()> {
        if let Some((run, _)) = self.reply(&of).await? {
            self.input(&run, &incoming.event, &Event::ReplyWithdrawn { id: of.clone() }, None);
        }
        self.reading.lost_threads.push((incoming.room.clone(), of));
        Ok(())
    }

    /// Finds a reply that was taken: its run, and who wrote it.
    async fn reply(&self, event: &str) -> StoreResult<Option<(RunRow, String)>> {
        let here = self.reading.inputs.iter().find(|input| input.key == event);
        let found = match here {
            Some(input) => Some((input.run.clone(), input.body.clone())),
            None => self.bridge.outbox.input_of(event).await?,
        };
        let Some((run, body)) = found else { return Ok(None) };
        let Some(row) = self.bridge.store.run(&run).await?.filter(|row| row.open) else { return Ok(None) };
        match serde_json::from_value(body) {
            Ok(Event::HumanReplied { who, .. }) => Ok(Some((row, who))),
            _ => Ok(None),
        }
    }

    /// What somebody is told whose word came when the run had just ended.
    fn late(&self, incoming: &Incoming, run: &RunRow) -> Outgoing {
        let letter = Letter::text("This run has just ended: nobody reads your message.");
        let body = Body::Answer { letter, room: incoming.room.clone(), thread: incoming.thread.clone() };
        self.outgoing(format!("late-{}", incoming.event), run.project.clone(), Some(&run.run), body)
    }

    fn input(&mut self, run: &RunRow, key: &str, event: &Event, otherwise: Option<Outgoing>) {
        let Ok(body) = serde_json::to_value(event) else { return };
        self.reading.inputs.push(NewInput {
            run: run.run.clone(),
            key: key.to_owned(),
            kind: event.kind().to_owned(),
            body,
            otherwise,
        });
        if self.runs.iter().all(|known| known.run != run.run) {
            self.runs.push(run.clone());
        }
    }

    /// Tells somebody whose word does not count, once in each thread.
    fn refuse(&mut self, incoming: &Incoming, run: Option<&RunRow>) {
        let place = incoming.thread.as_deref().unwrap_or(&incoming.room);
        let text = format!(
            "{}: rig does not take messages from you here; [matrix] allowed_users of the project names who may speak.",
            incoming.sender
        );
        self.queue(incoming, run, format!("no-{place}-{}", incoming.sender), &text);
    }

    fn answer(&mut self, incoming: &Incoming, run: Option<&RunRow>, text: &str) {
        self.queue(incoming, run, format!("answer-{}", incoming.event), text);
    }

    fn queue(&mut self, incoming: &Incoming, run: Option<&RunRow>, id: String, text: &str) {
        let Some(project) =
            run.map(|run| run.project.clone()).or_else(|| self.projects_of(&incoming.room).into_iter().next())
        else {
            return;
        };
        let body =
            Body::Answer { letter: Letter::text(text), room: incoming.room.clone(), thread: incoming.thread.clone() };
        self.reading.answers.push(self.outgoing(id, project, run.map(|run| &run.run), body));
    }

    fn answer_in_room(&mut self, room: &str, id: String, text: &str) {
        let Some(project) = self.projects_of(room).into_iter().next() else { return };
        let body = Body::Answer { letter: Letter::text(text), room: room.to_owned(), thread: None };
        let answer = self.outgoing(id, project, None, body);
        self.reading.answers.push(answer);
    }

    fn outgoing(&self, id: String, project: ProjectName, run: Option<&RunId>, body: Body) -> Outgoing {
        let at = self.bridge.clock.now();
        Outgoing { id, channel: Channel::Matrix, project, issue: None, run: run.cloned(), body, at }
    }

    fn projects_of(&self, room: &str) -> Vec<ProjectName> {
        self.rooms(room).map(|room| room.project.clone()).collect()
    }

    fn rooms<'r>(&'r self, room: &'r str) -> impl Iterator<Item = &'r Room> {
        self.bridge.rooms.iter().filter(move |known| known.room == room)
    }

    /// A person counts for a project that names them; outside of threads for any project of the room.
    fn is_allowed(&self, incoming: &Incoming, project: Option<&ProjectName>) -> bool {
        self.rooms(&incoming.room)
            .filter(|room| project.is_none_or(|project| room.project == *project))
            .any(|room| room.allowed_users.contains(&incoming.sender))
    }
}

fn asker(incoming: &Incoming) -> Asker {
    Asker { who: who(incoming), event: incoming.event.clone(), room: incoming.room.clone(), at: incoming.at }
}

fn who(incoming: &Incoming) -> String {
    let name = incoming.sender_name.trim();
    match name.is_empty() || name == incoming.sender {
        true => incoming.sender.clone(),
        false => format!("{} ({})", crate::domain::chat::letter::bounded(name, 60), incoming.sender),
    }
}
