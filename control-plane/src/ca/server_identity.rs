//! This control plane's own certificate, replaced while connections go on.
//!
//! The key lives in memory alone and is made anew with each certificate.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Authority, CaError};

/// The certificate that listeners present.
#[derive(Debug)]
pub struct ServerIdentity {
    current: ArcSwap<CertifiedKey>,
}

impl ServerIdentity {
    /// Makes the first certificate.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn new(authority: &Authority, now: SystemTime) -> Result<Self, CaError> {
        Ok(Self { current: ArcSwap::from_pointee(make(authority, now)?) })
    }

    /// Puts a new certificate in the place of the current one.
    ///
    /// # Errors
    /// [`CaError`]; the current one stays.
    pub fn renew(&self, authority: &Authority, now: SystemTime) -> Result<(), CaError> {
        self.current.store(Arc::new(make(authority, now)?));
        Ok(())
    }

    /// How long to use a certificate before the next is made.
    #[must_use]
    pub fn renew_after(authority: &Authority) -> Duration {
        authority.config.server_lifetime / 2
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn make(authority: &Authority, now: SystemTime) -> Result<CertifiedKey, CaError> {
    let (certificate, key) = authority.server_identity(now)?;
    let provider =
        CryptoProvider::get_default().ok_or_else(|| CaError::Tls("no provider".into()))?;
    CertifiedKey::from_der(vec![certificate.into()], key, provider)
        .map_err(|error| CaError::Tls(error.to_string()))
}
