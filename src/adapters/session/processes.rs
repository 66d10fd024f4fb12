//! The processes of a session, found through /proc: descendants of its pane, members of the pane's terminal session, and
//! those that carry the session's mark in their environment although they left both. Never found by name, and never
//! signalled without checking that the process id still means the process that was found.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, Instant},
};

/// Every process of a session has this in its environment: `<path of the socket>:<session>`.
pub(crate) const MARK: &str = "RIG_SESSION";
/// Time between two looks at processes that are ending.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often what carries a mark is looked for and killed, and how long its end is waited for each time.
const KILL_ROUNDS: u32 = 10;
const KILL_TIME: Duration = Duration::from_millis(500);
/// Bytes read of a process's environment when the mark is looked for; rig puts it near the start.
const ENVIRON_BYTES: u64 = 256 * 1024;

/// A process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    id: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    started: u64,
}

/// What is read of `/proc/PID/stat`.
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    started: u64,
}

impl Process {
    /// Returns whether it still runs; a zombie has ended.
    fn lives(self) -> bool {
        stat(self.id).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    fn signal(self, signal: Signal) {
        if self.lives()
            && let Some(id) = Pid::from_raw(self.id)
        {
            let _ = kill_process(id, signal);
        }
    }
}

/// Returns the processes that belong to the panes with these process ids, or that carry `mark` (`NAME=value`) in their
/// environment; never this process or one above it.
pub(crate) fn members(panes: &[i32], mark: &str) -> HashSet<Process> {
    let table = table();
    let spared = own_line(&table);
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (id, stat) in &table {
        children.entry(stat.parent).or_default().push(*id);
    }
    let mut found: HashSet<i32> = HashSet::new();
    let mut open: Vec<i32> = panes.to_vec();
    open.extend(table.iter().filter(|(_, stat)| panes.contains(&stat.session)).map(|(id, _)| *id));
    open.extend(table.keys().copied().filter(|id| !spared.contains(id) && carries(*id, mark)));
    while let Some(id) = open.pop() {
        if table.contains_key(&id) && found.insert(id) {
            open.extend(children.get(&id).into_iter().flatten().copied());
        }
    }
    found.retain(|id| !spared.contains(id));
    found.into_iter().map(|id| Process { id, started: table[&id].started }).collect()
}

/// Waits until all have ended, at most `limit`. Returns those that are left.
pub(crate) async fn wait_for_end(processes: HashSet<Process>, limit: Duration) -> HashSet<Process> {
    let deadline = Instant::now() + limit;
    let mut left = processes;
    loop {
        left.retain(|process| process.lives());
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

pub(crate) fn signal_all(processes: &HashSet<Process>, signal: Signal) {
    for process in processes {
        process.signal(signal);
    }
}

/// Ends every process that carries `mark` in its environment, with what each of them started; who ends by itself within
/// `grace` is not killed. Returns how many are left.
pub(crate) async fn end_marked(mark: &str, grace: Duration) -> usize {
    let mut left = wait_for_end(members(&[], mark), grace).await;
    for _ in 0..KILL_ROUNDS {
        // Looked for again each time: what was found may have started more.
        left.extend(members(&[], mark));
        left.retain(|process| process.lives());
        if left.is_empty() {
            break;
        }
        signal_all(&left, Signal::KILL);
        left = wait_for_end(left, KILL_TIME).await;
    }
    left.len()
}

/// Returns whether the process runs and is a child of `parent`.
pub(crate) fn is_live_child(id: i32, parent: i32) -> bool {
    stat(id).is_some_and(|stat| stat.parent == parent && stat.state != 'Z')
}

fn table() -> HashMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| Some((id, stat(id)?))).collect()
}

fn stat(id: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too: the fields begin behind the last one.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { state, parent, session, started })
}

/// Returns this process and those above it.
fn own_line(table: &HashMap<i32, Stat>) -> HashSet<i32> {
    let mut line = HashSet::new();
    let mut id = std::process::id() as i32;
    while id > 0 && line.insert(id) {
        id = table.get(&id).map_or(0, |stat| stat.parent);
    }
    line
}

pub(crate) fn carries(id: i32, mark: &str) -> bool {
    use std::io::Read;
    let Ok(file) = fs::File::open(format!("/proc/{id}/environ")) else { return false };
    let mut environ = Vec::new();
    // A process that ends while it is read reads as one without the mark.
    let _ = file.take(ENVIRON_BYTES).read_to_end(&mut environ);
    environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_as_running_and_spared() {
        let own = std::process::id() as i32;
        let stat = stat(own).unwrap();
        assert!(stat.started > 0 && stat.parent > 0);
        assert!(Process { id: own, started: stat.started }.lives());
        assert!(!Process { id: own, started: stat.started + 1 }.lives(), "a reused id is another process");
        assert!(!members(&[own], "NO=mark").iter().any(|process| process.id == own));
    }

    #[tokio::test]
    async fn who_carries_the_mark_is_ended_with_its_children_and_nobody_else() {
        let mark = format!("RIG_TEST_MARK={}", ulid::Ulid::new());
        let (name, value) = mark.split_once('=').unwrap();
        let start = |script: &str, value: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", script]).env(name, value).stdout(std::process::Stdio::piped()).spawn().unwrap()
        };
        let ended = |child: &mut std::process::Child| child.try_wait().unwrap().is_some();
        // The first has a child without the mark, and neither listens to anything but SIGKILL.
        let mut marked =
            start("trap '' TERM HUP; env -i sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1; done'", value);
        let mut other = start("exec sleep 300", "another");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(marked.stdout.take().unwrap()), &mut line).unwrap();
        let child: i32 = line.trim().parse().unwrap();
        assert_eq!(end_marked(&mark, Duration::ZERO).await, 0);
        let child_ended = stat(child).is_none_or(|stat| stat.state == 'Z');
        let (marked_ended, other_ended) = (ended(&mut marked), ended(&mut other));
        let _ = Pid::from_raw(child).map(|child| kill_process(child, Signal::KILL));
        for mut process in [marked, other] {
            let _ = process.kill();
            process.wait().unwrap();
        }
        assert_eq!((marked_ended, child_ended, other_ended), (true, true, false));
    }
}
