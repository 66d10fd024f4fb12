//! Configuration, tokens, forges and programs that are not as they should be: each is told with its remedy, and nothing is
//! claimed.

use super::{refused, refused_with_path, untouched};
use crate::{by_hand_support::World, ports::ClosedPort};
use predicates::str::contains;
use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

const BOTH: [&[&str]; 2] = [&["dev", "poll"], &["dev", "agent", "1"]];

/// A world with one issue in the backlog.
fn world() -> World {
    let world = World::new();
    assert_eq!(world.issue("A thing", "", &["backlog"]), 1);
    world
}

fn both_refused(world: &World, code: i32, words: &[&str]) {
    for args in BOTH {
        refused(world, args, code, words);
    }
    untouched(world, 1);
}

#[test]
fn a_broken_project_file_is_told_with_line_column_and_the_nearest_key() {
    let world = world();
    world.project("widget", "acme/widget", "\n[agnet]\nmodel = 'x'\n");
    both_refused(&world, 1, &["projects/widget.toml:19:2: unknown table `agnet`", "did you mean the table [agent]?"]);
    world.root.project("widget", "repo = 'acme/widget\n");
    both_refused(&world, 1, &["projects/widget.toml:1:", "is no TOML"]);
}

#[test]
fn tokens_that_are_missing_wrong_or_of_another_account_are_told() {
    let world = world();
    world.root.env_file("REVIEW_TOKEN=x\n", 0o600);
    both_refused(&world, 1, &["BOT_TOKEN", "state/env"]);
    world.env(&[("BOT_TOKEN", "0123456789012345678901234567890123456789")]);
    both_refused(&world, 1, &["does not accept the token", "put a valid token into the variable"]);
    world.env(&[("BOT_TOKEN", &world.tokens["acme"])]);
    both_refused(&world, 1, &["belongs to `acme`, not to the configured bot `dev-bot`"]);
    world.env(&[("REVIEW_TOKEN", &world.tokens["dev-bot"])]);
    both_refused(&world, 1, &["the reviewer must be another account than the bot"]);
}

#[test]
fn a_forge_that_refuses_connections_or_answers_html_is_an_outside_failure() {
    let world = world();
    let text = world.project_text("acme/widget", "");
    let closed = ClosedPort::new();
    world.root.project("widget", &text.replace(&world.url, &format!("http://{}", closed.address())));
    both_refused(&world, 3, &["check forge_url and whether the forge is up"]);

    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = page.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in page.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = "<html><body>Welcome</body></html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    world.root.project("widget", &text.replace(&world.url, &format!("http://{address}")));
    both_refused(&world, 3, &["check forge_url"]);
}

#[test]
fn a_forge_that_never_answers_ends_a_poll_in_time_as_an_outside_failure() {
    let world = world();
    // Connections are taken up by the system, and nobody ever reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let text = world.project_text("acme/widget", "");
    world.root.project("widget", &text.replace(&world.url, &format!("http://{address}")));
    let mut command = world.root.rig(&["dev", "poll"]);
    let assert = command.timeout(Duration::from_secs(120)).assert().code(3);
    assert.stderr(contains("check forge_url and whether the forge is up"));
    untouched(&world, 1);
}

#[test]
fn a_repository_that_does_not_exist_is_told() {
    let world = world();
    world.project("widget", "acme/nothing", "");
    both_refused(&world, 1, &["acme/nothing", "check forge_url and repo in the project's file"]);
}

#[test]
fn a_repository_without_a_commit_is_told() {
    let world = world();
    world.api("acme", "POST", "/user/repos", serde_json::json!({ "name": "bare" }));
    let user = serde_json::json!({ "permission": "write" });
    world.ask("acme", "PUT", "/repos/acme/bare/collaborators/dev-bot", user);
    world.project("widget", "acme/bare", "");
    both_refused(&world, 1, &["the repository acme/bare is empty", "push a first commit to its branch `main`"]);
}

#[test]
fn a_bot_that_may_not_push_is_told() {
    let world = world();
    let user = serde_json::json!({ "permission": "read" });
    world.api("acme", "PUT", "/repos/acme/widget/collaborators/dev-bot", user);
    both_refused(&world, 1, &["does not let the bot push", "write access"]);
}

#[test]
fn missing_programs_are_named_with_what_to_install() {
    let world = world();
    let folder = world.root.home().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.display().to_string();
    for program in ["setsid", "sh"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), folder.join(program)).unwrap();
    }
    let expect = |words: &[&str]| {
        for args in BOTH {
            refused_with_path(&world, &path, args, 1, words);
        }
    };
    expect(&["`git` is not installed", "apt-get install git"]);
    std::os::unix::fs::symlink("/usr/bin/git", folder.join("git")).unwrap();
    expect(&["`tmux` is not installed", "apt-get install tmux"]);
    std::os::unix::fs::symlink("/usr/bin/tmux", folder.join("tmux")).unwrap();
    let text = world.project_text("acme/widget", "");
    world.root.project("widget", &text.replace(&world.agent().display().to_string(), "no-such-agent"));
    expect(&["`no-such-agent` is not installed", "[agent] command of widget.toml"]);
    untouched(&world, 1);
}

#[test]
fn words_that_are_wrong_on_the_command_line_are_usage_errors_also_in_json() {
    let world = World::with_forge_only();
    let known = "awaiting_ci, awaiting_review, escalate, done, failed";
    refused(&world, &["phase", "set", "finished", "--issue", "3"], 2, &["`finished` is no phase", known]);
    for command in [&["dev", "agent", "x"][..], &["gate", "x"], &["approve", "x"]] {
        refused(&world, command, 2, &["`x` is not a whole number"]);
    }
    refused(&world, &["gate", "#7"], 1, &["there is no project in"]);
    refused(&world, &["status", "--bogus"], 2, &["unexpected argument '--bogus'"]);
    refused(&world, &["phase", "get"], 2, &["no issue is given"]);
    refused(&world, &["phase", "get", "77"], 1, &["issue #77 has no session"]);
    refused(&world, &["forge", "serve", "--repository", "widget"], 1, &["OWNER/NAME"]);
    refused(&world, &["forge", "serve", "--listen", "127.0.0.1:0"], 1, &["another forge is using", "stop it first"]);
    refused(&world, &["status", "--root", "/nowhere/at/all"], 1, &["/nowhere/at/all does not exist", "mkdir -p"]);
    refused(&world, &["dev", "agent", "1"], 1, &["there is no project in", "projects/example.toml"]);
}

#[test]
fn a_project_must_be_known_and_among_several_one_must_be_named() {
    let world = world();
    refused(&world, &["dev", "poll", "wigdet"], 1, &["there is no project `wigdet`", "did you mean `widget`?"]);
    refused(&world, &["dev", "agent", "1", "--project", "wigdet"], 1, &["did you mean `widget`?"]);
    world.project("gadget", "acme/gadget", "");
    refused(&world, &["dev", "agent", "1"], 1, &["several projects: gadget, widget", "say which with --project"]);
    untouched(&world, 1);
}
