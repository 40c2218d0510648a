//! Seals a secret for one node, as the contract says.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
};
use tidegate_contract::{
    release::Hash,
    resource::ResourceKey,
    sealing::{bound_to, key_of},
};

/// The node's key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the node says is no key of X25519")]
pub struct SealError;

/// Seals a secret's body for the node with a public key.
///
/// # Errors
/// [`SealError`]
pub(super) fn seal_for(
    node: &[u8],
    secret: &ResourceKey,
    hash: &Hash,
    body: &[u8],
) -> Result<Vec<u8>, SealError> {
    let own = PrivateKey::generate(&X25519).map_err(|_| SealError)?;
    let ephemeral = own.compute_public_key().map_err(|_| SealError)?;
    let theirs = UnparsedPublicKey::new(&X25519, node);
    let key =
        agree(&own, theirs, SealError, |agreed| Ok(key_of(agreed, ephemeral.as_ref(), node)))?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError)?);
    let mut sealed = body.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    key.seal_in_place_append_tag(nonce, Aad::from(bound_to(secret, hash)), &mut sealed)
        .map_err(|_| SealError)?;
    Ok([ephemeral.as_ref(), &sealed].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_is_sealed_for_and_nothing_shows_through() {
        let secret = ResourceKey::parse("secret/k").expect("good");
        let node = PrivateKey::from_private_key(&X25519, &[7; 32]).expect("a key");
        let public = node.compute_public_key().expect("a key");
        let sealed = seal_for(public.as_ref(), &secret, &[1; 32], b"hidden words").expect("good");
        assert!(!sealed.windows(6).any(|part| part == b"hidden"));
        let again = seal_for(public.as_ref(), &secret, &[1; 32], b"hidden words").expect("good");
        assert_ne!(sealed, again, "a key of its own each time");
        for bad in [&[][..], &[1; 31], &[0; 32]] {
            assert_eq!(seal_for(bad, &secret, &[1; 32], b"x"), Err(SealError), "{bad:?}");
        }
    }
}
