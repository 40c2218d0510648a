//! All certificates at one moment: by name, and for each name by kind of key.
//!
//! Invariant: a client gets a certificate whose key can sign in a way that the client understands, where there is one.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{SignatureAlgorithm, SignatureScheme, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tidegate_contract::certificate::Certificate;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::config::Config;

/// Certificates by lower-case name; wildcards as `*.example.com`, and `*` for every other name.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or is no PEM of the right kind.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// A certificate of a snapshot is no PEM of the right kind.
    #[error("certificate for {name:?}: {cause}")]
    Pem {
        /// Its first name.
        name: String,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// There is no certificate where one should be.
    #[error("{place}: no certificate")]
    Empty {
        /// A file, or the first name of a certificate of a snapshot.
        place: String,
    },
    /// Key and certificate do not belong together, or the kind is not supported.
    #[error("{place}: {cause}")]
    Unusable {
        /// A file, or the first name of a certificate of a snapshot.
        place: String,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// The self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS settings were refused.
    #[error("TLS settings: {0}")]
    Tls(rustls::Error),
}

/// Whether certificates of a snapshot can be used, each with its key.
///
/// # Errors
/// The first that cannot.
pub fn check(certificates: &[Certificate]) -> Result<(), CertificateError> {
    Table::default().with(certificates).map(|_| ())
}

impl Table {
    /// The certificates of the node's files.
    pub(super) fn of_files(config: &Config) -> Result<Self, CertificateError> {
        let mut table = Self::default();
        for entry in &config.sni {
            let key = Arc::new(read(&entry.certificate, &entry.key)?);
            for name in &entry.names {
                table.add(name, &key);
            }
        }
        if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
            table.add(ANY_NAME, &Arc::new(read(certificate, key)?));
        }
        Ok(table)
    }

    /// One certificate for every name.
    pub(super) fn of_one(key: CertifiedKey) -> Self {
        let mut table = Self::default();
        table.add(ANY_NAME, &Arc::new(key));
        table
    }

    /// This table with the certificates of a snapshot, which win where both have a name.
    pub(super) fn with(mut self, certificates: &[Certificate]) -> Result<Self, CertificateError> {
        let mut added = Self::default();
        for certificate in certificates {
            let key = Arc::new(parse(certificate)?);
            for name in &certificate.names {
                added.add(name, &key);
            }
        }
        self.by_name.extend(added.by_name);
        Ok(self)
    }

    /// How many certificates there are, and the one that ends first, with one of its names.
    pub(super) fn first_end(&self) -> (usize, Option<(String, SystemTime)>) {
        let (mut seen, mut ends) = (HashSet::new(), Vec::new());
        for (name, keys) in &self.by_name {
            for key in keys {
                if !seen.insert(Arc::as_ptr(key)) {
                    continue;
                }
                let leaf = key.cert.first().map(|leaf| X509Certificate::from_der(leaf));
                let Some(Ok((_, leaf))) = leaf else { continue };
                let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
                ends.push((UNIX_EPOCH + Duration::from_secs(end), name.clone()));
            }
        }
        (seen.len(), ends.into_iter().min().map(|(end, name)| (name, end)))
    }

    /// The certificate for a name: its own, its wildcard's, or the one for every name; of several the first whose key
    /// suits the client. Where none does, any: then the handshake finds that nothing is common, and says so
    /// (RFC 8446 4.1.1), instead of that there is nobody of this name.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let suits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let names = [Some(name.as_str()), wildcard.as_deref(), Some(ANY_NAME)];
        let mut keys =
            names.into_iter().flatten().filter_map(|name| self.by_name.get(name)).flatten();
        let first = keys.clone().next();
        keys.find(suits).or(first)
    }

    fn add(&mut self, name: &str, key: &Arc<CertifiedKey>) {
        let keys = self.by_name.entry(name.to_ascii_lowercase()).or_default();
        keys.push(key.clone());
        // The cheaper signature first; what is equal stays in the order of the settings.
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
    }
}

/// A fresh certificate for this machine, and its PEM.
pub(super) fn self_signed() -> Result<(CertifiedKey, String), CertificateError> {
    let names = SELF_SIGNED_NAMES.map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![made.cert.der().clone()];
    let key =
        CertifiedKey::from_der(chain, key.into(), &provider()).map_err(CertificateError::Tls)?;
    Ok((key, made.cert.pem()))
}

