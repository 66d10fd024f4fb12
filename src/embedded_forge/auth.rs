//! Who is calling: tokens, passwords, Basic authentication. Secrets are kept as hashes only.

use super::{
    accounts::Account,
    error::{ApiError, ApiResult},
    state::now,
};
use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use sqlx::{Row, SqliteConnection};
use std::io::Read as _;

/// Rounds of hashing for a password: dear enough for guessing at a local file, cheap enough for each request.
const PASSWORD_ROUNDS: u32 = 4_096;
/// Random bytes of a token and of a salt, as many as the real forges use.
const SECRET_BYTES: usize = 20;

/// The account behind a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) account: Account,
    /// The token's scopes; `None` for a password, which may do everything.
    pub(super) scopes: Option<Vec<String>>,
    /// By Basic authentication, which making tokens needs.
    pub(super) basic: bool,
}

/// Returns who the headers say is calling; `None` for nobody, 401 for wrong credentials.
pub(super) async fn caller(db: &mut SqliteConnection, headers: &HeaderMap) -> ApiResult<Option<Caller>> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let wrong = || ApiError::unauthorized("invalid username, password or token");
    let text = value.to_str().map_err(|_| wrong())?;
    let (scheme, credentials) = text.split_once(' ').ok_or_else(wrong)?;
    let found = match scheme.to_ascii_lowercase().as_str() {
        "token" | "bearer" => by_token(db, credentials.trim(), false).await?,
        "basic" => by_basic(db, credentials.trim()).await?,
        _ => None,
    };
    found.map(Some).ok_or_else(wrong)
}

async fn by_basic(db: &mut SqliteConnection, credentials: &str) -> ApiResult<Option<Caller>> {
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(credentials) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some((name, password)) = text.split_once(':') else { return Ok(None) };
    // git clients send the token as the password, or as the name with an empty password or `x-oauth-basic`.
    let token = if matches!(password, "" | "x-oauth-basic") { name } else { password };
    if let Some(caller) = by_token(db, token, true).await? {
        return Ok(Some(caller));
    }
    let row = sqlx::query("SELECT salt, password FROM accounts WHERE name = ?1 AND is_organization = 0")
        .bind(name)
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (salt, expected) = (row.get::<String, _>("salt"), row.get::<String, _>("password"));
    if expected.is_empty() || password_hash(&salt, password) != expected {
        return Ok(None);
    }
    let account = Account::named(db, name).await?;
    Ok(Some(Caller { account, scopes: None, basic: true }))
}

async fn by_token(db: &mut SqliteConnection, token: &str, basic: bool) -> ApiResult<Option<Caller>> {
    let row = sqlx::query("SELECT account, scopes FROM tokens WHERE hash = ?1")
        .bind(token_hash(token))
        .fetch_optional(&mut *db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let account = Account::with_id(db, row.get("account")).await?;
    let scopes = serde_json::from_str(&row.get::<String, _>("scopes")).unwrap_or_default();
    Ok(Some(Caller { account, scopes: Some(scopes), basic }))
}

/// Makes a token. Returns its id and the token itself, which is kept nowhere.
pub(super) async fn make_token(
    db: &mut SqliteConnection,
    account: i64,
    name: &str,
    scopes: &[String],
) -> ApiResult<(i64, String)> {
    let token = random_hex()?;
    let id = sqlx::query_scalar(
        "INSERT INTO tokens (account, name, hash, last_eight, scopes, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         RETURNING id",
    )
    .bind(account)
    .bind(name)
    .bind(token_hash(&token))
    .bind(&token[token.len() - 8..])
    .bind(serde_json::json!(scopes).to_string())
    .bind(now())
    .fetch_one(db)
    .await?;
    Ok((id, token))
}

pub(super) fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

pub(super) fn password_hash(salt: &str, password: &str) -> String {
    let mut hash = Sha256::digest([salt.as_bytes(), password.as_bytes()].concat());
    for _ in 1..PASSWORD_ROUNDS {
        hash = Sha256::new().chain_update(salt).chain_update(hash).finalize();
    }
    hex(&hash)
}

/// Returns fresh randomness from the system as hexadecimal digits.
pub(super) fn random_hex() -> ApiResult<String> {
    let mut bytes = [0; SECRET_BYTES];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| ApiError::internal(format!("no randomness: {error}")))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
