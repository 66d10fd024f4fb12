//! Programs that start other programs: what they start is judged as if it stood there alone.

use super::{
    definitions::decides_git_settings,
    env::env,
    files::option_values,
    rules::Refusal,
    script::{source, start_shell},
    shell::{Input, Shell},
    starters::{is_starter, started_by},
    value::Value,
    walk::Judge,
};

type Judged = Result<(), Refusal>;

/// Shells that take a text with `-c`, a script, or what they read.
const SHELLS: [&str; 10] = ["sh", "bash", "zsh", "dash", "ksh", "mksh", "ash", "fish", "rbash", "yash"];

/// Words of the shell's grammar: as the name of a program they mean that the command was not read as the shell reads it.
const RESERVED: [&str; 18] = [
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in", "{", "}",
    "select", "function", "]]",
];

/// A wrapper whose options are known: those that take a value, and how many operands stand before the command.
struct Wrapper {
    name: &'static str,
    with_value: &'static [&'static str],
    operands: usize,
}

const fn wrapper(name: &'static str, with_value: &'static [&'static str], operands: usize) -> Wrapper {
    Wrapper { name, with_value, operands }
}

const WRAPPERS: [Wrapper; 16] = [
    wrapper(
        "sudo",
        &["-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-D", "-R", "--user", "--group", "--chdir"],
        0,
    ),
    wrapper("doas", &["-u", "-C"], 0),
    wrapper("time", &["-f", "-o", "--format", "--output"], 0),
    wrapper("gtime", &["-f", "-o", "--format", "--output"], 0),
    wrapper("nice", &["-n", "--adjustment"], 0),
    wrapper("ionice", &["-c", "-n", "--class", "--classdata"], 0),
    wrapper("nohup", &[], 0),
    wrapper("setsid", &[], 0),
    wrapper("stdbuf", &["-i", "-o", "-e", "--input", "--output", "--error"], 0),
    wrapper("timeout", &["-k", "-s", "--kill-after", "--signal"], 1),
    wrapper("gtimeout", &["-k", "-s", "--kill-after", "--signal"], 1),
    wrapper("builtin", &[], 0),
    wrapper("noglob", &[], 0),
    wrapper("nocorrect", &[], 0),
    wrapper("exec", &["-a"], 0),
    wrapper("coproc", &[], 0),
];

/// Wrappers whose options are not followed: every part of their words that could be a command is judged as one.
const LOOSE: [&str; 43] = [
    "busybox",
    "toybox",
    "strace",
    "ltrace",
    "unbuffer",
    "chronic",
    "fakeroot",
    "faketime",
    "taskset",
    "chrt",
    "numactl",
    "prlimit",
    "setarch",
    "systemd-run",
    "systemd-inhibit",
    "dbus-run-session",
    "xvfb-run",
    "rlwrap",
    "valgrind",
    "flock",
    "uv",
    "poetry",
    "pipenv",
    "conda",
    "npx",
    "bunx",
    "pnpx",
    "entr",
    "watchexec",
    "parallel",
    "caffeinate",
    "unshare",
    "nsenter",
    "chroot",
    "firejail",
    "bwrap",
    "proot",
    "runuser",
    "setpriv",
    "direnv",
    "dotenv",
    "rtk",
    "torsocks",
];

/// Options of tar whose values it runs.
const PACKERS_OF_TAR: [&str; 6] =
    ["-I", "--use-compress-program", "-F", "--info-script", "--new-volume-script", "--rsh-command"];

/// Judges what a program would start.
pub(super) fn judge(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &mut Shell) -> Judged {
    match name {
        "eval" => {
            let text = joined(args).ok_or_else(|| unknown_text("eval"))?;
            judge.evaluate(&text, shell)
        }
        "source" | "." => source(judge, args, shell),
        "alias" => args.iter().try_for_each(|definition| judge.define_alias(definition, shell)),
        "trap" => trap(judge, args, shell),
        "command" if args.iter().any(|arg| matches!(arg.text.as_str(), "-v" | "-V")) => Ok(()),
        "command" => run(judge, skip(args, &[], 0), shell),
        "env" => env(judge, args, shell),
        "xargs" => xargs(judge, args, shell),
        "find" | "fd" | "fdfind" => find(judge, name, args, shell),
        "watch" | "script" | "su" | "ssh" if args.is_empty() => Ok(()),
        "watch" => watch(judge, args, shell),
        "tmux" => tmux(judge, args, shell),
        "tar" | "bsdtar" | "gtar" => option_texts(judge, args, &PACKERS_OF_TAR, shell),
        "nix-shell" => option_texts(judge, args, &["--run", "--command"], shell),
        "script" | "su" | "sg" => option_text(judge, args, shell),
        "!" => run(judge, args, shell),
        _ if RESERVED.contains(&name) => {
            Err(Refusal::new(format!("`{name}` stands where a command is expected"), "Write it in simpler shell."))
        }
        _ if SHELLS.contains(&name) => start_shell(judge, name, args, shell),
        _ if LOOSE.contains(&name) => loose(judge, args, shell),
        _ if is_starter(name) => loose(judge, started_by(name, args), shell),
        _ => match WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
            Some(wrapper) => run(judge, skip(args, wrapper.with_value, wrapper.operands), shell),
            None => Ok(()),
        },
    }
}

