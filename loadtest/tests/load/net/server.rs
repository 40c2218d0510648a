//! The test server: the same answers over TLS with HTTP/1.1 and 2, and over QUIC with HTTP/3, on one port.
//!
//! A front ends TLS by hand, because a server that takes 0-RTT data has to.

use std::{
    cell::Cell,
    convert::Infallible,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

use super::{
    NAME,
    app::{self, Step},
};

/// A certificate of the names that tests use.
pub(crate) struct Identity {
    pub(crate) ca: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    _folder: tempfile::TempDir,
}

pub(crate) fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let names = [NAME, "other.test"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Identity { ca, certificate: made.cert.der().clone(), key, _folder: folder }
    })
}

/// A server, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Rc<Seen>,
    tls: Rc<std::cell::RefCell<Arc<ServerConfig>>>,
    quic: quinn::Endpoint,
    tasks: tokio::task::JoinSet<()>,
}

/// What the server met.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: Cell<u64>,
    pub(crate) requests: Cell<u64>,
    /// Addresses of ours that QUIC packets came from, at the end of each answer.
    pub(crate) ports: std::cell::RefCell<Vec<SocketAddr>>,
}

fn add(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

impl Server {
    /// Starts it within a `LocalSet`; with `early` it takes 0-RTT data.
    pub(crate) async fn start(early: bool) -> Self {
        let (tls, quic_tls) = (tls(early, &[b"h2", b"http/1.1"]), tls(early, &[b"h3"]));
        // The same port for both, as `resolve` names one.
        let (listener, quic) = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            if let Ok(quic) = quinn::Endpoint::server(quic_config(&quic_tls), address) {
                break (listener, quic);
            }
        };
        let address = listener.local_addr().unwrap();
        let seen = Rc::<Seen>::default();
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let behind = backend.local_addr().unwrap();
        let tls = Rc::new(std::cell::RefCell::new(tls));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn_local(front(listener, behind, Rc::clone(&tls), Rc::clone(&seen)));
        tasks.spawn_local(back(backend, Rc::clone(&seen)));
        tasks.spawn_local(over_quic(quic.clone(), Rc::clone(&seen)));
        Self { address, seen, tls, quic, tasks }
    }

    /// From now on 0-RTT data is refused; tickets stay good.
    pub(crate) fn refuse_early(&self) {
        let mut tls = ServerConfig::clone(&self.tls.borrow());
        tls.max_early_data_size = 0;
        *self.tls.borrow_mut() = Arc::new(tls);
    }

    pub(crate) fn refuse_early_quic(&self, with: &Arc<ServerConfig>) {
        let mut tls = ServerConfig::clone(with);
        tls.max_early_data_size = 0;
        self.quic.set_server_config(Some(quic_config(&Arc::new(tls))));
    }

    /// Takes new QUIC settings, whose tickets a later refusal knows.
    pub(crate) fn set_quic(&self, tls: &Arc<ServerConfig>) {
        self.quic.set_server_config(Some(quic_config(tls)));
    }

    /// Ends every connection and takes no more.
    pub(crate) fn stop(&mut self) {
        self.tasks.abort_all();
        self.quic.close(0u32.into(), b"");
    }
}

pub(crate) fn tls(early: bool, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = identity();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.max_early_data_size = match (early, protocols[0] == b"h3") {
        (false, _) => 0,
        (true, true) => u32::MAX,
        (true, false) => 16_384,
    };
    Arc::new(config)
}

fn quic_config(tls: &Arc<ServerConfig>) -> quinn::ServerConfig {
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(Arc::clone(tls)).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(tls))
}

/// Ends TLS and passes what is in it to the server behind, both ways.
async fn front(
    listener: TcpListener,
    behind: SocketAddr,
    tls: Rc<std::cell::RefCell<Arc<ServerConfig>>>,
    seen: Rc<Seen>,
) {
    let mut pipes = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        add(&seen.connections);
        let tls = ServerConnection::new(Arc::clone(&tls.borrow())).unwrap();
        pipes.spawn_local(async move {
            let _ = pipe(client, behind, tls).await;
        });
    }
}

