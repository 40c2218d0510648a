//! What all proxies share: a certificate, the objects, and the origin that serves them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Object sizes in bytes: a playlist, a low segment, a high segment.
pub(crate) const SIZES: [usize; 3] = [4 * 1024, 200 * 1024, 1024 * 1024];

pub(crate) struct Material {
    pub(crate) dir: TempDir,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) origin: SocketAddr,
    client_tls: Arc<rustls::ClientConfig>,
}

impl Material {
    /// Makes a certificate for this run and starts the origin on a free loopback port.
    pub(crate) fn create() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let mut client_tls =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client_tls.resumption = rustls::client::Resumption::disabled();
        let objects = dir.path().join("objects");
        std::fs::create_dir(&objects)?;
        for size in SIZES {
            std::fs::write(objects.join(format!("{size}.bin")), vec![b'x'; size])?;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let origin = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // a thread of its own: the client's may be waiting for another program
        std::thread::spawn(move || runtime.block_on(serve(listener)));
        Ok(Self { dir, certificate, key, origin, client_tls: Arc::new(client_tls) })
    }

    /// A client's TLS for a protocol, which resumes nothing.
    pub(crate) fn client_tls(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let mut tls = self.client_tls.as_ref().clone();
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls
    }
}

async fn serve(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("the runtime that this runs on");
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let service = service_fn(|request| async move { answer(&request) });
            // a proxy that closes its connection is no error of ours
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let name = request.uri().path().trim_start_matches('/');
    let size: usize = name.strip_suffix(".bin").context("not an object")?.parse()?;
    anyhow::ensure!(SIZES.contains(&size), "not an object: {size}");
    Ok(Response::builder()
        .header(header::CACHE_CONTROL, "public, max-age=3600, immutable")
        .header(header::CONTENT_TYPE, "video/mp4")
        .body(Full::new(Bytes::from(vec![b'x'; size])))?)
}
