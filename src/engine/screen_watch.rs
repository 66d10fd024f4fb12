//! An agent without hooks, read from its screen: when it has taken a prompt, and when its turn has ended. A prompt names
//! its file, so it has been taken when the screen shows that name; a turn has ended when the empty input line shows and
//! nothing has changed for a while. What was taken stays on the screen, so that a driver which comes later sees it too.

use crate::{
    domain::{
        ids::{Attempt, EffectId},
        run::{Run, Session},
    },
    ports::session::PromptLine,
};
use std::time::Duration;

/// Lines of history that one look takes in: a typed line must still be among them at the next look.
pub(super) const HISTORY_LINES: u32 = 2_000;
/// Pause between two typings of the first prompt.
const TYPE_AGAIN: Duration = Duration::from_secs(10);
/// Bounds of the pause between two looks: a fraction of the time after which a turn has ended.
const LOOK_LEAST: Duration = Duration::from_millis(50);
const LOOK_MOST: Duration = Duration::from_secs(1);
const LOOKS_IN_QUIET: u32 = 5;

/// What one look at the screen says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Glance {
    Nothing,
    /// The first prompt is to be typed.
    Type(String),
    /// The agent has taken its first prompt, or this message.
    Taken(Option<EffectId>),
    TurnEnded,
}

/// What was seen of the present attempt's screen.
#[derive(Debug)]
pub(super) struct ScreenWatch {
    attempt: Attempt,
    screen: String,
    /// Since when the screen has been as it is.
    since: Duration,
    typed_at: Option<Duration>,
}

impl ScreenWatch {
    pub(super) fn new() -> Self {
        Self { attempt: Attempt(0), screen: String::new(), since: Duration::ZERO, typed_at: None }
    }

    /// Returns the pause until the next look.
    pub(super) fn pause(quiet: Duration) -> Duration {
        (quiet / LOOKS_IN_QUIET).clamp(LOOK_LEAST, LOOK_MOST)
    }

    /// Takes a screen in. Returns whether it is another than before.
    pub(super) fn see(&mut self, attempt: Attempt, screen: &str, now: Duration) -> bool {
        if attempt != self.attempt {
            (self.attempt, self.typed_at) = (attempt, None);
        } else if screen == self.screen {
            return false;
        }
        (self.screen, self.since) = (screen.to_owned(), now);
        true
    }

    /// Judges what was seen last. `first_line` is what brings the first prompt, if it is typed at all.
    pub(super) fn judge(
        &mut self,
        run: &Run,
        line: &PromptLine,
        first_line: Option<String>,
        quiet: Duration,
        now: Duration,
    ) -> Glance {
        if run.session != Session::Started || self.attempt != run.attempt {
            return Glance::Nothing;
        }
        let rests = now.saturating_sub(self.since) >= quiet;
        let is_ready = *line == PromptLine::Empty;
        if !run.prompted {
            let Some(first) = first_line else { return Glance::Taken(None) };
            if shows(&self.screen, &first) {
                return Glance::Taken(None);
            }
            let may_type = self.typed_at.is_none_or(|at| now.saturating_sub(at) >= TYPE_AGAIN);
            if is_ready && rests && may_type {
                self.typed_at = Some(now);
                return Glance::Type(first);
            }
            return Glance::Nothing;
        }
        if run.busy {
            return if is_ready && rests { Glance::TurnEnded } else { Glance::Nothing };
        }
        let taken = run.messages().find(|(id, _)| shows(&self.screen, &format!("{id}.md"))).map(|(id, _)| id.clone());
        taken.map_or(Glance::Nothing, |id| Glance::Taken(Some(id)))
    }
}

/// Returns whether a text stands on the screen, however the program has broken and framed it.
fn shows(screen: &str, text: &str) -> bool {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric() || "-_./".contains(*c)).collect() };
    plain(screen).contains(&plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_however_it_is_broken_and_framed() {
        let screen = "│ > Read /root/state/run/greeter/1/inb │\n│   ox/01ABC-12-0.md and carry it out. │";
        assert!(shows(screen, "01ABC-12-0.md") && shows(screen, "Read /root/state/run/greeter/1/inbox"));
        assert!(!shows(screen, "01ABC-13-0.md") && !shows("", "x"));
    }

    #[test]
    fn a_screen_that_moves_is_never_at_rest() {
        let mut watch = ScreenWatch::new();
        assert!(watch.see(Attempt(1), "a", Duration::from_secs(1)));
        assert!(!watch.see(Attempt(1), "a", Duration::from_secs(2)));
        assert!(watch.see(Attempt(1), "b", Duration::from_secs(3)));
        assert_eq!(watch.since, Duration::from_secs(3));
        assert!(watch.see(Attempt(2), "b", Duration::from_secs(4)), "another attempt begins anew");
    }
}
