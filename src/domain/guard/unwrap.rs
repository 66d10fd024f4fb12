//! Programs that start other programs: what they start is judged as if it stood there alone.

use super::{
    definitions::decides_git_settings,
    env::env,
    files::start_folders,
    options::{Line, NOTHING, Takes, option_values},
    places::WRITE_OUT,
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

/// Of the wrappers, those that give a word with blanks to a shell: it is judged even if it cannot be read.
const RUN_TEXTS: [&str; 6] = ["flock", "parallel", "entr", "watchexec", "runuser", "tmux"];
/// Options by which those that start words take a text for a shell instead.
const TEXT_OPTIONS: [&str; 3] = ["-c", "--call", "--command"];
const HAVE_TEXT_OPTIONS: [&str; 8] = ["npm", "npx", "pnpm", "pnpx", "yarn", "mise", "rtx", "doppler"];

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
        _ if name.starts_with("python") || name.starts_with("pypy") => module(judge, args, shell),
        "script" | "su" | "sg" => option_text(judge, args, shell),
        "!" => run(judge, args, shell),
        _ if RESERVED.contains(&name) => {
            Err(Refusal::new(format!("`{name}` stands where a command is expected"), "Write it in simpler shell."))
        }
        _ if SHELLS.contains(&name) => start_shell(judge, name, args, shell),
        "parallel" => parallel(judge, args, shell),
        _ if LOOSE.contains(&name) => loose(judge, name, args, shell),
        _ if is_starter(name) => loose(judge, name, started_by(name, args), shell),
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
    const WITH_VALUE: [&str; 12] =
        ["-I", "-n", "-P", "-L", "-d", "-a", "-E", "-s", "--max-args", "--max-procs", "--delimiter", "--arg-file"];
    let words = skip(args, &WITH_VALUE, 0);
    let mark = mark_of_xargs(&args[..args.len() - words.len()]);
    // What comes in is not known: neither words of their own, nor what replaces the mark.
    let mut words: Vec<Value> = words
        .iter()
        .map(|word| match word.text.find(&mark) {
            Some(at) => Value::unknown(&word.text[..at]),
            _ => word.clone(),
        })
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    words.push(Value::unknown(""));
    let mut inner = shell.clone();
    inner.input = Input::Terminal;
    judge.invoke(&words, &mut inner).map(drop).map_err(with_find)
}

/// What xargs is given is nothing that could be written out.
fn with_find(refusal: Refusal) -> Refusal {
    match refusal.reason.strip_suffix(WRITE_OUT) {
        Some(why) => Refusal { reason: format!("{why}Let find run it: find src -name '*.x' -exec ... {{}} +") },
        None => refusal,
    }
}

/// Returns what `-I`, `-i` or `--replace` has xargs replace, given its own options.
fn mark_of_xargs(options: &[Value]) -> String {
    let given = options.iter().enumerate().find_map(|(at, option)| match option.text.as_str() {
        "-I" => options.get(at + 1).map(|mark| mark.text.as_str()),
        text => ["-I", "-i", "--replace="].iter().find_map(|start| text.strip_prefix(start)),
    });
    given.filter(|mark| !mark.is_empty()).unwrap_or("{}").to_owned()
}

/// `find` starts a program with the paths that it finds: each lies below one of the folders where it starts.
fn find(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &mut Shell) -> Judged {
    let is_find = name == "find";
    let starts_command = |arg: &Value| match arg.text.as_str() {
        "-exec" | "-execdir" | "-ok" | "-okdir" => is_find,
        "-x" | "-X" | "--exec" | "--exec-batch" => !is_find,
        _ => false,
    };
    let starts = if is_find { start_folders(args) } else { folders_of_fd(args) };
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
            let mut words: Vec<Value> = rest[..end].iter().map(found).collect();
            // fd adds what it finds where nothing says where it goes.
            if !is_find && !rest[..end].iter().any(|word| word.text.contains('{')) {
                words.push(below(start));
            }
            let mut inner = shell.clone();
            judge.invoke(&words, &mut inner)?;
        }
        at = from + end;
    }
    Ok(())
}

