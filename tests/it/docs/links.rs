//! Links between pages.

use super::pages::{self, Page};
use regex::Regex;
use std::path::Path;

#[test]
fn every_link_leads_to_a_file_and_a_title_that_exist() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut dead = Vec::new();
    let mut followed = 0;
    for page in pages::all() {
        for target in link.captures_iter(&page.text).map(|found| found[1].to_owned()) {
            if !target.contains("://") {
                followed += 1;
                dead.extend(problem(&page, &target).map(|what| format!("{}: {target}: {what}", page.name)));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(followed > 20, "only {followed} links were found");
}

fn problem(page: &Page, target: &str) -> Option<String> {
    let (file, title) = target.split_once('#').map_or((target, None), |(file, title)| (file, Some(title)));
    let folder = Path::new(&page.name).parent().unwrap();
    let text = if file.is_empty() {
        page.text.clone()
    } else {
        let path = pages::repository().join(folder).join(file);
        if path.is_dir() {
            return None;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Some(error.to_string()),
        }
    };
    let titles: Vec<String> = text.lines().filter(|line| line.starts_with('#')).map(slug).collect();
    title.filter(|title| !titles.iter().any(|known| known == title)).map(|title| format!("has no title `{title}`"))
}

/// Returns what a title is called in links.
fn slug(title: &str) -> String {
    let text = title.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
