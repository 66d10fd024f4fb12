//! A Matrix account, with end-to-end encryption. The token and the keys are kept together, in a folder of their own that one
//! process uses at a time; who opens it holds the lock of the root's bridge. Deliberately absent: what a message means, and
//! any memory of what was read (the SDK's own position is not used, it is saved before a message is acted on).

mod account;
mod check;
mod login;
mod receiving;
mod sending;

pub use account::{SavedSession, find_user, session_of};
pub use check::check;
pub use login::{NewLogin, login};

use crate::{
    config::{root::Root, settings::Matrix},
    ports::chat::{ChatError, ChatResult},
};
use account::{CRYPTO_FILE, STORE_FOLDER, unusable};
use matrix_sdk::{
    Client, SessionMeta, SessionTokens,
    authentication::matrix::MatrixSession,
    config::RequestConfig,
    cross_process_lock::CrossProcessLockConfig,
    encryption::EncryptionSettings,
    ruma::{DeviceId, OwnedRoomId, RoomId, UserId, api::error::ErrorKind},
    store::RoomLoadSettings,
};
use std::{path::Path, time::Duration};

/// Most time of one request; a request for news adds what it waits.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// A connection of one account.
pub struct MatrixChat {
    client: Client,
    user: String,
    rooms: Vec<OwnedRoomId>,
}

impl MatrixChat {
    /// Opens the account of a project's settings, for these rooms. Needs no network.
    pub async fn open(root: &Root, settings: &Matrix, rooms: &[String]) -> ChatResult<Self> {
        let user = find_user(root, settings).await?;
        let folder = root.matrix_account(&settings.homeserver, &user);
        let session = session_of(root, settings, &user).await?;
        let store = folder.join(STORE_FOLDER);
        if session.has_keys && !store.join(CRYPTO_FILE).is_file() {
            return Err(ChatError::Account {
                message: format!(
                    "the keys of the device {} of {user} are lost: {} is not there",
                    session.device_id,
                    store.display()
                ),
                hint: "log in as a new device: rig matrix login --new-device".into(),
            });
        }
        let client = client(&settings.homeserver, &store, false).await?;
        let user_id = UserId::parse(&session.user_id).map_err(unusable)?;
        let device_id: &DeviceId = session.device_id.as_str().into();
        let restored = MatrixSession {
            meta: SessionMeta { user_id, device_id: device_id.to_owned() },
            tokens: SessionTokens { access_token: session.access_token.clone(), refresh_token: None },
        };
        let loading = RoomLoadSettings::default();
        client.matrix_auth().restore_session(restored, loading).await.map_err(|error| ChatError::Account {
            message: format!("the keys of {user} in {} cannot be used: {error}", store.display()),
            hint: "log in as a new device: rig matrix login --new-device".into(),
        })?;
        let rooms = rooms.iter().map(|room| RoomId::parse(room).map_err(unusable)).collect::<ChatResult<_>>()?;
        Ok(Self { client, user: session.user_id, rooms })
    }
}

/// Returns a client whose state and keys are in a folder.
async fn client(homeserver: &str, store: &Path, cross_sign: bool) -> ChatResult<Client> {
    account::make_private_folder(store)?;
    let encryption = EncryptionSettings { auto_enable_cross_signing: cross_sign, ..EncryptionSettings::default() };
    let client = Client::builder()
        .homeserver_url(homeserver)
        .sqlite_store(store, None)
        // Who opens the folder holds a lock of rig's own.
        .cross_process_store_config(CrossProcessLockConfig::SingleProcess)
        // Pauses and repeats are the outbox's: it knows which message they are about.
        .request_config(RequestConfig::new().disable_retry().timeout(REQUEST_TIME))
        .with_encryption_settings(encryption)
        .build()
        .await
        .map_err(|error| ChatError::Account {
            message: format!("the account's folder {} cannot be used: {error}", store.display()),
            hint: "check its owner and the disk; rig matrix login --new-device makes a new one".into(),
        })?;
    // Databases are made as the umask wants them, and the files that come beside them later as they are.
    account::make_files_private(store)?;
    Ok(client)
}

/// Returns what an error of the SDK means.
fn failed(error: matrix_sdk::Error) -> ChatError {
    match &error {
        matrix_sdk::Error::Http(http) => http_failed(http),
        _ => ChatError::Unavailable { message: format!("matrix: {error}") },
    }
}

fn http_failed(error: &matrix_sdk::HttpError) -> ChatError {
    let Some(answer) = error.as_client_api_error() else {
        return ChatError::Unavailable { message: format!("the homeserver cannot be reached: {}", without_url(error)) };
    };
    let message = format!("the homeserver answers {answer}");
    match answer.error_kind() {
        Some(ErrorKind::UnknownToken(_) | ErrorKind::MissingToken | ErrorKind::UserDeactivated) => ChatError::Account {
            message: "the homeserver does not know the token any more: the device was logged out or deleted".into(),
            hint: "log in again, as a new device: rig matrix login --new-device".into(),
        },
        Some(ErrorKind::LimitExceeded(limit)) => ChatError::Limited { retry_after: delay(limit.retry_after.as_ref()) },
        Some(ErrorKind::Forbidden) => ChatError::Refused {
            message,
            hint: "invite the account into the room and let it send messages there; rig matrix check tells more".into(),
        },
        Some(ErrorKind::TooLarge | ErrorKind::BadJson | ErrorKind::NotJson | ErrorKind::InvalidParam) => {
            ChatError::Impossible { message }
        }
        _ => ChatError::Unavailable { message },
    }
}

fn delay(after: Option<&matrix_sdk::ruma::api::error::RetryAfter>) -> Option<Duration> {
    use matrix_sdk::ruma::api::error::RetryAfter;
    match after? {
        RetryAfter::Delay(delay) => Some(*delay),
        RetryAfter::DateTime(when) => when.duration_since(std::time::SystemTime::now()).ok(),
    }
}

/// Returns the innermost cause alone: the rest repeats the address with all its parameters.
fn without_url(error: &matrix_sdk::HttpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
