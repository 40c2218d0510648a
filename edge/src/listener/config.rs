//! The listener's settings: where to listen, with which certificate, and every limit on a client.
//!
//! Invariant: nothing a client can make grow is without a named limit here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{quic, tls};

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
    /// Take HTTP/2 without TLS on the `http` addresses from clients that begin with its preface (prior knowledge,
    /// RFC 9113 3.3). Default false: such a preface is refused.
    pub h2c: bool,
    /// Threads that serve clients, each with sockets of its own. Default 0: one for every core.
    pub workers: usize,
    /// What is set on TCP sockets.
    pub tcp: Tcp,
    /// Certificates.
    pub tls: tls::Config,
    /// Limits on connections and requests of all protocols.
    pub limits: Limits,
    /// Limits and windows of QUIC.
    pub quic: quic::Config,
}

/// Section `[listen.tcp]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tcp {
    /// Bytes of a response that the kernel takes before it could send them (TCP_NOTSENT_LOWAT). Default 128KiB: more
    /// only waits in the kernel, where it can neither be reordered by priority nor be dropped; less starves fast
    /// clients. 0 leaves it to the kernel.
    pub notsent_lowat: ByteSize,
    /// Connections that may wait to be accepted, for each worker. Default 4096; the kernel cuts this to its own
    /// `somaxconn`.
    pub backlog: u32,
}

/// Section `[listen.limits]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open TCP and QUIC connections together; a further one is closed at once. Default 16384: idle, they fit into
    /// `buffers`.
    pub connections_max: usize,
    /// Bytes that the buffers of all clients may hold together. A connection takes 48KiB (QUIC: 96KiB), an exchange
    /// 128KiB more, a large body what `send_buffer` or the QUIC windows say; beyond it new requests get 503, new
    /// connections are closed, and windows stay small. Default 1GiB: 16384 idle connections, or 6000 busy ones.
    pub buffers: ByteSize,
    /// Open connections of one client address (of one /64 in IPv6). Default 1024: whole providers stand behind one
    /// address.
    pub connections_per_client_max: usize,
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
    /// Size of a request's target; in H1 of the whole request line. Default 16KiB: signed URLs are long.
    pub target_bytes_max: ByteSize,
    /// Header lines of one request. Default 100, as most servers.
    pub headers_max: usize,
    /// Bytes of an unwanted request body that are read away so that an H1 connection can go on. Default 64KiB; with
    /// more to come the connection is closed, which costs less.
    pub unread_body_max: ByteSize,
    /// Requests that a client may reset on one H2 connection within a minute. Default 1000: a player that jumps about
    /// resets dozens, an attack many thousands in a second (CVE-2023-44487).
    pub resets_per_minute_max: u32,
    /// Frames without content (PING, SETTINGS, PRIORITY, empty DATA, …) on one H2 connection within a minute.
    /// Default 10000: clients that measure the way send some for every round trip.
    pub control_frames_per_minute_max: u32,
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
    /// Bytes a second that a client must take of a response, or send of a request body, on average while there is
    /// something to move. Default 1KiB: the slowest mobile networks are above. 0 switches it off.
    pub rate_min: ByteSize,
    /// How far a client may fall behind `rate_min`. Default 60s: a paused player is cut when `write_timeout` would
    /// have cut it, and one that takes a byte now and then is not better off.
    #[serde(with = "humantime_serde")]
    pub rate_grace: Duration,
    /// A connection without an open request is closed after this time. Default 60s.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Response bytes of one H2 stream that may wait in user space for a slow client. Default 256KiB:
    /// less stalls fast clients, more costs memory for each slow one.
    pub send_buffer: ByteSize,
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
            ("tcp.backlog", self.tcp.backlog.into()),
            ("limits.connections_max", self.limits.connections_max as u64),
            ("limits.connections_per_client_max", self.limits.connections_per_client_max as u64),
            ("limits.target_bytes_max", self.limits.target_bytes_max.as_u64()),
            ("limits.headers_max", self.limits.headers_max as u64),
            ("limits.resets_per_minute_max", self.limits.resets_per_minute_max.into()),
            (
                "limits.control_frames_per_minute_max",
                self.limits.control_frames_per_minute_max.into(),
            ),
            ("limits.streams_per_connection_max", self.limits.streams_per_connection_max.into()),
            ("limits.requests_per_connection_max", self.limits.requests_per_connection_max.into()),
            ("limits.malformed_requests_max", self.limits.malformed_requests_max.into()),
            ("limits.buffers", self.limits.buffers.as_u64()),
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
        if self.limits.target_bytes_max.as_u64() > header {
            return Err(ConfigError::TargetAboveHeader {
                target: self.limits.target_bytes_max.as_u64(),
                header,
            });
        }
        if self.workers > WORKERS_ALLOWED {
            return Err(ConfigError::Workers { workers: self.workers });
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
            h2c: false,
            workers: 0,
            tcp: Tcp::default(),
            tls: tls::Config::default(),
            limits: Limits::default(),
            quic: quic::Config::default(),
        }
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self { notsent_lowat: ByteSize::kib(128), backlog: 4_096 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            buffers: ByteSize::gib(1),
            connections_per_client_max: 1_024,
            streams_per_connection_max: 100,
            requests_per_connection_max: 10_000,
            malformed_requests_max: 32,
            header_bytes_max: ByteSize::kib(64),
            target_bytes_max: ByteSize::kib(16),
            headers_max: 100,
            unread_body_max: ByteSize::kib(64),
            resets_per_minute_max: 1_000,
            control_frames_per_minute_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            rate_min: ByteSize::kib(1),
            rate_grace: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            send_buffer: ByteSize::kib(256),
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
    /// A target that long would not fit into a header section.
    #[error(
        "listen.limits.target_bytes_max ({target}) is above limits.header_bytes_max ({header})"
    )]
    TargetAboveHeader {
        /// The configured target limit, bytes.
        target: u64,
        /// The configured header limit, bytes.
        header: u64,
    },
    /// More threads than any machine has cores.
    #[error("listen.workers is {workers}: it must be 0 to {WORKERS_ALLOWED}")]
    Workers {
        /// The configured number.
        workers: usize,
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

/// From the smallest useful header to what no client has a reason for.
const HEADER_BYTES_ALLOWED: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024 - 1;
/// More workers than this is a slip of the keyboard.
const WORKERS_ALLOWED: usize = 1024;

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
            check(|config| config.limits.target_bytes_max = ByteSize::kib(65)),
            Err(ConfigError::TargetAboveHeader { target: 65 << 10, header: 64 << 10 })
        );
        assert_eq!(
            check(|config| config.workers = 5_000),
            Err(ConfigError::Workers { workers: 5_000 })
        );
        assert_eq!(
            check(|config| config.quic.frame_bytes_max = ByteSize::kib(32)),
            Err(ConfigError::FrameBelowHeader { frame: 32 << 10, header: 64 << 10 })
        );
    }
}
