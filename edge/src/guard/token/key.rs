//! The keys of a property, ready to check with.
//!
//! Invariant: a key is used with its own algorithm alone, whatever a token says (no `none`, no public key as a secret),
//! and only within its time. The MAC is compared in constant time by the library.

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use tidegate_contract::guard_policy::{TokenAlgorithm, TokenKey};

use crate::guard::clock::unix_s;

/// Keys in the order of the configuration.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: String,
    algorithm: TokenAlgorithm,
    material: Material,
    from: u64,
    until: u64,
}

enum Material {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// No key of ours made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of ours made this signature")]
pub struct KeyError;

impl Keys {
    /// Reads keys. One that cannot be read is left out: what it signed is refused.
    #[must_use]
    pub fn new(keys: &[TokenKey]) -> Self {
        Self(keys.iter().filter_map(Key::new).collect())
    }

    /// Checks a signature; gives back until when its key is good, in seconds since 1970.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn verify(
        &self,
        algorithm: TokenAlgorithm,
        id: Option<&[u8]>,
        message: &[u8],
        signature: &[u8],
        now: u64,
    ) -> Result<u64, KeyError> {
        self.0
            .iter()
            .filter(|key| key.algorithm == algorithm && key.is_good(now))
            .filter(|key| id.is_none_or(|id| id == key.id.as_bytes()))
            .take(TRIES_MAX)
            .find(|key| key.material.is_signature(message, signature))
            .map(|key| key.until)
            .ok_or(KeyError)
    }

    /// Signs with the first shared secret that is good; gives back the key's id too.
    #[must_use]
    pub fn sign(&self, message: &[u8], now: u64) -> Option<(String, Vec<u8>)> {
        self.0.iter().filter(|key| key.is_good(now)).find_map(|key| match &key.material {
            Material::Secret(secret) => {
                let tag = hmac::sign(secret, message);
                Some((key.id.clone(), tag.as_ref().to_vec()))
            }
            Material::Public(_) => None,
        })
    }
}

impl Key {
    fn new(key: &TokenKey) -> Option<Self> {
        let material = Material::new(key);
        if material.is_none() {
            tracing::warn!(key = %key.id, "a token key cannot be read; what it signed is refused");
        }
        Some(Self {
            id: key.id.clone(),
            algorithm: key.algorithm,
            material: material?,
            from: key.not_before.map_or(0, unix_s),
            until: key.not_after.map_or(u64::MAX, unix_s),
        })
    }

    fn is_good(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl Material {
    fn new(key: &TokenKey) -> Option<Self> {
        let algorithm: &'static dyn signature::VerificationAlgorithm = match key.algorithm {
            TokenAlgorithm::HS256 => {
                let secret = key.secret.as_ref()?.bytes();
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                return Some(Self::Secret(Box::new(key)));
            }
            TokenAlgorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            TokenAlgorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        };
        let pem = key.public.as_ref()?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        ParsedPublicKey::new(algorithm, &*der).ok().map(Self::Public)
    }

    fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(secret) => hmac::verify(secret, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material(…)")
    }
}

/// Keys that are tried for one token without a key id, so that a bad one costs little.
const TRIES_MAX: usize = 4;
