//! QUIC connections: their settings, and a TLS session that knows whether it was resumed.
//!
//! quinn does not tell whether a handshake was resumed. A handshake in which no certificate was checked was, and that
//! the verifier notes while the session reads.
//! Invariant: the note is taken around each read, so it speaks of this connection alone.

use std::{any::Any, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, ConnectError, ConnectionError, ConnectionId, MtuDiscoveryConfig, Side,
    TransportConfig, VarInt,
    crypto::{
        self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
        rustls::QuicClientConfig,
    },
};
use quinn_proto::{TransportError, transport_parameters::TransportParameters};

use super::{Failure, trust};
use crate::kind::FailureClass;

/// The settings of a connection.
pub(super) fn config(
    tls: &Arc<rustls::ClientConfig>,
    window: u64,
    idle: Duration,
) -> Result<ClientConfig, Failure> {
    let wrong = |detail: String| Failure::new(FailureClass::Handshake, detail);
    let tls = QuicClientConfig::try_from(Arc::clone(tls));
    let tls = tls.map_err(|error| wrong(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(Witnessed(Arc::new(tls))));
    config.transport_config(Arc::new(transport(window, idle)));
    Ok(config)
}

/// What the end of a handshake said.
pub(super) struct Handshake {
    pub(super) is_resumed: bool,
}

/// What a connection's error means before it is ready.
pub(super) fn failed(error: &ConnectionError) -> Failure {
    let class = match error {
        ConnectionError::TimedOut => FailureClass::Connect,
        ConnectionError::CidsExhausted => FailureClass::Rig,
        _ => FailureClass::Handshake,
    };
    Failure::new(class, error.to_string())
}

/// What refusing to connect means.
pub(super) fn refused(error: &ConnectError) -> Failure {
    let class = match error {
        ConnectError::EndpointStopping | ConnectError::CidsExhausted => FailureClass::Rig,
        _ => FailureClass::Handshake,
    };
    Failure::new(class, error.to_string())
}

fn transport(window: u64, idle: Duration) -> TransportConfig {
    let window = VarInt::from_u64(window).unwrap_or(VarInt::MAX);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(window)
        .receive_window(window)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle.try_into().ok())
        // We send little: what matters is how large the server's packets may be.
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()));
    transport
}

struct Witnessed(Arc<QuicClientConfig>);

impl crypto::ClientConfig for Witnessed {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = Arc::clone(&self.0).start_session(version, server_name, params)?;
        Ok(Box::new(Witness { inner, has_verified: false }))
    }
}

struct Witness {
    inner: Box<dyn Session>,
    has_verified: bool,
}

impl Session for Witness {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()?;
        Some(Box::new(Handshake { is_resumed: !self.has_verified }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        trust::take_verified();
        let result = self.inner.read_handshake(buf);
        self.has_verified |= trust::take_verified();
        result
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// Control, two of QPACK, and some that HTTP/3 lets a server grease with.
const UNI_STREAMS_MAX: u32 = 16;
