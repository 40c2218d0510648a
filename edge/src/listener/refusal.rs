//! Why a request does not reach the app, and what its client is told. Pure.
//!
//! Invariant: the words and labels are of this code; nothing a client sent is repeated.

use http::{HeaderValue, StatusCode};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// CONNECT and TRACE: tunnels and echoes are not offered for any resource.
    #[error("the method is not supported")]
    Method,
    /// Might be a replay and might change something (RFC 8470 5.2).
    #[error("only GET and HEAD are accepted as early data")]
    TooEarly,
    /// The header section is larger, or has more lines, than the limit.
    #[error("the header section is larger than the limit")]
    HeaderTooLarge,
    /// The target is longer than the limit.
    #[error("the target is longer than the limit")]
    TargetTooLong,
    /// A transfer coding other than chunked.
    #[error("the transfer coding is not supported")]
    Coding,
    /// A major version other than 1 where that is spoken.
    #[error("the version is not supported")]
    Version,
    /// An expectation other than 100-continue.
    #[error("the expectation is not known")]
    Expectation,
    /// The request did not come in time.
    #[error("the request did not come in time")]
    Slow,
    /// There is no room for what its exchange may hold.
    #[error("no room for more requests now")]
    Busy,
    /// Breaks the protocol; the text says which rule.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// The status that the client gets.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method | Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::TooEarly => StatusCode::TOO_EARLY,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// When to try again, in seconds, where that helps (RFC 9110 10.2.3).
    #[must_use]
    pub fn retry_after(self) -> Option<HeaderValue> {
        (self == Self::Busy).then_some(RETRY_AFTER)
    }

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::TooEarly => "early_data",
            Self::HeaderTooLarge => "header_size",
            Self::TargetTooLong => "target_size",
            Self::Coding => "transfer_coding",
            Self::Version => "version",
            Self::Expectation => "expectation",
            Self::Slow => "slow",
            Self::Busy => "memory",
            Self::Malformed(_) => "malformed",
        }
    }
}

/// The time in which some of many exchanges end.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
