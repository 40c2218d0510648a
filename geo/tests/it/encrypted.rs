//! The encrypted transports, asked by kdig where it can and by clients of our own.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::dnssec_node::{Authority, SignedNode, has};

#[test]
fn kdig_is_answered_over_tls_https_and_quic() {
    if !has("kdig", "knot-dnsutils") {
        return;
    }
    let node = SignedNode::start(|_| {});
    let ca = format!("+tls-ca={}", node.folder().join("ca.crt").display());
    for (listener, options) in [
        ("dot", &["+tls"][..]),
        ("doh", &["+https=/dns-query"]),
        ("doh", &["+https=/dns-query", "+https-get"]),
        ("doq", &["+quic"]),
    ] {
        let asked =
            [&[&ca[..], "+tls-hostname=dns.test", "+dnssec", "video.example", "A"], options];
        let said = node.kdig_at(listener, &asked.concat());
        for expected in ["status: NOERROR", "RRSIG", "PADDING", "Received 468 B"] {
            assert!(said.contains(expected), "{listener} {options:?}: {expected}: {said}");
        }
        assert!(node.metric("geo_queries_total", &[("transport", listener)]) >= 1.0, "{listener}");
    }
}

#[test]
fn the_same_is_said_over_every_transport() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        let mut tls = trust.tls(node.address("dot"), b"dot").await;
        let dot = exchange(&mut tls, &asked).await.expect("answered");
        let connection = trust.quic(node.address("doq"), b"doq").await;
        let doq = stream(&connection, &framed(&asked)).await.expect("answered");
        let (doh3, cache) = post_h3(&trust, node.address("doh3"), "/dns-query", &asked).await;
        assert_eq!(cache.as_deref(), Some("private, max-age=20"));
        assert_eq!((dot.len() % 468, &dot), (0, &doq));
        assert_eq!(dot, doh3.expect("answered"));
        let message = Message::from_vec(&dot).expect("a message");
        assert!(!message.answers.is_empty());

        // Without EDNS there is nothing to pad with.
        let plain = exchange(&mut tls, &query(9, "video.example.", false)).await.expect("answered");
        assert!(plain.len() < 468 && plain[..2] == [0, 9]);
    });
}

#[test]
fn queries_of_a_connection_are_answered_until_it_has_had_enough() {
    let node = SignedNode::start(|config| config.encrypted.queries_max = 3);
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        let mut tls = trust.tls(node.address("dot"), b"dot").await;
        let quic = trust.quic(node.address("doq"), b"doq").await;
        for n in 0..3 {
            assert!(exchange(&mut tls, &asked).await.is_some(), "{n}");
            assert!(stream(&quic, &framed(&asked)).await.is_some(), "{n}");
        }
        assert!(exchange(&mut tls, &asked).await.is_none());
        let closed = timeout(WAIT, quic.closed()).await.expect("it is closed");
        assert!(closed.to_string().contains("closed by peer"), "{closed}");
    });
    for transport in ["dot", "doq"] {
        let ended = [("transport", transport), ("reason", "queries")];
        assert_eq!(
            node.metric("geo_encrypted_connections_ended_total", &ended),
            1.0,
            "{transport}"
        );
    }
}

#[test]
fn a_client_has_so_many_connections() {
    let node = SignedNode::start(|config| {
        config.encrypted.connections_per_client_max = 2;
        config.encrypted.handshake = Duration::from_secs(600);
    });
    let trust = Trust::of(&node);
    let open = |transport| node.metric("geo_encrypted_connections", &[("transport", transport)]);
    let silent = node.block_on(async {
        let connect = || TcpStream::connect(node.address("dot"));
        (connect().await.expect("there"), connect().await.expect("there"))
    });
    node.wait("both are open", || open("dot") == 2.0);
    node.block_on(async {
        assert!(trust.try_tls(node.address("dot"), b"dot").await.is_err(), "a third");
    });
    assert_eq!(ended(&node, "dot", "client"), 1.0);
    drop(silent);
    node.wait("both are gone", || open("dot") == 0.0);

    node.block_on(async {
        let two = [
            trust.quic(node.address("doq"), b"doq").await,
            trust.quic(node.address("doq"), b"doq").await,
        ];
        // The handshake may be over at this side before it is refused at the other.
        if let Ok(third) = trust.try_quic(node.address("doq"), b"doq").await {
            let closed = timeout(WAIT, third.closed()).await.expect("it is closed");
            assert_eq!(closed.to_string(), "closed by peer: 4");
        }
        drop(two);
    });
    assert_eq!(ended(&node, "doq", "client"), 1.0);
}

