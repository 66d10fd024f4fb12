//! git's settings, by `git config` and `git -c`: what can decide what git runs or where it pushes is refused.

use super::{
    git::unknown,
    git_words::{PROGRAM_SETTINGS, SETTINGS},
    rules::Refusal,
    shell::Shell,
    value::Value,
    walk::Judge,
};

type Judged = Result<(), Refusal>;

/// Options of `git config` that say what it does.
const READS: [&str; 8] =
    ["--get", "--get-all", "--get-regexp", "--get-urlmatch", "--get-color", "--get-colorbool", "-l", "--list"];
const SETS: [&str; 2] = ["--add", "--replace-all"];
const UNSETS: [&str; 2] = ["--unset", "--unset-all"];
const EDITS: [&str; 4] = ["-e", "--edit", "--rename-section", "--remove-section"];
/// Options that only say where a setting lies or how it is read and shown. Those of the first list take a value.
const VALUED: [&str; 9] = ["-f", "--file", "--blob", "-t", "--type", "--default", "--comment", "--value", "--url"];
const PLAIN: [&str; 22] = [
    "--local",
    "--worktree",
    "--global",
    "--system",
    "--bool",
    "--int",
    "--bool-or-int",
    "--bool-or-str",
    "--path",
    "--expiry-date",
    "--no-type",
    "-z",
    "--null",
    "--name-only",
    "--show-names",
    "--show-origin",
    "--show-scope",
    "--includes",
    "--no-includes",
    "--fixed-value",
    "--all",
    "--append",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Read,
    Set,
    Unset,
    /// Whole sections, or all of it in an editor.
    Edit,
}

/// A `git config` as git reads it: what it does is said by its first word or by the options before the first operand, and
/// by nothing that comes later.
struct Asked<'a> {
    action: Option<Action>,
    /// The settings of this repository are not those that are meant.
    outside: bool,
    operands: &'a [Value],
}

pub(super) fn config(judge: &mut Judge<'_>, args: &[Value], shell: &Shell, home: bool) -> Judged {
    let asked = asked(args)?;
    let action = asked.action.unwrap_or(if asked.operands.len() < 2 { Action::Read } else { Action::Set });
    if action == Action::Read {
        return match asked.operands {
            // Unquoted, it may be a name and a value.
            [one] if asked.action.is_none() && !one.known => Err(unknown("the setting of `git config`")),
            _ => Ok(()),
        };
    }
    if asked.outside || !home {
        return Err(Refusal::new(
            "git's settings outside this repository belong to people",
            "Set what you need by `git -c`.",
        ));
    }
    let Some(key) = asked.operands.first().filter(|_| action != Action::Edit) else {
        return Err(Refusal::new("git's settings are not edited by hand", "Set what you need by `git -c`."));
    };
    let key = key.plain().ok_or_else(|| unknown("the setting of `git config`"))?;
    let value = match asked.operands.get(1).filter(|_| action == Action::Set) {
        Some(value) => Some(value.plain().ok_or_else(|| unknown("the value of `git config`"))?),
        None => None,
    };
    setting_of(judge, key, value, shell)
}

fn asked(args: &[Value]) -> Result<Asked<'_>, Refusal> {
    let word = args.first().and_then(Value::plain);
    let subcommand = match word {
        Some("list" | "get") => Some(Action::Read),
        Some("set") => Some(Action::Set),
        Some("unset") => Some(Action::Unset),
        Some("edit" | "rename-section" | "remove-section") => Some(Action::Edit),
        _ => None,
    };
    let mut asked = Asked { action: subcommand, outside: false, operands: &[] };
    let mut at = usize::from(subcommand.is_some());
    while let Some(arg) = args.get(at).filter(|arg| arg.is_option()) {
        at += 1;
        if arg.text == "--" {
            break;
        }
        let name = arg.text.split('=').next().unwrap_or_default();
        let attached = arg.text.contains('=') || !arg.text.starts_with("--") && arg.text.len() > 2;
        let name = if name.starts_with("--") { name } else { name.get(..2).unwrap_or(name) };
        asked.outside |= matches!(name, "--global" | "--system" | "-f" | "--file" | "--blob");
        asked.action = match name {
            _ if VALUED.contains(&name) => {
                at += usize::from(!attached);
                asked.action
            }
            _ if !arg.known || attached && !name.starts_with("--") => return Err(unjudged(arg)),
            _ if PLAIN.contains(&name) => asked.action,
            _ if subcommand == Some(Action::Read) => subcommand,
            _ if subcommand.is_some() => return Err(unjudged(arg)),
            _ if READS.contains(&name) => asked.action.or(Some(Action::Read)),
            _ if SETS.contains(&name) => Some(Action::Set),
            _ if UNSETS.contains(&name) => Some(Action::Unset),
            _ if EDITS.contains(&name) => Some(Action::Edit),
            _ => return Err(unjudged(arg)),
        };
    }
    asked.operands = args.get(at..).unwrap_or_default();
    Ok(asked)
}

fn unjudged(option: &Value) -> Refusal {
    Refusal::new(
        format!("`git config {}` is not judged", option.shown()),
        "Write the options of `git config` out, each by its full name.",
    )
}

pub(super) fn setting_of(judge: &mut Judge<'_>, key: &str, value: Option<&str>, shell: &Shell) -> Judged {
    let key = key.to_lowercase();
    if PROGRAM_SETTINGS.contains(&key.as_str()) {
        return judge.inner(value.unwrap_or_default(), shell).map(drop);
    }
    if SETTINGS.iter().any(|known| if known.ends_with('.') { key.starts_with(known) } else { key == *known }) {
        return Ok(());
    }
    Err(Refusal::new(
        format!("git's setting {key} can decide what git runs or where it pushes"),
        "Leave git's settings as they are; write commands out instead of aliases.",
    ))
}
