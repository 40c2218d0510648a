//! Who stands behind a client certificate.
//!
//! The name is read from the one URI in the certificate, after TLS has verified the chain; anything else in the
//! certificate is ignored.

use std::time::{Duration, SystemTime};

use tidegate_contract::id::{NodeId, PopId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::SPIFFE_PREFIX;
use crate::store::NodeName;

/// A node as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub name: NodeName,
    /// The certificate's serial number.
    pub serial: Vec<u8>,
    /// The certificate's end.
    pub expires: SystemTime,
}

/// Why a certificate names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not a certificate.
    #[error("not a certificate")]
    Syntax,
    /// Not exactly one URI of the form `spiffe://tidegate/pop/<pop>/node/<node>`.
    #[error("the certificate names no node")]
    Name,
}

impl Peer {
    /// Reads a certificate (DER) that TLS has verified.
    ///
    /// # Errors
    /// [`PeerError`]
    pub fn from_der(der: &[u8]) -> Result<Self, PeerError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Syntax)?;
        let names = certificate.subject_alternative_name().map_err(|_| PeerError::Syntax)?;
        let [GeneralName::URI(uri)] = names.ok_or(PeerError::Name)?.value.general_names[..] else {
            return Err(PeerError::Name);
        };
        Ok(Self {
            name: parse_uri(uri).ok_or(PeerError::Name)?,
            serial: certificate.raw_serial().to_vec(),
            expires: not_after(&certificate),
        })
    }
}

/// The end of a certificate (DER); `None` when it is none.
pub(super) fn end_of(der: &[u8]) -> Option<SystemTime> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| not_after(&certificate))
}

fn not_after(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn parse_uri(uri: &str) -> Option<NodeName> {
    let (pop, node) = uri.strip_prefix(SPIFFE_PREFIX)?.split_once("/node/")?;
    Some(NodeName { pop: PopId::parse(pop).ok()?, node: NodeId::parse(node).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_a_node_names_a_node() {
        let good = parse_uri("spiffe://tidegate/pop/fra/node/n1").expect("good");
        assert_eq!(good.to_string(), "fra/n1");
        for bad in [
            "spiffe://other/pop/fra/node/n1",
            "spiffe://tidegate/pop/fra",
            "spiffe://tidegate/pop/fra/node/",
            "spiffe://tidegate/pop//node/n1",
            "spiffe://tidegate/pop/fra/node/n1/node/n2",
            "https://tidegate/pop/fra/node/n1",
        ] {
            assert!(parse_uri(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert_eq!(Peer::from_der(b"junk"), Err(PeerError::Syntax));
        assert_eq!(end_of(b""), None);
    }
}
