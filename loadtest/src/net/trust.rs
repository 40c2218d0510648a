//! TLS settings: whose certificates are believed, which protocol is offered, whose tickets are used.
//!
//! Invariant: one verifier for all settings of a worker, because rustls resumes only under the verifier that checked.

use std::{cell::Cell, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tidegate_chassis::believe;

use super::{config::NetConfig, tickets::Tickets};
use crate::kind::Protocol;

/// The TLS settings of one worker.
#[derive(Debug)]
pub(super) struct Trust {
    /// By protocol, and then by what is resumed.
    configs: [[Arc<ClientConfig>; 3]; 3],
}

/// What a session does with tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    Never,
    Session,
    /// And sends its first request with the handshake.
    Early,
}

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("net.ca: {path}: {why}")]
    File { path: std::path::PathBuf, why: String },
    #[error("nobody to trust: the platform's authorities are missing, and net.ca names none")]
    Nobody,
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
    #[error("certificates cannot be checked: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl Trust {
    pub(super) fn new(config: &NetConfig) -> Result<Self, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // A thread's first random bytes take milliseconds: not out of the time of its first sessions. If there are none,
        // the first handshake says so.
        let _ = provider.secure_random.fill(&mut [0; 32]);
        let inner: Arc<dyn ServerCertVerifier> = match config.insecure {
            true => believe::anyone(),
            false => {
                let roots = Arc::new(roots(config)?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?
            }
        };
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Witness(inner));
        let of = |protocol| of_protocol(protocol, &verifier, &provider);
        Ok(Self { configs: [of(Protocol::H1)?, of(Protocol::H2)?, of(Protocol::H3)?] })
    }

    pub(super) fn of(&self, protocol: Protocol, resume: Resume) -> &Arc<ClientConfig> {
        &self.configs[protocol as usize][resume as usize]
    }
}

/// What a server must agree to speak.
pub(super) fn alpn(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::H1 => b"http/1.1",
        Protocol::H2 => b"h2",
        Protocol::H3 => b"h3",
    }
}

/// Whether a certificate was checked on this thread since the last call: a resumed handshake checks none.
pub(super) fn take_verified() -> bool {
    VERIFIED.take()
}

thread_local! {
    static VERIFIED: Cell<bool> = const { Cell::new(false) };
}

fn of_protocol(
    protocol: Protocol,
    verifier: &Arc<dyn ServerCertVerifier>,
    provider: &Arc<CryptoProvider>,
) -> Result<[Arc<ClientConfig>; 3], TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = match protocol {
        Protocol::H3 => builder.with_protocol_versions(&[&rustls::version::TLS13])?,
        Protocol::H1 | Protocol::H2 => builder.with_safe_default_protocol_versions()?,
    };
    let mut never = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier))
        .with_no_client_auth();
    never.alpn_protocols = vec![alpn(protocol).to_vec()];
    never.resumption = Resumption::disabled();
    let mut session = never.clone();
    session.resumption = Resumption::store(Arc::new(Tickets::default()));
    let mut early = session.clone();
    early.enable_early_data = true;
    Ok([Arc::new(never), Arc::new(session), Arc::new(early)])
}

fn roots(config: &NetConfig) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    if config.system_roots {
        match rustls_native_certs::load_native_certs() {
            Ok(all) => {
                roots.add_parsable_certificates(all);
            }
            Err(error) => tracing::warn!(%error, "the platform's authorities cannot be read"),
        }
    }
    for path in &config.ca {
        let wrong = |why: String| TrustError::File { path: path.clone(), why };
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(wrong("no certificate in it".to_owned()));
        }
    }
    match roots.is_empty() {
        true => Err(TrustError::Nobody),
        false => Ok(roots),
    }
}

/// Notes that a certificate was checked, and leaves the rest to another.
#[derive(Debug)]
struct Witness(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        VERIFIED.set(true);
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(ca: Option<&std::path::Path>) -> NetConfig {
        NetConfig {
            system_roots: false,
            ca: ca.into_iter().map(Into::into).collect(),
            ..NetConfig::default()
        }
    }

    #[test]
    fn without_authorities_there_is_nobody_to_trust() {
        assert!(matches!(Trust::new(&config(None)), Err(TrustError::Nobody)));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Trust::new(&config(Some(file.path()))), Err(TrustError::File { .. })));
        let missing = std::path::Path::new("missing.pem");
        assert!(matches!(Trust::new(&config(Some(missing))), Err(TrustError::File { .. })));
    }

    #[test]
    fn settings_differ_in_protocol_and_tickets_alone() {
        let key = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.cert.pem()).unwrap();
        let trust = Trust::new(&config(Some(file.path()))).unwrap();
        for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
            let config = trust.of(protocol, Resume::Early);
            assert_eq!(config.alpn_protocols, [alpn(protocol)]);
            assert!(config.enable_early_data);
            assert!(!trust.of(protocol, Resume::Session).enable_early_data);
            assert!(!trust.of(protocol, Resume::Never).enable_early_data);
        }
    }
}
