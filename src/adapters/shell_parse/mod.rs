//! Reads shell text with tree-sitter's bash grammar into the guard's plain tree.
//!
//! What the grammar cannot read is an error, and so is what this does not know of it: nothing is left out. That holds for
//! the text between the parts of a command too.

mod compounds;
mod redirections;
mod words;

use crate::domain::guard::tree::{Assignment, Command, Node, Part, Unreadable, Word};
use tree_sitter::{Node as Syntax, Parser};

/// Deepest nesting that is read; deeper than anybody writes, and shallow enough for a thread's stack.
const DEPTH: usize = 50;
/// Most parts of one text.
const PARTS: usize = 100_000;

type Read<T> = Result<T, Unreadable>;

/// Reads a shell text.
pub fn parse(text: &str) -> Read<Node> {
    let strange = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    if let Some(c) = text.chars().find(strange) {
        return unreadable(format!("it has the control character {}", c.escape_default()));
    }
    let mut parser = Parser::new();
    let language = tree_sitter_bash::LANGUAGE.into();
    parser.set_language(&language).map_err(|_| Unreadable { why: "the parser's grammar does not fit".to_owned() })?;
    let Some(tree) = parser.parse(text, None) else { return unreadable("the parser gave up") };
    if tree.root_node().has_error() {
        return unreadable("it is no complete and correct shell");
    }
    if tree.root_node().descendant_count() > PARTS {
        return unreadable("it has too many parts");
    }
    Reader { text, depth: 0 }.statement(tree.root_node())
}

fn unreadable<T>(why: impl Into<String>) -> Read<T> {
    Err(Unreadable { why: why.into() })
}

