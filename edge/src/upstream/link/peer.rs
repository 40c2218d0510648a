//! One upstream as something that can be connected to: addresses, TLS, time limits.
//!
//! Invariant: a TLS upstream is always verified, by its own authority or by the node's, and connections under
//! different authorities are never shared.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pingora::{
    protocols::{ALPN, tls::CaType},
    upstreams::peer::HttpPeer,
};
use tidegate_contract::property::{Upstream, UpstreamTls};

use super::roots::{self, Roots};

/// Why an upstream cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub(in crate::upstream) enum PeerError {
    /// Its name has no address.
    #[error("no address: {0}")]
    Address(#[from] io::Error),
    /// Its name in the certificate is empty, which would switch verification off.
    #[error("the upstream's tls.server_name is empty")]
    NoName,
    /// Its authority's certificate cannot be read.
    #[error("the upstream's tls.ca_pem cannot be read")]
    Authority,
    /// Nobody is known who could have signed its certificate.
    #[error("there are no authorities to check the upstream by")]
    NoAuthority,
}

/// An upstream that can be connected to.
pub(in crate::upstream) struct Target {
    /// What its connections are shared under.
    pub(super) name: String,
    /// One for each address, the one to try first at the front.
    pub(super) peers: Vec<HttpPeer>,
    /// Whether H2 may be spoken.
    pub(super) may_h2: bool,
}

/// Sets up an upstream at its addresses.
pub(super) fn target(
    upstream: &Upstream,
    addresses: &[SocketAddr],
    roots: &Roots,
    may_h2: bool,
    connect_timeout: Duration,
) -> Result<Target, PeerError> {
    let authority = authority(upstream.tls.as_ref(), roots)?;
    let name = upstream.tls.as_ref().map_or("", |tls| &tls.server_name);
    let may_h2 = may_h2 && upstream.tls.is_some();
    let group = authority.as_ref().map_or(0, |(group, _)| *group);
    let peer = |address: &SocketAddr| {
        let mut peer = HttpPeer::new(*address, upstream.tls.is_some(), name.to_owned());
        peer.options.ca = authority.as_ref().and_then(|(_, ca)| ca.clone());
        peer.group_key = group;
        peer.options.alpn = if may_h2 { ALPN::H2H1 } else { ALPN::H1 };
        peer.options.connection_timeout = Some(connect_timeout);
        peer.options.total_connection_timeout = Some(connect_timeout);
        peer
    };
    Ok(Target {
        name: format!("{}#{name}#{group:x}#{may_h2}", upstream.authority),
        peers: addresses.iter().take(CONNECT_MAX).map(peer).collect(),
        may_h2,
    })
}

impl Target {
    /// The same over H1 alone.
    pub(super) fn h1_alone(&self) -> Self {
        let peer = |peer: &HttpPeer| {
            let mut peer = peer.clone();
            peer.options.alpn = ALPN::H1;
            peer
        };
        Self {
            name: self.name.clone(),
            peers: self.peers.iter().map(peer).collect(),
            may_h2: false,
        }
    }
}

/// Who a TLS upstream is checked by: a name for that, and the certificates when they are not Pingora's.
type Authority = (u64, Option<Arc<CaType>>);

fn authority(tls: Option<&UpstreamTls>, roots: &Roots) -> Result<Option<Authority>, PeerError> {
    let Some(tls) = tls else { return Ok(None) };
    if tls.server_name.is_empty() {
        return Err(PeerError::NoName);
    }
    let authority = match (&tls.ca_pem, roots) {
        (Some(pem), _) => (group(pem), Some(roots::of_pem(pem).ok_or(PeerError::Authority)?)),
        (None, Roots::Read(_)) => (0, None),
        (None, Roots::Given(all)) => (1, Some(all.clone())),
        (None, Roots::None) => return Err(PeerError::NoAuthority),
    };
    Ok(Some(authority))
}

fn group(pem: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(pem.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Addresses of one upstream that are tried for one connection.
const CONNECT_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(tls: Option<UpstreamTls>, roots: &Roots) -> Result<Target, PeerError> {
        let upstream = Upstream { authority: "127.0.0.1:8443".into(), tls, host: None };
        let addresses: Vec<_> = (0..9).map(|n| SocketAddr::from(([127, 0, 0, n], 8443))).collect();
        target(&upstream, &addresses, roots, true, Duration::from_secs(1))
    }

    fn tls(server_name: &str, ca_pem: Option<&str>) -> Option<UpstreamTls> {
        Some(UpstreamTls { server_name: server_name.to_owned(), ca_pem: ca_pem.map(str::to_owned) })
    }

    #[test]
    fn an_upstream_without_verification_is_refused() {
        let roots = Roots::Read(None);
        let clear = connect(None, &roots).unwrap();
        assert!(!clear.may_h2 && clear.peers.len() == CONNECT_MAX);
        assert!(connect(tls("a.org", None), &roots).unwrap().may_h2);
        assert!(matches!(connect(tls("", None), &roots), Err(PeerError::NoName)));
        assert!(matches!(connect(tls("a.org", None), &Roots::None), Err(PeerError::NoAuthority)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "x", broken] {
            let refused = connect(tls("a.org", Some(pem)), &roots);
            assert!(matches!(refused, Err(PeerError::Authority)), "{pem:?}");
        }
    }

    #[test]
    fn connections_under_different_authorities_are_kept_apart() {
        let authority = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap()
        };
        let roots = Roots::Read(None);
        let one = connect(tls("a.org", Some(&authority("a").pem())), &roots).unwrap();
        let two = connect(tls("a.org", Some(&authority("b").pem())), &roots).unwrap();
        assert_ne!(one.peers[0].group_key, two.peers[0].group_key);
        assert_ne!(one.name, two.name);
    }
}
