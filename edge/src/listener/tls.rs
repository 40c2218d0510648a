//! Certificates by SNI, session resumption, and the rustls settings of TCP and QUIC.
//!
//! TCP resumes with tickets (no state, survives any number of clients); QUIC keeps its sessions in
//! memory, because rustls accepts 0-RTT only then, and because a session that is taken out when used
//! cannot be replayed at this node. Invariant: a reload replaces all certificates or none.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::config::Quic;

/// Section `[listen.tls]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate chain, leaf first; answers every name that has no certificate
    /// of its own. Default none.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. Default none.
    pub key: Option<PathBuf>,
    /// Make a certificate for localhost at start instead of reading files; for trying out only.
    /// Default false.
    pub self_signed: bool,
    /// Further certificates, chosen by the name the client asks for (SNI). Default none.
    pub sni: Vec<NamedCertificate>,
}

/// One entry of `[[listen.tls.sni]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCertificate {
    /// Host names this certificate answers; `*.example.com` covers one label.
    pub names: Vec<String>,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Config {
    /// Refuses a TLS listener without a certificate.
    pub fn check(&self) -> Result<(), ConfigError> {
        match (&self.certificate, &self.key, self.self_signed) {
            (Some(_), Some(_), false) | (None, None, true) => Ok(()),
            (Some(_), _, true) | (_, Some(_), true) => Err(ConfigError::Both),
            (None, None, false) => Err(ConfigError::Neither),
            (Some(_), None, false) | (None, Some(_), false) => Err(ConfigError::Half),
        }
    }
}

/// Why the certificate settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A certificate file and a self-signed one were asked for.
    #[error("listen.tls.self_signed is true, but a certificate or key file is also named")]
    Both,
    /// TLS was asked for without any certificate.
    #[error("listen.https needs listen.tls.certificate and listen.tls.key, or self_signed = true")]
    Neither,
    /// Only one of the two files is named.
    #[error("listen.tls.certificate and listen.tls.key must be named together")]
    Half,
}

/// The certificates in use; shared by every TLS and QUIC socket of the node.
#[derive(Debug)]
pub struct Certificates {
    config: Config,
    table: ArcSwap<Table>,
}

impl Certificates {
    /// Reads the files, or makes the self-signed certificate.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        Ok(Self { config: config.clone(), table: ArcSwap::from_pointee(Table::load(config)?) })
    }

    /// Reads the files again. On an error the old certificates stay; a self-signed one always does.
    pub fn reload(&self) -> Result<(), CertificateError> {
        if !self.config.self_signed {
            self.table.store(Arc::new(Table::load(&self.config)?));
        }
        Ok(())
    }

    /// The self-signed certificate in PEM, when there is one.
    pub fn self_signed_pem(&self) -> Option<String> {
        self.table.load().self_signed_pem.clone()
    }

    /// The settings of TLS over TCP: 1.2 and 1.3, H2 before H1, tickets.
    pub(super) fn for_tcp(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(CertificateError::Tls)?;
        Ok(config)
    }

    /// The settings of TLS in QUIC: 1.3, H3, sessions in memory.
    pub(super) fn for_quic(
        self: &Arc<Self>,
        quic: &Quic,
    ) -> Result<ServerConfig, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(quic.sessions_max);
        // QUIC allows only these two values (RFC 9001 4.6.1).
        config.max_early_data_size = if quic.early_data { u32::MAX } else { 0 };
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.table.load().find(hello.server_name()).clone())
    }
}

/// Reloads the certificates on every SIGHUP; never returns.
pub(super) async fn reload_on_hangup(certificates: Option<&Certificates>) -> Infallible {
    use tokio::signal::unix::{SignalKind, signal};
    let Some(certificates) = certificates else { return std::future::pending().await };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "certificates will not be reloaded on SIGHUP");
            return std::future::pending().await;
        }
    };
    while hangup.recv().await.is_some() {
        match certificates.reload() {
            Ok(()) => tracing::info!("certificates reloaded"),
            Err(error) => tracing::error!(%error, "certificates not reloaded, the old ones stay"),
        }
    }
    std::future::pending().await
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
    /// A file holds no certificate.
    #[error("{path}: no certificate in this file")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together, or the kind is not supported.
    #[error("{path}: {cause}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
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

