//! `env`: what it starts, with which variables and in which folder.

use super::{
    definitions::decides_git_settings,
    git::shortens,
    rules::Refusal,
    shell::{Folders, Shell},
    unwrap::{joined, run, unknown_text},
    value::Value,
    walk::Judge,
};

pub(super) fn env(judge: &mut Judge<'_>, args: &[Value], shell: &mut Shell) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if let Some(text) = split_text(arg) {
            let mut inner = shell.clone();
            inner.git_settings_moved |= changes_git_settings(&args[..=at]);
            let rest = args[at + 1..].iter().cloned();
            let words: Vec<Value> = std::iter::once(text).filter(|text| !text.text.is_empty()).chain(rest).collect();
            let text = joined(&words).ok_or_else(|| unknown_text("env -S"))?;
            return judge.inner(&text, &inner).map(drop);
        }
        at += match arg.text.as_str() {
            "--unset" | "--chdir" => 2,
            "--" => {
                at += 1;
                break;
            }
            "-" => 1,
            text if is_short(arg) && text.ends_with(['u', 'C']) => 2,
            _ if arg.is_option() => 1,
            _ => break,
        };
    }
    let options = args.get(..at).unwrap_or(args);
    let mut inner = shell.clone();
    inner.git_settings_moved |= changes_git_settings(options);
    if options.iter().any(|arg| is_short(arg) && arg.text.contains('C') || shortens(&arg.text, "--chdir", "--c".len()))
    {
        inner.folders = Folders::Unknown;
    }
    run(judge, args.get(at..).unwrap_or_default(), &mut inner)
}

fn is_short(arg: &Value) -> bool {
    arg.is_option() && !arg.text.starts_with("--")
}

/// Returns what stands in the word of `-S`, the text that is split into words; the other words follow it.
fn split_text(arg: &Value) -> Option<Value> {
    if arg.text.starts_with("--") {
        let is_split = shortens(&arg.text, "--split-string", "--s".len());
        let text = arg.text.split_once('=').map_or("", |(_, text)| text);
        return is_split.then(|| Value { text: text.to_owned(), ..arg.clone() });
    }
    let (letters, text) = arg.text.strip_prefix('-')?.split_once('S')?;
    // Behind a letter that takes a value the S belongs to that.
    letters.chars().all(|letter| "iv0".contains(letter)).then(|| Value { text: text.to_owned(), ..arg.clone() })
}

/// Returns whether options take away what gives git its settings.
fn changes_git_settings(options: &[Value]) -> bool {
    options.iter().enumerate().any(|(at, option)| {
        let text = option.text.as_str();
        let name = match text {
            "-" => return true,
            "-u" | "--unset" => options.get(at + 1).filter(|name| name.known).map(|name| name.text.as_str()),
            _ if shortens(text, "--unset", "--u".len()) => text.split_once('=').map(|(_, name)| name),
            _ if shortens(text, "--ignore-environment", "--i".len()) => return true,
            _ if !is_short(option) => return false,
            _ if text.starts_with("-u") => text.get(2..),
            _ => return text.split('S').next().is_some_and(|letters| letters.contains('i')),
        };
        name.is_none_or(decides_git_settings)
    })
}
