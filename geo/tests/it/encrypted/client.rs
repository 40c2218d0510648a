//! Clients of the encrypted transports.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsOption},
};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::dnssec_node::SignedNode;

/// What clients believe.
pub(super) struct Trust(Arc<RootCertStore>);

impl Trust {
    /// The authority whose certificate lies in the node's folder.
    pub(super) fn of(node: &SignedNode) -> Self {
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

    pub(super) async fn tls(&self, address: SocketAddr, alpn: &[u8]) -> TlsStream<TcpStream> {
        self.try_tls(address, alpn).await.expect("a handshake")
    }

    pub(super) async fn try_tls(
        &self,
        address: SocketAddr,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_on(TcpStream::connect(address).await?, alpn).await
    }

    pub(super) async fn tls_on(
        &self,
        stream: TcpStream,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::new(self.config(alpn)));
        let name = ServerName::try_from("dns.test").expect("a name");
        timeout(WAIT, connector.connect(name, stream)).await.expect("in time")
    }

    pub(super) async fn quic(&self, address: SocketAddr, alpn: &[u8]) -> quinn::Connection {
        self.try_quic(address, alpn).await.expect("a handshake")
    }

    pub(super) async fn try_quic(
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

pub(super) fn query(id: u16, name: &str, has_edns: bool) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    if has_edns {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true).options_mut().insert(EdnsOption::Unknown(12, vec![0; 20]));
        message.set_edns(edns);
    }
    message.to_vec().expect("good")
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// A query and its answer on a TLS connection; `None` when it is closed instead.
pub(super) async fn exchange(stream: &mut TlsStream<TcpStream>, query: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(&framed(query)).await.ok()?;
    let length = timeout(WAIT, stream.read_u16()).await.expect("in time").ok()?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

/// What comes back on a stream of a QUIC connection, without its length; `None` when the stream or the connection ends.
pub(super) async fn stream(connection: &quinn::Connection, bytes: &[u8]) -> Option<Vec<u8>> {
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
pub(super) async fn post_h3(
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

/// A POST over HTTP/2, whose length is not said: the body or the status.
pub(super) async fn post_h2(
    trust: &Trust,
    address: SocketAddr,
    path: &str,
    body: &[u8],
) -> Result<Vec<u8>, u16> {
    let stream = TokioIo::new(trust.tls(address, b"h2").await);
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    let driven = tokio::spawn(connection);
    let parts: Vec<Result<_, Infallible>> =
        body.chunks(1024).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
    let request = http::Request::post(format!("https://dns.test{path}"))
        .header("content-type", "application/dns-message")
        .body(StreamBody::new(futures::stream::iter(parts)))
        .expect("good");
    let response = timeout(WAIT, sender.send_request(request)).await.expect("in time");
    let response = response.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    driven.abort();
    if status == 200 { Ok(body.to_vec()) } else { Err(status) }
}

/// As long as the slowest machine takes.
pub(super) const WAIT: Duration = Duration::from_secs(90);
