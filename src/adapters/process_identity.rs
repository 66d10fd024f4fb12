//! Tells whether a process that wrote itself down is still the same one: process ids are used again, so its start time and
//! the boot that it belongs to count too.

use crate::ports::store::DriverRow;
use std::path::Path;

/// Place of the start time in `/proc/PID/stat`, counted from the field after the program's name (proc(5), field 22).
const START_TIME_AFTER_NAME: usize = 19;

/// Overrides the boot id: a test cannot restart the machine.
const BOOT_VARIABLE: &str = "RIG_BOOT_ID";

/// Returns the id of the current boot; none where the kernel does not tell.
pub fn boot_id() -> Option<String> {
    if let Ok(boot) = std::env::var(BOOT_VARIABLE) {
        return Some(boot);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Returns the start time of a process in clock ticks since boot; none when there is no such process, or only its remains.
pub fn start_time(pid: u32) -> Option<u64> {
    let folder = Path::new("/proc").join(pid.to_string());
    // A process that was killed gives its memory back, and with it its command line, some time before it is a zombie.
    if std::fs::read(folder.join("cmdline")).ok()?.is_empty() {
        return None;
    }
    let text = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The program's name is in parentheses and may hold anything, parentheses too.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // A zombie has ended; only its parent has not noticed.
    if fields.first().is_some_and(|state| matches!(*state, "Z" | "X")) {
        return None;
    }
    fields.get(START_TIME_AFTER_NAME)?.parse().ok()
}

/// Place of the session in `/proc/PID/stat`, counted likewise (proc(5), field 6).
const SESSION_AFTER_NAME: usize = 3;

/// Returns the other processes of the session that a process leads; none when it leads none.
pub fn led_by(leader: u32) -> Vec<u32> {
    if session(leader) != Some(leader) {
        return Vec::new();
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != leader && session(*pid) == Some(leader)).collect()
}

fn session(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(SESSION_AFTER_NAME)?.parse().ok()
}

/// Returns the scope of rig's own that a process is in; none where it was started without one.
pub fn scope(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    scope_in(&text)
}

fn scope_in(cgroups: &str) -> Option<String> {
    let names = cgroups.lines().filter_map(|line| line.rsplit('/').next());
    names.into_iter().find(|name| name.starts_with("rig-") && name.ends_with(".scope")).map(str::to_owned)
}

/// Returns whether the process that leads a run still lives.
pub fn lives(driver: &DriverRow) -> bool {
    boot_id().is_some_and(|boot| boot == driver.boot_id) && start_time(driver.pid) == Some(driver.process_start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RunId;

    #[test]
    fn a_scope_is_rigs_own_or_none() {
        let own = "0::/user.slice/user-7.slice/user@7.service/app.slice/rig-driver-widget-3-01arz.scope\n";
        assert_eq!(scope_in(own).as_deref(), Some("rig-driver-widget-3-01arz.scope"));
        for other in ["0::/user.slice/user-7.slice/session-3.scope\n", "0::/system.slice/cron.service\n", "0::/\n", ""]
        {
            assert_eq!(scope_in(other), None);
        }
    }

    #[test]
    fn only_the_same_process_of_the_same_boot_lives() {
        let pid = std::process::id();
        let me = DriverRow {
            run: RunId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
            pid,
            process_start: start_time(pid).unwrap(),
            boot_id: boot_id().unwrap(),
            beat_at: jiff::Timestamp::UNIX_EPOCH,
        };
        assert!(lives(&me));
        assert!(!lives(&DriverRow { process_start: me.process_start + 1, ..me.clone() }));
        assert!(!lives(&DriverRow { boot_id: "another".to_owned(), ..me.clone() }));
        assert!(!lives(&DriverRow { pid: u32::MAX, ..me }));
    }
}
