//! Programs that write or remove files: their operands are judged by where they lie.

use super::{archives, rules::Refusal, value::Value, walk::Call};

type Judged = Result<(), Refusal>;

pub(super) fn judge(call: &Call<'_>) -> Judged {
    let what = format!("`{}`", call.name);
    let what = what.as_str();
    match call.name {
        "rm" | "rmdir" | "unlink" | "shred" | "srm" | "trash" | "gio" | "wipe" => {
            operands(call.args, &["-n", "-s", "--iterations", "--size"])
                .iter()
                .try_for_each(|arg| call.places.remove(arg, what))
        }
        "truncate" => operands(call.args, &["-s", "-r", "--size", "--reference"])
            .iter()
            .try_for_each(|arg| call.places.remove(arg, what)),
        "mv" | "cp" | "install" | "ln" | "rsync" | "scp" | "link" => transfer(call, what),
        "tee" | "touch" | "mkdir" | "mkfifo" | "mknod" | "sponge" => {
            let with_value = ["-m", "--mode", "-d", "-r", "-t", "--date", "--reference"];
            operands(call.args, &with_value).iter().try_for_each(|arg| call.places.write(arg, what))
        }
        "chmod" | "chown" | "chgrp" | "chattr" | "setfacl" => {
            let operands = operands(call.args, &["--reference", "-m", "-x"]);
            operands.iter().skip(1).try_for_each(|arg| call.places.write(arg, what))
        }
        "dd" => call.args.iter().filter_map(output_of_dd).try_for_each(|arg| call.places.write(&arg, what)),
        "find" => find(call, what),
        "sed" | "gsed" => sed(call, what),
        "sort" | "curl" | "gcc" | "cc" | "clang" | "objdump" | "pandoc" | "shuf" | "uniq" => {
            option_values(call.args, &["-o", "--output"]).iter().try_for_each(|arg| call.places.write(arg, what))
        }
        "wget" => {
            option_values(call.args, &["-O", "--output-document", "-P", "--directory-prefix", "-o", "--output-file"])
                .iter()
                .try_for_each(|arg| call.places.write(arg, what))
        }
        "tar" | "bsdtar" | "gtar" => tar(call, what),
        "zip" | "7z" | "7za" | "7zr" | "7zz" => archives::zip(call, what),
        name if archives::COMPRESSORS.contains(&name) => archives::compress(call, what),
        "unzip" => option_values(call.args, &["-d"]).iter().try_for_each(|arg| call.places.write(arg, what)),
        "patch" => {
            let folder = option_values(call.args, &["-d", "--directory", "-o", "--output"]);
            folder
                .iter()
                .chain(operands(call.args, &["-i", "-p", "-d", "-o"]).iter().take(1))
                .try_for_each(|arg| call.places.write(arg, what))
        }
        _ => Ok(()),
    }
}

/// Returns the operands: what is no option, and no value of one that takes a value.
pub(super) fn operands(args: &[Value], with_value: &[&str]) -> Vec<Value> {
    let (mut found, mut at, mut options) = (Vec::new(), 0, true);
    while let Some(arg) = args.get(at) {
        match arg.text.as_str() {
            "--" if options && arg.known => options = false,
            text if options && with_value.contains(&text) => at += 1,
            _ if options && arg.is_option() => {}
            _ => found.push(arg.clone()),
        }
        at += 1;
    }
    found
}

/// Returns the values of options, whether they stand behind them or in the same word.
pub(super) fn option_values(args: &[Value], options: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        if arg.known && arg.text == "--" {
            break;
        }
        for option in options {
            if arg.text == *option {
                found.extend(args.get(at + 1).cloned());
            } else if let Some(value) = arg.after(&format!("{option}=")).filter(|_| option.starts_with("--")) {
                found.push(value);
            } else if let Some(value) = arg.after(option).filter(|_| !option.starts_with("--")) {
                found.push(value);
            }
        }
    }
    found
}

/// `mv`, `cp` and their like: what is written, for `mv` also what is removed, and for links also what they lead to.
fn transfer(call: &Call<'_>, what: &str) -> Judged {
    let with_value = [
        "-t",
        "--target-directory",
        "-m",
        "-o",
        "-g",
        "-S",
        "--mode",
        "--owner",
        "--group",
        "--suffix",
        "-e",
        "--exclude",
        "--include",
        "--rsh",
        "-P",
        "-i",
    ];
    let mut operands = operands(call.args, &with_value);
    let into = option_values(call.args, &["-t", "--target-directory"]);
    let is_folder_list =
        call.name == "install" && call.args.iter().any(|arg| arg.text == "-d" || arg.text == "--directory");
    let targets = match into.as_slice() {
        _ if is_folder_list => std::mem::take(&mut operands),
        [] => match operands.len() {
            // `ln TARGET` makes the link here.
            0 | 1 => Vec::new(),
            _ => operands.pop().into_iter().collect(),
        },
        _ => into,
    };
    let is_remote = |arg: &Value| {
        matches!(call.name, "rsync" | "scp") && arg.text.split('/').next().is_some_and(|first| first.contains(':'))
    };
    for target in targets.iter().filter(|target| !is_remote(target)) {
        call.places.write(target, what)?;
    }
    match call.name {
        "mv" => operands.iter().try_for_each(|arg| call.places.remove(arg, what)),
        "ln" | "link" => operands.iter().try_for_each(|arg| link_target(call, arg, targets.first(), what)),
        "rsync" if call.args.iter().any(|arg| arg.text == "--remove-source-files") => {
            operands.iter().filter(|arg| !is_remote(arg)).try_for_each(|arg| call.places.remove(arg, what))
        }
        _ => Ok(()),
    }
}

