//! What people ask rig for in the room, replies that are changed or taken back, and what `rig matrix` says to wrong input.

use super::world::{MatrixWorld, body, thread_of};
use crate::{
    by_hand_support::until,
    root_support::{GOOD, TestRoot},
};
use predicates::{prelude::*, str::contains};

#[test]
fn commands_are_answered_where_they_were_asked() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let (room, ann) = (&matrix.room, &matrix.ann);
    matrix.world.rig(&["matrix", "send", "hello"]).success();
    ann.say(room, "!rig help");
    assert!(body(&matrix.until_told("!rig why N")).contains("!rig stop N"));
    ann.say(room, "!rig status");
    matrix.until_told("No open run");
    ann.say(room, "!rig why 99");
    matrix.until_told("widget number #99: ");
    ann.say(room, "!rig explode");
    matrix.until_told("no command `explode`");
    ann.say(room, "is anybody there?");
    matrix.until_told("No agent hears this");
    ann.say(room, "really?");
    ann.say(room, "!rig pause");
    matrix.until_told("The dev loop is off");
    assert!(!matrix.world.root.root().dev_switch().exists());
    ann.say(room, "!rig resume");
    matrix.until_told("The dev loop is on.");
    // Said before as well, in the answer to `status`.
    until("the loop is on", || matrix.world.root.root().dev_switch().exists().then_some(()));
    matrix.bob.say(room, "!rig pause");
    matrix.until_told("rig does not take messages from you");
    assert!(matrix.world.root.root().dev_switch().exists());
    // Once for each hour of the clock, and one may begin in between.
    let hints = matrix.told().iter().filter(|event| body(event).contains("No agent hears")).count();
    assert!((1..=2).contains(&hints), "{hints}");

    let issue = matrix.world.issue("Ask and be stopped", "Please.", &["backlog"]);
    matrix.poll();
    matrix.until_told("which port?");
    let root = matrix.thread(issue);
    ann.reply(room, &root, "why");
    let why = matrix.until_told("waits for a human: which port?");
    assert_eq!(thread_of(&why), Some(root.as_str()));
    ann.say(room, &format!("!rig approve {issue}"));
    matrix.until_told("no gate of rig's own");
    ann.reply(room, &root, "stop");
    matrix.until_told(&format!("Stopping the work on issue #{issue}"));
    until("the run has ended", || matrix.world.runs(false).is_empty().then_some(()));
    ann.reply(room, &root, "use port 80");
    matrix.until_told("This run has ended");

    // The same words as those of the command.
    ann.say(room, &format!("!rig why {issue}"));
    let why = matrix.until_told("its run ended as given back");
    let (_, lines) = matrix.world.json(&["why", &issue.to_string()]);
    assert!(body(&why).contains(lines[0]["words"].as_str().unwrap()), "{why} {lines:?}");
    let bob_may_not = matrix.told().len();
    matrix.bob.say(room, &format!("!rig retry {issue}"));
    ann.say(room, &format!("!rig retry {issue}"));
    let retried = matrix.until_told("labelled backlog again");
    assert!(body(&retried).starts_with(&format!("issue #{issue} (last run: given_back)")), "{retried}");
    assert!(matrix.told().len() > bob_may_not);
    until("the driver has left", || matrix.world.drivers().is_empty().then_some(()));
    matrix.poll();
    until("another run asks again", || {
        matrix.world.runs(false).iter().any(|run| run["stage"] == "escalated").then_some(())
    });
    ann.say(room, &format!("!rig retry {issue}"));
    matrix.until_told(&format!("issue #{issue}: attempt 3 begins"));
}

