//! git: what leaves the run's branch, pushes elsewhere, makes git run something else, or works on another checkout.

use super::{
    git_checkout::{bisect, checkout, switch},
    git_config::{config, setting_of},
    git_fetch::fetch,
    git_push,
    git_words::{LOOKS, STAYS},
    options::{operands, option_values},
    rules::Refusal,
    shell::{Folders, Shell},
    value::Value,
    walk::Judge,
};

type Judged = Result<(), Refusal>;

/// The part of a git command line before the subcommand.
struct Global<'a> {
    command: &'a str,
    args: &'a [Value],
    /// Folders that `-C` leads to.
    folders: Folders,
    /// Its files or its repository lie elsewhere.
    elsewhere: bool,
}

/// Judges `git ...`; other programs are none of it.
pub(super) fn judge(judge: &mut Judge<'_>, name: &str, args: &[Value], shell: &Shell) -> Judged {
    if name.starts_with("git-") {
        return Err(Refusal::new(format!("`{name}` is git by another name"), "Write `git` and the subcommand."));
    }
    if name != "git" {
        return Ok(());
    }
    let Some(global) = global(judge, args, shell)? else { return Ok(()) };
    let mut there = shell.clone();
    there.folders = if global.elsewhere { Folders::Unknown } else { global.folders };
    let (command, args) = (global.command, global.args);
    if LOOKS.contains(&command) {
        return match command {
            "grep" => grep(judge, args, &there),
            _ => outputs(judge, args, &there),
        };
    }
    let home = judge.places(&there).is_home();
    if !home && !matches!(command, "clone" | "push" | "config" | "version" | "worktree" | "stash" | "branch" | "remote")
    {
        return Err(Refusal::new(
            format!("`git {command}` outside the worktree changes another checkout"),
            "Work in your own worktree; looking at others (log, show, diff, status) is fine.",
        ));
    }
    subcommand(judge, command, args, &there, home)
}

fn global<'a>(judge: &mut Judge<'_>, args: &'a [Value], shell: &Shell) -> Result<Option<Global<'a>>, Refusal> {
    let mut at = 0;
    let (mut folders, mut elsewhere) = (shell.folders.clone(), false);
    while let Some(arg) = args.get(at) {
        if !arg.is_option() {
            break;
        }
        let name = arg.text.split('=').next().unwrap_or_default();
        at += 1;
        match name {
            "-C" => {
                let mut moved = shell.clone();
                moved.folders = folders;
                let target = args.get(at).and_then(Value::plain).map(Value::literal);
                let paths = target.and_then(|target| judge.places(&moved).paths(&target, "", true).ok());
                folders = paths.map_or(Folders::Unknown, Folders::Any);
                at += 1;
            }
            "-c" => {
                let setting = args.get(at).and_then(Value::plain);
                let setting = setting.ok_or_else(|| unknown("the setting of `git -c`"))?;
                let (key, value) = setting.split_once('=').unwrap_or((setting, "true"));
                setting_of(judge, key, Some(value), shell)?;
                at += 1;
            }
            "--git-dir" | "--work-tree" | "--namespace" | "--super-prefix" => {
                elsewhere = true;
                at += usize::from(!arg.text.contains('='));
            }
            "-p"
            | "-P"
            | "--paginate"
            | "--no-pager"
            | "--no-replace-objects"
            | "--no-optional-locks"
            | "--literal-pathspecs"
            | "--glob-pathspecs"
            | "--noglob-pathspecs"
            | "--icase-pathspecs"
            | "--no-advice" => {}
            "--version" | "-v" | "--help" | "-h" | "--html-path" | "--man-path" | "--info-path" => return Ok(None),
            "--exec-path" if arg.text == "--exec-path" => return Ok(None),
            _ => {
                return Err(Refusal::new(
                    format!("`git {}` makes git run something else", arg.shown()),
                    "Leave the option away.",
                ));
            }
        }
    }
    let Some(command) = args.get(at) else { return Ok(None) };
    let command = command.plain().ok_or_else(|| unknown("the subcommand of git"))?;
    Ok(Some(Global { command, args: &args[at + 1..], folders, elsewhere }))
}

