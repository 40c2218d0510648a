//! The key that secrets are sealed for: made here, never leaves the node.
//!
//! On disk it stands in a file of its own that its owner alone may read, beside what it opens.

use std::{io, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
};
use tidegate_contract::{
    release::{Hash, hash_of},
    resource::ResourceKey,
    sealing::{PUBLIC_KEY_BYTES, bound_to, key_of},
};

use super::private_file;

/// A key of X25519.
pub(super) struct SealingKey {
    private: PrivateKey,
    public: Vec<u8>,
}

/// A secret that was sealed for somebody else, for another name, or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} was not sealed for this node")]
pub(super) struct OpenError(ResourceKey);

impl SealingKey {
    /// The key of a state folder, made at the first start. A damaged file is replaced: secrets are sealed anew.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("sealing.key");
        let kept = private_file::read(&path, HEX_BYTES_MAX)?;
        let mut bytes = [0; 32];
        let text = kept.unwrap_or_default();
        if hex::decode_to_slice(text.trim_ascii(), &mut bytes).is_err() {
            bytes = rand::random();
            private_file::replace(&path, hex::encode(bytes).as_bytes())?;
        }
        let broken = |_| io::Error::other("no key of X25519");
        let private = PrivateKey::from_private_key(&X25519, &bytes).map_err(broken)?;
        let public = private.compute_public_key().map_err(|_| io::Error::other("no key"))?;
        Ok(Self { public: public.as_ref().to_vec(), private })
    }

    /// What the control plane seals for.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens a secret.
    pub(super) fn unseal(
        &self,
        secret: &ResourceKey,
        hash: &Hash,
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let bad = || OpenError(secret.clone());
        let (ephemeral, rest) = sealed.split_at_checked(PUBLIC_KEY_BYTES).ok_or_else(bad)?;
        let theirs = UnparsedPublicKey::new(&X25519, ephemeral);
        let key = agree(&self.private, theirs, bad(), |agreed| {
            Ok(key_of(agreed, ephemeral, &self.public))
        })?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(|_| bad())?);
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let bound = Aad::from(bound_to(secret, hash));
        let length = key.open_in_place(nonce, bound, &mut rest).map_err(|_| bad())?.len();
        rest.truncate(length);
        if hash_of(&rest) == *hash { Ok(rest) } else { Err(bad()) }
    }
}

/// 32 bytes in hex and the end of a line.
const HEX_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    /// Seals as the control plane does.
    fn seal(node: &[u8], secret: &ResourceKey, hash: &Hash, body: &[u8]) -> Vec<u8> {
        let own = PrivateKey::generate(&X25519).unwrap();
        let ephemeral = own.compute_public_key().unwrap();
        let theirs = UnparsedPublicKey::new(&X25519, node);
        let key =
            agree(&own, theirs, (), |agreed| Ok(key_of(agreed, ephemeral.as_ref(), node))).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let mut sealed = body.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, Aad::from(bound_to(secret, hash)), &mut sealed)
            .unwrap();
        [ephemeral.as_ref(), &sealed].concat()
    }

    #[test]
    fn a_secret_opens_here_alone_under_its_own_name_and_hash() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = SealingKey::open(folder.path()).unwrap();
        let again = SealingKey::open(folder.path()).unwrap();
        assert_eq!(key.public(), again.public());
        let name = |text| ResourceKey::parse(text).unwrap();
        let (secret, hash) = (name("secret/k"), hash_of(b"words"));
        let sealed = seal(key.public(), &secret, &hash, b"words");
        assert_eq!(again.unseal(&secret, &hash, &sealed).unwrap(), b"words");
        let stranger = SealingKey::open(other.path()).unwrap();
        assert!(stranger.unseal(&secret, &hash, &sealed).is_err());
        assert!(again.unseal(&name("secret/l"), &hash, &sealed).is_err());
        assert!(again.unseal(&secret, &[0; 32], &sealed).is_err());
        let of_other_words = seal(key.public(), &secret, &hash, b"other");
        assert!(again.unseal(&secret, &hash, &of_other_words).is_err());
        for bytes in [0, 10, 32, sealed.len() - 1] {
            assert!(again.unseal(&secret, &hash, &sealed[..bytes]).is_err(), "{bytes}");
        }
    }
}
