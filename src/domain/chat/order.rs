//! The commands of a chat: `!rig ...` anywhere in the room, and the same words alone as a message in a run's thread.

use crate::domain::ids::IssueNumber;

/// Fewest digits of a commit that name it; what is shorter is an issue's number.
const SHORTEST_COMMIT: usize = 7;

/// What a person asks rig for in a chat. Without a number the run of the thread is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatOrder {
    Help,
    Status,
    Why(Option<IssueNumber>),
    Retry(Option<IssueNumber>),
    Stop(Option<IssueNumber>),
    Approve {
        issue: Option<IssueNumber>,
        /// The commit that is meant, or its beginning; without it the one that the writer was asked about.
        head: Option<String>,
    },
    Pause,
    Resume,
}

/// What a message is to rig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Order(ChatOrder),
    /// It begins like a command and is none; why.
    Unknown(String),
    /// Words, for the agent if they stand in a run's thread.
    Words(String),
}

/// What `!rig help` answers.
pub const HELP: &str = "A message in a run's thread goes to its agent. Commands:\n\
    !rig status - what rig is doing\n\
    !rig why N - why issue or pull request N is where it is\n\
    !rig retry N - another try of issue N, which waits for a person or has ended\n\
    !rig stop N - stop the work on issue N and give it back\n\
    !rig approve N [COMMIT] - open a gate of rig's own that waits for a person; never a review\n\
    !rig pause, !rig resume - switch the dev loop off and on\n\
    In a run's thread N is its issue, and status, why, retry, stop and approve work as a message of one word; so does \
    approve COMMIT.";

/// Reads a message. `in_thread`: it stands in the thread of a run.
pub fn read(text: &str, in_thread: bool) -> Said {
    let text = text.trim();
    let prefixed = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("!rig"))
        && text[4..].chars().next().is_none_or(char::is_whitespace);
    if prefixed {
        return command(text[4..].trim());
    }
    let word = text.to_ascii_lowercase();
    if in_thread && ["status", "why", "retry", "stop", "approve"].contains(&word.as_str()) {
        return command(&word);
    }
    if in_thread
        && word.split_once(char::is_whitespace).is_some_and(|(one, rest)| one == "approve" && is_commit(rest.trim()))
    {
        return command(&word);
    }
    Said::Words(text.to_owned())
}

fn command(text: &str) -> Said {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or("help").to_ascii_lowercase();
    if name == "approve" {
        return approve(&words.collect::<Vec<_>>());
    }
    let argument = words.next();
    if words.next().is_some() {
        return Said::Unknown(format!("`{name}` takes one issue at most"));
    }
    let of_issue = |make: fn(Option<IssueNumber>) -> ChatOrder| {
        argument.map(number).transpose().map_or_else(|said| said, |number| Said::Order(make(number)))
    };
    let alone = |order: ChatOrder| match argument {
        None => Said::Order(order),
        Some(_) => Said::Unknown(format!("`{name}` takes nothing")),
    };
    match name.as_str() {
        "help" => Said::Order(ChatOrder::Help),
        "status" => alone(ChatOrder::Status),
        "pause" => alone(ChatOrder::Pause),
        "resume" => alone(ChatOrder::Resume),
        "why" => of_issue(ChatOrder::Why),
        "retry" => of_issue(ChatOrder::Retry),
        "stop" => of_issue(ChatOrder::Stop),
        other => Said::Unknown(format!("there is no command `{other}`")),
    }
}

fn approve(words: &[&str]) -> Said {
    let (issue, head) = match words {
        [] => (None, None),
        [one] if is_commit(one) => (None, Some(*one)),
        [one] => (Some(*one), None),
        [one, two] if is_commit(two) => (Some(*one), Some(*two)),
        [_, two] => {
            return Said::Unknown(format!("`{two}` is no commit; give at least {SHORTEST_COMMIT} digits of it"));
        }
        _ => return Said::Unknown("`approve` takes one issue and one commit at most".into()),
    };
    let head = head.map(str::to_ascii_lowercase);
    issue.map(number).transpose().map_or_else(|said| said, |issue| Said::Order(ChatOrder::Approve { issue, head }))
}

fn number(text: &str) -> Result<IssueNumber, Said> {
    match text.trim_start_matches('#').parse::<u64>() {
        Ok(number) if number > 0 => Ok(IssueNumber(number)),
        _ => Err(Said::Unknown(format!("`{text}` is no issue's number"))),
    }
}

fn is_commit(text: &str) -> bool {
    text.len() >= SHORTEST_COMMIT && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_everything_else_is_words() {
        let n = Some(IssueNumber(12));
        let approve =
            |issue, head: Option<&str>| Said::Order(ChatOrder::Approve { issue, head: head.map(str::to_owned) });
        let rows = [
            ("!rig", false, Said::Order(ChatOrder::Help)),
            ("!RIG  Status ", false, Said::Order(ChatOrder::Status)),
            ("!rig why #12", false, Said::Order(ChatOrder::Why(n))),
            ("!rig retry 12", true, Said::Order(ChatOrder::Retry(n))),
            ("!rig stop", true, Said::Order(ChatOrder::Stop(None))),
            ("Stop", true, Said::Order(ChatOrder::Stop(None))),
            ("approve", true, approve(None, None)),
            ("Approve 1F2E3D4C5B", true, approve(None, Some("1f2e3d4c5b"))),
            ("approve 1f2e3d4c5b", false, Said::Words("approve 1f2e3d4c5b".into())),
            ("approve it please", true, Said::Words("approve it please".into())),
            ("approve 12", true, Said::Words("approve 12".into())),
            ("!rig approve 12", false, approve(n, None)),
            ("!rig approve #12 1234567", false, approve(n, Some("1234567"))),
            ("!rig approve 1234567", true, approve(None, Some("1234567"))),
            (
                "!rig approve 12 1f2e3d",
                false,
                Said::Unknown("`1f2e3d` is no commit; give at least 7 digits of it".into()),
            ),
            ("!rig approve 1 2 3", false, Said::Unknown("`approve` takes one issue and one commit at most".into())),
            ("stop", false, Said::Words("stop".into())),
            ("stop it please", true, Said::Words("stop it please".into())),
            ("!rigging", false, Said::Words("!rigging".into())),
            ("use port 80 !rig stop 1", true, Said::Words("use port 80 !rig stop 1".into())),
            ("!rig why x", false, Said::Unknown("`x` is no issue's number".into())),
            ("!rig why 0", false, Said::Unknown("`0` is no issue's number".into())),
            ("!rig stop 1 2", false, Said::Unknown("`stop` takes one issue at most".into())),
            ("!rig pause 1", false, Said::Unknown("`pause` takes nothing".into())),
            ("!rig rm -rf", false, Said::Unknown("there is no command `rm`".into())),
            ("é", true, Said::Words("é".into())),
        ];
        for (text, in_thread, expected) in rows {
            assert_eq!(read(text, in_thread), expected, "{text}");
        }
    }
}
