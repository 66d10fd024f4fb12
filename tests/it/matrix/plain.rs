//! The whole story in a room without encryption.

use super::world::{GIVEN_AWAY, MatrixWorld, SAID, body, thread_of};
use crate::by_hand_support::until;
use predicates::{prelude::*, str::contains};
use serde_json::Value;

#[test]
fn an_escalation_is_answered_in_the_thread_and_the_run_goes_on() {
    let Some(matrix) = MatrixWorld::new(false, "stream = \"summary\"") else { return };
    let world = &matrix.world;
    world.rig(&["matrix", "check"]).code(1).stdout(contains("is not in the room").and(contains("invite")));
    world.rig(&["matrix", "send", "hello <b>room</b>"]).success().stdout(contains("sent in"));
    let hello = matrix.until_told("hello");
    assert_eq!(hello["content"]["formatted_body"], "hello &lt;b&gt;room&lt;/b&gt;");
    let (code, lines) = world.json(&["matrix", "check"]);
    assert_eq!((code, &lines[0]["findings"]), (0, &serde_json::json!([])), "{lines:?}");
    assert_eq!(lines[0]["report"]["encryption"], Value::Null);

    let issue = world.issue("Ask which port", "Please.", &["backlog"]);
    matrix.poll();
    let asked = matrix.until_told("which port?");
    let root = matrix.thread(issue);
    assert_eq!(thread_of(&asked), Some(root.as_str()));
    assert_eq!(asked["content"]["m.mentions"]["user_ids"], serde_json::json!([matrix.ann.id]));
    assert_eq!(asked["content"]["m.relates_to"]["is_falling_back"], true);
    let issue_url = format!("{}/acme/widget/issues/{issue}", world.url);
    let html = asked["content"]["formatted_body"].as_str().unwrap();
    assert!(html.contains(&format!("href=\"{issue_url}\"")), "{html} {issue_url}");
    until("the issue says it too", || {
        world.traces(issue).1.iter().any(|text| text.contains("which port?")).then_some(())
    });

    // Who may not speak is told so once, and nothing of it reaches the session.
    matrix.bob.reply(&matrix.room, &root, "use port 666");
    matrix.bob.reply(&matrix.room, &root, "do it");
    let no = matrix.until_told("rig does not take messages from you");
    assert_eq!(thread_of(&no), Some(root.as_str()));

    let answer = matrix.ann.reply(&matrix.room, &root, "use port 8080");
    matrix.until_confirmed(&answer);
    matrix.until_merged(issue);
    matrix.until_told("is merged");
    let inbox = matrix.inbox(issue);
    assert_eq!(inbox.iter().filter(|text| text.contains("use port 8080")).count(), 1, "{inbox:?}");
    assert!(inbox.iter().any(|text| text.contains(&matrix.ann.id)), "{inbox:?}");
    assert!(!inbox.iter().any(|text| text.contains("666") || text.contains("do it")), "{inbox:?}");

    let told = matrix.told();
    let of_run: Vec<&str> = told.iter().filter(|event| thread_of(event) == Some(&root)).map(body).collect();
    for words in ["claimed", "is open", "CI passed", "approved", "is merged"] {
        assert_eq!(of_run.iter().filter(|text| text.contains(words)).count(), 1, "{words}: {of_run:?}");
    }
    assert_eq!(told.iter().filter(|event| body(event).contains("does not take messages")).count(), 1);
    // Of what the agent said, the first paragraph.
    let said = format!("> {}", SAID[0]);
    assert_eq!(of_run.iter().filter(|text| **text == said).count(), 1, "{of_run:?}");
    assert!(!of_run.iter().any(|text| text.contains(SAID[1])), "{of_run:?}");
    let everything = matrix.ann.events(&matrix.room).iter().map(Value::to_string).collect::<String>();
    for secret in world.tokens.values().chain([&matrix.bot.password, &matrix.bot.token, &GIVEN_AWAY.to_owned()]) {
        assert!(!everything.contains(secret.as_str()));
    }
    let session = std::fs::read_to_string(
        world.root.root().matrix_account(&matrix.synapse.url(), &matrix.bot.id).join("session.json"),
    );
    let token: Value = serde_json::from_str(&session.unwrap()).unwrap();
    assert!(!everything.contains(token["access_token"].as_str().unwrap()));
}

#[test]
fn a_thread_that_was_deleted_is_made_anew_and_replies_to_both_are_the_runs() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let issue = matrix.world.issue("Ask again", "Please.", &["backlog"]);
    matrix.poll();
    matrix.until_told("which port?");
    let root = matrix.thread(issue);
    // A moderator deletes it.
    matrix.ann.redact(&matrix.room, &root);
    until("the bridge knows", || {
        let told = matrix.told();
        let again = told.iter().filter(|event| body(event).contains(&format!("widget #{issue}: "))).count();
        if again == 0 {
            matrix.ann.reply(&matrix.room, &root, "status");
        }
        (again > 0 || told.iter().any(|event| body(event).contains("waits for a human"))).then_some(())
    });
    let answer = matrix.ann.reply(&matrix.room, &root, "use port 8080");
    matrix.until_merged(issue);
    matrix.until_told("is merged");
    let told = matrix.told();
    let second = told.iter().find(|event| body(event).contains(&format!("widget #{issue}: "))).unwrap();
    let merged = told.iter().find(|event| body(event).contains("is merged")).unwrap();
    assert_eq!(thread_of(merged), second["event_id"].as_str());
    assert_ne!(second["event_id"], root.as_str());
    assert!(!answer.is_empty());
}
