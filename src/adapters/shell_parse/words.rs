//! Words: quotes and backslashes are taken away, what the shell would expand is marked, and commands inside are kept.

use super::{Read, Reader, children, named, unreadable};
use crate::domain::guard::tree::{Node, Part, Word};
use tree_sitter::Node as Syntax;

/// Statements that may stand where words are compared or computed.
const STATEMENTS: [&str; 9] = [
    "command",
    "list",
    "pipeline",
    "subshell",
    "redirected_statement",
    "negated_command",
    "declaration_command",
    "compound_statement",
    "test_command",
];

impl Reader<'_> {
    pub(super) fn word(&mut self, syntax: Syntax<'_>) -> Read<Word> {
        let mut word = Word::default();
        let mut bare = String::new();
        self.piece(syntax, &mut word, &mut bare)?;
        if has_braces(&bare) {
            word.parts = vec![Part::Unknown];
        }
        merge(&mut word.parts);
        if word.parts.is_empty() {
            word.parts.push(Part::Text(String::new()));
        }
        Ok(word)
    }

    /// Reads a word that may be several: plain text with `{a,b}` in it.
    pub(super) fn words(&mut self, syntax: Syntax<'_>) -> Read<Vec<Word>> {
        let Some(sources) = in_braces(self.source(syntax)) else { return Ok(vec![self.word(syntax)?]) };
        let read = |source: &String| {
            let mut word = Word::default();
            unquoted(source, &mut word);
            merge(&mut word.parts);
            word
        };
        Ok(sources.iter().map(read).collect())
    }

    /// Adds one piece of a word. `bare` collects what is outside quotes, with a NUL for each piece that is not.
    fn piece(&mut self, syntax: Syntax<'_>, word: &mut Word, bare: &mut String) -> Read<()> {
        let source = self.source(syntax);
        match syntax.kind() {
            "word" | "variable_name" | "special_variable_name" | "test_operator" | "file_descriptor" => {
                bare.push_str(source);
                unquoted(source, word);
            }
            "number" if named(syntax).is_empty() => {
                bare.push_str(source);
                word.parts.push(Part::Text(source.to_owned()));
            }
            "raw_string" => {
                bare.push('\0');
                let inner = source.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                word.parts.push(Part::Text(inner.unwrap_or(source).to_owned()));
            }
            "ansi_c_string" => {
                bare.push('\0');
                let inner = source.strip_prefix("$'").and_then(|rest| rest.strip_suffix('\'')).unwrap_or(source);
                word.parts.push(ansi_c(inner).map_or(Part::Unknown, Part::Text));
            }
            "translated_string" => {
                for child in named(syntax) {
                    self.piece(child, word, bare)?;
                }
            }
            "string" => {
                bare.push('\0');
                self.quoted(syntax, word)?;
            }
            "concatenation" => self.concatenation(syntax, word, bare)?,
            "simple_expansion" => {
                bare.push('\0');
                word.parts.push(self.variable(syntax, false));
            }
            "expansion"
            | "command_substitution"
            | "process_substitution"
            | "arithmetic_expansion"
            | "array"
            | "number" => {
                bare.push('\0');
                self.expanded(syntax, word, false)?;
            }
            "brace_expression" => {
                bare.push('\0');
                word.parts.push(Part::Unknown);
            }
            // Compared or computed: what comes of it is no word of a command.
            "binary_expression"
            | "unary_expression"
            | "postfix_expression"
            | "parenthesized_expression"
            | "ternary_expression"
            | "variable_assignment"
            | "subscript" => {
                bare.push('\0');
                word.parts.push(Part::Unknown);
                self.nested(syntax, &mut word.nested)?;
            }
            "extglob_pattern" | "regex" => {
                bare.push('\0');
                if source.contains(['$', '`']) {
                    return unreadable("a pattern has an expansion in it");
                }
                word.parts.push(Part::Unknown);
            }
            _ if !syntax.is_named() && !source.contains(['`', '(', ')', '<', '>', '|', '&', ';']) => {
                bare.push_str(source);
                word.parts.push(Part::Text(source.to_owned()));
            }
            other => return unreadable(format!("it has a {} where a word is expected", other.replace('_', " "))),
        }
        Ok(())
    }

    fn concatenation(&mut self, syntax: Syntax<'_>, word: &mut Word, bare: &mut String) -> Read<()> {
        let mut end = syntax.start_byte();
        for child in children(syntax) {
            let gap = self.text.get(end..child.start_byte()).unwrap_or_default().replace("\\\n", "");
            if !gap.is_empty() {
                return unreadable("a word has a part without meaning in it");
            }
            end = child.end_byte();
            self.piece(child, word, bare)?;
        }
        Ok(())
    }

    /// A text in double quotes: what lies between the expansions stands for itself.
    fn quoted(&mut self, syntax: Syntax<'_>, word: &mut Word) -> Read<()> {
        let source = self.source(syntax);
        let start = syntax.start_byte() + source.find('"').map_or(0, |at| at + 1);
        self.text_with_expansions(syntax, start, syntax.end_byte().saturating_sub(1), word)
    }

    fn text_with_expansions(&mut self, syntax: Syntax<'_>, start: usize, end: usize, word: &mut Word) -> Read<()> {
        let mut at = start;
        let is_expansion =
            |child: &Syntax<'_>| !matches!(child.kind(), "string_content" | "heredoc_content") && child.is_named();
        for child in children(syntax).into_iter().filter(is_expansion) {
            word.parts.push(Part::Text(in_double_quotes(self.text.get(at..child.start_byte()).unwrap_or_default())));
            match child.kind() {
                "simple_expansion" => word.parts.push(self.variable(child, true)),
                "expansion" | "command_substitution" | "arithmetic_expansion" => self.expanded(child, word, true)?,
                other => return unreadable(format!("it has a {} inside quotes", other.replace('_', " "))),
            }
            at = child.end_byte();
        }
        word.parts.push(Part::Text(in_double_quotes(self.text.get(at..end).unwrap_or_default())));
        Ok(())
    }

    pub(super) fn heredoc_text(&mut self, syntax: Syntax<'_>, is_quoted: bool) -> Read<Word> {
        let mut word = Word::default();
        if is_quoted {
            word.parts.push(Part::Text(self.source(syntax).to_owned()));
        } else {
            self.text_with_expansions(syntax, syntax.start_byte(), syntax.end_byte(), &mut word)?;
        }
        merge(&mut word.parts);
        Ok(word)
    }

    fn variable(&self, syntax: Syntax<'_>, quoted: bool) -> Part {
        let name = self.source(syntax).trim_start_matches('$').to_owned();
        Part::Variable { name, quoted, at: syntax.start_byte() }
    }

    /// `${...}`, `$(...)` and the like: of the first, the plain form is a variable; all others are unknown.
    fn expanded(&mut self, syntax: Syntax<'_>, word: &mut Word, quoted: bool) -> Read<()> {
        let source = self.source(syntax);
        let name = source.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if let Some(name) = name.filter(is_name) {
            word.parts.push(Part::Variable { name: name.to_owned(), quoted, at: syntax.start_byte() });
            return Ok(());
        }
        word.parts.push(Part::Unknown);
        self.nested(syntax, &mut word.nested)
    }

    /// Collects the commands inside, and the variables that are set there.
    pub(super) fn nested(&mut self, syntax: Syntax<'_>, nested: &mut Vec<Node>) -> Read<()> {
        match syntax.kind() {
            "command_substitution" | "process_substitution" => {
                let mut parts = children(syntax);
                for redirect in parts.extract_if(.., |part| part.kind() == "file_redirect") {
                    let redirections = vec![self.redirection(redirect)?];
                    nested.push(Node::Redirected { body: Box::new(Node::nothing()), redirections });
                }
                nested.push(Node::Isolated(Box::new(self.sequence(&parts)?)));
                return Ok(());
            }
            kind if STATEMENTS.contains(&kind) && !nested_is_itself(kind, self.source(syntax)) => {
                nested.push(self.statement(syntax)?);
                return Ok(());
            }
            "extglob_pattern" | "regex"
                if self.source(syntax).contains(['`']) || self.source(syntax).contains("$(") =>
            {
                return unreadable("a pattern has a command in it");
            }
            // The grammar takes it for text, and the shell runs it.
            _ if syntax.child_count() == 0 && has_command(self.source(syntax)) && is_in_expansion(syntax) => {
                return unreadable("a default or a replacement in `${...}` has a command in it");
            }
            "arithmetic_expansion"
            | "compound_statement"
            | "expansion"
            | "binary_expression"
            | "postfix_expression"
            | "unary_expression" => {
                let source = self.source(syntax);
                if source.contains('=') || source.contains("++") || source.contains("--") || source.contains(['!', '@'])
                {
                    self.names(syntax, nested);
                }
            }
            _ => {}
        }
        named(syntax).into_iter().try_for_each(|child| self.nested(child, nested))
    }

    fn names(&self, syntax: Syntax<'_>, nested: &mut Vec<Node>) {
        for child in named(syntax) {
            let is_name = matches!(child.kind(), "variable_name" | "word");
            let name = self.source(child);
            if is_name && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                nested.push(Node::Sets(vec![(name.to_owned(), child.start_byte())]));
            }
        }
    }
}

