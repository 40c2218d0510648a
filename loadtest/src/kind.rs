//! What is fetched, over which protocol, and how it can fail: the words that every part shares.

use serde::{Deserialize, Serialize};

/// The HTTP version of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, over TLS for `https`.
    H1,
    /// HTTP/2, over TLS for `https`, with prior knowledge for `http`.
    H2,
    /// HTTP/3, `https` only.
    H3,
}

/// What an object is to a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// An HLS multivariant playlist or a DASH MPD when it is asked for first.
    Multivariant,
    /// An HLS media playlist, or an MPD that is asked for again.
    Playlist,
    /// An initialization segment.
    Init,
    /// A decryption key of HLS.
    Key,
    /// A media segment.
    Segment,
    /// An LL-HLS partial segment.
    Part,
    /// A content steering manifest.
    Steering,
}

/// Why a fetch gave no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The name was not found.
    Dns,
    /// The connection was refused or not made in time.
    Connect,
    /// TLS or QUIC did not agree.
    Handshake,
    /// No answer, or no end of it, in time.
    Timeout,
    /// The connection or stream was cut.
    Reset,
    /// What came is not HTTP.
    Protocol,
    /// A status of 400 to 499.
    ClientError,
    /// A status of 500 to 599.
    ServerError,
    /// Another status than asked for, like an endless redirect.
    Unexpected,
    /// Fewer or more bytes than announced.
    Truncated,
    /// The content is not what the manifest of hashes says.
    Corrupt,
    /// The content is larger than the rig takes.
    TooLarge,
    /// A playlist or an MPD that cannot be played.
    Manifest,
    /// The rig ran out of sockets, ports or memory: its own fault.
    Rig,
}
