//! Redaction: what goes and what stays, as tables, and what must hold for any secret.

use crate::run_events::begun;
use jiff::Timestamp;
use proptest::prelude::*;
use rig::{
    domain::{
        ids::Attempt,
        redact::{MARKER, Redactor, SecretText},
    },
    engine::observe::hook_event,
    ports::session::{HookEvent, HookKind},
};
use std::path::Path;

/// Shorter values are not searched for.
const SHORTEST_SECRET: usize = 6;

/// Text, and what must not be in it afterwards.
const GOES: &[(&str, &str)] = &[
    ("pushed with ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F"),
    ("gho_16C7e42F292c6912E7710c838347Ae178B4a.", "16C7e42F"),
    ("x=ghs_16C7e42F292c6912E7710c838347Ae178B4a;", "16C7e42F"),
    ("github_pat_11ABCDEFG0123456789_abcdefghijklmnop", "11ABCDEFG"),
    ("the token (glpat-AbCdEf12345678901234) leaked", "AbCdEf"),
    ("sk-ant-oat01-AbCdEf_1234567890-xyz", "AbCdEf"),
    ("sk-ant-api03-AbCdEf1234567890", "AbCdEf"),
    ("sk-proj-AbCdEf1234567890AbCdEf12", "AbCdEf"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("syt_cmlnLWJvdA_QwErTyUiOpAsDfGh_1a2B3c", "QwErTy"),
    ("syr_QwErTyUiOpAsDfGh1a2B3c", "QwErTy"),
    ("glrt-AbCdEf12345678901234", "AbCdEf"),
    ("mct_AbCdEf12345678901234_x", "AbCdEf"),
    ("npm_AbCdEf12345678901234AbCdEf12345678", "AbCdEf"),
    ("pypi-AgEIcHlwaS5vcmcCJAbCdEf12345678901234", "AbCdEf"),
    ("xoxb-123456789012-abcdefABCDEF", "abcdefABC"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "SflKxw"),
    ("Authorization: Bearer abcdefgh", "abcdefgh"),
    ("authorization: token 0123456789abcdef0123456789abcdef01234567", "0123456789abcdef"),
    ("Authorization: Basic Ym90OmdlaGVpbQ==", "Ym90Omdl"),
    ("> Proxy-Authorization: Basic Ym90OmdlaGVpbQ==\r\n> Host: x", "Ym90Omdl"),
    ("Authorization: Custom a1b2c3d4e5", "a1b2c3d4e5"),
    ("Authorization: a1b2c3d4e5 next", "a1b2c3d4e5"),
    (r#"{"Authorization":"token a1b2c3d4e5"}"#, "a1b2c3d4e5"),
    (r#"-H \"Authorization: token a1b2c3d4e5\""#, "a1b2c3d4e5"),
    ("sent Bearer a1b2c3d4e5f6", "a1b2c3d4e5f6"),
    ("Cookie: i_like_gitea=0123456789abcdef; lang=en", "0123456789abcdef"),
    ("https://bot:hunter2@git.example.org/acme/widget.git", "hunter2"),
    ("https://bot:hunter2@git.example.org/acme/widget.git", "bot"),
    ("postgres://rig:p%40ss@db:5432/rig", "p%40ss"),
    ("http://:onlypassword@127.0.0.1:3000", "onlypassword"),
    ("https://0123456789abcdef0123456789abcdef01234567@git.example.org/", "0123456789abcdef"),
    ("https://bot:p@ss@git.example.org/x", "ss@"),
    ("token=abc", "abc"),
    ("FORGE_TOKEN=swordfish", "swordfish"),
    ("export MATRIX_TOKEN='two words'", "two words"),
    ("password: \"correct horse\"", "correct horse"),
    ("password: hunter22 # for the bot", "hunter22"),
    ("password: swordfish\nnext: line", "swordfish"),
    (r#"{"token": "abc", "x": 1}"#, "abc"),
    (r#"{"line":"{\"api_key\": \"abc def\"}"}"#, "abc def"),
    (r#"{"password":"with \" a quote"}"#, "a quote"),
    (r#"{"line":"{\"password\":\"with \\\" a quote\"}"}"#, "a quote"),
    (r#"password = "cut off in the mid"#, "cut off"),
    ("GET /api?access_token=abc123&page=2", "abc123"),
    ("client_secret=abc;token=def", "def"),
    ("auth: token: a1b2c3d4e5", "a1b2c3d4e5"),
    ("\"auth\": \"Ym90OmdlaGVpbQ==\"", "Ym90Omdl"),
    ("//registry.example.org/:_authToken=a1b2c3d4e5", "a1b2c3d4e5"),
    ("PRIVATE-TOKEN: a1b2c3d4e5", "a1b2c3d4e5"),
    ("X-Api-Key: a1b2c3d4e5", "a1b2c3d4e5"),
    ("rig --token a1b2c3d4e5 poll", "a1b2c3d4e5"),
    ("curl --password a1b2c3d4e5", "a1b2c3d4e5"),
    ("machine git.example.org login bot password hunter2", "hunter2"),
    ("the token is 0123456789abcdef0123456789abcdef01234567", "0123456789abcdef"),
    ("passphrase=0123456789abcdef0123456789abcdef01234567", "0123456789abcdef"),
    ("a\n-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\nb", "MIIEvQ"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA", "b3BlbnNz"),
    (r"key: -----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADAN\n-----END RSA PRIVATE KEY-----\n", "MIIEvQ"),
    ("MIIEvQIBADANBgkqhkiG9w0B\n-----END EC PRIVATE KEY-----", "MIIEvQ"),
];

/// Text that holds no secret, however much it talks of them.
const STAYS: &[&str] = &[
    "",
    "An ordinary sentence, with a comma; and 42 numbers.",
    "merged 0123456789abcdef0123456789abcdef01234567 into main",
    "commit: 0123456789abcdef0123456789abcdef01234567",
    "head=0123456789abcdef0123456789abcdef01234567 attempt=2",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "<!-- reviewed: 0123456789abcdef0123456789abcdef01234567 -->",
    r#"{"sha":"0123456789abcdef0123456789abcdef01234567","state":"success"}"#,
    "https://git.example.org/acme/widget/pulls/7#issuecomment-12",
    "https://git.example.org:8443/acme/widget.git",
    "ssh://git@git.example.org/acme/widget.git",
    "git@git.example.org:acme/widget.git",
    "http://127.0.0.1:3000/api/v1/repos/acme/widget/issues?state=open&page=2&limit=50",
    "write to dev@example.org: the mail address stays",
    "token_env = \"FORGE_TOKEN\"",
    "push_token_env = \"PUSH_TOKEN\"",
    "FORGE_TOKEN is not set",
    "FORGE_TOKEN: is not set",
    "set FORGE_TOKEN=$TOKEN before",
    "password: ${{ secrets.DEPLOY }}",
    "let token = read_token();",
    "token = self.token",
    "token: SecretString,",
    "assert token == other",
    "if password.is_empty() {",
    "the password: must have at least 8 characters",
    "max_tokens=4096, used tokens: 1200",
    "\"output_tokens\": 12345",
    "the tokenizer: splits words",
    "our secretary: Ms Smith",
    "authorization: who may merge, and when",
    "Authorization: users see what they may",
    "the bearer of this letter",
    "author: jane, co-author: joe",
    "pass --token to the command",
    "password = None",
    "\"token\": null",
    "\"token\": \"\"",
    "ghp_... and glpat-... are prefixes of tokens",
    "risk-assessment-for-the-whole-project-2026",
    "-----BEGIN CERTIFICATE-----\nMIIEvQIBADAN\n-----END CERTIFICATE-----",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV-7-2",
    "fix: the login page (#12)",
    "the session token expires after 3600 seconds",
    "docs/security.md: tokens, secrets, and passwords",
    "a secret: nobody knows",
    "[redacted]",
];

fn secrets<'a>(values: &[&'a str]) -> impl Iterator<Item = SecretText> + use<'a> {
    values.iter().map(|value| SecretText::new(*value)).collect::<Vec<_>>().into_iter()
}

#[test]
fn shapes_and_contexts_give_secrets_away() {
    let redactor = Redactor::default();
    let mut wrong = Vec::new();
    for (text, secret) in GOES {
        assert!(text.contains(secret), "{text:?}");
        let redacted = redactor.redact(text);
        if redacted.contains(secret) || !redacted.contains(MARKER) || redactor.redact(&redacted) != redacted {
            wrong.push(format!("{text:?} became {redacted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_holds_no_secret_is_the_same_text() {
    let redactor = Redactor::new(secrets(&["s3cr3t-value"]));
    let changed: Vec<_> =
        STAYS.iter().map(|text| (text, redactor.redact(text))).filter(|(text, redacted)| redacted != *text).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn what_stands_around_a_secret_stays() {
    let redactor = Redactor::new(secrets(&["hunter22"]));
    for (text, expected) in [
        ("a hunter22 b", "a [redacted] b"),
        ("https://bot:hunter22@host/x", "https://[redacted]@host/x"),
        (r#"{"token": "abc", "page": 2}"#, r#"{"token": "[redacted]", "page": 2}"#),
        ("Authorization: token a1b2c3d4e5 was refused", "Authorization: token [redacted] was refused"),
        ("GET /api?access_token=abc123&page=2", "GET /api?access_token=[redacted]&page=2"),
        ("client_secret=abc;token=def", "client_secret=[redacted];token=[redacted]"),
        (r#"{"m":"x \"password\": \"abc\" y"}"#, r#"{"m":"x \"password\": \"[redacted]\" y"}"#),
        ("a\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nb", "a\n[redacted]\nb"),
    ] {
        assert_eq!(redactor.redact(text), expected);
        assert_eq!(redactor.redact(expected), expected);
    }
}

#[test]
fn known_secrets_are_found_in_the_forms_of_many_programs() {
    let secret = "p&ss \"wörd\"/\\<x>\n7";
    let redactor = Redactor::new(secrets(&[secret]));
    for text in [
        secret,
        r#"{"m":"p&ss \"wörd\"/\\<x>\n7"}"#,
        r#"{"m":"p\u0026ss \"w\u00f6rd\"\/\\\u003cx\u003e\n7"}"#,
        r#"{"m":"{\"m\":\"p&ss \\\"wörd\\\"/\\\\<x>\\n7\"}"}"#,
        "p%26ss%20%22w%C3%B6rd%22%2F%5C%3Cx%3E%0A7",
        "p%26ss+%22w%c3%b6rd%22%2f%5c%3cx%3e%0a7",
        "p&amp;ss &quot;wörd&quot;/\\&lt;x&gt;\n7",
        "70267373202277c3b67264222f5c3c783e0a37",
    ] {
        let redacted = redactor.redact(text);
        assert!(redacted.contains(MARKER) && !redacted.contains("ss") && !redacted.contains("3c78"), "{redacted}");
    }
}

/// A screen, and what must not be on it afterwards.
#[test]
fn what_a_terminal_wraps_is_found_in_every_piece() {
    let redactor = Redactor::new(secrets(&["tok-AAAABBBBCCCCDDDDEEEEFFFF"]));
    for (screen, secrets) in [
        ("$ echo tok-AAAABBBBCC\nCCDDDDEEEEFFFF done", &["tok-AAAA", "EEEEFFFF"][..]),
        ("● Bash(echo tok-AAAABBBB\n      CCCCDDDDEEEEFFFF)\n  ok", &["tok-AAAA", "EEEEFFFF"]),
        (
            "│ the token is tok-AAAA   │\n│ BBBBCCCCDDDD            │\n│ EEEEFFFF                │",
            &["AAAA", "BBBB", "EEEE"],
        ),
        ("x ghp_16C7e42F292c6912\n  E7710c838347Ae178B4a y", &["16C7e42F", "E7710c83"]),
        ("x github_pat_11ABCDEFG01\n  23456789abcdefghij\n  klmnopqrst_uvwxyz", &["11ABCDEFG", "23456789", "klmnop"]),
        ("sk-ant-oat01-AbCdEf_1234\n567890-xyzxyz", &["AbCdEf", "xyzxyz"]),
        ("Authorization: Bearer a1b2c3d4e5\n    f6a7b8c9d0", &["a1b2c3", "f6a7b8"]),
        ("FORGE_TOKEN=sword\n  fish99", &["sword", "fish99"]),
        ("https://bot:hunter\n  2secret@git.example.org/x.git", &["hunter", "2secret"]),
        ("one line: tok-AAAABBBBCCCCDDDDEEEEFFFF", &["AAAA"]),
    ] {
        let redacted = redactor.redact_screen(screen);
        for secret in secrets {
            assert!(screen.contains(secret), "{screen}");
            assert!(!redacted.contains(secret), "{screen}\nbecame\n{redacted}");
        }
        assert_eq!(redacted.lines().count(), screen.lines().count(), "{redacted}");
    }
}

#[test]
fn a_screen_without_secrets_stays_as_it_is() {
    let redactor = Redactor::new(secrets(&["tok-AAAABBBBCCCCDDDDEEEEFFFF"]));
    for screen in [
        "",
        "\n",
        "● I read the token's documentation and the\n  password rules; nothing is secret here.\n\n> \n",
        "╭──────────╮\n│ > ls -la │\n╰──────────╯\n",
        "commit 0123456789abcdef0123456789abcdef\n  01234567\nAuthor: Ann <ann@example.org>\n",
        "error[E0308]: mismatched types\n  --> src/auth.rs:12:5\n   |\n12 |     token\n   |     ^^^^^\n",
        "https://git.example.org/acme/widget/pulls/\n  45 is open",
    ] {
        assert_eq!(redactor.redact_screen(screen), screen);
    }
}

#[test]
fn a_text_is_cut_only_after_its_secrets_are_gone() {
    let redactor = Redactor::new(secrets(&["tok-AAAABBBBCCCCDDDDEEEEFFFF"]));
    let text = format!("{}tok-AAAABBBBCCCCDDDDEEEEFFFF and more", "x".repeat(490));
    assert_eq!(redactor.redact_and_cut(&text, 500), format!("{}{MARKER}", "x".repeat(490)));
}

#[test]
fn no_part_of_a_secret_comes_from_a_hook_into_the_journal() {
    let redactor = Redactor::new(secrets(&["tok-AAAABBBBCCCCDDDDEEEEFFFF"]));
    let text = format!("{} tok-AAAABBBBCCCCDDDDEEEEFFFF is refused", "x".repeat(485));
    let kinds = [
        HookKind::ToolRefused { what: text.clone(), why: text.clone() },
        HookKind::TurnFailed { error: "api_error".into(), message: text.clone() },
        HookKind::TurnFailed { error: "api_error".into(), message: format!("usage limit reached {text}") },
    ];
    for kind in kinds {
        let hook = HookEvent { attempt: Attempt(1), kind, offset: 1 };
        let seen = hook_event(&begun(), &hook, Path::new("/inbox"), Timestamp::UNIX_EPOCH, &redactor).unwrap();
        let journaled = serde_json::to_string(&seen.event).unwrap();
        assert!(journaled.contains("xxx") && !journaled.contains("tok-"), "{journaled}");
    }
}

#[test]
fn short_values_and_parts_of_the_marker_are_not_searched_for() {
    let redactor = Redactor::new(secrets(&["", "abc", "12345", "redacted", "  \n "]));
    let text = "abc 12345 redacted [redacted]";
    assert_eq!(redactor.redact(text), text);
}

#[test]
fn a_secret_within_another_does_not_leave_its_rest() {
    let redactor = Redactor::new(secrets(&["hunter22", "hunter22-and-more"]));
    assert_eq!(redactor.redact("x hunter22-and-more y hunter22 z"), "x [redacted] y [redacted] z");
}

#[test]
fn lines_of_a_long_secret_are_secret_too() {
    let key = "-----BEGIN X-----\nAAAAB3NzaC1yc2EAAAADAQAB\nQQQQB3NzaC1yc2EAAAADAQAB\nend\n";
    let redactor = Redactor::new(secrets(&[key]));
    assert_eq!(redactor.redact("12: QQQQB3NzaC1yc2EAAAADAQAB"), "12: [redacted]");
    assert_eq!(redactor.redact("the end"), "the end");
}

#[test]
fn debug_output_shows_no_secret() {
    let secret = SecretText::new("hunter22");
    assert_eq!(format!("{secret:?}"), "SecretText(..)");
    assert!(!format!("{:?}", Redactor::new([secret])).contains("hunter22"));
}

/// An encoder of its own, so that the one under test is not its own judge.
fn base64(bytes: &[u8], engine: &impl base64::Engine) -> String {
    engine.encode(bytes)
}

fn percent(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if unreserved(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

proptest! {
    #[test]
    fn no_form_of_a_known_secret_survives(
        secret in r"[!-~]{6,60}|[a-f0-9]{40}|[A-Za-z0-9 äß€\n]{6,30}",
        before in r"[ -~]{0,12}",
        after in r"[ -~]{0,12}",
        account in r"[a-z]{0,5}",
    ) {
        let searched = secret.trim();
        prop_assume!(searched.chars().count() >= SHORTEST_SECRET && !MARKER.contains(searched));
        let redactor = Redactor::new([SecretText::new(secret.clone())]);
        let json = serde_json::to_string(searched).unwrap();
        let json = json[1..json.len() - 1].to_owned();
        let pair = format!("{account}:{searched}{after}");
        let forms = [
            searched.to_owned(),
            percent(searched),
            json.clone(),
            base64(searched.as_bytes(), &base64::prelude::BASE64_STANDARD),
            base64(searched.as_bytes(), &base64::prelude::BASE64_URL_SAFE_NO_PAD),
            base64(pair.as_bytes(), &base64::prelude::BASE64_STANDARD),
            base64(pair.as_bytes(), &base64::prelude::BASE64_URL_SAFE),
        ];
        for form in forms.iter().filter(|form| form.len() >= SHORTEST_SECRET) {
            let text = format!("{before}{form}{after}");
            let redacted = redactor.redact(&text);
            prop_assert!(!redacted.contains(form.as_str()), "{text:?} became {redacted:?}");
            prop_assert!(!redacted.contains(searched), "{text:?} became {redacted:?}");
        }
    }

    #[test]
    fn redacting_twice_is_redacting_once(text in r#"(?:[ -~]|token=|password: |"|\\"|Authorization: |https://|@|ghp_[a-z0-9]{12}|\n|s3cr3t-value|\[redacted\]){0,40}"#) {
        let redactor = Redactor::new(secrets(&["s3cr3t-value"]));
        let once = redactor.redact(&text).into_owned();
        let twice = redactor.redact(&once).into_owned();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn commit_ids_urls_and_prose_survive(
        sha in "[a-f0-9]{40}",
        words in proptest::collection::vec("[a-z]{1,9}", 1..12),
        path in "[a-z]{1,8}/[a-z]{1,8}",
        number in 1..10_000_u32,
    ) {
        let secret_words = ["token", "secret", "auth", "password", "bearer", "pwd", "login"];
        prop_assume!(!words.iter().any(|word| secret_words.iter().any(|secret| word.contains(secret))));
        let text = format!(
            "{} {sha} https://git.example.org/{path}/commit/{sha} (#{number}), {}",
            words.join(" "), words.join(", ")
        );
        let redactor = Redactor::new(secrets(&["s3cr3t-value"]));
        prop_assert_eq!(redactor.redact(&text), text.as_str());
    }
}
