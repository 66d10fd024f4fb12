//! Messages to people in both forms that a chat shows: plain text, and HTML in which nothing from outside is markup.

use super::Stream;
use serde::{Deserialize, Serialize};

/// Longest text of one message, in characters. With its HTML, encrypted, it stays far below the 64 KiB of a Matrix event.
pub const LONGEST: usize = 8_000;
/// Longest summary of what an agent said, in characters: what a phone shows without scrolling.
pub const LONGEST_SUMMARY: usize = 600;
/// Characters of each message in a message that stands for many.
const FOLDED_LINE: usize = 160;
/// Lines in a message that stands for many; the newest count.
const FOLDED_LINES: usize = 50;
/// Before the words of a question that was settled before it could be asked.
pub const SETTLED: &str = "(settled meanwhile) ";

/// A message, ready to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub plain: String,
    pub html: String,
    /// Accounts that are to be notified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
}

/// Where people can look, as URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Links {
    pub issue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// The checks of the commit that the run is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<String>,
}

impl Letter {
    /// Returns a message without links and mentions. Lines stay lines.
    pub fn text(text: &str) -> Self {
        let text = bounded(text.trim(), LONGEST);
        Self { html: escape(&text).replace('\n', "<br>"), plain: text, mentions: Vec::new() }
    }

    /// Returns the news of a run, with links; `mentions` are notified.
    pub fn news(text: &str, links: &Links, mentions: &[String]) -> Self {
        let named =
            [("issue", Some(&links.issue)), ("pull request", links.pull_request.as_ref()), ("CI", links.ci.as_ref())];
        let named: Vec<_> = named.into_iter().filter_map(|(name, url)| Some((name, url?))).collect();
        let body = Self::text(text);
        let urls: Vec<String> = named.iter().map(|(name, url)| format!("{name}: {url}")).collect();
        let anchors: Vec<String> =
            named.iter().map(|(name, url)| format!("<a href=\"{}\">{name}</a>", escape(url))).collect();
        let (plain, html) = address(mentions);
        Self {
            plain: format!("{plain}{}\n{}", body.plain, urls.join("\n")),
            html: format!("{html}{}<br>{}", body.html, anchors.join(" · ")),
            mentions: mentions.to_vec(),
        }
    }

    /// Returns what is left to say of a message that asked people for something, now that nobody need answer: the same words,
    /// for nobody. `None` for one that asks nobody.
    pub fn settled(&self) -> Option<Self> {
        if self.mentions.is_empty() {
            return None;
        }
        let (plain, html) = address(&self.mentions);
        let words = |text: &str, address: &str| format!("{SETTLED}{}", text.strip_prefix(address).unwrap_or(text));
        Some(Self { plain: words(&self.plain, &plain), html: words(&self.html, &html), mentions: Vec::new() })
    }

    /// Returns the first message of a run's thread.
    pub fn thread(project: &str, issue: u64, title: &str, url: &str) -> Self {
        let title = bounded(title.trim(), FOLDED_LINE);
        Self {
            plain: format!("{project} #{issue}: {title}\n{url}"),
            html: format!(
                "<strong>{} <a href=\"{}\">#{issue}</a></strong>: {}",
                escape(project),
                escape(url),
                escape(&title)
            ),
            mentions: Vec::new(),
        }
    }

    /// Returns one message that stands for many which could not be sent when they were news. Whoever one of them was for is
    /// notified.
    pub fn folded(letters: &[Letter]) -> Self {
        let line = |letter: &Letter| bounded(letter.plain.lines().next().unwrap_or_default(), FOLDED_LINE);
        let left_out = letters.len().saturating_sub(FOLDED_LINES);
        let mut text = format!("{} messages could not be sent until now:", letters.len());
        if left_out > 0 {
            text.push_str(&format!("\n({left_out} older ones are left out)"));
        }
        for letter in &letters[left_out..] {
            text.push_str("\n- ");
            text.push_str(&line(letter));
        }
        let mut folded = Self::text(&text);
        for who in letters.iter().flat_map(|letter| &letter.mentions) {
            if !folded.mentions.contains(who) {
                folded.mentions.push(who.clone());
            }
        }
        folded
    }

    /// Returns what goes into the thread of an agent's last message of a turn, if anything.
    pub fn said(message: &str, stream: Stream) -> Option<Self> {
        let message = message.trim();
        let text = match stream {
            Stream::None => return None,
            Stream::Full => bounded(message, LONGEST),
            Stream::Summary => bounded(message.split("\n\n").next().unwrap_or_default().trim(), LONGEST_SUMMARY),
        };
        if text.is_empty() {
            return None;
        }
        let quoted: Vec<String> = text.lines().map(|line| format!("> {line}")).collect();
        let html = format!("<blockquote>{}</blockquote>", escape(&text).replace('\n', "<br>"));
        Some(Self { plain: quoted.join("\n"), html, mentions: Vec::new() })
    }
}

