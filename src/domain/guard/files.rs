//! Programs that write or remove files: their operands are judged by where they lie.

use super::{
    archives, downloads,
    options::{Line, NOTHING, Takes, operands, option_values},
    rules::Refusal,
    tar, transfer,
    value::Value,
    walk::Call,
};

type Judged = Result<(), Refusal>;

const SORT: Takes = Takes {
    letters: "koStT",
    long: &["--key", "--output", "--buffer-size", "--field-separator", "--temporary-directory", "--compress-program"],
    ..NOTHING
};
const SHUF: Takes = Takes { letters: "ino", long: &["--head-count", "--input-range", "--output"], ..NOTHING };
const UNIQ: Takes = Takes { letters: "fsw", long: &["--skip-fields", "--skip-chars", "--check-chars"], ..NOTHING };
const PANDOC: Takes = Takes { letters: "frtwodVMHBATeFLcKD", long: &["--output"], ..NOTHING };

pub(super) fn judge(call: &Call<'_>) -> Judged {
    let what = format!("`{}`", call.name);
    let what = what.as_str();
    match call.name {
        "rm" | "rmdir" | "unlink" | "srm" | "trash" | "gio" | "wipe" => {
            operands(call.args, &[]).iter().try_for_each(|arg| call.places.remove(arg, what))
        }
        "shred" => operands(call.args, &["-n", "-s", "--iterations", "--size"])
            .iter()
            .try_for_each(|arg| call.places.remove(arg, what)),
        "truncate" => operands(call.args, &["-s", "-r", "--size", "--reference"])
            .iter()
            .try_for_each(|arg| call.places.remove(arg, what)),
        "mv" | "cp" | "install" | "ln" | "rsync" | "scp" | "link" => transfer::judge(call, what),
        "tee" | "touch" | "mkdir" | "mkfifo" | "mknod" | "sponge" => {
            let with_value = ["-m", "--mode", "-d", "-r", "-t", "--date", "--reference"];
            operands(call.args, &with_value).iter().try_for_each(|arg| call.places.write(arg, what))
        }
        "chmod" | "chown" | "chgrp" | "chattr" | "setfacl" => modes(call, what),
        "dd" => call.args.iter().filter_map(output_of_dd).try_for_each(|arg| call.places.write(&arg, what)),
        "find" => find(call, what),
        "sed" | "gsed" => sed(call, what),
        "sort" => output(call, &SORT, what),
        "shuf" => output(call, &SHUF, what),
        "uniq" => output(call, &UNIQ, what),
        "pandoc" => output(call, &PANDOC, what),
        // Their options are words behind one dash.
        "gcc" | "cc" | "clang" => {
            option_values(call.args, &["-o", "--output"]).iter().try_for_each(|arg| call.places.write(arg, what))
        }
        "curl" | "curlie" => downloads::curl(call, what),
        "wget" | "wget2" => downloads::wget(call, what),
        "tar" | "bsdtar" | "gtar" => tar::judge(call, what),
        "zip" | "7z" | "7za" | "7zr" | "7zz" => archives::zip(call, what),
        "unzip" => archives::unzip(call, what),
        "cpio" => archives::cpio(call, what),
        name if archives::COMPRESSORS.contains(&name) => archives::compress(call, what),
        "patch" => patch(call, what),
        _ => Ok(()),
    }
}

fn output_of_dd(arg: &Value) -> Option<Value> {
    arg.after("of=")
}

/// Returns the folders where `find` starts: they stand behind its own options and before what it looks for.
pub(super) fn start_folders(args: &[Value]) -> Vec<Value> {
    let mut rest = args;
    while let Some((first, behind)) = rest.split_first() {
        rest = match first.text.as_str() {
            "-H" | "-L" | "-P" => behind,
            "-D" => behind.get(1..).unwrap_or_default(),
            text if text.starts_with("-O") => behind,
            _ => break,
        };
    }
    let folders: Vec<Value> = rest.iter().take_while(|arg| !arg.text.starts_with(['-', '(', '!'])).cloned().collect();
    if folders.is_empty() { vec![Value::literal(".")] } else { folders }
}

