//! Error codes of HTTP/3 and QPACK (RFC 9114 8.1, RFC 9204 6), and which part of a conversation an error ends.
//!
//! Invariant: no stream and no connection of ours is ended with a code that is not in this list.

use quinn::VarInt;

/// An error code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0x100);
    /// We failed.
    pub const INTERNAL_ERROR: Self = Self(0x102);
    /// A stream that may not be opened.
    pub const STREAM_CREATION_ERROR: Self = Self(0x103);
    /// The control stream or a QPACK stream ended.
    pub const CLOSED_CRITICAL_STREAM: Self = Self(0x104);
    /// A frame where it may not stand.
    pub const FRAME_UNEXPECTED: Self = Self(0x105);
    /// A frame whose layout or length is wrong.
    pub const FRAME_ERROR: Self = Self(0x106);
    /// More than we are willing to do.
    pub const EXCESSIVE_LOAD: Self = Self(0x107);
    /// An identifier that is out of its bounds or went the wrong way.
    pub const ID_ERROR: Self = Self(0x108);
    /// A setting that may not have this value.
    pub const SETTINGS_ERROR: Self = Self(0x109);
    /// The control stream does not begin with SETTINGS.
    pub const MISSING_SETTINGS: Self = Self(0x10a);
    /// Nothing was done with the request; it may be sent again elsewhere.
    pub const REQUEST_REJECTED: Self = Self(0x10b);
    /// The request or its response is no longer wanted.
    pub const REQUEST_CANCELLED: Self = Self(0x10c);
    /// The request ended before it was complete.
    pub const REQUEST_INCOMPLETE: Self = Self(0x10d);
    /// The message is malformed.
    pub const MESSAGE_ERROR: Self = Self(0x10e);
    /// A field section cannot be decoded.
    pub const QPACK_DECOMPRESSION_FAILED: Self = Self(0x200);
    /// An instruction on the encoder stream cannot be followed.
    pub const QPACK_ENCODER_STREAM_ERROR: Self = Self(0x201);
    /// An instruction on the decoder stream cannot be followed.
    pub const QPACK_DECODER_STREAM_ERROR: Self = Self(0x202);

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code.0)
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
    /// The request is malformed (RFC 9114 4.1.2).
    pub(super) const fn message(why: &'static str) -> Self {
        Self::Stream(Code::MESSAGE_ERROR, why)
    }

    /// A frame stands where it may not.
    pub(super) const fn unexpected(why: &'static str) -> Self {
        Self::Connection(Code::FRAME_UNEXPECTED, why)
    }
}
