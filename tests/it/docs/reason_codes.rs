//! docs/reason-codes.md is made from the table of codes, so that no code is undocumented and none is stale. To write it anew:
//! `RIG_UPDATE_DOCS=1 cargo test --test it docs::reason_codes`.

use super::pages;
use rig::domain::code::{About, Code};
use std::fmt::Write;

const PAGE: &str = "docs/reason-codes.md";
/// Above the tables; what follows it is made.
const BEGIN: &str = "<!-- From here on this page is made by tests/it/docs/reason_codes.rs. -->";

#[test]
fn the_page_of_codes_has_every_code_and_no_other() {
    pages::is_made(PAGE, BEGIN, &made_part());
}

fn made_part() -> String {
    let kinds: [(&str, &[About]); 4] = [
        ("Issues", &[About::Issue, About::Both]),
        ("Pull requests", &[About::PullRequest, About::Both]),
        ("Projects", &[About::Project]),
        ("Answers of rig why alone", &[About::Asked]),
    ];
    let mut text = String::from("\n");
    for (title, about) in kinds {
        let _ = write!(text, "\n## {title}\n\n| code | meaning | what changes it |\n|---|---|---|\n");
        for code in Code::ALL.iter().filter(|code| about.contains(&code.about())) {
            let _ = writeln!(text, "| `{code}` | {} | {} |", code.meaning(), code.what_changes_it());
        }
    }
    text
}
