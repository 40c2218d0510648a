//! The ways by which a query comes.
//!
//! Invariant: only a datagram can come from somebody else than it says.

/// A way by which a query comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTP/2 (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over HTTP/3.
    H3,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Tls, Self::Https, Self::Quic, Self::H3];

    /// Whether whoever asks may be somebody else than it says, and the answer has to fit a datagram.
    #[must_use]
    pub fn is_datagram(self) -> bool {
        self == Self::Udp
    }

    /// As labels of metrics say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "dot",
            Self::Https => "doh",
            Self::Quic => "doq",
            Self::H3 => "doh3",
        }
    }
}
