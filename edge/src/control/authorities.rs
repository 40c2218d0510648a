//! Whose word counts: the authority that the operator pinned, and those that took its place since.
//!
//! A control plane whose authority is replaced hands every identity out with the bundle of those to believe. A bundle is
//! taken over a connection that an authority vouched for which is believed already, and only when it holds one that is
//! known: so the old one introduces the new, and the new one drops the old. It is kept in `authorities.pem` with the mark
//! of the pinned file; whoever puts another file there begins anew. Invariant: there is never nobody to believe.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::private_file;

/// The authorities that are believed. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Authorities(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    /// The mark of the file that the operator pinned.
    pin: String,
    now: ArcSwap<Bundle>,
}

/// Some authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Their certificates, as they came.
    pub(super) pem: Vec<u8>,
    /// The same, read.
    pub(super) authorities: Vec<Authority>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// Its public key.
    pub(super) public_key: Vec<u8>,
    /// The first bytes of its certificate's SHA-256.
    pub(super) mark: u64,
    /// Its name (DER), which no other one has.
    subject: Vec<u8>,
}

/// Why a bundle is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleError {
    #[error("1 to {AUTHORITIES_MAX} authorities are believed, not {0}")]
    Count(usize),
    #[error("none of the authorities offered is known here")]
    Strange,
    #[error("the authorities cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

impl Authorities {
    /// What was pinned, or what took its place since the last time that another file was pinned.
    pub(super) fn open(state_dir: &Path, pinned: Vec<u8>) -> Self {
        let file = state_dir.join(FILE);
        let pin = hex::encode(digest(&SHA256, &pinned));
        let kept = private_file::read(&file, BUNDLE_BYTES_MAX).unwrap_or_else(|error| {
            tracing::error!(%error, "the authorities that were heard of cannot be read");
            None
        });
        let kept = kept.and_then(|kept| {
            let end = kept.iter().position(|byte| *byte == b'\n')?;
            let (first, rest) = (&kept[..end], &kept[end + 1..]);
            (first == pin.as_bytes()).then(|| Bundle::read(rest.to_vec()))
        });
        let kept = kept.filter(|kept| !kept.authorities.is_empty());
        let now = ArcSwap::from_pointee(kept.unwrap_or_else(|| Bundle::read(pinned)));
        Self(Arc::new(Inner { file, pin, now }))
    }

    /// Those that are believed now.
    pub(super) fn now(&self) -> Arc<Bundle> {
        self.0.now.load_full()
    }

    /// Takes what an authority said that is believed; true when that is news.
    ///
    /// # Errors
    /// [`BundleError`]; who is believed stays as it was.
    pub(super) fn learn(&self, pem: &[u8]) -> Result<bool, BundleError> {
        let (known, offered) = (self.now(), Bundle::read(pem.to_vec()));
        let count = offered.authorities.len();
        if count == 0 || count > AUTHORITIES_MAX || pem.len() > BUNDLE_BYTES_MAX / 2 {
            return Err(BundleError::Count(count));
        }
        if offered.authorities == known.authorities {
            return Ok(false);
        }
        if !offered.authorities.iter().any(|one| known.authorities.contains(one)) {
            return Err(BundleError::Strange);
        }
        let content = [self.0.pin.as_bytes(), b"\n", pem].concat();
        private_file::replace(&self.0.file, &content)?;
        self.0.now.store(Arc::new(offered));
        Ok(true)
    }
}

impl Bundle {
    fn read(pem: Vec<u8>) -> Self {
        let authority = |der: CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            let hash = digest(&SHA256, &der);
            let (mark, _) = hash.as_ref().split_first_chunk()?;
            Some(Authority {
                public_key: certificate.public_key().subject_public_key.data.to_vec(),
                mark: u64::from_be_bytes(*mark),
                subject: certificate.subject().as_raw().to_vec(),
            })
        };
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let authorities = certificates.filter_map(authority).collect();
        Self { pem, authorities }
    }

    /// The marks of all of them.
    pub(super) fn marks(&self) -> Vec<u64> {
        self.authorities.iter().map(|one| one.mark).collect()
    }

    /// When the last of them ends; `None` when none can be read.
    pub(super) fn last_end(&self) -> Option<SystemTime> {
        let end = |der: CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            let end = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
            UNIX_EPOCH.checked_add(Duration::from_secs(end))
        };
        let certificates = CertificateDer::pem_slice_iter(&self.pem).filter_map(Result::ok);
        certificates.filter_map(end).max()
    }

    /// The mark of the one with a name (DER); 0 when that cannot be told.
    pub(super) fn mark_of(&self, subject: &[u8]) -> u64 {
        let mut named = self.authorities.iter().filter(|one| one.subject == subject);
        match (named.next(), named.next()) {
            (Some(one), None) => one.mark,
            _ => 0,
        }
    }
}

const FILE: &str = "authorities.pem";
/// Those of one step from one to the next, and one that was not dropped in time.
const AUTHORITIES_MAX: usize = 4;
const BUNDLE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn authority(name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn one_that_is_known_introduces_the_next_which_drops_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, other) = (authority("1"), authority("2"), authority("3"));
        let open = || Authorities::open(folder.path(), one.clone().into_bytes());
        let authorities = open();
        assert!(matches!(authorities.learn(two.as_bytes()), Err(BundleError::Strange)));
        assert!(matches!(authorities.learn(b"nothing"), Err(BundleError::Count(0))));
        assert!(!authorities.learn(one.as_bytes()).unwrap(), "no news");
        let both = format!("{one}{two}");
        assert!(authorities.learn(both.as_bytes()).unwrap());
        assert!(authorities.learn(two.as_bytes()).unwrap());
        assert!(authorities.learn(one.as_bytes()).is_err(), "it was dropped");
        assert_eq!(open().now(), authorities.now(), "a restart changes nothing");
        assert_eq!(open().now().authorities.len(), 1);
        let pinned_anew = Authorities::open(folder.path(), other.clone().into_bytes());
        assert_eq!(pinned_anew.now().pem, other.as_bytes());
    }

    #[test]
    fn what_is_too_much_or_damaged_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let one = authority("1");
        let authorities = Authorities::open(folder.path(), one.clone().into_bytes());
        let many: String = (0..5).map(|n| authority(&n.to_string())).collect();
        let many = format!("{one}{many}");
        assert!(matches!(authorities.learn(many.as_bytes()), Err(BundleError::Count(6))));
        std::fs::write(folder.path().join(FILE), "no mark").unwrap();
        let again = Authorities::open(folder.path(), one.into_bytes());
        assert_eq!(again.now(), authorities.now());
    }

    #[test]
    fn the_one_that_signed_is_told_by_its_name_where_that_is_one() {
        let bundle = Bundle::read(format!("{}{}", authority("1"), authority("2")).into_bytes());
        let second = &bundle.authorities[1];
        assert_eq!(bundle.mark_of(&second.subject), second.mark);
        assert_eq!(bundle.mark_of(b"nobody"), 0);
        let twins = Bundle::read(format!("{}{}", authority("1"), authority("1")).into_bytes());
        assert_eq!(twins.mark_of(&twins.authorities[0].subject), 0);
    }
}
