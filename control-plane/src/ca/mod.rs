//! The authority of one control plane: it knows nodes by certificates that it signed, and they know it.
//!
//! The key is made at the first start. Of what a node asks for, only the public key is taken; the name in a certificate
//! comes from the enrolment, never from the request. One authority signs; while it is replaced, others are believed
//! beside it.

mod server_identity;
mod verifier;
pub(crate) mod held;
mod peer;
pub(crate) mod files;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    SigningKey,
};
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::{
    store::{NodeName, StoreError},
    unix_time::unix_ms,
};

pub use held::Signer;
pub use peer::{Peer, PeerError};
pub use server_identity::ServerIdentity;
pub use verifier::client_verifier;

/// Settings of the authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long this control plane's own certificate is good; it is renewed at half of that.
    #[serde(with = "humantime_serde")]
    pub server_lifetime: Duration,
    /// How long a node's identity is good; nodes renew at half of that. Short, since there are no revocation lists.
    #[serde(with = "humantime_serde")]
    pub node_lifetime: Duration,
    /// How long after its end an identity may still be renewed, so that a long cut is not an outage.
    #[serde(with = "humantime_serde")]
    pub renew_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_lifetime: Duration::from_secs(30 * 24 * 3600),
            node_lifetime: Duration::from_secs(24 * 3600),
            renew_grace: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// The authority: signs identities.
pub struct Authority {
    data_dir: PathBuf,
    believed: ArcSwap<Believed>,
    server_names: Vec<String>,
    config: Config,
}

/// Whose certificates count.
pub struct Believed {
    /// The one that signs.
    pub signs: Arc<Signer>,
    /// All of them, the one that signs among them.
    pub all: Vec<Arc<Signer>>,
}

impl Believed {
    /// Whether this one signs and these are believed beside it, and nobody else.
    pub(crate) fn are(&self, signs: &str, beside: &[&str]) -> bool {
        let named =
            |one: &Arc<Signer>| one.sha256 == signs || beside.contains(&one.sha256.as_str());
        self.signs.sha256 == signs
            && self.all.len() == 1 + beside.len()
            && self.all.iter().all(named)
    }

    /// PEM of their certificates, the older first.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.all.iter().map(|one| one.pem.as_str()).collect()
    }
}

/// A certificate that was just signed.
pub struct Issued {
    /// PEM of the certificate.
    pub certificate_pem: String,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Its end.
    pub expires_unix_ms: u64,
}

/// Why the authority cannot be opened or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority cannot be used.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The certificate is there but its key is not.
    #[error("{} is there but {} is not: restore it, or move both away to begin anew", certificate.display(), key.display())]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The request is no certificate request, or its signature is wrong.
    #[error("not a certificate request: {0}")]
    Request(rcgen::Error),
    /// The folder does not hold an authority that it should.
    #[error("the authority {}… is not in the data folder", .0.get(..16).unwrap_or(.0))]
    Unknown(String),
    /// Keys or certificates cannot be made or read.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses the authority's own certificates.
    #[error("tls: {0}")]
    Tls(String),
}

impl Authority {
    /// Opens the authority of a data folder; makes it when there is none. `server_names` are the names under which
    /// this control plane is reached.
    ///
    /// # Errors
    /// [`CaError`]
    pub fn open(
        data_dir: &Path,
        server_names: Vec<String>,
        config: Config,
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let all = held::all(data_dir, now)?;
        let signs = Arc::clone(all.first().ok_or_else(|| CaError::Unknown(String::new()))?);
        let believed = ArcSwap::from_pointee(Believed { signs, all });
        Ok(Self { data_dir: data_dir.to_owned(), believed, server_names, config })
    }

    /// Whose certificates count now.
    #[must_use]
    pub fn believed(&self) -> Arc<Believed> {
        self.believed.load_full()
    }

