//! The listener's settings: where to listen, with which certificate, and every limit on a client.
//!
//! Invariant: nothing a client can make grow is without a named limit here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::tls;

/// Section `[listen]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses for HTTP/1.1 without TLS. Default `127.0.0.1:8080`: nothing unencrypted is
    /// public unless asked for. Port 0 takes a free port. An IPv6 address takes IPv6 only: name
    /// both `0.0.0.0` and `[::]` to listen on everything.
    pub http: Vec<SocketAddr>,
    /// Addresses for HTTP/1.1 and HTTP/2 over TLS; with `h3` each also gets QUIC on the same UDP
    /// port, because Alt-Svc and clients expect the same number. Default none: it needs a
    /// certificate.
    pub https: Vec<SocketAddr>,
    /// Serve HTTP/3 beside every `https` address. Default true.
    pub h3: bool,
    /// Certificates.
    pub tls: tls::Config,
    /// Limits on connections and requests of all protocols.
    pub limits: Limits,
    /// Limits and windows of QUIC.
    pub quic: Quic,
}

/// Section `[listen.limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open TCP and QUIC connections together; a further one is closed at once. Default 16384:
    /// at 64 KiB of buffers each that is 1 GiB.
    pub connections_max: usize,
    /// Requests open at the same time on one H2 or H3 connection. Default 100 (RFC 9113 5.1.2
    /// asks for at least 100).
    pub streams_per_connection_max: u32,
    /// Requests answered on one H1 connection before it is closed. Default 10000, so that memory
    /// of long-lived connections is returned now and then.
    pub requests_per_connection_max: u32,
    /// Malformed requests on one H2 or H3 connection before the whole connection is closed.
    /// Default 32: enough for a buggy client to be noticed, too few to keep the parser busy.
    pub malformed_requests_max: u32,
    /// Size of one request's header section, decoded. Default 64KiB: browsers stay below 16KiB.
    pub header_bytes_max: ByteSize,
    /// Time from accept to the end of the TLS or QUIC handshake. Default 10s.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Time from a request's first byte to the end of its header section. Default 10s, so that
    /// slow headers do not hold connections.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Time between two pieces of a request body. Default 30s.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Time in which a client must take at least one more byte of a response. Default 60s: a
    /// paused player holds its buffer, a vanished one must go.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// A connection without an open request is closed after this time. Default 60s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Response bytes of one H2 stream that may wait in user space for a slow client. Default 256KiB:
    /// less stalls fast clients, more costs memory for each slow one.
    pub send_buffer: ByteSize,
}

/// Section `[listen.quic]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quic {
    /// Bytes in flight to one client, over all its streams. Default 4MiB: measured, 1MiB costs
    /// 10 % of throughput, 16MiB gains nothing.
    pub send_window: ByteSize,
    /// Request bytes one client may have unread at the edge, over all its streams. Default 1MiB
    /// (quinn's own default is unlimited).
    pub receive_window: ByteSize,
    /// Request bytes one stream may have unread at the edge. Default 256KiB.
    pub stream_receive_window: ByteSize,
    /// Bytes of one request's frames that may be buffered before a header section or a piece of
    /// body is complete. Default 128KiB, twice the header limit: h3 buffers whole frames before it
    /// looks at their size.
    pub frame_bytes_max: ByteSize,
    /// Handshakes in progress above which a client must first prove its address (Retry, RFC 9000
    /// 8.1.2). Default 512: costs a round trip, so only under load.
    pub retry_above: usize,
    /// Handshakes waiting to be accepted; further first packets are dropped. Default 4096.
    pub incoming_max: usize,
    /// Bytes of early packets kept for all waiting handshakes together. Default 16MiB.
    pub incoming_buffer: ByteSize,
    /// Accept 0-RTT for GET and HEAD; other methods in early data get 425 (RFC 8470). Default true.
    pub early_data: bool,
    /// Sessions kept for resumption; each ticket is good for one use, which stops replay at this
    /// node. Default 65536, at about 1 KiB each.
    pub sessions_max: usize,
    /// Kernel buffer of the UDP socket, each direction. Default 4MiB; the kernel's rmem_max and
    /// wmem_max may give less.
    pub socket_buffer: ByteSize,
}