/// A link is as good as the place it leads to, for everything that comes after it.
fn link_target(call: &Call<'_>, target: &Value, link: Option<&Value>, what: &str) -> Judged {
    let symbolic = call.args.iter().any(|arg| arg.is_option() && !arg.text.starts_with("--") && arg.text.contains('s'))
        || call.args.iter().any(|arg| arg.text == "--symbolic");
    let from = match link.and_then(|link| link.plain().map(|text| (link, text))) {
        Some((link, text)) if symbolic && !target.text.starts_with('/') => match text.rsplit_once('/') {
            _ if call.places.exists(link) => format!("{text}/{}", target.text),
            Some((folder, _)) => format!("{folder}/{}", target.text),
            None => target.text.clone(),
        },
        _ => target.text.clone(),
    };
    call.places
        .write(&Value { text: from, ..target.clone() }, what)
        .map_err(|refusal| Refusal { reason: format!("a link to the outside: {}", refusal.reason) })
}

fn output_of_dd(arg: &Value) -> Option<Value> {
    arg.after("of=")
}

fn find(call: &Call<'_>, what: &str) -> Judged {
    let options = |arg: &&Value| matches!(arg.text.as_str(), "-H" | "-L" | "-P");
    let start: Vec<&Value> =
        call.args.iter().skip_while(options).take_while(|arg| !arg.text.starts_with(['-', '(', '!'])).collect();
    if call.args.iter().any(|arg| arg.text == "-delete") {
        if call.args.iter().any(|arg| arg.text == "-L" || arg.text == "-follow") {
            return Err(Refusal::new("`find -L -delete` follows links to the outside", "Leave -L away."));
        }
        let here = [Value::literal(".")];
        let start: Vec<&Value> = if start.is_empty() { here.iter().collect() } else { start };
        for folder in start {
            // What is below the worktree may go, the worktree itself stays: find cannot remove the folder it is in.
            let below =
                Value { text: format!("{}/found*", folder.text.trim_end_matches('/')), glob: true, ..folder.clone() };
            call.places.remove(&below, what)?;
        }
    }
    option_values(call.args, &["-fprint", "-fprint0", "-fls", "-fprintf"])
        .iter()
        .try_for_each(|arg| call.places.write(arg, what))
}

/// `sed -i` writes its files; `w FILE` in its script is not looked for.
fn sed(call: &Call<'_>, what: &str) -> Judged {
    let in_place = |arg: &Value| {
        arg.text.starts_with("--in-place") || arg.is_option() && !arg.text.starts_with("--") && arg.text.contains('i')
    };
    if !call.args.iter().any(in_place) {
        return Ok(());
    }
    let has_script = call.args.iter().any(|arg| matches!(arg.text.as_str(), "-e" | "-f" | "--expression" | "--file"));
    let operands = operands(call.args, &["-e", "-f", "--expression", "--file", "-l"]);
    operands.iter().skip(usize::from(!has_script)).try_for_each(|arg| call.places.write(arg, what))
}

/// Where an archive is unpacked to, and, when one is made, what it is written to.
fn tar(call: &Call<'_>, what: &str) -> Judged {
    if call.args.iter().any(|arg| {
        arg.text == "--to-command"
            || arg.text.starts_with("--to-command=")
            || arg.text.starts_with("--checkpoint-action")
    }) {
        return Err(Refusal::new("`tar` would run a command for what it unpacks", "Unpack first, then run it."));
    }
    let first = call.args.first().map(|arg| arg.text.trim_start_matches('-')).unwrap_or_default();
    let has = |letter: char, long: &str| {
        let short =
            call.args.iter().any(|arg| arg.is_option() && !arg.text.starts_with("--") && arg.text.contains(letter));
        short || first.contains(letter) || call.args.iter().any(|arg| arg.text == long)
    };
    let folders = option_values(call.args, &["-C", "--directory"]);
    if call.args.iter().any(|arg| arg.text.starts_with("--remove-f")) {
        archives::tar_removes(call, &folders, what)?;
    }
    if has('x', "--extract") {
        return folders.iter().try_for_each(|arg| call.places.write(&into(arg), what));
    }
    if has('c', "--create") {
        let file = option_values(call.args, &["-f", "--file"]);
        let bundled = call
            .args
            .iter()
            .position(|arg| arg.is_option() && arg.text.ends_with('f') || first.ends_with('f') && arg.text == first);
        let bundled = bundled.and_then(|at| call.args.get(at + 1));
        let file = file.iter().filter(|file| !file.text.is_empty()).chain(bundled);
        return file.filter(|file| file.text != "-").try_for_each(|arg| call.places.write(arg, what));
    }
    Ok(())
}

/// Returns something in a folder, so that the worktree as a target is no replacement of it.
fn into(folder: &Value) -> Value {
    Value { text: format!("{}/unpacked", folder.text.trim_end_matches('/')), ..folder.clone() }
}