/// `[[ ]]` and `(( ))` are collected from themselves.
fn nested_is_itself(kind: &str, source: &str) -> bool {
    kind == "test_command" || kind == "compound_statement" && source.starts_with("((")
}

fn has_command(source: &str) -> bool {
    ["`", "$(", "<(", ">("].iter().any(|start| source.contains(start))
}

/// Returns whether something is part of a `${...}`, with no command between them.
fn is_in_expansion(syntax: Syntax<'_>) -> bool {
    let mut above = syntax.parent();
    while let Some(node) = above {
        match node.kind() {
            "expansion" => return true,
            "command_substitution" | "process_substitution" => return false,
            _ => above = node.parent(),
        }
    }
    false
}

/// Reads a word outside quotes: a tilde at its start, patterns, backslashes.
fn unquoted(source: &str, word: &mut Word) {
    let mut rest = source;
    if word.parts.is_empty()
        && let Some(behind) = source.strip_prefix('~')
    {
        let end = behind.find('/').unwrap_or(behind.len());
        word.parts.push(Part::Tilde(behind[..end].to_owned()));
        rest = &behind[end..];
    }
    let mut text = String::new();
    let mut chars = rest.chars();
    let mut glob = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(next) => text.push(next),
                None => text.push('\\'),
            },
            '*' | '?' | '[' => {
                glob = true;
                text.push(c);
            }
            _ => text.push(c),
        }
    }
    word.parts.push(if glob { Part::Glob(text) } else { Part::Text(text) });
}

