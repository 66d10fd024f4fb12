//! Programs that copy, move and link: what they write, what they take away, and what a link leads to.

use super::{
    files::into,
    options::{Line, NOTHING, Takes},
    rules::Refusal,
    value::{Value, base_name},
    walk::Call,
};

type Judged = Result<(), Refusal>;

const COPY: Takes = Takes { letters: "St", long: &["--suffix", "--target-directory"], ..NOTHING };
const INSTALL: Takes = Takes {
    letters: "mogSt",
    long: &["--mode", "--owner", "--group", "--suffix", "--target-directory", "--strip-program"],
    ..NOTHING
};
const SCP: Takes = Takes { letters: "PioFJclSDX", ..NOTHING };
const RSYNC: Takes = Takes {
    letters: "efBTM@",
    long: &[
        "--rsh",
        "--filter",
        "--exclude",
        "--include",
        "--exclude-from",
        "--include-from",
        "--files-from",
        "--log-file",
        "--log-file-format",
        "--backup-dir",
        "--partial-dir",
        "--temp-dir",
        "--write-batch",
        "--only-write-batch",
        "--read-batch",
        "--compare-dest",
        "--copy-dest",
        "--link-dest",
        "--rsync-path",
        "--password-file",
        "--suffix",
        "--chmod",
        "--chown",
        "--max-size",
        "--min-size",
        "--timeout",
        "--bwlimit",
        "--port",
        "--out-format",
        "--compress-level",
        "--info",
    ],
    flags: &["--backup", "--partial", "--compress"],
    ..NOTHING
};
/// Files and folders that rsync writes beside its target.
const RSYNC_WRITES: [&str; 6] =
    ["--log-file", "--backup-dir", "--partial-dir", "--temp-dir", "--write-batch", "--only-write-batch"];

pub(super) fn judge(call: &Call<'_>, what: &str) -> Judged {
    let mut line = Line::read(call.args, takes(call.name));
    let targets = targets(call, &mut line);
    for target in targets.iter().filter(|target| !is_remote(call, target)) {
        call.places.write(target, what)?;
        names_inside(call, &line.operands, target, what)?;
    }
    match call.name {
        "mv" => line.operands.iter().try_for_each(|arg| call.places.remove(arg, what)),
        "ln" | "link" => {
            let symbolic = line.has("s", &["--symbolic"]);
            line.operands.iter().try_for_each(|arg| link_target(call, arg, targets.first(), symbolic, what))
        }
        "rsync" => rsync(call, &line, what),
        _ => Ok(()),
    }
}

fn takes(name: &str) -> &'static Takes {
    match name {
        "install" => &INSTALL,
        "rsync" => &RSYNC,
        "scp" => &SCP,
        _ => &COPY,
    }
}

/// Takes what is written out of the operands.
fn targets(call: &Call<'_>, line: &mut Line) -> Vec<Value> {
    if call.name == "install" && line.has("d", &["--directory"]) {
        return std::mem::take(&mut line.operands);
    }
    let into_folder: Vec<Value> = match call.name {
        "rsync" | "scp" => Vec::new(),
        _ => line.values("t", &["--target-directory"]).cloned().collect(),
    };
    match line.operands.len() {
        _ if !into_folder.is_empty() => into_folder,
        // `ln TARGET` makes the link here.
        1 if call.name == "ln" => vec![into(&Value::literal("."))],
        0 | 1 => Vec::new(),
        _ => line.operands.pop().into_iter().collect(),
    }
}

/// Judges what comes to lie in a folder by its name, where some names are settings.
fn names_inside(call: &Call<'_>, operands: &[Value], target: &Value, what: &str) -> Judged {
    let named = |name: &str| {
        let text = format!("{}/{name}", target.text.trim_end_matches('/'));
        Value { text, ..target.clone() }
    };
    if call.places.is_expected_file(target) || call.places.write(&into(target), what).is_ok() {
        return Ok(());
    }
    operands.iter().try_for_each(|operand| match operand.plain().map(base_name) {
        Some("" | "." | "..") | None => call.places.write(&into(target), what),
        Some(name) => call.places.write(&named(name), what),
    })
}

fn is_remote(call: &Call<'_>, arg: &Value) -> bool {
    matches!(call.name, "rsync" | "scp") && arg.text.split('/').next().is_some_and(|first| first.contains(':'))
}

fn rsync(call: &Call<'_>, line: &Line, what: &str) -> Judged {
    line.values("T", &RSYNC_WRITES).try_for_each(|arg| call.places.write(arg, what))?;
    if !line.has("", &["--remove-source-files"]) {
        return Ok(());
    }
    line.operands.iter().filter(|arg| !is_remote(call, arg)).try_for_each(|arg| call.places.remove(arg, what))
}

/// A link is as good as the place it leads to, for everything that comes after it.
fn link_target(call: &Call<'_>, target: &Value, link: Option<&Value>, symbolic: bool, what: &str) -> Judged {
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
