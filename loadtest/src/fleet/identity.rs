//! The agent's certificate, and the controller that takes that one alone.
//!
//! Invariant: a handshake with another certificate, or without the key to it, fails.

use std::{fs, path::Path, sync::Arc};

use rustls::{ClientConfig, ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_chassis::believe;

/// Why machines do not come together.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("{0}")]
    Io(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    File(String),
    #[error("not understood: {0}")]
    Message(String),
    #[error("a message larger than is allowed")]
    TooLarge,
    #[error("refused: {0}")]
    Refused(String),
    #[error("no answer in time")]
    Timeout,
}

impl From<std::io::Error> for FleetError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// An agent's certificate and key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Makes a new one, which lives as long as the process.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, FleetError> {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])
            .map_err(|error| FleetError::Tls(error.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Self { certificate: made.cert.der().clone(), key: key.into() })
    }

    /// Reads one from PEM files, so that its fingerprint stays.
    ///
    /// # Errors
    /// When a file does not hold what it should.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, FleetError> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            FleetError::File(format!("{}: {error}", path.display()))
        };
        let text = fs::read(certificate).map_err(|error| failed(certificate, &error))?;
        let parsed = CertificateDer::from_pem_slice(&text);
        let secret = fs::read(key).map_err(|error| failed(key, &error))?;
        Ok(Self {
            certificate: parsed.map_err(|error| failed(certificate, &error))?,
            key: PrivateKeyDer::from_pem_slice(&secret).map_err(|error| failed(key, &error))?,
        })
    }

    /// SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.certificate))
    }

    pub(super) fn server_config(self) -> Result<ServerConfig, FleetError> {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| FleetError::Tls(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .map_err(|error| FleetError::Tls(error.to_string()))
    }
}

/// TLS that takes the certificate of this fingerprint alone.
pub(super) fn pinned(fingerprint: [u8; 32]) -> Result<ClientConfig, FleetError> {
    let verifier = believe::whom(move |certificate| {
        let shown = Sha256::digest(certificate);
        if shown.as_slice().ct_eq(&fingerprint).into() {
            return Ok(());
        }
        let shown = hex::encode(shown);
        Err(format!("the agent's fingerprint is {shown}, not the one that was given"))
    });
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| FleetError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// The name in the certificate, which nothing depends on.
pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a name of letters and dashes")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

const NAME: &str = "tidegate-load-agent";
