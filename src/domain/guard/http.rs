//! What a command line of curl, wget or httpie asks for: the addresses, and whether it changes anything there.

use super::value::Value;

/// A request as far as the command line tells.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) addresses: Vec<Value>,
    /// It is not known to be one that only reads.
    pub(super) changes: bool,
    /// It goes elsewhere than its addresses say, or they come from a file.
    pub(super) redirected: bool,
}

const READS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// Options of curl that take a value which is no address. Those with data are among them.
pub(super) const CURL_VALUES: &str = "AbcCDdeEFhHKmoPQrtTuUwxXyYz";

pub(super) fn curl(args: &[Value]) -> Request {
    const LONG_VALUES: [&str; 34] = [
        "--request",
        "--header",
        "--user",
        "--output",
        "--data",
        "--data-raw",
        "--data-binary",
        "--data-ascii",
        "--data-urlencode",
        "--json",
        "--form",
        "--form-string",
        "--upload-file",
        "--cookie",
        "--cookie-jar",
        "--referer",
        "--user-agent",
        "--max-time",
        "--connect-timeout",
        "--retry",
        "--retry-delay",
        "--write-out",
        "--proxy",
        "--cacert",
        "--cert",
        "--key",
        "--config",
        "--connect-to",
        "--resolve",
        "--unix-socket",
        "--range",
        "--limit-rate",
        "--url-query",
        "--retry-max-time",
    ];
    let mut request = Request::default();
    let (mut at, mut as_get) = (0, false);
    while let Some(arg) = args.get(at) {
        at += 1;
        let next = args.get(at);
        if !arg.is_option() {
            request.addresses.push(arg.clone());
            continue;
        }
        if let Some(name) = arg.text.strip_prefix("--") {
            let (name, inline) = match name.split_once('=') {
                Some((name, _)) => (name, arg.after(&format!("--{name}="))),
                None => (name, None),
            };
            let long = format!("--{name}");
            let takes = LONG_VALUES.contains(&long.as_str()) || name == "url";
            let value = inline.or_else(|| next.filter(|_| takes).cloned());
            at += usize::from(takes && !arg.text.contains('='));
            match name {
                "url" => request.addresses.extend(value),
                "get" => as_get = true,
                "head" => {}
                "request" => request.changes |= method_changes(value.as_ref()),
                "json" | "form" | "form-string" | "upload-file" | "quote" => request.changes = true,
                _ if name.starts_with("data") => request.changes |= !as_get && !args.iter().any(is_get),
                "config" | "connect-to" | "resolve" | "proxy" | "preproxy" => request.redirected = true,
                _ if !arg.known => request.changes = true,
                _ => {}
            }
            continue;
        }
        // A group of letters: the first that takes a value takes the rest of the word, or the next one.
        let letters: Vec<char> = arg.text.chars().skip(1).collect();
        for (index, letter) in letters.iter().enumerate() {
            if !CURL_VALUES.contains(*letter) {
                as_get |= *letter == 'G';
                continue;
            }
            let rest: String = letters[index + 1..].iter().collect();
            let value = if rest.is_empty() { next.cloned() } else { Some(Value { text: rest.clone(), ..arg.clone() }) };
            at += usize::from(rest.is_empty());
            match letter {
                'X' => request.changes |= method_changes(value.as_ref()),
                'd' => request.changes |= !as_get && !args.iter().any(is_get),
                'F' | 'T' | 'Q' => request.changes = true,
                'K' | 'x' => request.redirected = true,
                _ => {}
            }
            break;
        }
        if !arg.known && !letters.iter().any(|letter| CURL_VALUES.contains(*letter)) {
            request.changes = true;
        }
    }
    request
}

fn is_get(arg: &Value) -> bool {
    arg.text == "-G"
        || arg.text == "--get"
        || arg.text.starts_with('-') && !arg.text.starts_with("--") && arg.text.contains('G') && arg.text.len() < 6
}

fn method_changes(method: Option<&Value>) -> bool {
    !method.and_then(Value::plain).is_some_and(|method| READS.contains(&method.to_ascii_uppercase().as_str()))
}

pub(super) fn wget(args: &[Value]) -> Request {
    let mut request = Request::default();
    for (at, arg) in args.iter().enumerate() {
        let text = arg.text.as_str();
        if let Some(method) = arg.after("--method=") {
            request.changes |= method_changes(Some(&method));
        } else if text == "--method" {
            request.changes |= method_changes(args.get(at + 1));
        } else if text.starts_with("--post-") || text.starts_with("--body-") || arg.is_option() && !arg.known {
            request.changes = true;
        } else if text.starts_with("--config") || text.starts_with("-e") || text.starts_with("--execute") {
            request.redirected = true;
        } else if !arg.is_option() {
            request.addresses.push(arg.clone());
        }
    }
    request
}

/// httpie and what follows its manner: `http [METHOD] ADDRESS [ITEM...]`; items with `=` or `:=` are data.
pub(super) fn httpie(args: &[Value]) -> Request {
    let operands: Vec<&Value> = args.iter().filter(|arg| !arg.is_option()).collect();
    let mut request = Request::default();
    const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"];
    let is_method =
        |arg: &Value| arg.plain().is_some_and(|text| METHODS.iter().any(|method| text.eq_ignore_ascii_case(method)));
    let mut rest = operands.as_slice();
    if let Some((first, behind)) = rest.split_first()
        && is_method(first)
    {
        request.changes |= method_changes(Some(first));
        rest = behind;
    }
    let Some((address, items)) = rest.split_first() else { return request };
    request.addresses.push((*address).clone());
    let has_method = rest.len() < operands.len();
    let is_data =
        |arg: &&&Value| !arg.known || arg.text.contains('=') && !arg.text.contains("==") || arg.text.contains('@');
    request.changes |= !has_method && items.iter().any(|item| is_data(&item));
    request.changes |= args.iter().any(|arg| arg.text.starts_with("--raw") || arg.text == "-f" || arg.text == "--form");
    request.redirected = args.iter().any(|arg| arg.text.starts_with("--proxy"));
    request
}

/// Host and port of an address, and its path without percent signs. None when the host is not known before it runs.
pub(super) fn host_and_path(address: &Value) -> Option<(String, String)> {
    let text = address.text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let end = rest.find(['/', '?', '#']);
    let (authority, path) = match end {
        Some(end) => rest.split_at(end),
        None if address.known => (rest, ""),
        None => return None,
    };
    let host = authority.rsplit('@').next().unwrap_or(authority).to_ascii_lowercase();
    if host.is_empty() || host.contains(['{', '[', '%', '\\']) && !host.starts_with("[::1]") {
        return None;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => (name.to_owned(), port.to_owned()),
        _ => (host.clone(), if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" }.to_owned()),
    };
    let name = name.trim_end_matches('.');
    let local = name == "localhost" || name.starts_with("127.") || ["[::1]", "0.0.0.0", "0", "[::]"].contains(&name);
    let name = if local { "localhost" } else { name };
    Some((format!("{name}:{port}"), decoded(path)))
}

/// Returns a path with `%41` as `A`.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
