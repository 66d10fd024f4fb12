//! Reads shell text with tree-sitter's bash grammar into the guard's plain tree.
//!
//! What the grammar cannot read is an error, and so is what this does not know of it: nothing is left out. That holds for
//! the text between the parts of a command too.

mod words;

use crate::domain::guard::tree::{Assignment, Command, Node, Part, Redirection, Unreadable, Word};
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
                _ => command.words.push(self.word(child)?),
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

    /// A statement with redirections. A heredoc holds what stands behind it on its line: words, a pipeline, `&&`.
    fn redirected(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut node = match syntax.child_by_field_name("body") {
            Some(body) => self.statement(body)?,
            None => Node::Command(Command::default()),
        };
        let (mut redirections, mut behind) = (Vec::new(), Vec::new());
        let redirects = named(syntax).into_iter().filter(|child| Some(*child) != syntax.child_by_field_name("body"));
        for redirect in redirects {
            match redirect.kind() {
                "heredoc_redirect" => self.heredoc(redirect, &mut node, &mut redirections, &mut behind)?,
                "file_redirect" | "herestring_redirect" => redirections.push(self.redirection(redirect)?),
                "comment" => {}
                other => return unreadable(format!("it has a {} behind a redirection", other.replace('_', " "))),
            }
        }
        let mut node = match node {
            Node::Command(mut command) => {
                command.redirections.extend(redirections);
                Node::Command(command)
            }
            body => Node::Redirected { body: Box::new(body), redirections },
        };
        for (operator, next) in behind {
            node = match operator.as_str() {
                "|" => Node::Pipeline(vec![node, next]),
                operator => self.joined(Box::new(node), operator, Box::new(next))?,
            };
        }
        Ok(node)
    }

    fn heredoc(
        &mut self,
        syntax: Syntax<'_>,
        node: &mut Node,
        redirections: &mut Vec<Redirection>,
        behind: &mut Vec<(String, Node)>,
    ) -> Read<()> {
        let start = children(syntax).into_iter().find(|child| child.kind() == "heredoc_start");
        let is_quoted = start.is_some_and(|start| self.source(start).contains(['\'', '"', '\\']));
        let mut operator = String::new();
        let mut body = text_word("");
        let mut cursor = syntax.walk();
        for (index, child) in syntax.children(&mut cursor).enumerate() {
            let field = syntax.field_name_for_child(index as u32);
            match (field, child.kind()) {
                (Some("argument"), _) => {
                    let word = self.word(child)?;
                    match node {
                        Node::Command(command) => command.words.push(word),
                        _ => return unreadable("words behind a heredoc belong to no command"),
                    }
                }
                (Some("operator"), _) => operator = self.source(child).to_owned(),
                (Some("right"), _) => behind.push((operator.clone(), self.statement(child)?)),
                (_, "file_redirect" | "herestring_redirect") => redirections.push(self.redirection(child)?),
                (_, "pipeline") => behind.push(("|".to_owned(), self.statement(child)?)),
                (_, "heredoc_body") => body = self.heredoc_text(child, is_quoted)?,
                (
                    _,
                    "heredoc_start" | "heredoc_end" | "file_descriptor" | "<<" | "<<-" | "|" | "|&" | "&&" | "||"
                    | "\n",
                ) => {}
                (_, other) => return unreadable(format!("it has a {} behind a heredoc", other.replace('_', " "))),
            }
        }
        redirections.push(Redirection::Text(body));
        Ok(())
    }

    fn redirection(&mut self, syntax: Syntax<'_>) -> Read<Redirection> {
        let operator = children(syntax).into_iter().find(|child| !child.is_named()).map(|child| self.source(child));
        let target = match syntax.kind() {
            "herestring_redirect" => named(syntax).into_iter().find(|child| child.kind() != "file_descriptor"),
            _ => syntax.child_by_field_name("destination"),
        };
        let Some(operator) = operator else { return unreadable("a redirection has no direction") };
        let Some(target) = target else {
            return match operator {
                "<&-" | ">&-" => Ok(Redirection::Internal),
                _ => unreadable("a redirection leads nowhere"),
            };
        };
        if fields(syntax, "destination").len() > 1 {
            return unreadable("words behind a redirection are read as its own");
        }
        let word = self.word(target)?;
        let is_descriptor = match word.parts.as_slice() {
            [Part::Text(text)] => text.trim_end_matches('-').chars().all(|c| c.is_ascii_digit()),
            _ => false,
        };
        match operator {
            "<<<" => Ok(Redirection::Text(word)),
            "<" => Ok(Redirection::Read(word)),
            "<&" | ">&" if is_descriptor => Ok(Redirection::Internal),
            "<&" => Ok(Redirection::Read(word)),
            ">" | ">>" | ">|" | "&>" | "&>>" | ">&" | "<>" => Ok(Redirection::Write(word)),
            other => unreadable(format!("it has the redirection `{other}`")),
        }
    }

    fn conditional(&mut self, parts: &[Syntax<'_>]) -> Read<Node> {
        let (mut condition, mut then) = (Vec::new(), Vec::new());
        let mut otherwise = Node::nothing();
        let mut in_condition = true;
        for (index, part) in parts.iter().enumerate() {
            match part.kind() {
                "if" | "elif" | "fi" => {}
                "then" => in_condition = false,
                "elif_clause" => {
                    let mut rest = children(*part);
                    rest.extend_from_slice(&parts[index + 1..]);
                    otherwise = self.conditional(&rest)?;
                    break;
                }
                "else_clause" => otherwise = self.statement(*part)?,
                _ if in_condition => condition.push(*part),
                _ => then.push(*part),
            }
        }
        let (condition, then) = (Box::new(self.sequence(&condition)?), Box::new(self.sequence(&then)?));
        Ok(Node::If { condition, then, otherwise: Box::new(otherwise) })
    }

    fn for_each(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut before = Vec::new();
        for value in fields(syntax, "value") {
            before.push(Node::Words(vec![self.word(value)?]));
        }
        if let Some(variable) = syntax.child_by_field_name("variable") {
            // Twice: it changes with every turn.
            let name = self.source(variable).to_owned();
            before.push(Node::Sets(vec![(name.clone(), variable.start_byte()), (name, variable.start_byte())]));
        }
        let body = Box::new(self.field(syntax, "body")?);
        Ok(Node::Loop { before: Box::new(Node::Sequence(before)), body })
    }

    fn case(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let mut words = Vec::new();
        for value in fields(syntax, "value") {
            words.push(self.word(value)?);
        }
        let mut choices = Vec::new();
        for item in named(syntax).into_iter().filter(|child| child.kind() == "case_item") {
            let values = fields(item, "value");
            for value in &values {
                words.push(self.word(*value)?);
            }
            let body: Vec<_> = named(item).into_iter().filter(|child| !values.contains(child)).collect();
            choices.push(self.sequence(&body)?);
        }
        Ok(Node::Sequence(vec![Node::Words(words), Node::Choice(choices)]))
    }

    fn function(&mut self, syntax: Syntax<'_>) -> Read<Node> {
        let name = match syntax.child_by_field_name("name") {
            Some(name) => self.word(name)?,
            None => return unreadable("a function has no name"),
        };
        let [Part::Text(name)] = name.parts.as_slice() else { return unreadable("a function has a strange name") };
        let body = Box::new(self.field(syntax, "body")?);
        let mut redirections = Vec::new();
        for redirect in fields(syntax, "redirect") {
            redirections.push(self.redirection(redirect)?);
        }
        let body = if redirections.is_empty() { body } else { Box::new(Node::Redirected { body, redirections }) };
        Ok(Node::Function { name: name.clone(), body })
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
