//! The session port on a real tmux server, with the stand-in as the agent.

use crate::terminal::{AGENT_SESSION, RUN, Terminals, name, process_lives, rig, run};
use rig::{
    adapters::session::ClaudeAgent,
    domain::ids::{Attempt, RunId},
    ports::session::{HookKind, Liveness, PromptLine, SessionError, Sessions},
};
use serde_json::json;
use std::fs;

#[tokio::test]
async fn a_session_runs_a_turn_and_its_hooks_tell_of_it() {
    let terminals = Terminals::new();
    let phase = "echo PHASE:awaiting_ci > \"$PHASE_FILE\"";
    let plan = terminals.plan(1, json!([{"turn": 1, "actions": [{"run": phase}, {"say": "pushed"}]}]));
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
    let kinds: Vec<HookKind> = terminals.hooks().into_iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            HookKind::SessionStarted { source: "startup".into() },
            HookKind::PromptTaken { prompt: "Fix the widget".into() },
            HookKind::TurnEnded { last_message: "pushed".into(), background_tasks: 0 },
        ]
    );
    assert_eq!(fs::read_to_string(plan.attempt_dir.join("phase")).unwrap(), "PHASE:awaiting_ci\n");
    assert_eq!(terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap(), Liveness::Alive);
}

#[tokio::test]
async fn starting_twice_starts_one_agent() {
    let terminals = Terminals::new();
    let plan = terminals.plan(1, json!([{"turn": 1, "actions": ["stop"]}]));
    terminals.sessions.start(&plan).await.unwrap();
    let process = terminals.agent_process();
    terminals.sessions.start(&plan).await.unwrap();
    assert_eq!(terminals.agent_process(), process);
    terminals.until_idle(1).await;
    terminals.sessions.end(&name()).await.unwrap();
    // The acknowledgement of the first start may have been lost: a repeat after the end starts nothing.
    terminals.sessions.start(&plan).await.unwrap();
    assert_eq!(terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap(), Liveness::Gone);
    assert_eq!(terminals.prompts().len(), 1);
}

#[tokio::test]
async fn a_later_attempt_replaces_the_session_of_an_earlier_one() {
    let terminals = Terminals::new();
    let hang = json!([{"turn": 1, "actions": ["hang"]}]);
    terminals.sessions.start(&terminals.plan(1, hang.clone())).await.unwrap();
    let first = terminals.agent_process();
    fs::create_dir_all(terminals.attempt_dir(2)).unwrap();
    fs::write(terminals.attempt_dir(2).join("phase"), "PHASE:done\n").unwrap();
    let mut second = terminals.plan(2, hang);
    second.agent_session = AGENT_SESSION.replace('1', "2");
    terminals.sessions.start(&second).await.unwrap();
    assert!(!process_lives(first) && process_lives(terminals.agent_process()));
    let liveness =
        async |run: &RunId, attempt| terminals.sessions.liveness(&name(), run, Attempt(attempt)).await.unwrap();
    assert_eq!(liveness(&run(), 1).await, Liveness::Other);
    assert_eq!(liveness(&run(), 2).await, Liveness::Alive);
    let other_run = RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAW").unwrap();
    assert_eq!(liveness(&other_run, 2).await, Liveness::Other);
    assert!(!terminals.attempt_dir(2).join("phase").exists(), "a phase from before the start is nobody's");
    assert_eq!(terminals.tmux(&["list-sessions", "-F", "#{session_name}"]), "dev-widget-7");
}