pub(super) fn run(judge: &mut Judge<'_>, words: &[Value], shell: &mut Shell) -> Judged {
    let behind = without_assignments(judge, words, shell)?;
    let set = &words[..words.len() - behind.len()];
    let moves = |word: &Value| {
        let (name, _) = word.text.split_once('=').unwrap_or_default();
        decides_git_settings(name) && !judge.keeps_variable(name, word.after(&format!("{name}=")).as_ref())
    };
    if !set.iter().any(moves) {
        return judge.invoke(behind, shell).map(drop);
    }
    let mut inner = Shell { git_settings_moved: true, ..shell.clone() };
    judge.invoke(behind, &mut inner).map(drop)
}

/// Returns what is left behind options and operands.
fn skip<'a>(args: &'a [Value], with_value: &[&str], operands: usize) -> &'a [Value] {
    let (mut at, mut operands) = (0, operands);
    while let Some(arg) = args.get(at) {
        at += match arg.text.as_str() {
            "--" if operands == 0 => return &args[at + 1..],
            "--" => 1,
            option if with_value.contains(&option) => 2,
            _ if arg.is_option() => 1,
            _ if operands > 0 => {
                operands -= 1;
                1
            }
            _ => break,
        };
    }
    args.get(at..).unwrap_or_default()
}

/// Judges and drops `NAME=value` words, as `sudo` and `env` take them.
fn without_assignments<'a>(judge: &mut Judge<'_>, words: &'a [Value], shell: &Shell) -> Result<&'a [Value], Refusal> {
    let mut rest = words;
    while let Some((first, behind)) = rest.split_first() {
        let Some((name, _)) = first.text.split_once('=') else { break };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            break;
        }
        let value = first.after(&format!("{name}="));
        judge.assignment(name, value.as_ref(), shell)?;
        rest = behind;
    }
    Ok(rest)
}

fn xargs(judge: &mut Judge<'_>, args: &[Value], shell: &mut Shell) -> Judged {
    const WITH_VALUE: [&str; 14] = [
        "-I",
        "-n",
        "-P",
        "-L",
        "-d",
        "-a",
        "-E",
        "-s",
        "--replace",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--arg-file",
        "--max-lines",
    ];
    let words = skip(args, &WITH_VALUE, 0);
    let replaced = args.iter().zip(args.iter().skip(1)).find(|(option, _)| option.text == "-I");
    let mark = replaced.map_or("{}".to_owned(), |(_, mark)| mark.text.clone());
    // What comes in is not known: neither words of their own, nor what replaces the mark.
    let mut words: Vec<Value> = words
        .iter()
        .map(|word| match word.text.find(&mark) {
            Some(at) if !mark.is_empty() => Value::unknown(&word.text[..at]),
            _ => word.clone(),
        })
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    words.push(Value::unknown(""));
    let mut inner = shell.clone();
    inner.input = Input::Terminal;
    judge.invoke(&words, &mut inner).map(drop)
}

