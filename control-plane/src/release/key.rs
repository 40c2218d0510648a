//! The release key: what nodes believe releases by.
//!
//! Its public half is signed by the authority, whose certificate every node has pinned; so nodes learn of a new key
//! with the first release under it. Numbers grow with every rotation, and a node refuses a key with a lower number
//! than it has seen. The private half stands in a file that its owner alone may read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use tidegate_contract::release::{Header, KeyStatement};

use crate::{
    ca::{Authority, CaError, files},
    store::StoreError,
};

/// Signs releases.
pub(super) struct ReleaseKey {
    pair: Ed25519KeyPair,
    public: ArcSwap<PublicKey>,
}

/// The public half with the authority's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Its number.
    pub number: u64,
    /// Ed25519, in hex.
    pub public_key: String,
    /// The authority's signature of the statement, in hex.
    pub signature: String,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key's file cannot be used.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The file holds something else.
    #[error("{} does not hold a key", .0.display())]
    Syntax(PathBuf),
    /// The file holds a key that the fleet does not go by: it was replaced elsewhere.
    #[error(
        "{} is not release key {number} that the nodes go by: copy it from the replica that has it, or move it away \
         to make the next one", .path.display()
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// The number of the key that nodes go by.
        number: u64,
    },
    /// The authority cannot sign.
    #[error(transparent)]
    Authority(#[from] CaError),
}

impl ReleaseKey {
    /// The key of a data folder, made when there is none. `known` is the one that the fleet was told of last: one that
    /// is made beside it is a rotation, and one that lay there and is another was replaced elsewhere.
    ///
    /// # Errors
    /// [`KeyError`]
    pub(super) fn open(
        data_dir: &Path,
        authority: &Authority,
        known: Option<&PublicKey>,
    ) -> Result<Self, KeyError> {
        let path = data_dir.join(KEY_FILE);
        let kept = files::read(&path)?;
        let is_new = kept.is_none();
        let text = if let Some(text) = kept {
            text
        } else {
            let text = hex::encode(rand::random::<[u8; 32]>());
            files::write(&path, &text, 0o600)?;
            text
        };
        let bad = || KeyError::Syntax(path.clone());
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed).map_err(|_| bad())?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| bad())?;
        let public_key: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| bad())?;
        let hex_key = hex::encode(public_key);
        if let Some(known) = known.filter(|known| known.public_key == hex_key) {
            let key = Self { pair, public: ArcSwap::from_pointee(known.clone()) };
            key.vouched_by(authority)?;
            return Ok(key);
        }
        if let Some(known) = known.filter(|_| !is_new) {
            return Err(KeyError::Another { path, number: known.number });
        }
        let number = known.map_or(1, |known| known.number + 1);
        let statement = KeyStatement { number, public_key };
        let signature = hex::encode(authority.sign(&statement.to_sign())?);
        let public = PublicKey { number, public_key: hex_key, signature };
        Ok(Self { pair, public: ArcSwap::from_pointee(public) })
    }

    /// The public half.
    #[must_use]
    pub(super) fn public(&self) -> Arc<PublicKey> {
        self.public.load_full()
    }

    /// Lets the authority that signs now vouch for the key, unless it has.
    ///
    /// # Errors
    /// [`KeyError::Authority`]
    pub(super) fn vouched_by(&self, authority: &Authority) -> Result<(), KeyError> {
        let public = self.public();
        if public.is_vouched_by(authority) {
            return Ok(());
        }
        if let Some(statement) = public.statement() {
            let signature = hex::encode(authority.sign(&statement)?);
            self.public.store(Arc::new(PublicKey { signature, ..(*public).clone() }));
        }
        Ok(())
    }

    /// Signs a release.
    #[must_use]
    pub(super) fn sign(&self, header: &Header) -> Vec<u8> {
        self.pair.sign(&header.to_sign()).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Whether the authority that signs now has vouched for it.
    #[must_use]
    pub fn is_vouched_by(&self, authority: &Authority) -> bool {
        let signature = hex::decode(&self.signature).unwrap_or_default();
        self.statement().is_some_and(|statement| authority.has_signed(&statement, &signature))
    }

    fn statement(&self) -> Option<Vec<u8>> {
        let mut public_key = [0; 32];
        hex::decode_to_slice(&self.public_key, &mut public_key).ok()?;
        Some(KeyStatement { number: self.number, public_key }.to_sign())
    }
}

/// The file of the key; to rotate, move it away and restart.
const KEY_FILE: &str = "release.key";

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::SystemTime};

    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use tidegate_contract::{id::Generation, release::Build};

    use super::*;
    use crate::ca;

    #[test]
    fn a_key_is_made_once_and_another_one_is_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let authority = Authority::open(folder.path(), vec![], ca::Config::default(), now);
        let authority = authority.expect("writable");
        let open = |known| ReleaseKey::open(folder.path(), &authority, known).expect("usable");
        let first = open(None);
        let known = first.public();
        assert_eq!(open(Some(&known)).public(), known);
        let mode = folder.path().join(KEY_FILE).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let file = folder.path().join(KEY_FILE);
        let old = std::fs::read(&file).expect("there");
        std::fs::remove_file(&file).expect("there");
        let second = open(Some(&known));
        assert_eq!((first.public().number, second.public().number), (1, 2));
        assert_ne!(first.public().public_key, second.public().public_key);

        let newer = std::fs::read(&file).expect("there");
        std::fs::write(&file, old).expect("writable");
        let known = second.public();
        let replaced = ReleaseKey::open(folder.path(), &authority, Some(&known));
        assert!(matches!(replaced.err(), Some(KeyError::Another { number: 2, .. })));
        std::fs::write(&file, newer).expect("writable");

        let header = Header {
            version: Generation(1),
            root: [0; 32],
            created_unix_ms: 0,
            expires_unix_ms: 1,
            build_min: Build::default(),
        };
        let public = hex::decode(&second.public().public_key).expect("hex");
        let verifier = UnparsedPublicKey::new(&ED25519, public);
        assert!(verifier.verify(&header.to_sign(), &second.sign(&header)).is_ok());
    }
}
