//! Commands that hold commands: conditions, loops, cases, functions.

use super::{Read, Reader, children, fields, named, unreadable};
use crate::domain::guard::tree::{Node, Part};
use tree_sitter::Node as Syntax;

impl Reader<'_> {
    pub(super) fn conditional(&mut self, parts: &[Syntax<'_>]) -> Read<Node> {
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

    pub(super) fn for_each(&mut self, syntax: Syntax<'_>) -> Read<Node> {
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

    pub(super) fn case(&mut self, syntax: Syntax<'_>) -> Read<Node> {
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

    pub(super) fn function(&mut self, syntax: Syntax<'_>) -> Read<Node> {
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
}
