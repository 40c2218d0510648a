//! Whose fault a failed exchange is, which status it gets, and its name for programs.
//!
//! Every failure of the data path passes here once. Invariant: the answer tells a client nothing of addresses,
//! certificates or files behind the edge.

use pingora::{Error, ErrorSource, ErrorType};
use tidegate_contract::problem::Problem;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The client: the request cannot be answered as it is.
    Client,
    /// An upstream: it did not answer, or not in time.
    Upstream,
    /// This node.
    Edge,
}

/// What a failed exchange is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Who has to act.
    pub blame: Blame,
    /// The status; 0 when there is nobody left to answer.
    pub status: u16,
    /// The kind of problem, for programs and labels.
    pub kind: &'static str,
    /// The kind in a few words.
    pub title: &'static str,
}

impl Blame {
    /// The word in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Edge => "edge",
        }
    }
}

impl Failure {
    /// No property serves the host.
    pub const UNKNOWN_HOST: Self =
        Self::new(Blame::Client, 421, "unknown-host", "no property serves this host");
    /// The request passed this node before.
    pub const LOOP: Self = Self::new(Blame::Client, 508, "loop", "the request runs in a circle");
    /// There is no configuration yet.
    pub const NO_POLICY: Self =
        Self::new(Blame::Edge, 503, "not-configured", "this node has no configuration yet");
    /// The client wants a stored response and there is none.
    pub const NOT_STORED: Self =
        Self::new(Blame::Client, 504, "only-if-cached", "there is no stored response");
    /// The request's target or host cannot be read.
    pub const BAD_REQUEST: Self =
        Self::new(Blame::Client, 400, "bad-request", "the request cannot be understood");
    /// No upstream could be connected to.
    pub const UNREACHABLE: Self =
        Self::new(Blame::Upstream, 502, "upstream-unreachable", "no upstream can be reached");
    /// An upstream did not answer in time.
    pub const TIMEOUT: Self =
        Self::new(Blame::Upstream, 504, "upstream-timeout", "the upstream did not answer in time");
    /// An upstream broke off or made no sense.
    pub const BROKEN: Self =
        Self::new(Blame::Upstream, 502, "upstream-failed", "the upstream's answer failed");
    /// Our own.
    pub const INTERNAL: Self =
        Self::new(Blame::Edge, 500, "internal", "this node could not answer");
    /// The client is gone.
    pub const GONE: Self = Self::new(Blame::Client, 0, "client-gone", "the client is gone");

    const fn new(blame: Blame, status: u16, kind: &'static str, title: &'static str) -> Self {
        Self { blame, status, kind, title }
    }

    /// This failure as the error that ends a phase; [`classify`] finds it again.
    #[must_use]
    pub fn raise(self) -> Box<Error> {
        let source = match self.blame {
            Blame::Client => ErrorSource::Downstream,
            Blame::Upstream => ErrorSource::Upstream,
            Blame::Edge => ErrorSource::Internal,
        };
        let context = Some(pingora::ImmutStr::Static(self.kind));
        Error::create(ErrorType::HTTPStatus(self.status), source, context, None)
    }

    /// The answer's body.
    #[must_use]
    pub fn problem(self) -> Problem {
        Problem::new(self.status, self.kind, self.title, "")
    }
}

/// Finds out what an error of the data path means.
#[must_use]
pub fn classify(error: &Error) -> Failure {
    if let Some(raised) = raised(error) {
        return raised;
    }
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ErrorType::HTTPStatus(_) | ErrorType::InvalidHTTPHeader) => {
            Failure::BAD_REQUEST
        }
        (
            ErrorSource::Downstream,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::H2Error,
        ) => Failure::GONE,
        (ErrorSource::Downstream, _) => Failure::BAD_REQUEST,
        (ErrorSource::Upstream, kind) => upstream(kind),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Failure::INTERNAL,
    }
}

fn upstream(kind: &ErrorType) -> Failure {
    match kind {
        ErrorType::ConnectTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout
        | ErrorType::TLSHandshakeTimedout => Failure::TIMEOUT,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::ConnectProxyFailure
        | ErrorType::SocketError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert => Failure::UNREACHABLE,
        _ => Failure::BROKEN,
    }
}

/// A failure that [`Failure::raise`] made.
fn raised(error: &Error) -> Option<Failure> {
    let ErrorType::HTTPStatus(status) = error.etype() else { return None };
    let context = error.context.as_ref()?.as_str();
    RAISED.iter().find(|known| known.status == *status && known.kind == context).copied()
}

const RAISED: &[Failure] = &[
    Failure::UNKNOWN_HOST,
    Failure::LOOP,
    Failure::NO_POLICY,
    Failure::NOT_STORED,
    Failure::BAD_REQUEST,
    Failure::UNREACHABLE,
    Failure::TIMEOUT,
    Failure::BROKEN,
    Failure::INTERNAL,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_is_found_again() {
        for failure in RAISED {
            assert_eq!(classify(&failure.raise()), *failure);
        }
    }

    #[test]
    fn blame_and_status_follow_source_and_kind() {
        let error = |source, kind| *Error::create(kind, source, None, None);
        for (source, kind, expected) in [
            (ErrorSource::Upstream, ErrorType::ConnectTimedout, Failure::TIMEOUT),
            (ErrorSource::Upstream, ErrorType::ReadTimedout, Failure::TIMEOUT),
            (ErrorSource::Upstream, ErrorType::ConnectRefused, Failure::UNREACHABLE),
            (ErrorSource::Upstream, ErrorType::ConnectionClosed, Failure::BROKEN),
            (ErrorSource::Upstream, ErrorType::HTTPStatus(503), Failure::BROKEN),
            (ErrorSource::Downstream, ErrorType::WriteError, Failure::GONE),
            (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader, Failure::BAD_REQUEST),
            (ErrorSource::Internal, ErrorType::InternalError, Failure::INTERNAL),
        ] {
            assert_eq!(classify(&error(source, kind)), expected);
        }
    }
}
