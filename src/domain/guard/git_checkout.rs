//! What moves the worktree to another commit or branch: `git checkout`, `git switch`, `git bisect`.

use super::{
    git::{is_own, leaves, unknown},
    options::operands,
    rules::Refusal,
    shell::Shell,
    value::Value,
    walk::Judge,
};

type Judged = Result<(), Refusal>;

/// Options of `git checkout` that only say how files are brought back. All others can leave the branch.
const HOW: [&str; 24] = [
    "--quiet",
    "--progress",
    "--no-progress",
    "--force",
    "--ours",
    "--theirs",
    "--patch",
    "--merge",
    "--no-merge",
    "--conflict",
    "--no-track",
    "--no-guess",
    "--no-detach",
    "--overlay",
    "--no-overlay",
    "--recurse-submodules",
    "--no-recurse-submodules",
    "--ignore-skip-worktree-bits",
    "--overwrite-ignore",
    "--no-overwrite-ignore",
    "--pathspec-from-file",
    "--pathspec-file-nul",
    "--unified",
    "--inter-hunk-context",
];
/// The same in letters: quiet, force, merge, patch, and the sides of a conflict.
const HOW_LETTERS: &str = "qfmp23";
const WITH_VALUE: [&str; 4] = ["--conflict", "--pathspec-from-file", "--unified", "--inter-hunk-context"];

/// `git checkout` both changes files and leaves the branch; only what is surely the former may pass.
pub(super) fn checkout(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let end = args.iter().position(|arg| arg.known && arg.text == "--");
    let (before, paths) = match end {
        Some(end) => (&args[..end], &args[end + 1..]),
        None => (args, &[][..]),
    };
    if before.iter().any(|arg| arg.is_option() && !says_how(arg)) {
        return Err(leaves("this would leave the run's branch"));
    }
    // With a path it changes files and nothing else, whatever the commit; so does picking by hand, which needs none. A word
    // that nobody knows may be nothing at all once it runs.
    if paths.iter().any(|path| path.known || !path.text.is_empty()) || before.iter().any(is_patch) {
        return Ok(());
    }
    let operands = operands(before, &WITH_VALUE);
    match operands.as_slice() {
        [] => Ok(()),
        [one] if is_own(judge, one) || matches!(one.plain(), Some("HEAD" | "@")) => Ok(()),
        // A branch goes before a file of the same name.
        [one]
            if end.is_none()
                && one.text != "-"
                && judge.places(shell).exists(one)
                && !may_be_branch(judge, one, shell) =>
        {
            Ok(())
        }
        [one] => Err(Refusal::new(
            format!("`git checkout {}` would leave the run's branch, {}", one.shown(), judge.confines.branch),
            "To bring files back write `git checkout -- FILE` or `git restore FILE`.",
        )),
        // The first names a commit, or it is a file like the others.
        several if end.is_none() && several.iter().all(|arg| arg.known) => Ok(()),
        _ => Err(unknown("which files `git checkout` brings back")),
    }
}

fn says_how(arg: &Value) -> bool {
    if !arg.known {
        return false;
    }
    if arg.text.starts_with("--") {
        return HOW.contains(&arg.text.split('=').next().unwrap_or_default());
    }
    arg.text.chars().skip(1).all(|letter| HOW_LETTERS.contains(letter))
}

fn is_patch(arg: &Value) -> bool {
    arg.text == "--patch" || arg.is_option() && !arg.text.starts_with("--") && arg.text.contains('p')
}

fn may_be_branch(judge: &Judge<'_>, arg: &Value, shell: &Shell) -> bool {
    arg.plain().is_some_and(|name| judge.places(shell).has_branch(name))
}

pub(super) fn switch(judge: &Judge<'_>, args: &[Value]) -> Judged {
    match args {
        [one] if is_own(judge, one) => Ok(()),
        _ => Err(leaves("this would leave the run's branch")),
    }
}

/// A bisection goes from commit to commit and comes back to the branch at its end; until then nothing is on a branch.
pub(super) fn bisect(judge: &mut Judge<'_>, args: &[Value], shell: &Shell) -> Judged {
    let Some((command, rest)) = args.split_first() else { return Ok(()) };
    match command.plain().ok_or_else(|| unknown("the subcommand of `git bisect`"))? {
        "log" | "view" | "visualize" | "terms" | "help" => return Ok(()),
        "reset" if !rest.iter().all(|branch| is_own(judge, branch)) => {
            return Err(leaves("`git bisect reset` with a branch or commit goes there"));
        }
        _ => {}
    }
    judge.branch_moved = true;
    match command.text.as_str() {
        "run" => judge.invoke(rest, &mut shell.clone()).map(drop),
        _ => Ok(()),
    }
}
