//! Shells that are started: they run a text, a script, or what they read.

use super::{
    rules::Refusal,
    shell::{Folders, Input, Shell},
    unwrap::unknown_text,
    value::Value,
    walk::Judge,
};
use std::path::{Path, PathBuf};

pub(super) fn start_shell(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &mut Shell) -> Result<(), Refusal> {
    let mut at = 0;
    let mut takes_text = false;
    let mut reads_input = false;
    while let Some(arg) = args.get(at) {
        let text = arg.text.as_str();
        if !arg.known && (text.is_empty() || arg.is_option()) {
            return Err(unknown_text(name));
        }
        match text {
            "--" => {
                at += 1;
                break;
            }
            "--rcfile" | "--init-file" | "-O" | "+O" | "-o" | "+o" => at += 1,
            "--command" => takes_text = true,
            _ if text.starts_with("--") => {}
            _ if text.starts_with(['-', '+']) && text.len() > 1 => {
                takes_text |= text.contains('c');
                reads_input |= text.contains('s');
                // `-ec` and the like; `-o NAME` takes a word more.
                at += usize::from(text.ends_with('o'));
            }
            _ => break,
        }
        at += 1;
    }
    let rest = args.get(at..).unwrap_or_default();
    if takes_text {
        let text = rest.first().and_then(|text| text.known.then_some(text.text.as_str()));
        return judge.inner(text.ok_or_else(|| unknown_text(name))?, shell).map(drop);
    }
    let script = rest.first().filter(|_| !reads_input);
    let script = match script.map(|script| opened(judge, script, shell)) {
        Some(Opened::Input) | None => None,
        Some(Opened::Descriptor) => return Err(unknown_text(name)),
        Some(Opened::File) => script,
    };
    match script {
        // What a script does is not seen; that it is the script that was meant is.
        Some(script) if script.known => Ok(()),
        Some(_) => Err(unknown_text(name)),
        None => match shell.input.clone() {
            Input::Terminal => Ok(()),
            Input::Text(text) if text.known => judge.inner(&text.text, shell).map(drop),
            Input::Text(_) | Input::Other => Err(unknown_text(name)),
        },
    }
}

pub(super) fn source(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Result<(), Refusal> {
    match args.first() {
        Some(file) if !file.known || !matches!(opened(judge, file, shell), Opened::File) => Err(unknown_text("source")),
        _ => Ok(()),
    }
}

/// What a shell reads when it opens a script by its name.
enum Opened {
    File,
    /// What it reads anyway.
    Input,
    /// Some other open file, a terminal, a memory of a process.
    Descriptor,
}

fn opened(judge: &Judge<'_>, script: &Value, shell: &Shell) -> Opened {
    if script.text == "-" {
        return Opened::Input;
    }
    let folders = match &shell.folders {
        Folders::Any(folders) => folders.clone(),
        Folders::Unknown => vec![PathBuf::from("/")],
    };
    let mut opened = Opened::File;
    for folder in folders {
        // By its parts only: to follow the links of `/dev/fd` would show what the guard itself has open.
        let path = Path::new("/").join(folder.join(&script.text));
        let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).skip(1).collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            ["dev", "stdin"] | ["dev", "fd", "0"] | ["proc", _, "fd", "0"] => opened = Opened::Input,
            ["dev" | "proc", ..] => return Opened::Descriptor,
            // By a link of the worktree's, or by dots.
            _ if judge.places(shell).is_device(script) => return Opened::Descriptor,
            _ => {}
        }
    }
    opened
}
