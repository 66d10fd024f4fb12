//! `git fetch` and `git pull`: what they write is remote-tracking branches and the run's own, never those of other runs.

use super::{git::shortens, options::operands, rules::Refusal, value::Value, walk::Judge};

const WITH_VALUE: [&str; 17] = [
    "-o",
    "--server-option",
    "--depth",
    "--deepen",
    "--shallow-since",
    "--shallow-exclude",
    "-j",
    "--jobs",
    "--negotiation-tip",
    "--filter",
    "--recurse-submodules-default",
    "--submodule-prefix",
    "-s",
    "--strategy",
    "-X",
    "--strategy-option",
    "--cleanup",
];

pub(super) fn fetch(judge: &Judge<'_>, args: &[Value]) -> Result<(), Refusal> {
    let maps = |arg: &Value| {
        shortens(&arg.text, "--refmap", "--refm".len()) && !arg.text.ends_with('=') || arg.text == "--stdin"
    };
    let refspecs = operands(args, &WITH_VALUE);
    if args.iter().any(maps) || refspecs.iter().skip(1).any(|refspec| moves(judge, refspec)) {
        return Err(Refusal::new(
            "this would move a local branch",
            "Fetch without `:`, and rebase onto origin's branch.",
        ));
    }
    let runs = |arg: &Value| shortens(&arg.text, "--upload-pack", "--upl".len()) || !arg.known && arg.is_option();
    match args.iter().any(runs) {
        true => Err(Refusal::new("this makes git run something else", "Leave the option away.")),
        false => Ok(()),
    }
}

/// Returns whether a refspec writes anything but remote-tracking branches and the run's own branch.
fn moves(judge: &Judge<'_>, refspec: &Value) -> bool {
    let own = judge.confines.branch.as_str();
    let Some((_, to)) = refspec.text.split_once(':') else { return refspec.maps };
    let tracks = to.starts_with("refs/remotes/") || to.starts_with("remotes/");
    if !refspec.known {
        return !tracks;
    }
    !(to.is_empty() || tracks || to == own || to.strip_prefix("refs/heads/") == Some(own))
}
