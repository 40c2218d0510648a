//! What is known of the client's side of one exchange: its protocol, its address, its safety.
//!
//! H2 and H3 sessions carry a [`Downstream`] in the request's extensions; an H1 request is parsed
//! by Pingora itself and has none, so readers ask [`Downstream::of`], which covers all three.
//! Invariant: the version field of a request says nothing about the protocol (H3 requests are
//! presented to Pingora as HTTP/2); only this type does.

use std::net::{Ipv4Addr, SocketAddr};

use pingora::protocols::http::ServerSession;

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

impl Downstream {
    /// The client's side of this session, on every protocol.
    pub fn of(session: &ServerSession) -> Self {
        if let Some(downstream) = session.req_header().extensions.get::<Self>() {
            return *downstream;
        }
        Self {
            protocol: Protocol::Http1,
            client: session
                .client_addr()
                .and_then(|address| address.as_inet().copied())
                .unwrap_or(UNKNOWN_CLIENT),
            tls: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
            early_data: false,
        }
    }
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

/// Stands in when the socket is already gone and the kernel no longer knows the peer.
const UNKNOWN_CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
