//! Connections of HTTP/1.1, 2 and 3 as players have them: timed, shaped, resumed, moved; bodies counted and hashed, not
//! kept.
//!
//! Invariant: a fetch ends in an answer whose framing was complete, or in a failure that has a class.

mod worker;
mod session;
mod h3;
mod h2;
mod h1;
mod link;
mod shared;
mod quic;
mod endpoints;
mod dial;
mod resolve;
mod transport;
mod course;
mod verdict;
mod facts;
mod greeting;
mod counters;
mod trust;
mod tickets;
mod turns;
mod pace;
mod shape;
mod failure;
mod config;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use url::Url;

pub use self::{
    config::{ConfigError, NetConfig},
    counters::Counters,
    h2::read_answer as read_h2_answer,
    session::{Session, SessionPlan},
    shape::{Shape, ShapeError},
    trust::TrustError,
    turns::Turns,
    worker::{Net, NetError},
};
use crate::kind::{FailureClass, Protocol};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub url: Url,
    /// First byte, and the number of bytes when it is known.
    pub range: Option<(u64, Option<u64>)>,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub urgency: u8,
    /// Bytes of the body that are kept; a larger body is `TooLarge`. `None` counts only.
    pub keep: Option<usize>,
    /// Whether the body is hashed.
    pub hash: bool,
    /// For the whole of it.
    pub timeout: Duration,
}

/// How a fetch went.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub outcome: Result<Answer, Failure>,
    /// There when a connection was made for it.
    pub connection: Option<Connected>,
    /// From the ask to the first byte of the answer's head (not of an interim one).
    pub first_byte: Option<Duration>,
    /// From the ask to the end.
    pub took: Duration,
    /// Body bytes, also of a failed one.
    pub bytes: u64,
    pub facts: Facts,
}

/// An answer with status 200 or 206, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// After redirects.
    pub url: Url,
    pub body: Option<Bytes>,
    pub blake3: Option<[u8; 32]>,
}

/// What the answer's head says of the way it took; also of a failed one.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub status: Option<u16>,
    /// From `Cache-Status` (RFC 9211; the cache nearest to the client), else `X-Cache`, else `Age`.
    pub is_hit: Option<bool>,
    /// Seconds.
    pub age: Option<u64>,
    /// Who answered: the name in `Cache-Status` or `Via`, else the address. Bounded in length.
    pub pop: Option<String>,
    /// `Date`, in seconds since 1970: for the clock's skew.
    pub date: Option<i64>,
    pub etag: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// What making a connection took.
#[derive(Debug, Clone, Copy)]
pub struct Connected {
    pub protocol: Protocol,
    /// None when the name was known.
    pub dns: Option<Duration>,
    /// TCP only.
    pub connect: Option<Duration>,
    /// TLS, or QUIC with TLS.
    pub handshake: Option<Duration>,
    pub is_resumed: bool,
    /// The server took 0-RTT data.
    pub is_early: bool,
}

/// Why nothing came.
#[derive(Debug, Clone)]
pub struct Failure {
    pub class: FailureClass,
    /// For people; never a token.
    pub detail: Cow<'static, str>,
}
