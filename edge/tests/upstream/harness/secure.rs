//! An upstream behind TLS that speaks H2, or H1 alone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// A running upstream; gone when it is dropped.
pub(crate) struct Secure {
    pub(crate) address: SocketAddr,
    /// Who signed its certificate, in PEM.
    pub(crate) authority: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Secure {
    /// One that speaks H2 and treats every stream as the story says.
    pub(crate) async fn h2<F>(
        act: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + Clone + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(&[b"h2", b"http/1.1"], move |stream| {
            let act = act.clone();
            async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(act(request, respond));
                }
            }
        })
        .await
    }

    /// One that speaks H1 alone and answers every request with the same bytes; `is_polite` says goodbye in TLS.
    pub(crate) async fn h1(answer: &'static str, is_polite: bool) -> Self {
        Self::start(&[b"http/1.1"], move |mut stream| async move {
            let mut buffer = Vec::new();
            while stream.read_buf(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                if buffer.ends_with(b"\r\n\r\n") {
                    buffer.clear();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.flush().await;
                    if !answer.contains("Content-Length") {
                        break;
                    }
                }
            }
            if is_polite {
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// One that takes connections of H2 and then wants every request over H1, which it answers with its name.
    pub(crate) async fn h1_wanted() -> Self {
        Self::start(&[b"h2", b"http/1.1"], |mut stream| async move {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
                }
                return;
            }
            let mut buffer = Vec::new();
            while stream.read_buf(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                if buffer.ends_with(b"\r\n\r\n") {
                    buffer.clear();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh1";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.flush().await;
                }
            }
        })
        .await
    }

    async fn start<F>(
        protocols: &[&[u8]],
        act: impl Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["origin.example".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let act = Arc::new(act);
        let task = tokio::spawn({
            let connections = connections.clone();
            async move {
                while let Ok((stream, _)) = socket.accept().await {
                    let (acceptor, act) = (acceptor.clone(), act.clone());
                    let connections = connections.clone();
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            connections.fetch_add(1, Ordering::SeqCst);
                            act(stream).await;
                        }
                    });
                }
            }
        });
        Self { address, authority: authority.pem(), connections, task }
    }

    /// Connections with a finished handshake.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// This upstream under its own name.
    pub(crate) fn upstream(&self) -> tidegate_contract::property::Upstream {
        super::tls(self.address, "origin.example", Some(self.authority.clone()))
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.task.abort();
    }
}
