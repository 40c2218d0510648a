//! Who this node is: a key that never leaves it, and a certificate that names its PoP and itself.
//!
//! Key and certificate stand in one file, so that a renewal replaces both or neither.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tidegate_contract::id::{NodeId, PopId};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::private_file;

/// A key and its certificate, checked.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) pop: PopId,
    pub(super) node: NodeId,
    pub(super) key_pem: String,
    pub(super) chain_pem: String,
    /// The name (DER) of the authority that signed it.
    pub(super) issuer: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// A fresh key and the request to certify it.
pub(super) struct Request {
    pub(super) csr_der: Vec<u8>,
    key_pem: String,
}

/// Why a key and a certificate are no identity.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    #[error("cannot read or write {0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("no certificate that can be read: {0}")]
    Certificate(String),
    #[error("no private key that can be read: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the certificate is for another key")]
    OtherKey,
    #[error("the certificate does not name one PoP and node as spiffe://tidegate/pop/…/node/…")]
    Name,
}

impl Request {
    /// Draws a key. The names stand in the certificate that comes back, whatever is asked for here.
    pub(super) fn new() -> Result<Self, IdentityError> {
        let key = KeyPair::generate()?;
        let csr = CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?;
        Ok(Self { csr_der: csr.der().to_vec(), key_pem: key.serialize_pem() })
    }

    /// Joins the key and what the control plane certified.
    pub(super) fn answered(self, chain_pem: &[u8]) -> Result<Identity, IdentityError> {
        let chain_pem = str::from_utf8(chain_pem)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        Identity::new(self.key_pem, chain_pem.to_owned())
    }
}

impl Identity {
    fn new(key_pem: String, chain_pem: String) -> Result<Self, IdentityError> {
        let bad = |error: &dyn fmt::Display| IdentityError::Certificate(error.to_string());
        let leaf =
            CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(|error| bad(&error))?;
        let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|error| bad(&error))?;
        let key = KeyPair::from_pem(&key_pem)?;
        if leaf.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(IdentityError::OtherKey);
        }
        let (pop, node) = names_of(&leaf).ok_or(IdentityError::Name)?;
        let at = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let not_before = at(leaf.validity().not_before.timestamp());
        let not_after = at(leaf.validity().not_after.timestamp());
        let issuer = leaf.issuer().as_raw().to_vec();
        Ok(Self { pop, node, key_pem, chain_pem, issuer, not_before, not_after })
    }

    /// Reads the identity kept on disk; `None` when there is none.
    pub(super) fn load(state_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = path_in(state_dir);
        let content = private_file::read(&path, FILE_BYTES_MAX)
            .map_err(|error| IdentityError::Io(path, error))?;
        let Some(content) = content else { return Ok(None) };
        let text = String::from_utf8(content)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        // Both readers of PEM look for the kind of block they want, so both take the whole file.
        let at = text.find(CERTIFICATE_BEGINS).ok_or_else(|| {
            IdentityError::Certificate("the file holds no certificate".to_owned())
        })?;
        let (key, chain) = text.split_at(at);
        Self::new(key.to_owned(), chain.to_owned()).map(Some)
    }

    /// Keeps it on disk, durably, in place of the one before.
    pub(super) fn save(&self, state_dir: &Path) -> Result<(), IdentityError> {
        let path = path_in(state_dir);
        let content = format!("{}\n{}", self.key_pem.trim_end(), self.chain_pem);
        private_file::replace(&path, content.as_bytes())
            .map_err(|error| IdentityError::Io(path, error))
    }

    /// Whether the control plane would still accept it.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        now < self.not_after
    }

    /// How much of its life is left, and how long all of it is.
    pub(super) fn life(&self, now: SystemTime) -> (Duration, Duration) {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        (left, self.not_after.duration_since(self.not_before).unwrap_or_default())
    }

    /// When a fresh one is to be asked for: at half life, so that a control plane may be away for the other half.
    pub(super) fn renewal_at(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life / 2
    }
}

/// Never shows the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}/{})", self.pop, self.node)
    }
}

/// PoP and node of the one SPIFFE name of a certificate.
fn names_of(leaf: &X509Certificate<'_>) -> Option<(PopId, NodeId)> {
    let names = leaf.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://tidegate/pop/"),
        _ => None,
    });
    let (pop, node) = uris.next()?.split_once("/node/")?;
    if uris.next().is_some() {
        return None;
    }
    Some((PopId::parse(pop).ok()?, NodeId::parse(node).ok()?))
}

fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join("identity.pem")
}

const CERTIFICATE_BEGINS: &str = "-----BEGIN CERTIFICATE-----";
/// A key and a chain of a few certificates.
const FILE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use rcgen::SanType;
    use time::macros::datetime;

    use super::*;

    /// What a control plane answers, self-signed for the test: only the names and the key matter here.
    fn certified(key_pem: &str, uris: &[&str]) -> String {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.not_before = datetime!(2026-01-01 00:00 UTC);
        params.not_after = datetime!(2026-01-02 00:00 UTC);
        params.self_signed(&KeyPair::from_pem(key_pem).unwrap()).unwrap().pem()
    }

    #[test]
    fn an_identity_survives_the_disk_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Identity::load(folder.path()).unwrap().is_none());

        let request = Request::new().unwrap();
        let chain = certified(&request.key_pem, &["spiffe://tidegate/pop/fra/node/n-1"]);
        let identity = request.answered(chain.as_bytes()).unwrap();
        identity.save(folder.path()).unwrap();

        let read = Identity::load(folder.path()).unwrap().unwrap();
        assert_eq!((read.pop.as_str(), read.node.as_str()), ("fra", "n-1"));
        assert_eq!(read.renewal_at(), SystemTime::from(datetime!(2026-01-01 12:00 UTC)));
        assert!(read.is_valid(datetime!(2026-01-01 23:59 UTC).into()));
        assert!(!read.is_valid(datetime!(2026-01-02 00:00 UTC).into()));
        let mode = fs::metadata(path_in(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{read:?}"), "Identity(fra/n-1)");
    }

    #[test]
    fn a_certificate_must_name_one_node() {
        for uris in [
            &[][..],
            &["spiffe://tidegate/pop/fra"],
            &["spiffe://other/pop/fra/node/a"],
            &["spiffe://tidegate/pop/FRA/node/a"],
            &["spiffe://tidegate/pop/fra/node/a/b"],
            &["spiffe://tidegate/pop/fra/node/a", "spiffe://tidegate/pop/fra/node/b"],
        ] {
            let request = Request::new().unwrap();
            let chain = certified(&request.key_pem, uris);
            let answered = request.answered(chain.as_bytes());
            assert!(matches!(answered, Err(IdentityError::Name)), "{uris:?}");
        }
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let other = certified(
            &KeyPair::generate().unwrap().serialize_pem(),
            &["spiffe://tidegate/pop/fra/node/n"],
        );
        let answered = Request::new().unwrap().answered(other.as_bytes());
        assert!(matches!(answered, Err(IdentityError::OtherKey)));
        let no_pem = Request::new().unwrap().answered(b"hello");
        assert!(matches!(no_pem, Err(IdentityError::Certificate(_))));
    }
}
