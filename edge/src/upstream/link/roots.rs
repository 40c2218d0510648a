//! The authorities that upstreams without their own are checked by: those of a file, or the platform's.
//!
//! Pingora's connector panics when it cannot read them, so they are looked at before. Invariant: a node without
//! readable authorities starts; its upstreams with TLS and no authority of their own fail.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pingora::{
    protocols::tls::CaType,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::RootCertStore;
use rustls_pki_types::{
    CertificateDer,
    pem::{PemObject, SectionKind},
};

/// The authorities of the node.
pub(super) enum Roots {
    /// Pingora reads them: from this file, or from where the platform has them.
    Read(Option<PathBuf>),
    /// Pingora could not read all of them; these are those that can be read.
    Given(Arc<CaType>),
    /// There are none.
    None,
}

/// Why the file with the authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("the authorities of upstreams, {0}: {1}")]
    Read(PathBuf, io::Error),
    /// It holds something else than certificates of authorities, or nothing.
    #[error("the authorities of upstreams, {0}: not certificates in PEM")]
    Content(PathBuf),
}

impl Roots {
    /// Looks at the authorities.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, RootsError> {
        match file {
            Some(path) => Self::of_file(path),
            None => Ok(Self::of_platform()),
        }
    }

    fn of_file(path: &Path) -> Result<Self, RootsError> {
        let text = std::fs::read(path).map_err(|error| RootsError::Read(path.into(), error))?;
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            PemObject::pem_slice_iter(&text).collect();
        let is_usable = sections.is_ok_and(|sections| {
            let is_root = |(kind, der): (SectionKind, Vec<u8>)| {
                matches!(kind, SectionKind::Certificate) && is_root(&der)
            };
            !sections.is_empty() && sections.into_iter().all(is_root)
        });
        // Pingora takes the path as text.
        match path.to_str() {
            Some(_) if is_usable => Ok(Self::Read(Some(path.into()))),
            _ => Err(RootsError::Content(path.into())),
        }
    }

    fn of_platform() -> Self {
        // The same call that Pingora makes.
        let all = match rustls_native_certs::load_native_certs() {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "the platform's authorities cannot be read");
                Vec::new()
            }
        };
        let count = all.len();
        let good: Vec<_> = all.into_iter().filter(|der| is_root(der)).collect();
        if good.is_empty() {
            tracing::warn!("no authorities: upstreams with TLS need their own");
            return Self::None;
        }
        if good.len() == count {
            return Self::Read(None);
        }
        tracing::warn!(
            unreadable = count - good.len(),
            "some of the platform's authorities are left out"
        );
        let good: Vec<_> = good.into_iter().filter_map(|der| wrapped(der.to_vec())).collect();
        Self::Given(good.into())
    }
}

/// The authorities in a PEM text; `None` when something in it is not one.
pub(super) fn of_pem(pem: &str) -> Option<Arc<CaType>> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = certificate.ok()?;
        if !is_root(&der) {
            return None;
        }
        all.push(wrapped(der.to_vec())?);
    }
    (!all.is_empty()).then(|| all.into())
}

fn wrapped(der: Vec<u8>) -> Option<WrappedX509> {
    // Checked here, because the parser that Pingora calls panics on what it cannot read.
    x509_parser::parse_x509_certificate(&der).ok()?;
    Some(WrappedX509::new(der, parse_x509))
}

fn is_root(der: &[u8]) -> bool {
    RootCertStore::empty().add(CertificateDer::from(der)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_pingora_would_panic_on_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Roots::load(Some(&path))
        };
        assert!(matches!(load(&certificate.pem()), Ok(Roots::Read(Some(_)))));
        let with_key = format!("{}{}", certificate.pem(), key.serialize_pem());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "x", broken, &with_key] {
            assert!(matches!(load(text), Err(RootsError::Content(_))), "{text}");
        }
        let missing = folder.path().join("missing.pem");
        assert!(matches!(Roots::load(Some(&missing)), Err(RootsError::Read(..))));
    }
}