#[test]
fn handshakes_that_do_not_come_end() {
    let node = SignedNode::start(|config| config.encrypted.handshake = Duration::from_millis(100));
    for listener in ["dot", "doh"] {
        node.block_on(async {
            let mut silent = TcpStream::connect(node.address(listener)).await.expect("there");
            let read = timeout(WAIT, silent.read(&mut [0])).await.expect("it is closed");
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        });
        assert_eq!(ended(&node, listener, "handshake"), 1.0);
    }
}

#[test]
fn silent_connections_end() {
    // Long enough for a handshake on a machine that is busy.
    let node = SignedNode::start(|config| config.encrypted.idle = Duration::from_secs(3));
    let trust = Trust::of(&node);
    let connections = node.block_on(async {
        let quic = trust.quic(node.address("doq"), b"doq").await;
        let h3 = trust.quic(node.address("doh3"), b"h3").await;
        let tls = trust.tls(node.address("dot"), b"dot").await;
        let https = trust.tls(node.address("doh"), b"h2").await;
        (quic, h3, tls, https)
    });
    for transport in ["dot", "doh", "doq", "doh3"] {
        let labels = [("transport", transport)];
        let open = || node.metric("geo_encrypted_connections", &labels);
        node.wait("silent connections end", || open() == 0.0);
    }
    assert_eq!(ended(&node, "dot", "idle"), 1.0);
    drop(connections);
}

fn ended(node: &SignedNode, transport: &str, reason: &str) -> f64 {
    let labels = [("transport", transport), ("reason", reason)];
    node.metric("geo_encrypted_connections_ended_total", &labels)
}

#[test]
fn a_client_that_breaks_the_rules_of_quic_loses_its_connection() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    node.block_on(async {
        for (what, bytes) in [
            ("an ID", framed(&query(7, "video.example.", true))),
            ("two messages", framed(&query(0, "video.example.", true)).repeat(2)),
            ("nothing", vec![]),
            ("no message", framed(b"\x00\x00hello")),
        ] {
            let connection = trust.quic(node.address("doq"), b"doq").await;
            assert!(stream(&connection, &bytes).await.is_none(), "{what}");
            let closed = timeout(WAIT, connection.closed()).await.expect("it is closed");
            assert!(closed.to_string() == "closed by peer: 2", "{what}: {closed}");
        }
        // One that is too long loses only its stream.
        let connection = trust.quic(node.address("doq"), b"doq").await;
        assert!(stream(&connection, &vec![0; 5000]).await.is_none());
        let asked = framed(&query(0, "video.example.", true));
        assert!(stream(&connection, &asked).await.is_some());
    });
}

#[test]
fn requests_that_are_no_queries_have_a_status() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let asked = query(0, "video.example.", true);
    node.block_on(async {
        let address = node.address("doh3");
        let (answer, _) = post_h3(&trust, address, "/other", &asked).await;
        assert_eq!(answer, Err(404));
        let (answer, _) = post_h3(&trust, address, "/dns-query", &vec![0; 5000]).await;
        assert_eq!(answer, Err(413));
        let (answer, _) = post_h3(&trust, address, "/dns-query", b"").await;
        assert_eq!(answer, Err(400));
    });
}

#[test]
fn another_certificate_is_shown_without_a_restart() {
    let node = SignedNode::start(|_| {});
    let before = Trust::of(&node);
    let other = Authority::new();
    fs::write(node.folder().join("dns.key"), "not yet whole").expect("writable");
    let failures = || node.metric("geo_encrypted_certificate_reload_failures_total", &[]);
    node.wait("it is noticed", || failures() >= 1.0);
    node.block_on(async {
        before.tls(node.address("dot"), b"dot").await;
    });
    other.certify(node.folder());
    let after = Trust::of(&node);
    node.wait("the new one is shown", || {
        node.block_on(after.try_tls(node.address("dot"), b"dot")).is_ok()
    });
    node.block_on(async {
        assert!(before.try_tls(node.address("dot"), b"dot").await.is_err());
        after.quic(node.address("doq"), b"doq").await;
    });
}

#[test]
fn protocols_are_told_apart_by_name() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    node.block_on(async {
        for (listener, alpn) in [("dot", &b"h2"[..]), ("doh", b"dot"), ("doh", b"http/1.1")] {
            let made = trust.try_tls(node.address(listener), alpn).await;
            assert!(made.is_err(), "{listener}");
        }
        assert!(trust.try_quic(node.address("doq"), b"h3").await.is_err());
        assert!(trust.try_quic(node.address("doh3"), b"doq").await.is_err());
    });
}

