//! A root's own lines in a crontab, between two markers that name the root. All other lines belong to somebody else and stay as
//! they are, byte for byte.

/// Longest command that every cron takes: Debian's cuts off what is longer without a word.
pub const LONGEST_COMMAND: usize = 990;

/// A block was begun and not ended, or the other way round: nobody can tell whose the lines are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the crontab is the {which} of a block without the other marker")]
pub struct Torn {
    pub line: usize,
    which: &'static str,
}

/// Returns the lines of a root's block, without the markers; none when there is none.
pub fn block_of(crontab: &[u8], root: &str) -> Result<Option<Vec<String>>, Torn> {
    let parts = split(crontab, root)?;
    Ok(parts.own.first().map(|own| {
        let inner = &own[1..own.len() - 1];
        inner.iter().map(|line| String::from_utf8_lossy(text_of(line)).into_owned()).collect()
    }))
}

/// Returns the crontab with these lines as the root's only block: in the place of its first one, else at the end.
pub fn with_block(crontab: &[u8], root: &str, lines: &[String]) -> Result<Vec<u8>, Torn> {
    let parts = split(crontab, root)?;
    let mut block = Vec::new();
    for line in std::iter::once(&begin(root)).chain(lines).chain(std::iter::once(&end(root))) {
        block.extend(line.as_bytes());
        block.push(b'\n');
    }
    let mut whole = parts.before.concat();
    // A line without an end would swallow the marker.
    if whole.last().is_some_and(|last| *last != b'\n') {
        whole.push(b'\n');
    }
    whole.extend(block);
    whole.extend(parts.after.concat());
    Ok(whole)
}

/// Returns the crontab without the root's blocks.
pub fn without_block(crontab: &[u8], root: &str) -> Result<Vec<u8>, Torn> {
    let parts = split(crontab, root)?;
    Ok([parts.before.concat(), parts.after.concat()].concat())
}

/// Returns a word as every shell that cron may call reads it, and as cron hands it on: `%` would end the command there.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+@".contains(c);
    let word = match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    word.replace('%', r"\%")
}

/// Returns the minutes of a tick every ten minutes, the first of them below ten by a number.
pub fn minutes(number: u64) -> String {
    let minutes: Vec<String> = (0..6).map(|tens| (tens * 10 + number % 10).to_string()).collect();
    minutes.join(",")
}

fn begin(root: &str) -> String {
    format!("# rig begin {root}")
}

fn end(root: &str) -> String {
    format!("# rig end {root}")
}

/// A crontab's lines with their ends: what stands before the first own block and after it, and the own blocks.
#[derive(Default)]
struct Parts<'a> {
    before: Vec<&'a [u8]>,
    own: Vec<Vec<&'a [u8]>>,
    after: Vec<&'a [u8]>,
}

fn split<'a>(crontab: &'a [u8], root: &str) -> Result<Parts<'a>, Torn> {
    let (begin, end) = (begin(root), end(root));
    let mut parts = Parts::default();
    let mut open: Option<(usize, Vec<&[u8]>)> = None;
    for (index, line) in crontab.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (number, text) = (index + 1, text_of(line));
        match (&mut open, text == begin.as_bytes(), text == end.as_bytes()) {
            (None, false, false) if parts.own.is_empty() => parts.before.push(line),
            (None, false, false) => parts.after.push(line),
            (None, true, _) => open = Some((number, vec![line])),
            (Some((_, lines)), false, false) => lines.push(line),
            (Some((_, lines)), false, true) => {
                lines.push(line);
                parts.own.extend(open.take().map(|(_, lines)| lines));
            }
            (Some((line, _)), true, _) => return Err(Torn { line: *line, which: "begin" }),
            (None, false, true) => return Err(Torn { line: number, which: "end" }),
        }
    }
    match open {
        Some((line, _)) => Err(Torn { line, which: "begin" }),
        None => Ok(parts),
    }
}

/// Returns a line without its end; an editor on another system may have left a carriage return.
fn text_of(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const OTHERS: &[&[u8]] = &[
        b"",
        b"\n",
        b"# a comment\n0 1 * * * backup\n",
        b"MAILTO=ann\r\n*/5 * * * * x\r\n",
        b"* * * * * last-line-without-an-end",
        b"# caf\xe9, which is no UTF-8\n",
        b"# rig begin /other\n1 * * * * rig dev poll\n# rig end /other\n",
        b"# rig begin /root/deeper\nx\n# rig end /root/deeper\n\n\n",
    ];

    #[test]
    fn other_lines_stay_as_they_are_byte_for_byte() {
        for other in OTHERS {
            let installed = with_block(other, "/root", &lines("a\nb")).unwrap();
            assert!(installed.starts_with(other), "{}", String::from_utf8_lossy(&installed));
            assert!(installed.ends_with(b"# rig begin /root\na\nb\n# rig end /root\n"));
            assert_eq!(with_block(&installed, "/root", &lines("a\nb")).unwrap(), installed, "again changes nothing");
            assert_eq!(block_of(&installed, "/root").unwrap(), Some(lines("a\nb")));
            let mut removed = other.to_vec();
            if removed.last().is_some_and(|last| *last != b'\n') {
                removed.push(b'\n');
            }
            assert_eq!(without_block(&installed, "/root").unwrap(), removed);
            assert_eq!(without_block(other, "/root").unwrap(), *other);
            assert_eq!(block_of(other, "/root").unwrap(), None);
        }
    }

    #[test]
    fn a_block_is_replaced_in_its_place_and_a_second_one_goes() {
        let before =
            b"first\n# rig begin /root\r\nold\r\n# rig end /root\r\nmiddle\r\n# rig begin /root\n# rig end /root\nlast";
        let replaced = with_block(before, "/root", &lines("new")).unwrap();
        assert_eq!(replaced, b"first\n# rig begin /root\nnew\n# rig end /root\nmiddle\r\nlast");
        assert_eq!(without_block(before, "/root").unwrap(), b"first\nmiddle\r\nlast");
    }

    #[test]
    fn a_torn_block_is_told_by_its_line_and_left_alone() {
        for (crontab, line) in [
            ("a\n# rig begin /root\nb\n", 2),
            ("# rig end /root\n", 1),
            ("# rig begin /root\n# rig begin /root\n# rig end /root\n", 1),
        ] {
            for torn in [
                with_block(crontab.as_bytes(), "/root", &[]).unwrap_err(),
                without_block(crontab.as_bytes(), "/root").unwrap_err(),
                block_of(crontab.as_bytes(), "/root").unwrap_err(),
            ] {
                assert_eq!(torn.line, line, "{torn}");
            }
        }
    }

    #[test]
    fn words_reach_the_program_through_cron_and_shell() {
        for (word, expected) in [
            ("/usr/bin/rig", "/usr/bin/rig"),
            ("RIG_ROOT=/home/ann/my rig", "'RIG_ROOT=/home/ann/my rig'"),
            ("/100%/rig", r"'/100\%/rig'"),
            ("it's", r"'it'\''s'"),
            ("$HOME`x`", "'$HOME`x`'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn ticks_are_ten_minutes_apart() {
        assert_eq!(minutes(3), "3,13,23,33,43,53");
        assert_eq!(minutes(40), "0,10,20,30,40,50");
    }
}
