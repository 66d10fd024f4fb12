//! Programs that change the machine rather than the repository: other accounts, packages, services, and rig itself.

use super::{options::option_values, rules::Refusal, value::Value, walk::Call};

/// Programs that run something as another account.
const OTHER_ACCOUNT: [&str; 7] = ["sudo", "doas", "su", "sg", "pkexec", "runuser", "gosu"];
/// Package managers of the system, each with the subcommands and options that only look.
const PACKAGES: [(&str, &[&str]); 20] = [
    ("apt", &["list", "search", "show", "policy", "depends", "rdepends", "changelog", "help"]),
    ("apt-get", &["changelog", "help", "indextargets"]),
    ("aptitude", &["search", "show", "versions", "why", "help"]),
    ("dpkg", &["-l", "-L", "-s", "-S", "-p", "--list", "--listfiles", "--status", "--search", "--print-architecture"]),
    ("dnf", &["list", "search", "info", "repoquery", "provides", "help"]),
    ("yum", &["list", "search", "info", "provides", "help"]),
    ("microdnf", &["repoquery"]),
    ("zypper", &["search", "se", "info", "if", "help"]),
    ("rpm", &["-q", "-qa", "-ql", "-qi", "-qf", "--query", "-V"]),
    ("pacman", &["-Q", "-Qi", "-Ql", "-Qs", "-Qo", "-Ss", "-Si", "-F"]),
    ("yay", &["-Q", "-Qi", "-Ss", "-Si"]),
    ("apk", &["info", "list", "search", "policy", "dot"]),
    ("snap", &["list", "find", "info", "help"]),
    ("flatpak", &["list", "search", "info"]),
    ("brew", &["list", "search", "info", "--prefix", "config", "help", "outdated", "deps"]),
    ("port", &["installed", "search", "info", "help"]),
    ("emerge", &["--search", "-s", "--info", "--pretend", "-p"]),
    ("nix-env", &["-q", "--query"]),
    ("xbps-install", &[]),
    ("pkg", &["info", "search", "query", "help"]),
];
/// Package managers of languages, with what makes them change the machine instead of the project.
const GLOBAL: [(&str, &[&str]); 5] = [
    ("npm", &["-g", "--global"]),
    ("pnpm", &["-g", "--global"]),
    ("bun", &["-g", "--global"]),
    ("yarn", &["global"]),
    ("pip", &["--break-system-packages"]),
];
/// What stops, starts or rewrites the machine, or what cron runs.
const MACHINE: [&str; 34] = [
    "shutdown", "reboot", "halt", "poweroff", "init", "telinit", "mkswap", "swapoff", "swapon", "mount", "umount",
    "fdisk", "parted", "sfdisk", "wipefs", "useradd", "userdel", "usermod", "adduser", "deluser", "passwd", "chsh",
    "visudo", "iptables", "nft", "ufw", "at", "batch", "insmod", "rmmod", "modprobe", "sysctl", "loginctl", "chpasswd",
];
/// Subcommands of rig that an agent has a use for.
const RIG_PHASE: [&str; 6] = ["path", "get", "set", "watch", "log", "test"];

pub(super) fn judge(call: &Call<'_>) -> Result<(), Refusal> {
    let policy = &call.confines.policy;
    if OTHER_ACCOUNT.contains(&call.name) && !policy.allow_sudo {
        return Err(Refusal::new(
            format!("`{}` acts as another account", call.name),
            "Do without it; if the work needs it, report the phase escalate and say why.",
        ));
    }
    if !policy.allow_packages {
        packages(call)?;
    }
    // A program of the worktree's only has the name of one of the machine's.
    let is_own = call.program.contains('/') && call.places.is_own(&Value::literal(call.program));
    let is_machine = MACHINE.contains(&call.name) || call.name.starts_with("mkfs");
    if is_machine && !is_own && !only_looks(call) {
        return Err(change(call.name));
    }
    match call.name {
        "service" | "crontab" if is_own => Ok(()),
        "systemctl" | "service" | "rc-service" => {
            let looks =
                ["status", "show", "cat", "list-units", "list-timers", "is-active", "is-enabled", "list-unit-files"];
            if call.args.iter().any(|arg| arg.plain().is_some_and(|arg| looks.contains(&arg))) {
                return Ok(());
            }
            Err(change(call.name))
        }
        "crontab" if call.args.iter().all(|arg| arg.text == "-l") && !call.args.is_empty() => Ok(()),
        "crontab" => Err(change(call.name)),
        _ if call.name == "rig" || call.around.real_path(call.program.as_ref(), true) == call.confines.rig => {
            rig(call.args)
        }
        _ => Ok(()),
    }
}

