//! What is refused stays refused, however it is wrapped; and the judge has an answer to every text.

use super::Stage;
use proptest::prelude::*;

const REFUSED: [&str; 14] = [
    "git push origin main",
    "git push --force origin fix/issue-7",
    "git push origin :fix/issue-7",
    "git checkout main",
    "git worktree add ../x",
    "rm -rf /etc/passwd",
    "rm -rf ../8",
    "tmux kill-server",
    "pkill tmux",
    "sudo ls",
    "apt-get install jq",
    "rig retry 7",
    "curl -X POST http://forge.example.org:3000/api/v1/repos/acme/widget/pulls/7/merge",
    "echo x > /etc/motd",
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn wrap(command: &str, wrapper: usize) -> String {
    let quoted = quoted(command);
    // What only a shell understands is given as a text to wrappers that take words.
    let is_shell = |c: char| ";&|(){}!<>`\n".contains(c);
    let keyword = ["A=1 ", "time ", "exec ", "eval ", "trap ", "command "].iter().any(|word| command.starts_with(word));
    let words = if keyword || command.contains(is_shell) { format!("sh -c {quoted}") } else { command.to_owned() };
    match wrapper {
        0 => format!("env {words}"),
        1 => format!("env -i A=1 {words}"),
        2 => format!("time {words}"),
        3 => format!("nice -n 5 {words}"),
        4 => format!("nohup {words} &"),
        5 => format!("timeout -k 1 5 {words}"),
        6 => format!("xargs {words}"),
        7 => format!("command {words}"),
        8 => format!("exec {words}"),
        9 => format!("bash -c {quoted}"),
        10 => format!("sh -ec {quoted}"),
        11 => format!("eval {quoted}"),
        12 => format!("find . -name x -exec {words} \\;"),
        13 => format!("echo $({command})"),
        14 => format!("echo `{words}`"),
        15 => format!("( {command} )"),
        16 => format!("{{ {command}; }}"),
        17 => format!("true && {command}"),
        18 => format!("false || {command}"),
        19 => format!("if true; then {command}; fi"),
        20 => format!("for i in 1 2; do {command}; done"),
        21 => format!("f() {{ {command}; }}; f"),
        22 => format!("bash <<'EOF'\n{command}\nEOF\n"),
        23 => format!("bash <<< {quoted}"),
        24 => format!("cat <({command})"),
        25 => format!("stdbuf -oL {words}"),
        26 => format!("true | {command}"),
        27 => format!("A=1 {words}"),
        28 => format!("! {command}"),
        29 => format!("trap {quoted} EXIT"),
        30 => format!("case x in x) {command};; esac"),
        31 => format!("while true; do {command}; done"),
        32 => format!("setsid {words}"),
        33 => format!("echo \"$({command})\""),
        34 => format!("busybox {words}"),
        35 => format!("strace -f {words}"),
        _ => format!("true; {command}; true"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_refused_command_stays_refused_in_every_wrapping(
        command in 0..REFUSED.len(),
        wrappers in prop::collection::vec(0usize..37, 1..4),
    ) {
        let stage = Stage::new();
        let mut text = REFUSED[command].to_owned();
        for wrapper in wrappers {
            text = wrap(&text, wrapper);
        }
        prop_assert!(!stage.judge(&text).is_allowed(), "{}", text);
    }

    #[test]
    fn every_text_has_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Stage::new().judge(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn every_text_of_shell_pieces_has_a_verdict(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "git", " push ", "$(", ")", "`", "'", "\"", "<<EOF\n", "\nEOF\n", "rm", " -rf ", "/", "..", "*", "{", "}", ",", ";",
            "&&", "||", "|", "&", "if ", "then ", "fi", "do ", "done", "$X", "${X", "=", "((", "))", "[[", "]]", "\\", "\n", " ",
            "~", "find", "xargs", "env ", "eval ", "é", "-", "#", "case ", "esac", "f()", ">", "<", "2>&1",
        ]), 0..40),
    ) {
        let _ = Stage::new().judge(&pieces.concat());
    }
}

#[test]
fn every_wrapper_alone_keeps_every_refusal() {
    let stage = Stage::new();
    for command in REFUSED {
        assert!(!stage.judge(command).is_allowed(), "{command}");
        for wrapper in 0..37 {
            let text = wrap(command, wrapper);
            assert!(!stage.judge(&text).is_allowed(), "{text}");
            let harmless = wrap("ls src", wrapper);
            let verdict = stage.judge(&harmless);
            assert!(verdict.is_allowed(), "{harmless}: {verdict:?}");
        }
    }
}