#[test]
fn what_stands_in_the_way_is_said_with_its_remedy() {
    let root = TestRoot::new();
    root.env_file("FORGE_TOKEN=abcdefgh\n", 0o600);
    root.project("widget", GOOD);
    root.rig(&["matrix", "check"])
        .assert()
        .code(1)
        .stderr(contains("has a room").and(contains("homeserver and room_id")));
    let matrix = "[matrix]\nhomeserver = \"http://127.0.0.1:9\"\nroom_id = \"!r:x\"\n";
    root.project("widget", &format!("{GOOD}{matrix}"));
    root.rig(&["matrix", "check"])
        .assert()
        .code(1)
        .stderr(contains("nobody is logged in").and(contains("rig matrix login")));
    root.rig(&["matrix", "login"]).assert().code(1).stderr(contains("no account is named").and(contains("bot_user")));
    root.rig(&["matrix", "login", "--user", "@rig:x"]).assert().code(1).stderr(contains("no password was given"));
    root.rig(&["matrix", "login", "--user", "@rig:x"])
        .write_stdin("pw\n")
        .assert()
        .code(3)
        .stderr(contains("cannot be reached"));
    root.rig(&["matrix", "run"]).assert().code(1).stderr(contains("nobody is logged in"));
    root.rig(&["matrix", "send", "x"]).assert().code(1).stderr(contains("nobody is logged in"));
    root.rig(&["matrix", "send", " "]).assert().code(2).stderr(contains("the message is empty"));
    let twice = format!("{GOOD}{matrix}bot_user = \"rig\"\n");
    root.project("widget", &twice);
    root.rig(&["matrix", "check"])
        .assert()
        .code(1)
        .stderr(contains("must be a Matrix account").and(contains("@ann:example.org")));
}

#[test]
fn a_wrong_password_and_a_lost_device_are_told_with_their_remedies() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let world = &matrix.world;
    world.rig(&["matrix", "login"]).code(1).stderr(contains("no password").or(contains("logged in already")));
    let mut wrong = world.root.rig(&["matrix", "login", "--new-device"]);
    wrong.write_stdin("wrong\n").assert().code(1).stderr(contains("does not take this account"));
    world.rig(&["matrix", "send", "hello"]).success();
    matrix.kill_bridge();
    // The keys go, the token stays.
    let folder = world.root.root().matrix_account(&matrix.synapse.url(), &matrix.bot.id);
    let mode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("session.json"))), (0o700, 0o600));
    let files = std::fs::read_dir(folder.join("store")).unwrap().flatten();
    assert!(files.map(|file| mode(&file.path())).all(|mode| mode == 0o600));
    std::fs::remove_dir_all(folder.join("store")).unwrap();
    world.rig(&["matrix", "run"]).code(1).stderr(contains("are lost").and(contains("rig matrix login --new-device")));
    let mut again = world.root.rig(&["matrix", "login", "--new-device"]);
    again.write_stdin(format!("{}\n", matrix.bot.password)).assert().success();
    world.rig(&["matrix", "send", "hello again"]).success();
    // The device is logged out by a person.
    matrix.kill_bridge();
    let session: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("session.json")).unwrap()).unwrap();
    let token = session["access_token"].as_str().unwrap().to_owned();
    crate::synapse_support::Person { token, ..matrix.synapse.person("other") }.call(
        "POST",
        "logout",
        &serde_json::json!({}),
    );
    world.rig(&["matrix", "check"]).code(1).stderr(contains("does not know the token").and(contains("--new-device")));
    world.rig(&["matrix", "run"]).code(1).stderr(contains("does not know the token"));
}

#[test]
fn a_bridge_makes_way_when_the_settings_change_and_the_next_one_goes_by_them() {
    let Some(matrix) = MatrixWorld::new(false, "") else { return };
    let issue = matrix.world.issue("Ask and wait", "Please.", &["backlog"]);
    matrix.poll();
    matrix.until_told("which port?");
    let before = matrix.bridge().unwrap();
    let settings =
        matrix.settings("").replace("allowed_users = [", &format!("allowed_users = [\"{}\", ", matrix.bob.id));
    matrix.world.project("widget", "acme/widget", &settings);
    // The run still needs a bridge.
    until("another bridge runs", || matrix.bridge().filter(|id| *id != before));
    let answer = matrix.bob.reply(&matrix.room, &matrix.thread(issue), "use port 8080");
    matrix.until_confirmed(&answer);
    matrix.until_merged(issue);
    assert!(!matrix.told().iter().any(|event| body(event).contains("does not take messages")));
}
