//! Wiring of the chat bridge. A rig without the Matrix client has the same functions, which say so.

use crate::{
    adapters::{bridge, flock::FileLock, phase_watch::PhaseWatch},
    config::Root,
    output::Failure,
};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::Notify;

/// What a login came to.
#[derive(Debug)]
pub struct LoggedIn {
    pub user: String,
    pub device: String,
    pub folder: PathBuf,
}

/// Takes the lock of the root's bridge. `None` when a bridge runs.
pub fn bridge_lock(root: &Root) -> Result<Option<FileLock>, Failure> {
    bridge::lock(root).map_err(|error| {
        Failure::user(format!("the bridge's lock in {} cannot be taken: {error}", root.matrix_dir().display()))
            .hint("run rig as the user who owns the state folder")
    })
}

/// Notes why the bridge failed, or that nothing stands in its way.
pub fn bridge_failure(root: &Root, why: Option<&str>) {
    bridge::note_failure(root, why);
}

/// Returns why the bridge failed last, unless it has worked since.
pub fn bridge_last_failure(root: &Root) -> Option<String> {
    bridge::last_failure(root)
}

/// Returns what is notified whenever something was queued.
pub fn bridge_wake(root: &Root) -> Arc<Notify> {
    let wake = Arc::new(Notify::new());
    let told = wake.clone();
    let mut watch = PhaseWatch::new();
    watch.add(&bridge::wake_folder(root));
    tokio::spawn(async move {
        loop {
            watch.changed().await;
            told.notify_waiters();
            told.notify_one();
        }
    });
    wake
}

#[cfg(feature = "matrix")]
mod with_matrix {
    use super::LoggedIn;
    use crate::{
        adapters::{
            matrix::{self, MatrixChat, NewLogin},
            system_clock::SystemClock,
        },
        commands::{
            matrix::{chat_failure, control::RootCommands},
            wire,
        },
        config::{
            Root,
            settings::{Matrix, Project},
        },
        engine::bridge::{Bridge, Room, orders::Orders},
        output::Failure,
        ports::{
            chat::{Chat, RoomReport},
            store::Store,
        },
    };
    use secrecy::SecretString;
    use std::{collections::BTreeMap, sync::Arc};

    pub async fn matrix_login(
        root: &Root,
        homeserver: &str,
        user: &str,
        password: SecretString,
        device_name: &str,
        new_device: bool,
    ) -> Result<LoggedIn, Failure> {
        let login = NewLogin {
            homeserver: homeserver.to_owned(),
            user: user.to_owned(),
            password,
            device_name: device_name.to_owned(),
            new_device,
        };
        let session = matrix::login(root, &login).await.map_err(|error| chat_failure(&error))?;
        let folder = root.matrix_account(homeserver, user);
        Ok(LoggedIn { user: session.user_id, device: session.device_id, folder })
    }

    pub async fn matrix_check(root: &Root, settings: &Matrix) -> Result<RoomReport, Failure> {
        let failed = |error| chat_failure(&error);
        let user = matrix::find_user(root, settings).await.map_err(failed)?;
        let session = matrix::session_of(root, settings, &user).await.map_err(failed)?;
        matrix::check(&session, &settings.room).await.map_err(failed)
    }

    /// Opens every account of the projects, each with all its rooms.
    pub async fn bridges(root: &Root, projects: &[Project], store: &Arc<dyn Store>) -> Result<Vec<Bridge>, Failure> {
        let mut accounts: BTreeMap<(String, String), Vec<(&Project, &Matrix)>> = BTreeMap::new();
        for project in projects {
            let Some(settings) = &project.matrix else { continue };
            let user = matrix::find_user(root, settings).await.map_err(|error| chat_failure(&error))?;
            accounts.entry((settings.homeserver.clone(), user)).or_default().push((project, settings));
        }
        let machine = wire::machine(root, wire::this_program()?);
        let mut bridges = Vec::new();
        for ((homeserver, user), of_account) in accounts {
            let Some((_, settings)) = of_account.first() else { continue };
            let rooms: Vec<Room> = of_account
                .iter()
                .map(|(project, settings)| Room {
                    project: project.name.clone(),
                    room: settings.room.clone(),
                    allowed_users: settings.allowed_users.clone(),
                })
                .collect();
            let mut ids: Vec<String> = rooms.iter().map(|room| room.room.clone()).collect();
            ids.sort();
            ids.dedup();
            let chat: Arc<dyn Chat> =
                Arc::new(MatrixChat::open(root, settings, &ids).await.map_err(|error| chat_failure(&error))?);
            bridges.push(Bridge {
                account: format!("{user} at {homeserver}"),
                rooms,
                chat: chat.clone(),
                outbox: store.clone(),
                store: store.clone(),
                clock: Arc::new(SystemClock::default()),
                control: Arc::new(Orders {
                    store: store.clone(),
                    outbox: store.clone(),
                    chat,
                    machine: machine.clone(),
                    commands: Arc::new(RootCommands { root: root.clone(), store: store.clone() }),
                }),
                machine: machine.clone(),
            });
        }
        Ok(bridges)
    }
}

#[cfg(feature = "matrix")]
pub use with_matrix::{bridges, matrix_check, matrix_login};

#[cfg(not(feature = "matrix"))]
mod without_matrix {
    use super::LoggedIn;
    use crate::{
        config::{
            Root,
            settings::{Matrix, Project},
        },
        engine::bridge::Bridge,
        output::Failure,
        ports::{chat::RoomReport, store::Store},
    };
    use secrecy::SecretString;
    use std::sync::Arc;

    fn absent<T>() -> Result<T, Failure> {
        Err(Failure::user("this rig was built without Matrix"))
    }

    pub async fn matrix_login(
        _: &Root,
        _: &str,
        _: &str,
        _: SecretString,
        _: &str,
        _: bool,
    ) -> Result<LoggedIn, Failure> {
        absent()
    }

    pub async fn matrix_check(_: &Root, _: &Matrix) -> Result<RoomReport, Failure> {
        absent()
    }

    pub async fn bridges(_: &Root, _: &[Project], _: &Arc<dyn Store>) -> Result<Vec<Bridge>, Failure> {
        absent()
    }
}

#[cfg(not(feature = "matrix"))]
pub use without_matrix::{bridges, matrix_check, matrix_login};
