//! What shell variables hold. A variable has a known value when the environment gives it one and the text never sets it, or
//! when the text sets it exactly once, to a known value, in a place that is always passed, and before it is used.

use super::tree::{Command, Node, Part, Redirection, Word};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for the names that are not known.
pub(super) const ANY: &str = "*";
/// What the shell itself sets as it goes on: the environment tells how it began.
const CHANGING: [&str; 3] = ["PWD", "OLDPWD", "_"];
/// Longest value that is made of others which the text sets; without a limit they could double with each step.
const CHAIN_BYTES: usize = 256;
/// Programs of the shell behind which it may be in another folder.
const MAY_MOVE: [&str; 12] =
    ["cd", "chdir", "pushd", "popd", "eval", "source", ".", "alias", "trap", "command", "builtin", "shopt"];

/// Variables of one shell text.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    environment: BTreeMap<String, String>,
    /// Set somewhere in a way that cannot be followed.
    lost: BTreeSet<String>,
    /// Set once: value and place.
    once: BTreeMap<String, (String, usize)>,
    /// Set once to `$!`, the id of the last background job.
    jobs: BTreeSet<String>,
    /// Something sets variables whose names are not known.
    all_lost: bool,
}

impl Variables {
    pub(super) fn new(environment: &BTreeMap<String, String>) -> Self {
        Self { environment: environment.clone(), ..Self::default() }
    }

    /// Returns those that a shell started by this one would have: what this text sets may be exported to it.
    pub(super) fn inherited(&self) -> Self {
        let mut lost = self.lost.clone();
        lost.extend(self.once.keys().cloned());
        Self { environment: self.environment.clone(), lost, all_lost: self.all_lost, ..Self::default() }
    }

    /// Takes up what a text sets, before it is walked through in a folder. Returns whether it sets anything.
    pub(super) fn survey(&mut self, tree: &Node, folder: Option<&str>) -> bool {
        let mut writes = Writes::default();
        writes.node(tree, true);
        let any = !writes.count.is_empty();
        self.all_lost |= writes.count.contains_key(ANY);
        let is_first = |name: &str| !self.once.contains_key(name) && !self.lost.contains(name);
        let (once, lost): (Vec<_>, Vec<_>) = writes.count.into_iter().partition(|(name, count)| {
            *count == 1 && is_first(name) && writes.values.get(name).is_some_and(|write| write.word.is_some())
        });
        for (name, _) in lost {
            self.once.remove(&name);
            self.jobs.remove(&name);
            self.lost.insert(name);
        }
        let mut once: Vec<(String, &Write<'_>)> =
            once.into_iter().filter_map(|(name, _)| writes.values.get(&name).map(|write| (name, write))).collect();
        // In their order, as one may hold another.
        once.sort_by_key(|(_, write)| write.at);
        once.into_iter().for_each(|(name, write)| self.set_once(name, write, folder));
        any
    }

    fn set_once(&mut self, name: String, write: &Write<'_>, folder: Option<&str>) {
        match self.assigned(write, folder.filter(|_| !write.moved)) {
            Assigned::Text(text) => drop(self.once.insert(name, (text, write.at))),
            Assigned::Job => {
                self.jobs.insert(name.clone());
                self.lost.insert(name);
            }
            Assigned::Unknown => drop(self.lost.insert(name)),
        }
    }

    /// Returns the value of a variable at a place of the text.
    pub(super) fn get(&self, name: &str, at: usize) -> Option<&str> {
        if self.all_lost || self.lost.contains(name) {
            return None;
        }
        if let Some((value, since)) = self.once.get(name) {
            return (at > *since).then_some(value.as_str());
        }
        self.environment.get(name).filter(|_| !CHANGING.contains(&name)).map(String::as_str)
    }

    /// Returns whether the text sets a variable, or may do so.
    pub(super) fn is_set_here(&self, name: &str) -> bool {
        self.all_lost || self.lost.contains(name) || self.once.contains_key(name)
    }

    /// Returns whether a variable may hold anything, here or anywhere in the text.
    pub(super) fn may_be_set(&self, name: &str) -> bool {
        let known = self.once.get(name).map(|(text, _)| text).or_else(|| self.environment.get(name));
        self.all_lost || self.lost.contains(name) || known.is_some_and(|text| !text.is_empty())
    }

    /// Returns whether a variable holds the id of a background job of this very text.
    pub(super) fn is_job(&self, name: &str) -> bool {
        name == "!" || self.jobs.contains(name)
    }

    /// Returns whether unquoted values are split as usual.
    pub(super) fn splits_as_usual(&self) -> bool {
        !self.all_lost
            && !self.lost.contains("IFS")
            && !self.once.contains_key("IFS")
            && !self.environment.contains_key("IFS")
    }

    fn assigned(&self, write: &Write<'_>, folder: Option<&str>) -> Assigned {
        let parts = write.word.map_or(&[][..], |word| &word.parts);
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) | Part::Glob(part) => text.push_str(part),
                Part::Variable { name, .. } if name == "!" && parts.len() == 1 => return Assigned::Job,
                Part::Variable { name, .. } => {
                    let is_folder = name == "PWD" && !self.is_set_here(name);
                    match if is_folder { folder } else { self.get(name, write.at) } {
                        Some(value) => text.push_str(value),
                        None => return Assigned::Unknown,
                    }
                    if self.once.contains_key(name) && text.len() > CHAIN_BYTES {
                        return Assigned::Unknown;
                    }
                }
                _ => return Assigned::Unknown,
            }
        }
        Assigned::Text(text)
    }
}

