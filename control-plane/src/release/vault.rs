//! What lies in the records lies there sealed: specs and drafts hold secrets.
//!
//! One key of AES-256-GCM in a file that its owner alone may read; replicas of one control plane share it. A value is
//! bound to its key in the store, so that none can be moved. Without the file the releases cannot be read: it belongs
//! into every backup, apart from the database.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{ca::files, store::StoreError};

/// Seals and opens values.
pub struct Vault(LessSafeKey);

/// Why a value or the vault itself does not open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key's file cannot be used.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The file holds something else.
    #[error("{} does not hold 64 hexadecimal digits", .0.display())]
    Syntax(PathBuf),
    /// The value was sealed under another key, for another place, or was changed.
    #[error("{0} does not open: it was changed, or {KEY_FILE} is another control plane's")]
    Sealed(String),
}

impl Vault {
    /// The vault of a data folder; its key is made at the first start.
    ///
    /// # Errors
    /// [`VaultError`]
    pub fn open(data_dir: &Path) -> Result<Self, VaultError> {
        let path = data_dir.join(KEY_FILE);
        let text = if let Some(text) = files::read(&path)? {
            text
        } else {
            let text = hex::encode(rand::random::<[u8; 32]>());
            files::write(&path, &text, 0o600)?;
            text
        };
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|_| VaultError::Syntax(path))?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 256 bits");
        Self(LessSafeKey::new(key))
    }

    /// Seals a value for its place.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = plain.to_vec();
        let bound = Aad::from(place.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .expect("far below the limit of one message");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`VaultError::Sealed`]
    pub fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let bad = || VaultError::Sealed(place.to_owned());
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(bad)?;
        let (nonce, mut rest) = (Nonce::assume_unique_for_key(*nonce), rest.to_vec());
        let bound = Aad::from(place.as_bytes());
        let plain = self.0.open_in_place(nonce, bound, &mut rest).map_err(|_| bad())?.len();
        rest.truncate(plain);
        Ok(rest)
    }
}

const KEY_FILE: &str = "records.key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_place_alone_and_only_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path()).expect("writable");
        let sealed = vault.seal("content/a", b"hidden");
        assert!(!sealed.windows(6).any(|part| part == b"hidden"));
        let again = Vault::open(folder.path()).expect("readable");
        assert_eq!(again.unseal("content/a", &sealed).expect("its own"), b"hidden");
        assert!(again.unseal("content/b", &sealed).is_err());
        assert!(Vault::new(&[1; 32]).unseal("content/a", &sealed).is_err());
        for at in [0, 13, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.unseal("content/a", &changed).is_err(), "{at}");
        }
        assert!(vault.unseal("content/a", b"").is_err());
    }
}
