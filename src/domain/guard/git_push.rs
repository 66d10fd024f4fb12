//! `git push`: only the run's own branch, never by force but with a lease, never a deletion.

use super::{options::operands, rules::Refusal, shell::Shell, value::Value, walk::Judge};

/// Options that change nothing about what is pushed where.
const HARMLESS: [&str; 20] = [
    "-u",
    "--set-upstream",
    "-q",
    "--quiet",
    "-v",
    "--verbose",
    "--progress",
    "--no-progress",
    "--porcelain",
    "-n",
    "--dry-run",
    "--atomic",
    "--thin",
    "--no-thin",
    "--no-verify",
    "--verify",
    "-4",
    "-6",
    "--ipv4",
    "--ipv6",
];
const WITH_VALUE: [&str; 2] = ["-o", "--push-option"];

pub(super) fn judge(judge: &Judge<'_>, args: &[Value], shell: &Shell) -> Result<(), Refusal> {
    let own = judge.confines.branch.as_str();
    let refused = |why: String| {
        Refusal::new(why, &format!("Push your own branch and nothing else: git push origin HEAD:refs/heads/{own}"))
    };
    if shell.git_settings_moved {
        return Err(refused(
            "where this pushes is decided by settings of git that are not those of this session".to_owned(),
        ));
    }
    let mut at = 0;
    while let Some(arg) = args.get(at).filter(|arg| arg.text != "--") {
        at += 1;
        if !arg.is_option() {
            if !arg.known {
                return Err(refused(format!("what `git push {}` pushes is not known before it runs", arg.shown())));
            }
            continue;
        }
        let name = arg.text.split('=').next().unwrap_or_default();
        let lease =
            matches!(name, "--force-with-lease" | "--force-if-includes" | "--no-force-with-lease" | "--no-follow-tags");
        let short = arg.text.len() > 2
            && !arg.text.starts_with("--")
            && arg.text[1..].chars().all(|letter| "uqvn46".contains(letter));
        let plain =
            HARMLESS.contains(&name) || lease || short || WITH_VALUE.contains(&name) || name == "--recurse-submodules";
        if !plain || !arg.known {
            return Err(refused(match name {
                "-f" | "--force" => "a push by force can lose commits of others".to_owned(),
                _ => format!("`git push {}` may push more than your own branch, or delete", arg.shown()),
            }));
        }
        at += usize::from(WITH_VALUE.contains(&arg.text.as_str()));
    }
    let operands = operands(args, &WITH_VALUE);
    let refspecs = operands.get(1..).unwrap_or_default();
    for refspec in refspecs {
        let Some(text) = refspec.plain() else {
            return Err(refused(format!("what `git push ... {}` pushes is not known before it runs", refspec.shown())));
        };
        if text.starts_with('+') {
            return Err(refused("`+` pushes by force".to_owned()));
        }
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        if from.is_empty() {
            return Err(refused(format!("`{text}` deletes a branch of the forge")));
        }
        let is_own = |name: &str| name == own || name.strip_prefix("refs/heads/") == Some(own);
        if is_own(to) || matches!(to, "HEAD" | "@") && from == to && is_on_own_branch(judge, shell) {
            continue;
        }
        return Err(refused(
            match to == judge.confines.primary_branch || to.ends_with(&format!("/{}", judge.confines.primary_branch)) {
                true => format!("`git push ... {text}` pushes to the primary branch"),
                false => format!("`git push ... {text}` pushes to another branch than your own"),
            },
        ));
    }
    if refspecs.is_empty() && !is_on_own_branch(judge, shell) {
        return Err(refused("which branch this pushes is not certain here".to_owned()));
    }
    Ok(())
}

/// Returns whether the worktree is on the run's branch, and nothing before in the text may have left it.
fn is_on_own_branch(judge: &Judge<'_>, shell: &Shell) -> bool {
    let own = judge.confines.branch.as_str();
    !judge.branch_moved && judge.places(shell).branches().iter().all(|branch| branch.as_deref() == Some(own))
}
