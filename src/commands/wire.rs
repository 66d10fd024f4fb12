//! The one place that builds adapters for the commands.

mod chat;
mod ci;
mod sessions;
mod store;

pub use chat::{
    LoggedIn, bridge_failure, bridge_last_failure, bridge_lock, bridge_wake, bridges, matrix_check, matrix_login,
};
pub use sessions::{any_sessions, end_all, is_installed, missing_programs, tmux_socket};
pub use store::{existing_store, store, store_failure};

use crate::{
    adapters::{
        ci_breaks::BreakFiles,
        crontab::UserCrontab,
        flock::FlockLocks,
        forge::Gitea,
        git::{GitPlan, GitWorkspace, NETWORK_TIMEOUT},
        machine::LocalMachine,
        notify::{NotifyCommand, Webhook},
        process_identity,
        run_files::LocalRunFiles,
        system_clock::SystemClock,
        transcripts::Transcripts,
    },
    config::{Root, secrets::known_values, settings::Project},
    domain::{
        chat::Channel,
        ids::{IssueNumber, ProjectName, RunId},
        redact::{Redactor, SecretText},
    },
    engine::{World, world::Senders},
    output::{
        Failure,
        logging::{LogError, Logging},
    },
    ports::{
        allowance::Allowance,
        crontab::Crontab,
        forge::Forge,
        launch::Machine,
        run_files::RunFiles,
        store::{DriverRow, Store},
        workspace::Workspace,
    },
};
use secrecy::SecretString;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Returns this machine's name, as events carry it.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns whether the process that leads a run still lives.
pub fn driver_lives(driver: &DriverRow) -> bool {
    process_identity::lives(driver)
}

/// Returns the systemd scope that keeps the process that leads a run alive; none where it has only a session of its own.
pub fn driver_scope(driver: &DriverRow) -> Option<String> {
    process_identity::scope(driver.pid).filter(|_| driver_lives(driver))
}

/// Returns a new id that nothing else has.
pub fn new_id() -> String {
    ulid::Ulid::new().to_string()
}

/// Returns the absolute path of this program, as tmux, git and cron can call it.
pub fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::internal(format!("rig cannot find its own program: {error}")))
}

/// Returns the id that tells this root's claims from those of others; made once.
pub fn root_id(root: &Root) -> Result<String, Failure> {
    let path = root.state_dir().join("root-id");
    let failed = |error: std::io::Error| {
        Failure::user(format!("{} cannot be used: {error}", path.display()))
            .hint("check that the state folder is writable and its disk is not full")
    };
    if !path.try_exists().map_err(failed)? {
        make_root_id(&path).map_err(failed)?;
    }
    let id = std::fs::read_to_string(&path).map_err(failed)?.trim().to_owned();
    if id.is_empty() {
        return Err(Failure::user(format!("{} is empty", path.display())).hint("remove the file; it is made anew"));
    }
    Ok(id)
}

