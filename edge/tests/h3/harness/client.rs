//! The h3 crate as a client: an implementation that is not ours.
//!
//! Invariant: a response is a `Response` only when it ended cleanly; a cut one is an `Err`.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use tidegate_chassis::believe;
use tokio::task::JoinHandle;

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
pub(crate) type Stream = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A connection.
pub(crate) struct Client {
    sender: Sender,
    authority: String,
    driver: JoinHandle<()>,
    pub(crate) quic: quinn::Connection,
    pub(crate) endpoint: Option<quinn::Endpoint>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(edge: SocketAddr) -> Self {
        let endpoint = endpoint(trusting());
        let quic = endpoint.connect(edge, "localhost").unwrap().await.unwrap();
        let mut client = Self::over(quic, edge).await;
        client.endpoint = Some(endpoint);
        client
    }

    pub(crate) async fn over(quic: quinn::Connection, edge: SocketAddr) -> Self {
        let connection = h3_quinn::Connection::new(quic.clone());
        let (mut driver, sender) = h3::client::new(connection).await.unwrap();
        let driver = tokio::spawn(async move {
            drop(std::future::poll_fn(|cx| driver.poll_close(cx)).await);
        });
        let authority = format!("localhost:{}", edge.port());
        Self { sender, authority, driver, quic, endpoint: None }
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&mut self) {
        super::within(&mut self.driver).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path), Bytes::new()).await.unwrap()
    }

    /// A request for this connection.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<()> {
        let uri = format!("https://{}{path}", self.authority);
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }

    /// Sends the head of a request and nothing more.
    pub(crate) async fn begin(&self, request: Request<()>) -> Stream {
        self.sender.clone().send_request(request).await.unwrap()
    }

    /// Sends and takes the whole response, with a limit on time.
    pub(crate) async fn send(&self, request: Request<()>, body: Bytes) -> Result<Response, String> {
        super::within(async {
            let mut sender = self.sender.clone();
            let mut stream = sender.send_request(request).await.map_err(text)?;
            if !body.is_empty() {
                // May fail when the answer does not wait for the body.
                let _ = stream.send_data(body).await;
            }
            let _ = stream.finish().await;
            take(&mut stream).await
        })
        .await
    }
}

/// The whole response.
pub(crate) async fn take(stream: &mut Stream) -> Result<Response, String> {
    let mut response = stream.recv_response().await.map_err(text)?;
    while response.status().is_informational() {
        response = stream.recv_response().await.map_err(text)?;
    }
    let mut body = BytesMut::new();
    while let Some(piece) = stream.recv_data().await.map_err(text)? {
        body.extend_from_slice(piece.chunk());
    }
    let trailers = stream.recv_trailers().await.map_err(text)?;
    let (parts, ()) = response.into_parts();
    Ok(Response { status: parts.status, headers: parts.headers, body: body.freeze(), trailers })
}

/// TLS that believes everybody; certificates are the business of other stories.
pub(crate) fn trusting() -> rustls::ClientConfig {
    believe::client_of_anyone(&[b"h3"])
}

/// A client endpoint on a free port.
pub(crate) fn endpoint(tls: rustls::ClientConfig) -> quinn::Endpoint {
    endpoint_with(tls, quinn::TransportConfig::default())
}

/// The same with windows of its own.
pub(crate) fn endpoint_with(
    tls: rustls::ClientConfig,
    mut transport: quinn::TransportConfig,
) -> quinn::Endpoint {
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    // How long silence lasts is the edge's to say, not this client's.
    transport.max_idle_timeout(None);
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
