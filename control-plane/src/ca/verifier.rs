//! How client certificates are verified: by the authority, and a while longer than they last.
//!
//! A certificate that ended a short time ago still opens a connection, so that a node that was cut off can renew
//! it; what may be called with it is decided where calls are answered. Connections without a certificate are let
//! in, since enrolment begins with none.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};

use super::{Authority, Believed, CaError, peer};

/// The verifier of an authority's client certificates, whoever is believed at the time.
///
/// # Errors
/// [`CaError::Tls`] when TLS refuses the authority's certificate.
pub fn client_verifier(authority: &Arc<Authority>) -> Result<Arc<dyn ClientCertVerifier>, CaError> {
    let strict = ArcSwap::from_pointee(Strict::of(authority.believed())?);
    Ok(Arc::new(Lenient { authority: Arc::clone(authority), strict }))
}

struct Lenient {
    authority: Arc<Authority>,
    strict: ArcSwap<Strict>,
}

/// The rules of WebPKI with the roots of a moment.
struct Strict {
    of: Arc<Believed>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Strict {
    fn of(of: Arc<Believed>) -> Result<Self, CaError> {
        let tls = |error: &dyn fmt::Display| CaError::Tls(error.to_string());
        let mut roots = RootCertStore::empty();
        for one in &of.all {
            let certificate =
                CertificateDer::from_pem_slice(one.pem.as_bytes()).map_err(|e| tls(&e))?;
            roots.add(certificate).map_err(|e| tls(&e))?;
        }
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .allow_unauthenticated()
            .build()
            .map_err(|e| tls(&e))?;
        Ok(Self { of, verifier })
    }
}

impl Lenient {
    fn strict(&self) -> Arc<Strict> {
        let (known, believed) = (self.strict.load_full(), self.authority.believed());
        if Arc::ptr_eq(&known.of, &believed) {
            return known;
        }
        match Strict::of(believed) {
            Ok(strict) => {
                let strict = Arc::new(strict);
                self.strict.store(Arc::clone(&strict));
                strict
            }
            Err(error) => {
                tracing::error!(%error, "those who are believed stay as they were");
                known
            }
        }
    }
}

impl fmt::Debug for Lenient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lenient")
    }
}

impl ClientCertVerifier for Lenient {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let strict = &self.strict().verifier;
        let outcome = strict.verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) = outcome
        else {
            return outcome;
        };
        let Some(end) = peer::end_of(end_entity)
            .and_then(|end| end.duration_since(std::time::SystemTime::UNIX_EPOCH).ok())
        else {
            return outcome;
        };
        if Duration::from_secs(now.as_secs()) > end + self.authority.config.renew_grace {
            return outcome;
        }
        let at_its_end = UnixTime::since_unix_epoch(end);
        strict.verify_client_cert(end_entity, intermediates, at_its_end)
    }

    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A client has one certificate and needs no hint.
        &[]
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict().verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict().verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict().verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{CertificateParams, KeyPair};
    use tidegate_contract::id::{NodeId, PopId};

    use super::*;
    use crate::{ca::Config, store::NodeName};

    #[test]
    fn an_ended_certificate_is_good_for_the_grace_and_no_longer() {
        tidegate_chassis::init_crypto();
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let config = Config { renew_grace: Duration::from_secs(1000), ..Config::default() };
        let lifetime = config.node_lifetime.as_secs();
        let ca = Authority::open(folder.path(), vec![], config, now).expect("writable");
        let ca = Arc::new(ca);
        let key = KeyPair::generate().expect("random");
        let csr = CertificateParams::default().serialize_request(&key).expect("a good key");
        let name = NodeName {
            pop: PopId::parse("fra").expect("good"),
            node: NodeId::parse("n1").expect("good"),
        };
        let issued = ca.node_identity(&name, csr.der(), now).expect("a good request");
        let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("pem");
        let verifier = client_verifier(&ca).expect("our own");
        let unix_s = now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        for (after_s, is_good) in
            [(0, true), (lifetime + 10, true), (lifetime + 990, true), (lifetime + 1010, false)]
        {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(unix_s + after_s));
            let verdict = verifier.verify_client_cert(&leaf, &[], at);
            assert_eq!(verdict.is_ok(), is_good, "{after_s}: {verdict:?}");
        }
    }
}
