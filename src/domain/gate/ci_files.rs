//! Which files of the repository the command of CI names: who may change the script that CI runs can let anything pass.
//!
//! Read as a shell would, and rather a file too many than one too few: every word that looks like a path counts, wherever it
//! stands, from every folder that the command has been in. Deliberately absent: what a pattern or a variable stands for, and
//! what a script reads in turn.

use crate::domain::guard::tree::{Command, Node, Part, Redirection, Unreadable, Word};
use std::collections::BTreeSet;

/// Texts within texts (`sh -c '...'`) up to which a command is followed.
const DEPTH: usize = 6;
/// Folders that are kept apart; a command of CI that goes to more of them than this is a program, and belongs into a file.
const FOLDERS: usize = 32;
/// What takes the name of a script, which then need not look like a path.
const SHELLS: [&str; 9] = ["sh", "bash", "zsh", "dash", "ksh", "ash", "fish", "source", "."];
const MOVES: [&str; 3] = ["cd", "pushd", "chdir"];

/// Returns the paths, relative to the repository, of the files that a shell command names, whether they exist or not.
pub fn ci_files(command: &str, parse: impl Fn(&str) -> Result<Node, Unreadable>) -> BTreeSet<String> {
    let mut search = Search { parse: &parse, folders: vec![String::new()], found: BTreeSet::new(), depth: 0 };
    search.text(command);
    search.found
}

struct Search<'a> {
    parse: &'a dyn Fn(&str) -> Result<Node, Unreadable>,
    /// Where the command may be by now, relative to the repository; its root is empty.
    folders: Vec<String>,
    found: BTreeSet<String>,
    depth: usize,
}

impl Search<'_> {
    fn text(&mut self, text: &str) {
        if self.depth >= DEPTH {
            return;
        }
        self.depth += 1;
        match (self.parse)(text) {
            Ok(tree) => self.node(&tree),
            Err(_) => {
                text.split_whitespace().for_each(|word| self.path(word.trim_matches(['"', '\'', ';', '(', ')']), false))
            }
        }
        self.depth -= 1;
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Command(command) | Node::Declaration(command) => self.command(command),
            Node::Sets(_) => {}
            Node::Words(words) => words.iter().for_each(|word| self.word(word, false)),
            Node::Sequence(nodes) | Node::Pipeline(nodes) | Node::Choice(nodes) => {
                nodes.iter().for_each(|node| self.node(node));
            }
            Node::And(first, second) | Node::Or(first, second) => {
                self.node(first);
                self.node(second);
            }
            Node::Not(node) | Node::Isolated(node) | Node::Function { body: node, .. } => self.node(node),
            Node::If { condition, then, otherwise } => {
                [condition, then, otherwise].into_iter().for_each(|node| self.node(node));
            }
            Node::Loop { before, body } => {
                self.node(before);
                self.node(body);
            }
            Node::Redirected { body, redirections } => {
                self.node(body);
                self.redirections(redirections);
            }
        }
    }

    fn command(&mut self, command: &Command) {
        command
            .assignments
            .iter()
            .filter_map(|assignment| assignment.value.as_ref())
            .for_each(|word| self.word(word, false));
        self.redirections(&command.redirections);
        let mut words = command.words.iter().map(literal);
        if words.next().flatten().is_some_and(|program| MOVES.contains(&program.as_str())) {
            command.words.iter().flat_map(|word| &word.nested).for_each(|node| self.node(node));
            let target = words.flatten().find(|word| !word.starts_with('-'));
            return target.iter().for_each(|target| self.enter(target));
        }
        let mut is_script = false;
        for word in &command.words {
            self.word(word, is_script);
            is_script |= literal(word).is_some_and(|text| SHELLS.contains(&base_name(&text)));
        }
    }

    fn redirections(&mut self, redirections: &[Redirection]) {
        for redirection in redirections {
            match redirection {
                Redirection::Read(word) | Redirection::Write(word) | Redirection::Text(word) => self.word(word, false),
                Redirection::Internal => {}
            }
        }
    }

    /// Keeps where it was: whether a command gets there is not known.
    fn enter(&mut self, target: &str) {
        let targets: Vec<String> = self.folders.iter().filter_map(|folder| joined(folder, target)).collect();
        for target in targets {
            if self.folders.len() < FOLDERS && !self.folders.contains(&target) {
                self.folders.push(target);
            }
        }
    }

    fn word(&mut self, word: &Word, is_script: bool) {
        word.nested.iter().for_each(|node| self.node(node));
        if word.parts.iter().any(|part| matches!(part, Part::Glob(_))) {
            return;
        }
        let known = word.parts.iter().rposition(|part| !matches!(part, Part::Text(_)));
        let texts = word.parts[known.map_or(0, |at| at + 1)..].iter();
        let text: String =
            texts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect();
        match known {
            None => self.path(&text, is_script),
            // `$PWD/ci.sh`: most likely it is the repository that stands there.
            Some(_) => text.strip_prefix('/').into_iter().for_each(|text| self.path(text, is_script)),
        }
    }

    fn path(&mut self, text: &str, is_script: bool) {
        if text.contains(char::is_whitespace) {
            return self.text(text);
        }
        if let Some((_, value)) = text.split_once('=') {
            return self.path(value, is_script);
        }
        let is_path = is_script || text.contains(['/', '.']);
        if !is_path || text.starts_with(['/', '-']) || text.contains("://") {
            return;
        }
        let paths: Vec<String> = self.folders.iter().filter_map(|folder| joined(folder, text)).collect();
        self.found.extend(paths.into_iter().filter(|path| !path.is_empty()));
    }
}

/// Returns a path below a folder without dots. None when it leads out of the repository.
fn joined(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn literal(word: &Word) -> Option<String> {
    let text = |part: &Part| if let Part::Text(text) = part { Some(text.clone()) } else { None };
    word.parts.iter().map(text).collect()
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
