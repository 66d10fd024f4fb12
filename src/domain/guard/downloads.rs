//! curl and wget: which files they write. What they ask of a server is judged elsewhere.

use super::{
    files::into,
    options::{Line, NOTHING, Takes},
    rules::Refusal,
    value::Value,
    walk::Call,
};

type Judged = Result<(), Refusal>;

const CURL: Takes = Takes {
    letters: super::http::CURL_VALUES,
    long: &[
        "--output",
        "--output-dir",
        "--cookie",
        "--cookie-jar",
        "--dump-header",
        "--trace",
        "--trace-ascii",
        "--stderr",
        "--hsts",
        "--alt-svc",
        "--libcurl",
        "--etag-save",
        "--etag-compare",
        "--header",
        "--request",
        "--user",
        "--data",
    ],
    flags: &["--head"],
    ..NOTHING
};
const CURL_WRITES: [&str; 10] = [
    "--output",
    "--cookie-jar",
    "--dump-header",
    "--trace",
    "--trace-ascii",
    "--stderr",
    "--hsts",
    "--alt-svc",
    "--libcurl",
    "--etag-save",
];

pub(super) fn curl(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &CURL);
    line.values("ocD", &CURL_WRITES).try_for_each(|file| write(call, file, what))?;
    let folders: Vec<Value> = line.values("", &["--output-dir"]).cloned().collect();
    if folders.is_empty() && line.has("O", &["--remote-name", "--remote-name-all"]) {
        return call.places.write(&into(&Value::literal(".")), what);
    }
    folders.iter().try_for_each(|folder| call.places.write(&into(folder), what))
}

const WGET: Takes = Takes {
    // `-n` is the beginning of others, such as `-nv`.
    letters: "OoaiBtPUTwQeDARlIXn",
    long: &[
        "--output-document",
        "--output-file",
        "--append-output",
        "--directory-prefix",
        "--save-cookies",
        "--rejected-log",
        "--hsts-file",
        "--warc-file",
        "--input-file",
        "--header",
        "--user-agent",
        "--user",
        "--password",
        "--tries",
        "--timeout",
        "--method",
        "--body-data",
        "--post-data",
    ],
    ..NOTHING
};
const WGET_WRITES: [&str; 7] = [
    "--output-document",
    "--output-file",
    "--append-output",
    "--save-cookies",
    "--rejected-log",
    "--hsts-file",
    "--warc-file",
];

pub(super) fn wget(call: &Call<'_>, what: &str) -> Judged {
    let line = Line::read(call.args, &WGET);
    line.values("Ooa", &WGET_WRITES).try_for_each(|file| write(call, file, what))?;
    let prefixes: Vec<Value> = line.values("P", &["--directory-prefix"]).cloned().collect();
    let asks = !line.operands.is_empty() || line.has("i", &["--input-file"]);
    let elsewhere = line.has("O", &["--output-document", "--spider"]);
    if prefixes.is_empty() && asks && !elsewhere {
        return call.places.write(&into(&Value::literal(".")), what);
    }
    prefixes.iter().try_for_each(|folder| call.places.write(&into(folder), what))
}

/// Judges a file that a download is written to, unless it is the terminal.
fn write(call: &Call<'_>, file: &Value, what: &str) -> Judged {
    match file.plain() {
        Some("-") => Ok(()),
        _ => call.places.write(file, what),
    }
}
