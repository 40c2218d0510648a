//! The certificates in use, and the rustls settings of TCP and QUIC.
//!
//! TCP resumes with tickets (no state, any node of the PoP); QUIC keeps its sessions in memory, because rustls accepts
//! 0-RTT only then, and because a session that is taken out when used cannot be replayed at this node. Invariant: a
//! reload replaces all certificates or none.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
};
use tidegate_chassis::Clock;
use tidegate_contract::{certificate::Certificate, snapshot::Snapshot};

use super::{
    config::Config,
    table::{CertificateError, Table, provider, self_signed},
    tickets::Tickets,
};
use crate::listener::quic;

/// The certificates in use; shared by every TLS and QUIC socket of the node.
#[derive(Debug)]
pub struct Certificates {
    config: Config,
    table: ArcSwap<Table>,
    /// What `table` was made of; held while it is made anew.
    sources: Mutex<Sources>,
    tickets: Arc<Tickets>,
    self_signed_pem: Option<String>,
}

#[derive(Debug)]
struct Sources {
    files: Table,
    snapshot: Vec<Certificate>,
}

impl Certificates {
    /// Reads the files, or makes the self-signed certificate.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        Self::load_at(config, Clock::system())
    }

    /// As [`Certificates::load`], with the clock that decides when tickets are too old.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn load_at(config: &Config, clock: Clock) -> Result<Self, CertificateError> {
        let (files, self_signed_pem) = if config.self_signed {
            let (key, pem) = self_signed()?;
            (Table::of_one(key), Some(pem))
        } else {
            (Table::of_files(config)?, None)
        };
        Ok(Self {
            config: config.clone(),
            table: ArcSwap::from_pointee(files.clone()),
            sources: Mutex::new(Sources { files, snapshot: Vec::new() }),
            tickets: Tickets::new(clock),
            self_signed_pem,
        })
    }

    /// Reads the files again. On an error the old certificates stay; a self-signed one always does.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn reload(&self) -> Result<(), CertificateError> {
        if self.config.self_signed {
            return Ok(());
        }
        let files = Table::of_files(&self.config)?;
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.store(Arc::new(files.clone().with(&sources.snapshot)?));
        sources.files = files;
        Ok(())
    }

    /// Takes the certificates of a snapshot, and the secret of its tickets, which every node under the same control
    /// plane derives alike. Connections go on as they are. On an error everything stays as it was.
    ///
    /// # Errors
    /// The certificate that cannot be used.
    pub fn install(&self, snapshot: &Snapshot) -> Result<(), CertificateError> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.snapshot != snapshot.certificates {
            let table = sources.files.clone().with(&snapshot.certificates)?;
            self.table.store(Arc::new(table));
            sources.snapshot.clone_from(&snapshot.certificates);
        }
        self.tickets.share(snapshot.tier_key.derive(TICKET_PURPOSE));
        Ok(())
    }

    /// How many certificates are in use, and the one that ends first: one of its names, and when.
    #[must_use]
    pub fn first_end(&self) -> (usize, Option<(String, SystemTime)>) {
        self.table.load().first_end()
    }

    /// The self-signed certificate in PEM, when there is one.
    #[must_use]
    pub fn self_signed_pem(&self) -> Option<String> {
        self.self_signed_pem.clone()
    }

    /// The settings of TLS over TCP: 1.2 and 1.3, H2 before H1, tickets.
    pub(in crate::listener) fn for_tcp(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = self.tickets.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    /// The settings of TLS in QUIC: 1.3, H3, sessions in memory.
    pub(in crate::listener) fn for_quic(
        self: &Arc<Self>,
        quic: &quic::Config,
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
        self.table.load().find(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

/// Reloads the certificates on every SIGHUP; never returns.
pub(in crate::listener) async fn reload_on_hangup(
    certificates: Option<&Certificates>,
) -> Infallible {
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

/// Names what is derived; another text would be another secret.
const TICKET_PURPOSE: &str = "tidegate edge 2026-11 session tickets";

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rustls::SignatureScheme;
    use tidegate_contract::{
        certificate::KeyPem,
        id::{Generation, PopId},
        snapshot::PopRole,
        tier::TierKey,
    };

    use super::{super::config::NamedCertificate, *};

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
        let sni =
            NamedCertificate { names: vec!["Own.test".into()], certificate: own, key: own_key };
        Config {
            certificate: Some(certificate),
            key: Some(key),
            sni: vec![sni],
            ..Config::default()
        }
    }

    fn shown(certificates: &Certificates, name: &str) -> Vec<u8> {
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        certificates.table.load().find(Some(name), &schemes).unwrap().cert[0].to_vec()
    }

    fn snapshot(certificates: Vec<Certificate>) -> Snapshot {
        Snapshot {
            generation: Generation(1),
            pop: PopId::parse("fra").unwrap(),
            role: PopRole::Edge,
            properties: vec![],
            tier_key: TierKey::new([7; 32]),
            shields: vec![],
            certificates,
        }
    }

    fn certificate(name: &str) -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        Certificate {
            names: vec![name.to_owned()],
            chain_pem: made.cert.pem(),
            key_pem: KeyPem::new(made.signing_key.serialize_pem()),
        }
    }

    #[test]
    fn a_reload_replaces_all_certificates_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let certificates = Certificates::load(&config).unwrap();
        let first = shown(&certificates, "default.test");

        write_pair(folder.path(), "default.test");
        std::fs::write(&config.sni[0].key, "not a key").unwrap();
        assert!(matches!(certificates.reload(), Err(CertificateError::File { .. })));
        assert_eq!(shown(&certificates, "default.test"), first, "the old one stays");

        write_pair(folder.path(), "own.test");
        certificates.reload().unwrap();
        assert_ne!(shown(&certificates, "default.test"), first);
    }

    #[test]
    fn certificates_of_a_snapshot_win_and_survive_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(&config(folder.path())).unwrap();
        let of_files = shown(&certificates, "own.test");
        certificates
            .install(&snapshot(vec![certificate("own.test"), certificate("new.test")]))
            .unwrap();
        let of_snapshot = shown(&certificates, "own.test");
        assert_ne!(of_snapshot, of_files);
        assert_ne!(shown(&certificates, "new.test"), shown(&certificates, "other.test"));
        certificates.reload().unwrap();
        assert_eq!(shown(&certificates, "own.test"), of_snapshot);

        let mut broken = certificate("new.test");
        broken.chain_pem = certificate("new.test").chain_pem;
        assert!(certificates.install(&snapshot(vec![broken])).is_err());
        assert_eq!(shown(&certificates, "own.test"), of_snapshot, "all stay");
        certificates.install(&snapshot(vec![])).unwrap();
        assert_eq!(shown(&certificates, "own.test"), of_files);
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let certificates = Certificates::load(&Config { self_signed: true, ..Config::default() });
        let certificates = certificates.unwrap();
        let own = certificate("a.test");
        let secret = own.key_pem.reveal().lines().nth(1).unwrap().to_owned();
        certificates.install(&snapshot(vec![own])).unwrap();
        assert!(!format!("{certificates:?}").contains(&secret));
    }
}
