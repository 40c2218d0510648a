//! The authority of an etcd cluster and the certificates that it signed, as files.
//!
//! One certificate for the members, which call each other with it, and one for who uses the cluster.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Files of a cluster.
pub(crate) struct ClusterTls {
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    /// Of every member.
    pub(crate) member: Pair,
    /// Of a replica of the control plane.
    pub(crate) client: Pair,
}

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl ClusterTls {
    /// Makes an authority and all that it signs, in a folder.
    pub(crate) fn make(folder: &Path) -> Self {
        let mut params = named("etcd authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random");
        let certificate = params.self_signed(&key).expect("good");
        let authority = folder.join("authority.pem");
        std::fs::write(&authority, certificate.pem()).expect("writable");
        let issuer = Issuer::new(params, key);
        let sign = |name: &str, params: &CertificateParams| {
            let key = KeyPair::generate().expect("random");
            let signed = params.signed_by(&key, &issuer).expect("good");
            let pair = Pair {
                certificate: folder.join(format!("{name}.pem")),
                key: folder.join(format!("{name}.key")),
            };
            std::fs::write(&pair.certificate, signed.pem()).expect("writable");
            std::fs::write(&pair.key, key.serialize_pem()).expect("writable");
            pair
        };
        let mut member = named("member");
        let here = "127.0.0.1".parse().expect("an address");
        member.subject_alt_names = vec![rcgen::SanType::IpAddress(here)];
        member.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let mut client = named("tidegate-control");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (member, client) = (sign("member", &member), sign("client", &client));
        Self { authority, member, client }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
