//! One upstream as something that can be connected to: address, TLS, time limits.
//!
//! Invariant: a TLS upstream is always verified, by its own authority or by the node's, and connections under
//! different authorities are never shared.

use std::{io, sync::Arc};

use pingora::{
    protocols::{ALPN, tls::CaType},
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
    utils::tls::{WrappedX509, parse_x509},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tidegate_contract::property::{Upstream, UpstreamTls};

use super::{config::Config, resolve::Resolver};

/// Why an upstream cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// Its name has no address.
    #[error("no address: {0}")]
    Address(#[from] io::Error),
    /// Its name in the certificate is empty, which would switch verification off.
    #[error("the upstream's tls.server_name is empty")]
    NoName,
    /// Its authority's certificate cannot be read.
    #[error("the upstream's tls.ca_pem cannot be read")]
    Authority,
}

/// Resolves an upstream and sets its limits.
pub(super) async fn connectable(
    upstream: &Upstream,
    resolver: &Resolver,
    config: &Config,
) -> Result<HttpPeer, PeerError> {
    let address = resolver.address(&upstream.authority).await?;
    let name = upstream.tls.as_ref().map(|tls| tls.server_name.clone());
    if name.as_ref().is_some_and(String::is_empty) {
        return Err(PeerError::NoName);
    }
    let mut peer = HttpPeer::new(address, name.is_some(), name.unwrap_or_default());
    if let Some(UpstreamTls { ca_pem: Some(pem), .. }) = &upstream.tls {
        peer.options.ca = Some(authorities(pem)?);
        peer.group_key = group(pem);
    }
    let options = &mut peer.options;
    options.alpn = ALPN::H1;
    options.connection_timeout = Some(config.connect_timeout);
    options.total_connection_timeout = Some(config.connect_timeout);
    options.read_timeout = Some(config.read_timeout);
    options.write_timeout = Some(config.write_timeout);
    options.idle_timeout = Some(config.idle_timeout);
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::standard();
    Ok(peer)
}

fn authorities(pem: &str) -> Result<Arc<CaType>, PeerError> {
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = certificate.map_err(|_| PeerError::Authority)?.to_vec();
        // Checked here, because the parser that Pingora calls panics on what it cannot read.
        x509_parser::parse_x509_certificate(&der).map_err(|_| PeerError::Authority)?;
        authorities.push(WrappedX509::new(der, parse_x509));
    }
    if authorities.is_empty() { Err(PeerError::Authority) } else { Ok(authorities.into()) }
}

fn group(pem: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(pem.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn connect(tls: Option<UpstreamTls>) -> Result<HttpPeer, PeerError> {
        let upstream = Upstream { authority: "127.0.0.1:8443".into(), tls, host: None };
        let resolver = Resolver::new(Duration::from_secs(1), Duration::from_secs(1));
        connectable(&upstream, &resolver, &Config::default()).await
    }

    fn tls(server_name: &str, ca_pem: Option<&str>) -> Option<UpstreamTls> {
        Some(UpstreamTls { server_name: server_name.to_owned(), ca_pem: ca_pem.map(str::to_owned) })
    }

    #[tokio::test]
    async fn an_upstream_without_verification_is_refused() {
        assert!(connect(None).await.is_ok());
        assert!(connect(tls("a.org", None)).await.is_ok());
        assert!(matches!(connect(tls("", None)).await, Err(PeerError::NoName)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "x", broken] {
            let refused = connect(tls("a.org", Some(pem))).await;
            assert!(matches!(refused, Err(PeerError::Authority)), "{pem:?}");
        }
    }

    #[tokio::test]
    async fn connections_under_different_authorities_are_kept_apart() {
        let authority = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap()
        };
        let one = connect(tls("a.org", Some(&authority("a").pem()))).await.unwrap();
        let two = connect(tls("a.org", Some(&authority("b").pem()))).await.unwrap();
        assert_ne!(one.group_key, two.group_key);
    }
}
