//! The grammar of dependencies that people write into issues.
//!
//! Counted are
//! - the list below a heading `Dependencies`, `Depends on` or `Blocked by` (any level, any case, underlined, bold, or a line
//!   of its own with or without a colon), until the next heading: every reference of a list item, and lines that begin
//!   with references;
//! - `depends on #N`, `blocked by #N` and `dependencies: #N` in running text, with lists (`#1, #2 and #3`), bold, colons.
//!
//! Not counted are code, quotes, comments and struck-out text (see `prose`), `#123abc`, `other/repo#16`, negations, a
//! section `Related`, and what follows in a sentence after "not related to". Task boxes do not matter: whether a dependency
//! is done is for the forge to say. Where the wording leaves doubt, the reading that waits is taken: it shows in the
//! decision, and waiting can be undone.

use crate::domain::{
    ids::IssueNumber,
    prose::{prose, reference_at, references},
};
use blocks::{Block, Style, blocks};
use std::collections::BTreeSet;

/// How far before a keyword a negation is looked for, in bytes: further than any phrase of the grammar reaches, and a bound
/// on the work for a text that is nothing but keywords.
const LOOK_BACK: usize = 160;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| regex::Regex::new($text).expect("the pattern is a literal"));
    };
}

mod blocks;
#[cfg(test)]
mod tests;

pattern!(KEYWORD, r"(?i)\b(?:depends?[\s_-]+(?:up)?on\b|blocked[\s_-]+by\b|dependenc(?:y|ies)\s*[:：])");
pattern!(
    TITLE,
    r"(?i)^[^\p{L}#]*(?:dependenc(?:y|ies)|depends[\s_-]+on|blocked[\s_-]+by)\s*(?:\([^()]*\))?\s*[:：]?\s*(#\d.*)?$"
);
pattern!(RELATED_TITLE, r"(?i)^[^\p{L}#]*(?:not\s+|un)?related\b");
pattern!(
    LEADS_INTO_A_LIST,
    r"(?i)(?:depends?\s+on|blocked\s+by)\s*(?:the\s+following|these)?(?:\s+issues)?\s*[:：]\s*$"
);
pattern!(NOT_RELATED, r"(?i)(?:\bnot|n['’]?t)\s+(?:\w+\s+)?related\s+to\b|\bunrelated\s+to\b");
pattern!(ASIDE, r"(?i)\b(?:not|never|no\s+longer|(?:un)?related|see\s+also)\b|n['’]t\b");
pattern!(NOTHING, r"(?i)^\W*(?:none|nothing|n/a|no)\b");
pattern!(
    NEGATION,
    r"(?i)(?:\b(?:not|no|never|nor|neither|without|cannot|no\s+longer|used\s+to|formerly|previously|(?:do|does|did|is|are|was|were|has|have|had|would|should|could|can|wo|need)n['’]?t)(?:\s+(?:\w+ly|yet|now|be|been|being|to|any\s*more|longer|in\s+fact|hard|itself))*\s*|\b(?:nothing|none|nobody|no\s+one)\b[^.,;:!?#]*)$"
);
pattern!(ONLY, r"(?i)\bnot\s+only\s*$");
pattern!(
    BEFORE_LIST,
    r"(?i)^(?:[\s:：,;|(\[–—-]|(?:the|both|either|also|issues?|prs?|pull\s+requests?|tickets?|tasks?|bugs?)\b)*"
);
pattern!(AFTER_REFERENCE, r#"^[\])}"']*(?:[ \t]*\([^()#\n]*\))?"#);
pattern!(
    SEPARATOR,
    r"(?i)^(?:(?:\s*(?:[,;&+|/]|(?:and|or|plus|then|as\s+well\s+as)\b))+\s*|[ \t]+)(?:(?:on|by|upon|also|the|issues?|prs?|pull\s+requests?|tickets?|tasks?)\b\s*)*[(\[]*"
);
pattern!(FOREIGN, r"^[\w.\-/\\&]*#[\w.\-/]*");
pattern!(SENTENCE_END, r"[.!?]+(?:\s|$)");

/// What an issue says of its dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Issues that must be closed first, without the issue itself.
    pub numbers: Vec<IssueNumber>,
    /// The issue names itself.
    pub self_reference: bool,
}

/// Reads the dependencies in the body of issue `own`; the numbers come sorted, each once.
pub fn written_dependencies(body: &str, own: IssueNumber) -> Written {
    let mut reader = Reader::default();
    for block in blocks(&prose(body)) {
        reader.read(&block);
    }
    let self_reference = reader.found.remove(&own);
    Written { numbers: reader.found.into_iter().collect(), self_reference }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dependencies,
    Related,
    Other,
}

/// The section that a block is in.
#[derive(Debug, Clone, Copy)]
struct Section {
    kind: Kind,
    style: Style,
    /// Indentation of the list item that opened it: its list is indented more.
    within_item: Option<usize>,
}

#[derive(Default)]
struct Reader {
    section: Option<Section>,
    found: BTreeSet<IssueNumber>,
}

impl Reader {
    fn read(&mut self, block: &Block) {
        match block {
            Block::Title { style, text } => self.read_title(*style, text),
            Block::Item { indent, text } => self.read_item(*indent, text),
            Block::Paragraph { indent, text } => self.read_paragraph(*indent, text),
        }
    }

    fn kind(&self) -> Kind {
        self.section.map_or(Kind::Other, |section| section.kind)
    }