fn subcommand(judge: &mut Judge<'_>, command: &str, args: &[Value], shell: &Shell, home: bool) -> Judged {
    match command {
        "push" => git_push::judge(judge, args, shell),
        "checkout" => checkout(judge, args, shell),
        "switch" => switch(judge, args),
        "branch" => branch(judge, args, home),
        "rebase" => rebase(judge, args, shell),
        "config" => config(judge, args, shell, home),
        "worktree" if args.first().is_some_and(|arg| arg.text == "list") => Ok(()),
        "worktree" => Err(leaves("`git worktree` belongs to rig, which keeps one for each run")),
        "stash" => stash(args, home),
        "symbolic-ref"
            if operands(args, &["-m"]).len() < 2
                && !args.iter().any(|arg| arg.text.starts_with("-d") || arg.text == "--delete") =>
        {
            Ok(())
        }
        "reflog" if args.first().is_none_or(|arg| !matches!(arg.text.as_str(), "expire" | "delete" | "drop")) => Ok(()),
        "version" | "verify-commit" | "verify-tag" | "status" | "archive" | "bundle" | "request-pull"
        | "write-tree" => outputs(judge, args, shell),
        "clone" => clone(judge, args, shell),
        "remote" => remote(args, home),
        "fetch" | "pull" => fetch(judge, args),
        "bisect" => bisect(judge, args, shell),
        "submodule" => submodule(judge, args, shell),
        "difftool" | "mergetool" => match option_values(args, &["-x", "--extcmd"]).first() {
            Some(text) => inner(judge, text, shell),
            None => Ok(()),
        },
        "lfs" | "notes" | "tag" | "clean" | "init" => places_of(judge, command, args, shell),
        "apply" if args.iter().any(|arg| arg.text.starts_with("--unsafe")) => {
            Err(Refusal::new("`git apply --unsafe-paths` writes outside the worktree", "Leave the option away."))
        }
        "gc" if args.iter().any(|arg| arg.text.starts_with("--prune")) => Err(Refusal::new(
            "this would delete commits that other runs may need",
            "Leave them; they take little room.",
        )),
        _ if STAYS.contains(&command) => outputs(judge, args, shell),
        _ => Err(Refusal::new(
            format!("`git {command}` is an alias, or changes references in a way that an agent has no use for"),
            "Use git's ordinary commands by their full names.",
        )),
    }
}

pub(super) fn leaves(why: &str) -> Refusal {
    Refusal::new(why, "Stay on your branch; `git restore`, `git reset` and `git rebase` work within it.")
}

pub(super) fn unknown(what: &str) -> Refusal {
    Refusal::new(format!("{what} is not known before it runs"), "Write it out.")
}

fn stash(args: &[Value], home: bool) -> Judged {
    let Some(first) = args.first() else { return in_own_checkout(home) };
    match first.plain() {
        None if !first.is_option() => Err(unknown("the subcommand of `git stash`")),
        Some("branch") => Err(leaves("`git stash branch` makes a branch and switches to it")),
        Some("clear") => Err(shared_stash()),
        Some("drop") if args.len() > 1 => Err(shared_stash()),
        Some("list" | "show") => Ok(()),
        _ => in_own_checkout(home),
    }
}

fn in_own_checkout(home: bool) -> Judged {
    match home {
        true => Ok(()),
        false => Err(Refusal::new("this changes another checkout", "Work in your own worktree.")),
    }
}

fn shared_stash() -> Refusal {
    Refusal::new(
        "the stash is shared by all runs of this repository",
        "Drop only what you stashed yourself, with `git stash drop`.",
    )
}

fn inner(judge: &mut Judge<'_>, text: &Value, shell: &Shell) -> Judged {
    match text.known {
        true => judge.inner(&text.text, shell).map(drop),
        false => Err(unknown("the command that git would run")),
    }
}

/// Judges files that subcommands write by an option.
fn outputs(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let files = option_values(args, &["--output", "--output-directory"]);
    let short = option_values(args, &["-o"]);
    let short = short
        .into_iter()
        .filter(|value| value.text.starts_with(['/', '.', '~']) || !value.known && value.text.is_empty());
    files.into_iter().chain(short).try_for_each(|file| judge.places(shell).write(&file, "git"))?;
    match args.iter().any(|arg| shortens(&arg.text, "--ext-diff", "--ext-".len())) {
        true => Err(Refusal::new("this makes git run another program", "Leave the option away.")),
        false => Ok(()),
    }
}

/// Returns whether a word is a long option, or the beginning of it that git takes for it.
pub(super) fn shortens(word: &str, option: &str, at_least: usize) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    name.len() >= at_least && option.starts_with(name)
}

/// `git grep -O` hands the files that it finds to a program.
fn grep(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let opens = |arg: &Value| {
        let letters = arg.text.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        // What follows one of these letters is its value.
        let own = letters.map(|letters| letters.split(['e', 'f', 'm', 'A', 'B', 'C']).next().unwrap_or_default());
        own.is_some_and(|letters| letters.contains('O')) || shortens(&arg.text, "--open-files-in-pager", "--op".len())
    };
    let mut options = args.iter().take_while(|arg| arg.text != "--");
    match options.any(opens) {
        true => Err(Refusal::new("`git grep -O` runs another program", "Leave the option away.")),
        false => outputs(judge, args, shell),
    }
}

