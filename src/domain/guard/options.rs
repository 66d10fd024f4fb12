//! Options as programs read them: letters that stand together, values in the same word or in the next one, long names that
//! are cut short.

use super::value::Value;

/// Which options of a program take a value. What is not named here takes none, so that its value counts as an operand.
pub(super) struct Takes {
    /// Letters that take the rest of their word, or else the next word.
    pub(super) letters: &'static str,
    /// Letters that take the rest of their word, or else nothing.
    pub(super) inline: &'static str,
    /// Long options that take a value.
    pub(super) long: &'static [&'static str],
    /// Long options that take none, though they look like the beginning of one that does.
    pub(super) flags: &'static [&'static str],
}

pub(super) const NOTHING: Takes = Takes { letters: "", inline: "", long: &[], flags: &[] };

/// The words behind a program's name, read.
#[derive(Default)]
pub(super) struct Line {
    letters: Vec<(char, Option<Value>)>,
    long: Vec<Long>,
    pub(super) operands: Vec<Value>,
}

struct Long {
    name: String,
    /// It is written out, and no other option is meant by it.
    whole: bool,
    value: Option<Value>,
}

impl Line {
    pub(super) fn read(args: &[Value], takes: &Takes) -> Self {
        let mut line = Self::default();
        line.take(args, takes);
        line
    }

    /// Reads as `tar` does: letters in the first word are options without a dash too, and their values follow in order.
    pub(super) fn read_bundle(args: &[Value], takes: &Takes) -> Self {
        let mut line = Self::default();
        let Some((first, mut rest)) = args.split_first().filter(|(first, _)| !first.text.starts_with('-')) else {
            return Self::read(args, takes);
        };
        for letter in first.text.chars() {
            let value = match rest.split_first() {
                Some((value, behind)) if takes.letters.contains(letter) => {
                    rest = behind;
                    Some(value.clone())
                }
                _ => None,
            };
            line.letters.push((letter, value));
        }
        line.take(rest, takes);
        line
    }

    /// Returns whether one of these options is given.
    pub(super) fn has(&self, letters: &str, long: &[&str]) -> bool {
        self.letters.iter().any(|(letter, _)| letters.contains(*letter))
            || self.long.iter().any(|given| given.is_one_of(long))
    }

    /// Returns the values of these options, in the order in which they are given.
    pub(super) fn values<'a>(&'a self, letters: &'a str, long: &'a [&'a str]) -> impl Iterator<Item = &'a Value> {
        let short = self.letters.iter().filter(|(letter, _)| letters.contains(*letter));
        let short = short.filter_map(|(_, value)| value.as_ref());
        short.chain(self.long.iter().filter(|given| given.is_one_of(long)).filter_map(|given| given.value.as_ref()))
    }

    fn take(&mut self, args: &[Value], takes: &Takes) {
        let mut words = args.iter();
        while let Some(arg) = words.next() {
            match arg.text.as_str() {
                "--" if arg.known => {
                    self.operands.extend(words.by_ref().cloned());
                }
                _ if !arg.is_option() => self.operands.push(arg.clone()),
                text if text.starts_with("--") => self.take_long(arg, &mut words, takes),
                _ => self.take_letters(arg, &mut words, takes),
            }
        }
    }

    fn take_long<'v>(&mut self, arg: &Value, words: &mut impl Iterator<Item = &'v Value>, takes: &Takes) {
        let (name, inline) = match arg.text.split_once('=') {
            Some((name, value)) => (name, Some(Value { text: value.to_owned(), ..arg.clone() })),
            // What follows may be the rest of the name, and a value too.
            None if !arg.known => (arg.text.as_str(), Some(Value::unknown(""))),
            None => (arg.text.as_str(), None),
        };
        let is_flag = takes.flags.contains(&name);
        let has_value = !is_flag && takes.long.iter().any(|option| option.starts_with(name));
        let value = if inline.is_none() && has_value { words.next().cloned() } else { inline };
        let whole = is_flag || takes.long.contains(&name);
        self.long.push(Long { name: name.to_owned(), whole, value });
    }

    fn take_letters<'v>(&mut self, arg: &Value, words: &mut impl Iterator<Item = &'v Value>, takes: &Takes) {
        for (at, letter) in arg.text.char_indices().skip(1) {
            let is_inline = takes.inline.contains(letter);
            if !is_inline && !takes.letters.contains(letter) {
                self.letters.push((letter, None));
                continue;
            }
            let rest = &arg.text[at + letter.len_utf8()..];
            let value = match rest.is_empty() && arg.known {
                true if is_inline => None,
                true => words.next().cloned(),
                false => Some(Value { text: rest.to_owned(), ..arg.clone() }),
            };
            self.letters.push((letter, value));
            break;
        }
    }
}

impl Long {
    fn is_one_of(&self, options: &[&str]) -> bool {
        options.iter().any(|option| *option == self.name || !self.whole && option.starts_with(&self.name))
    }
}

/// Returns the operands: what is no option, and no value of one that takes a value.
pub(super) fn operands(args: &[Value], with_value: &[&str]) -> Vec<Value> {
    let (mut found, mut at, mut options) = (Vec::new(), 0, true);
    while let Some(arg) = args.get(at) {
        match arg.text.as_str() {
            "--" if options && arg.known => options = false,
            text if options && with_value.contains(&text) => at += 1,
            _ if options && arg.is_option() => {}
            _ => found.push(arg.clone()),
        }
        at += 1;
    }
    found
}

/// Returns the values of options, whether they stand behind them or in the same word.
pub(super) fn option_values(args: &[Value], options: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        if arg.known && arg.text == "--" {
            break;
        }
        for option in options {
            if arg.text == *option {
                found.extend(args.get(at + 1).cloned());
            } else if let Some(value) = arg.after(&format!("{option}=")).filter(|_| option.starts_with("--")) {
                found.push(value);
            } else if let Some(value) = arg.after(option).filter(|_| !option.starts_with("--")) {
                found.push(value);
            }
        }
    }
    found
}
