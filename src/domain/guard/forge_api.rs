//! Requests that would merge, approve or close on the forge, or change anything else there: by HTTP, or by the forges' own
//! programs. The agent has no token for it; this is the second wall.

use super::{
    http::{self, Request, host_and_path},
    options::operands,
    rules::Refusal,
    value::Value,
    walk::Call,
};

/// The forges' own programs.
const PROGRAMS: [&str; 8] = ["gh", "glab", "tea", "fj", "hub", "berg", "lab", "forgejo-cli"];
/// Their words that only look.
const LOOKS: [&str; 17] = [
    "list",
    "ls",
    "view",
    "show",
    "diff",
    "checks",
    "status",
    "log",
    "search",
    "watch",
    "help",
    "--help",
    "-h",
    "--version",
    "version",
    "get",
    "clone",
];
/// Their words that change something, wherever they stand.
const CHANGES: [&str; 22] = [
    "merge", "close", "approve", "review", "reopen", "create", "new", "edit", "delete", "comment", "note", "lock",
    "unlock", "transfer", "set", "add", "rm", "remove", "run", "sync", "update", "reject",
];
/// What tea lists when it is only named, and shows when a number follows.
const TEA_LISTS: [&str; 13] = [
    "issues",
    "issue",
    "i",
    "pulls",
    "pull",
    "pr",
    "labels",
    "milestones",
    "releases",
    "branches",
    "repos",
    "notifications",
    "times",
];
const TEA_VALUES: [&str; 10] =
    ["-r", "--repo", "-R", "--remote", "-l", "--login", "-o", "--output", "--state", "--fields"];
/// Programs that speak to a host without knowing HTTP.
const RAW: [&str; 7] = ["nc", "ncat", "netcat", "telnet", "socat", "openssl", "websocat"];

