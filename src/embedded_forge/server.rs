//! Starting and stopping: the folder and its lock, the database, the listener.

use super::{error::ApiError, git_push, provision, routes, state::Forge, store::Store};
use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// How long open requests may take to end when the forge stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Age at which a lock file of git is nobody's any more: no git of a server that has died lives so long without its input.
const STALE_LOCK: Duration = Duration::from_secs(60);

/// How to start a forge.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is kept; made if missing.
    pub folder: PathBuf,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// How clients reach it, for the links in answers; the address listened on when not given.
    pub root_url: Option<String>,
    /// Whether an administrator may make it misbehave.
    pub faults: bool,
}

/// Why a forge does not start, or does not make what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ForgeServerError {
    #[error("port {} is taken on {}", .0.port(), .0.ip())]
    PortTaken(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("another forge is using {}", .0.display())]
    InUse(PathBuf),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("database {}: {source}", path.display())]
    Database { path: PathBuf, source: sqlx::Error },
    #[error("embedded forge: {0}")]
    Refused(String),
}

impl From<ApiError> for ForgeServerError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error.message())
    }
}

impl From<sqlx::Error> for ForgeServerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A forge that serves. Dropping it stops it at once; `stop` lets open requests end.
#[derive(Debug)]
pub struct Running {
    pub(super) forge: Arc<Forge>,
    address: SocketAddr,
    admin_token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Held while the forge runs: one server for a folder.
    lock: File,
}

/// Starts a forge: everything that was in the folder is there again.
pub async fn start(options: Options) -> Result<Running, ForgeServerError> {
    let lock = prepare(&options.folder)?;
    let listener = TcpListener::bind(options.listen).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => ForgeServerError::PortTaken(options.listen),
        _ => ForgeServerError::Listen { address: options.listen, source },
    })?;
    let address =
        listener.local_addr().map_err(|source| ForgeServerError::Listen { address: options.listen, source })?;
    let file = options.folder.join("forge.db");
    let store = Store::open(&file).await.map_err(|source| ForgeServerError::Database { path: file.clone(), source })?;
    let root_url = options.root_url.unwrap_or_else(|| format!("http://{address}"));
    let forge = Arc::new(Forge::new(store, options.folder, &root_url, options.faults));
    let admin_token = provision::first_admin(&forge).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes::router(forge.clone())).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "embedded forge: the server has ended");
        }
    });
    Ok(Running { forge, address, admin_token, stop: Some(stop), task, lock })
}

impl Running {
    /// Returns where the forge is reached on this machine, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the administrator's token if this start made the administrator; it is kept nowhere.
    pub fn new_admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref()
    }

    /// Stops: no new requests, and those that are open have a few seconds to end.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.task).await.is_err() {
            self.task.abort();
        }
        self.forge.store.close().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        // Closing the file is not enough: a program that is just being started may still hold a copy of it.
        let _ = fs2::FileExt::unlock(&self.lock);
    }
}

/// Makes the folder (0700) with what must be in it, takes its lock, and clears away what a death has left.
fn prepare(folder: &Path) -> Result<File, ForgeServerError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ForgeServerError::File { path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let path = folder.join("lock");
    let mut options = File::options();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed(&path))?;
    if fs2::FileExt::try_lock_exclusive(&lock).is_err() {
        return Err(ForgeServerError::InUse(folder.to_owned()));
    }
    let database = folder.join("forge.db");
    options.open(&database).map_err(failed(&database))?;
    let repositories = folder.join("repositories");
    std::fs::create_dir_all(&repositories).map_err(failed(&repositories))?;
    git_push::install(folder).map_err(failed(folder))?;
    remove_stale_locks(&repositories);
    Ok(lock)
}

/// Removes lock files that a git left behind when it was killed; they would refuse every later change of the ref.
fn remove_stale_locks(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        // Objects are many and have no locks.
        if kind.is_dir() && entry.file_name() != "objects" {
            remove_stale_locks(&path);
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > STALE_LOCK) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}
