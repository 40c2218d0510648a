//! How PoPs are asked over TLS: by their authority, or, without one, only whether they live.
//!
//! Invariant: nothing secret is ever sent over a connection of it.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tidegate_chassis::believe;
use tokio_rustls::TlsConnector;

/// A client that believes an authority, or takes any certificate when there is none.
pub(super) fn connector(ca_file: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS of the provider")?;
    let mut config = match ca_file {
        Some(path) => {
            let named = || format!("probe.ca_file {}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).with_context(named)? {
                roots.add(certificate.with_context(named)?).with_context(named)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => {
            // Looks for life, not for identity.
            let any = believe::anyone();
            builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
