//! The folder of an account: who is logged in, and where its keys are. 0700, its files 0600.

use crate::{
    adapters::session::files,
    config::{root::Root, settings::Matrix},
    ports::chat::{ChatError, ChatResult},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::{fmt, fs::Permissions, io, os::unix::fs::PermissionsExt, path::Path};

/// The state and the keys of the device, in SQLite.
pub(super) const STORE_FOLDER: &str = "store";
/// The keys among them.
pub(super) const CRYPTO_FILE: &str = "matrix-sdk-crypto.sqlite3";
const SESSION_FILE: &str = "session.json";

/// Who is logged in. Does not show its token.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedSession {
    pub version: u32,
    pub homeserver: String,
    pub user_id: String,
    pub device_id: String,
    pub access_token: String,
    /// The device has keys, so that its store must be there.
    pub has_keys: bool,
    /// Public key of the device, by which the homeserver knows it.
    #[serde(default)]
    pub fingerprint: String,
}

impl fmt::Debug for SavedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

pub(super) fn unusable(error: impl fmt::Display) -> ChatError {
    ChatError::Account { message: error.to_string(), hint: "check [matrix] in the project's file".into() }
}

fn not_logged_in(homeserver: &str) -> ChatError {
    ChatError::Account {
        message: format!("nobody is logged in at {homeserver}"),
        hint: "log in once: rig matrix login".into(),
    }
}

fn of_folder(path: &Path) -> impl Fn(io::Error) -> ChatError {
    let place = path.display().to_string();
    move |error| ChatError::Account {
        message: format!("{place}: {error}"),
        hint: "run rig as the user who owns the state folder".into(),
    }
}

pub(super) fn make_private_folder(path: &Path) -> ChatResult<()> {
    files::make_private_folder(path).map_err(of_folder(path))
}

/// Takes everybody else's rights from the files of a folder.
pub(super) fn make_files_private(folder: &Path) -> ChatResult<()> {
    for entry in std::fs::read_dir(folder).map_err(of_folder(folder))? {
        let entry = entry.map_err(of_folder(folder))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        match std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            // SQLite's own files come and go.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_folder(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the session that a folder holds, if any.
pub(super) fn load_session(folder: &Path) -> ChatResult<Option<SavedSession>> {
    let path = folder.join(SESSION_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(of_folder(&path)(error)),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| ChatError::Account {
        message: format!("{} is damaged: {error}", path.display()),
        hint: "log in as a new device: rig matrix login --new-device".into(),
    })
}

pub(super) fn save_session(folder: &Path, session: &SavedSession) -> ChatResult<()> {
    make_private_folder(folder)?;
    let path = folder.join(SESSION_FILE);
    let text = serde_json::to_vec_pretty(session).map_err(unusable)?;
    files::write_private(&path, &text).map_err(of_folder(&path))
}

/// Returns the account that a project's settings mean: the one that they name, else the one that is logged in there, else the
/// one that the token belongs to.
pub async fn find_user(root: &Root, settings: &Matrix) -> ChatResult<String> {
    if let Some(user) = &settings.bot_user {
        return Ok(user.clone());
    }
    let server = root.matrix_server(&settings.homeserver);
    let mut users: Vec<String> = std::fs::read_dir(&server)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| load_session(&entry.path()).ok().flatten())
        .filter(|session| session.homeserver == settings.homeserver)
        .map(|session| session.user_id)
        .collect();
    users.sort();
    users.dedup();
    match (users.as_slice(), &settings.token) {
        ([user], _) => Ok(user.clone()),
        ([], Some(token)) => Ok(super::check::whoami(&settings.homeserver, token.expose_secret()).await?.0),
        ([], None) => Err(not_logged_in(&settings.homeserver)),
        (several, _) => Err(ChatError::Account {
            message: format!("several accounts are logged in at {}: {}", settings.homeserver, several.join(", ")),
            hint: "name one in [matrix] bot_user".into(),
        }),
    }
}

/// Returns the session of the account: that of its login, or one made of the token that the settings name.
pub async fn session_of(root: &Root, settings: &Matrix, user: &str) -> ChatResult<SavedSession> {
    let folder = root.matrix_account(&settings.homeserver, user);
    if let Some(session) = load_session(&folder)? {
        return Ok(session);
    }
    let Some(token) = &settings.token else { return Err(not_logged_in(&settings.homeserver)) };
    let token = token.expose_secret();
    let (user_id, device_id) = super::check::whoami(&settings.homeserver, token).await?;
    if user_id != user {
        return Err(ChatError::Account {
            message: format!("the token belongs to {user_id}, not to {user}"),
            hint: "correct [matrix] bot_user, or the variable that token_env names".into(),
        });
    }
    let Some(device_id) = device_id else {
        return Err(ChatError::Account {
            message: "the token belongs to no device".into(),
            hint: "log in instead: rig matrix login".into(),
        });
    };
    // Keys that another program made for this device would be of no use here, and rig's would spoil it for the other.
    if super::check::device_key(&settings.homeserver, token, &user_id, &device_id).await?.is_some() {
        return Err(ChatError::Account {
            message: format!("the token is that of the device {device_id}, which has keys in another program"),
            hint: "log in instead, as a device of rig's own: rig matrix login".into(),
        });
    }
    let session = SavedSession {
        version: 1,
        homeserver: settings.homeserver.clone(),
        user_id,
        device_id,
        access_token: token.to_owned(),
        has_keys: false,
        fingerprint: String::new(),
    };
    // Once it has made keys they belong to it, whatever becomes of the variable.
    save_session(&folder, &session)?;
    Ok(session)
}
