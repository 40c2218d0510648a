//! What can go wrong between this node and one upstream, and what that means: to the client, for another attempt, for
//! the upstream's standing.
//!
//! Invariant: what a client is told names neither addresses nor certificates.

use std::io;

use super::link::{Malformed, PeerError};
use crate::error::{Blame, Failure};

/// Why an attempt at one upstream failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It cannot be connected to as it is set up, or its name has no address.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// As many requests are under way as may be.
    #[error("as many requests are under way as may be")]
    Busy,
    /// It failed often, and somebody else tries it already.
    #[error("not asked: it failed before")]
    Open,
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(Box<pingora::Error>),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTime,
    /// It closed the connection before the first byte of an answer.
    #[error("closed before an answer")]
    Closed,
    /// It said that it did not look at the request.
    #[error("the request was not looked at")]
    NotLookedAt,
    /// It wants this request over HTTP/1.1, and did nothing with it (RFC 9113 section 7).
    #[error("it wants HTTP/1.1")]
    NeedsHttp1,
    /// Its answer comes so slowly that nobody can be served from it.
    #[error("the answer comes too slowly")]
    TooSlow,
    /// No head of an answer in time.
    #[error("no answer in time")]
    FirstByteTime,
    /// No further piece of an answer in time.
    #[error("no further piece of the answer in time")]
    ReadTime,
    /// No further piece of the request taken in time.
    #[error("no further piece of the request was taken in time")]
    WriteTime,
    /// What it sends can be read in more than one way, or in none.
    #[error("malformed answer: {0}")]
    Malformed(#[from] Malformed),
    /// The answer ended before it was whole.
    #[error("the answer broke off")]
    Short,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The connection or stream of H2 broke.
    #[error("h2: {0}")]
    H2(#[from] h2::Error),
    /// It answered with a status that says that it cannot answer now.
    #[error("status {0}")]
    Status(u16),
    /// The request's body broke off on the client's side.
    #[error("the request's body broke off")]
    ClientGone,
    /// The request cannot be put in the upstream's protocol.
    #[error("the request cannot be sent: {0}")]
    Request(&'static str),
}

impl Failed {
    /// The word in labels.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Peer(_) => "address",
            Self::Busy => "busy",
            Self::Open => "open",
            Self::Status(_) => "status",
            Self::ClientGone => "client-gone",
            Self::Malformed(_) => "malformed",
            Self::TooSlow => "slow",
            _ => self.failure().kind,
        }
    }

    /// What the exchange is answered with when nobody else can answer.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Peer(_) | Self::Open => Failure::UNREACHABLE,
            Self::Busy => BUSY,
            Self::Connect(error) if is_timeout(error) => Failure::TIMEOUT,
            Self::Connect(_) => Failure::UNREACHABLE,
            Self::ConnectTime
            | Self::FirstByteTime
            | Self::ReadTime
            | Self::WriteTime
            | Self::TooSlow => Failure::TIMEOUT,
            Self::ClientGone => Failure::GONE,
            Self::Request(_) => Failure::BAD_REQUEST,
            _ => Failure::BROKEN,
        }
    }

    /// Whether nothing of the request reached the upstream's program, so that any request may go elsewhere.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Peer(_)
                | Self::Busy
                | Self::Open
                | Self::Connect(_)
                | Self::ConnectTime
                | Self::NotLookedAt
                | Self::NeedsHttp1
        )
    }

    /// Whether a kept connection was closed meanwhile, which says nothing about the upstream.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Closed | Self::NotLookedAt)
    }

    /// Whether it counts against the upstream.
    pub(super) fn is_upstreams(&self) -> bool {
        !matches!(self, Self::Busy | Self::Open | Self::ClientGone | Self::Request(_))
    }

    /// Whether another upstream may be asked, if the request may be repeated.
    pub(super) fn is_worth_another(&self) -> bool {
        !matches!(self, Self::ClientGone | Self::Request(_))
    }
}

/// As many requests are under way to the upstreams as may be.
const BUSY: Failure = Failure {
    blame: Blame::Upstream,
    status: 503,
    kind: "upstream-busy",
    title: "the upstream takes no more requests now",
};

fn is_timeout(error: &pingora::Error) -> bool {
    use pingora::ErrorType::{ConnectTimedout, TLSHandshakeTimedout};
    matches!(error.etype(), ConnectTimedout | TLSHandshakeTimedout)
}

#[cfg(test)]
mod tests {
    use pingora::{Error, ErrorType};

    use super::*;

    #[test]
    fn the_answer_follows_from_what_went_wrong() {
        let connect = |kind| Failed::Connect(Error::new(kind));
        for (failed, expected, is_unsent, is_stale) in [
            (connect(ErrorType::ConnectRefused), Failure::UNREACHABLE, true, false),
            (connect(ErrorType::ConnectTimedout), Failure::TIMEOUT, true, false),
            (connect(ErrorType::InvalidCert), Failure::UNREACHABLE, true, false),
            (Failed::FirstByteTime, Failure::TIMEOUT, false, false),
            (Failed::Closed, Failure::BROKEN, false, true),
            (Failed::NotLookedAt, Failure::BROKEN, true, true),
            (Failed::Short, Failure::BROKEN, false, false),
            (Failed::ClientGone, Failure::GONE, false, false),
            (Failed::Busy, BUSY, true, false),
        ] {
            assert_eq!(failed.failure(), expected, "{failed}");
            assert_eq!((failed.is_unsent(), failed.is_stale()), (is_unsent, is_stale), "{failed}");
        }
    }
}