/// Returns the words that address people, in both forms; none for nobody.
fn address(people: &[String]) -> (String, String) {
    let pill = |who: &String| format!("<a href=\"https://matrix.to/#/{0}\">{0}</a>", escape(who));
    let joined = |names: Vec<String>| if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) };
    (joined(people.to_vec()), joined(people.iter().map(pill).collect()))
}

/// Returns the text cut to so many characters, with a sign where something is missing.
pub fn bounded(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// Returns the text as HTML that shows exactly it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What is no text could not be sent as JSON text that everybody reads alike.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links { issue: "https://git.example.org/a/b/issues/7?x=1&y".into(), ..Links::default() }
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let evil = "<img src=x onerror=\"alert(1)\"> & 'q'";
        for letter in [
            Letter::text(evil),
            Letter::news(evil, &links(), &["@<b>:x".into()]),
            Letter::thread(evil, 7, evil, evil),
            Letter::folded(&[Letter::text(evil)]),
            Letter::said(evil, Stream::Full).unwrap(),
        ] {
            assert!(!letter.html.contains("<img") && !letter.html.contains("<b>"), "{}", letter.html);
            assert!(!letter.html.contains("\"alert"), "{}", letter.html);
            assert!(letter.plain.contains("<img"), "{}", letter.plain);
        }
    }

    #[test]
    fn news_has_its_links_and_its_mentions_in_both_forms() {
        let links = Links {
            pull_request: Some("https://f/a/b/pulls/9".into()),
            ci: Some("https://f/a/b/commit/c".into()),
            ..links()
        };
        let letter = Letter::news("CI failed", &links, &["@ann:hs".into(), "@bob:hs".into()]);
        assert_eq!(
            letter.plain,
            "@ann:hs, @bob:hs: CI failed\nissue: https://git.example.org/a/b/issues/7?x=1&y\npull request: https://f/a/b/pulls/9\n\
             CI: https://f/a/b/commit/c"
        );
        assert!(letter.html.contains("<a href=\"https://matrix.to/#/@ann:hs\">@ann:hs</a>"));
        assert!(letter.html.contains("issues/7?x=1&amp;y"));
        assert_eq!(letter.mentions, ["@ann:hs", "@bob:hs"]);
    }

    #[test]
    fn a_question_that_was_settled_before_it_was_sent_is_for_nobody_any_more() {
        let people = ["@ann:hs".to_owned(), "@bob:hs".to_owned()];
        let settled = Letter::news("which port?", &links(), &people).settled().unwrap();
        let without = Letter::news("which port?", &links(), &[]);
        assert_eq!(settled.plain, format!("(settled meanwhile) {}", without.plain));
        assert_eq!(settled.html, format!("(settled meanwhile) {}", without.html));
        assert_eq!(settled.mentions, [""; 0]);
        assert_eq!(settled.settled(), None);
        let folded = Letter::folded(&[Letter::news("which port?", &links(), &people)]);
        assert_eq!(folded.settled().unwrap().mentions, [""; 0]);
    }

    #[test]
    fn a_folded_message_is_bounded_and_keeps_every_mention_once() {
        let letters: Vec<_> = (0..1_000)
            .map(|n| Letter::news(&format!("news {n} {}", "x".repeat(9_000)), &links(), &[format!("@u{}:hs", n % 3)]))
            .collect();
        let folded = Letter::folded(&letters);
        assert!(folded.plain.starts_with("1000 messages"));
        assert!(folded.plain.chars().count() <= LONGEST + 1 && folded.plain.contains("950 older"));
        assert_eq!(folded.mentions, ["@u0:hs", "@u1:hs", "@u2:hs"]);
    }

    #[test]
    fn what_an_agent_said_is_cut_to_what_is_wanted() {
        let message = format!("First.\nStill.\n\n{}", "y".repeat(20_000));
        assert_eq!(Letter::said(&message, Stream::None), None);
        assert_eq!(Letter::said(" \n ", Stream::Full), None);
        assert_eq!(Letter::said(&message, Stream::Summary).unwrap().plain, "> First.\n> Still.");
        assert!(Letter::said(&message, Stream::Full).unwrap().plain.chars().count() < LONGEST + 10);
    }
}
