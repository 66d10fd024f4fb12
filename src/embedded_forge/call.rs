//! A request taken apart: who calls, with what parameters, on which repository, with what permission. The checks that every
//! request goes through are here: credentials, scopes, visibility, archived repositories.

use super::{
    auth::{self, Caller},
    error::{ApiError, ApiResult},
    repositories::{Permission, Repository},
    scopes,
    state::Forge,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{Method, StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, sync::Arc};

/// Where the API begins.
pub(super) const API: &str = "/api/v1";

/// A request to the API.
pub(super) struct Call {
    pub(super) forge: Arc<Forge>,
    pub(super) path: String,
    pub(super) params: BTreeMap<String, String>,
    pub(super) query: BTreeMap<String, String>,
    caller: Option<Caller>,
}

impl Call {
    /// Returns who calls; 401 for nobody.
    pub(super) fn caller(&self) -> ApiResult<&Caller> {
        self.caller.as_ref().ok_or_else(|| ApiError::unauthorized("token is required"))
    }

    pub(super) fn caller_if_any(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Returns who calls if it is an administrator of the forge.
    pub(super) fn admin(&self) -> ApiResult<&Caller> {
        let caller = self.caller()?;
        if caller.account.is_admin { Ok(caller) } else { Err(ApiError::forbidden("user should be the site admin")) }
    }

    /// Returns a parameter of the path.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// Returns a numeric parameter of the path; what is no number names nothing.
    pub(super) fn number(&self, name: &str) -> ApiResult<i64> {
        self.param(name).parse().map_err(|_| ApiError::not_found())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromRequestParts<Arc<Forge>> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, forge: &Arc<Forge>) -> ApiResult<Self> {
        let path = parts.uri.path().to_owned();
        let mut db = forge.store.read().await?;
        let caller = auth::caller(&mut db, &parts.headers).await?;
        if let Some(granted) = caller.as_ref().and_then(|caller| caller.scopes.as_ref()) {
            let needed = scopes::needed(&parts.method, path.strip_prefix(API).unwrap_or_default());
            if let Some(scope) = scopes::missing(granted, &needed) {
                let message = format!("token does not have at least one of required scope(s): [{scope}]");
                return Err(ApiError::forbidden(message));
            }
        }
        let Path(params) = Path::from_request_parts(parts, forge).await.map_err(|_| ApiError::not_found())?;
        // A repeated name counts once, the last one.
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, forge).await;
        let query = query.map(|Query(pairs)| pairs.into_iter().collect()).unwrap_or_default();
        Ok(Self { forge: forge.clone(), path, params, query, caller })
    }
}

/// A request about one repository that the caller may read. Writing methods have a caller and a repository that is not archived.
pub(super) struct Here {
    pub(super) call: Call,
    pub(super) repository: Repository,
    pub(super) permission: Permission,
}

impl Here {
    pub(super) fn need(&self, permission: Permission, what: &str) -> ApiResult<()> {
        if self.permission >= permission { Ok(()) } else { Err(ApiError::forbidden(what)) }
    }

    pub(super) fn need_write(&self) -> ApiResult<()> {
        self.need(Permission::Write, "user should have a permission to write to the repository")
    }

    pub(super) fn need_admin(&self) -> ApiResult<()> {
        self.need(Permission::Admin, "user should be an owner or a collaborator with admin write of a repository")
    }

    /// Returns the caller of a request that has one: 401 otherwise.
    pub(super) fn me(&self) -> ApiResult<i64> {
        Ok(self.call.caller()?.account.id)
    }
}

impl std::ops::Deref for Here {
    type Target = Call;
    fn deref(&self) -> &Call {
        &self.call
    }
}

impl FromRequestParts<Arc<Forge>> for Here {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, forge: &Arc<Forge>) -> ApiResult<Self> {
        let call = Call::from_request_parts(parts, forge).await?;
        let mut db = forge.store.read().await?;
        let repository = Repository::named(&mut db, call.param("owner"), call.param("repo")).await?;
        let account = call.caller.as_ref().map(|caller| &caller.account);
        let permission = repository.permission(&mut db, account).await?;
        if permission < Permission::Read {
            return Err(ApiError::not_found());
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            call.caller()?;
            // The repository's own settings stay open: that is where it is taken out of the archive.
            let own = parts.uri.path().trim_start_matches(API).matches('/').count() == 3;
            if repository.archived && !own {
                return Err(ApiError::new(StatusCode::LOCKED, "repository is archived"));
            }
        }
        Ok(Self { call, repository, permission })
    }
}

/// A body of JSON; an empty one counts as an empty object, and what does not fit is 422.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Forge>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, forge: &Arc<Forge>) -> ApiResult<Self> {
        let bytes = Bytes::from_request(request, forge)
            .await
            .map_err(|error| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
        let bytes = if bytes.trim_ascii().is_empty() { b"{}".as_slice() } else { &bytes };
        serde_json::from_slice(bytes).map(Self).map_err(|error| ApiError::invalid(format!("[]: {error}")))
    }
}