async fn pipe(client: TcpStream, behind: SocketAddr, mut tls: ServerConnection) -> io::Result<()> {
    let server = TcpStream::connect(behind).await?;
    server.set_nodelay(true)?;
    let mut space = vec![0; 65_536];
    let mut is_marked = false;
    loop {
        send(&client, &mut tls).await?;
        // The protocol that TLS agreed on is told to the server behind by its first byte.
        if !is_marked && let Some(protocol) = tls.alpn_protocol() {
            is_marked = true;
            write(&server, if protocol == b"h2" { b"2" } else { b"1" }).await?;
        }
        tokio::select! {
            ready = client.readable() => {
                ready?;
                let count = match client.try_read(&mut space) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    read => read?,
                };
                if count == 0 {
                    return Ok(());
                }
                let mut rest = &space[..count];
                let mut plain = Vec::new();
                while !rest.is_empty() {
                    tls.read_tls(&mut rest)?;
                    let state = tls.process_new_packets().map_err(io::Error::other);
                    if let Err(error) = state {
                        let _ = tls.write_tls(&mut Try(&client));
                        return Err(error);
                    }
                    if let Some(mut early) = tls.early_data() {
                        early.read_to_end(&mut plain)?;
                    }
                    let _ = tls.reader().read_to_end(&mut plain);
                }
                if !plain.is_empty() {
                    if !is_marked && let Some(protocol) = tls.alpn_protocol() {
                        is_marked = true;
                        write(&server, if protocol == b"h2" { b"2" } else { b"1" }).await?;
                    }
                    write(&server, &plain).await?;
                }
            }
            ready = server.readable(), if !tls.is_handshaking() => {
                ready?;
                let count = match server.try_read(&mut space[..16_384]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    read => read?,
                };
                if count == 0 {
                    tls.send_close_notify();
                    return send(&client, &mut tls).await;
                }
                tls.writer().write_all(&space[..count])?;
            }
        }
    }
}

async fn send(client: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        client.writable().await?;
        match tls.write_tls(&mut Try(client)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

struct Try<'a>(&'a TcpStream);

impl Write for Try<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.try_write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn write(stream: &TcpStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        stream.writable().await?;
        match stream.try_write(data) {
            Ok(count) => data = &data[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// HTTP/1.1 and 2 on plain TCP; the first byte says which.
async fn back(listener: TcpListener, seen: Rc<Seen>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let seen = Rc::clone(&seen);
        connections.spawn_local(async move {
            let mut mark = [0];
            if tokio::io::AsyncReadExt::read_exact(&mut stream, &mut mark).await.is_err() {
                return;
            }
            let service = hyper::service::service_fn(move |request: Request<_>| {
                add(&seen.requests);
                answer(request.map(|_: hyper::body::Incoming| ()))
            });
            let stream = TokioIo::new(stream);
            if mark == *b"2" {
                let builder = hyper::server::conn::http2::Builder::new(Local);
                let _ = builder.serve_connection(stream, service).await;
            } else {
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(stream, service).await;
            }
        });
    }
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

type Body = StreamBody<futures::stream::LocalBoxStream<'static, io::Result<Frame<Bytes>>>>;

async fn answer(request: Request<()>) -> Result<Response<Body>, Infallible> {
    let Some((response, steps)) = app::reply(&request) else {
        return std::future::pending().await;
    };
    let steps = futures::stream::iter(steps).then(|step| async move {
        match step {
            Step::Data(data) => Ok(Frame::data(data)),
            Step::Hang => std::future::pending().await,
            Step::Reset => {
                // What came before goes out first.
                tokio::task::yield_now().await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                Err(io::Error::other("cut"))
            }
        }
    });
    Ok(response.map(|()| StreamBody::new(steps.boxed_local())))
}

async fn over_quic(endpoint: quinn::Endpoint, seen: Rc<Seen>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let seen = Rc::clone(&seen);
        connections.spawn_local(async move {
            let Ok(connecting) = incoming.accept() else { return };
            let quic = match connecting.into_0rtt() {
                Ok((quic, _)) => quic,
                Err(connecting) => match connecting.await {
                    Ok(quic) => quic,
                    Err(_) => return,
                },
            };
            add(&seen.connections);
            serve_quic(quic, seen).await;
        });
    }
}

async fn serve_quic(quic: quinn::Connection, seen: Rc<Seen>) {
    let http = h3_quinn::Connection::new(quic.clone());
    let Ok(mut http) = h3::server::Connection::<_, Bytes>::new(http).await else { return };
    let mut streams = tokio::task::JoinSet::new();
    while let Ok(Some(resolver)) = http.accept().await {
        let (seen, quic) = (Rc::clone(&seen), quic.clone());
        streams.spawn_local(async move {
            let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
            add(&seen.requests);
            let Some((response, steps)) = app::reply(&request) else {
                return std::future::pending().await;
            };
            if stream.send_response(response).await.is_err() {
                return;
            }
            for step in steps {
                match step {
                    Step::Data(data) => {
                        // In pieces, so that a connection may move between two.
                        for piece in data.chunks(16_384) {
                            let piece = data.slice_ref(piece);
                            if stream.send_data(piece).await.is_err() {
                                return;
                            }
                        }
                    }
                    Step::Hang => std::future::pending().await,
                    Step::Reset => {
                        // What came before goes out first.
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        return stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
                    }
                }
            }
            let _ = stream.finish().await;
            seen.ports.borrow_mut().push(quic.remote_address());
        });
    }
}
