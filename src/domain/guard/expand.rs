//! What the words of a command come to, as far as that is known before it runs.

use super::{
    shell::Shell,
    tree::{Part, Word},
    value::Value,
    walk::Judge,
};

/// Most bytes that expanded aliases and variables may add to one word.
const VALUE_BYTES: usize = 64 * 1024;

impl Judge<'_> {
    /// Returns what a word is known to come to.
    pub(super) fn value(&self, word: &Word, shell: &Shell) -> Value {
        let mut value = Value::literal("");
        value.maps = word.parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains(':')));
        for part in &word.parts {
            if value.text.len() > VALUE_BYTES {
                return Value { known: false, ..value };
            }
            match part {
                Part::Text(text) => value.text.push_str(text),
                Part::Glob(text) => {
                    value.glob = true;
                    value.text.push_str(text);
                }
                Part::Tilde(user) => match shell.variables.get("HOME", usize::MAX).filter(|_| user.is_empty()) {
                    Some(home) => value.text.push_str(home),
                    None => return Value { known: false, ..value },
                },
                Part::Variable { name, quoted, at } => match self.variable(name, *quoted, *at, shell) {
                    Some(text) => value.text.push_str(&text),
                    // Kept so that the rules on processes know it.
                    None if word.parts.len() == 1 && shell.variables.is_job(name) => return Value::literal("$!"),
                    None => return Value { known: false, ..value },
                },
                Part::Unknown => return Value { known: false, ..value },
            }
        }
        value
    }

    fn variable(&self, name: &str, quoted: bool, at: usize, shell: &Shell) -> Option<String> {
        if name == "PWD" {
            let folder = shell.folders.only().filter(|_| !shell.variables.is_set_here(name));
            return folder.map(|folder| folder.display().to_string());
        }
        let text = shell.variables.get(name, at)?;
        let splits = text.is_empty() || text.contains([' ', '\t', '\n', '*', '?', '[', '\\']);
        (quoted || !splits && shell.variables.splits_as_usual()).then(|| text.to_owned())
    }
}
