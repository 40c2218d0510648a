//! A client that takes any certificate: it looks for life, not for identity.
//!
//! Invariant: nothing secret is ever sent over a connection of it.

use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::ServerName;
use tidegate_chassis::believe;

/// TLS with one protocol on top, a whole handshake every time.
pub(super) fn client(protocol: &[u8]) -> ClientConfig {
    let mut config = believe::client_of_anyone(&[protocol]);
    config.resumption = Resumption::disabled();
    config
}

/// A name as TLS wants it.
pub(super) fn server_name(name: &str) -> ServerName<'static> {
    let localhost = || ServerName::try_from("localhost").expect("a good name");
    ServerName::try_from(name.to_owned()).unwrap_or_else(|_| localhost())
}
