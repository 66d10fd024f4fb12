//! `rig dev poll` and `rig dev agent`: one tick over the projects, and the driver of one issue.

mod accounts;
mod agent;
mod poll;

pub use agent::agent;
pub use poll::{poll, tick_world};

use super::wire;
use crate::{
    engine::tick,
    output::{Exit, Failure},
    ports::forge::ForgeError,
};
use tokio::signal::unix::{SignalKind, signal};

/// Resolves on SIGTERM or SIGINT.
pub(super) fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::internal(format!("signals cannot be listened to: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn tick_failure(error: tick::TickError) -> Failure {
    match error {
        tick::TickError::Store(error) => wire::store_failure(&error),
        tick::TickError::Forge(error) => forge_failure(error),
        tick::TickError::Launch(error) => Failure::internal(error),
        tick::TickError::Lock(error) => Failure::new(Exit::Held, error),
    }
}

/// Returns what a forge that does not do what is asked is to people.
pub fn forge_failure(error: ForgeError) -> Failure {
    let (exit, hint) = match &error {
        ForgeError::Unauthorized { .. } => {
            (Exit::User, "put a valid token into the variable that [forge] token_env names, or into state/env")
        }
        ForgeError::Forbidden { .. } => (
            Exit::User,
            "the token needs the scopes write:issue, write:repository and read:user, and the bot write access",
        ),
        ForgeError::NotFound { .. } => (
            Exit::User,
            "check forge_url and repo in the project's file; private repositories look missing to accounts without access",
        ),
        ForgeError::Unavailable { .. } | ForgeError::Garbled { .. } => {
            (Exit::Outside, "check forge_url and whether the forge is up; rig tries again at the next tick")
        }
        ForgeError::RateLimited { .. } | ForgeError::NotAsked { .. } => {
            (Exit::Outside, "rig asks again at the first tick after that")
        }
        ForgeError::Refused { .. } | ForgeError::Invalid { .. } => (Exit::Outside, ""),
    };
    Failure::new(exit, error).hint(hint)
}
