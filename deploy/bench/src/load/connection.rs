//! One connection to a server, whatever its protocol; clones share it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{io::BufReader, net::TcpStream, sync::Mutex};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Protocol, Target,
    first::{First, Watched},
};
use crate::material::Material;

#[derive(Clone)]
pub(crate) enum Connection {
    /// One request at a time.
    H1(Arc<Mutex<conn::http1::SendRequest<Empty<Bytes>>>>, First),
    H2(conn::http2::SendRequest<Empty<Bytes>>, First),
    H3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>, quinn::Endpoint),
}

impl Connection {
    pub(crate) async fn open(
        protocol: Protocol,
        addr: SocketAddr,
        material: &Material,
    ) -> Result<Self> {
        match protocol {
            Protocol::H1 => {
                let first = First::default();
                let io = tls(addr, material.client_tls(b"http/1.1"), first.clone()).await?;
                let (sender, connection) = conn::http1::handshake(io).await?;
                tokio::spawn(connection);
                Ok(Self::H1(Arc::new(Mutex::new(sender)), first))
            }
            Protocol::H2 => {
                let first = First::default();
                let io = tls(addr, material.client_tls(b"h2"), first.clone()).await?;
                let (sender, connection) = conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(8 << 20)
                    .handshake(io)
                    .await?;
                tokio::spawn(connection);
                Ok(Self::H2(sender, first))
            }
            Protocol::H3 => h3(addr, material.client_tls(b"h3")).await,
        }
    }

    /// One whole answer; gives back when its first byte was there, which nobody can tell where the next request left
    /// on the same connection before its end.
    pub(crate) async fn get(&mut self, target: &Target) -> Result<Option<Instant>> {
        match self {
            Self::H1(sender, first) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                let request = Request::get(&target.path).header("host", target.addr.to_string());
                first.expect();
                whole(sender.send_request(request.body(Empty::new())?).await?, target.size).await?;
                Ok(first.came())
            }
            Self::H2(sender, first) => {
                let request = Request::get(absolute(target)).version(Version::HTTP_2);
                first.expect();
                whole(sender.send_request(request.body(Empty::new())?).await?, target.size).await?;
                Ok(first.came())
            }
            Self::H3(sender, _) => {
                let request = Request::get(absolute(target)).version(Version::HTTP_3);
                let mut stream = sender.send_request(request.body(())?).await?;
                stream.finish().await?;
                let answer = stream.recv_response().await?;
                let first = Instant::now();
                ensure!(answer.status() == 200, "answered {}", answer.status());
                let mut got = 0;
                while let Some(data) = stream.recv_data().await? {
                    got += data.remaining();
                }
                ensure!(got == target.size, "{got} bytes instead of {}", target.size);
                Ok(Some(first))
            }
        }
    }

    /// Takes an answer piece by piece with a pause behind each, so many pieces, and leaves.
    pub(crate) async fn get_slowly(
        &mut self,
        target: &Target,
        pieces: usize,
        pause: Duration,
    ) -> Result<()> {
        match self {
            Self::H1(sender, _) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                let request = Request::get(&target.path).header("host", target.addr.to_string());
                let answer = sender.send_request(request.body(Empty::new())?).await?;
                crawl(answer, pieces, pause).await
            }
            Self::H2(sender, _) => {
                let request = Request::get(absolute(target)).version(Version::HTTP_2);
                let answer = sender.send_request(request.body(Empty::new())?).await?;
                crawl(answer, pieces, pause).await
            }
            Self::H3(sender, _) => {
                let request = Request::get(absolute(target)).version(Version::HTTP_3);
                let mut stream = sender.send_request(request.body(())?).await?;
                stream.finish().await?;
                stream.recv_response().await?;
                for _ in 0..pieces {
                    if stream.recv_data().await?.is_none() {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
        }
    }

    /// Ends it as a client does that has what it wanted.
    pub(crate) fn close(self) {
        if let Self::H3(sender, endpoint) = self {
            drop(sender);
            endpoint.close(H3_NO_ERROR.into(), b"");
        }
    }
}

async fn crawl(
    answer: http::Response<hyper::body::Incoming>,
    pieces: usize,
    pause: Duration,
) -> Result<()> {
    let mut body = answer.into_body();
    for _ in 0..pieces {
        let Some(frame) = body.frame().await else { break };
        frame?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn tls(
    addr: SocketAddr,
    config: rustls::ClientConfig,
    first: First,
) -> Result<TokioIo<Watched<TlsStream<BufReader<TcpStream>>>>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(HOST)?;
    // rustls asks the kernel for 4 KiB at a time; players and browsers ask for more at once.
    let stream = BufReader::with_capacity(READ_BYTES, stream);
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(TokioIo::new(Watched::new(stream, first)))
}

async fn h3(addr: SocketAddr, tls: rustls::ClientConfig) -> Result<Connection> {
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let connection = endpoint.connect(addr, HOST)?.await?;
    let (mut driver, sender) = h3::client::builder()
        .send_grease(false) // nginx resets requests that end in a frame it does not know
        .build::<_, _, Bytes>(h3_quinn::Connection::new(connection))
        .await
        .context("HTTP/3 handshake")?;
    tokio::spawn(async move { driver.wait_idle().await });
    Ok(Connection::H3(sender, endpoint))
}

fn absolute(target: &Target) -> String {
    format!("https://{}{}", target.addr, target.path)
}

async fn whole(answer: http::Response<hyper::body::Incoming>, size: usize) -> Result<()> {
    ensure!(answer.status() == 200, "answered {}", answer.status());
    let mut body = answer.into_body();
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        got += frame?.data_ref().map_or(0, Bytes::len);
    }
    ensure!(got == size, "{got} bytes instead of {size}");
    Ok(())
}

/// The name in the certificate. Requests name the address, as h2load does, so that all ask for the same object.
const HOST: &str = "localhost";
/// Bytes that the client takes from the kernel at once.
const READ_BYTES: usize = 64 * 1024;
const H3_NO_ERROR: u32 = 0x100;
