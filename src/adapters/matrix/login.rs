//! Logging in by password, once: the homeserver gives a token for a new device, and the device makes its keys.

use super::account::{STORE_FOLDER, SavedSession, load_session, save_session};
use crate::{
    config::root::Root,
    ports::chat::{ChatError, ChatResult},
};
use matrix_sdk::{HttpError, ruma::api::error::ErrorKind};
use secrecy::{ExposeSecret, SecretString};

/// Time of the first look at the rooms.
const FIRST_SYNC: std::time::Duration = std::time::Duration::from_secs(60);

/// What a login takes.
#[derive(Debug)]
pub struct NewLogin {
    pub homeserver: String,
    pub user: String,
    pub password: SecretString,
    pub device_name: String,
    /// Leaves the keys of an earlier device aside.
    pub new_device: bool,
}

/// Logs in and keeps token and keys. The caller holds the lock of the root's bridge.
pub async fn login(root: &Root, login: &NewLogin) -> ChatResult<SavedSession> {
    let folder = root.matrix_account(&login.homeserver, &login.user);
    if let Some(session) = load_session(&folder).unwrap_or_default()
        && !login.new_device
    {
        return Err(ChatError::Account {
            message: format!("{} is logged in already, as the device {}", session.user_id, session.device_id),
            hint: "rig matrix check tells whether it works; rig matrix login --new-device replaces it".into(),
        });
    }
    // Made beside the present one, which stays in use until the new one works.
    let draft = folder.with_extension("new");
    remove(&draft)?;
    let made = log_in(login, &draft).await;
    match made {
        Ok(session) => {
            let old = folder.with_extension("old");
            remove(&old)?;
            if folder.exists() {
                rename(&folder, &old)?;
            }
            rename(&draft, &folder)?;
            Ok(session)
        }
        Err(error) => {
            remove(&draft)?;
            Err(error)
        }
    }
}

async fn log_in(login: &NewLogin, folder: &std::path::Path) -> ChatResult<SavedSession> {
    let client = super::client(&login.homeserver, &folder.join(STORE_FOLDER), true).await?;
    let answer = client
        .matrix_auth()
        .login_username(&login.user, login.password.expose_secret())
        .initial_device_display_name(&login.device_name)
        .send()
        .await
        .map_err(refused)?;
    // Uploads the keys, and signs the device by its own account, so that others need not take it for a stranger's.
    client.encryption().wait_for_e2ee_initialization_tasks().await;
    let settings = matrix_sdk::config::SyncSettings::new().timeout(std::time::Duration::ZERO);
    tokio::time::timeout(FIRST_SYNC, client.sync_once(settings))
        .await
        .map_err(|_| ChatError::Unavailable {
            message: "the homeserver does not answer the first look at the rooms".into(),
        })?
        .map_err(super::failed)?;
    let session = SavedSession {
        version: 1,
        homeserver: login.homeserver.clone(),
        user_id: answer.user_id.to_string(),
        device_id: answer.device_id.to_string(),
        access_token: answer.access_token,
        has_keys: true,
        fingerprint: client.encryption().ed25519_key().await.unwrap_or_default(),
    };
    save_session(folder, &session)?;
    Ok(session)
}

fn refused(error: matrix_sdk::Error) -> ChatError {
    let kind = match &error {
        matrix_sdk::Error::Http(http) => HttpError::client_api_error_kind(http),
        _ => None,
    };
    match kind {
        Some(ErrorKind::Forbidden) => ChatError::Account {
            message: "the homeserver does not take this account with this password".into(),
            hint: "check both; the account is written in full: @bot:example.org".into(),
        },
        _ => super::failed(error),
    }
}

fn remove(folder: &std::path::Path) -> ChatResult<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(super::unusable(error)),
        _ => Ok(()),
    }
}

fn rename(from: &std::path::Path, to: &std::path::Path) -> ChatResult<()> {
    std::fs::rename(from, to).map_err(super::unusable)
}
