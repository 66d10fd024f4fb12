//! Where a command reads from and writes to.

use super::{Read, Reader, children, fields, named, text_word, unreadable};
use crate::domain::guard::tree::{Command, Node, Part, Redirection};
use tree_sitter::Node as Syntax;

impl Reader<'_> {
    /// A statement with redirections. A heredoc holds what stands behind it on its line: words, a pipeline, `&&`.
    pub(super) fn redirected(&mut self, syntax: Syntax<'_>) -> Read<Node> {
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

    pub(super) fn redirection(&mut self, syntax: Syntax<'_>) -> Read<Redirection> {
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
}
