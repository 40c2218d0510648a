//! Certificates as clients see them, and sessions that are resumed.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tidegate_contract::{
    certificate::{Certificate, KeyPem},
    id::{Generation, PopId},
    snapshot::{PopRole, Snapshot},
    tier::TierKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Edge, client_of_anyone, within};

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
            let mut tls = connect(&edge, &connector, name).await;
            let expected = if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full };
            assert_eq!(kind(&tls), expected, "{name}");
            exchange(&mut tls).await;
        }
    }
}

#[tokio::test]
async fn nodes_of_one_control_plane_resume_each_others_sessions() {
    let (one, other) = (Edge::start().await, Edge::start().await);
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"http/1.1"])));
    let mut tls = connect(&one, &connector, "localhost").await;
    exchange(&mut tls).await;
    assert_eq!(kind(&connect(&other, &connector, "localhost").await), HandshakeKind::Full);

    for edge in [&one, &other] {
        edge.certificates.install(&snapshot(vec![])).unwrap();
    }
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"http/1.1"])));
    let mut tls = connect(&one, &connector, "localhost").await;
    assert_eq!(kind(&tls), HandshakeKind::Full);
    exchange(&mut tls).await;
    let mut tls = connect(&other, &connector, "localhost").await;
    assert_eq!(kind(&tls), HandshakeKind::Resumed);
    exchange(&mut tls).await;
    other
        .expect_metric("edge_tls_handshakes_total", &[("version", "1.3"), ("kind", "resumed")], 1.0)
        .await;
}

#[tokio::test]
async fn certificates_of_a_snapshot_are_shown_without_dropping_a_connection() {
    let edge = Edge::start().await;
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"http/1.1"])));
    let mut before = connect(&edge, &connector, "video.test").await;
    let self_signed = shown(&before);

    edge.certificates.install(&snapshot(vec![certificate("video.test")])).unwrap();
    let installed = shown(&connect(&edge, &connector, "video.test").await);
    assert_ne!(installed, self_signed);
    assert_eq!(shown(&connect(&edge, &connector, "other.test").await), self_signed);
    exchange(&mut before).await;

    edge.certificates.install(&snapshot(vec![certificate("video.test")])).unwrap();
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"http/1.1"])));
    assert_ne!(shown(&connect(&edge, &connector, "video.test").await), installed, "renewed");
    exchange(&mut before).await;
}

#[tokio::test]
async fn without_a_certificate_there_is_no_handshake_until_a_snapshot_brings_one() {
    let edge = Edge::with(|config| {
        config.tls.self_signed = false;
        config.tls.from_snapshot = true;
    })
    .await;
    let connector = TlsConnector::from(Arc::new(client_of_anyone(&[b"http/1.1"])));
    let tcp = TcpStream::connect(edge.https).await.unwrap();
    let name = ServerName::try_from("video.test").unwrap();
    assert!(within(connector.connect(name, tcp)).await.is_err());
    edge.certificates.install(&snapshot(vec![certificate("video.test")])).unwrap();
    exchange(&mut connect(&edge, &connector, "video.test").await).await;
}

async fn connect(
    edge: &Edge,
    connector: &TlsConnector,
    name: &'static str,
) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(edge.https).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    within(connector.connect(name, tcp)).await.unwrap()
}

fn kind(tls: &TlsStream<TcpStream>) -> HandshakeKind {
    tls.get_ref().1.handshake_kind().unwrap()
}

fn shown(tls: &TlsStream<TcpStream>) -> Vec<u8> {
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn certificate(name: &str) -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    Certificate {
        names: vec![name.to_owned()],
        chain_pem: made.cert.pem(),
        key_pem: KeyPem::new(made.signing_key.serialize_pem()),
    }
}

fn snapshot(certificates: Vec<Certificate>) -> Snapshot {
    Snapshot {
        generation: Generation(1),
        pop: PopId::parse("fra").unwrap(),
        role: PopRole::Edge,
        properties: vec![],
        tier_key: TierKey::new([7; 32]),
        shields: vec![],
        certificates,
    }
}

/// One H1 exchange, so that TLS 1.3's tickets, which come after the handshake, are read.
async fn exchange(tls: &mut TlsStream<TcpStream>) {
    tls.write_all(b"GET /bytes/0 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tls.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = within(tls.read_buf(&mut answer)).await.unwrap();
        assert!(read > 0, "the edge closed");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
}
