//! Failures as the API tells them: `{message, url}`, with `errors` on 404.

use super::git::GitError;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

pub(super) type ApiResult<T = Response> = Result<T, ApiError>;

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// The message, or the whole body where it has another shape.
    body: Body,
}

#[derive(Debug)]
enum Body {
    Message(String),
    Raw(Value),
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: Body::Message(message.into()) }
    }

    /// An error whose body is not the usual object.
    pub(super) fn raw(status: StatusCode, body: Value) -> Self {
        Self { status, body: Body::Raw(body) }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "The target couldn't be found.")
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 405, which the merge endpoint gives for several reasons.
    pub(super) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Returns the message for callers that are not HTTP handlers.
    pub(super) fn message(&self) -> String {
        match &self.body {
            Body::Message(message) => message.clone(),
            Body::Raw(value) => value.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), message = self.message(), "embedded forge: request failed");
        }
        let body = match self.body {
            Body::Raw(body) => body,
            Body::Message(message) if self.status == StatusCode::NOT_FOUND => {
                json!({ "errors": [], "message": message, "url": "/api/swagger" })
            }
            Body::Message(message) => json!({ "message": message, "url": "/api/swagger" }),
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::not_found(),
            other => Self::internal(format!("database: {other}")),
        }
    }
}

impl From<GitError> for ApiError {
    fn from(error: GitError) -> Self {
        Self::internal(error.to_string())
    }
}
