//! Programs that start others behind one of their subcommands: package managers and keepers of versions.

use super::value::Value;

/// Programs of which these subcommands start what follows them.
const STARTERS: [(&str, &[&str]); 29] = [
    ("npm", &["exec", "x"]),
    ("pnpm", &["exec", "dlx"]),
    ("yarn", &["exec", "dlx"]),
    ("bun", &["x"]),
    ("mise", &["exec", "x", "watch"]),
    ("rtx", &["exec", "x"]),
    ("asdf", &["exec"]),
    ("nix", &["develop", "shell", "run"]),
    ("guix", &["shell", "environment"]),
    ("devbox", &["run"]),
    ("devenv", &["shell"]),
    ("bundle", &["exec"]),
    ("rbenv", &["exec"]),
    ("pyenv", &["exec"]),
    ("nodenv", &["exec"]),
    ("goenv", &["exec"]),
    ("jenv", &["exec"]),
    ("fnm", &["exec"]),
    ("nvm", &["exec", "run"]),
    ("volta", &["run"]),
    ("hatch", &["run"]),
    ("pdm", &["run"]),
    ("rye", &["run"]),
    ("pixi", &["run", "exec"]),
    ("opam", &["exec"]),
    ("stack", &["exec"]),
    ("cabal", &["exec"]),
    ("dune", &["exec"]),
    ("doppler", &["run"]),
];

pub(super) fn is_starter(name: &str) -> bool {
    STARTERS.iter().any(|(starter, _)| *starter == name)
}

/// Returns the words that stand behind the subcommand which starts them.
pub(super) fn started_by<'a>(name: &str, args: &'a [Value]) -> &'a [Value] {
    let starts = STARTERS.iter().find(|(starter, _)| *starter == name).map_or(&[][..], |(_, starts)| starts);
    let start = args.iter().position(|arg| arg.plain().is_some_and(|arg| starts.contains(&arg)));
    start.and_then(|start| args.get(start + 1..)).unwrap_or_default()
}
