//! One request as it is sent on a connection, the answer as it comes, and how long each may take.
//!
//! A leaf. Invariant: neither contains what concerns a connection.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, uri::PathAndQuery};
use tokio::sync::mpsc::error::TrySendError;

use super::{
    super::{ask::Interim, failed::Failed},
    framing::Malformed,
    h1, h2,
};

/// A request for one upstream.
#[derive(Debug)]
pub(in crate::upstream) struct Outgoing {
    pub(in crate::upstream) method: Method,
    pub(in crate::upstream) path: PathAndQuery,
    /// What `Host` or `:authority` says.
    pub(in crate::upstream) host: HeaderValue,
    /// Everything else, without `Content-Length`.
    pub(in crate::upstream) headers: HeaderMap,
    pub(in crate::upstream) body: BodyLength,
}

/// How much body a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum BodyLength {
    None,
    Known(u64),
    Unknown,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::upstream) struct Times {
    pub(in crate::upstream) first_byte: Duration,
    pub(in crate::upstream) read: Duration,
    pub(in crate::upstream) write: Duration,
}

/// The head of an answer, and its body to come.
pub(in crate::upstream) struct Received {
    pub(in crate::upstream) status: StatusCode,
    pub(in crate::upstream) headers: HeaderMap,
    pub(in crate::upstream) body: Incoming,
}

/// The body of an answer as it comes.
pub(in crate::upstream) enum Incoming {
    Empty,
    H1(Box<h1::Body>),
    H2(Box<h2::Body>),
}

impl Incoming {
    /// The next piece; `None` at the end, which the framing has said. May be dropped and called again.
    pub(in crate::upstream) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        match self {
            Self::Empty => Ok(None),
            Self::H1(body) => body.next().await,
            Self::H2(body) => body.next().await,
        }
    }

    /// The trailers, once the end was said.
    pub(in crate::upstream) fn trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Empty => None,
            Self::H1(body) => body.trailers(),
            Self::H2(body) => body.trailers(),
        }
    }
}

/// Hands interim responses on, and refuses endless ones.
pub(super) struct Interims<'a> {
    sink: Option<&'a Interim>,
    on_dropped: &'a (dyn Fn() + Send + Sync),
    count: usize,
}

impl<'a> Interims<'a> {
    pub(super) fn new(sink: Option<&'a Interim>, on_dropped: &'a (dyn Fn() + Send + Sync)) -> Self {
        Self { sink, on_dropped, count: 0 }
    }

    pub(super) fn came(&mut self, status: StatusCode, headers: HeaderMap) -> Result<(), Malformed> {
        self.count += 1;
        if self.count > INTERIM_MAX {
            return Err(Malformed("too many interim responses"));
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed("it switches protocols without being asked"));
        }
        // Nobody waits for 100: what expects it is answered by the listener.
        if status != StatusCode::CONTINUE
            && let Some(Err(TrySendError::Full(_))) =
                self.sink.map(|sink| sink.try_send((status, headers)))
        {
            (self.on_dropped)();
        }
        Ok(())
    }
}

/// The most interim responses before an answer.
const INTERIM_MAX: usize = 32;
