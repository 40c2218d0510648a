//! A client that takes any certificate: it looks for life, not for identity.
//!
//! Invariant: nothing secret is ever sent over a connection of it.

use std::sync::Arc;

use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::ServerName;
use tidegate_chassis::believe;

/// TLS 1.3 with one protocol on top, a whole handshake every time.
pub(super) fn client(protocol: &[u8]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(believe::anyone())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// A name as TLS wants it.
pub(super) fn server_name(name: &str) -> ServerName<'static> {
    let localhost = || ServerName::try_from("localhost").expect("a good name");
    ServerName::try_from(name.to_owned()).unwrap_or_else(|_| localhost())
}