enum Assigned {
    Text(String),
    Job,
    Unknown,
}

/// Every place where a text sets a variable.
#[derive(Default)]
struct Writes<'a> {
    count: BTreeMap<String, usize>,
    /// Those that are set where nothing can pass by.
    values: BTreeMap<String, Write<'a>>,
    /// The shell may have left the folder where it began.
    moved: bool,
}

struct Write<'a> {
    word: Option<&'a Word>,
    at: usize,
    moved: bool,
}

impl<'a> Writes<'a> {
    fn add(&mut self, name: &str) {
        *self.count.entry(name.to_owned()).or_default() += 1;
    }

    fn word(&mut self, word: &'a Word) {
        word.nested.iter().for_each(|node| self.node(node, false));
    }

    fn node(&mut self, node: &'a Node, always: bool) {
        match node {
            Node::Command(command) | Node::Declaration(command) => {
                let alone = always && (command.words.is_empty() || matches!(node, Node::Declaration(_)));
                for assignment in &command.assignments {
                    // `CDPATH= cd folder` is how careful scripts move.
                    if assignment.name == "CDPATH" && is_empty(assignment.value.as_ref()) {
                        continue;
                    }
                    self.add(&assignment.name);
                    assignment.value.iter().for_each(|word| self.word(word));
                    if alone {
                        let write = Write { word: assignment.value.as_ref(), at: assignment.at, moved: self.moved };
                        self.values.insert(assignment.name.clone(), write);
                    }
                }
                command.words.iter().for_each(|word| self.word(word));
                names_set_by(command).iter().for_each(|name| self.add(name));
                self.moved |= may_move(command);
                command.redirections.iter().for_each(|redirection| self.redirection(redirection));
            }
            Node::Sets(names) => names.iter().for_each(|(name, _)| self.add(name)),
            Node::Words(words) => words.iter().for_each(|word| self.word(word)),
            Node::Sequence(nodes) => nodes.iter().for_each(|node| self.node(node, always)),
            Node::And(first, second) | Node::Or(first, second) => {
                self.node(first, always);
                self.node(second, false);
            }
            Node::Not(node) => self.node(node, always),
            Node::Pipeline(nodes) | Node::Choice(nodes) => nodes.iter().for_each(|node| self.node(node, false)),
            Node::Isolated(node) | Node::Function { body: node, .. } => self.node(node, false),
            Node::If { condition, then, otherwise } => {
                [condition, then, otherwise].into_iter().for_each(|node| self.node(node, false));
            }
            Node::Loop { before, body } => {
                self.node(before, false);
                self.node(body, false);
            }
            Node::Redirected { body, redirections } => {
                self.node(body, always);
                redirections.iter().for_each(|redirection| self.redirection(redirection));
            }
        }
    }

    fn redirection(&mut self, redirection: &'a Redirection) {
        if let Redirection::Read(word) | Redirection::Write(word) | Redirection::Text(word) = redirection {
            self.word(word);
        }
    }
}

fn may_move(command: &Command) -> bool {
    let program = command.words.first().map(|word| word.parts.as_slice());
    match program {
        None => false,
        Some([Part::Text(name)]) => MAY_MOVE.contains(&name.as_str()),
        Some(_) => true,
    }
}

fn is_empty(word: Option<&Word>) -> bool {
    let nothing = |part: &Part| matches!(part, Part::Text(text) if text.is_empty());
    word.is_some_and(|word| word.nested.is_empty() && word.parts.iter().all(nothing))
}

/// Returns the variables that programs of the shell set because their words name them.
pub(super) fn names_set_by(command: &Command) -> Vec<String> {
    const SETS: [&str; 14] = [
        "read",
        "mapfile",
        "readarray",
        "getopts",
        "printf",
        "unset",
        "let",
        "declare",
        "local",
        "typeset",
        "builtin",
        "command",
        "wait",
        "coproc",
    ];
    let text = |word: &Word| match word.parts.as_slice() {
        [Part::Text(text)] => Some(text.clone()),
        _ => None,
    };
    let mut words = command.words.iter().map(text);
    if !words.next().flatten().is_some_and(|program| SETS.contains(&program.as_str())) {
        return Vec::new();
    }
    let name = |word: String| {
        let name = word.split(['=', '[', '+']).next().unwrap_or_default();
        name.trim_start_matches("-v").to_owned()
    };
    words.flatten().map(name).collect()
}