#[test]
fn a_drain_answers_what_was_asked_and_closes() {
    let node = SignedNode::start(|_| {});
    let trust = Trust::of(&node);
    let (mut tls, quic) = node.block_on(async {
        let tls = trust.tls(node.address("dot"), b"dot").await;
        (tls, trust.quic(node.address("doq"), b"doq").await)
    });
    node.drain();
    node.block_on(async {
        let mut rest = vec![];
        let read = timeout(WAIT, tls.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(read.is_ok() && rest.is_empty(), "{read:?}");
        timeout(WAIT, quic.closed()).await.expect("it is closed");
    });
}

/// What clients believe.
struct Trust(Arc<RootCertStore>);

impl Trust {
    /// The authority whose certificate lies in the node's folder.
    fn of(node: &SignedNode) -> Self {
        let mut roots = RootCertStore::empty();
        let ca =
            CertificateDer::from_pem_file(node.folder().join("ca.crt")).expect("a certificate");
        roots.add(ca).expect("good");
        Self(Arc::new(roots))
    }

    fn config(&self, alpn: &[u8]) -> ClientConfig {
        let mut config =
            ClientConfig::builder().with_root_certificates(self.0.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    async fn tls(&self, address: SocketAddr, alpn: &[u8]) -> TlsStream<TcpStream> {
        self.try_tls(address, alpn).await.expect("a handshake")
    }

    async fn try_tls(
        &self,
        address: SocketAddr,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::new(self.config(alpn)));
        let name = ServerName::try_from("dns.test").expect("a name");
        timeout(WAIT, connector.connect(name, stream)).await.expect("in time")
    }

    async fn quic(&self, address: SocketAddr, alpn: &[u8]) -> quinn::Connection {
        self.try_quic(address, alpn).await.expect("a handshake")
    }

    async fn try_quic(
        &self,
        address: SocketAddr,
        alpn: &[u8],
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        let crypto = QuicClientConfig::try_from(self.config(alpn)).expect("TLS 1.3");
        let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        endpoint.connect(address, "dns.test").expect("an address").await
    }
}

fn query(id: u16, name: &str, has_edns: bool) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    if has_edns {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true).options_mut().insert(EdnsOption::Unknown(12, vec![0; 20]));
        message.set_edns(edns);
    }
    message.to_vec().expect("good")
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// A query and its answer on a TLS connection; `None` when it is closed instead.
async fn exchange(stream: &mut TlsStream<TcpStream>, query: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(&framed(query)).await.ok()?;
    let length = timeout(WAIT, stream.read_u16()).await.expect("in time").ok()?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

/// What comes back on a stream of a QUIC connection, without its length; `None` when the stream or the connection ends.
async fn stream(connection: &quinn::Connection, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    // The other side may stop it before all is written.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let answer = timeout(WAIT, receive.read_to_end(70_000)).await.expect("in time").ok()?;
    let (length, answer) = answer.split_first_chunk::<2>()?;
    assert_eq!(usize::from(u16::from_be_bytes(*length)), answer.len());
    Some(answer.to_vec())
}

/// A POST over HTTP/3: the body or the status, and what is said about keeping it.
async fn post_h3(
    trust: &Trust,
    address: SocketAddr,
    path: &str,
    body: &[u8],
) -> (Result<Vec<u8>, u16>, Option<String>) {
    let connection = trust.quic(address, b"h3").await;
    let (mut driver, mut client) =
        h3::client::new(h3_quinn::Connection::new(connection)).await.expect("HTTP/3");
    let driven = tokio::spawn(async move { driver.wait_idle().await });
    let request = http::Request::post(format!("https://dns.test{path}"))
        .header("content-type", "application/dns-message")
        .body(())
        .expect("good");
    let mut stream = client.send_request(request).await.expect("sent");
    // The other side may refuse it before all is sent.
    let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
    let _ = stream.finish().await;
    let response =
        timeout(WAIT, stream.recv_response()).await.expect("in time").expect("an answer");
    let cache = response.headers().get("cache-control").and_then(|value| value.to_str().ok());
    let cache = cache.map(str::to_owned);
    if response.status() != 200 {
        driven.abort();
        return (Err(response.status().as_u16()), cache);
    }
    let mut answer = vec![];
    while let Some(mut data) = stream.recv_data().await.expect("data") {
        answer.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    driven.abort();
    (Ok(answer), cache)
}

/// As long as the slowest machine takes.
const WAIT: Duration = Duration::from_secs(60);
