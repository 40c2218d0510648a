//! The certificate that is shown, read again when its files change.
//!
//! Invariant: files that are wrong never take the place of a certificate that is shown.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// The certificate that is shown.
#[derive(Debug)]
pub(super) struct Certificate {
    paths: [PathBuf; 2],
    shown: ArcSwap<CertifiedKey>,
    /// What the files held when they were read last, good or not.
    read: Mutex<Files>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// What stands in them.
    #[error("{0}: {1}")]
    Content(PathBuf, String),
    /// TLS refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

#[derive(PartialEq, Eq)]
struct Files([Vec<u8>; 2]);

impl Certificate {
    /// Reads the two files.
    ///
    /// # Errors
    /// [`CertificateError`]
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        let paths = [certificate.to_owned(), key.to_owned()];
        let files = Files::read(&paths)?;
        let shown = ArcSwap::from_pointee(files.parse(&paths)?);
        Ok(Arc::new(Self { paths, shown, read: Mutex::new(files) }))
    }

    /// Reads the files again; whether they hold another certificate than before.
    ///
    /// # Errors
    /// [`CertificateError`], once for each change; the old one is shown on.
    pub(super) fn look(&self) -> Result<bool, CertificateError> {
        let files = Files::read(&self.paths)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *read == files {
            return Ok(false);
        }
        let parsed = files.parse(&self.paths);
        *read = files;
        self.shown.store(Arc::new(parsed?));
        Ok(true)
    }

    /// The settings of TLS with this certificate, for one protocol. QUIC has TLS 1.3 alone. There are no early data: a
    /// query that somebody repeats would show by its effects what it was.
    pub(super) fn tls(
        self: &Arc<Self>,
        alpn: &[u8],
        is_quic: bool,
    ) -> Result<ServerConfig, CertificateError> {
        let both = [&rustls::version::TLS13, &rustls::version::TLS12];
        let versions = if is_quic { &both[..1] } else { &both[..] };
        let mut config = ServerConfig::builder_with_protocol_versions(versions)
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![alpn.to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.load_full())
    }
}

impl Files {
    fn read(paths: &[PathBuf; 2]) -> Result<Self, CertificateError> {
        let read = |path: &PathBuf| {
            let failed = |error| CertificateError::File(path.clone(), error);
            if fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
                return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "too large")));
            }
            fs::read(path).map_err(failed)
        };
        Ok(Self([read(&paths[0])?, read(&paths[1])?]))
    }

    fn parse(&self, paths: &[PathBuf; 2]) -> Result<CertifiedKey, CertificateError> {
        let wrong =
            |of: usize, what: &str| CertificateError::Content(paths[of].clone(), what.into());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.0[0])
            .collect::<Result<_, _>>()
            .map_err(|_| wrong(0, "no certificates in PEM"))?;
        if chain.is_empty() {
            return Err(wrong(0, "no certificates in PEM"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.0[1])
            .map_err(|_| wrong(1, "no private key in PEM"))?;
        let provider = CryptoProvider::get_default()
            .ok_or_else(|| CertificateError::Tls(rustls::Error::General("no provider".into())))?;
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| wrong(0, &format!("not a pair with the key: {error}")))
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

/// The largest file: a chain of ten certificates has 20 KiB.
const FILE_MAX: u64 = 1 << 20;
/// TLS sessions that are kept for clients that come back, each of about a kilobyte.
const SESSIONS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path) -> [PathBuf; 2] {
        let made = rcgen::generate_simple_self_signed(vec!["dns.test".to_owned()]).unwrap();
        let paths = [folder.join("dns.crt"), folder.join("dns.key")];
        fs::write(&paths[0], made.cert.pem()).unwrap();
        fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
        paths
    }

    #[test]
    fn a_pair_is_shown_until_a_better_one_is_there() {
        tidegate_chassis::init_crypto();
        let place = tempfile::tempdir().unwrap();
        let [certificate, key] = write_pair(place.path());
        let shown = Certificate::load(&certificate, &key).unwrap();
        let first = shown.shown.load().cert[0].clone();
        assert!(!shown.look().unwrap(), "nothing changed");

        let good = fs::read(&key).unwrap();
        fs::write(&key, "no key").unwrap();
        let error = shown.look().unwrap_err().to_string();
        assert!(error.contains("dns.key: no private key"), "{error}");
        assert!(!shown.look().unwrap(), "said once");
        fs::write(&key, good).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["x.test".to_owned()]).unwrap();
        fs::write(&certificate, made.cert.pem()).unwrap();
        assert!(shown.look().unwrap_err().to_string().contains("not a pair"));
        fs::remove_file(&certificate).unwrap();
        assert!(matches!(shown.look(), Err(CertificateError::File(..))));
        assert_eq!(shown.shown.load().cert[0], first, "the old one stays");

        write_pair(place.path());
        assert!(shown.look().unwrap());
        assert_ne!(shown.shown.load().cert[0], first);
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        tidegate_chassis::init_crypto();
        let place = tempfile::tempdir().unwrap();
        let [certificate, key] = write_pair(place.path());
        let shown = format!("{:?}", Certificate::load(&certificate, &key).unwrap());
        let secret = fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
        assert!(!shown.contains(&secret));
    }
}