    /// PEM of the certificates that count.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.believed().bundle_pem()
    }

    /// Lets one sign and these be believed, by what the store calls them; true when that is something else than before.
    ///
    /// # Errors
    /// [`CaError::Unknown`] when the folder lacks one of them; all stays as it was.
    pub(crate) fn believe(&self, signs: &str, beside: &[&str]) -> Result<bool, CaError> {
        let before = self.believed();
        let known = held::all(&self.data_dir, SystemTime::now())?;
        let find = |sha256: &str| {
            let found = known.iter().find(|one| one.sha256 == sha256);
            found.cloned().ok_or_else(|| CaError::Unknown(sha256.to_owned()))
        };
        let signs = find(signs)?;
        let mut all = vec![Arc::clone(&signs)];
        for sha256 in beside {
            all.push(find(sha256)?);
        }
        all.sort_by_key(|one| one.number());
        let names = |all: &[Arc<Signer>]| -> Vec<_> { all.iter().map(|o| o.mark).collect() };
        let is_news = before.signs.mark != signs.mark || names(&before.all) != names(&all);
        self.believed.store(Arc::new(Believed { signs, all }));
        Ok(is_news)
    }

    /// Makes the authority that comes next, and writes it down. Nobody believes it yet.
    ///
    /// # Errors
    /// [`CaError`]
    pub(crate) fn make_next(&self, now: SystemTime) -> Result<(Signer, String), CaError> {
        let last = held::all(&self.data_dir, now)?.last().map_or(0, |one| one.number());
        let next = Signer::make(&self.data_dir, last + 1, now)?;
        let key_pem = next.key_pem();
        Ok((next, key_pem))
    }

    /// Takes an authority that another replica made.
    ///
    /// # Errors
    /// [`CaError`]
    pub(crate) fn adopt(&self, number: u64, key_pem: &str, pem: String) -> Result<(), CaError> {
        Signer::adopt(&self.data_dir, number, key_pem, pem).map(drop)
    }

    /// Removes the files of an authority that nobody goes by any more.
    ///
    /// # Errors
    /// [`CaError`]
    pub(crate) fn forget(&self, sha256: &str) -> Result<(), CaError> {
        let is_believed = self.believed().all.iter().any(|one| one.sha256 == sha256);
        let known = held::all(&self.data_dir, SystemTime::now())?;
        match known.iter().find(|one| one.sha256 == sha256 && !is_believed) {
            Some(gone) => gone.remove(&self.data_dir),
            None => Ok(()),
        }
    }

    /// Signs a node's identity for the public key of a certificate request (DER).
    ///
    /// # Errors
    /// [`CaError::Request`] for a bad request.
    pub fn node_identity(
        &self,
        name: &NodeName,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let csr = CertificateSigningRequestDer::from(csr_der);
        let request = CertificateSigningRequestParams::from_der(&csr).map_err(CaError::Request)?;
        let mut params = leaf_params(now, self.config.node_lifetime);
        let uri = rcgen::string::Ia5String::try_from(spiffe_uri(name))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.distinguished_name = common_name(&name.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&request.public_key, &self.believed().signs.issuer)?;
        Ok(issued(&params, certificate.pem()))
    }

    /// Signs a statement of this control plane, which is never a certificate: those begin with the byte of a sequence.
    ///
    /// # Errors
    /// [`CaError`]
    pub(crate) fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, CaError> {
        Ok(self.believed().signs.issuer.key().sign(statement)?)
    }

    /// Whether the authority that signs now has signed a statement.
    pub(crate) fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        let believed = self.believed();
        let key = believed.signs.issuer.key().public_key_raw();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(statement, signature).is_ok()
    }

    /// Makes a key and certificate for this control plane's own listeners.
    ///
    /// # Errors
    /// [`CaError`] when a configured name is no name.
    fn server_identity(
        &self,
        now: SystemTime,
    ) -> Result<(rcgen::Certificate, PrivateKeyDer<'static>), CaError> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params(now, self.config.server_lifetime);
        let named = CertificateParams::new(self.server_names.clone())?;
        params.subject_alt_names = named.subject_alt_names;
        params.distinguished_name = common_name("tidegate-control");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.believed().signs.issuer)?;
        Ok((certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

/// The name of a node in its certificate.
#[must_use]
pub fn spiffe_uri(name: &NodeName) -> String {
    format!("{SPIFFE_PREFIX}{}/node/{}", name.pop, name.node)
}

fn authority_params(number: u64, now: SystemTime) -> CertificateParams {
    let mut params = leaf_params(now, AUTHORITY_LIFETIME);
    // Every one has a name of its own: by it a node tells which of them signed.
    let number = if number == 1 { String::new() } else { format!(" {number}") };
    params.distinguished_name = common_name(&format!("Tidegate control plane authority{number}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(now: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + lifetime).into();
    params.serial_number = Some(random_serial());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// 127 random bits behind a leading 1, so that no leading zero is lost on the way through DER.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn issued(params: &CertificateParams, certificate_pem: String) -> Issued {
    let serial = params.serial_number.as_ref().expect("leaf_params sets it").to_bytes();
    let expires_unix_ms = unix_ms(params.not_after.into());
    Issued { certificate_pem, serial, expires_unix_ms }
}

const SPIFFE_PREFIX: &str = "spiffe://tidegate/pop/";
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far a node's clock may be behind this one's.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tidegate_contract::id::{NodeId, PopId};

    use super::*;

    fn name() -> NodeName {
        NodeName {
            pop: PopId::parse("fra").expect("good"),
            node: NodeId::parse("n1").expect("good"),
        }
    }

    fn csr(key: &KeyPair) -> Vec<u8> {
        let params = CertificateParams::new(vec!["evil.example".into()]).expect("a name");
        params.serialize_request(key).expect("a good key").der().to_vec()
    }

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let open = || Authority::open(folder.path(), vec![], Config::default(), now);
        let first = open().expect("writable").bundle_pem();
        assert_eq!(open().expect("readable").bundle_pem(), first);
        let mode = folder.path().join("ca.key").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(folder.path().join("ca.key")).expect("there");
        assert!(matches!(open().err(), Some(CaError::KeyMissing { .. })), "no second key is made");
    }

    #[test]
    fn an_identity_names_the_enrolled_node_and_not_what_the_request_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let ca = Authority::open(folder.path(), vec![], Config::default(), now);
        let ca = ca.expect("writable");
        let key = KeyPair::generate().expect("random");
        let issued = ca.node_identity(&name(), &csr(&key), now).expect("a good request");
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(issued.certificate_pem.as_bytes()).expect("pem");
        let peer = Peer::from_der(&pem.contents).expect("our own");
        assert_eq!((&peer.name, &peer.serial), (&name(), &issued.serial));
        assert!(!issued.certificate_pem.contains("evil"));
        assert!(matches!(ca.node_identity(&name(), b"junk", now), Err(CaError::Request(_))));
    }
}
