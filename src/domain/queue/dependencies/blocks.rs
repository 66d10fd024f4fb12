//! The shape of an issue's text: titles, list items and paragraphs, line by line.

use super::{RELATED_TITLE, TITLE};
use crate::domain::prose::{plain, strip_list_mark};

pattern!(HEADING, r"^\s{0,3}(?:#{1,6}\s+|#{2,6})([^#\s].*?|)\s*#*\s*$");
pattern!(UNDERLINE, r"^\s{0,3}(?:=+|-{2,})\s*$");
pattern!(RULE, r"^\s{0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$");
pattern!(BOLD_LINE, r"^\s*(?:\*\*\*?|__)([^*]+?)(?:\*\*\*?|__)\s*[:：]?\s*$");
pattern!(TASK_BOX, r"^\[[ xX]?\]\s*");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `## Title`, or a title with a line under it.
    Heading,
    /// A line in bold.
    Bold,
    /// A line that only leads into the list below it.
    LeadIn,
}

#[derive(Debug)]
pub(super) enum Block {
    Title { style: Style, text: String },
    Item { indent: usize, text: String },
    Paragraph { indent: usize, text: String },
}

/// Cuts prose into titles, list items and paragraphs. The text of each is plain, its lines kept.
pub(super) fn blocks(prose: &str) -> Vec<Block> {
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
