//! The client: keep-alive connections that ask for one object again and again, over H1, H2 or H3.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Connections of one cell.
const CONNECTIONS: usize = 4;
/// Requests in flight on one H2 or H3 connection.
const STREAMS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    H1,
    H2,
    H3,
}

pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    pub(crate) size: usize,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::H1, Self::H2, Self::H3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }

    fn alpn(self) -> Vec<u8> {
        match self {
            Self::H1 => b"http/1.1".to_vec(),
            Self::H2 => b"h2".to_vec(),
            Self::H3 => b"h3".to_vec(),
        }
    }
}

/// Asks for the object until the time is over; gives back the number of whole answers.
///
/// # Errors
/// The first answer that is not 200 or has another length: a measurement of errors is none.
pub(crate) async fn run(
    protocol: Protocol,
    target: &Target,
    tls: &Arc<rustls::ClientConfig>,
    time: Duration,
) -> Result<u64> {
    let mut tls = tls.as_ref().clone();
    tls.alpn_protocols = vec![protocol.alpn()];
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let uri = format!("https://localhost:{}{}", target.addr.port(), target.path);
        match protocol {
            Protocol::H1 => {
                tasks.spawn(h1(target.addr, tls.clone(), uri, target.size, end));
            }
            Protocol::H2 => {
                tasks.spawn(h2(target.addr, tls.clone(), uri, target.size, end));
            }
            Protocol::H3 => {
                tasks.spawn(h3(target.addr, tls.clone(), uri, target.size, end));
            }
        }
    }
    let mut total = 0;
    while let Some(done) = tasks.join_next().await {
        total += done??;
    }
    Ok(total)
}

async fn connect(
    addr: SocketAddr,
    tls: rustls::ClientConfig,
) -> Result<TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>> {
    let stream = tokio::net::TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(TokioIo::new(TlsConnector::from(Arc::new(tls)).connect(name, stream).await?))
}

fn request(uri: &str, version: Version) -> Result<Request<Empty<Bytes>>> {
    let authority = uri.split('/').nth(2).context("an absolute URI")?;
    let builder = Request::builder().method(Method::GET).version(version);
    Ok(if version == Version::HTTP_11 {
        let path = uri.splitn(4, '/').nth(3).unwrap_or_default();
        builder.uri(format!("/{path}")).header("host", authority).body(Empty::new())?
    } else {
        builder.uri(uri).body(Empty::new())?
    })
}

async fn h1(
    addr: SocketAddr,
    tls: rustls::ClientConfig,
    uri: String,
    size: usize,
    end: Instant,
) -> Result<u64> {
    let (mut sender, connection) = conn::http1::handshake(connect(addr, tls).await?).await?;
    tokio::spawn(connection);
    let mut count = 0;
    while Instant::now() < end {
        sender.ready().await?;
        let answer = sender.send_request(request(&uri, Version::HTTP_11)?).await?;
        check(answer, size).await?;
        count += 1;
    }
    Ok(count)
}

async fn h2(
    addr: SocketAddr,
    tls: rustls::ClientConfig,
    uri: String,
    size: usize,
    end: Instant,
) -> Result<u64> {
    let (sender, connection) = conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .handshake(connect(addr, tls).await?)
        .await?;
    tokio::spawn(connection);
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let (mut sender, uri) = (sender.clone(), uri.clone());
        streams.spawn(async move {
            let mut count = 0u64;
            while Instant::now() < end {
                let answer = sender.send_request(request(&uri, Version::HTTP_2)?).await?;
                check(answer, size).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    sum(streams).await
}

async fn h3(
    addr: SocketAddr,
    tls: rustls::ClientConfig,
    uri: String,
    size: usize,
    end: Instant,
) -> Result<u64> {
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let connection = endpoint.connect(addr, "localhost")?.await?;
    let (mut driver, sender) = h3::client::builder()
        .send_grease(false) // nginx resets requests that end in a frame it does not know
        .build::<_, _, Bytes>(h3_quinn::Connection::new(connection))
        .await?;
    tokio::spawn(async move { driver.wait_idle().await });
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let (mut sender, uri) = (sender.clone(), uri.clone());
        streams.spawn(async move {
            let mut count = 0u64;
            while Instant::now() < end {
                let (parts, _) = request(&uri, Version::HTTP_3)?.into_parts();
                let mut stream = sender.send_request(Request::from_parts(parts, ())).await?;
                stream.finish().await?;
                let answer = stream.recv_response().await?;
                ensure!(answer.status() == 200, "answered {}", answer.status());
                let mut got = 0;
                while let Some(data) = stream.recv_data().await? {
                    got += data.remaining();
                }
                ensure!(got == size, "{got} bytes instead of {size}");
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let total = sum(streams).await;
    drop(sender);
    endpoint.close(0u32.into(), b"");
    total
}

async fn sum(mut streams: JoinSet<Result<u64>>) -> Result<u64> {
    let mut total = 0;
    while let Some(done) = streams.join_next().await {
        total += done??;
    }
    Ok(total)
}

async fn check(answer: http::Response<hyper::body::Incoming>, size: usize) -> Result<()> {
    ensure!(answer.status() == 200, "answered {}", answer.status());
    let mut body = answer.into_body();
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        got += frame?.data_ref().map_or(0, Bytes::len);
    }
    ensure!(got == size, "{got} bytes instead of {size}");
    Ok(())
}
