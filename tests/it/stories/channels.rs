//! A webhook and a command in place of a chat: both are told the whole run in order, again until they take it.

use crate::by_hand_support::{World, json_lines, until};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::fmt::Write;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

/// The agent asks something, and gives a secret away in doing so.
const SCRIPT: &str = r#"{ "version": 1, "rules": [
    { "contains": "CI passed at", "repeat": true, "actions": [ { "run": "echo PHASE:awaiting_review > \"$PHASE_FILE\"" } ] },
    { "contains": "use port", "actions": [
        { "run": "echo 8080 > port.txt && git add -A && git commit -qm Work && git push -q -u origin HEAD" },
        { "run": "echo PHASE:awaiting_ci > \"$PHASE_FILE\"" } ] },
    { "contains": "Title: ", "actions": [
        { "run": "printf 'PHASE:escalate\nReason: which port for k3y-0f-the-h00k?\n' > \"$PHASE_FILE\"" } ] } ] }"#;
const SECRET: &str = "k3y-0f-the-h00k";

#[test]
fn a_webhook_and_a_command_are_told_the_whole_run_in_order_and_again_until_they_take_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(MockServer::start());
    let post = || Mock::given(method("POST"));
    runtime.block_on(post().respond_with(ResponseTemplate::new(503)).up_to_n_times(2).mount(&server));
    runtime.block_on(post().respond_with(ResponseTemplate::new(204)).mount(&server));

    let world = World::new();
    std::fs::write(world.root.path().join("script.json"), SCRIPT).unwrap();
    // The command fails once, after it has read everything.
    let (taken, once) = (world.root.path().join("taken"), world.root.path().join("once"));
    let command = format!(
        "line=$(cat); mkdir {} 2>/dev/null && exit 9; printf '%s\\n' \"$line\" >> {}",
        once.display(),
        taken.display()
    );
    let url = server.uri();
    let notify =
        format!("[notify]\nwebhook = \"{url}/in\"\nwebhook_secret_env = \"HOOK\"\ncommand = '''{command}'''\n");
    world.project("widget", "acme/widget", &notify);
    world.env(&[("HOOK", SECRET)]);
    let issue = world.issue("Ask which port", "Please.", &["backlog"]);
    world.rig(&["dev", "poll"]).success();
    until("the run waits for a person", || {
        world.runs(false).iter().any(|run| run["stage"] == "escalated").then_some(())
    });
    let posted = || runtime.block_on(server.received_requests()).unwrap();
    let commanded = || json_lines(&std::fs::read(&taken).unwrap_or_default());
    let both_are_told = |words: &str| {
        until(words, || {
            if world.approve_green() > 0 {
                // A tick that merges before the run has seen it leaves nobody to tell of it.
                until("the run has seen the approval", || {
                    let goes_on = |run: &Value| run["stage"] == "merging" || run["stage"] == "finishing";
                    world.runs(false).iter().all(goes_on).then_some(())
                });
            }
            world.rig(&["dev", "poll"]).success();
            let says = |news: &Value| text(news).contains(words);
            // The first two of the posts were refused.
            let by_post = posted().iter().skip(2).any(|request| says(&document(request)));
            (by_post && commanded().iter().any(says)).then_some(())
        });
    };
    both_are_told("which port");
    world.rig(&["send", &issue.to_string(), "use port 8080"]).success();
    both_are_told("is merged");

    let requests = posted();
    assert!(requests.iter().all(is_signed));
    let ids: Vec<&str> = requests.iter().map(|request| request.headers["x-rig-delivery"].to_str().unwrap()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "the first was refused twice: {ids:?}");
    let news: Vec<Value> = requests[2..].iter().map(document).collect();
    assert_eq!(news, commanded(), "the command is told the same, once each, in the same order");
    for (one, id) in news.iter().zip(&ids[2..]) {
        assert_eq!((&one["id"], &one["issue"], &one["version"]), (&(*id).into(), &issue.into(), &1.into()));
        assert!(one["links"]["issue"].as_str().unwrap().ends_with(&format!("/acme/widget/issues/{issue}")));
    }
    are_in_order(&news, &["claimed", "needs a human: which port", "is open", "CI passed", "approved", "is merged"]);
    let urgent: Vec<&Value> = news.iter().filter(|one| one["urgent"] == true).collect();
    assert!(urgent.len() == 1 && text(urgent[0]).contains("which port"), "{urgent:?}");
    let everything = news.iter().map(Value::to_string).collect::<String>();
    for secret in world.tokens.values().map(String::as_str).chain([SECRET]) {
        assert!(!everything.contains(secret), "{everything}");
    }
}

/// Each of these is said once, one after the other.
fn are_in_order(news: &[Value], expected: &[&str]) {
    let mut after = 0;
    for words in expected {
        let found: Vec<usize> = (0..news.len()).filter(|at| text(&news[*at]).contains(words)).collect();
        assert!(found.len() == 1 && found[0] >= after, "{words}: {news:?}");
        after = found[0];
    }
}

fn document(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn text(news: &Value) -> &str {
    news["text"].as_str().unwrap()
}

fn is_signed(request: &Request) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&request.body);
    let mut expected = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        write!(expected, "{byte:02x}").unwrap();
    }
    request.headers["x-rig-signature"] == expected.as_str()
}