/// Makes the file with its content in one step, so that nobody ever finds it empty; of two at once one wins.
fn make_root_id(path: &Path) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let fresh = ulid::Ulid::new().to_string();
    let draft = path.with_file_name(format!("root-id.{fresh}"));
    let made = (|| {
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(fresh.as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    })();
    let _ = std::fs::remove_file(&draft);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Returns what takes secrets out of texts: those of all projects of the root, whichever is worked on.
pub fn redactor(root: &Root, projects: &[Project]) -> Redactor {
    Redactor::new(known_values(root, projects).into_iter().map(SecretText::new))
}

/// Connects one project with everything outside.
pub async fn world(root: &Root, project: Project, store: Arc<dyn Store>) -> Result<World, Failure> {
    bounded_world(root, project, store, Allowance::default()).await
}

/// Connects one project with everything outside, for a process that may ask only so much of the forge.
pub async fn bounded_world(
    root: &Root,
    project: Project,
    store: Arc<dyn Store>,
    allowance: Allowance,
) -> Result<World, Failure> {
    let rig = this_program()?;
    let redactor = Arc::new(redactor(root, std::slice::from_ref(&project)));
    let allowance = Arc::new(allowance);
    let forge: Arc<dyn Forge> =
        Arc::new(bot_forge(&project)?.pausing_in(pause_file(root, &project)).within(allowance.clone()));
    let workspace: Arc<dyn Workspace> = Arc::new(workspace(root, &project, &redactor));
    let ci = ci::ci(root, &project, &redactor, workspace.clone(), forge.clone())?;
    let sessions = sessions::sessions(root, &project, rig.clone())?;
    Ok(World {
        root: root.clone(),
        root_id: root_id(root)?,
        forge,
        ci,
        ci_breaks: Arc::new(BreakFiles::new(host_folder()?.join("ci-breaks"))),
        ci_files: crate::domain::gate::ci_files(&project.ci.command, crate::adapters::shell_parse::parse),
        sessions: Arc::new(sessions),
        workspace,
        locks: Arc::new(FlockLocks::new(&host_folder()?.join("locks"), &project.forge_url, &project.repository)),
        outbox: store.clone(),
        senders: senders(&project)?,
        store,
        usage: Arc::new(Transcripts::new(&[sessions::agents_folder(&project), root.state_dir().join("claude")])),
        clock: Arc::new(SystemClock::default()),
        machine: machine(root, rig),
        redactor,
        allowance,
        project: Arc::new(project),
    })
}

/// Connects the channels of a project that need no process of their own.
fn senders(project: &Project) -> Result<Senders, Failure> {
    let notify = &project.notify;
    let mut senders = Senders::new();
    if let Some(url) = &notify.webhook {
        let webhook = Webhook::new(url, notify.webhook_secret.clone(), notify.timeout)
            .map_err(|error| Failure::user(error).context(format!("project {}", project.name)))?;
        senders.push((Channel::Webhook, Arc::new(webhook)));
    }
    if let Some(command) = &notify.command {
        senders.push((Channel::Command, Arc::new(NotifyCommand::new(command, notify.timeout))));
    }
    Ok(senders)
}

/// Opens a regular file for reading; a pipe or a link that an agent put in its place is an error.
pub fn open_regular(path: &Path) -> std::io::Result<(std::fs::File, std::fs::Metadata)> {
    crate::adapters::session::files::open_regular(path)
}

/// Returns this machine.
pub fn machine(root: &Root, rig: PathBuf) -> Arc<dyn Machine> {
    Arc::new(LocalMachine::new(rig, root.clone()))
}

/// Connects to the forge of a project as its bot.
pub fn forge(project: &Project) -> Result<Arc<dyn Forge>, Failure> {
    Ok(Arc::new(bot_forge(project)?))
}

fn bot_forge(project: &Project) -> Result<Gitea, Failure> {
    Gitea::new(&project.forge_url, project.repository.clone(), project.forge.token.clone())
        .map_err(|error| Failure::user(error).context(format!("project {}", project.name)))
}

/// Returns where the pause is kept that a forge has asked of an account: one for all projects of the root on it.
fn pause_file(root: &Root, project: &Project) -> PathBuf {
    use sha2::{Digest, Sha256};
    let origin = project.forge_url.split('/').take(3).collect::<Vec<_>>().join("/");
    let hash = Sha256::digest(format!("{origin} {}", project.forge.bot).to_lowercase());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    root.pauses_dir().join(format!("{name}.json"))
}

/// Connects to the forge of a project as its reviewer.
pub fn reviewer_forge(project: &Project, token: SecretString) -> Result<Arc<dyn Forge>, Failure> {
    let gitea = Gitea::new(&project.forge_url, project.repository.clone(), token)
        .map_err(|error| Failure::user(error).context(format!("project {}", project.name)))?;
    Ok(Arc::new(gitea))
}

/// Returns the URL that git uses, without credentials.
pub fn remote_url(project: &Project) -> String {
    format!("{}/{}.git", project.forge_url, project.repository)
}

fn workspace(root: &Root, project: &Project, redactor: &Arc<Redactor>) -> GitWorkspace {
    let (root_of_trees, name) = (root.clone(), project.name.clone());
    GitWorkspace::new(GitPlan {
        git_dir: root.git_dir(&project.name),
        worktree: Box::new(move |issue| root_of_trees.worktree(&name, issue)),
        remote_url: remote_url(project),
        token: project.forge.token.clone(),
        push_token: project.forge.push_token.clone(),
        mirror_tokens: project
            .mirrors
            .iter()
            .filter_map(|(name, mirror)| Some((name.clone(), mirror.token.clone()?)))
            .collect(),
        primary_branch: project.primary_branch.clone(),
        repo_root: project.repo_root.clone(),
        copy_files: project.agent.copy_files.clone(),
        author_name: project.forge.bot.to_string(),
        author_email: format!("{}@noreply.invalid", project.forge.bot),
        network_timeout: NETWORK_TIMEOUT,
    })
    .pushing_rescues(&project.forge.push_token, redactor.clone())
}

/// Returns the folder of what all roots of the user share: locks, and what CI broke for lately.
fn host_folder() -> Result<PathBuf, Failure> {
    let base = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => path,
        None => match std::env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(".local/state"),
            None => {
                return Err(Failure::user("neither XDG_STATE_HOME nor HOME is set, so there is no place for locks")
                    .hint("set HOME; cron sets it, `env -i` does not"));
            }
        },
    };
    Ok(base.join("rig"))
}

/// Opens the folder of an issue's run, and watches it.
pub fn run_files(
    root: &Root,
    project: &ProjectName,
    issue: IssueNumber,
    run: &RunId,
) -> Result<Arc<dyn RunFiles>, Failure> {
    let folder = root.run(project, issue);
    let files = LocalRunFiles::open(folder, run.clone()).map_err(|error| {
        Failure::user(error).hint("check that the state folder is writable and its disk is not full")
    })?;
    Ok(Arc::new(files))
}

/// Returns the crontab of the user who runs rig.
pub fn crontab() -> Box<dyn Crontab> {
    Box::new(UserCrontab)
}

/// Starts this process's log in the root's state folder.
pub fn log(root: &Root, projects: &[Project]) -> Result<(), Failure> {
    let filter = std::env::var("RIG_LOG").ok();
    match Logging::start(&root.log_dir(), filter.as_deref(), redactor(root, projects)) {
        Ok(_) | Err(LogError::SetUpAlready) => Ok(()),
        Err(error @ LogError::NotWritable { .. }) => {
            Err(Failure::user(error).hint("check that the state folder is writable and its disk is not full"))
        }
    }
}
