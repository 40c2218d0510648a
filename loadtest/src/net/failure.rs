//! From what the system, TLS and QUIC say to the classes that results count.
//!
//! Invariant: what the rig lacks itself (sockets, ports, memory) is never blamed on the server.

use std::{borrow::Cow, fmt, io};

use rustix::io::Errno;

use super::Failure;
use crate::kind::FailureClass;

impl Failure {
    pub(super) fn new(class: FailureClass, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { class, detail: detail.into() }
    }

    /// What an error of a socket or of TLS means at a step.
    pub(super) fn of_io(error: &io::Error, step: Step) -> Self {
        let inner = error.get_ref();
        if let Some(known) = inner.and_then(|inner| inner.downcast_ref::<Self>()) {
            return known.clone();
        }
        if error.raw_os_error().is_some_and(is_own) || error.kind() == io::ErrorKind::OutOfMemory {
            return Self::new(FailureClass::Rig, error.to_string());
        }
        let is_tls = inner.is_some_and(|inner| inner.is::<rustls::Error>());
        let class = match step {
            Step::Connect => FailureClass::Connect,
            Step::Handshake => FailureClass::Handshake,
            Step::Exchange if is_tls => FailureClass::Protocol,
            Step::Exchange => match error.kind() {
                io::ErrorKind::UnexpectedEof => FailureClass::Truncated,
                io::ErrorKind::InvalidData => FailureClass::Protocol,
                _ => FailureClass::Reset,
            },
        };
        Self::new(class, error.to_string())
    }

    /// So that it passes through layers that know only such errors.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.class, self.detail)
    }
}

impl std::error::Error for Failure {}

/// How far a connection was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Handshake,
    Exchange,
}

/// A failure, and whether nothing of an answer had come on a connection that had served before, or that the server
/// said it did nothing: then the same may be asked once more.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    pub(super) may_retry: bool,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, may_retry: false }
    }
}

/// How an exchange on a connection that others share broke off.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// The connection may go on.
    pub(super) is_stream: bool,
    /// The server said that it did nothing.
    pub(super) is_undone: bool,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, is_stream: true, is_undone: false }
    }
}

fn is_own(code: i32) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|own| own.raw_os_error() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_class_of_their_step() {
        let os = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for (error, step, class) in [
            (os(Errno::MFILE), Step::Connect, FailureClass::Rig),
            (os(Errno::ADDRNOTAVAIL), Step::Connect, FailureClass::Rig),
            (os(Errno::NOBUFS), Step::Exchange, FailureClass::Rig),
            (os(Errno::CONNREFUSED), Step::Connect, FailureClass::Connect),
            (os(Errno::CONNRESET), Step::Handshake, FailureClass::Handshake),
            (os(Errno::CONNRESET), Step::Exchange, FailureClass::Reset),
            (os(Errno::PIPE), Step::Exchange, FailureClass::Reset),
            (io::ErrorKind::UnexpectedEof.into(), Step::Exchange, FailureClass::Truncated),
            (io::ErrorKind::InvalidData.into(), Step::Exchange, FailureClass::Protocol),
            (io::Error::other(rustls::Error::DecryptError), Step::Exchange, FailureClass::Protocol),
            (
                Failure::new(FailureClass::TooLarge, "x").into_io(),
                Step::Exchange,
                FailureClass::TooLarge,
            ),
        ] {
            assert_eq!(Failure::of_io(&error, step).class, class, "{error} {step:?}");
        }
    }
}