/// The one implementation of cryptography.
pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |cause| CertificateError::File { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(file(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    certified(certificate.display().to_string(), chain, key)
}

fn parse(certificate: &Certificate) -> Result<CertifiedKey, CertificateError> {
    let name = certificate.names.first().cloned().unwrap_or_default();
    let pem = |cause| CertificateError::Pem { name: name.clone(), cause };
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    let key =
        PrivateKeyDer::from_pem_slice(certificate.key_pem.reveal().as_bytes()).map_err(pem)?;
    certified(format!("certificate for {name:?}"), chain, key)
}

fn certified(
    place: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, CertificateError> {
    if chain.is_empty() {
        return Err(CertificateError::Empty { place });
    }
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|cause| CertificateError::Unusable { place, cause })
}

const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The name of what answers every name that has nothing of its own.
const ANY_NAME: &str = "*";

#[cfg(test)]
mod tests {
    use rustls::SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};
    use tidegate_contract::certificate::KeyPem;

    use super::*;

    fn made(algorithm: &'static rcgen::SignatureAlgorithm, name: &str) -> Certificate {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        Certificate {
            names: vec![name.to_owned()],
            chain_pem: certificate.pem(),
            key_pem: KeyPem::new(key.serialize_pem()),
        }
    }

    fn kind(table: &Table, name: &str, schemes: &[SignatureScheme]) -> Option<SignatureAlgorithm> {
        table.find(Some(name), schemes).map(|key| key.key.algorithm())
    }

    #[test]
    fn the_kind_of_key_follows_what_the_client_understands() {
        let rsa = made(&rcgen::PKCS_RSA_SHA256, "a.test");
        let ecdsa = made(&rcgen::PKCS_ECDSA_P256_SHA256, "a.test");
        let table = Table::default().with(&[rsa, ecdsa]).unwrap();
        let both = [RSA_PSS_SHA256, ECDSA_NISTP256_SHA256];
        assert_eq!(kind(&table, "a.test", &both), Some(SignatureAlgorithm::ECDSA));
        assert_eq!(kind(&table, "a.test", &[RSA_PSS_SHA256]), Some(SignatureAlgorithm::RSA));
        assert_eq!(kind(&table, "a.test", &[ED25519]), Some(SignatureAlgorithm::ECDSA));
        assert_eq!(kind(&table, "b.test", &both), None, "nothing for every name");
    }

    #[test]
    fn the_name_asked_for_chooses_the_certificate() {
        let own = made(&rcgen::PKCS_ECDSA_P256_SHA256, "own.test");
        let names = vec!["own.test".to_owned(), "*.wild.test".to_owned()];
        let own = Certificate { names, ..own };
        let table = Table::of_one(self_signed().unwrap().0).with(&[own]).unwrap();
        let own = &table.by_name["own.test"][0];
        for (name, is_own) in [
            (Some("own.test"), true),
            (Some("OWN.test"), true),
            (Some("a.wild.test"), true),
            (Some("a.b.wild.test"), false),
            (Some("wild.test"), false),
            (Some("other.test"), false),
            (Some("*"), false),
            (None, false),
        ] {
            let found = table.find(name, &[ECDSA_NISTP256_SHA256]).unwrap();
            assert_eq!(Arc::ptr_eq(found, own), is_own, "{name:?}");
        }
    }

    #[test]
    fn the_certificate_that_ends_first_is_told_and_each_counts_once() {
        let lasting = made(&rcgen::PKCS_ECDSA_P256_SHA256, "own.test");
        let names = vec!["own.test".to_owned(), "*.wild.test".to_owned()];
        let lasting = Certificate { names, ..lasting };
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["short.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let short = Certificate {
            names: vec!["short.test".to_owned()],
            chain_pem: params.self_signed(&key).unwrap().pem(),
            key_pem: KeyPem::new(key.serialize_pem()),
        };
        let end = UNIX_EPOCH + Duration::from_secs(1_927_843_200);
        let table = Table::default().with(&[lasting, short]).unwrap();
        assert_eq!(table.first_end(), (2, Some(("short.test".to_owned(), end))));
        assert_eq!(Table::default().first_end(), (0, None));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_without_being_shown() {
        let one = made(&rcgen::PKCS_ECDSA_P256_SHA256, "a.test");
        let other = made(&rcgen::PKCS_ECDSA_P256_SHA256, "a.test");
        let mixed = Certificate { key_pem: other.key_pem.clone(), ..one };
        let refused = Table::default().with(&[mixed]).unwrap_err();
        assert!(matches!(refused, CertificateError::Unusable { .. }), "{refused:?}");
        let secret = other.key_pem.reveal().lines().nth(1).unwrap().to_owned();
        assert!(!format!("{refused:?} {refused}").contains(&secret));
    }
}
