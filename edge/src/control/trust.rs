//! Whom a node believes: the authority that it has pinned, the release key that the authority signed, and nobody else.
//!
//! A release that does not verify is not read any further. Release keys have numbers; one with a lower number than a
//! key that was seen before was rotated away and is not believed any more.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tidegate_contract::{
    id::Generation,
    release::{Build, Header, KeyStatement},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::wire;

/// The public keys of the pinned authority.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    authorities: Vec<Vec<u8>>,
}

/// Who signed a release, as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signed {
    pub(super) header: Header,
    pub(super) signature: Vec<u8>,
    pub(super) key: wire::ReleaseKey,
}

/// Why a release is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("a release without header or key")]
    Incomplete,
    #[error("the header does not read: {0}")]
    Header(String),
    #[error("the release key is not signed by the authority of this node")]
    Key,
    #[error("release key {offered} was replaced by {seen}")]
    Rotated { offered: u64, seen: u64 },
    #[error("the signature is not that of the release key")]
    Signature,
}

impl Trust {
    /// The keys of the certificates in a PEM file.
    pub(super) fn new(ca_pem: &[u8]) -> Self {
        let key = |der: CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            Some(certificate.public_key().subject_public_key.data.to_vec())
        };
        let certificates = CertificateDer::pem_slice_iter(ca_pem).filter_map(Result::ok);
        Self { authorities: certificates.filter_map(key).collect() }
    }

    /// Reads and verifies who signed a release.
    pub(super) fn verify(
        &self,
        release: &wire::Release,
        key_number_min: u64,
    ) -> Result<Signed, TrustError> {
        let signed = Signed::unverified(release)?;
        let key = &signed.key;
        let public_key: [u8; 32] =
            key.public_key.as_slice().try_into().map_err(|_| TrustError::Key)?;
        let statement = KeyStatement { number: key.number, public_key }.to_sign();
        let is_vouched_for = self.authorities.iter().any(|authority| {
            let authority = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, authority);
            authority.verify(&statement, &key.signature).is_ok()
        });
        if !is_vouched_for {
            return Err(TrustError::Key);
        }
        if key.number < key_number_min {
            return Err(TrustError::Rotated { offered: key.number, seen: key_number_min });
        }
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&signed.header.to_sign(), &signed.signature)
            .map_err(|_| TrustError::Signature)?;
        Ok(signed)
    }
}

impl Signed {
    /// What a release says of itself, for whoever has verified it already.
    pub(super) fn unverified(release: &wire::Release) -> Result<Self, TrustError> {
        let (Some(header), Some(key)) = (&release.header, &release.key) else {
            return Err(TrustError::Incomplete);
        };
        let bad = |text: &str| TrustError::Header(text.to_owned());
        let build_min: Build = header.build_min.parse().map_err(|_| bad("build"))?;
        let header = Header {
            version: Generation(header.version),
            root: header.root.as_slice().try_into().map_err(|_| bad("root"))?,
            created_unix_ms: header.created_unix_ms,
            expires_unix_ms: header.expires_unix_ms,
            build_min,
        };
        Ok(Self { header, signature: release.signature.clone(), key: key.clone() })
    }
}
