//! Keys of playback tokens: read, made, signed with.
//!
//! Invariant: a private key leaves this file only as the text that its owner keeps.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::{self, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use tidegate_contract::token_policy::{SECRET_BYTES_MIN, TokenSecret};

use super::{Algorithm, base64url};
use crate::cli::failure::{Exit, Failure};

/// Whatever signs.
pub(super) enum Signer {
    Shared(Box<hmac::Key>),
    Private(EcdsaKeyPair),
}

impl Signer {
    /// Reads a key: PEM of a private key, or base64url of a secret.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.contains("BEGIN") {
            let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
            return pair.ok().map(Self::Private);
        }
        let secret = TokenSecret::try_from(text.trim().to_owned()).ok()?;
        let is_long = secret.bytes().len() >= SECRET_BYTES_MIN;
        is_long.then(|| Self::Shared(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()))))
    }

    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Shared(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Private(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
        }
    }
}

/// A new key: what its owner keeps, and what the edge needs.
pub(super) fn new_key(algorithm: Algorithm) -> Result<(String, String), Failure> {
    let failed = |_| Failure::new(Exit::Failed, "no random numbers");
    match algorithm {
        Algorithm::Hs256 => {
            let mut secret = [0; SECRET_BYTES_MIN];
            rand::fill(&mut secret).map_err(failed)?;
            let text = base64url(&secret);
            Ok((text.clone(), text))
        }
        Algorithm::Es256 => {
            let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 =
                EcdsaKeyPair::generate_pkcs8(scheme, &SystemRandom::new()).map_err(failed)?;
            let broken = || Failure::new(Exit::Failed, "the new key cannot be read");
            let pair = EcdsaKeyPair::from_pkcs8(scheme, pkcs8.as_ref()).map_err(|_| broken())?;
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| broken())?;
            Ok((pem("PRIVATE KEY", pkcs8.as_ref()), pem("PUBLIC KEY", public.as_ref())))
        }
    }
}

/// An entry of `guard.tokens.keys`.
pub(super) fn as_config(id: &str, algorithm: Algorithm, public: &str) -> Value {
    match algorithm {
        Algorithm::Hs256 => json!({ "id": id, "algorithm": "HS256", "secret": public }),
        Algorithm::Es256 => json!({ "id": id, "algorithm": "ES256", "public": public }),
    }
}

/// PEM (RFC 7468) with lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
