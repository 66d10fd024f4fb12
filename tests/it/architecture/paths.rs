//! Reads the paths (`a::b::c`) that a Rust text names. Not a parser: comments, strings and test modules are blanked, and
//! what is left is read as words, `::` and braces.

/// A path that is named, from its root: `crate::ports::store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathUse {
    pub segments: Vec<String>,
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Colons,
    Open,
    Close,
    Comma,
    Other,
}

/// Returns every path with at least two segments, its groups spread out and `super`, `self` followed.
pub(super) fn paths_in(text: &str, module: &[String]) -> Vec<PathUse> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = matches!(tokens[at].0, Token::Word(_)) && matches!(tokens.get(at + 1), Some((Token::Colons, _)));
        if starts {
            at = read_path(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    for path in &mut found {
        path.segments = followed(&path.segments, module);
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

/// Reads a path that starts at `at`, and all that its groups name. Returns the place after it.
fn read_path(tokens: &[(Token, usize)], mut at: usize, prefix: &[String], found: &mut Vec<PathUse>) -> usize {
    let line = tokens[at].1;
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some((Token::Word(word), _)) => segments.push(word.clone()),
            Some((Token::Open, _)) => return read_group(tokens, at + 1, &segments, found),
            // A glob, or the `<` of a turbofish: the path so far counts.
            _ => break,
        }
        at += 1;
        if !matches!(tokens.get(at), Some((Token::Colons, _))) {
            break;
        }
        at += 1;
    }
    found.push(PathUse { segments, line });
    at
}

fn read_group(tokens: &[(Token, usize)], mut at: usize, prefix: &[String], found: &mut Vec<PathUse>) -> usize {
    while let Some((token, _)) = tokens.get(at) {
        match token {
            Token::Close => return at + 1,
            Token::Word(word) if word == "as" => at += 2,
            Token::Word(_) => at = read_path(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

/// Follows `self` and `super` from the module; other paths stay as they are.
fn followed(segments: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = segments;
    let mut relative = false;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        relative = true;
        rest = after;
    }
    let mut path = if relative { base } else { Vec::new() };
    path.extend(rest.iter().filter(|segment| *segment != "self").cloned());
    path
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    let (mut line, mut chars) = (1, text.chars().peekable());
    while let Some(c) = chars.next() {
        let token = match c {
            '\n' => {
                line += 1;
                continue;
            }
            c if c.is_whitespace() => continue,
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                Token::Word(word)
            }
            ':' if chars.next_if_eq(&':').is_some() => Token::Colons,
            '{' => Token::Open,
            '}' => Token::Close,
            ',' => Token::Comma,
            _ => Token::Other,
        };
        tokens.push((token, line));
    }
    tokens
}

/// Blanks comments, strings, character literals and what stands under `#[cfg(test)]`; line numbers stay.
pub(super) fn without_comments_strings_and_tests(text: &str) -> String {
    let mut text = without_comments_and_strings(text);
    while let Some(start) = text.find("#[cfg(test)]") {
        let end = end_of_item(&text, start);
        let blank: String = text[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        text.replace_range(start..end, &blank);
    }
    text
}

/// Returns the end of the item after an attribute: its `;`, or the brace that closes it.
fn end_of_item(text: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    let mut is_use = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !is_use {
                    return start + at + 1;
                }
            }
            ';' if depth == 0 => return start + at + 1,
            'u' if depth == 0 && text[start + at..].starts_with("use ") => is_use = true,
            _ => {}
        }
    }
    text.len()
}

fn without_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !in_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at + 1),
            b'b' if !in_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 1).unwrap_or(at + 1)
            }
            b'\'' => char_end(text, at).unwrap_or(at + 1),
            _ => at + 1,
        };
        if end > at + 1 {
            out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Returns the end of `r"..."` or `r#"..."#`; none when it is only a name that begins with r.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close)?;
    Some(open + 1 + length + close.len())
}

/// Returns the end of a character literal; none for a lifetime.
fn char_end(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let mut chars = rest.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let close = rest[2..].find('\'')?;
        return Some(start + 1 + 2 + close + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(start + 1 + at + 1)
}
