//! Requests, keys and tokens for the tests of this folder and for its benchmark.

use std::{net::SocketAddr, time::Instant};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method};
use tidegate_contract::guard_policy::{TokenAlgorithm, TokenKey, TokenSecret};

use super::{base64url, token::key::Keys};
use crate::listener::{
    Downstream, Protocol,
    stream::{BodyLength, Request},
};

/// A time, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

/// A GET over H2 for a target of `a.org`.
#[must_use]
pub(super) fn request(target: &str) -> Request {
    let client = SocketAddr::from(([192, 0, 2, 7], 4711));
    Request {
        method: Method::GET,
        authority: "a.org".into(),
        target: target.parse().expect("a target"),
        headers: HeaderMap::new(),
        body: BodyLength::Empty,
        expects_continue: false,
        downstream: Downstream { protocol: Protocol::Http2, client, tls: true, early_data: false },
        arrived_at: Instant::now(),
    }
}

/// A shared secret of 32 times this byte.
#[must_use]
pub(super) fn hs256(id: &str, byte: u8) -> TokenKey {
    TokenKey {
        id: id.into(),
        algorithm: TokenAlgorithm::HS256,
        secret: Some(TokenSecret::new(vec![byte; 32])),
        public: None,
        not_before: None,
        not_after: None,
    }
}

/// The public key of an uncompressed point on P-256.
#[must_use]
pub(super) fn es256_public(id: &str, point: &[u8]) -> TokenKey {
    let pem = pem_of(&[P256_SPKI, point].concat());
    TokenKey { algorithm: TokenAlgorithm::ES256, secret: None, public: Some(pem), ..hs256(id, 0) }
}

/// A public key in PEM.
#[must_use]
pub(super) fn pem_of(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// The one key `a`.
#[must_use]
pub(super) fn keys() -> Keys {
    Keys::new(&[hs256("a", 1)])
}

/// A JWT under that key.
#[must_use]
pub(super) fn jwt(header: &str, payload: &str) -> String {
    let signed = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload.as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), signed.as_bytes());
    format!("{signed}.{}", base64url::encode(tag.as_ref()))
}

/// What stands before the point in the SubjectPublicKeyInfo of a key on P-256 (RFC 5480).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
