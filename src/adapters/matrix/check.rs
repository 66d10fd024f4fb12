//! What a homeserver says of an account and a room, asked without opening the keys: a bridge may be using them.

use crate::ports::chat::{ChatError, ChatResult, RoomReport};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// Most time of one request.
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// Power that a member has whom nobody gave any, and that sending takes when the room does not say.
const DEFAULT_POWER: i64 = 0;

/// Returns user and device of a token.
pub(super) async fn whoami(homeserver: &str, token: &str) -> ChatResult<(String, Option<String>)> {
    let api = Api::new(homeserver, token)?;
    let answer = api.get("account/whoami").await?.ok_or_else(|| unexpected("it does not know whoami"))?;
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    Ok((text("user_id").ok_or_else(|| unexpected("whoami names nobody"))?, text("device_id")))
}

/// Returns the public key by which the homeserver knows a device.
pub(super) async fn device_key(homeserver: &str, token: &str, user: &str, device: &str) -> ChatResult<Option<String>> {
    let api = Api::new(homeserver, token)?;
    let answer = api.call(Method::POST, "keys/query", Some(json!({ "device_keys": { user: [device] } }))).await?;
    let key = answer.as_ref().and_then(|answer| {
        answer["device_keys"][user][device]["keys"][format!("ed25519:{device}")].as_str().map(str::to_owned)
    });
    Ok(key)
}

/// Asks how an account stands in a room.
pub async fn check(session: &super::SavedSession, room: &str) -> ChatResult<RoomReport> {
    let (homeserver, token) = (&session.homeserver, &session.access_token);
    let api = Api::new(homeserver, token)?;
    let (user, device) = whoami(homeserver, token).await?;
    let device = device.unwrap_or_default();
    let known = device_key(homeserver, token, &user, &device).await?;
    let device_keys_match = session.has_keys.then(|| known.as_deref() == Some(session.fingerprint.as_str()));
    let path = |rest: &str| format!("rooms/{}/{rest}", encoded(room));
    let members = match api.get(&path("joined_members")).await {
        Ok(members) => members,
        Err(ChatError::Refused { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut report = RoomReport { user, device, device_keys_match, room: room.to_owned(), ..RoomReport::default() };
    let Some(members) = members else { return Ok(report) };
    report.joined = true;
    report.members = members["joined"].as_object().into_iter().flat_map(|joined| joined.keys().cloned()).collect();
    let encryption = api.get(&path("state/m.room.encryption/")).await?;
    report.encryption = encryption.and_then(|state| state["algorithm"].as_str().map(str::to_owned));
    let levels = api.get(&path("state/m.room.power_levels/")).await?.unwrap_or_default();
    let create = api.get(&path("state/m.room.create/?format=event")).await?.unwrap_or_default();
    report.power = power_of(&report.user, &levels, &create);
    let kind = if report.encryption.is_some() { "m.room.encrypted" } else { "m.room.message" };
    let needed = levels["events"][kind].as_i64().or_else(|| levels["events_default"].as_i64());
    report.power_to_send = needed.unwrap_or(DEFAULT_POWER);
    Ok(report)
}

/// Since room version 12 creators stand above all numbers.
fn power_of(user: &str, levels: &Value, create: &Value) -> i64 {
    let version: u32 = create["content"]["room_version"].as_str().and_then(|text| text.parse().ok()).unwrap_or(1);
    let more = create["content"]["additional_creators"].as_array();
    let creates = create["sender"] == user || more.is_some_and(|list| list.iter().any(|one| one == user));
    if version >= 12 && creates {
        return i64::MAX;
    }
    let given = levels["users"][user].as_i64().or_else(|| levels["users_default"].as_i64());
    given.unwrap_or(DEFAULT_POWER)
}

/// The client API, as far as it is asked here.
struct Api<'a> {
    client: reqwest::Client,
    homeserver: &'a str,
    token: &'a str,
}

impl<'a> Api<'a> {
    fn new(homeserver: &'a str, token: &'a str) -> ChatResult<Self> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIME)
            .build()
            .map_err(|error| ChatError::Unavailable { message: error.to_string() })?;
        Ok(Self { client, homeserver, token })
    }

    async fn get(&self, path: &str) -> ChatResult<Option<Value>> {
        self.call(Method::GET, path, None).await
    }

    /// Returns the answer; `None` when there is nothing.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> ChatResult<Option<Value>> {
        let url = format!("{}/_matrix/client/v3/{path}", self.homeserver);
        let mut request = self.client.request(method, url).bearer_auth(self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable = |error: reqwest::Error| ChatError::Unavailable {
            message: format!("the homeserver {} cannot be reached: {}", self.homeserver, error.without_url()),
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = value["error"].as_str().unwrap_or("nothing that explains it").to_owned();
        match status {
            status if status.is_success() => Ok(Some(value)),
            StatusCode::NOT_FOUND if value["errcode"] == "M_NOT_FOUND" => Ok(None),
            StatusCode::NOT_FOUND => Err(ChatError::Unavailable {
                message: format!("{} is no Matrix homeserver's client API ({status})", self.homeserver),
            }),
            StatusCode::UNAUTHORIZED => Err(ChatError::Account {
                message: "the homeserver does not know the token any more: the device was logged out or deleted".into(),
                hint: "log in again, as a new device: rig matrix login --new-device".into(),
            }),
            StatusCode::FORBIDDEN => Err(ChatError::Refused {
                message: format!("the homeserver refuses: {said}"),
                hint: "invite the account into the room".into(),
            }),
            status => Err(unexpected(&format!("{status}: {said}"))),
        }
    }
}

fn unexpected(message: &str) -> ChatError {
    ChatError::Unavailable { message: format!("the homeserver answers {message}") }
}

/// Returns a room's id as one part of a path.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
