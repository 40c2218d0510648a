//! The authorities of a data folder: each a key and a certificate in two files, the first in `ca.*`, the next in `ca-2.*`.
//!
//! A file is never written over, so that a crash in the middle of a rotation leaves every authority whole. Invariant: one
//! number, one authority, one name.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};

use super::{CaError, authority_params, files, peer::end_of};
use crate::store::StoreError;

/// One authority.
pub struct Signer {
    pub(super) issuer: Issuer<'static, KeyPair>,
    number: u64,
    /// PEM of its certificate.
    pub pem: String,
    /// SHA-256 of that, in hex: what the store calls it.
    pub sha256: String,
    /// What nodes call it: the first bytes of the SHA-256 of its certificate.
    pub mark: u64,
    /// When it ends.
    pub ends: SystemTime,
}

impl Signer {
    /// Makes the authority of a number and writes it down.
    pub(super) fn make(data_dir: &Path, number: u64, now: SystemTime) -> Result<Self, CaError> {
        let key_file = data_dir.join(key_file(number));
        // A key without a certificate was left by a crash, before anybody was told of it.
        let key = match files::read(&key_file)? {
            Some(pem) => KeyPair::from_pem(&pem)?,
            None => KeyPair::generate()?,
        };
        let pem = authority_params(number, now).self_signed(&key)?.pem();
        write_beside(data_dir, number, &key.serialize_pem(), &pem)?;
        Self::new(number, key, pem)
    }

    /// Takes an authority that another replica made.
    pub(super) fn adopt(
        data_dir: &Path,
        number: u64,
        key_pem: &str,
        pem: String,
    ) -> Result<Self, CaError> {
        let signer = Self::new(number, KeyPair::from_pem(key_pem)?, pem)?;
        write_beside(data_dir, number, key_pem, &signer.pem)?;
        Ok(signer)
    }

    fn read(data_dir: &Path, number: u64) -> Result<Self, CaError> {
        let (key_file, certificate_file) =
            (data_dir.join(key_file(number)), data_dir.join(certificate_file(number)));
        let pem = files::read(&certificate_file)?;
        let pem = pem.ok_or_else(|| CaError::Unknown(certificate_file.display().to_string()))?;
        let Some(key) = files::read(&key_file)? else {
            return Err(CaError::KeyMissing { certificate: certificate_file, key: key_file });
        };
        Self::new(number, KeyPair::from_pem(&key)?, pem)
    }

    fn new(number: u64, key: KeyPair, pem: String) -> Result<Self, CaError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| CaError::Tls(error.to_string()))?;
        let hash = Sha256::digest(&der);
        let (mark, _) = hash.split_first_chunk().expect("32 bytes");
        let mark = u64::from_be_bytes(*mark);
        let ends = end_of(&der).unwrap_or(SystemTime::UNIX_EPOCH);
        let sha256 = hex::encode(Sha256::digest(pem.as_bytes()));
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        Ok(Self { issuer, number, pem, sha256, mark, ends })
    }

    /// Its number: they are counted from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its key, for the replicas that must have it too.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Removes its files, the certificate first: a key that stands alone is nobody's.
    pub(super) fn remove(&self, data_dir: &Path) -> Result<(), CaError> {
        for name in [certificate_file(self.number), key_file(self.number)] {
            let path = data_dir.join(name);
            fs::remove_file(&path).map_err(|source| StoreError::File { path, source })?;
        }
        Ok(())
    }
}

/// Every authority of a folder, in the order of their numbers; the first one is made when there is none.
pub(super) fn all(data_dir: &Path, now: SystemTime) -> Result<Vec<Arc<Signer>>, CaError> {
    let numbers = numbers(data_dir)?;
    if numbers.is_empty() {
        return Ok(vec![Arc::new(Signer::make(data_dir, 1, now)?)]);
    }
    numbers.into_iter().map(|number| Ok(Arc::new(Signer::read(data_dir, number)?))).collect()
}

/// The files of the authorities that are there.
pub(crate) fn names(data_dir: &Path) -> Result<Vec<String>, StoreError> {
    let all = numbers(data_dir)?.into_iter().flat_map(|n| [key_file(n), certificate_file(n)]);
    Ok(all.filter(|name| data_dir.join(name).exists()).collect())
}

/// Whether a file of that name belongs to an authority.
pub(crate) fn is_name(name: &str) -> bool {
    number_of(name).is_some()
}

fn numbers(data_dir: &Path) -> Result<Vec<u64>, StoreError> {
    let failed = |source| StoreError::File { path: data_dir.to_owned(), source };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A key that stands alone was left by a crash and is nobody's yet.
        if name.to_str().is_some_and(|name| name.ends_with(".pem"))
            && let Some(number) = name.to_str().and_then(number_of)
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".pem").or_else(|| name.strip_suffix(".key"))?;
    match stem.strip_prefix("ca")? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok().filter(|number| *number > 1),
    }
}

fn write_beside(data_dir: &Path, number: u64, key: &str, pem: &str) -> Result<(), CaError> {
    files::write(&data_dir.join(key_file(number)), key, 0o600)?;
    files::write(&data_dir.join(certificate_file(number)), pem, 0o644)?;
    Ok(())
}

fn key_file(number: u64) -> FileName {
    file(number, "key")
}

pub(super) fn certificate_file(number: u64) -> FileName {
    file(number, "pem")
}

fn file(number: u64, ending: &str) -> FileName {
    if number == 1 { format!("ca.{ending}") } else { format!("ca-{number}.{ending}") }
}

/// The name of a file in the data folder.
type FileName = String;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_found_by_their_files_and_each_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let first = all(folder.path(), now).expect("writable");
        assert_eq!((first.len(), first[0].number()), (1, 1));
        let second = Signer::make(folder.path(), 2, now).expect("writable");
        fs::write(folder.path().join("ca-3.key"), second.key_pem()).expect("writable");
        let again = all(folder.path(), now).expect("readable");
        let marks: Vec<_> = again.iter().map(|one| one.mark).collect();
        assert_eq!(marks, [first[0].mark, second.mark], "a key alone is nobody");
        assert_eq!(names(folder.path()).expect("readable").len(), 4);
        second.remove(folder.path()).expect("there");
        assert_eq!(all(folder.path(), now).expect("readable").len(), 1);
        for (name, expected) in [
            ("ca.pem", true),
            ("ca-2.key", true),
            ("ca-1.pem", false),
            ("ca-x.pem", false),
            ("release.key", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