/// All certificates at one moment.
#[derive(Debug)]
struct Table {
    default: Arc<CertifiedKey>,
    /// Lower-case names; wildcards as `*.example.com`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    self_signed_pem: Option<String>,
}

impl Table {
    fn load(config: &Config) -> Result<Self, CertificateError> {
        let mut by_name = HashMap::new();
        for entry in &config.sni {
            let key = Arc::new(read(&entry.certificate, &entry.key)?);
            for name in &entry.names {
                by_name.insert(name.to_ascii_lowercase(), key.clone());
            }
        }
        let (default, self_signed_pem) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => (read(certificate, key)?, None),
            _ => {
                let (key, pem) = self_signed()?;
                (key, Some(pem))
            }
        };
        Ok(Self { default: Arc::new(default), by_name, self_signed_pem })
    }

    /// The certificate for a name: its own, then its wildcard, then the default.
    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |cause| CertificateError::File { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(file(certificate))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty { path: certificate.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|cause| CertificateError::Unusable { path: certificate.to_owned(), cause })
}

/// A fresh certificate for this machine, and its PEM.
fn self_signed() -> Result<(CertifiedKey, String), CertificateError> {
    let names = SELF_SIGNED_NAMES.map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![made.cert.der().clone()];
    let key =
        CertifiedKey::from_der(chain, key.into(), &provider()).map_err(CertificateError::Tls)?;
    Ok((key, made.cert.pem()))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let paths = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&paths.0, made.cert.pem()).unwrap();
        std::fs::write(&paths.1, made.signing_key.serialize_pem()).unwrap();
        paths
    }

    fn config(folder: &Path) -> Config {
        let (certificate, key) = write_pair(folder, "default.test");
        let (own, own_key) = write_pair(folder, "own.test");
        Config {
            certificate: Some(certificate),
            key: Some(key),
            self_signed: false,
            sni: vec![NamedCertificate {
                names: vec!["Own.test".into(), "*.wild.test".into()],
                certificate: own,
                key: own_key,
            }],
        }
    }

    #[test]
    fn the_name_asked_for_chooses_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::load(&config(folder.path())).unwrap();
        let own = &table.by_name["own.test"];
        for (name, is_own) in [
            (Some("own.test"), true),
            (Some("OWN.test"), true),
            (Some("a.wild.test"), true),
            (Some("a.b.wild.test"), false),
            (Some("wild.test"), false),
            (Some("other.test"), false),
            (None, false),
        ] {
            assert_eq!(Arc::ptr_eq(table.find(name), own), is_own, "{name:?}");
        }
    }

    #[test]
    fn a_reload_replaces_all_certificates_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let certificates = Certificates::load(&config).unwrap();
        let first = certificates.table.load().default.clone();

        write_pair(folder.path(), "default.test");
        std::fs::write(&config.sni[0].key, "not a key").unwrap();
        assert!(matches!(certificates.reload(), Err(CertificateError::File { .. })));
        assert_eq!(certificates.table.load().default.cert, first.cert, "the old one stays");

        write_pair(folder.path(), "own.test");
        certificates.reload().unwrap();
        assert_ne!(certificates.table.load().default.cert, first.cert);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.key = Some(config.sni[0].key.clone());
        let refused = Certificates::load(&config);
        assert!(matches!(refused, Err(CertificateError::Unusable { .. })), "{refused:?}");
    }

    #[test]
    fn settings_name_exactly_one_source_of_the_certificate() {
        let path = || Some(PathBuf::from("x"));
        for (certificate, key, self_signed, expected) in [
            (path(), path(), false, Ok(())),
            (None, None, true, Ok(())),
            (None, None, false, Err(ConfigError::Neither)),
            (path(), None, false, Err(ConfigError::Half)),
            (None, path(), false, Err(ConfigError::Half)),
            (path(), path(), true, Err(ConfigError::Both)),
            (None, path(), true, Err(ConfigError::Both)),
        ] {
            let config = Config { certificate, key, self_signed, sni: Vec::new() };
            assert_eq!(config.check(), expected, "{config:?}");
        }
    }
}