pub(super) fn judge(call: &Call<'_>) -> Result<(), Refusal> {
    match call.name {
        "curl" | "curlie" => request(call, &http::curl(call.args)),
        "wget" | "wget2" => request(call, &http::wget(call.args)),
        "http" | "https" | "xh" | "xhs" => request(call, &http::httpie(call.args)),
        name if PROGRAMS.contains(&name) => program(call),
        name if RAW.contains(&name) => {
            let forge = host_and_path(&Value::literal(&call.confines.forge_url)).map(|(host, _)| host);
            let forge = forge
                .as_deref()
                .and_then(|host| host.rsplit_once(':'))
                .map(|(name, port)| (name.to_owned(), port.to_owned()));
            let names = |arg: &Value| {
                forge.as_ref().is_some_and(|(name, port)| {
                    let local = name == "localhost"
                        && (arg.text.contains("127.") || arg.text.contains("localhost") || arg.text == "::1");
                    let is_port = call.args.iter().any(|other| other.text.contains(port));
                    let is_alias = name != "localhost" && call.around.same_host(name, &arg.text);
                    is_port && (local || is_alias) || arg.text.contains(name.as_str()) && name != "localhost"
                })
            };
            if call.args.iter().any(names) { Err(refusal("speaking to the forge past git")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn refusal(what: &str) -> Refusal {
    Refusal::new(
        format!("{what} is not the agent's: rig opens, merges and closes"),
        "Push your branch and write the phase file; reading from the forge is fine.",
    )
}

/// Returns whether two hosts, each with its port, are one: by name, or by what this machine knows of names.
fn same_server(call: &Call<'_>, one: &str, other: &str) -> bool {
    let split = |host: &str| host.rsplit_once(':').map(|(name, port)| (name.to_owned(), port.to_owned()));
    let (Some((one, port)), Some((other, same_port))) = (split(one), split(other)) else { return one == other };
    port == same_port && (one == other || call.around.same_host(&one, &other))
}

fn request(call: &Call<'_>, request: &Request) -> Result<(), Refusal> {
    if !request.changes {
        return Ok(());
    }
    if request.redirected {
        return Err(Refusal::new(
            "a request that changes something, to where its address does not say",
            "Name the address plainly.",
        ));
    }
    let forge = host_and_path(&Value::literal(&call.confines.forge_url)).map(|(host, _)| host);
    for address in &request.addresses {
        let Some((host, path)) = host_and_path(address) else {
            let word = address.text.as_str();
            // What is no address at all is the value of an option that is not known here.
            if address.known && !word.contains(['.', '/', ':', '[', '{']) && word != "localhost" {
                continue;
            }
            return Err(Refusal::new(
                format!("to where `{}` sends this change is not known before it runs", call.name),
                "Write the host of the address out.",
            ));
        };
        if forge.as_ref().is_some_and(|forge| same_server(call, forge, &host)) {
            return Err(refusal("changing something on the forge through its API"));
        }
        if is_forge_api(&host, &path) {
            return Err(refusal("changing an issue or pull request through a forge's API"));
        }
    }
    Ok(())
}

/// Returns whether a path is that of issues, pull requests or branches in the API of a forge, whatever its host is called.
fn is_forge_api(host: &str, path: &str) -> bool {
    let parts: Vec<&str> = path.split(['/', '?']).filter(|part| !part.is_empty() && *part != ".").collect();
    let things = ["pulls", "issues", "merge_requests", "branches", "branch_protections", "git", "contents", "merges"];
    let behind = |start: &str| parts.iter().position(|part| *part == start).map(|at| &parts[at + 1..]);
    let named = |rest: &[&str]| rest.iter().any(|part| things.contains(part));
    // Repositories of owners are a forge's; a server on this machine may be what the agent works on.
    let is_api = parts.iter().any(|part| matches!(*part, "v1" | "v3" | "v4")) && !host.starts_with("localhost:");
    let of_owner = behind("repos").is_some_and(|rest| is_api && rest.len() >= 2);
    of_owner
        || behind("repos").or_else(|| behind("projects")).is_some_and(named)
        || parts.iter().zip(parts.iter().skip(2)).any(|(thing, verb)| *thing == "pulls" && *verb == "merge")
}

fn program(call: &Call<'_>) -> Result<(), Refusal> {
    let is_tea = call.name == "tea";
    let operands = operands(call.args, if is_tea { &TEA_VALUES } else { &["-R", "--repo", "--hostname"] });
    let words: Vec<&str> = operands.iter().map(|arg| arg.plain().unwrap_or("?")).take(2).collect();
    if words.first() == Some(&"api") {
        let writes = |arg: &Value| {
            !arg.known
                || ["-X", "-f", "-F", "--method", "--field", "--raw-field", "--input"]
                    .iter()
                    .any(|option| arg.text.starts_with(option))
        };
        let graph = call.args.iter().any(|arg| arg.text.contains("graphql"));
        let plain_get = call.args.iter().zip(call.args.iter().skip(1)).any(|(option, method)| {
            matches!(option.text.as_str(), "-X" | "--method") && method.text.eq_ignore_ascii_case("get")
        });
        return if !graph && (plain_get || !call.args.iter().any(writes)) {
            Ok(())
        } else {
            Err(refusal("changing something through the forge's API"))
        };
    }
    let looks = words.iter().any(|word| LOOKS.contains(word))
        || call.args.first().is_some_and(|arg| arg.is_option() && LOOKS.contains(&arg.text.as_str()));
    // `gh run` is about runs; what it does with them is the next word.
    let acts = if words.first() == Some(&"run") { &words[1..] } else { &words[..] };
    if looks && !acts.iter().any(|word| CHANGES.contains(word)) {
        return Ok(());
    }
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit());
    match words.as_slice() {
        [thing] if is_tea && TEA_LISTS.contains(thing) => return Ok(()),
        [thing, number] if is_tea && TEA_LISTS.contains(thing) && is_number(number) => return Ok(()),
        _ => {}
    }
    Err(refusal(&format!("`{} {}`", call.name, words.join(" "))))
}
