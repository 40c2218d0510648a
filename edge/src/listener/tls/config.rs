//! Which certificates a node shows, by its files.
//!
//! Invariant: a TLS listener that could answer nobody is refused at start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Section `[listen.tls]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate chain, leaf first; answers every name that has no certificate
    /// of its own. Default none.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. Default none.
    pub key: Option<PathBuf>,
    /// Make a certificate for localhost at start instead of reading files; for trying out only.
    /// Default false.
    pub self_signed: bool,
    /// Start without a certificate: they come with the snapshots of the control plane, and until then no handshake
    /// succeeds. Default false, so that a forgotten file is noticed.
    pub from_snapshot: bool,
    /// Further certificates, chosen by the name the client asks for (SNI). Several may name one host, with keys of
    /// different kinds; the name `*` stands for every host without a certificate of its own. Default none.
    pub sni: Vec<NamedCertificate>,
}

/// One entry of `[[listen.tls.sni]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCertificate {
    /// Host names this certificate answers; `*.example.com` covers one label.
    pub names: Vec<String>,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Config {
    /// Refuses a TLS listener without a certificate.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<(), ConfigError> {
        match (&self.certificate, &self.key, self.self_signed) {
            (Some(_), Some(_), false) | (None, None, true) => Ok(()),
            (Some(_), _, true) | (_, Some(_), true) => Err(ConfigError::Both),
            (None, None, false) if self.from_snapshot => Ok(()),
            (None, None, false) => Err(ConfigError::Neither),
            (Some(_), None, false) | (None, Some(_), false) => Err(ConfigError::Half),
        }
    }
}

/// Why the certificate settings cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A certificate file and a self-signed one were asked for.
    #[error("listen.tls.self_signed is true, but a certificate or key file is also named")]
    Both,
    /// TLS was asked for without any certificate.
    #[error(
        "listen.https needs listen.tls.certificate and listen.tls.key, self_signed = true, or from_snapshot = true"
    )]
    Neither,
    /// Only one of the two files is named.
    #[error("listen.tls.certificate and listen.tls.key must be named together")]
    Half,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_exactly_one_source_of_the_certificate() {
        let path = || Some(PathBuf::from("x"));
        for (certificate, key, self_signed, from_snapshot, expected) in [
            (path(), path(), false, false, Ok(())),
            (path(), path(), false, true, Ok(())),
            (None, None, true, false, Ok(())),
            (None, None, false, true, Ok(())),
            (None, None, false, false, Err(ConfigError::Neither)),
            (path(), None, false, true, Err(ConfigError::Half)),
            (None, path(), false, false, Err(ConfigError::Half)),
            (path(), path(), true, false, Err(ConfigError::Both)),
            (None, path(), true, false, Err(ConfigError::Both)),
        ] {
            let config = Config { certificate, key, self_signed, from_snapshot, sni: Vec::new() };
            assert_eq!(config.check(), expected, "{config:?}");
        }
    }
}
