//! A shell text as a plain tree: what runs, with which words, in which order, and what is written where. Made by the
//! shell parser's adapter; nothing here knows of its grammar.

/// A piece of shell text that could not be read, or not within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong with it, as the end of a sentence.
    pub why: String,
}

/// One piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself, quotes and backslashes taken away.
    Text(String),
    /// `*`, `?` or `[...]`, as it stands there.
    Glob(String),
    /// `~` or `~name` at the start of a word.
    Tilde(String),
    /// `$NAME` or `${NAME}`.
    Variable { name: String, quoted: bool, at: usize },
    /// What only the shell that runs it knows: `$(...)`, `${X%y}`, `$((1+1))`, `{a,b}`.
    Unknown,
}

/// One word of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    pub parts: Vec<Part>,
    /// Commands that run to make the word: `$(...)`, backticks, `<(...)`.
    pub nested: Vec<Node>,
}

/// `NAME=value`, before a command or alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    /// None for what is no plain text: an array, `+=`, an element.
    pub value: Option<Word>,
    pub at: usize,
}

/// Where a command's input comes from, or its output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirection {
    Read(Word),
    Write(Word),
    /// A heredoc or here-string: the text that the command reads.
    Text(Word),
    /// Between the command's own descriptors.
    Internal,
}

/// A simple command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    pub assignments: Vec<Assignment>,
    pub words: Vec<Word>,
    pub redirections: Vec<Redirection>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Command(Command),
    /// `export`, `local`, `declare`: assignments, and words that are not.
    Declaration(Command),
    /// Names whose values the shell itself sets: `unset`, `for`, `(( ))`.
    Sets(Vec<(String, usize)>),
    /// Words that are only looked at: `[[ ]]`, the subject of a `case`.
    Words(Vec<Word>),
    Sequence(Vec<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    /// Each reads what the one before it writes.
    Pipeline(Vec<Node>),
    /// A subshell or a background job: what changes in it stays in it.
    Isolated(Box<Node>),
    If {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    Loop {
        before: Box<Node>,
        body: Box<Node>,
    },
    Choice(Vec<Node>),
    Function {
        name: String,
        body: Box<Node>,
    },
    Redirected {
        body: Box<Node>,
        redirections: Vec<Redirection>,
    },
}

impl Node {
    /// Returns what does nothing.
    pub fn nothing() -> Self {
        Self::Sequence(Vec::new())
    }
}
