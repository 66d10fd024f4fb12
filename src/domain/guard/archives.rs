//! Programs that pack files, and remove what they have packed; and where they unpack to. tar is a matter of its own.

use super::{
    files::into,
    options::{Line, NOTHING, Takes, operands, option_values},
    rules::Refusal,
    value::Value,
    walk::Call,
};

type Judged = Result<(), Refusal>;

/// Programs that put a compressed file in the place of each of their operands, or the other way round.
pub(super) const COMPRESSORS: [&str; 22] = [
    "gzip",
    "gunzip",
    "pigz",
    "unpigz",
    "bzip2",
    "bunzip2",
    "pbzip2",
    "lbzip2",
    "xz",
    "unxz",
    "lzma",
    "unlzma",
    "lzip",
    "lzop",
    "compress",
    "uncompress",
    "zstd",
    "unzstd",
    "zstdmt",
    "lz4",
    "unlz4",
    "brotli",
];
/// Of them, those that leave the operand where it is unless told otherwise.
const KEEPERS: [&str; 7] = ["zstd", "unzstd", "zstdmt", "lz4", "unlz4", "brotli", "lzop"];

pub(super) fn compress(call: &Call<'_>, what: &str) -> Judged {
    let has = |letters: &str, long: &[&str]| {
        let short = |arg: &Value| !arg.text.starts_with("--") && arg.text.chars().skip(1).any(|c| letters.contains(c));
        call.args.iter().any(|arg| arg.is_option() && (short(arg) || long.contains(&arg.text.as_str())))
    };
    if has("clt", &["--stdout", "--to-stdout", "--list", "--test"]) {
        return Ok(());
    }
    let removes = match KEEPERS.contains(&call.name) {
        true => has("j", &["--rm"]),
        false => !has("k", &["--keep"]),
    };
    option_values(call.args, &["-o", "--output"]).iter().try_for_each(|file| call.places.write(file, what))?;
    let with_value = ["-S", "--suffix", "-T", "--threads", "-p", "--processes", "-b", "-o", "--output", "-D", "-M"];
    operands(call.args, &with_value).iter().filter(|file| file.text != "-").try_for_each(|file| match removes {
        true => call.places.remove(file, what),
        // What is made lies beside it.
        false => call.places.write(&Value { text: format!("{}.packed", file.text), ..file.clone() }, what),
    })
}

/// `zip` and `7z`: the archive is written, and with `-m` or `-sdel` what was packed goes.
pub(super) fn zip(call: &Call<'_>, what: &str) -> Judged {
    let is_zip = call.name == "zip";
    if is_zip && call.args.iter().any(|arg| arg.text.starts_with("-TT") || arg.text.starts_with("--unzip-c")) {
        return Err(Refusal::new("`zip` would run a command to test the archive", "Leave the option away."));
    }
    let moves = |arg: &Value| match is_zip {
        true => {
            arg.text.starts_with("--mov") || arg.is_option() && !arg.text.starts_with("--") && arg.text.contains('m')
        }
        false => arg.text.starts_with("-sdel"),
    };
    let with_value = ["-x", "-i", "-b", "-n", "-t", "-tt", "-P", "-s", "-O", "--out", "--exclude", "--include"];
    let operands = operands(call.args, if is_zip { &with_value } else { &[] });
    let (archive, packed) = match (is_zip, operands.as_slice()) {
        (true, [archive, packed @ ..]) => (archive, packed),
        (false, [command, archive, packed @ ..]) if matches!(command.text.as_str(), "a" | "u" | "d" | "rn") => {
            (archive, packed)
        }
        (false, [command, ..]) if matches!(command.text.as_str(), "x" | "e") => {
            let folders = option_values(call.args, &["-o"]);
            return unpacks(call, folders.iter(), what);
        }
        _ => return Ok(()),
    };
    if archive.text != "-" {
        call.places.write(archive, what)?;
    }
    match call.args.iter().any(moves) {
        true if call.args.iter().any(|arg| arg.text == "-@") => {
            Err(Refusal::new("which files `zip` removes is not known before it runs", "Name them."))
        }
        true => packed.iter().try_for_each(|file| call.places.remove(file, what)),
        false => Ok(()),
    }
}

const UNZIP: Takes = Takes { letters: "dPIO", ..NOTHING };

pub(super) fn unzip(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &UNZIP);
    let only_looks = line.operands.is_empty() || line.has("ltzvpcZ", &[]);
    if only_looks && !line.has("d", &[]) {
        return Ok(());
    }
    unpacks(call, line.values("d", &[]), what)
}

const CPIO: Takes = Takes {
    letters: "CDEFHIMORW",
    long: &["--directory", "--file", "--format", "--pattern-file", "--owner", "--message", "--io-size"],
    ..NOTHING
};

pub(super) fn cpio(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &CPIO);
    if line.has("p", &["--pass-through"]) {
        return line.operands.iter().try_for_each(|folder| call.places.write(&into(folder), what));
    }
    if line.has("o", &["--create"]) {
        return line.values("FO", &["--file"]).try_for_each(|file| call.places.write(file, what));
    }
    match line.has("i", &["--extract"]) && !line.has("t", &["--list", "--to-stdout"]) {
        true => unpacks(call, line.values("D", &["--directory"]), what),
        false => Ok(()),
    }
}

/// Judges the folders that something is unpacked into; without one, it is the folder that the shell is in.
fn unpacks<'a>(call: &Call<'_>, folders: impl Iterator<Item = &'a Value>, what: &str) -> Judged {
    let mut folders = folders.peekable();
    if folders.peek().is_none() {
        return call.places.write(&into(&Value::literal(".")), what);
    }
    folders.try_for_each(|folder| call.places.write(&into(folder), what))
}
