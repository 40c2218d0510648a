//! How a secret is sealed for one node.
//!
//! The sender makes an X25519 key for this one secret, agrees with the node's key, and seals with AES-256-GCM under
//! what both get from it. A key serves once, so the nonce is zero. What is sealed is bound to the name and the hash of
//! the secret: moved elsewhere it does not open. The arithmetic stands in the programs; here is what both must agree
//! on.

use crate::{release::Hash, resource::ResourceKey};

/// Bytes of a public key of X25519, with which a sealed secret begins.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// The key of AES-256-GCM, from what both sides agreed on and both public keys.
#[must_use]
pub fn key_of(agreed: &[u8], ephemeral: &[u8], node: &[u8]) -> [u8; 32] {
    let mut material = Vec::with_capacity(agreed.len() + ephemeral.len() + node.len());
    for part in [agreed, ephemeral, node] {
        material.extend_from_slice(part);
    }
    blake3::derive_key(PURPOSE, &material)
}

/// What the sealed bytes are bound to.
#[must_use]
pub fn bound_to(secret: &ResourceKey, hash: &Hash) -> Vec<u8> {
    let mut bytes = secret.to_string().into_bytes();
    bytes.push(0);
    bytes.extend_from_slice(hash);
    bytes
}

const PURPOSE: &str = "tidegate 2026 a secret sealed for one node";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_matters() {
        let key = key_of(&[1; 32], &[2; 32], &[3; 32]);
        assert_ne!(key, key_of(&[9; 32], &[2; 32], &[3; 32]));
        assert_ne!(key, key_of(&[1; 32], &[9; 32], &[3; 32]));
        assert_ne!(key, key_of(&[1; 32], &[2; 32], &[9; 32]));
        let name = |text| ResourceKey::parse(text).expect("good");
        assert_ne!(bound_to(&name("secret/a"), &[0; 32]), bound_to(&name("secret/b"), &[0; 32]));
        assert_ne!(bound_to(&name("secret/a"), &[0; 32]), bound_to(&name("secret/a"), &[1; 32]));
    }
}
