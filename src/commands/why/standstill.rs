//! What keeps a project as a whole from going on, whatever is in its queue.

use super::super::{
    last_tick::LastTick,
    status::{age, seconds_between},
};
use crate::{
    config::{ProjectProblem, settings::Project},
    domain::{code::Code, ids::ProjectName},
};
use jiff::Timestamp;
use serde::Serialize;

/// A project that no tick has looked at for so long is not looked at: cron runs a tick every ten minutes.
const OVERDUE_SECS: i64 = 3_600;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Standstill {
    pub(super) code: Code,
    pub(super) words: String,
    pub(super) change: &'static str,
}

impl Standstill {
    fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), change: code.what_changes_it() }
    }
}

/// Returns everything that holds the project up, what a person must do first, first.
pub(super) fn of(
    name: &ProjectName,
    loop_is_on: bool,
    settings: Option<&Project>,
    problems: &[ProjectProblem],
    tick: Option<&LastTick>,
    now: Timestamp,
) -> Vec<Standstill> {
    let mut found = Vec::new();
    if !loop_is_on {
        found.push(Standstill::new(Code::LoopOff, "the dev loop is switched off"));
    }
    match settings {
        Some(project) if !project.enabled => {
            found.push(Standstill::new(Code::ProjectOff, "the project is switched off in its file"));
        }
        Some(_) => {}
        None => match problems.iter().find(|one| one.project == name.as_str() || one.project == "state/env") {
            Some(problem) => {
                let words = format!("ticks skip the project: {}", super::super::status::plain(&problem.to_string()));
                found.push(Standstill::new(Code::ProjectBroken, words));
            }
            // A broken project that is switched off is not complained about.
            None => found.push(Standstill::new(Code::ProjectOff, "the project is switched off in its file")),
        },
    }
    match tick {
        None => found.push(Standstill::new(Code::NoTick, "no tick has looked at the project yet")),
        Some(tick) => {
            let ago = seconds_between(tick.at, now);
            if ago > OVERDUE_SECS {
                found.push(Standstill::new(Code::TickOverdue, format!("the last tick was {} ago", age(ago))));
            }
            if let Some((code, words)) = &tick.ended_early {
                let words = format!("the last tick ended early: {}", super::super::status::plain(words));
                found.push(Standstill::new(code.parse().unwrap_or(Code::TickFailed), words));
            }
            if let Some(why) = &tick.failed {
                let words =
                    format!("the last tick could not look at the project: {}", super::super::status::plain(why));
                found.push(Standstill::new(Code::TickFailed, words));
            }
        }
    }
    found
}
