//! A response as it arrives, and why it is not stored.
//!
//! Invariant: every reason has one name, in logs, metrics and `Cache-Status`.

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode};

use super::media_class::MediaClass;

/// A response as it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whether the request carried `Authorization`.
    pub is_authorized: bool,
    /// When it was asked for.
    pub requested_at: SystemTime,
    /// When its head arrived.
    pub received_at: SystemTime,
    /// What kind of media it is.
    pub class: MediaClass,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstorable {
    /// The answer to something else than GET.
    Method,
    /// A status that this cache does not store.
    Status,
    /// A 206 that does not say for certain which part it is.
    Partial,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request was authorized and the response does not allow sharing.
    Authorized,
    /// A cookie is set and the response does not allow sharing.
    Cookie,
    /// `Vary: *`, or one that cannot be followed.
    VaryAny,
    /// An error for what may appear any moment.
    LiveEdge,
    /// Neither freshness nor a validator with a window: it could never be reused.
    NoFreshness,
    /// More surrogate keys than allowed, or broken ones: it could not be purged.
    SurrogateKey,
    /// No room among the fills in flight.
    NoRoom,
    /// Larger than the largest object.
    Size,
}

impl Unstorable {
    /// The reason in logs and in `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorized => "authorized",
            Self::Cookie => "cookie",
            Self::VaryAny => "vary-any",
            Self::LiveEdge => "live-edge",
            Self::NoFreshness => "no-freshness",
            Self::SurrogateKey => "surrogate-key",
            Self::NoRoom => "no-room",
            Self::Size => "size",
        }
    }
}
