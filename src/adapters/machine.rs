//! This machine: starting drivers that outlive their starter, telling processes apart, free memory, new run ids.

use super::{
    bridge,
    process::{Lives, Program, Scope},
    process_identity::{boot_id, led_by, start_time},
    session::files::{append_to_regular, remove_if_there},
};
use crate::{
    config::root::Root,
    domain::ids::{IssueNumber, ProjectName, RunId},
    ports::launch::{Errand, LaunchError, Machine, ProcessIdentity},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{DirBuilder, File},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};
use ulid::Ulid;

/// Largest log of errands that is added to, in bytes; a new one begins then.
const LARGEST_LOG: u64 = 1024 * 1024;

/// The machine that rig runs on.
#[derive(Debug, Clone)]
pub struct LocalMachine {
    /// Absolute path of rig itself.
    rig: PathBuf,
    root: Root,
}

impl LocalMachine {
    pub fn new(rig: PathBuf, root: Root) -> Self {
        Self { rig, root }
    }

    fn open_log(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<File> {
        let folder = self.root.run(project, issue);
        DirBuilder::new().recursive(true).mode(0o700).create(folder.path())?;
        // The agent can write to this folder: what is no regular file must not hold up the tick.
        let log = folder.driver_log();
        if log.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
            remove_if_there(&log)?;
        }
        append_to_regular(&log).map(|(file, _)| file)
    }
}

impl Machine for LocalMachine {
    fn launch_driver(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> Result<(), LaunchError> {
        let failed = |message: String| LaunchError { issue, message };
        let log = self.open_log(project, issue).map_err(|error| failed(error.to_string()))?;
        let lives = Program::new(&self.rig)
            .args(["dev", "agent", &issue.0.to_string(), "--project", project.as_str(), "--run", run.as_str()])
            .env("RIG_ROOT", self.root.path())
            .cwd(self.root.path())
            .spawn_detached(log, Scope::new(&format!("rig-driver-{project}-{}", issue.0)).as_ref())
            .map_err(|error| failed(error.to_string()))?;
        match lives {
            Lives::InScope(scope) => tracing::info!(%run, scope, "the driver has a scope of its own"),
            Lives::InSession => tracing::info!(%run, "the driver has a session of its own, and no scope"),
        }
        Ok(())
    }

    fn start_errand(&self, project: &ProjectName, errand: Errand) -> std::io::Result<()> {
        let args = match errand {
            Errand::Checks => ["dev", "check", "--waiting"],
            Errand::Mirrors => ["mirror", "push", "--behind"],
        };
        let log = self.root.errands_log();
        if log.metadata().is_ok_and(|meta| meta.len() > LARGEST_LOG) {
            std::fs::remove_file(&log)?;
        }
        let (log, _) = append_to_regular(&log)?;
        Program::new(&self.rig)
            .args(args)
            .args(["--project", project.as_str()])
            .env("RIG_ROOT", self.root.path())
            .cwd(self.root.path())
            .spawn_detached(log, Scope::new(&format!("rig-{}-{project}", args[0])).as_ref())
            .map(drop)
            .map_err(|error| std::io::Error::other(error.to_string()))
    }

    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber) {
        // A driver that is not woken looks by itself some seconds later.
        let _ = std::fs::write(self.root.run(project, issue).wake(), b"");
    }

    fn ensure_bridge(&self) {
        if let Err(error) = bridge::ensure(&self.rig, &self.root) {
            tracing::warn!(%error, "the Matrix bridge cannot be started; the next tick tries again");
        }
    }

    fn is_switched_on(&self) -> bool {
        self.root.dev_switch().exists()
    }

