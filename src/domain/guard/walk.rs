//! Goes through a command in the order in which a shell would run it, and keeps what later steps depend on: the folders
//! that it may be in, variables, functions, aliases. Each program that would run is judged where it is met.

use super::{
    definitions::decides_git_settings,
    files, forge_api, git, machine,
    places::Places,
    processes,
    rules::{Confines, Refusal, Surroundings, Verdict},
    shell::{Ends, Folders, Input, Shell},
    tree::{Command, Node, Redirection, Unreadable, Word},
    unwrap,
    value::{Value, base_name},
    variables::{Variables, names_set_by},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Longest command that is judged, in bytes: a file of some thousand lines written by a heredoc. What is longer is refused.
pub const TEXT_BYTES: usize = 256 * 1024;
/// Shells within shells (`bash -c`, `eval`, functions that call functions) up to which a command is followed.
const DEPTH: usize = 12;
/// Deepest nesting of one judgement, shells within shells included; bounded by a thread's stack.
const LEVELS: usize = 80;
const TOO_DEEP: &str = "the command nests too deeply to be judged";
/// Most steps of one judgement; loops and functions are walked more than once, so nesting multiplies.
const STEPS: usize = 20_000;
/// Words of a program that cost a step more: wrappers judge what follows each of their words.
const WORDS_OF_A_STEP: usize = 64;
/// Programs of the shell that change its folder.
const MOVES: [&str; 4] = ["cd", "chdir", "pushd", "popd"];

/// Judges a shell command that would run in `folder`. Total: every text has a verdict.
pub fn judge(text: &str, folder: &Path, confines: &Confines, around: &dyn Surroundings) -> Verdict {
    let mut judge = Judge { confines, around, branch_moved: false, depth: 0, level: 0, steps: 0 };
    let shell = Shell {
        folders: Folders::at(around.real_path(folder, true)),
        variables: Variables::new(around.variables()),
        functions: BTreeMap::new(),
        aliases: BTreeMap::new(),
        active: BTreeSet::new(),
        input: Input::Terminal,
        git_settings_moved: false,
    };
    judge.text(text, shell).map(drop).into()
}

pub(super) struct Judge<'a> {
    pub(super) confines: &'a Confines,
    pub(super) around: &'a dyn Surroundings,
    /// Something before may have left the branch that the worktree was on; a subshell's is everybody's.
    pub(super) branch_moved: bool,
    depth: usize,
    level: usize,
    steps: usize,
}

/// One program about to run.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) program: &'a str,
    /// What follows the program's name.
    pub(super) args: &'a [Value],
    pub(super) places: Places<'a>,
    pub(super) confines: &'a Confines,
    pub(super) around: &'a dyn Surroundings,
}

type Walked = Result<Ends, Refusal>;

