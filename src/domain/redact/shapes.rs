//! Secrets that nobody told us, known by their shape or by what stands before them.

use super::{MARKER, SHORTEST_SECRET, replace};
use regex::{Captures, Regex};
use std::{borrow::Cow, sync::LazyLock};

/// A value without quotes: up to white space or what ends it in code, JSON, HTML and URLs.
const VALUE: &str = r#"(?:\[redacted\]|[^\s"'`\\,;&<>\[\]{}()])+"#;
/// The last part of names that hold secrets.
const SECRET_NAME: &str = "token|secret|password|passwd|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key|\
                           credentials?|auth";
/// Ends of names that say where a secret is kept, or how many there are, and not what it is.
const HARMLESS_ENDS: [&str; 9] = ["_env", "_file", "_path", "_name", "-file", "-path", "-name", "_count", "_limit"];
/// Words that stand where a value would and are none.
const NO_VALUES: [&str; 8] = ["none", "null", "nil", "true", "false", "undefined", "unset", "required"];
/// From this length on a value of letters only, where a secret may be, is taken for one.
const LONG_VALUE: usize = 16;
/// From this length on a value with a digit, where a secret may be, is taken for one.
const MIXED_VALUE: usize = 8;

/// Beginnings of tokens, as far as they must be there for a token to be.
const TOKEN_STARTS: [&str; 25] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "glptt-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glft-",
    "glsoat-",
    "glimt-",
    "glagent-",
    "sk-",
    "akia",
    "asia",
    "syt_",
    "syr_",
    "mat_",
    "mct_",
    "xox",
    "npm_",
    "pypi-",
];

/// One kind of secret: words of which one must be in the text in lower case, and what takes such secrets out. Most texts have
/// none of the words, and a short process then never compiles the patterns.
struct Step {
    words: &'static [&'static str],
    redact: for<'a> fn(&'a str) -> Cow<'a, str>,
}

/// What every name of `SECRET_NAME` has in it.
const NAME_WORDS: &[&str] = &["token", "secret", "passw", "passphrase", "pwd", "key", "credential", "auth"];

/// In this order: what spans lines first, what is recognised by itself before what needs its context.
const STEPS: [Step; 9] = [
    Step { words: &["private key"], redact: private_keys },
    Step { words: &TOKEN_STARTS, redact: tokens },
    Step { words: &["eyj"], redact: web_tokens },
    Step { words: &["authorization", "bearer"], redact: authorization },
    Step { words: &["cookie"], redact: cookies },
    Step { words: &["://"], redact: userinfo },
    Step { words: NAME_WORDS, redact: assignments },
    Step { words: NAME_WORDS, redact: options },
    Step { words: NAME_WORDS, redact: spoken },
];

pub(super) fn redact(text: Cow<'_, str>) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let mut text = text;
    for step in STEPS.iter().filter(|step| step.words.iter().any(|word| lower.contains(word))) {
        replace(&mut text, step.redact);
    }
    text
}

fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns of this file are constant and tested")
}

/// PEM blocks, and what a cut left of one.
fn private_keys(text: &str) -> Cow<'_, str> {
    static KEY: LazyLock<Regex> = LazyLock::new(|| {
        let kind = "[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----";
        let body = r"(?:[A-Za-z0-9+/=\s]|\\+[nr])";
        compiled(&format!(
            r"(?s:-----BEGIN {kind}.*?-----END {kind})|-----BEGIN {kind}{body}*|{body}{{20,}}-----END {kind}"
        ))
    });
    KEY.replace_all(text, MARKER)
}

/// Tokens that carry their kind in their beginning.
fn tokens(text: &str) -> Cow<'_, str> {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        compiled(
            &[
                // GitHub
                "gh[pousr]_[A-Za-z0-9_]{10,}",
                "github_pat_[A-Za-z0-9_]{10,}",
                // GitLab
                r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|imt|agent)-[A-Za-z0-9_.-]{10,}",
                // Anthropic, and others that begin alike
                r"\bsk-ant-[A-Za-z0-9_-]{8,}",
                r"\bsk-(?:[a-z]+-)?[A-Za-z0-9]{20,}[A-Za-z0-9_-]*",
                // AWS
                r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
                // Matrix (Synapse access and refresh tokens, the authentication service's)
                r"\bsy[tr]_[A-Za-z0-9+/=_-]{8,}",
                r"\bm[ac]t_[A-Za-z0-9]{20,}[A-Za-z0-9_]*",
                // Slack, npm, PyPI
                r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
                r"\bnpm_[A-Za-z0-9]{30,}",
                r"\bpypi-[A-Za-z0-9_-]{30,}",
            ]
            .join("|"),
        )
    });
    TOKEN.replace_all(text, MARKER)
}

