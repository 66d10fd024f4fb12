//! A systemd scope of its own for what must outlive its starter: the end of a login or of a cron job ends its control group, and
//! with it whatever was started there. The user's own service manager gives a scope outside of it, where one answers.
//!
//! A scope of the user's manager ends with that manager, which ends with the user's last login unless the user lingers. Then
//! the starter's own control group lasts no shorter, and without `KillUserProcesses` longer. So a scope is taken only where the
//! manager stays, or where this process stands and falls with it anyway.

use super::Program;
use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};
use ulid::Ulid;

/// Time limit of a question to systemd: it answers in milliseconds, or hangs.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// A scope that is to be made.
#[derive(Debug, Clone)]
pub struct Scope {
    unit: String,
    /// The user's runtime folder, where the manager listens.
    runtime: PathBuf,
}

impl Scope {
    /// Returns a scope with a name that begins so and is used once; none where no manager answers that will stay. Asked once a
    /// process; where there is no manager, the answer costs one look for a socket.
    pub fn new(name: &str) -> Option<Self> {
        static MANAGER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let runtime = MANAGER.get_or_init(lasting_manager).clone()?;
        Some(Self { unit: format!("{name}-{}.scope", Ulid::new().to_string().to_lowercase()), runtime })
    }

    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Returns the call that makes the scope and then becomes the program.
    pub(super) fn around(&self, program: Program) -> Program {
        let mut wrapped = program.clone();
        wrapped.program = "systemd-run".into();
        wrapped.args = ["--user", "--scope", "--quiet", "--collect", "--unit"].map(Into::into).to_vec();
        wrapped.args.extend([self.unit.clone().into(), "--".into(), program.program]);
        wrapped.args.extend(program.args);
        wrapped.env("XDG_RUNTIME_DIR", &self.runtime)
    }
}

impl Program {
    /// Returns the program as one that first gets the scope; it fails where systemd does not make it.
    #[must_use]
    pub fn in_scope(self, scope: &Scope) -> Self {
        scope.around(self)
    }
}

/// Returns the runtime folder of the user's service manager, if one answers and will stay.
fn lasting_manager() -> Option<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let runtime = runtime_folder(user)?;
    UnixStream::connect(runtime.join("systemd/private")).ok()?;
    let below = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if is_below_manager(&below, user) || lingers(user) {
        return Some(runtime);
    }
    tracing::info!("the user's service manager ends with the last login (loginctl enable-linger); no scope is made");
    None
}

/// cron does not set XDG_RUNTIME_DIR, and the folder is where it always is.
fn runtime_folder(user: u32) -> Option<PathBuf> {
    let set = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    Some(set.unwrap_or_else(|| Path::new("/run/user").join(user.to_string()))).filter(|folder| folder.is_dir())
}

fn is_below_manager(cgroup: &str, user: u32) -> bool {
    cgroup.contains(&format!("/user@{user}.service/"))
}

fn lingers(user: u32) -> bool {
    let asked = Program::new("loginctl")
        .args(["show-user", &user.to_string(), "--property=Linger", "--value"])
        .timeout(ANSWER_TIME)
        .run_blocking();
    asked.is_ok_and(|output| output.status.success() && output.text() == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_below_the_manager_is_told_from_one_of_a_login() {
        let unit = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/rig-poll.service";
        assert!(is_below_manager(unit, 1000));
        assert!(!is_below_manager(unit, 100));
        assert!(!is_below_manager("0::/user.slice/user-1000.slice/session-3.scope", 1000));
        assert!(!is_below_manager("0::/system.slice/cron.service", 0));
    }

    #[test]
    fn the_call_names_the_scope_and_ends_with_the_program() {
        let scope = Scope { unit: "rig-x.scope".to_owned(), runtime: PathBuf::from("/run/user/7") };
        let (args, env) = scope.around(Program::new("setsid").args(["--fork", "rig"]).env("A", "b")).parts();
        let expected =
            ["--user", "--scope", "--quiet", "--collect", "--unit", "rig-x.scope", "--", "setsid", "--fork", "rig"];
        assert_eq!(args, expected);
        let named = |name: &str| env.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.clone());
        assert_eq!((named("A").as_deref(), named("XDG_RUNTIME_DIR").as_deref()), (Some("b"), Some("/run/user/7")));
    }
}
