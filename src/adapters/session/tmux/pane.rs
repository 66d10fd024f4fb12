//! What tmux tells of a pane.

use super::super::processes;
use crate::domain::ids::{Attempt, RunId};

/// The agent's pane of a session.
#[derive(Debug)]
pub(super) struct Pane {
    pub(super) id: String,
    pub(super) process: i32,
    pub(super) server: i32,
    pub(super) dead: bool,
    pub(super) run: String,
    pub(super) attempt: String,
    pub(super) is_agents: bool,
    pub(super) session: String,
}

impl Pane {
    pub(super) const FORMAT: &str =
        "#{pane_id}|#{pane_pid}|#{pid}|#{pane_dead}|#{@rig_run}|#{@rig_attempt}|#{@rig_agent}|#{session_name}";

    pub(super) fn read(line: &str) -> Option<Self> {
        let mut fields = line.splitn(8, '|');
        Some(Self {
            id: fields.next()?.to_owned(),
            process: fields.next()?.parse().ok()?,
            server: fields.next()?.parse().ok()?,
            dead: fields.next()? == "1",
            run: fields.next()?.to_owned(),
            attempt: fields.next()?.to_owned(),
            is_agents: fields.next()? == "1",
            session: fields.next()?.to_owned(),
        })
    }

    pub(super) fn is_of(&self, run: &RunId, attempt: Attempt) -> bool {
        self.run == run.as_str() && self.attempt == attempt.to_string()
    }

    /// Returns whether the agent itself runs: a pane outlives it while a grandchild holds the terminal open.
    pub(super) fn lives(&self) -> bool {
        !self.dead && processes::is_live_child(self.process, self.server)
    }
}