fn in_double_quotes(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('$' | '`' | '"' | '\\'))) => {
                text.push(next);
                chars.next();
            }
            ('\\', Some('\n')) => drop(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

/// Reads the inside of `$'...'`. None for what is written in a way that is not known here.
fn ansi_c(source: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        match escape(chars.next()?) {
            Escape::Byte(byte) => bytes.push(byte),
            Escape::Number { radix, most, first, is_char } => {
                let mut digits: String = first.into_iter().collect();
                while digits.len() < most && chars.peek().is_some_and(|c| c.is_digit(radix)) {
                    digits.extend(chars.next());
                }
                let code = u32::from_str_radix(&digits, radix).ok()?;
                match is_char {
                    true => bytes.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes()),
                    false => bytes.push((code & 0xff) as u8),
                }
            }
            Escape::Unknown => return None,
        }
    }
    // A NUL ends the text for the shell.
    if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() }
}

enum Escape {
    Byte(u8),
    Number { radix: u32, most: usize, first: Option<char>, is_char: bool },
    Unknown,
}

fn escape(c: char) -> Escape {
    match c {
        'n' => Escape::Byte(b'\n'),
        't' => Escape::Byte(b'\t'),
        'r' => Escape::Byte(b'\r'),
        'a' => Escape::Byte(7),
        'b' => Escape::Byte(8),
        'e' | 'E' => Escape::Byte(27),
        'f' => Escape::Byte(12),
        'v' => Escape::Byte(11),
        '\\' | '\'' | '"' | '?' => Escape::Byte(c as u8),
        'x' => Escape::Number { radix: 16, most: 2, first: None, is_char: false },
        'u' => Escape::Number { radix: 16, most: 4, first: None, is_char: true },
        'U' => Escape::Number { radix: 16, most: 8, first: None, is_char: true },
        '0'..='7' => Escape::Number { radix: 8, most: 3, first: Some(c), is_char: false },
        _ => Escape::Unknown,
    }
}

/// Returns whether text outside quotes has braces that the shell expands: `{a,b}`, `{1..3}`.
fn has_braces(bare: &str) -> bool {
    let Some(open) = bare.find('{') else { return false };
    let rest = &bare[open..];
    rest.rfind('}').is_some_and(|close| rest[..close].contains(',') || rest[..close].contains(".."))
}

/// Most words that one with braces is taken apart into; what is more is unknown.
const BRACE_WORDS: usize = 64;

/// Returns the words that a text with `{a,b}` in it comes to. None for what has no braces, or is more than plain text, patterns
/// and lists of such.
fn in_braces(source: &str) -> Option<Vec<String>> {
    let plain = |c: char| c.is_alphanumeric() || "_-./,{}@+:=~*?%".contains(c);
    if !source.contains('{') || !source.chars().all(plain) {
        return None;
    }
    let mut words = vec![String::new()];
    let mut rest = source;
    while let Some((before, behind)) = rest.split_once('{') {
        let (list, behind) = behind.split_once('}')?;
        let choices: Vec<&str> = list.split(',').collect();
        if before.contains('}') || list.contains('{') || choices.len() < 2 || words.len() * choices.len() > BRACE_WORDS
        {
            return None;
        }
        let with = |word: &String| choices.iter().map(|choice| format!("{word}{before}{choice}")).collect::<Vec<_>>();
        words = words.iter().flat_map(with).collect();
        rest = behind;
    }
    let all = words.into_iter().map(|word| word + rest);
    (!rest.contains('}')).then(|| all.filter(|word| !word.is_empty()).collect())
}

/// Joins neighbours that are plain text.
fn merge(parts: &mut Vec<Part>) {
    let mut merged: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts.drain(..) {
        match (merged.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
            (_, Part::Text(text)) if text.is_empty() => {}
            (_, part) => merged.push(part),
        }
    }
    *parts = merged;
}