impl Config {
    /// Refuses settings that cannot work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.http.is_empty() && self.https.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        if !self.https.is_empty() {
            self.tls.check()?;
        }
        for (key, value) in [
            ("limits.connections_max", self.limits.connections_max as u64),
            ("limits.streams_per_connection_max", self.limits.streams_per_connection_max.into()),
            ("limits.requests_per_connection_max", self.limits.requests_per_connection_max.into()),
            ("limits.malformed_requests_max", self.limits.malformed_requests_max.into()),
            ("limits.send_buffer", self.limits.send_buffer.as_u64()),
            ("quic.send_window", self.quic.send_window.as_u64()),
            ("quic.receive_window", self.quic.receive_window.as_u64()),
            ("quic.stream_receive_window", self.quic.stream_receive_window.as_u64()),
            ("quic.sessions_max", self.quic.sessions_max as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
        }
        let header = self.limits.header_bytes_max.as_u64();
        if !HEADER_BYTES_ALLOWED.contains(&header) {
            return Err(ConfigError::HeaderBytes { bytes: header });
        }
        if self.quic.frame_bytes_max.as_u64() < header {
            return Err(ConfigError::FrameBelowHeader {
                frame: self.quic.frame_bytes_max.as_u64(),
                header,
            });
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            https: Vec::new(),
            h3: true,
            tls: tls::Config::default(),
            limits: Limits::default(),
            quic: Quic::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            streams_per_connection_max: 100,
            requests_per_connection_max: 10_000,
            malformed_requests_max: 32,
            header_bytes_max: ByteSize::kib(64),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            send_buffer: ByteSize::kib(256),
        }
    }
}

impl Default for Quic {
    fn default() -> Self {
        Self {
            send_window: ByteSize::mib(4),
            receive_window: ByteSize::mib(1),
            stream_receive_window: ByteSize::kib(256),
            frame_bytes_max: ByteSize::kib(128),
            retry_above: 512,
            incoming_max: 4_096,
            incoming_buffer: ByteSize::mib(16),
            early_data: true,
            sessions_max: 65_536,
            socket_buffer: ByteSize::mib(4),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Neither `http` nor `https` names an address.
    #[error("listen.http and listen.https are both empty: the edge would serve nobody")]
    NoAddress,
    /// `https` is set without a certificate.
    #[error(transparent)]
    Tls(#[from] tls::ConfigError),
    /// A limit of zero would refuse everything.
    #[error("listen.{key} is 0: it must be at least 1")]
    Zero {
        /// The key below `listen`.
        key: &'static str,
    },
    /// The header limit is outside what H2 settings and memory allow.
    #[error("listen.limits.header_bytes_max is {bytes} bytes: it must be 1KiB to 1MiB")]
    HeaderBytes {
        /// The configured limit.
        bytes: u64,
    },
    /// A header section of the allowed size would not fit into the receive cap.
    #[error("listen.quic.frame_bytes_max ({frame}) is below limits.header_bytes_max ({header})")]
    FrameBelowHeader {
        /// The configured receive cap, bytes.
        frame: u64,
        /// The configured header limit, bytes.
        header: u64,
    },
}

/// From the smallest useful header to the cap that Pingora's H1 parser has built in.
const HEADER_BYTES_ALLOWED: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024 - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let check = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|config| config.http.clear()), Err(ConfigError::NoAddress));
        assert_eq!(
            check(|config| config.https = config.http.clone()),
            Err(ConfigError::Tls(tls::ConfigError::Neither))
        );
        assert_eq!(
            check(|config| config.limits.connections_max = 0),
            Err(ConfigError::Zero { key: "limits.connections_max" })
        );
        assert_eq!(
            check(|config| config.limits.header_bytes_max = ByteSize::mib(2)),
            Err(ConfigError::HeaderBytes { bytes: 2 << 20 })
        );
        assert_eq!(
            check(|config| config.quic.frame_bytes_max = ByteSize::kib(32)),
            Err(ConfigError::FrameBelowHeader { frame: 32 << 10, header: 64 << 10 })
        );
    }
}
