//! A certificate with its private key, as the control plane hands it to the PoPs that serve its names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most names of one certificate; public authorities allow 100.
pub const NAMES_MAX: usize = 100;
/// The longest chain, in bytes of PEM.
pub const CHAIN_BYTES_MAX: usize = 64 * 1024;
/// The longest private key, in bytes of PEM; RSA with 8192 bits has about 6500.
pub const KEY_BYTES_MAX: usize = 16 * 1024;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The host names that it answers, in lower case; `*.example.com` covers one label.
    pub names: Vec<String>,
    /// The chain, leaf first.
    pub chain_pem: String,
    /// The private key of the leaf.
    pub key_pem: KeyPem,
}

/// A private key. Not shown by `Debug`; on disk only in files that its owner alone may read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyPem(String);

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No name, or more than [`NAMES_MAX`].
    #[error("a certificate answers 1 to {NAMES_MAX} names, this one {0}")]
    Names(usize),
    /// Not a host name in lower case, with or without a wildcard in front.
    #[error("certificate for {0:?}: not a host name in lower case")]
    Name(String),
    /// Not PEM, or larger than allowed.
    #[error("certificate for {name:?}: its {part} is no PEM of at most {bytes_max} bytes")]
    Pem {
        /// The first name.
        name: String,
        /// `chain` or `key`.
        part: &'static str,
        /// The limit.
        bytes_max: usize,
    },
}

impl Certificate {
    /// Checks what the types cannot; whether chain and key belong together is for the PoP to find out.
    ///
    /// # Errors
    /// The first [`CertificateError`] found.
    pub fn check(&self) -> Result<(), CertificateError> {
        let (1..=NAMES_MAX, Some(first)) = (self.names.len(), self.names.first()) else {
            return Err(CertificateError::Names(self.names.len()));
        };
        if let Some(bad) = self.names.iter().find(|name| !is_name(name)) {
            return Err(CertificateError::Name(bad.clone()));
        }
        for (part, pem, bytes_max) in
            [("chain", &self.chain_pem, CHAIN_BYTES_MAX), ("key", &self.key_pem.0, KEY_BYTES_MAX)]
        {
            if pem.len() > bytes_max || !pem.contains("-----BEGIN ") {
                return Err(CertificateError::Pem { name: first.clone(), part, bytes_max });
            }
        }
        Ok(())
    }
}

impl KeyPem {
    /// A private key in PEM.
    #[must_use]
    pub fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The key itself, for whoever signs with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPem(…)")
    }
}

fn is_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        let is_plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_plain)
    };
    name.len() <= 255 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        Certificate {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            chain_pem: "-----BEGIN CERTIFICATE-----\n".into(),
            key_pem: KeyPem::new("-----BEGIN PRIVATE KEY-----\nhidden".into()),
        }
    }

    #[test]
    fn names_are_host_names_with_at_most_a_wildcard_in_front() {
        for good in ["a.test", "*.a.test", "localhost", "xn--bcher-kva.example", "a_b.test"] {
            assert_eq!(certificate(&[good]).check(), Ok(()), "{good}");
        }
        for bad in ["", "*", "*.", "a.*.test", "A.test", "a..test", ".a", "a b", "a:443", "ä.test"]
        {
            assert!(matches!(certificate(&[bad]).check(), Err(CertificateError::Name(_))), "{bad}");
        }
        assert_eq!(certificate(&[]).check(), Err(CertificateError::Names(0)));
        assert_eq!(certificate(&["a"; 101]).check(), Err(CertificateError::Names(101)));
    }

    #[test]
    fn chain_and_key_are_pem_of_a_bounded_size() {
        let mut large = certificate(&["a.test"]);
        large.chain_pem.push_str(&"x".repeat(CHAIN_BYTES_MAX));
        assert!(matches!(large.check(), Err(CertificateError::Pem { part: "chain", .. })));
        let keyless =
            Certificate { key_pem: KeyPem::new(String::new()), ..certificate(&["a.test"]) };
        assert!(matches!(keyless.check(), Err(CertificateError::Pem { part: "key", .. })));
    }

    #[test]
    fn the_key_travels_but_is_not_shown() {
        let sent = certificate(&["a.test"]);
        assert!(!format!("{sent:?}").contains("hidden"));
        let text = serde_json::to_string(&sent).expect("plain values");
        assert_eq!(serde_json::from_str::<Certificate>(&text).expect("what was written"), sent);
        assert!(text.contains("hidden"));
    }
}
