//! A PoP that answers whether it lives, until it is made to stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tidegate_contract::telemetry::SELF_TEST_PATH;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A PoP.
pub(crate) struct FakePop {
    pub(crate) addr: SocketAddr,
    mood: watch::Sender<Mood>,
    server: JoinHandle<()>,
}

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Takes connections and bytes and says nothing.
    Silent,
    /// Every answer is a 503.
    Sick,
}

impl FakePop {
    /// At 127.0.0.`host`, so that each has an address of its own.
    pub(crate) async fn start(host: u8) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0))).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let addr = hold(addr);
        let listener = TcpListener::bind(addr).await.expect("a port");
        let mood = watch::Sender::new(Mood::Well);
        let (acceptor, moods) = (acceptor(), mood.subscribe());
        let server = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("it accepts");
                serving.spawn(serve(stream, acceptor.clone(), moods.clone()));
            }
        });
        Self { addr, mood, server }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    pub(crate) fn fall_silent(&self) {
        self.mood.send_replace(Mood::Silent);
    }

    pub(crate) fn fall_sick(&self) {
        self.mood.send_replace(Mood::Sick);
    }

    pub(crate) fn recover(&self) {
        self.mood.send_replace(Mood::Well);
    }

    /// Is gone from one moment to the next, connections included.
    pub(crate) async fn die(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

/// Takes an address until the program ends, so that one that dies and comes back finds it free: what never listens keeps
/// nobody from it who sets `SO_REUSEADDR`, and nobody else is given the port.
pub(crate) fn hold(addr: SocketAddr) -> SocketAddr {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("a socket");
    socket.set_reuseaddr(true).expect("possible");
    socket.bind(addr).expect("a free port");
    let addr = socket.local_addr().expect("bound");
    std::mem::forget(socket);
    addr
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, moods: watch::Receiver<Mood>) {
    if *moods.borrow() == Mood::Silent {
        return std::future::pending().await;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = Vec::new();
    loop {
        let mut bytes = [0; 512];
        let Ok(count @ 1..) = stream.read(&mut bytes).await else { return };
        head.extend_from_slice(&bytes[..count]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        assert!(text.starts_with(&format!("GET {SELF_TEST_PATH} HTTP/1.1\r\nhost: ")), "{text}");
        head.clear();
        let mood = *moods.borrow();
        let answer: &[u8] = match mood {
            Mood::Silent => return std::future::pending().await,
            Mood::Sick => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            Mood::Well => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n",
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .expect("a good pair");
    TlsAcceptor::from(Arc::new(config))
}