/// JSON web tokens.
fn web_tokens(text: &str) -> Cow<'_, str> {
    static TOKEN: LazyLock<Regex> =
        LazyLock::new(|| compiled(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"));
    TOKEN.replace_all(text, MARKER)
}

/// `Authorization` headers with any scheme, and `Bearer` on its own.
fn authorization(text: &str) -> Cow<'_, str> {
    static HEADER: LazyLock<Regex> = LazyLock::new(|| {
        let scheme = "(?:bearer|basic|token|digest|negotiate|apikey)[ \\t]+";
        compiled(&format!(
            r#"(?i)(?P<before>\b(?:proxy-)?authorization\\*["']?[ \t]*[:=][ \t]*\\*["']?)(?:(?P<scheme>{scheme})(?P<sure>{VALUE})|(?P<other>[a-z][a-z0-9-]*[ \t]+)?(?P<value>{VALUE}))|(?P<bearer>\bbearer[ \t]+)(?P<alone>{VALUE})"#
        ))
    });
    HEADER.replace_all(text, |found: &Captures<'_>| {
        let part = |name| found.name(name).map_or("", |part| part.as_str());
        let before = [part("before"), part("scheme"), part("bearer")].concat();
        let surely = part("sure").len() >= SHORTEST_SECRET;
        if surely || looks_secret(part("other").trim_end()) {
            format!("{before}{MARKER}")
        } else if looks_secret(part("value")) || looks_secret(part("alone")) {
            format!("{before}{}{MARKER}", part("other"))
        } else {
            found[0].to_owned()
        }
    })
}

/// The values of `Cookie` and `Set-Cookie`, to the end of the header.
fn cookies(text: &str) -> Cow<'_, str> {
    static COOKIE: LazyLock<Regex> =
        LazyLock::new(|| compiled(r#"(?i)(\b(?:set-)?cookie\\*["']?[ \t]*:[ \t]*\\*["']?)[\w.-]+=[^\r\n"'\\]+"#));
    COOKIE.replace_all(text, format!("${{1}}{MARKER}"))
}

/// What stands before the host of a URL, unless it is a plain account name.
fn userinfo(text: &str) -> Cow<'_, str> {
    static USERINFO: LazyLock<Regex> =
        LazyLock::new(|| compiled(r#"(\b[A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#"'<>:@\\]*)(:[^\s/?#"'<>\\]*)?@"#));
    USERINFO.replace_all(text, |found: &Captures<'_>| {
        let has_password = found.get(3).is_some_and(|password| password.len() > 1);
        if has_password || looks_secret(&found[2]) { format!("{}{MARKER}@", &found[1]) } else { found[0].to_owned() }
    })
}

/// `name = value`, `name: value` and `"name": "value"` where the name is that of a secret, also within escaped JSON.
fn assignments(text: &str) -> Cow<'_, str> {
    static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| {
        let name = format!(r"(?P<name>[A-Za-z0-9_.-]*?(?:{SECRET_NAME})(?:s|[_-][\w-]*)?)");
        let between = r#"\\*["'`]?[ \t]*(?P<sign>=>|:=|=|:)[ \t]*"#;
        // In double quotes; the same within a JSON string; deeper; in single quotes or backquotes; cut off; bare.
        let value = format!(
            r#"(?:"(?P<a>(?:[^"\\\n]|\\.)*)"|\\"(?P<b>(?:[^"\\\n]|\\\\(?:\\.|[^\\]))*)\\"|\\+"(?P<c>[^"\n]*?)\\+"|'(?P<d>[^'\n]*)'|`(?P<e>[^`\n]*)`|"(?P<f>[^"\n]+)$|(?P<bare>{VALUE}))"#
        );
        compiled(&format!("(?im)(?P<before>(?:^|[^A-Za-z0-9_]){name}{between}){value}"))
    });
    let mut output = String::new();
    let (mut copied, mut searched) = (0, 0);
    while let Some(found) = ASSIGNMENT.captures_at(text, searched) {
        let Some(value) = ["a", "b", "c", "d", "e", "f", "bare"].iter().find_map(|group| found.name(group)) else {
            break;
        };
        searched = if is_assigned_secret(&found, value.as_str(), &text[value.end()..]) {
            output.push_str(&text[copied..value.start()]);
            output.push_str(MARKER);
            copied = value.end();
            copied
        } else {
            // What was taken for a value may be a name, as in `auth: token: ...`.
            text.floor_char_boundary(value.start() - 1)
        };
        searched = text.ceil_char_boundary(searched.max(found.get_match().start() + 1));
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    output.push_str(&text[copied..]);
    Cow::Owned(output)
}

