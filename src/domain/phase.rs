//! The phase protocol: what an agent may write into its phase file, and how the text is read.
//! The file is a signal from outside, so reading is total: every text is a phase, no phase yet, or a described mistake.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest reason that is kept, in characters: enough for a paragraph, small enough for a comment.
const REASON_CHARS: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    AwaitingCi,
    AwaitingReview,
    Escalate,
    Done,
    Failed,
}

impl Phase {
    pub const ALL: [Phase; 5] = [Phase::AwaitingCi, Phase::AwaitingReview, Phase::Escalate, Phase::Done, Phase::Failed];

    /// Returns the word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::AwaitingCi => "awaiting_ci",
            Phase::AwaitingReview => "awaiting_review",
            Phase::Escalate => "escalate",
            Phase::Done => "done",
            Phase::Failed => "failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no phase of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no phase; known are awaiting_ci, awaiting_review, escalate, done, failed")]
pub struct UnknownPhase {
    pub word: String,
}

impl FromStr for Phase {
    type Err = UnknownPhase;
    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Phase::ALL
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or_else(|| UnknownPhase { word: text.chars().take(80).collect() })
    }
}

/// A phase as reported, with the reason of line 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    pub phase: Phase,
    /// Text after `Reason:`; empty when there is none.
    pub reason: String,
}

/// What a phase file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseText {
    /// Empty, or the first line has no line end and could still grow into a phase.
    Nothing,
    Report(PhaseReport),
    Malformed(UnknownPhase),
}

/// Reads the content of a phase file: line 1 `PHASE:<word>` (the prefix may be missing), line 2 `Reason: <text>`.
pub fn read_phase_text(content: &str) -> PhaseText {
    let mut lines = content.trim_start_matches('\u{feff}').lines();
    let Some(first) = lines.next().map(str::trim).filter(|line| !line.is_empty()) else {
        return PhaseText::Nothing;
    };
    let word = match first.split_once(':') {
        Some((prefix, word)) if prefix.trim().eq_ignore_ascii_case("phase") => word.trim(),
        _ => first,
    };
    match word.parse() {
        Ok(phase) => PhaseText::Report(PhaseReport { phase, reason: read_reason(lines.next()) }),
        Err(_) if !content.contains('\n') && could_grow_into_a_phase(first) => PhaseText::Nothing,
        Err(unknown) => PhaseText::Malformed(unknown),
    }
}

/// Renders a report as the content of a phase file.
pub fn write_phase_text(report: &PhaseReport) -> String {
    if report.reason.is_empty() {
        return format!("PHASE:{}\n", report.phase);
    }
    let reason: String = report.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("PHASE:{}\nReason: {}\n", report.phase, reason)
}

fn read_reason(line: Option<&str>) -> String {
    let line = line.map(str::trim).unwrap_or_default();
    let text = match line.split_once(':') {
        Some((prefix, text)) if prefix.trim().eq_ignore_ascii_case("reason") => text.trim(),
        _ => "",
    };
    text.chars().take(REASON_CHARS).collect()
}

/// A slow writer may have got only this far; the rest is on its way.
fn could_grow_into_a_phase(line: &str) -> bool {
    Phase::ALL.iter().any(|phase| format!("PHASE:{phase}").starts_with(line) || phase.as_str().starts_with(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(phase: Phase, reason: &str) -> PhaseText {
        PhaseText::Report(PhaseReport { phase, reason: reason.to_owned() })
    }

    #[test]
    fn forms_of_one_phase_are_read_alike() {
        for text in [
            "PHASE:awaiting_ci\n",
            "PHASE:awaiting_ci",
            "awaiting_ci\n",
            "phase: awaiting_ci\r\n",
            " PHASE:awaiting_ci \n\n",
        ] {
            assert_eq!(read_phase_text(text), report(Phase::AwaitingCi, ""), "{text:?}");
        }
    }

    #[test]
    fn the_reason_is_the_second_line() {
        assert_eq!(read_phase_text("PHASE:escalate\nReason: which port?\n"), report(Phase::Escalate, "which port?"));
        assert_eq!(read_phase_text("PHASE:escalate\nwhich port?\n"), report(Phase::Escalate, ""));
    }

    #[test]
    fn a_half_written_phase_is_nothing_yet() {
        for text in ["", "\n", "  ", "PH", "PHASE:", "PHASE:awaiting", "await"] {
            assert_eq!(read_phase_text(text), PhaseText::Nothing, "{text:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_phase_is_a_described_mistake() {
        for text in ["PHASE:finished\n", "PHASE:awaiting\n", "hello", "PHASE:DONE\n"] {
            assert!(matches!(read_phase_text(text), PhaseText::Malformed(_)), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back_on_one_line() {
        let report = PhaseReport { phase: Phase::Failed, reason: "two\nlines\tand more".into() };
        let PhaseText::Report(read) = read_phase_text(&write_phase_text(&report)) else { panic!("no report") };
        assert_eq!(read.reason, "two lines and more");
    }
}
