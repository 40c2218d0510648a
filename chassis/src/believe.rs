//! TLS clients that do not ask an authority who somebody is.
//!
//! [`anyone`] takes every certificate, [`client_of_anyone`] speaks to everybody. That is for what asks whether somebody lives and how fast, sends nothing secret and
//! believes nothing it is told: health checks, load tests that are told to, tests. [`whom`] leaves the certificate to the
//! caller, who knows it by its fingerprint. Everything else verifies by an authority. Invariant: whoever speaks holds the key
//! of the certificate that it shows.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Takes every certificate.
#[must_use]
pub fn anyone() -> Arc<dyn ServerCertVerifier> {
    whom(|_| Ok(()))
}

/// TLS with whomever, `protocols` on top (the best first).
///
/// # Panics
/// Never: the provider has the versions that it says it has.
#[must_use]
pub fn client_of_anyone(protocols: &[&[u8]]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(anyone())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

/// Takes the certificates that `judge` takes, whatever name and authority stand in them; it says why not.
#[must_use]
pub fn whom(
    judge: impl Fn(&CertificateDer<'_>) -> Result<(), String> + Send + Sync + 'static,
) -> Arc<dyn ServerCertVerifier> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    Arc::new(Whom { judge, algorithms })
}

struct Whom<F> {
    judge: F,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<F> fmt::Debug for Whom<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whom").finish_non_exhaustive()
    }
}

impl<F> ServerCertVerifier for Whom<F>
where
    F: Fn(&CertificateDer<'_>) -> Result<(), String> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.judge)(certificate).map_err(Error::General)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
