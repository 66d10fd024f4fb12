//! This machine: starting drivers that outlive their starter, telling processes apart, free memory, new run ids.

use super::{
    process::Program,
    process_identity::{boot_id, start_time},
    session::files::{append_to_regular, remove_if_there},
};
use crate::{
    config::root::Root,
    domain::ids::{IssueNumber, ProjectName, RunId},
    ports::launch::{LaunchError, Machine, ProcessIdentity},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};
use ulid::Ulid;

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
        Program::new(&self.rig)
            .args(["dev", "agent", &issue.0.to_string(), "--project", project.as_str(), "--run", run.as_str()])
            .env("RIG_ROOT", self.root.path())
            .cwd(self.root.path())
            .spawn_detached(log)
            .map_err(|error| failed(error.to_string()))
    }

    fn wake_driver(&self, project: &ProjectName, issue: IssueNumber) {
        // A driver that is not woken looks by itself some seconds later.
        let _ = std::fs::write(self.root.run(project, issue).wake(), b"");
    }

    fn this_process(&self) -> ProcessIdentity {
        let pid = std::process::id();
        ProcessIdentity { pid, start: start_time(pid).unwrap_or(0), boot_id: boot_id().unwrap_or_default() }
    }

    fn is_alive(&self, process: &ProcessIdentity) -> bool {
        boot_id().is_some_and(|boot| boot == process.boot_id) && start_time(process.pid) == Some(process.start)
    }

    fn end(&self, process: &ProcessIdentity) {
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
        if self.is_alive(process) {
            // A driver that does not answer is not asked: its run is in the journal, and its session lives on.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn available_memory_mb(&self) -> Option<u64> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
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
    fn run_ids_are_new_each_time() {
        let machine = LocalMachine::new(PathBuf::from("rig"), Root::at("/nowhere"));
        assert_ne!(machine.new_run_id(), machine.new_run_id());
    }
}