const FD: Takes = Takes {
    letters: "dteESocj",
    long: &[
        "--max-depth",
        "--min-depth",
        "--exact-depth",
        "--type",
        "--extension",
        "--exclude",
        "--size",
        "--owner",
        "--color",
        "--threads",
        "--changed-within",
        "--changed-before",
        "--max-results",
        "--base-directory",
        "--search-path",
        "--ignore-file",
    ],
    ..NOTHING
};

/// Returns the folders where fd starts: what stands behind the pattern, before what it runs.
fn folders_of_fd(args: &[Value]) -> Vec<Value> {
    let runs = |arg: &&Value| !matches!(arg.text.as_str(), "-x" | "-X" | "--exec" | "--exec-batch");
    let own: Vec<Value> = args.iter().take_while(runs).cloned().collect();
    let line = Line::read(&own, &FD);
    let named = line.values("", &["--base-directory", "--search-path"]);
    let folders: Vec<Value> = line.operands.iter().skip(1).chain(named).cloned().collect();
    if folders.is_empty() { vec![Value::literal(".")] } else { folders }
}

/// Returns something below a folder; a pattern, so that links in it are not followed.
fn below(start: &Value) -> Value {
    let text = format!("{}/found*", start.text.trim_end_matches('/'));
    Value { text, glob: true, ..start.clone() }
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

/// parallel gives each command a word more, from its input unless they stand behind `:::`.
fn parallel(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    if args.is_empty() || args.iter().any(|arg| arg.text.starts_with(":::")) {
        return loose(judge, "parallel", args, shell);
    }
    let put = |word: &Value| match word.plain() {
        // In a text it is what no one knows.
        Some(text) if text.contains(char::is_whitespace) => Value::literal(match text.contains("{}") {
            true => text.replace("{}", "$@"),
            false => format!("{text} $@"),
        }),
        Some(text) if text.contains("{}") => Value::unknown(""),
        _ => word.clone(),
    };
    let words: Vec<Value> = args.iter().map(put).chain([Value::unknown("")]).collect();
    loose(judge, "parallel", &words, shell)
}

fn loose(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &Shell) -> Judged {
    if HAVE_TEXT_OPTIONS.contains(&name) {
        let texts = option_values(args, &TEXT_OPTIONS);
        texts.iter().filter_map(Value::plain).try_for_each(|text| judge.inner(text, shell).map(drop))?;
    }
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
        let text = args[at].plain().filter(|text| text.contains(char::is_whitespace));
        // What is no shell is a word for the program that is started: a test's name, a script of another language.
        if let Some(text) = text.filter(|text| RUN_TEXTS.contains(&name) || judge.around.parse(text).is_ok()) {
            judge.inner(text, shell)?;
        }
    }
    Ok(())
}

/// `python -m NAME` is judged as NAME, for the modules that are programs too.
fn module(judge: &mut Judge<'_>, args: &[Value], shell: &mut Shell) -> Judged {
    let mut at = 0;
    while let Some(arg) = args.get(at).filter(|arg| arg.is_option() && arg.text != "--") {
        at += 1;
        let letters = if arg.text.starts_with("--") { "" } else { &arg.text[1..] };
        // Each of these takes the rest of the word, or the next one; behind the first two no options follow.
        let Some(index) = letters.find(['m', 'c', 'W', 'X', 'Q']) else { continue };
        let rest = &letters[index + 1..];
        match letters.as_bytes()[index] {
            b'c' => return Ok(()),
            b'm' if rest.is_empty() => return judge.invoke(args.get(at..).unwrap_or_default(), shell).map(drop),
            b'm' => {
                let name = Value { text: rest.to_owned(), ..arg.clone() };
                let words: Vec<Value> = std::iter::once(name).chain(args[at..].iter().cloned()).collect();
                return judge.invoke(&words, shell).map(drop);
            }
            _ => at += usize::from(rest.is_empty()),
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
    loose(judge, "tmux", &words, shell)
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