#[tokio::test]
async fn no_server_means_gone_and_a_broken_one_means_unknown() {
    let terminals = Terminals::new();
    assert_eq!(terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap(), Liveness::Gone);
    terminals.sessions.end(&name()).await.unwrap();
    // Something answers on the socket that is no tmux server.
    let folder = terminals.path().join(format!("tmux/tmux-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(folder.join("rig-test")).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let error = terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap_err();
    assert!(matches!(error, SessionError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn a_typed_line_is_submitted_once_and_exactly() {
    let terminals = Terminals::new();
    let plan = terminals
        .plan(1, json!([{"turn": 1, "actions": ["stop"]}, {"regex": "", "repeat": true, "actions": ["stop"]}]));
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
    let lines =
        ["Read /a b/inbox/01X-1-0.md and carry it out", "a trailing ;", "-l $(touch x) `x` \\n 'q' ❯ ü #{pid} ~"];
    for (count, line) in lines.iter().enumerate() {
        terminals.sessions.type_line(&name(), line).await.unwrap();
        terminals.until_idle(count + 2).await;
    }
    assert_eq!(terminals.prompts()[1..], lines);
    for bad in ["a\nb", "a\u{1b}[201~\rrm -rf x", "tab\there", "\u{9b}201~", "", "  "] {
        let error = terminals.sessions.type_line(&name(), bad).await.unwrap_err();
        assert!(error.to_string().contains("can be typed"), "{bad:?}: {error}");
    }
    assert_eq!(terminals.prompts().len(), 1 + lines.len());
}

#[tokio::test]
async fn a_line_reaches_the_agent_while_a_person_scrolls_and_never_their_pane() {
    let terminals = Terminals::new();
    let rules = json!([{"turn": 1, "actions": ["stop"]}, {"turn": 2, "actions": ["stop"]}]);
    terminals.sessions.start(&terminals.plan(1, rules)).await.unwrap();
    terminals.until_idle(1).await;
    let pane = terminals.tmux(&["list-panes", "-t", "=dev-widget-7:", "-F", "#{pane_id}"]);
    terminals.tmux(&["copy-mode", "-t", &pane]);
    terminals.tmux(&["split-window", "-t", "=dev-widget-7:", "cat > /dev/null"]);
    terminals.sessions.type_line(&name(), "go on").await.unwrap();
    terminals.until_idle(2).await;
    assert_eq!(terminals.prompts(), ["Fix the widget", "go on"]);
}

#[tokio::test]
async fn a_half_typed_line_and_a_busy_agent_are_seen() {
    let terminals = Terminals::new();
    let rules = json!([{"turn": 1, "actions": ["stop"]}, {"turn": 2, "actions": ["hang"]}]);
    terminals.sessions.start(&terminals.plan(1, rules)).await.unwrap();
    terminals.until_idle(1).await;
    let sees = async |expected: PromptLine| {
        terminals
            .until(&format!("the line is {expected:?}"), async || {
                terminals.sessions.prompt_line(&terminals.screen().await) == expected
            })
            .await;
    };
    terminals.tmux(&["send-keys", "-t", "=dev-widget-7:", "-l", "half a tho"]);
    sees(PromptLine::HalfTyped).await;
    terminals.tmux(&["send-keys", "-t", "=dev-widget-7:", "C-u"]);
    sees(PromptLine::Empty).await;
    terminals.sessions.type_line(&name(), "hang, please").await.unwrap();
    sees(PromptLine::Absent).await;
    // What is pasted while it is busy joins the turn: its prompt is told of at once, and no turn ends.
    terminals.sessions.type_line(&name(), "and this").await.unwrap();
    terminals.until("the prompt is taken", async || terminals.prompts().len() == 3).await;
    assert_eq!(terminals.turns_ended(), 1);
}

#[tokio::test]
async fn a_prompt_too_long_for_an_argument_is_read_from_its_file() {
    let terminals = Terminals::new();
    let mut plan = terminals
        .plan(1, json!([{"contains": "the very end", "actions": [{"run": "cp \"$STAND_IN_PROMPT_FILE\" got"}]}]));
    plan.prompt = format!("Fix it\n{}\nthe very end", "ü'\"$(x)`\\ ".repeat(12_000));
    assert!(plan.prompt.len() > 100 * 1024);
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
    assert!(fs::read_to_string(terminals.worktree().join("got")).unwrap() == plan.prompt);
    assert_eq!(terminals.prompts(), [format!("Read {}/prompt.md and carry it out", plan.attempt_dir.display())]);
}

#[tokio::test]
async fn a_prompt_that_looks_like_a_command_stays_a_prompt() {
    for prompt in ["!touch owned", "/exit", "--version"] {
        let terminals = Terminals::new();
        let mut plan = terminals.plan(1, json!([{"turn": 1, "actions": ["stop"]}]));
        plan.prompt = prompt.into();
        terminals.sessions.start(&plan).await.unwrap();
        terminals.until_idle(1).await;
        assert!(terminals.prompts()[0].ends_with(prompt), "{:?}", terminals.prompts());
        assert!(!terminals.worktree().join("owned").exists());
    }
}

#[tokio::test]
async fn a_crash_is_seen_as_gone_and_the_session_can_be_resumed() {
    let terminals = Terminals::new();
    let rules = json!([
        {"turn": 1, "actions": ["kill"]},
        {"turn": 2, "actions": [{"say": "I go on"}]},
    ]);
    terminals.sessions.start(&terminals.plan(1, rules.clone())).await.unwrap();
    terminals
        .until("the crash is seen", async || {
            terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap() == Liveness::Gone
        })
        .await;
    let mut second = terminals.plan(2, rules);
    second.resume = true;
    second.prompt = "Go on".into();
    terminals.sessions.start(&second).await.unwrap();
    terminals.until_idle(1).await;
    let events = terminals.hooks();
    let last = events.last().unwrap();
    assert_eq!(
        (last.attempt, &last.kind),
        (Attempt(2), &HookKind::TurnEnded { last_message: "I go on".into(), background_tasks: 0 })
    );
    assert!(events.iter().any(|event| event.kind == HookKind::SessionStarted { source: "resume".into() }));
}

#[tokio::test]
async fn an_agent_that_dies_before_its_children_is_gone() {
    let terminals = Terminals::new();
    // The grandchild leaves the process group and keeps the terminal open.
    let run_away =
        "setsid sh -c 'echo $$ > child; exec sleep 600' < /dev/tty > /dev/tty 2>&1 & while ! [ -s child ]; do :; done";
    let plan = terminals.plan(1, json!([{"turn": 1, "actions": [{"run": run_away}, "kill"]}]));
    terminals.sessions.start(&plan).await.unwrap();
    terminals
        .until("the agent is gone", async || {
            terminals.sessions.liveness(&name(), &run(), Attempt(1)).await.unwrap() == Liveness::Gone
        })
        .await;
    let child: u32 = fs::read_to_string(terminals.worktree().join("child")).unwrap().trim().parse().unwrap();
    assert!(process_lives(child));
    terminals.sessions.end(&name()).await.unwrap();
    assert!(!process_lives(child), "what an agent leaves behind ends with its session");
}

#[tokio::test]
async fn ending_a_session_ends_grandchildren_and_tells_the_hooks() {
    let terminals = Terminals::new();
    let command =
        "setsid sh -c 'trap \"\" HUP TERM; echo $$ > child; sleep 600; sleep 600' & sleep 600 & echo $! > busy; wait";
    let plan = terminals.plan(1, json!([{"turn": 1, "actions": [{"run": command}]}]));
    terminals.sessions.start(&plan).await.unwrap();
    let read =
        |file: &str| fs::read_to_string(terminals.worktree().join(file)).unwrap_or_default().trim().parse::<u32>();
    terminals.until("the children run", async || read("child").is_ok() && read("busy").is_ok()).await;
    let processes = [read("child").unwrap(), read("busy").unwrap(), terminals.agent_process()];
    assert!(processes.into_iter().all(process_lives));
    terminals.sessions.end(&name()).await.unwrap();
    assert!(!processes.into_iter().any(process_lives));
    assert_eq!(terminals.hooks().last().unwrap().kind, HookKind::SessionEnded { reason: "other".into() });
    terminals.sessions.end(&name()).await.unwrap();
}

#[tokio::test]
async fn a_used_session_id_and_an_unknown_one_to_resume_end_the_agent() {
    let terminals = Terminals::new();
    let rules = json!([{"turn": 1, "actions": [{"say": "hello"}]}]);
    let gone = async |attempt| {
        terminals
            .until("the agent is gone", async || {
                terminals.sessions.liveness(&name(), &run(), Attempt(attempt)).await.unwrap() == Liveness::Gone
            })
            .await;
    };
    let mut unknown = terminals.plan(1, rules.clone());
    unknown.resume = true;
    terminals.sessions.start(&unknown).await.unwrap();
    gone(1).await;
    terminals.sessions.start(&terminals.plan(2, rules.clone())).await.unwrap();
    terminals.until_idle(1).await;
    terminals.sessions.end(&name()).await.unwrap();
    terminals.sessions.start(&terminals.plan(3, rules)).await.unwrap();
    gone(3).await;
    assert_eq!(terminals.prompts().len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_not_installed_is_reported_by_the_start() {
    let agent = ClaudeAgent { command: "no-such-agent-of-rig".into(), ..ClaudeAgent::default() };
    let terminals = Terminals::with_agent(agent);
    let plan = terminals.plan(1, json!([]));
    let error = terminals.sessions.start(&plan).await.unwrap_err();
    assert!(error.to_string().contains("`no-such-agent-of-rig` is not installed"), "{error}");
    assert!(fs::read_to_string(plan.attempt_dir.join("exec-error")).unwrap().contains("no-such-agent-of-rig"));
}

#[tokio::test]
async fn the_agent_is_given_only_what_it_is_allowed() {
    // The starter must have a secret in its environment, and a test cannot change its own: it runs itself again.
    if std::env::var_os("FORGE_TOKEN").is_none() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again
            .args(["--exact", "session::the_agent_is_given_only_what_it_is_allowed"])
            .env("FORGE_TOKEN", "forge-secret");
        let output = again.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
    let terminals = Terminals::new();
    let mut plan = terminals.plan(1, json!([{"turn": 1, "actions": [{"run": "env -0 > environment"}]}]));
    plan.env.push(("WIDGET_MODE".into(), "test".into()));
    plan.env.push(("RIG_ATTEMPT".into(), "99".into()));
    terminals.sessions.start(&plan).await.unwrap();
    terminals.until_idle(1).await;
    let environment = fs::read_to_string(terminals.worktree().join("environment")).unwrap();
    let value = |name: &str| environment.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    assert_eq!((value("WIDGET_MODE"), value("RIG_ATTEMPT"), value("RIG_RUN")), (Some("test"), Some("1"), Some(RUN)));
    assert_eq!(value("PHASE_FILE"), Some(plan.attempt_dir.join("phase").to_str().unwrap()));
    for name in ["TMUX", "TMUX_PANE", "FORGE_TOKEN"] {
        assert_eq!(value(name), None, "{name}");
    }
    let server = terminals.tmux(&["show-environment", "-g"]);
    assert!(server.contains("PATH="), "{server}");
    for secret in ["push-token-of-the-test", "forge-secret"] {
        assert!(!environment.contains(secret) && !server.contains(secret), "{secret}");
    }
    for file in ["env", "prompt.md", "settings.json", "push-token"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(plan.attempt_dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn git_in_the_session_gets_the_password_of_its_own_remote_only() {
    let terminals = Terminals::new();
    fs::write(terminals.path().join("home/.gitconfig"), "[credential]\n\thelper = \"!echo password=of-the-user\"\n")
        .unwrap();
    // As a script: what asks for passwords by itself the guard refuses, and what scripts do it does not see.
    fs::write(terminals.worktree().join("fill"), "printf 'url=%s\\n\\n' \"$1\" | git credential fill > \"$2\" 2>&1\n")
        .unwrap();
    let fill = |url: &str, file: &str| json!({"run": {"command": format!("sh fill {url} {file}"), "may_fail": true}});
    let actions = json!([{"turn": 1, "actions": [
        fill("http://127.0.0.1:1/acme/widget.git", "own"),
        fill("http://127.0.0.1:1/acme/other.git", "other"),
        fill("http://example.org/acme/widget.git", "elsewhere"),
    ]}]);
    terminals.sessions.start(&terminals.plan(1, actions)).await.unwrap();
    terminals.until_idle(1).await;
    let read = |file: &str| fs::read_to_string(terminals.worktree().join(file)).unwrap();
    assert!(read("own").contains("password=push-token-of-the-test"), "{}", read("own"));
    for file in ["other", "elsewhere"] {
        assert!(!read(file).contains("password="), "{file}: {}", read(file));
    }
}

#[tokio::test]
async fn what_an_attempt_is_given_is_the_owners_alone_and_its_secrets_end_with_the_session() {
    use std::os::unix::fs::PermissionsExt;
    let terminals = Terminals::new();
    terminals.sessions.start(&terminals.plan(1, json!([]))).await.unwrap();
    terminals.until_idle(1).await;
    let mode = |file: &str| {
        let path = terminals.attempt_dir(1).join(file);
        fs::symlink_metadata(path).ok().map(|meta| meta.permissions().mode() & 0o777)
    };
    let files = ["prompt.md", "settings.json", "env", "push-token"];
    assert_eq!(files.map(mode), [Some(0o600); 4]);
    for _ in 0..2 {
        terminals.sessions.end(&name()).await.unwrap();
        assert_eq!(files.map(mode), [Some(0o600), Some(0o600), None, None]);
    }
}

#[tokio::test]
async fn a_stop_hook_that_refuses_keeps_the_turn_going() {
    let terminals = Terminals::new();
    let folder = terminals.path();
    let hook =
        format!("cat >> {0}/stops; [ -e {0}/once ] || {{ touch {0}/once; echo go on >&2; exit 2; }}", folder.display());
    let settings = json!({"skipDangerousModePermissionPrompt": true, "hooks": {"Stop": [{"hooks": [{"type": "command", "command": hook}]}]}});
    fs::write(folder.join("settings.json"), settings.to_string()).unwrap();
    let plan = terminals.plan(1, json!([{"contains": "start", "actions": ["stop"]}, {"contains": "go on", "actions": [{"run": "touch went-on"}]}]));
    let script = &plan.env[1].1;
    let command = format!(
        "HOME={0}/home CLAUDE_CODE_SANDBOXED=1 IS_SANDBOX=1 RIG_STAND_IN_SCRIPT={script} {1} stand-in \
         --dangerously-skip-permissions --settings {0}/settings.json -- start",
        folder.display(),
        rig()
    );
    terminals.tmux(&["new-session", "-d", "-c", terminals.worktree().to_str().unwrap(), &command]);
    terminals.until("it went on", async || terminals.worktree().join("went-on").exists()).await;
    let stops = || fs::read_to_string(folder.join("stops")).unwrap_or_default();
    terminals.until("the second stop", async || stops().contains("\"stop_hook_active\":true")).await;
    assert!(stops().contains("\"stop_hook_active\":false"));
}
