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
    prose::{plain, prose, reference_at, references, strip_list_mark},
};
use regex::Regex;
use std::{collections::BTreeSet, sync::LazyLock};

/// How far before a keyword a negation is looked for, in bytes: further than any phrase of the grammar reaches, and a bound
/// on the work for a text that is nothing but keywords.
const LOOK_BACK: usize = 160;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("the pattern is a literal"));
    };
}

pattern!(KEYWORD, r"(?i)\b(?:depends?[\s_-]+(?:up)?on\b|blocked[\s_-]+by\b|dependenc(?:y|ies)\s*[:：])");
pattern!(
    TITLE,
    r"(?i)^[^\p{L}#]*(?:dependenc(?:y|ies)|depends[\s_-]+on|blocked[\s_-]+by)\s*(?:\([^()]*\))?\s*[:：]?\s*(#\d.*)?$"
);
pattern!(RELATED_TITLE, r"(?i)^[^\p{L}#]*(?:not\s+|un)?related\b");
pattern!(HEADING, r"^\s{0,3}(?:#{1,6}\s+|#{2,6})([^#\s].*?|)\s*#*\s*$");
pattern!(UNDERLINE, r"^\s{0,3}(?:=+|-{2,})\s*$");
pattern!(RULE, r"^\s{0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$");
pattern!(BOLD_LINE, r"^\s*(?:\*\*\*?|__)([^*]+?)(?:\*\*\*?|__)\s*[:：]?\s*$");
pattern!(TASK_BOX, r"^\[[ xX]?\]\s*");
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
enum Style {
    /// `## Title`, or a title with a line under it.
    Heading,
    /// A line in bold.
    Bold,
    /// A line that only leads into the list below it.
    LeadIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dependencies,
    Related,
    Other,
}

