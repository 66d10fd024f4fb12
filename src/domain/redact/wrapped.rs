//! Secrets that a terminal has broken over lines: the screen of a program shows one in pieces, each behind its indentation or
//! within a frame, and no piece looks like anything. Searched in a copy without the breaks; every piece goes.

use super::{MARKER, known::KnownSecret, shapes};
use std::{borrow::Cow, ops::Range};

/// Lines over which a secret of a known shape is followed; values that are known are found over any number.
const LINES: usize = 6;

/// Returns the text of a screen without what is broken over its lines. What lies within one line is for the other steps.
pub(super) fn redact<'t>(text: &'t str, known: &[KnownSecret]) -> Cow<'t, str> {
    let lines: Vec<Line<'_>> = text.lines().map(Line::new).collect();
    let mut cuts: Vec<Vec<Range<usize>>> = vec![Vec::new(); lines.len()];
    find_known(&lines, known, &mut cuts);
    find_shapes(&lines, &mut cuts);
    if cuts.iter().all(Vec::is_empty) {
        return Cow::Borrowed(text);
    }
    let mut redacted: Vec<String> = lines.iter().zip(cuts).map(|(line, cuts)| without(line.whole, cuts)).collect();
    if text.ends_with('\n') {
        redacted.push(String::new());
    }
    Cow::Owned(redacted.join("\n"))
}

/// A line of a screen, and what of it is neither indentation nor frame.
struct Line<'t> {
    whole: &'t str,
    /// Where the content begins in the line.
    start: usize,
    content: &'t str,
}

impl<'t> Line<'t> {
    fn new(whole: &'t str) -> Self {
        let is_frame = |c: char| c.is_whitespace() || c == '|' || ('\u{2500}'..='\u{257f}').contains(&c);
        let behind = whole.trim_start_matches(is_frame);
        Self { whole, start: whole.len() - behind.len(), content: behind.trim_end_matches(is_frame) }
    }

    fn first_word(&self) -> Range<usize> {
        let end = self.content.find(char::is_whitespace).unwrap_or(self.content.len());
        self.start..self.start + end
    }

    fn last_word(&self) -> Range<usize> {
        let space = self.content.rfind(char::is_whitespace);
        let begin = space.map_or(0, |at| self.content.ceil_char_boundary(at + 1));
        self.start + begin..self.start + self.content.len()
    }

    fn is_one_word(&self) -> bool {
        !self.content.contains(char::is_whitespace)
    }
}

fn find_known(lines: &[Line<'_>], known: &[KnownSecret], cuts: &mut [Vec<Range<usize>>]) {
    let joined: String = lines.iter().map(|line| line.content).collect();
    for found in known.iter().flat_map(|secret| secret.places(&joined)) {
        let mut at = 0;
        for (line, cuts) in lines.iter().zip(cuts.iter_mut()) {
            let (from, to) = (found.start.max(at), found.end.min(at + line.content.len()));
            if from < to {
                cuts.push(line.start + from - at..line.start + to - at);
            }
            at += line.content.len();
        }
    }
}

/// Finds breaks at which two pieces together have more of a secret than each alone. The words on both sides of it go.
fn find_shapes(lines: &[Line<'_>], cuts: &mut [Vec<Range<usize>>]) {
    let redacted = |text: &str| shapes::redact(Cow::Borrowed(text)).into_owned();
    for first in 0..lines.len() {
        let mut together = lines[first].content.to_owned();
        let mut apart = redacted(&together);
        for next in first + 1..lines.len().min(first + LINES) {
            together.push_str(lines[next].content);
            let both = redacted(&together);
            if both == apart + redacted(lines[next].content).as_str() {
                break;
            }
            cuts[next - 1].push(lines[next - 1].last_word());
            cuts[next].push(lines[next].first_word());
            if !lines[next].is_one_word() {
                break;
            }
            apart = both;
        }
    }
}

fn without(line: &str, mut cuts: Vec<Range<usize>>) -> String {
    cuts.retain(|cut| !cut.is_empty());
    cuts.sort_by_key(|cut| cut.start);
    let (mut kept, mut at) = (String::new(), 0);
    for cut in cuts {
        if cut.start >= at {
            kept.push_str(&line[at..cut.start]);
            kept.push_str(MARKER);
        }
        at = at.max(cut.end);
    }
    kept.push_str(&line[at..]);
    kept
}
