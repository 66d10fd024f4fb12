//! Empties an outbox: the messages of one lane one after the other, several lanes side by side. A message is marked as sent
//! only after the other side has it; one that was sent and not marked is sent again under its id, which shows nothing twice.

use crate::{
    domain::{
        chat::{
            Channel, Letter,
            pace::{MOST_WAITING, pause},
        },
        ids::ProjectName,
    },
    ports::{
        chat::{ChatError, Content, Place, Sender},
        clock::Clock,
        outbox::{Body, Outbox, Outgoing, Thread, Waiting},
        store::{StoreError, StoreResult},
    },
};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use std::{collections::BTreeMap, time::Duration};

/// Messages that one round takes: a new lane waits for no more than these.
const ROUND: u32 = 64;
/// Lanes that are sent side by side.
const LANES_AT_ONCE: usize = 4;
/// Time that a message waits which only a person can let through: an invitation, a login, a right.
const PERSON: Duration = Duration::from_secs(60);

/// One way out of an outbox.
pub struct Pump<'a> {
    pub outbox: &'a dyn Outbox,
    pub sender: &'a dyn Sender,
    pub clock: &'a dyn Clock,
    pub channel: Channel,
    pub project: &'a ProjectName,
    /// Where the threads of the project's runs are; none for channels without rooms.
    pub room: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Pump<'_> {
    /// Sends all that is due. Returns how many messages were sent.
    pub async fn empty(&self) -> StoreResult<u64> {
        self.fold().await?;
        let mut sent = 0;
        loop {
            let due = self.outbox.due(self.channel, Some(self.project), self.clock.now(), ROUND).await?;
            if due.is_empty() {
                return Ok(sent);
            }
            let mut lanes: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
            for waiting in due {
                lanes.entry(waiting.lane.clone()).or_default().push(waiting);
            }
            let lanes: Vec<Vec<Waiting>> = lanes.into_values().collect();
            let results: Vec<StoreResult<u64>> =
                stream::iter(lanes).map(|lane| self.send_lane(lane)).buffer_unordered(LANES_AT_ONCE).collect().await;
            for result in results {
                sent += result?;
            }
        }
    }

    /// Makes one message of those of a lane in which too many wait.
    async fn fold(&self) -> StoreResult<()> {
        let crowded = self.outbox.crowded(self.channel, MOST_WAITING as u32).await?;
        let mut lanes: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        for waiting in crowded.into_iter().filter(|waiting| waiting.message.project == *self.project) {
            lanes.entry(waiting.lane.clone()).or_default().push(waiting);
        }
        for lane in lanes.into_values() {
            if let Some((positions, one)) = folded(&lane, self.clock) {
                tracing::info!(lane = lane[0].lane, messages = positions.len(), "messages are folded into one");
                self.outbox.fold(&positions, &one).await?;
            }
        }
        Ok(())
    }

    /// Sends the messages of one lane, up to the first that cannot be sent now.
    async fn send_lane(&self, lane: Vec<Waiting>) -> StoreResult<u64> {
        let mut sent = 0;
        for waiting in lane {
            match self.send_one(&waiting.message).await {
                Ok(event) => {
                    self.outbox.mark_sent(waiting.position, &event).await?;
                    sent += 1;
                }
                Err(Unsent::Store(error)) => return Err(error),
                Err(Unsent::Chat(error @ ChatError::Impossible { .. })) => {
                    tracing::error!(id = waiting.message.id, %error, "a message is left out");
                    self.outbox.give_up(waiting.position, &error.to_string()).await?;
                }
                Err(Unsent::Chat(error)) => {
                    self.put_off(&waiting, &error).await?;
                    break;
                }
            }
        }
        Ok(sent)
    }

    async fn put_off(&self, waiting: &Waiting, error: &ChatError) -> StoreResult<()> {
        let by_person = matches!(error, ChatError::Account { .. } | ChatError::Refused { .. });
        let pause = if by_person { PERSON } else { pause(waiting.attempts + 1, error.retry_after()) };
        if by_person || waiting.attempts == 0 {
            tracing::warn!(channel = %self.channel, id = waiting.message.id, %error, hint = error.hint(), "a message waits");
        }
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_mins(1));
        let until = self.clock.now().checked_add(pause).unwrap_or(jiff::Timestamp::MAX);
        self.outbox.put_off(waiting.position, until, &error.to_string()).await
    }

    async fn send_one(&self, message: &Outgoing) -> Result<String, Unsent> {
        // A thread that turns out to be gone is made anew, once.
        match self.send_in_place(message).await {
            Err(Unsent::Chat(ChatError::ThreadGone)) => {
                if let Some(run) = &message.run
                    && let Some(thread) = self.outbox.thread(run).await?
                {
                    self.outbox.set_thread(&Thread { gone: true, ..thread }).await?;
                }
                self.send_in_place(message).await
            }
            result => result,
        }
    }

    async fn send_in_place(&self, message: &Outgoing) -> Result<String, Unsent> {
        let content = match &message.body {
            Body::News { news } => Content::News { news: news.clone() },
            Body::Answer { letter, room, thread } => {
                Content::Letter { letter: letter.clone(), place: Place { room: room.clone(), thread: thread.clone() } }
            }
            Body::Threaded { letter, opening } => {
                Content::Letter { letter: letter.clone(), place: self.thread_of(message, opening).await? }
            }
            Body::Confirmation { of } => {
                let place = match &message.run {
                    Some(run) => self
                        .outbox
                        .thread(run)
                        .await?
                        .map(|thread| Place { room: thread.room, thread: Some(thread.root) }),
                    None => None,
                };
                let place = place.ok_or_else(|| impossible("the thread of the reply is not known"))?;
                Content::Confirmation { of: of.clone(), place }
            }
        };
        Ok(self.sender.send(&message.id, &content).await?)
    }

    /// Returns the thread of the message's run in the project's room, beginning one when there is none.
    async fn thread_of(&self, message: &Outgoing, opening: &Letter) -> Result<Place, Unsent> {
        let room = self.room.ok_or_else(|| impossible("the channel has no rooms"))?;
        let Some(run) = &message.run else { return Ok(Place { room: room.to_owned(), thread: None }) };
        let newest = self.outbox.thread(run).await?;
        if let Some(thread) = newest.as_ref().filter(|thread| !thread.gone && thread.room == room) {
            return Ok(Place { room: room.to_owned(), thread: Some(thread.root.clone()) });
        }
        let generation = newest.map_or(0, |thread| thread.generation + 1);
        let content = Content::Letter { letter: opening.clone(), place: Place { room: room.to_owned(), thread: None } };
        let root = self.sender.send(&format!("thread-{run}-{generation}"), &content).await?;
        let thread = Thread { run: run.clone(), generation, room: room.to_owned(), root: root.clone(), gone: false };
        self.outbox.set_thread(&thread).await?;
        Ok(Place { room: room.to_owned(), thread: Some(root) })
    }
}