#[derive(Debug)]
enum Block {
    Title { style: Style, text: String },
    Item { indent: usize, text: String },
    Paragraph { indent: usize, text: String },
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

/// Cuts prose into titles, list items and paragraphs. The text of each is plain, its lines kept.
fn blocks(prose: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut current: Option<Block> = None;
    for line in prose.lines() {
        let indent = line.len() - line.trim_start().len();
        let words = plain(line).trim().to_owned();
        if UNDERLINE.is_match(line) {
            match (current.take(), blocks.last_mut()) {
                (Some(Block::Paragraph { text, .. }), _) => blocks.push(Block::Title { style: Style::Heading, text }),
                (None, Some(Block::Title { style, .. })) => *style = Style::Heading,
                (other, _) => blocks.extend(other),
            }
        } else if words.is_empty() || RULE.is_match(line) {
            blocks.extend(current.take());
        } else if let Some(style) = title_style(line, &words, current.is_some()) {
            blocks.extend(current.take());
            let text = words.trim_matches('#').trim().to_owned();
            let text = if style == Style::Heading { text } else { words };
            blocks.push(Block::Title { style, text });
        } else if let Some(content) = strip_list_mark(line) {
            blocks.extend(current.take());
            let content = plain(&TASK_BOX.replace(content, ""));
            current = Some(Block::Item { indent, text: content.trim().to_owned() });
        } else {
            match &mut current {
                Some(Block::Item { text, .. } | Block::Paragraph { text, .. }) => {
                    text.push('\n');
                    text.push_str(&words);
                }
                _ => current = Some(Block::Paragraph { indent, text: words }),
            }
        }
    }
    blocks.extend(current);
    blocks
}

fn title_style(line: &str, words: &str, in_paragraph: bool) -> Option<Style> {
    if HEADING.is_match(line) {
        return Some(Style::Heading);
    }
    if strip_list_mark(line).is_some() {
        return None;
    }
    if BOLD_LINE.is_match(line) {
        return Some(Style::Bold);
    }
    let colon = words.ends_with([':', '：']);
    let bare = TITLE.captures(words).is_some_and(|captures| captures.get(1).is_none());
    let related = RELATED_TITLE.is_match(words) && colon;
    // In the middle of a paragraph a line of these words alone may be the end of a wrapped sentence.
    ((bare && (colon || !in_paragraph)) || related).then_some(Style::LeadIn)
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IssueNumber = IssueNumber(7);

    fn numbers(body: &str) -> Vec<u64> {
        written_dependencies(body, OWN).numbers.into_iter().map(|number| number.0).collect()
    }

    #[test]
    fn written_forms_count() {
        let rows: &[(&str, &[u64])] = &[
            ("## Dependencies\n- #4", &[4]),
            ("# dependencies\n* #4", &[4]),
            ("###### DEPENDENCIES\n+ #4\n+ #3", &[3, 4]),
            ("## Dependencies:\n1. #4\n2. #5", &[4, 5]),
            ("## Dependencies ##\n1) #4", &[4]),
            ("##Dependencies\n- #4", &[4]),
            ("### Depends on\n- #4\n- #5", &[4, 5]),
            ("### Blocked by\n\n- #4\n\n- #5\n", &[4, 5]),
            ("## Depends On\n- the parser (#4)", &[4]),
            ("## 🔗 Dependencies\n- #4", &[4]),
            ("## 2. Dependencies\n- #4", &[4]),
            ("## **Dependencies**\n- #4", &[4]),
            ("## Dependencies (hard)\n- #4", &[4]),
            ("Dependencies\n============\n- #4", &[4]),
            ("Blocked by\n---\n- #4", &[4]),
            ("**Dependencies**\n- #4", &[4]),
            ("**Depends on:**\n\n- #4\n- #5", &[4, 5]),
            ("__Blocked by__:\n- #4", &[4]),
            ("***Depends on***\n- #4", &[4]),
            ("Depends on:\n- #4", &[4]),
            ("blocked by\n- #4", &[4]),
            ("## Dependencies\n- [ ] #4\n- [x] #5\n- [X] #6", &[4, 5, 6]),
            ("## Dependencies\n#4, #5 and #6", &[4, 5, 6]),
            ("## Dependencies\n#4\n#5", &[4, 5]),
            ("## Dependencies\n- #4, #5", &[4, 5]),
            ("## Dependencies\n- #4 the parser\n  and its tables #5", &[4, 5]),
            ("## Dependencies\n\nThese come first:\n\n- #4", &[4]),
            ("## Dependencies\n- ~~#3~~\n- #4", &[4]),
            ("## Dependencies\n- [#4](https://example.org/4)", &[4]),
            ("## Dependencies\n| issue | why |\n|---|---|\n| #4 | parser |", &[4]),
            ("## Dependencies\n**Hard**\n- #4", &[4]),
            ("## Depends on #4\n- #5", &[4, 5]),
            ("### Dependencies: #4, #5", &[4, 5]),
            ("**Depends on #4**", &[4]),
            ("Depends on #4", &[4]),
            ("depends on #4.", &[4]),
            ("DEPENDS ON #4!", &[4]),
            ("This depends on #4, which is hard.", &[4]),
            ("This is blocked by #4", &[4]),
            ("It depends on #1, #2 and #3.", &[1, 2, 3]),
            ("depends on #1 #2", &[1, 2]),
            ("depends on #1,\n#2", &[1, 2]),
            ("depends on #1 & #2; #3", &[1, 2, 3]),
            ("depends on #1/#2", &[1, 2]),
            ("blocked by #1 and by #2", &[1, 2]),
            ("depends on #1 as well as on #2", &[1, 2]),
            ("depends on issues #1 and #2", &[1, 2]),
            ("depends on PR #1", &[1]),
            ("depends on #1 (parser) and #2 (lexer)", &[1, 2]),
            ("depends on ~~#3~~, #4", &[4]),
            ("**Depends on** #4", &[4]),
            ("**Depends on:** #4, #5", &[4, 5]),
            ("*depends on* **#4**", &[4]),
            ("__Blocked by:__ #4", &[4]),
            ("Depends on: #4", &[4]),
            ("Depends-On: #4", &[4]),
            ("**Dependencies:** #4 and #5", &[4, 5]),
            ("- Depends on #4\n- Blocked by #5", &[4, 5]),
            ("- depends on:\n  - #4\n  - #5\n- see #9", &[4, 5]),
            ("This change depends on:\n\n- #4\n- #5\n\nMore words.\n\n- #9", &[4, 5]),
            ("depends\non #4", &[4]),
            ("depends on other/repo#16, #123abc and #4", &[4]),
            ("depends on [#4](https://example.org/4)", &[4]),
            ("depends on (#4)", &[4]),
            ("| Depends on | #4 |", &[4]),
            ("| Depends on | #4, #5 |", &[4, 5]),
            ("Not only depends on #4", &[4]),
            ("It does not compile, depends on #4", &[4]),
            ("It does not compile and depends on #4", &[4]),
            ("Not related to #3. Depends on #4.", &[4]),
            ("Depends on #4, not related to #3.", &[4]),
            ("Notes: no\nDepends on #4", &[4]),
            ("depends on #4 <!-- and #5 -->, #6", &[4, 6]),
            ("```\nx\n```\ndepends on #4", &[4]),
            ("> quoted\n\ndepends on #4", &[4]),
            ("- `a\n- depends on #4 `b", &[4]),
            ("depends on #4\r\nblocked by #5\r\n", &[4, 5]),
            ("We depend on #4", &[4]),
            ("depends on #4, #4 and #4", &[4]),
            ("depends on #007, #8", &[8]),
            ("depends on #0", &[0]),
        ];
        let wrong: Vec<_> = rows.iter().filter(|(body, expected)| numbers(body) != *expected).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn other_mentions_do_not_count() {
        for body in [
            "",
            "#4",
            "See #4.",
            "Fixes #4",
            "- #4",
            "## Dependencies",
            "## Dependencies\n\nNone.",
            "## Dependencies\n- None (see #4)",
            "## Dependencies\n_No response_\n\n## Context\n- #4",
            "## Dependencies\n\n## Notes\n- #4",
            "## Dependencies\n<!-- - #4 -->",
            "## Dependencies\n<!--\n- #4\n-->\n",
            "## Dependencies\n```\n- #4\n```",
            "## Dependencies\n> - #4",
            "## Dependencies\n- other/repo#16",
            "## Dependencies\n- #123abc",
            "## Dependencies\n- `#4`",
            "## Dependencies\n- ~~#4~~",
            "## Dependencies\n- <del>#4</del>",
            "## Dependencies\n- not #4",
            "## Dependencies\n- no longer depends on #4",
            "## Dependencies\n### Related\n- #4",
            "## Dependencies\n**Related**\n- #4",
            "## Dependencies\nRelated:\n- #4",
            "## Dependency injection\n- #4",
            "## Dependencies on other teams\n- #4",
            "## No longer blocked by\n- #4",
            "## ~~Dependencies~~\n- #4",
            "**Depends on**\n\n**Notes**\n- #4",
            "## Related\n- #4",
            "## Related\n- #9 depends on #4",
            "## Related issues\nblocked by #4",
            "**Related**\n\ndepends on #4",
            "Related: #4",
            "```\ndepends on #4\n```",
            "~~~\ndepends on #4\n~~~",
            "````\n```\ndepends on #4\n````",
            "- ```\n  depends on #4\n  ```",
            "`depends on #4`",
            "``depends on ` #4``",
            "`depends on` #4",
            "depends on `#4`",
            "depends on `x` #4",
            "> depends on #4",
            ">depends on #4",
            "- > depends on #4",
            "<!-- depends on #4 -->",
            "<!--\ndepends on #4\n\nblocked by #5\n-->",
            "<!-- depends on #4",
            "depends on #123abc",
            "depends on #4_x",
            "depends on other/repo#16",
            "depends on repo#16",
            "depends on https://example.org/a/b/issues/16#issuecomment-4",
            "depends on \\#4",
            "depends on the weather (see below)",
            "no longer depends on #12",
            "This no longer depends on #12.",
            "This does not depend on #12",
            "It doesn't depend on #12, #13",
            "It doesn’t actually depend on #12",
            "This is not blocked by #12",
            "It isn't blocked by #12",
            "It is no longer\nblocked by #12",
            "never depends on #12",
            "not yet blocked by #12",
            "used to depend on #12",
            "Nothing here depends on #12",
            "**not** depends on #12",
            "This does **not** depend on: #12",
            "does not depend on:\n- #12",
            "not related to #12, depends on #13",
            "This is not related to the bug that depends on #13.",
            "It isn't related to #12 which depends on #13",
            "unrelated to #12, which is blocked by #13",
            "not directly related to what depends on #13",
            "~~depends on #4~~",
            "<s>depends on #4</s>",
            "<pre>\ndepends on #4\n</pre>",
            "<blockquote>depends on #4</blockquote>",
            "unblocked by #4",
            "independents on #4",
            "blocks #4",
            "dependency #4",
            "depends on v1.2 #",
            "depends on #",
            "#### \n- #4",
        ] {
            assert_eq!(numbers(body), [] as [u64; 0], "{body:?}");
        }
    }

    #[test]
    fn an_issue_that_names_itself_is_told_apart() {
        let written = written_dependencies("Depends on #7 and #4", OWN);
        assert_eq!(written, Written { numbers: vec![IssueNumber(4)], self_reference: true });
        assert!(!written_dependencies("#7 is this one. Depends on #4", OWN).self_reference);
    }
}