fn places_of(judge: &mut Judge<'_>, command: &str, args: &[Value], shell: &Shell) -> Judged {
    match command {
        "init" => operands(args, &["-b", "--initial-branch", "--template"])
            .iter()
            .try_for_each(|folder| judge.places(shell).write(folder, "`git init`")),
        "lfs"
            if args.first().is_some_and(|arg| {
                !matches!(
                    arg.text.as_str(),
                    "install"
                        | "pull"
                        | "fetch"
                        | "ls-files"
                        | "track"
                        | "untrack"
                        | "status"
                        | "checkout"
                        | "env"
                        | "version"
                )
            }) =>
        {
            Err(Refusal::new("this part of `git lfs` is not judged", "git push uploads large files by itself."))
        }
        "clean" => operands(args, &["-e", "--exclude"])
            .iter()
            .try_for_each(|path| judge.places(shell).remove(path, "`git clean`")),
        _ => outputs(judge, args, shell),
    }
}

pub(super) fn is_own(judge: &Judge<'_>, arg: &Value) -> bool {
    arg.plain().is_some_and(|name| {
        name == judge.confines.branch || name.strip_prefix("refs/heads/") == Some(&judge.confines.branch)
    })
}

fn branch(judge: &Judge<'_>, args: &[Value], home: bool) -> Judged {
    let long = ["--delete", "--move", "--copy", "--force", "--edit-description"];
    let changes = |arg: &&Value| {
        let abbreviated = arg.text.starts_with("--")
            && arg.text.len() > 4
            && long.iter().any(|option| option.starts_with(arg.text.as_str()));
        let short = arg.is_option()
            && !arg.text.starts_with("--")
            && arg.text.chars().skip(1).any(|letter| "dDmMcCf".contains(letter));
        abbreviated || short || arg.is_option() && !arg.known
    };
    if args.iter().any(|arg| changes(&arg)) {
        return Err(Refusal::new(
            "branches are shared by all runs of this repository, so none is deleted, renamed or moved",
            "Stay on your branch; a branch that is left over does no harm.",
        ));
    }
    let looks = args.iter().all(Value::is_option);
    if looks
        || home
            && !operands(args, &[])
                .iter()
                .any(|arg| arg.plain() == Some(&judge.confines.primary_branch) && args.len() == 1)
    {
        return Ok(());
    }
    Err(Refusal::new("this makes a branch in another checkout, or the primary branch anew", "Stay on your branch."))
}

fn rebase(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    for command in option_values(args, &["-x", "--exec"]) {
        inner(judge, &command, shell)?;
    }
    let with_value = ["-x", "--exec", "--onto", "-s", "--strategy", "-X", "--strategy-option", "-C", "--whitespace"];
    let operands = operands(args, &with_value);
    let from_root = args.iter().any(|arg| arg.text == "--root");
    match operands.get(usize::from(!from_root)) {
        Some(branch) if !is_own(judge, branch) && branch.plain() != Some("HEAD") => {
            Err(leaves("`git rebase` onto a base with a further branch switches to that branch"))
        }
        _ => Ok(()),
    }
}

fn clone(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let risky = |arg: &Value| {
        ["-u", "--upload-pack", "-c", "--config", "--template"].iter().any(|option| arg.text.starts_with(option))
    };
    if args.iter().any(risky) {
        return Err(Refusal::new("this makes git run something else", "Leave the option away."));
    }
    let with_value =
        ["-b", "--branch", "--depth", "-o", "--origin", "-j", "--jobs", "--reference", "--filter", "--shallow-since"];
    match operands(args, &with_value).get(1) {
        Some(folder) => judge.places(shell).write(folder, "`git clone`"),
        None if judge.places(shell).is_home() => Ok(()),
        None => Err(Refusal::new("`git clone` here writes outside the worktree", "Clone into a temporary folder.")),
    }
}

fn remote(args: &[Value], home: bool) -> Judged {
    match args.iter().find(|arg| !arg.is_option()).map(|arg| arg.text.as_str()) {
        None | Some("show" | "get-url") => Ok(()),
        Some("add" | "update" | "prune") if home && !args.iter().any(|arg| arg.text.starts_with("--mir")) => Ok(()),
        _ => Err(Refusal::new("where git pushes is not changed by the agent", "Leave the remotes as they are.")),
    }
}

fn submodule(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let operands = operands(args, &[]);
    match operands.split_first() {
        Some((first, rest)) if first.text == "foreach" => match rest {
            [one] => inner(judge, one, shell),
            words => judge.invoke(words, &mut shell.clone()).map(drop),
        },
        _ => Ok(()),
    }
}