impl Judge<'_> {
    /// Judges a text that a shell would run. Returns the variables that it may have set.
    pub(super) fn text(&mut self, text: &str, mut shell: Shell) -> Result<bool, Refusal> {
        if text.len() > TEXT_BYTES {
            return Err(Refusal::new(
                format!("the command is longer than {TEXT_BYTES} bytes, and so long ones are not judged"),
                "Write the text with the Write tool, or split the command.",
            ));
        }
        let tree = self.around.parse(text).map_err(unreadable)?;
        let folder = shell.folders.only().map(|folder| folder.display().to_string());
        let sets = shell.variables.survey(&tree, folder.as_deref());
        self.deeper(|judge| judge.node(&tree, &mut shell))?;
        Ok(sets)
    }

    pub(super) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        if self.depth >= DEPTH {
            return Err(Refusal::new(TOO_DEEP, "Write it plainly, in separate steps."));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    pub(super) fn node(&mut self, node: &Node, shell: &mut Shell) -> Walked {
        self.step(1)?;
        if self.level >= LEVELS {
            return Err(Refusal::new(TOO_DEEP, "Write it plainly, in separate steps."));
        }
        self.level += 1;
        let ends = self.node_inside(node, shell);
        self.level -= 1;
        ends
    }

    fn step(&mut self, steps: usize) -> Result<(), Refusal> {
        self.steps += steps;
        match self.steps > STEPS {
            true => Err(Refusal::new("the command is too long to be judged", "Split it into separate steps.")),
            false => Ok(()),
        }
    }

    fn node_inside(&mut self, node: &Node, shell: &mut Shell) -> Walked {
        match node {
            Node::Command(command) => self.command(command, shell),
            Node::Declaration(command) => {
                self.parts_of(command, shell)?;
                self.assignments(&command.assignments, shell)?;
                self.exports(command)?;
                shell.git_settings_moved |= self.moves_git_settings(&command.assignments, shell);
                Ok(Ends::both(&shell.folders))
            }
            Node::Sets(names) => {
                shell.git_settings_moved |= names.iter().any(|(name, _)| decides_git_settings(name));
                Ok(Ends::both(&shell.folders))
            }
            Node::Words(words) => {
                self.nested(words.iter(), shell)?;
                Ok(Ends::both(&shell.folders))
            }
            Node::Sequence(nodes) => {
                let mut ends = Ends::both(&shell.folders);
                for node in nodes {
                    shell.folders = ends.either();
                    ends = self.node(node, shell)?;
                }
                Ok(ends)
            }
            Node::And(first, second) => {
                let first = self.node(first, shell)?;
                shell.folders = first.ok;
                let second = self.node(second, shell)?;
                Ok(Ends { ok: second.ok, bad: first.bad.or(second.bad) })
            }
            Node::Or(first, second) => {
                let first = self.node(first, shell)?;
                shell.folders = first.bad;
                let second = self.node(second, shell)?;
                Ok(Ends { ok: first.ok.or(second.ok), bad: second.bad })
            }
            Node::Not(node) => {
                let ends = self.node(node, shell)?;
                Ok(Ends { ok: ends.bad, bad: ends.ok })
            }
            Node::Pipeline(nodes) => self.pipeline(nodes, shell),
            Node::Isolated(node) => {
                self.node(node, &mut shell.clone())?;
                Ok(Ends::both(&shell.folders))
            }
            Node::If { condition, then, otherwise } => {
                let condition = self.node(condition, shell)?;
                shell.folders = condition.ok;
                let then = self.node(then, shell)?.either();
                shell.folders = condition.bad;
                let otherwise = self.node(otherwise, shell)?.either();
                Ok(Ends::both(&then.or(otherwise)))
            }
            Node::Loop { before, body } => self.repeat(before, body, shell),
            Node::Choice(nodes) => {
                let start = shell.folders.clone();
                let mut all = start.clone();
                for node in nodes {
                    shell.folders = start.clone();
                    all = all.or(self.node(node, shell)?.either());
                }
                Ok(Ends::both(&all))
            }
            Node::Function { name, body } => {
                // It may be called from where nobody sees it, such as a trap.
                self.node(body, &mut shell.clone())?;
                shell.functions.insert(name.clone(), body.as_ref().clone());
                Ok(Ends::both(&shell.folders))
            }
            Node::Redirected { body, redirections } => {
                let input = self.redirections(redirections, shell)?;
                let before = shell.input.clone();
                shell.input = input.unwrap_or_else(|| before.clone());
                let ends = self.node(body, shell)?;
                shell.input = before;
                Ok(ends)
            }
        }
    }

    fn pipeline(&mut self, nodes: &[Node], shell: &mut Shell) -> Walked {
        let mut folders = shell.folders.clone();
        for (index, node) in nodes.iter().enumerate() {
            let mut part = shell.clone();
            if index > 0 {
                part.input = Input::Other;
            }
            // Some shells run the last part themselves.
            folders = folders.or(self.node(node, &mut part)?.either());
        }
        Ok(Ends::both(&folders))
    }

    /// A body may run any number of times: once more from where the first time led, and when that leads further still,
    /// nobody knows where.
    fn repeat(&mut self, before: &Node, body: &Node, shell: &mut Shell) -> Walked {
        let mut folders = self.node(before, shell)?.either();
        for _ in 0..2 {
            shell.folders = folders.clone();
            let after = self.node(body, shell)?.either();
            let all = folders.clone().or(after);
            if all == folders {
                return Ok(Ends::both(&folders));
            }
            folders = all;
        }
        shell.folders = Folders::Unknown;
        self.node(body, shell)?;
        Ok(Ends::both(&Folders::Unknown))
    }

    fn command(&mut self, command: &Command, shell: &mut Shell) -> Walked {
        self.parts_of(command, shell)?;
        let input = self.redirections(&command.redirections, shell)?;
        self.assignments(&command.assignments, shell)?;
        let mut words = Vec::with_capacity(command.words.len());
        for word in &command.words {
            words.push(self.value(word, shell));
        }
        let before = shell.input.clone();
        shell.input = input.unwrap_or_else(|| before.clone());
        let moves = self.moves_git_settings(&command.assignments, shell) && !shell.git_settings_moved;
        shell.git_settings_moved |= moves;
        let ends = self.invoke(&words, shell);
        // What stands before a command is for that command only.
        if moves && !words.is_empty() {
            shell.git_settings_moved = false;
        }
        shell.git_settings_moved |= names_set_by(command).iter().any(|name| decides_git_settings(name));
        shell.input = before;
        ends
    }

    /// Judges what runs to make the words of a command.
    fn parts_of(&mut self, command: &Command, shell: &Shell) -> Result<(), Refusal> {
        let values = command.assignments.iter().filter_map(|assignment| assignment.value.as_ref());
        self.nested(command.words.iter().chain(values), shell)
    }

    fn nested<'w>(&mut self, words: impl Iterator<Item = &'w Word>, shell: &Shell) -> Result<(), Refusal> {
        for node in words.flat_map(|word| &word.nested) {
            self.deeper(|judge| judge.node(node, &mut shell.clone()))?;
        }
        Ok(())
    }

    /// Judges where output goes. Returns what input comes from, when it is redirected.
    fn redirections(&mut self, redirections: &[Redirection], shell: &mut Shell) -> Result<Option<Input>, Refusal> {
        let mut input = None;
        for redirection in redirections {
            match redirection {
                Redirection::Internal => {}
                Redirection::Read(word) => {
                    self.nested([word].into_iter(), shell)?;
                    input = Some(Input::Other);
                }
                Redirection::Text(word) => {
                    self.nested([word].into_iter(), shell)?;
                    input = Some(Input::Text(self.value(word, shell)));
                }
                Redirection::Write(word) => {
                    self.nested([word].into_iter(), shell)?;
                    let target = self.value(word, shell);
                    self.places(shell).write(&target, "the redirection")?;
                }
            }
        }
        Ok(input)
    }

    /// Judges a text that another shell would run, started from this one.
    pub(super) fn inner(&mut self, text: &str, shell: &Shell) -> Result<bool, Refusal> {
        let mut inner = shell.clone();
        inner.variables = shell.variables.inherited();
        self.text(text, inner)
    }

    /// Judges a text that this shell itself would run; what it sets is not known afterwards.
    pub(super) fn evaluate(&mut self, text: &str, shell: &mut Shell) -> Result<(), Refusal> {
        let sets = self.inner(text, shell)?;
        if sets || text.contains("cd ") || text.contains("pushd") || text.contains("popd") {
            return Err(Refusal::new(
                "`eval` of a text that sets variables or changes the folder cannot be followed",
                "Run the commands directly, without eval.",
            ));
        }
        Ok(())
    }

    /// Judges one program with its words, whoever would start it.
    pub(super) fn invoke(&mut self, words: &[Value], shell: &mut Shell) -> Walked {
        self.step(1 + words.len() / WORDS_OF_A_STEP)?;
        let stay = |shell: &Shell| Ok(Ends::both(&shell.folders));
        let Some((program, args)) = words.split_first() else { return stay(shell) };
        let Some(program) = program.plain() else {
            return Err(Refusal::new(
                format!("which program `{}` runs is not known before it runs", program.shown()),
                "Write the program's name out.",
            ));
        };
        if policy_names(&self.confines.policy.deny_commands, program, args) {
            return Err(Refusal::new(
                format!("`{}` is refused by the project's guard.deny_commands", base_name(program)),
                "Do it in another way, or ask for it with the phase escalate.",
            ));
        }
        if policy_names(&self.confines.policy.allow_commands, program, args) {
            return stay(shell);
        }
        if let Some(ends) = self.defined_here(program, args, shell)? {
            return Ok(ends);
        }
        let name = base_name(program);
        if MOVES.contains(&name) {
            return self.change_folder(name, args, shell);
        }
        if let ("command" | "builtin", Some((first, rest))) = (name, args.split_first())
            && let Some(moves) = first.plain().filter(|first| MOVES.contains(first))
        {
            return self.change_folder(moves, rest, shell);
        }
        {
            let places = Places::new(self.confines, self.around, &shell.folders);
            let (confines, around) = (self.confines, self.around);
            let call = Call { name, program, args, places, confines, around };
            machine::judge(&call)?;
            processes::judge(&call)?;
            files::judge(&call)?;
            forge_api::judge(&call)?;
        }
        self.deeper(|judge| {
            git::judge(judge, name, args, shell)?;
            unwrap::judge(judge, name, args, shell)
        })?;
        stay(shell)
    }

    pub(super) fn places<'s>(&'s self, shell: &'s Shell) -> Places<'s> {
        Places::new(self.confines, self.around, &shell.folders)
    }

    fn change_folder(&mut self, name: &str, args: &[Value], shell: &mut Shell) -> Walked {
        let target = args.iter().find(|arg| !arg.is_option() || !arg.known);
        let home = || shell.variables.get("HOME", usize::MAX).map(Value::literal);
        let target = match (name, target) {
            ("cd" | "chdir", None) => home(),
            ("popd", _) => None,
            (_, target) => target.cloned(),
        };
        let plain = target.as_ref().and_then(Value::plain).filter(|target| *target != "-" && !target.starts_with('+'));
        let searched = |target: &&str| {
            let elsewhere =
                !target.starts_with(['/', '.']) && target.split('/').next().is_some_and(|first| !first.is_empty());
            elsewhere && shell.variables.may_be_set("CDPATH")
        };
        let ok = match (plain, &shell.folders) {
            (Some(target), _) if name != "popd" && searched(&target) => Folders::Unknown,
            (Some(target), Folders::Any(folders)) => {
                let real = |folder: &PathBuf| self.around.real_path(&folder.join(target), true);
                Folders::Any(folders.iter().map(real).collect())
            }
            (Some(target), Folders::Unknown) if target.starts_with('/') => {
                Folders::at(self.around.real_path(Path::new(target), true))
            }
            _ => Folders::Unknown,
        };
        Ok(Ends { ok, bad: shell.folders.clone() })
    }
}

pub(super) fn unreadable(error: Unreadable) -> Refusal {
    Refusal::new(
        format!("the command cannot be read: {}", error.why),
        "Write it in simpler shell, or in separate steps.",
    )
}

/// Returns whether one of a policy's entries is the beginning of a command.
fn policy_names(entries: &[String], program: &str, args: &[Value]) -> bool {
    entries.iter().any(|entry| {
        let mut words = entry.split_whitespace();
        let first = words.next().is_some_and(|word| word == program || word == base_name(program));
        first && words.enumerate().all(|(at, word)| args.get(at).and_then(Value::plain) == Some(word))
    })
}