/// `mount` alone, and `sysctl` with nothing but names.
fn only_looks(call: &Call<'_>) -> bool {
    let names = |arg: &Value| {
        let letters = arg.text.strip_prefix('-').unwrap_or_default();
        arg.plain().is_some_and(|text| !text.contains('=')) && letters.chars().all(|letter| "aANneqbx".contains(letter))
    };
    match call.name {
        "mount" => call.args.is_empty(),
        "sysctl" => call.args.iter().all(names),
        _ => false,
    }
}

fn change(name: &str) -> Refusal {
    Refusal::new(
        format!("`{name}` changes the machine, not the repository"),
        "Leave the machine as it is; if the work needs it, report the phase escalate and say why.",
    )
}

fn packages(call: &Call<'_>) -> Result<(), Refusal> {
    let refusal = || {
        Refusal::new(
            format!("`{}` here installs or removes packages of the machine", call.name),
            "Use what is installed or the project's own dependencies; if a package is missing, report the phase escalate.",
        )
    };
    if let Some((_, looks)) = PACKAGES.iter().find(|(name, _)| *name == call.name) {
        let asks = |arg: &Value| matches!(arg.text.as_str(), "--version" | "--help" | "-h" | "-v" | "-V");
        // What follows a letter that asks only says what is asked for.
        let queries = |arg: &str| ["-q", "-Q"].iter().any(|query| looks.contains(query) && arg.starts_with(query));
        let looks = |arg: &str| looks.contains(&arg) || queries(arg);
        let harmless = |arg: &Value| arg.plain().is_some_and(looks) || asks(arg);
        let first = call.args.iter().find(|arg| !arg.text.starts_with('-') || harmless(arg) || call.name == "pacman");
        let looks = match first {
            Some(first) => harmless(first),
            None => call.args.iter().any(harmless),
        };
        return if looks { Ok(()) } else { Err(refusal()) };
    }
    let name = if call.name.starts_with("pip") { "pip" } else { call.name };
    let global = GLOBAL.iter().find(|(known, _)| *known == name).map(|(_, words)| *words).unwrap_or_default();
    let changes = |arg: &Value| {
        let words = ["install", "i", "add", "uninstall", "remove", "rm", "un", "update", "up", "upgrade", "link", "ln"];
        arg.plain().is_some_and(|arg| words.contains(&arg))
    };
    let named = call.args.iter().any(|arg| arg.plain().is_some_and(|arg| global.contains(&arg)));
    let located = option_values(call.args, &["--location"]).iter().any(|value| value.plain() == Some("global"));
    let named = named || located && name == "npm";
    if named && call.args.iter().any(changes) { Err(refusal()) } else { Ok(()) }
}

fn rig(args: &[Value]) -> Result<(), Refusal> {
    let words: Vec<Option<&str>> = args.iter().filter(|arg| arg.text != "--json").map(Value::plain).collect();
    match words.as_slice() {
        [Some("--help" | "-h" | "--version" | "-V" | "help"), ..] => Ok(()),
        [Some("phase"), Some(command), rest @ ..] if RIG_PHASE.contains(command) => {
            let another = |word: &Option<&str>| {
                word.is_some_and(|word| {
                    ["--root", "--project", "--issue"].iter().any(|option| word.starts_with(option))
                })
            };
            if *command == "set" && rest.iter().any(another) {
                return Err(Refusal::new(
                    "`rig phase set` for another issue",
                    "An agent sets the phase of its own run only.",
                ));
            }
            Ok(())
        }
        _ => Err(Refusal::new(
            "of rig's commands an agent uses `rig phase` only",
            "The others belong to people and to rig itself.",
        )),
    }
}
