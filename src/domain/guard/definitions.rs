//! What a command defines for what comes after it: variables that change what programs do, functions, aliases.

use super::{
    rules::Refusal,
    shell::{Ends, Shell},
    tree::{Assignment, Command, Node, Part},
    value::Value,
    walk::{Judge, unreadable},
};

/// Programs whose behaviour these variables change, so that a command means something else than it says.
const FORBIDDEN_VARIABLES: [&str; 6] =
    ["BASH_ENV", "LD_PRELOAD", "LD_AUDIT", "PHASE_FILE", "SUMMARY_FILE", "PROMPT_COMMAND"];
/// By this one pip changes the packages of the machine.
const PIP_VARIABLE: &str = "PIP_BREAK_SYSTEM_PACKAGES";
/// Variables of git that change nothing but what is written into a commit or onto the screen, or where git does not look;
/// and names of this kind that are not git's at all, but those of builds.
const PLAIN_GIT_VARIABLES: [&str; 20] = [
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_DATE",
    "GIT_TERMINAL_PROMPT",
    "GIT_MERGE_AUTOEDIT",
    "GIT_OPTIONAL_LOCKS",
    "GIT_PAGER_IN_USE",
    "GIT_LFS_SKIP_SMUDGE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMIT",
    "GIT_SHA",
    "GIT_HASH",
    "GIT_REV",
    "GIT_BRANCH",
    "GIT_TAG",
    "GIT_VERSION",
    "GIT_ROOT",
];
/// Variables whose values programs run as commands.
const COMMAND_VARIABLES: [&str; 6] = ["EDITOR", "VISUAL", "PAGER", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER"];

/// Variables that decide which files of settings git reads.
const GIT_HOMES: [&str; 2] = ["HOME", "XDG_CONFIG_HOME"];

/// Returns whether a variable decides which settings git has: by its files, or, as rig gives them, by the environment.
pub(super) fn decides_git_settings(name: &str) -> bool {
    GIT_HOMES.contains(&name) || name.starts_with("GIT_CONFIG") || name == "*"
}

impl Judge<'_> {
    /// Returns whether assignments give git other settings than it has.
    pub(super) fn moves_git_settings(&self, assignments: &[Assignment], shell: &Shell) -> bool {
        assignments.iter().filter(|assignment| decides_git_settings(&assignment.name)).any(|assignment| {
            let value = assignment.value.as_ref().map(|word| self.value(word, shell));
            !self.keeps_variable(&assignment.name, value.as_ref())
        })
    }

    /// Returns whether a variable gets the value that it has anyway.
    pub(super) fn keeps_variable(&self, name: &str, value: Option<&Value>) -> bool {
        let new = value.and_then(|value| value.known.then_some(&value.text));
        new.is_some() && new == self.around.variables().get(name)
    }

    /// Judges `export NAME` of what was set before: it says as much to programs as `NAME=value` does.
    pub(super) fn exports(&self, command: &Command) -> Result<(), Refusal> {
        let named = command.words.iter().filter_map(|word| match word.parts.as_slice() {
            [Part::Text(name)] => Some(name.as_str()),
            _ => None,
        });
        match named.into_iter().find(|name| is_unjudged_git(name)) {
            Some(name) => Err(changes_programs(name)),
            None => Ok(()),
        }
    }

    pub(super) fn assignments(&mut self, assignments: &[Assignment], shell: &Shell) -> Result<(), Refusal> {
        for assignment in assignments {
            let value = assignment.value.as_ref().map(|word| self.value(word, shell));
            self.assignment(&assignment.name, value.as_ref(), shell)?;
        }
        Ok(())
    }

    /// Judges the setting of a variable, by the shell or by `env`.
    pub(super) fn assignment(&mut self, name: &str, value: Option<&Value>, shell: &Shell) -> Result<(), Refusal> {
        if COMMAND_VARIABLES.contains(&name) {
            return match value.and_then(|value| value.known.then(|| value.text.clone())) {
                Some(text) => self.deeper(|judge| judge.inner(&text, shell)).map(drop),
                None => Err(Refusal::new(
                    format!("{name} is run as a command, and its value is not known before it runs"),
                    "Give it a plain text.",
                )),
            };
        }
        if name == PIP_VARIABLE && !self.confines.policy.allow_packages {
            return Err(changes_programs(name));
        }
        if FORBIDDEN_VARIABLES.contains(&name) || name.starts_with("RIG_") || is_unjudged_git(name) {
            return Err(changes_programs(name));
        }
        Ok(())
    }

    /// Follows a function or an alias of this very text.
    pub(super) fn defined_here(
        &mut self,
        name: &str,
        args: &[Value],
        shell: &mut Shell,
    ) -> Result<Option<Ends>, Refusal> {
        if shell.active.contains(name) {
            return Ok(None);
        }
        if let Some(body) = shell.functions.get(name).cloned() {
            shell.active.insert(name.to_owned());
            let ends = self.deeper(|judge| judge.node(&body, shell));
            shell.active.remove(name);
            return ends.map(Some);
        }
        let Some(alias) = shell.aliases.get(name).cloned() else { return Ok(None) };
        let tree = self.around.parse(&alias).map_err(unreadable)?;
        let Some(Command { words, .. }) = only_command(tree) else {
            return Err(Refusal::new(format!("the alias `{name}` is more than one command"), "Use no aliases."));
        };
        let mut all: Vec<Value> = words.iter().map(|word| self.value(word, shell)).collect();
        all.extend_from_slice(args);
        shell.active.insert(name.to_owned());
        let ends = self.deeper(|judge| judge.invoke(&all, shell));
        shell.active.remove(name);
        ends.map(Some)
    }

    /// Takes up `alias NAME=TEXT`; the text is judged as if it ran.
    pub(super) fn define_alias(&mut self, definition: &Value, shell: &mut Shell) -> Result<(), Refusal> {
        let Some((name, text)) = definition.plain().and_then(|text| text.split_once('=')) else {
            return match definition.known {
                true => Ok(()),
                false => Err(Refusal::new("what an alias stands for is not known before it runs", "Use no aliases.")),
            };
        };
        self.inner(text, shell)?;
        shell.aliases.insert(name.to_owned(), text.to_owned());
        Ok(())
    }
}

fn is_unjudged_git(name: &str) -> bool {
    name.starts_with("GIT_") && !PLAIN_GIT_VARIABLES.contains(&name) && !name.starts_with("GIT_TRACE")
}

fn changes_programs(name: &str) -> Refusal {
    Refusal::new(
        format!("setting {name} changes what programs do in a way that cannot be judged"),
        "Leave it as it is.",
    )
}

fn only_command(tree: Node) -> Option<Command> {
    match tree {
        Node::Command(command) if command.assignments.is_empty() && command.redirections.is_empty() => Some(command),
        Node::Sequence(mut nodes) if nodes.len() == 1 => only_command(nodes.remove(0)),
        _ => None,
    }
}
