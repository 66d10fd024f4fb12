//! The command line, as far as claude's is used by anybody; unknown options are passed over.

use std::path::PathBuf;

/// Options with a value that are accepted and not acted on.
const OTHER_WITH_VALUE: [&str; 7] = [
    "--append-system-prompt",
    "--append-system-prompt-file",
    "--setting-sources",
    "--mcp-config",
    "--add-dir",
    "--allowedTools",
    "--disallowedTools",
];

#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) settings: Option<PathBuf>,
    /// UUID of the session, given or made.
    pub(super) session: String,
    pub(super) resume: bool,
    pub(super) model: String,
    /// Permission prompts are off.
    pub(super) bypass: bool,
    pub(super) prompt: Option<String>,
    pub(super) version: bool,
}

impl Options {
    pub(super) fn parse(args: Vec<String>) -> Result<Self, String> {
        let mut options = Self { model: "stand-in".to_owned(), ..Self::default() };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (arg, None),
            };
            let mut value =
                || inline.clone().or_else(|| args.next()).ok_or_else(|| format!("option {name} needs a value"));
            match name.as_str() {
                "--settings" => options.settings = Some(PathBuf::from(value()?)),
                "--session-id" => options.session = value()?,
                "--resume" | "-r" => (options.session, options.resume) = (value()?, true),
                "--model" => options.model = value()?,
                "--permission-mode" => options.bypass |= value()? == "bypassPermissions",
                "--dangerously-skip-permissions" => options.bypass = true,
                "--version" | "-v" => options.version = true,
                "--" => options.prompt = args.next(),
                known if OTHER_WITH_VALUE.contains(&known) => drop(value()?),
                other if other.starts_with('-') => {}
                _ => options.prompt = Some(name),
            }
        }
        if options.session.is_empty() {
            options.session = new_uuid();
        }
        if is_uuid(&options.session) {
            Ok(options)
        } else {
            Err("Invalid session ID. Must be a valid UUID.".to_owned())
        }
    }
}

/// Returns a fresh UUID (version 4).
pub(super) fn new_uuid() -> String {
    let random = (u128::from(ulid::Ulid::new()) << 48) ^ u128::from(ulid::Ulid::new());
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .char_indices()
            .all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_dashes_is_the_prompt_even_if_it_looks_like_an_option() {
        let args = ["--settings", "s.json", "--unknown", "--model=x", "--session-id"].map(String::from);
        let id = new_uuid();
        let options =
            Options::parse(args.into_iter().chain([id.clone(), "--".into(), "--help".into()]).collect()).unwrap();
        assert_eq!((options.session, options.prompt.as_deref(), options.model.as_str()), (id, Some("--help"), "x"));
        assert!(Options::parse(vec!["--session-id".into(), "17".into()]).is_err());
        assert!(Options::parse(vec!["--settings".into()]).is_err());
    }
}
