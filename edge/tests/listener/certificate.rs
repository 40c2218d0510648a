//! Certificates as clients see them.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Edge, within};

#[tokio::test]
async fn a_client_that_trusts_the_self_signed_certificate_connects_by_name_and_address() {
    let edge = Edge::start().await;
    let certificate = CertificateDer::from_pem_slice(edge.pem.as_ref().unwrap().as_bytes());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.unwrap()).unwrap();
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        for (name, resumes) in [("localhost", false), ("127.0.0.1", false), ("localhost", true)] {
            let tcp = TcpStream::connect(edge.https).await.unwrap();
            let server = ServerName::try_from(name).unwrap();
            let mut tls = within(connector.connect(server, tcp)).await.unwrap();
            let kind = tls.get_ref().1.handshake_kind().unwrap();
            let expected =
                if resumes { rustls::HandshakeKind::Resumed } else { rustls::HandshakeKind::Full };
            assert_eq!(kind, expected, "{name}");
            exchange(&mut tls).await;
        }
    }
}

/// One H1 exchange, so that TLS 1.3's tickets, which come after the handshake, are read.
async fn exchange(tls: &mut tokio_rustls::client::TlsStream<TcpStream>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    tls.write_all(b"GET /bytes/3 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tls.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = within(tls.read_buf(&mut answer)).await.unwrap();
        assert!(read > 0, "the edge closed");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
}