fn impossible(message: &str) -> ChatError {
    ChatError::Impossible { message: message.to_owned() }
}

/// Returns the positions of a lane's letters and the one that stands for them.
fn folded(lane: &[Waiting], clock: &dyn Clock) -> Option<(Vec<i64>, Outgoing)> {
    let letters: Vec<(i64, &Outgoing, &Letter)> = lane
        .iter()
        .filter_map(|waiting| match &waiting.message.body {
            Body::Threaded { letter, .. } | Body::Answer { letter, .. } => {
                Some((waiting.position, &waiting.message, letter))
            }
            Body::Confirmation { .. } | Body::News { .. } => None,
        })
        .collect();
    let (_, first, _) = letters.first().filter(|_| letters.len() > MOST_WAITING)?;
    let letter = Letter::folded(&letters.iter().map(|(_, _, letter)| (*letter).clone()).collect::<Vec<_>>());
    let body = match &first.body {
        Body::Threaded { opening, .. } => Body::Threaded { letter, opening: opening.clone() },
        Body::Answer { room, thread, .. } => Body::Answer { letter, room: room.clone(), thread: thread.clone() },
        Body::Confirmation { .. } | Body::News { .. } => return None,
    };
    let one = Outgoing { id: format!("fold-{}", first.id), body, at: clock.now(), ..(*first).clone() };
    Some((letters.iter().map(|(position, ..)| *position).collect(), one))
}
