//! A certificate authority for one test, and a certificate of it for `localhost`.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// What was made, as text and as files.
pub struct Authority {
    pub ca_pem: String,
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Makes an authority and a certificate in a folder.
pub fn authority(folder: &Path) -> Authority {
    tidegate_chassis::init_crypto();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = leaf.signed_by(&key, &ca).unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    Authority {
        ca_pem: ca.pem(),
        ca_file: write("ca.pem", &ca.pem()),
        cert_file: write("cert.pem", &cert.pem()),
        key_file: write("key.pem", &key.serialize_pem()),
    }
}
