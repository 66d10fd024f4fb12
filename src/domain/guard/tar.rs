//! tar: where an archive is unpacked to, what one is written to, and what is removed once it is packed.

use super::{
    files::into,
    options::{Line, NOTHING, Takes},
    rules::Refusal,
    value::Value,
    walk::Call,
};

type Judged = Result<(), Refusal>;

const TAKES: Takes = Takes {
    letters: "bCfFgHIKLNTVX",
    long: &[
        "--file",
        "--directory",
        "--exclude",
        "--exclude-from",
        "--files-from",
        "--use-compress-program",
        "--transform",
        "--xform",
        "--strip-components",
        "--listed-incremental",
        "--index-file",
        "--volno-file",
        "--info-script",
        "--new-volume-script",
        "--rsh-command",
        "--to-command",
        "--format",
        "--owner",
        "--group",
        "--mode",
        "--mtime",
        "--newer",
        "--sort",
        "--label",
        "--suffix",
    ],
    ..NOTHING
};
/// What makes or changes an archive.
const CHANGES: [&str; 6] = ["--create", "--append", "--update", "--catenate", "--concatenate", "--delete"];

pub(super) fn judge(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read_bundle(call.args, &TAKES);
    if line.has("", &["--to-command", "--checkpoint-action"]) {
        return Err(Refusal::new("`tar` would run a command for what it unpacks", "Unpack first, then run it."));
    }
    line.values("g", &["--listed-incremental", "--index-file", "--volno-file"])
        .try_for_each(|file| call.places.write(file, what))?;
    if line.has("", &["--remove-files"]) {
        removes(call, &line, what)?;
    }
    if line.has("x", &["--extract", "--get"]) && !line.has("O", &["--to-stdout"]) {
        return unpacks(call, &line, what);
    }
    if line.has("cruA", &CHANGES) {
        let files = line.values("f", &["--file"]).filter(|file| file.plain() != Some("-"));
        return files.into_iter().try_for_each(|file| call.places.write(file, what));
    }
    Ok(())
}

fn unpacks(call: &Call<'_>, line: &Line, what: &str) -> Judged {
    let mut folder = Value::literal(".");
    for next in line.values("C", &["--directory"]) {
        // Each is seen from the one before it.
        folder = inside(&folder, next);
    }
    call.places.write(&into(&folder), what)?;
    let top = line.values("", &["--one-top-level"]);
    top.into_iter().try_for_each(|top| call.places.write(&into(&inside(&folder, top)), what))
}

/// `tar --remove-files`: the operands go, seen from each folder that `-C` names.
fn removes(call: &Call<'_>, line: &Line, what: &str) -> Judged {
    if line.has("T", &["--files-from"]) {
        return Err(Refusal::new("which files `tar` removes is not known before it runs", "Name them."));
    }
    let folders: Vec<&Value> = line.values("C", &["--directory"]).collect();
    for file in &line.operands {
        if folders.is_empty() {
            call.places.remove(file, what)?;
        }
        folders.iter().try_for_each(|folder| call.places.remove(&inside(folder, file), what))?;
    }
    Ok(())
}

/// Returns a path as it is seen from a folder.
fn inside(folder: &Value, path: &Value) -> Value {
    if path.text.starts_with('/') {
        return path.clone();
    }
    let text = format!("{}/{}", folder.text.trim_end_matches('/'), path.text);
    Value { text, known: folder.known && path.known, glob: folder.glob || path.glob, ..path.clone() }
}
