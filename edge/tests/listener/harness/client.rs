//! One client connection of any protocol, with the same face for all.
//!
//! Invariant: a response is a `Response` only when it ended cleanly; a cut one is an `Err`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{Wire, client_of_anyone};

/// A connection; clones share it where the protocol allows.
pub(crate) struct Client {
    sender: Sender,
    authority: String,
    driver: JoinHandle<()>,
}

enum Sender {
    H1(tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(wire: Wire, edge: SocketAddr) -> Self {
        let authority = format!("localhost:{}", edge.port());
        let alpn: &[u8] = if wire == Wire::H1 { b"http/1.1" } else { b"h2" };
        let tcp = TcpStream::connect(edge).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client_of_anyone(&[alpn])));
        let tls = connector.connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn));
        let io = TokioIo::new(tls);
        let (sender, driver) = if wire == Wire::H1 {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            let driver = tokio::spawn(async { drop(connection.await) });
            (Sender::H1(tokio::sync::Mutex::new(sender)), driver)
        } else {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            (Sender::H2(sender), tokio::spawn(async { drop(connection.await) }))
        };
        Self { sender, authority, driver }
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&mut self) {
        super::within(&mut self.driver).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.try_get(path).await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str) -> Result<Response, String> {
        self.send(self.request(Method::GET, path), Bytes::new()).await
    }

    /// Asks on an H2 connection, and hands out the response with its body unread.
    pub(crate) async fn begin(&self, path: &str) -> http::Response<hyper::body::Incoming> {
        let Sender::H2(sender) = &self.sender else { panic!("H1 has one response at a time") };
        let mut sender = sender.clone();
        sender.ready().await.unwrap();
        let request = self.request(Method::GET, path).map(|()| Full::new(Bytes::new()));
        super::within(sender.send_request(request)).await.unwrap()
    }

    /// A request for this connection.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<()> {
        let uri = match self.sender {
            Sender::H1(_) => path.to_owned(),
            Sender::H2(_) => format!("https://{}{path}", self.authority),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self.sender, Sender::H1(_)) {
            request = request.header("host", &self.authority);
        }
        request.body(()).unwrap()
    }

    /// Sends and takes the whole response, with a limit on time.
    pub(crate) async fn send(&self, request: Request<()>, body: Bytes) -> Result<Response, String> {
        super::within(self.exchange(request, body)).await
    }

    fn exchange(
        &self,
        request: Request<()>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<Response, String>> {
        Box::pin(async move {
            match &self.sender {
                Sender::H1(sender) => {
                    let mut sender = sender.lock().await;
                    sender.ready().await.map_err(text)?;
                    take(sender.send_request(request.map(|()| Full::new(body))).await).await
                }
                Sender::H2(sender) => {
                    let mut sender = sender.clone();
                    sender.ready().await.map_err(text)?;
                    take(sender.send_request(request.map(|()| Full::new(body))).await).await
                }
            }
        })
    }
}

async fn take(
    response: hyper::Result<http::Response<hyper::body::Incoming>>,
) -> Result<Response, String> {
    let (parts, body) = response.map_err(text)?.into_parts();
    let body = body.collect().await.map_err(text)?.to_bytes();
    Ok(Response { status: parts.status, headers: parts.headers, body })
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
