//! Error codes of HTTP/2 (RFC 9113 7), and which part of a conversation an error ends.
//!
//! Invariant: no stream and no connection of ours is ended with a code that is not in this list.

/// An error code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The protocol was broken in a way that has no code of its own.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// We failed.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// More than the window allows, or a window beyond its bounds.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// A frame on a stream that has ended.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame of a length that it may not have.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// Nothing was done with the request; it may be sent again.
    pub const REFUSED_STREAM: Self = Self(7);
    /// A header section cannot be decoded.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// More than we are willing to do.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// What the client broke, and what ends by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The whole connection.
    #[error("{1} (connection error {0:?})")]
    Connection(Code, &'static str),
    /// This stream alone.
    #[error("{1} (stream error {0:?})")]
    Stream(Code, &'static str),
}

impl Broken {
    /// The connection, by a protocol error.
    pub(super) const fn protocol(why: &'static str) -> Self {
        Self::Connection(Code::PROTOCOL_ERROR, why)
    }

    /// The connection, by a frame of a wrong length.
    pub(super) const fn size(why: &'static str) -> Self {
        Self::Connection(Code::FRAME_SIZE_ERROR, why)
    }

    /// The request is malformed (RFC 9113 8.1.1).
    pub(super) const fn message(why: &'static str) -> Self {
        Self::Stream(Code::PROTOCOL_ERROR, why)
    }
}