struct Reader<'t> {
    text: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn source(&self, syntax: Syntax<'_>) -> &'t str {
        self.text.get(syntax.byte_range()).unwrap_or_default()
    }

    fn statement(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        if self.depth >= DEPTH {
            return unreadable("it nests too deeply");
        }
        self.depth += 1;
        let node = self.statement_inside(syntax);
        self.depth -= 1;
        node
    }

    fn statement_inside(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        match syntax.kind() {
            "compound_statement" if self.source(syntax).starts_with("((") => self.only_words(syntax),
            "program" | "compound_statement" | "do_group" | "else_clause" => self.sequence(&children(syntax)),
            "command" => self.command(syntax).map(Node::Command),
            "declaration_command" => self.declaration(syntax),
            "variable_assignment" => {
                let assignments = vec![self.assignment(syntax)?];
                Ok(Node::Command(Command { assignments, ..Command::default() }))
            }
            "variable_assignments" => {
                let assignments = named(syntax).into_iter().map(|child| self.assignment(child)).collect::<Read<_>>()?;
                Ok(Node::Command(Command { assignments, ..Command::default() }))
            }
            "unset_command" => self.unset(syntax),
            "list" => self.list(syntax),
            "pipeline" => {
                let parts = named(syntax).into_iter().map(|child| self.statement(child)).collect::<Read<_>>()?;
                Ok(Node::Pipeline(parts))
            }
            "negated_command" => match named(syntax).first() {
                Some(child) => Ok(Node::Not(Box::new(self.statement(*child)?))),
                None => unreadable("a `!` stands alone"),
            },
            "subshell" => Ok(Node::Isolated(Box::new(self.sequence(&children(syntax))?))),
            "redirected_statement" => self.redirected(syntax),
            "if_statement" => self.conditional(&children(syntax)),
            "while_statement" => {
                let condition: Vec<_> = fields(syntax, "condition");
                let condition = self.sequence(&condition)?;
                let body = self.field(syntax, "body")?;
                Ok(Node::Loop {
                    before: Box::new(Node::nothing()),
                    body: Box::new(Node::Sequence(vec![condition, body])),
                })
            }
            "for_statement" => self.for_each(syntax),
            "c_style_for_statement" => {
                let mut before = Vec::new();
                for part in ["initializer", "condition", "update"].iter().flat_map(|name| fields(syntax, name)) {
                    before.push(self.only_words(part)?);
                }
                let body = Box::new(self.field(syntax, "body")?);
                Ok(Node::Loop { before: Box::new(Node::Sequence(before)), body })
            }
            "case_statement" => self.case(syntax),
            "function_definition" => self.function(syntax),
            "test_command" => self.only_words(syntax),
            "comment" => Ok(Node::nothing()),
            other => unreadable(format!("it has a {} where a command is expected", other.replace('_', " "))),
        }
    }

    fn field(&mut self, syntax: Syntax<'_>, name: &str) -> Read<Node> {
        match syntax.child_by_field_name(name) {
            Some(child) => self.statement(child),
            None => unreadable(format!("a {} has no {name}", syntax.kind().replace('_', " "))),
        }
    }

    /// Reads statements with what separates them; one before `&` runs beside the rest.
    fn sequence(&mut self, parts: &[Syntax<'_>]) -> Read<Node> {
        let mut nodes = Vec::new();
        for part in parts {
            match part.kind() {
                "&" => {
                    if let Some(last) = nodes.pop() {
                        nodes.push(Node::Isolated(Box::new(last)));
                    }
                }
                _ if part.is_named() => nodes.push(self.statement(*part)?),
                ";" | ";;" | "\n" | "{" | "}" | "(" | ")" | "do" | "done" | "then" | "else" | "$(" | "`" | "<("
                | ">(" => {}
                other => return unreadable(format!("`{other}` stands where a command is expected")),
            }
        }
        Ok(Node::Sequence(nodes))
    }

    fn list(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        match children(syntax).as_slice() {
            [first, operator, second] => {
                let (first, second) = (Box::new(self.statement(*first)?), Box::new(self.statement(*second)?));
                self.joined(first, self.source(*operator), second)
            }
            _ => unreadable("`&&` and `||` stand where they join nothing"),
        }
    }

    fn joined(&self, first: Box<Node>, operator: &str, second: Box<Node>) -> Read<Node> {
        match operator {
            "&&" => Ok(Node::And(first, second)),
            "||" => Ok(Node::Or(first, second)),
            other => unreadable(format!("`{other}` joins two commands")),
        }
    }

    fn command(&mut self, syntax: Syntax<'_>) -> Read<Command> {
        let mut command = Command::default();
        let mut end: Option<(usize, bool)> = None;
        for child in children(syntax) {
            let is_word = !matches!(child.kind(), "file_redirect" | "herestring_redirect" | "variable_assignment");
            self.gap(end, child.start_byte(), is_word)?;
            end = Some((child.end_byte(), is_word));
            match child.kind() {
                "variable_assignment" => command.assignments.push(self.assignment(child)?),
                "file_redirect" | "herestring_redirect" => command.redirections.push(self.redirection(child)?),
                "command_name" => match children(child).as_slice() {
                    [] => command.words.push(self.word(child)?),
                    parts => {
                        for part in parts {
                            command.words.push(self.word(*part)?);
                        }
                    }
                },
                _ => command.words.extend(self.words(child)?),
            }
        }
        Ok(command)
    }

    /// Between two words there is a blank, and nothing that no part of the tree stands for.
    fn gap(&self, end: Option<(usize, bool)>, start: usize, is_word: bool) -> Read<()> {
        let Some((end, was_word)) = end else { return Ok(()) };
        let gap = self.text.get(end..start).unwrap_or_default();
        let rest = gap.replace("\\\n", "");
        if !rest.chars().all(char::is_whitespace) {
            return unreadable(format!("`{}` in it has no meaning", rest.trim()));
        }
        if is_word && was_word && rest.is_empty() {
            return unreadable("two of its words stand together without a blank");
        }
        Ok(())
    }

    fn declaration(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut command = Command::default();
        let mut plain = true;
        let mut unknown = Vec::new();
        for (index, child) in children(syntax).into_iter().enumerate() {
            match child.kind() {
                "variable_assignment" => command.assignments.push(self.assignment(child)?),
                _ if index == 0 => command.words.push(text_word(self.source(child))),
                "variable_name" => command.words.push(text_word(self.source(child))),
                _ => {
                    let word = self.word(child)?;
                    match word.parts.as_slice() {
                        [Part::Text(text)] if text.starts_with(['-', '+']) => {
                            if text.contains('n') {
                                return unreadable("it makes one variable stand for another");
                            }
                            plain &= text.chars().skip(1).all(|letter| "xrg".contains(letter));
                        }
                        [Part::Text(text)] if !text.contains('=') => {}
                        _ => unknown.push(("*".to_owned(), child.start_byte())),
                    }
                    command.words.push(word);
                }
            }
        }
        if !plain {
            // The value goes through a change, such as to capital letters.
            for assignment in &mut command.assignments {
                let nested = assignment.value.take().map(|word| word.nested).unwrap_or_default();
                assignment.value = Some(Word { parts: vec![Part::Unknown], nested });
            }
        }
        let declaration = Node::Declaration(command);
        Ok(if unknown.is_empty() { declaration } else { Node::Sequence(vec![Node::Sets(unknown), declaration]) })
    }

    fn unset(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut nodes = Vec::new();
        for child in named(syntax) {
            let word = if child.kind() == "variable_name" { text_word(self.source(child)) } else { self.word(child)? };
            let name = match word.parts.as_slice() {
                [Part::Text(text)] => text.clone(),
                _ => "*".to_owned(),
            };
            nodes.push(Node::Sets(vec![(name, child.start_byte())]));
            nodes.push(Node::Words(vec![word]));
        }
        Ok(Node::Sequence(nodes))
    }

    fn assignment(&mut self, syntax: Syntax<'_>) -> Read<Assignment> {
        let Some(name) = syntax.child_by_field_name("name") else { return unreadable("an assignment has no name") };
        let whole = self.source(syntax);
        let mut nested = Vec::new();
        let is_element = name.kind() == "subscript";
        if is_element {
            self.nested(name, &mut nested)?;
        }
        let text = self.source(name).split('[').next().unwrap_or_default().to_owned();
        let is_plain = !is_element && whole.strip_prefix(text.as_str()).is_some_and(|rest| rest.starts_with('='));
        let value = match syntax.child_by_field_name("value") {
            Some(value) => self.word(value)?,
            None => Word { parts: vec![Part::Text(String::new())], nested: Vec::new() },
        };
        nested.extend(value.nested);
        let parts = if is_plain { value.parts } else { vec![Part::Unknown] };
        Ok(Assignment { name: text, value: Some(Word { parts, nested }), at: syntax.start_byte() })
    }

    /// What is only computed or compared: the commands in it run, and arithmetic may set variables.
    fn only_words(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut nested = Vec::new();
        self.nested(syntax, &mut nested)?;
        Ok(Node::Words(vec![Word { parts: vec![Part::Unknown], nested }]))
    }
}

fn text_word(text: &str) -> Word {
    Word { parts: vec![Part::Text(text.to_owned())], nested: Vec::new() }
}

fn children(syntax: Syntax<'_>) -> Vec<Syntax<'_>> {
    let mut cursor = syntax.walk();
    syntax.children(&mut cursor).collect()
}

fn named(syntax: Syntax<'_>) -> Vec<Syntax<'_>> {
    let mut cursor = syntax.walk();
    syntax.named_children(&mut cursor).collect()
}

fn fields<'a>(syntax: Syntax<'a>, name: &str) -> Vec<Syntax<'a>> {
    let mut cursor = syntax.walk();
    syntax.children_by_field_name(name, &mut cursor).collect()
}