    fn switch(&self, on: bool) -> std::io::Result<bool> {
        let path = self.root.dev_switch();
        let (done, already) = match on {
            true => {
                let made = File::options().write(true).create_new(true).mode(0o600).open(path).map(drop);
                (made, std::io::ErrorKind::AlreadyExists)
            }
            false => (std::fs::remove_file(path), std::io::ErrorKind::NotFound),
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == already => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn this_process(&self) -> ProcessIdentity {
        let pid = std::process::id();
        ProcessIdentity { pid, start: start_time(pid).unwrap_or(0), boot_id: boot_id().unwrap_or_default() }
    }

    fn is_alive(&self, process: &ProcessIdentity) -> bool {
        boot_id().is_some_and(|boot| boot == process.boot_id) && start_time(process.pid) == Some(process.start)
    }

    fn end(&self, process: &ProcessIdentity) {
        if !self.is_alive(process) {
            return;
        }
        // Looked up before: once the leader is dead nobody tells what was its own. The tmux server and the agents have sessions of
        // their own, and live on.
        let mut ended = vec![process.pid];
        ended.extend(led_by(process.pid));
        for pid in ended.into_iter().filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw)) {
            // A driver that does not answer is not asked: its run is in the journal.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn available_memory_mb(&self) -> Option<u64> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
    }

    fn forget_hooks(&self, project: &ProjectName, issue: IssueNumber, run: &RunId) -> std::io::Result<()> {
        remove_if_there(&self.root.run(project, issue).hooks(run))
    }

    fn run_folders(&self, project: &ProjectName) -> Vec<IssueNumber> {
        let folders = self.root.runs_dir(project);
        let entries = std::fs::read_dir(folders).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(IssueNumber)).collect()
    }

    fn forget_run_folder(&self, project: &ProjectName, issue: IssueNumber) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.root.run(project, issue).path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn new_run_id(&self) -> RunId {
        RunId::new(Ulid::new().to_string()).expect("a ULID's text form is a run id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_nobody_with_its_number_and_another_start() {
        let machine = LocalMachine::new(PathBuf::from("rig"), Root::at("/nowhere"));
        let me = machine.this_process();
        assert!(machine.is_alive(&me));
        assert!(!machine.is_alive(&ProcessIdentity { start: me.start + 1, ..me }));
    }

    #[test]
    fn ending_a_driver_ends_what_it_started_and_spares_what_has_a_session_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let pids = |name: &str| -> Option<u32> {
            std::fs::read_to_string(folder.path().join(name))
                .ok()
                .filter(|text| text.ends_with('\n'))?
                .trim()
                .parse()
                .ok()
        };
        let script = "cd \"$1\"; sleep 300 & echo $! > child; setsid sh -c 'echo $$ > apart; exec sleep 300' & echo $$ > leader; wait";
        let log = File::create(folder.path().join("log")).unwrap();
        let program = Program::new("sh").args(["-c", script, "sh"]).arg(folder.path());
        assert_eq!(program.spawn_detached(log, None).unwrap(), Lives::InSession);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let until = |what: &str, condition: &dyn Fn() -> bool| {
            while !condition() {
                assert!(std::time::Instant::now() < deadline, "{what}");
                std::thread::yield_now();
            }
        };
        until("all have begun", &|| ["leader", "child", "apart"].iter().all(|name| pids(name).is_some()));
        let [leader, child, apart] = ["leader", "child", "apart"].map(|name| pids(name).unwrap());
        let machine = LocalMachine::new(PathBuf::from("rig"), Root::at("/nowhere"));
        let of = |pid: u32, more: u64| ProcessIdentity {
            pid,
            start: start_time(pid).unwrap() + more,
            boot_id: boot_id().unwrap(),
        };
        machine.end(&of(leader, 1));
        assert!(start_time(leader).is_some(), "another process with its number is not it");
        machine.end(&of(leader, 0));
        until("the driver and its child are dead", &|| start_time(leader).is_none() && start_time(child).is_none());
        assert!(start_time(apart).is_some());
        machine.end(&of(apart, 0));
    }

    #[test]
    fn run_ids_are_new_each_time() {
        let machine = LocalMachine::new(PathBuf::from("rig"), Root::at("/nowhere"));
        assert_ne!(machine.new_run_id(), machine.new_run_id());
    }
}
