//! Errors as clients see them: problem documents (RFC 9457).
//!
//! What is the client's fault says what and with which value; what is ours is logged here, once, and says nothing
//! of the inside.

use std::fmt;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tidegate_contract::problem::{self, Problem};

use crate::objects::ObjectError;

/// An error answer.
#[derive(Debug)]
pub struct ApiError(Box<Answer>);

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Tells the layers around a handler which kind of problem it answered.
#[derive(Debug, Clone, Copy)]
pub struct ProblemKind(pub &'static str);

impl ApiError {
    /// An error of a kind with what went wrong this time.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Answer { status, kind, title, detail: detail.into(), headers: Vec::new() }))
    }

    /// Adds a header; a value that cannot be one is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// A request that cannot be understood.
    #[must_use]
    pub fn bad_request(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, "The request is not understood", detail)
    }

    /// Nothing is known under this name.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// The resource is somebody else's.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed for this API token", detail)
    }

    /// Our own fault; the cause goes to the log, not to the client.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(error = %cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "try again later; the log of the origin says more",
        )
    }

    /// Nothing is served at this path.
    pub async fn no_route() -> Self {
        Self::not_found("nothing is served at this path")
    }

    /// The path is served, but not with this method.
    pub async fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "the Allow header lists what is",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = *self.0;
        let problem =
            Problem::new(answer.status.as_u16(), answer.kind, answer.title, answer.detail);
        let body = serde_json::to_vec(&problem).expect("plain data");
        let mut response = (answer.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in answer.headers {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(ProblemKind(answer.kind));
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        Self::internal(error)
    }
}
