//! The demo's own authority and the certificate that its PoPs show to players.
//!
//! The authority is kept, so that a browser that was told to trust it goes on doing so; the PoPs' certificate is
//! made anew at every start. The key never leaves the data folder.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::{
    layout::Layout,
    steering::{SITES, STEERED_NAME, STEERING_HOST, STEERING_NAME},
};

/// Makes sure of the authority and writes a fresh certificate for this machine's own names.
pub(super) fn prepare(layout: &Layout) -> anyhow::Result<()> {
    if !layout.ca_certificate().exists() || !layout.ca_key().exists() {
        make_authority(layout)?;
    }
    let ca_pem = read(&layout.ca_certificate())?;
    let ca_key = KeyPair::from_pem(&read(&layout.ca_key())?).context("the demo CA's key")?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).context("the demo CA's certificate")?;

    let key = KeyPair::generate().context("cannot draw a key")?;
    let own = ["localhost", "127.0.0.1", "::1", STEERING_HOST, STEERING_NAME, STEERED_NAME];
    let own = own.map(str::to_owned);
    let sites = SITES.iter().map(|site| site.address().to_string());
    let names: Vec<_> = own.into_iter().chain(sites).collect();
    let mut params = CertificateParams::new(names).context("plain names")?;
    params.distinguished_name = named("Tidegate demo PoP");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::days(90));
    let certificate = params.signed_by(&key, &issuer).context("cannot sign")?;
    write(&layout.pop_certificate(), &certificate.pem(), 0o644)?;
    write(&layout.pop_key(), &key.serialize_pem(), 0o600)
}

fn make_authority(layout: &Layout) -> anyhow::Result<()> {
    let key = KeyPair::generate().context("cannot draw a key")?;
    let mut params = CertificateParams::new(Vec::<String>::new()).context("no names")?;
    params.distinguished_name = named("Tidegate demo CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::days(3650));
    let certificate = params.self_signed(&key).context("cannot sign")?;
    write(&layout.ca_key(), &key.serialize_pem(), 0o600)?;
    write(&layout.ca_certificate(), &certificate.pem(), 0o644)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