fn find(call: &Call<'_>, what: &str) -> Judged {
    if call.args.iter().any(|arg| arg.text == "-delete") {
        if call.args.iter().any(|arg| arg.text == "-L" || arg.text == "-follow") {
            return Err(Refusal::new("`find -L -delete` follows links to the outside", "Leave -L away."));
        }
        for folder in &start_folders(call.args) {
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

const SED: Takes = Takes { letters: "efl", inline: "i", long: &["--expression", "--file", "--line-length"], ..NOTHING };

/// `sed -i` writes its files; `w FILE` in its script is not looked for.
fn sed(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &SED);
    if !line.has("i", &["--in-place"]) {
        return Ok(());
    }
    let has_script = line.has("ef", &["--expression", "--file"]);
    line.operands.iter().skip(usize::from(!has_script)).try_for_each(|arg| call.places.write(arg, what))
}

const CHMOD: Takes = Takes { long: &["--reference"], ..NOTHING };
const CHOWN: Takes = Takes { long: &["--reference", "--from"], ..NOTHING };
const CHATTR: Takes = Takes { letters: "pv", ..NOTHING };
const SETFACL: Takes = Takes {
    letters: "mxMX",
    long: &["--modify", "--remove", "--set", "--modify-file", "--remove-file", "--set-file", "--restore"],
    ..NOTHING
};

/// `chmod` and its like change every operand, but for the first where that says how.
fn modes(call: &Call<'_>, what: &str) -> Judged {
    let (takes, letters) = match call.name {
        // `-w` is a mode, not an option.
        "chmod" => (&CHMOD, "rwxXstugo"),
        "chattr" => (&CHATTR, ""),
        "setfacl" => (&SETFACL, ""),
        _ => (&CHOWN, ""),
    };
    let line = Line::read(call.args, takes);
    let says_how = |arg: &&Value| call.name != "chattr" || !arg.text.starts_with(['+', '=']);
    let in_option = matches!(call.name, "chattr" | "setfacl") || line.has(letters, &["--reference"]);
    let mut operands = line.operands.iter().skip(usize::from(!in_option)).filter(says_how);
    operands.try_for_each(|arg| call.places.write(arg, what))
}

const PATCH: Takes = Takes {
    letters: "dirpoBDFVgYzx",
    long: &["--directory", "--output", "--input", "--strip", "--reject-file", "--prefix", "--fuzz", "--ifdef"],
    ..NOTHING
};

fn patch(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &PATCH);
    let here = [Value::literal(".")];
    let folders: Vec<&Value> = line.values("d", &["--directory"]).collect();
    let folders = if folders.is_empty() { here.iter().collect() } else { folders };
    folders.iter().try_for_each(|folder| call.places.write(&into(folder), what))?;
    let files = line.values("or", &["--output", "--reject-file"]).chain(line.operands.iter().take(1));
    files.filter(|file| file.plain() != Some("-")).try_for_each(|file| call.places.write(file, what))
}

/// Programs that write where one option says.
fn output(call: &Call<'_>, takes: &Takes, what: &str) -> Judged {
    let line = Line::read(call.args, takes);
    line.values("o", &["--output"])
        .filter(|file| file.plain() != Some("-"))
        .try_for_each(|file| call.places.write(file, what))?;
    match call.name {
        // The second operand is what it writes.
        "uniq" => line.operands.iter().skip(1).try_for_each(|file| call.places.write(file, what)),
        _ => Ok(()),
    }
}

/// Returns anything in a folder, so that the worktree as a target is no replacement of it.
pub(super) fn into(folder: &Value) -> Value {
    Value { text: format!("{}/*", folder.text.trim_end_matches('/')), glob: true, ..folder.clone() }
}
