//! The settings of QUIC: windows, address validation, resumption, kernel buffers, traces.
//!
//! Invariant: every buffer that a client can fill has its size here.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Section `[listen.quic]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes in flight to one client, over all its streams. Default 4MiB: measured, 1MiB costs
    /// 10 % of throughput, 16MiB gains nothing.
    pub send_window: ByteSize,
    /// Request bytes one client may have unread at the edge, over all its streams. Default 1MiB
    /// (quinn's own default is unlimited).
    pub receive_window: ByteSize,
    /// Request bytes one stream may have unread at the edge. Default 256KiB.
    pub stream_receive_window: ByteSize,
    /// The longest encoded header section; a longer one cuts its stream before it is held. Default 128KiB, twice the
    /// limit of a decoded one, above which a client is still answered with 431.
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
    /// Put sends to one client together, up to 64 datagrams in a system call, for as long as the tasks that are ready
    /// need for a turn. Default true; false for a network driver that cannot split them.
    pub batch_sends: bool,
    /// Folder for traces of single connections (qlog), which must be there. Default none: nothing is traced.
    pub qlog_dir: Option<PathBuf>,
    /// One of so many connections is traced. Default 0: none but those that are asked for at the admin port.
    pub qlog_one_of: u32,
    /// Bytes that all traces in the folder may take. Default 1GiB; one takes at most 16MiB.
    pub qlog_bytes_max: ByteSize,
}

impl Default for Config {
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
            batch_sends: true,
            qlog_dir: None,
            qlog_one_of: 0,
            qlog_bytes_max: ByteSize::gib(1),
        }
    }
}
