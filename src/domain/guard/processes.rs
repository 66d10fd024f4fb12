//! Programs that end other programs, and tmux, in which the agent itself runs.

use super::{rules::Refusal, value::Value, walk::Call};

const BY_NAME: [&str; 6] = ["pkill", "killall", "killall5", "skill", "slay", "xkill"];

pub(super) fn judge(call: &Call<'_>) -> Result<(), Refusal> {
    match call.name {
        name if BY_NAME.contains(&name) => {
            let only_asks =
                call.args.iter().all(|arg| matches!(arg.text.as_str(), "--help" | "--version" | "-l" | "-V"));
            if only_asks && !call.args.is_empty() {
                return Ok(());
            }
            Err(Refusal::new(
                format!("`{name}` ends programs by their name, other people's and rig's own among them"),
                "End what you started yourself with `kill %1`, `kill $!` or its process id.",
            ))
        }
        "fuser" if call.args.iter().any(|arg| arg.is_option() && (arg.text.contains('k') || !arg.known)) => {
            Err(Refusal::new(
                "`fuser -k` ends whatever uses a file or port",
                "End what you started yourself with `kill %1`, `kill $!` or its process id.",
            ))
        }
        "kill" => call.args.iter().enumerate().try_for_each(|(at, arg)| kill(call, at, arg)),
        "tmux" => tmux(call),
        "screen" if call.args.iter().any(|arg| arg.text == "-X") => {
            Err(Refusal::new("`screen -X` steers sessions of others", "Run the program in the background with `&`."))
        }
        _ => Ok(()),
    }
}

fn kill(call: &Call<'_>, at: usize, arg: &Value) -> Result<(), Refusal> {
    let refused = |why: String| {
        Refusal::new(
            why,
            "End what you started yourself: `kill %1`, `kill $!`, or the id of a process of this session.",
        )
    };
    let Some(text) = arg.plain() else {
        return Err(refused(format!("which process `kill {}` ends is not known before it runs", arg.shown())));
    };
    let before = at.checked_sub(1).and_then(|before| call.args.get(before)).map(|arg| arg.text.as_str());
    let is_signal =
        text.starts_with('-') && at == 0 && text != "-1" || matches!(before, Some("-s" | "-n" | "-l" | "-L"));
    if is_signal || text == "--" || text == "$!" || text.starts_with('%') || text == "0" {
        return Ok(());
    }
    // `-1` as the first word is the signal when more follow, and everything when it is alone.
    if text == "-1" && at == 0 && call.args.len() > 1 {
        return Ok(());
    }
    match text.parse::<u32>() {
        Ok(id) if call.around.is_own_process(id) => Ok(()),
        _ => Err(refused(format!("`kill {text}` would end a process that this session did not start"))),
    }
}

fn tmux(call: &Call<'_>) -> Result<(), Refusal> {
    let refused = |why: &str| {
        Refusal::new(why, "Run programs in the background with `&`, or use `tmux -L` with a name of your own.")
    };
    if call.args.iter().all(|arg| matches!(arg.text.as_str(), "-V" | "-h")) && !call.args.is_empty() {
        return Ok(());
    }
    let options = tmux_options(call.args);
    if options.iter().any(|(letter, _)| *letter == 'S') {
        return Err(refused("`tmux -S` names a server by its socket, and that is more than can be judged"));
    }
    let mut names = options.iter().filter(|(letter, _)| *letter == 'L').map(|(_, name)| name).peekable();
    if names.peek().is_none() {
        return Err(refused("without `-L` and a name, tmux talks to the server that the agent itself runs in"));
    }
    // tmux takes the last one; none of them has a use but for a server of the agent's own.
    let is_own = |name: &Option<Value>| {
        let name = name.as_ref().and_then(Value::plain);
        name.is_some_and(|name| {
            let is_rigs = name == call.confines.tmux_socket || name.starts_with("rig") || name == "default";
            !(is_rigs || name.is_empty() || name.contains('/'))
        })
    };
    match names.all(is_own) {
        true => Ok(()),
        false => Err(refused("this tmux server is not yours; rig's own sessions may run in it")),
    }
}

/// Letters of tmux's own options, those before its command, that take a value.
const TMUX_VALUES: &str = "cfLST";

/// Returns tmux's own options, each with its value if it takes one: letters may stand together, and a value in the same word.
fn tmux_options(args: &[Value]) -> Vec<(char, Option<Value>)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(arg) = args.get(at).filter(|arg| arg.is_option() && arg.text != "--") {
        at += 1;
        for (index, letter) in arg.text.char_indices().skip(1) {
            if !TMUX_VALUES.contains(letter) {
                found.push((letter, None));
                continue;
            }
            let inline = &arg.text[index + letter.len_utf8()..];
            let value = match inline.is_empty() && arg.known {
                true => args.get(at).cloned(),
                false => Some(Value { text: inline.to_owned(), ..arg.clone() }),
            };
            at += usize::from(inline.is_empty() && arg.known);
            found.push((letter, value));
            break;
        }
    }
    found
}
