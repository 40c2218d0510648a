//! Every way in which a request can fail, and the answer to it.
//!
//! The one place that maps to a status. What went wrong inside is logged here, once, and not told to the client.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tidegate_contract::problem::{CONTENT_TYPE, Problem};

use crate::store::{AppendError, DesiredError, StoreError};

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("a bearer token is needed, and must be known")]
    Unauthenticated,
    #[error("the token lacks the scope {0}")]
    Forbidden(&'static str),
    #[error("there is no such resource")]
    NoRoute,
    #[error("the resource does not know this method")]
    Method,
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error("{0}")]
    Malformed(String),
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
    #[error("there is no {0}")]
    Missing(String),
    #[error("refused by the interlock: {0}")]
    Interlock(String),
    #[error("the idempotency key was used for another purge, {0}")]
    KeyReused(String),
    #[error("too many requests; the next is allowed in {} ms", .0.as_millis())]
    TooOften(Duration),
    #[error("too many requests wait")]
    Busy,
    #[error("the store cannot take the request now")]
    StoreFull,
    #[error("the store cannot answer")]
    Store(#[source] StoreError),
    #[error("the request could not be finished")]
    Panicked,
}

impl ApiError {
    fn problem(&self) -> Problem {
        let (status, kind, title) = match self {
            Self::Unauthenticated => (401, "unauthenticated", "Not authenticated"),
            Self::Forbidden(_) => (403, "forbidden", "Not allowed"),
            Self::NoRoute | Self::NotFound { .. } | Self::Missing(_) => {
                (404, "not-found", "Not found")
            }
            Self::Method => (405, "method-not-allowed", "Method not allowed"),
            Self::Malformed(_) => (400, "malformed", "Malformed request"),
            Self::TooLarge => (413, "body-too-large", "Body too large"),
            Self::TooSlow => (408, "body-too-slow", "Body too slow"),
            Self::Invalid(_) => (422, "invalid", "Invalid value"),
            Self::Conflict(_) => (412, "conflict", "Changed in between"),
            Self::Interlock(_) => (423, "interlock", "Refused by the interlock"),
            Self::KeyReused(_) => (422, "idempotency-key-reused", "Idempotency key reused"),
            Self::TooOften(_) => (429, "too-many-requests", "Too many requests"),
            Self::Busy | Self::StoreFull | Self::Store(_) => {
                (503, "unavailable", "Not available now")
            }
            Self::Panicked => (500, "internal", "Internal error"),
        };
        Problem::new(status, kind, title, self.to_string())
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooOften(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            Self::Busy | Self::StoreFull => Some(1),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Store(error) = &self {
            tracing::error!(%error, "a request failed");
        }
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let body = serde_json::to_vec(&problem).expect("a problem is plain data");
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::Unauthenticated) {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::StoreFull,
            error => Self::Store(error),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyReused(id) => Self::KeyReused(id.to_string()),
            AppendError::Store(error) => error.into(),
        }
    }
}

impl From<DesiredError> for ApiError {
    fn from(error: DesiredError) -> Self {
        match error {
            DesiredError::Store(error) => error.into(),
            DesiredError::NotFound { what, id } => Self::NotFound { what, id },
            DesiredError::Conflict { .. } => Self::Conflict(error.to_string()),
            DesiredError::Refused(_) | DesiredError::Pop(_) | DesiredError::DryRun(_) => {
                Self::Invalid(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_problem_and_says_when_to_try_again() {
        for (error, status, retry) in [
            (ApiError::Unauthenticated, 401, None),
            (ApiError::TooOften(Duration::from_millis(300)), 429, Some("1")),
            (ApiError::TooOften(Duration::from_secs(2)), 429, Some("2")),
            (StoreError::Full.into(), 503, Some("1")),
            (StoreError::Closed.into(), 503, None),
        ] {
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
            let after = response.headers().get(header::RETRY_AFTER);
            assert_eq!(after.map(|value| value.to_str().expect("ascii")), retry);
        }
    }
}