    fn read_title(&mut self, style: Style, text: &str) {
        let (kind, listed) = match TITLE.captures(text) {
            Some(captures) => (Kind::Dependencies, captures.get(1).map(|rest| rest.as_str())),
            None if RELATED_TITLE.is_match(text) => (Kind::Related, None),
            None => (Kind::Other, None),
        };
        let under_a_heading = self.section.is_some_and(|section| section.style == Style::Heading);
        // A bold line below a real heading only divides its list, unless its words say that it is something else.
        if style == Style::Heading || !under_a_heading || kind != Kind::Other {
            // A bold line with its own references is a statement, and no heading of what follows.
            let kind = if listed.is_some() && style != Style::Heading { Kind::Other } else { kind };
            self.section = Some(Section { kind, style, within_item: None });
        }
        if let Some(listed) = listed {
            self.found.extend(leading_references(listed));
        }
        if kind != Kind::Related {
            self.found.extend(inline_references(text));
        }
    }

    fn read_item(&mut self, indent: usize, text: &str) {
        if self.section.is_some_and(|section| section.within_item.is_some_and(|outer| indent <= outer)) {
            self.section = None;
        }
        match self.kind() {
            Kind::Related => return,
            Kind::Dependencies => self.found.extend(item_references(text)),
            Kind::Other => {}
        }
        self.read_inline(text, Some(indent));
    }

    fn read_paragraph(&mut self, indent: usize, text: &str) {
        let listed: Vec<IssueNumber> = text.lines().flat_map(leading_references).collect();
        let leads_in = self.section.is_some_and(|section| section.style == Style::LeadIn);
        if leads_in && indent < 2 && leading_references(text).is_empty() {
            self.section = None;
        }
        match self.kind() {
            Kind::Related => return,
            Kind::Dependencies => self.found.extend(listed),
            Kind::Other => {}
        }
        self.read_inline(text, None);
    }

    /// Reads running text, and opens a section when it ends by leading into a list.
    fn read_inline(&mut self, text: &str, item: Option<usize>) {
        self.found.extend(inline_references(text));
        let title = TITLE.captures(text).is_some_and(|captures| captures.get(1).is_none());
        let leads_in = LEADS_INTO_A_LIST.find(text).is_some_and(|found| !is_negated(text, found.start()));
        if (title || leads_in) && self.kind() != Kind::Dependencies {
            self.section = Some(Section { kind: Kind::Dependencies, style: Style::LeadIn, within_item: item });
        }
    }
}

/// Returns the references of a list item below a heading: all, but those of asides.
fn item_references(item: &str) -> Vec<IssueNumber> {
    if NOTHING.is_match(item) {
        return Vec::new();
    }
    sentences(item)
        .into_iter()
        .flat_map(|(start, end)| {
            let sentence = &item[start..end];
            references(&sentence[..ASIDE.find(sentence).map_or(sentence.len(), |aside| aside.start())])
        })
        .collect()
}

/// Returns the references that keywords in running text introduce.
fn inline_references(text: &str) -> Vec<IssueNumber> {
    let mut found = Vec::new();
    for (start, end) in sentences(text) {
        let sentence = &text[start..end];
        let said = NOT_RELATED.find(sentence).map_or(sentence.len(), |aside| aside.start());
        for keyword in KEYWORD.find_iter(&sentence[..said]) {
            if !is_negated(text, start + keyword.start()) {
                found.extend(leading_references(&text[start + keyword.end()..]));
            }
        }
    }
    found
}

/// Returns the bounds of the sentences of a text. A line that begins with a capital or a keyword begins one too: people
/// write statements as lines, without full stops.
fn sentences(text: &str) -> Vec<(usize, usize)> {
    let mut ends: BTreeSet<usize> = SENTENCE_END.find_iter(text).map(|end| end.end()).collect();
    for (at, _) in text.match_indices('\n') {
        let line = &text[at + 1..];
        if line.starts_with(char::is_uppercase) || KEYWORD.find_at(text, at + 1).is_some_and(|k| k.start() == at + 1) {
            ends.insert(at + 1);
        }
    }
    ends.insert(text.len());
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends.iter().copied()).filter(|(start, end)| start < end).collect()
}

/// Returns whether what stands before the keyword at byte `at` takes it back.
fn is_negated(text: &str, at: usize) -> bool {
    let begins_a_line = text[..at].ends_with('\n') && text[at..].starts_with(char::is_uppercase);
    if begins_a_line {
        return false;
    }
    let mut from = at.saturating_sub(LOOK_BACK);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    NEGATION.is_match(&text[from..at]) && !ONLY.is_match(&text[from..at])
}

/// Reads the list of references that the text begins with; foreign and malformed ones within it are passed over.
fn leading_references(text: &str) -> Vec<IssueNumber> {
    let mut found = Vec::new();
    let mut at = BEFORE_LIST.find(text).map_or(0, |filler| filler.end());
    loop {
        match reference_at(text, at).or_else(|| FOREIGN.find(&text[at..]).map(|f| (IssueNumber(0), at + f.end()))) {
            Some((number, end)) => {
                if reference_at(text, at).is_some() {
                    found.push(number);
                }
                at = end;
            }
            None => return found,
        }
        at += AFTER_REFERENCE.find(&text[at..]).map_or(0, |after| after.end());
        match SEPARATOR.find(&text[at..]) {
            Some(separator) if !separator.is_empty() => at += separator.end(),
            _ => return found,
        }
    }
}
