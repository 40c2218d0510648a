//! A client of TLS 1.2 that wants to negotiate anew, with records that are made by hand.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, RootCertStore,
    crypto::aws_lc_rs::{
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, default_provider,
    },
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::harness::{Edge, within};

#[tokio::test]
async fn a_client_that_negotiates_anew_is_told_at_once_that_it_cannot_and_goes_on() {
    let edge = Edge::start().await;
    let (mut tcp, [mut ours, mut theirs]) = connect(&edge).await;
    let hello = [&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xcc, 0xa9, 1, 0]].concat();
    tcp.write_all(&ours.seal(HANDSHAKE, &hello)).await.unwrap();
    let warning = within(theirs.open(&mut tcp)).await;
    assert_eq!(warning, (ALERT, vec![WARNING, NO_RENEGOTIATION]));
    let request = b"GET /bytes/0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tcp.write_all(&ours.seal(CONTENT, request)).await.unwrap();
    let (kind, answer) = within(theirs.open(&mut tcp)).await;
    assert!(kind == CONTENT && answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{kind} {answer:?}");
}

/// Shakes hands, and takes the keys of both directions out.
async fn connect(edge: &Edge) -> (TcpStream, [Direction; 2]) {
    let certificate = CertificateDer::from_pem_slice(edge.pem.as_ref().unwrap().as_bytes());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.unwrap()).unwrap();
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let tcp = TcpStream::connect(edge.https).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap();
    let (tcp, session) = tls.into_inner();
    let secrets = session.dangerous_extract_secrets().unwrap();
    (tcp, [secrets.tx, secrets.rx].map(Direction::of))
}

/// The records of one direction (RFC 5246 6.2.3.3, RFC 7905).
struct Direction {
    number: u64,
    key: LessSafeKey,
    iv: [u8; 12],
}

impl Direction {
    fn of((number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            panic!("another suite")
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).unwrap();
        Self { number, key: LessSafeKey::new(key), iv: iv.as_ref().try_into().unwrap() }
    }

    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let (nonce, aad) = self.next(kind, content.len());
        let mut sealed = content.to_vec();
        self.key.seal_in_place_append_tag(nonce, aad, &mut sealed).unwrap();
        [&[kind, 3, 3], &(sealed.len() as u16).to_be_bytes()[..], &sealed].concat()
    }

    async fn open(&mut self, tcp: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        tcp.read_exact(&mut head).await.unwrap();
        let mut sealed = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        tcp.read_exact(&mut sealed).await.unwrap();
        let (nonce, aad) = self.next(head[0], sealed.len() - TAG_BYTES);
        let content = self.key.open_in_place(nonce, aad, &mut sealed).unwrap().to_vec();
        (head[0], content)
    }

    fn next(&mut self, kind: u8, length: usize) -> (Nonce, Aad<Vec<u8>>) {
        let number = self.number.to_be_bytes();
        self.number += 1;
        let mut nonce = self.iv;
        for (byte, other) in nonce[4..].iter_mut().zip(number) {
            *byte ^= other;
        }
        let aad = [&number[..], &[kind, 3, 3], &(length as u16).to_be_bytes()].concat();
        (Nonce::assume_unique_for_key(nonce), Aad::from(aad))
    }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CONTENT: u8 = 23;
const WARNING: u8 = 1;
const NO_RENEGOTIATION: u8 = 100;
const TAG_BYTES: usize = 16;