/// Returns whether the value of an assignment is to go, by its name, its sign, itself and what follows it.
fn is_assigned_secret(found: &Captures<'_>, value: &str, after: &str) -> bool {
    let name = found["name"].to_lowercase();
    let bare = found.name("bare").is_some();
    let quoted = !bare && found.name("e").is_none();
    let is_word = NO_VALUES.contains(&value.to_lowercase().as_str());
    let is_reference = value.starts_with(['$', '=']) || value.starts_with("secrets.");
    if value.is_empty() || is_word || is_reference || HARMLESS_ENDS.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    // Counts of tokens, and words that only begin like a secret's name.
    if name.contains("tokens") && value.bytes().all(|byte| byte.is_ascii_digit() || b"._".contains(&byte)) {
        return false;
    }
    if name.ends_with("auth") {
        return looks_secret(value);
    }
    if quoted {
        return true;
    }
    if looks_secret(value) {
        return !is_code(value, after);
    }
    if is_code(value, after) {
        return false;
    }
    let next = after.trim_start_matches([' ', '\t', '\r']).chars().next();
    let stands_alone = next.is_none_or(|next| "\n\\\"'&}".contains(next));
    let spaced = found["before"].ends_with([' ', '\t']);
    // `token=value` leaves no doubt; after a colon or a space it may be a sentence or a program.
    (bare && &found["sign"] == "=" && !spaced) || (bare && stands_alone && value.len() >= SHORTEST_SECRET)
}

/// Returns whether a value without quotes is a path or a call of some program's text, such as `self.token` or `read()`.
fn is_code(value: &str, after: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !part.bytes().any(|byte| byte.is_ascii_digit())
    };
    let is_path = (value.contains('.') || value.contains("::"))
        && value.split(['.', ':']).filter(|part| !part.is_empty()).all(identifier);
    is_path
        || (after.starts_with(['(', '[', '<'])
            && value.split(['.', ':']).filter(|part| !part.is_empty()).all(identifier))
}

/// `--token value` on a command line, and `login NAME password VALUE` as in a .netrc.
fn options(text: &str) -> Cow<'_, str> {
    static OPTION: LazyLock<Regex> = LazyLock::new(|| {
        compiled(&format!(
            r"(?i)(?P<option>(?:^|\s)--?(?:[a-z0-9-]*-)?(?:{SECRET_NAME})[ \t]+)(?P<value>{VALUE})|(?P<netrc>\blogin\s+\S+\s+password\s+)\S+"
        ))
    });
    OPTION.replace_all(text, |found: &Captures<'_>| match (found.name("netrc"), found.name("option")) {
        (Some(netrc), _) => format!("{}{MARKER}", netrc.as_str()),
        (None, Some(option)) if looks_secret(&found["value"]) && !found["value"].starts_with(['-', '$']) => {
            format!("{}{MARKER}", option.as_str())
        }
        _ => found[0].to_owned(),
    })
}

/// A long hex value that is called a token; commit ids, which look the same, are not.
fn spoken(text: &str) -> Cow<'_, str> {
    static SPOKEN: LazyLock<Regex> = LazyLock::new(|| {
        compiled(&format!(r#"(?i)(\b(?:{SECRET_NAME})[ \t]+(?:is[ \t]+|was[ \t]+)?["'`]?)[0-9a-f]{{32,}}\b"#))
    });
    SPOKEN.replace_all(text, format!("${{1}}{MARKER}"))
}

/// Returns whether a value, at a place where a secret may be, is likely one and not a word of a sentence.
fn looks_secret(value: &str) -> bool {
    // What is redacted already makes nothing else suspicious.
    let value = value.replace(MARKER, "");
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    (value.len() >= MIXED_VALUE && has_digit && has_letter) || (value.len() >= LONG_VALUE && !value.contains(".."))
}
