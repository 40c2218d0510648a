//! Which node calls.
//!
//! TLS has verified that the authority signed the certificate; here it is checked that the certificate has not
//! ended and is one of the node's good ones. A node that was removed or enrolled again fails the second check.

use std::time::SystemTime;

use tonic::{
    Request, Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use super::Parts;
use crate::{ca::Peer, store::StoreError};

/// The node behind a request, with a certificate that is good now.
pub(super) async fn node<T>(request: &Request<T>, parts: &Parts) -> Result<Peer, Status> {
    let peer = certificate(request)?;
    if peer.expires <= parts.clock.now() {
        return Err(expired());
    }
    check_serial(&peer, parts).await?;
    Ok(peer)
}

/// The node behind a request, with a certificate that is good now or ended a short time ago.
pub(super) async fn node_to_renew<T>(request: &Request<T>, parts: &Parts) -> Result<Peer, Status> {
    let peer = certificate(request)?;
    check_serial(&peer, parts).await?;
    Ok(peer)
}

fn certificate<T>(request: &Request<T>) -> Result<Peer, Status> {
    let certificates = request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(TlsConnectInfo::peer_certs)
        .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
    let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no certificate"))?;
    Peer::from_der(leaf).map_err(|error| Status::unauthenticated(error.to_string()))
}

/// Checks that a certificate is one of its node's good ones.
pub(super) async fn check_serial(peer: &Peer, parts: &Parts) -> Result<(), Status> {
    let row = parts.store.node(&peer.name).await.map_err(|error| store(&error))?;
    match row {
        Some(row) if row.has_serial(&peer.serial) => Ok(()),
        _ => Err(unknown()),
    }
}

/// The store cannot answer: the node shall try again.
pub(super) fn store(error: &StoreError) -> Status {
    tracing::error!(%error, "a node's call failed");
    Status::unavailable("the store cannot answer")
}

/// The certificate has ended.
pub(super) fn expired() -> Status {
    Status::unauthenticated("the certificate has ended: renew it")
}

/// Nobody by that name, or not with that certificate.
pub(super) fn unknown() -> Status {
    Status::permission_denied("this node is not enrolled, or was enrolled again")
}

/// Milliseconds since 1970 of a time.
pub(super) fn now(parts: &Parts) -> (SystemTime, u64) {
    let now = parts.clock.now();
    (now, crate::unix_time::unix_ms(now))
}
