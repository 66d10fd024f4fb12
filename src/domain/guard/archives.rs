//! Programs that pack files, and remove what they have packed.

use super::{
    files::{operands, option_values},
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
            return folders.iter().try_for_each(|folder| call.places.write(folder, what));
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

/// `tar --remove-files`: the operands go, seen from each folder that `-C` names.
pub(super) fn tar_removes(call: &Call<'_>, folders: &[Value], what: &str) -> Judged {
    let with_value = ["-f", "--file", "-C", "--directory", "-I", "--use-compress-program", "-X", "-T", "--exclude"];
    let mut packed = operands(call.args, &with_value);
    // `tar cf ARCHIVE FILE...`, and an archive behind letters of which the last is f.
    let bundled = call.args.iter().enumerate().position(|(at, arg)| {
        let letters = arg.text.strip_prefix('-').or((at == 0).then_some(arg.text.as_str())).unwrap_or_default();
        letters.len() > 1 && letters.ends_with('f') && letters.chars().all(char::is_alphabetic)
    });
    let archive = bundled.and_then(|at| call.args.get(at + 1));
    packed.retain(|file| Some(file) != archive && Some(file) != bundled.and_then(|at| call.args.get(at)));
    if call
        .args
        .iter()
        .any(|arg| matches!(arg.text.as_str(), "-T" | "--files-from") || arg.text.starts_with("--files-from="))
    {
        return Err(Refusal::new("which files `tar` removes is not known before it runs", "Name them."));
    }
    for file in &packed {
        if folders.is_empty() {
            call.places.remove(file, what)?;
        }
        for folder in folders {
            let text = format!("{}/{}", folder.text.trim_end_matches('/'), file.text);
            let known = folder.known && file.known;
            call.places.remove(&Value { text, known, glob: folder.glob || file.glob }, what)?;
        }
    }
    Ok(())
}
