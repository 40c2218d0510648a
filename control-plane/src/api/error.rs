//! Every way in which a request can fail, and the answer to it.
//!
//! The one place that maps to a status. What went wrong inside is logged here, once, and not told to the client.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tidegate_contract::problem::{CONTENT_TYPE, Problem};

use crate::{
    access::AccessError,
    change::ChangeError,
    release::ReleaseError,
    rotation::RotationError,
    store::{AppendError, CommitError, StoreError},
};

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("a bearer token is needed, and must be known")]
    Unauthenticated,
    #[error("the token lacks the scope {0}")]
    Forbidden(String),
    #[error("a second person must approve this first: approval {0}")]
    ApprovalNeeded(String),
    #[error("{0}")]
    ApprovalRefused(String),
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
    #[error("{0}")]
    UnderWay(String),
    #[error("there is no {0}")]
    Missing(String),
    #[error("refused by the interlock: {0}")]
    Interlock(String),
    #[error("the idempotency key was used for another purge, {0}")]
    KeyReused(String),
    #[error("too many requests; the next is allowed in {} ms", .0.as_millis())]
    TooOften(Duration),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Silent(String),
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
            Self::ApprovalNeeded(_) => (409, "approval-needed", "Approval needed"),
            Self::ApprovalRefused(_) => (403, "approval-refused", "Approval does not allow this"),
            Self::NoRoute | Self::NotFound { .. } | Self::Missing(_) => {
                (404, "not-found", "Not found")
            }
            Self::Method => (405, "method-not-allowed", "Method not allowed"),
            Self::Malformed(_) => (400, "malformed", "Malformed request"),
            Self::TooLarge => (413, "body-too-large", "Body too large"),
            Self::TooSlow => (408, "body-too-slow", "Body too slow"),
            Self::Invalid(_) => (422, "invalid", "Invalid value"),
            Self::Conflict(_) => (412, "conflict", "Changed in between"),
            Self::UnderWay(_) => (409, "release-under-way", "Not now"),
            Self::Interlock(_) => (423, "interlock", "Refused by the interlock"),
            Self::KeyReused(_) => (422, "idempotency-key-reused", "Idempotency key reused"),
            Self::TooOften(_) => (429, "too-many-requests", "Too many requests"),
            Self::Busy | Self::StoreFull | Self::Store(_) | Self::Unavailable(_) => {
                (503, "unavailable", "Not available now")
            }
            Self::Silent(_) => (504, "no-answer", "No answer in time"),
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
        let mut body = serde_json::to_value(&problem).expect("a problem is plain data");
        if let Self::ApprovalNeeded(id) = &self {
            body["approval"] = id.as_str().into();
        }
        let body = body.to_string();
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

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound { what, id } => Self::NotFound { what, id },
            AccessError::Invalid(text) => Self::Invalid(text),
            AccessError::Forbidden(text) => Self::Forbidden(text),
            AccessError::Conflict(_) => Self::Conflict(error.to_string()),
            AccessError::ApprovalNeeded { id } => Self::ApprovalNeeded(id),
            AccessError::ApprovalRefused { .. } => Self::ApprovalRefused(error.to_string()),
            AccessError::Audit => Self::StoreFull,
            AccessError::Store(error) => error.into(),
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

impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> Self {
        let text = error.to_string();
        match error {
            ReleaseError::Change(error) => error.into(),
            ReleaseError::Set(_) | ReleaseError::Contended => Self::Conflict(text),
            ReleaseError::UnderWay(_) | ReleaseError::NothingUnderWay => Self::UnderWay(text),
            ReleaseError::NotFound(version) => {
                Self::NotFound { what: "release", id: version.to_string() }
            }
            ReleaseError::NoChange(id) => Self::NotFound { what: "change-set", id },
            ReleaseError::TooManyDrafts(_) | ReleaseError::Compile(_) | ReleaseError::Name(_) => {
                Self::Invalid(text)
            }
            ReleaseError::Commit(CommitError::Conflict { .. }) => Self::Conflict(text),
            ReleaseError::Commit(CommitError::TooLarge(_)) => Self::Invalid(text),
            ReleaseError::Store(error) | ReleaseError::Commit(CommitError::Store(error)) => {
                error.into()
            }
            ReleaseError::TooFarAhead
            | ReleaseError::Damaged(_)
            | ReleaseError::Vault(_)
            | ReleaseError::Key(_)
            | ReleaseError::Syntax(_) => Self::Store(StoreError::damaged("release", text)),
        }
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        let text = error.to_string();
        match error {
            RotationError::NotNow(_) | RotationError::ReleaseUnderWay => Self::UnderWay(text),
            RotationError::CutsOff(_) => Self::Interlock(text),
            RotationError::Contended => Self::Conflict(text),
            RotationError::Release(error) => error.into(),
            RotationError::Store(error) | RotationError::Commit(CommitError::Store(error)) => {
                error.into()
            }
            RotationError::Commit(_)
            | RotationError::Record(_)
            | RotationError::Ca(_)
            | RotationError::Vault(_) => Self::Store(StoreError::damaged("authority", text)),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotThere(key) => {
                Self::NotFound { what: key.kind.as_str(), id: key.name.to_string() }
            }
            ChangeError::Conflict { .. } => Self::Conflict(error.to_string()),
            _ => Self::Invalid(error.to_string()),
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
