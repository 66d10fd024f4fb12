//! Secrets whose value is known: found as they are, escaped for JSON, HTML or a shell, percent-encoded, in hex and in base64.

use super::MARKER;
use regex::{NoExpand, Regex, RegexBuilder};
use std::{borrow::Cow, fmt, fmt::Write, ops::Range};

/// Most memory that the compiled form of one secret may take; a longer one (a key file, say) is searched for only as it is.
const COMPILED_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Fewest characters of base64 that are searched for; a secret of six bytes gives at least seven.
const SHORTEST_BASE64: usize = 6;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What to search for to find one secret.
pub(super) struct KnownSecret {
    value: String,
    /// None when the secret is too long for a pattern.
    pattern: Option<Regex>,
}

impl fmt::Debug for KnownSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownSecret(..)")
    }
}

impl KnownSecret {
    pub(super) fn new(value: &str) -> Self {
        let forms = [escaped_forms(value), hex_form(value), base64_forms(value)].join("|");
        let pattern = RegexBuilder::new(&forms).size_limit(COMPILED_LIMIT_BYTES).build().ok();
        Self { value: value.to_owned(), pattern }
    }

    /// Returns where it stands in a text.
    pub(super) fn places(&self, text: &str) -> Vec<Range<usize>> {
        match &self.pattern {
            Some(pattern) => pattern.find_iter(text).map(|found| found.range()).collect(),
            None => text.match_indices(&self.value).map(|(at, found)| at..at + found.len()).collect(),
        }
    }

    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.pattern {
            Some(pattern) => pattern.replace_all(text, NoExpand(MARKER)),
            None if text.contains(&self.value) => Cow::Owned(text.replace(&self.value, MARKER)),
            None => Cow::Borrowed(text),
        }
    }
}

/// Returns a pattern of the value in which each character may be as it is or escaped in any of the usual ways.
fn escaped_forms(value: &str) -> String {
    value.chars().map(escaped_character).collect()
}

fn escaped_character(c: char) -> String {
    if c.is_ascii_alphanumeric() {
        return c.to_string();
    }
    let literal = regex::escape(&c.to_string());
    // Backslashes before it: JSON or a shell, once or nested.
    let mut forms = vec![if c == '\\' { r"\\+".to_owned() } else { format!(r"\\*{literal}") }];
    let percent = c.to_string().bytes().fold(String::new(), |mut form, byte| {
        let _ = write!(form, "%{byte:02X}");
        form
    });
    forms.push(format!("(?i:{percent})"));
    let units = c.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut form, unit| {
        let _ = write!(form, r"\\+u{unit:04X}");
        form
    });
    forms.push(format!("(?i:{units})"));
    forms.extend(special_forms(c).iter().map(|form| (*form).to_owned()));
    format!("(?:{})", forms.join("|"))
}

/// Returns the further forms of characters that some notation has a short one for.
fn special_forms(c: char) -> &'static [&'static str] {
    match c {
        '\n' => &[r"\r\n", r"\\+r\\+n", r"\\+n"],
        '\r' => &[r"\\+r"],
        '\t' => &[r"\\+t"],
        '\u{8}' => &[r"\\+b"],
        '\u{c}' => &[r"\\+f"],
        ' ' => &[r"\+"],
        '&' => &["&amp;", "&#38;"],
        '<' => &["&lt;", "&#60;"],
        '>' => &["&gt;", "&#62;"],
        '"' => &["&quot;", "&#34;"],
        '\'' => &["&apos;", "&#0?39;"],
        _ => &[],
    }
}

fn hex_form(value: &str) -> String {
    let digits = value.bytes().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    format!("(?i:{digits})")
}

/// Returns a pattern of base64 that has the value anywhere in what was encoded, such as in `user:password`. Three bytes make
/// four characters, so that the value shows in one of three ways; the characters that it shares with its neighbours differ. The
/// whole run of base64 around it goes.
fn base64_forms(value: &str) -> String {
    let mut cores: Vec<String> = Vec::new();
    for alphabet in [STANDARD, URL_SAFE] {
        for shift in 0..3 {
            let core = base64_core(value.as_bytes(), shift, alphabet);
            if core.len() >= SHORTEST_BASE64 {
                cores.push(regex::escape(&core));
            }
        }
    }
    cores.sort();
    cores.dedup();
    format!("[A-Za-z0-9+/_-]*(?:{})[A-Za-z0-9+/_-]*=*", cores.join("|"))
}

/// Returns the characters of base64 that depend on nothing but the value, when `shift` bytes stand before it in its group.
fn base64_core(value: &[u8], shift: usize, alphabet: &[u8; 64]) -> String {
    let bits = value.len() * 8;
    // The value begins `shift * 8` bits into a group of 24; the first character wholly its own begins at a multiple of 6.
    let skipped = (6 - shift * 8 % 6) % 6;
    let bit = |place: usize| usize::from(value[place / 8] >> (7 - place % 8) & 1);
    let character = |start: usize| (start..start + 6).fold(0, |index, place| index << 1 | bit(place));
    (skipped..)
        .step_by(6)
        .take_while(|start| start + 6 <= bits)
        .map(|start| alphabet[character(start)] as char)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_of_base64_is_what_no_neighbour_changes() {
        // `printf 'secret' | base64` and the same after one and two other bytes.
        assert_eq!(base64_core(b"secret", 0, STANDARD), "c2VjcmV0");
        assert!("OnNlY3JldA==".contains(&base64_core(b"secret", 1, STANDARD)));
        assert!("YTpzZWNyZXQ=".contains(&base64_core(b"secret", 2, STANDARD)));
        assert_eq!(base64_core(b"secret", 1, STANDARD).len(), 7);
        assert_eq!(base64_core(b"secret", 2, STANDARD).len(), 7);
        assert_eq!(base64_core(&[0xff, 0xef, 0xbf], 0, URL_SAFE), "_--_");
    }

    #[test]
    fn a_secret_too_long_for_a_pattern_is_still_found_as_it_is() {
        let long: String = (0..60_000).map(|n: u32| char::from(b'!' + (n * n % 90) as u8)).collect();
        let secret = KnownSecret::new(&long);
        assert!(secret.pattern.is_none());
        assert_eq!(secret.redact(&format!("a {long} b")), "a [redacted] b");
    }
}
