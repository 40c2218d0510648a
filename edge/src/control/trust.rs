//! Whom a node believes: the authorities that it holds to, the release key that an authority signed, and nobody else.
//!
//! A release that does not verify is not read any further. Release keys have numbers; one with a lower number than a
//! key that was seen before was rotated away and is not believed any more.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use tidegate_contract::{
    id::Generation,
    release::{Build, Header, KeyStatement},
};

use super::{authorities::Authorities, wire};

/// Verifies releases by the authorities of this node.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    authorities: Authorities,
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
    /// Believes these, whoever they are by then.
    pub(super) fn new(authorities: Authorities) -> Self {
        Self { authorities }
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
        let is_vouched_for = self.authorities.now().authorities.iter().any(|authority| {
            let authority = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &authority.public_key);
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