/// `find` starts a program with the paths that it finds: each lies below one of the folders where it starts.
fn find(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &mut Shell) -> Judged {
    let is_find = name == "find";
    let starts_command = |arg: &Value| match arg.text.as_str() {
        "-exec" | "-execdir" | "-ok" | "-okdir" => is_find,
        "-x" | "-X" | "--exec" | "--exec-batch" => !is_find,
        _ => false,
    };
    let starts: Vec<Value> = if is_find {
        let options = |arg: &&Value| matches!(arg.text.as_str(), "-H" | "-L" | "-P");
        let operands = args.iter().skip_while(options).take_while(|arg| !arg.text.starts_with(['-', '(', '!']));
        operands.cloned().collect()
    } else {
        Vec::new()
    };
    let starts = if starts.is_empty() { vec![Value::literal(".")] } else { starts };
    let mut at = 0;
    while let Some(offset) = args.get(at..).and_then(|rest| rest.iter().position(starts_command)) {
        let from = at + offset + 1;
        let rest = &args[from..];
        let end = rest.iter().position(|arg| matches!(arg.text.as_str(), ";" | "+")).unwrap_or(rest.len());
        for start in &starts {
            let found = |word: &Value| match word.text.find("{}") {
                Some(0) if word.text == "{}" && word.known => below(start),
                Some(at) => Value::unknown(&word.text[..at]),
                None => word.clone(),
            };
            let words: Vec<Value> = rest[..end].iter().map(found).collect();
            let mut inner = shell.clone();
            judge.invoke(&words, &mut inner)?;
        }
        at = from + end;
    }
    Ok(())
}

/// Returns something below a folder; a pattern, so that links in it are not followed.
fn below(start: &Value) -> Value {
    let text = format!("{}/found*", start.text.trim_end_matches('/'));
    Value { text, known: start.known, glob: true }
}

fn trap(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let mut operands = args.iter().filter(|arg| arg.text != "--");
    match operands.next() {
        Some(first) if first.is_option() || args.len() == 1 => Ok(()),
        Some(text) if text.known => judge.inner(&text.text, shell).map(drop),
        Some(_) => Err(unknown_text("trap")),
        None => Ok(()),
    }
}

fn watch(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let words = skip(args, &["-n", "--interval"], 0);
    let text = joined(words).ok_or_else(|| unknown_text("watch"))?;
    judge.inner(&text, shell).map(drop)
}

/// `su -c TEXT`, `script -c TEXT`.
fn option_text(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    for (option, text) in args.iter().zip(args.iter().skip(1)) {
        let short = option.text.starts_with('-') && !option.text.starts_with("--") && option.text.contains('c');
        if short || option.text == "--command" {
            let text = text.known.then_some(&text.text).ok_or_else(|| unknown_text("-c"))?;
            judge.inner(text, shell)?;
        }
    }
    let inline = args.iter().filter_map(|arg| arg.text.strip_prefix("--command="));
    inline.into_iter().try_for_each(|text| judge.inner(text, shell).map(drop))
}

fn loose(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    for at in 0..args.len() {
        // `init` is what many tools call the beginning of a project, and hardly ever what they start.
        let starts_project = args[at].plain() == Some("init");
        if args[at].is_option() || starts_project || !args[at].known && args[at].text.is_empty() {
            continue;
        }
        // A word that is no program's name is judged as one all the same, and found harmless.
        if args[at].plain().is_some() {
            judge.invoke(&args[at..], &mut shell.clone())?;
        }
        if let Some(text) = args[at].plain().filter(|text| text.contains(char::is_whitespace)) {
            judge.inner(text, shell)?;
        }
    }
    Ok(())
}

/// Judges the values of options that are run.
fn option_texts(judge: &mut Judge<'_>, args: &[Value], options: &[&str], shell: &Shell) -> Judged {
    for text in option_values(args, options) {
        let text = text.known.then_some(&text.text).ok_or_else(|| unknown_text(options[0]))?;
        judge.inner(text, shell)?;
    }
    Ok(())
}

/// tmux runs its words as a command, or types them into a shell. What is typed need not be shell at all.
fn tmux(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let typed = args.iter().any(|arg| matches!(arg.text.as_str(), "send-keys" | "send"));
    let readable = |judge: &Judge<'_>, arg: &Value| {
        !typed || !arg.text.contains(char::is_whitespace) || judge.around.parse(&arg.text).is_ok()
    };
    let words: Vec<Value> = args.iter().filter(|arg| readable(judge, arg)).cloned().collect();
    loose(judge, &words, shell)
}

pub(super) fn joined(words: &[Value]) -> Option<String> {
    let texts: Option<Vec<&str>> = words.iter().map(|word| word.known.then_some(word.text.as_str())).collect();
    texts.map(|texts| texts.join(" "))
}

pub(super) fn unknown_text(what: &str) -> Refusal {
    Refusal::new(
        format!("what `{what}` would run is not known before it runs"),
        "Run the commands directly, or write them into a script in the worktree and run that by its name.",
    )
}
