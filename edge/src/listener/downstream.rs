//! What is known of the client's side of one exchange: its protocol, its address, its safety.
//!
//! Invariant: the version of a request says nothing about the protocol; only this type does.

use std::net::SocketAddr;

/// The client's side of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downstream {
    /// HTTP version on the wire.
    pub protocol: Protocol,
    /// The client's address when the exchange began (a QUIC client may move later).
    pub client: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
    /// The request arrived in 0-RTT data, so it may be a replay (RFC 8470).
    pub early_data: bool,
}

/// HTTP version on the wire between client and edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1 over TCP.
    Http1,
    /// HTTP/2 over TLS over TCP.
    Http2,
    /// HTTP/3 over QUIC.
    Http3,
}

impl Protocol {
    /// The protocol's ALPN name (RFC 7301 registry); used for labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }
}
