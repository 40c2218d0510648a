//! Clients of H1, H2 and H3 with one face. Each request has a connection of its own, so that a broken one disturbs
//! nobody else.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_edge::listener::Protocol;
use tokio::net::{TcpSocket, TcpStream};

/// Where an edge is and what its certificate is signed by.
#[derive(Clone)]
pub(crate) struct Client {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Where its requests come from.
    pub ip: IpAddr,
    tls: rustls::ClientConfig,
}

/// A whole answer. The body is an error when it broke off.
#[derive(Debug)]
pub(crate) struct Answer {
    pub protocol: Protocol,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Result<Bytes, String>,
}

/// An answer whose body is read by the story.
pub(crate) struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: OpenBody,
}

enum OpenBody {
    Hyper(hyper::body::Incoming),
    H3 {
        stream: Box<h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>>,
        /// Kept until the body is read.
        _keep: (h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>, quinn::Endpoint),
    },
}

/// What to ask.
#[derive(Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub path: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// With these the length of the body is not said.
    pub trailers: HeaderMap,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            host: "localhost".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            trailers: HeaderMap::new(),
        }
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.append(name, value.parse().unwrap());
        self.header("trailer", name)
    }

    /// The body as hyper sends it.
    fn framed(&self) -> BoxBody<Bytes, Infallible> {
        let body = Full::new(self.body.clone());
        if self.trailers.is_empty() {
            return body.boxed();
        }
        let trailers = self.trailers.clone();
        // A stream, so that its length is not known.
        let body = StreamBody::new(body.into_data_stream().map_ok(Frame::data));
        body.with_trailers(async { Some(Ok(trailers)) }).boxed()
    }

    fn request(&self, scheme: &str, is_origin_form: bool) -> Request<()> {
        let uri: Uri = if is_origin_form {
            self.path.parse().unwrap()
        } else {
            format!("{scheme}://{}{}", self.host, self.path).parse().unwrap()
        };
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        if is_origin_form {
            request = request.header("host", &self.host);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !self.body.is_empty() && self.trailers.is_empty() {
            request = request.header("content-length", self.body.len());
        }
        request.body(()).unwrap()
    }
}

impl Client {
    pub(crate) fn new(http: SocketAddr, https: SocketAddr, ca_pem: &str) -> Self {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls_pki_types::CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let tls =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { http, https, ip: Ipv4Addr::LOCALHOST.into(), tls }
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn ask(&self, protocol: Protocol, ask: &Ask) -> Result<Answer, String> {
        let mut open = self.open(protocol, ask).await?;
        let mut all = Vec::new();
        let body = loop {
            match open.read().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => break Ok(Bytes::from(all)),
                Err(error) => break Err(error),
            }
        };
        Ok(Answer { protocol, status: open.status, headers: open.headers, body })
    }

    /// Asks and hands out the body unread.
    pub(crate) async fn open(&self, protocol: Protocol, ask: &Ask) -> Result<Open, String> {
        match protocol {
            Protocol::Http1 => self.open_h1(ask).await,
            Protocol::Http2 => self.open_h2(ask).await,
            Protocol::Http3 => self.open_h3(ask).await,
        }
    }

    /// The same from another address of this machine.
    pub(crate) fn from(&self, ip: [u8; 4]) -> Self {
        Self { ip: ip.into(), ..self.clone() }
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, String> {
        let socket = TcpSocket::new_v4().map_err(text)?;
        socket.bind((self.ip, 0).into()).map_err(text)?;
        socket.connect(to).await.map_err(text)
    }

    async fn open_h1(&self, ask: &Ask) -> Result<Open, String> {
        let stream = self.connect(self.http).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        tokio::spawn(connection);
        let request = ask.request("http", true).map(|()| ask.framed());
        Ok(Open::hyper(sender.send_request(request).await.map_err(text)?))
    }

    async fn open_h2(&self, ask: &Ask) -> Result<Open, String> {
        let stream = self.connect(self.https).await?;
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.map_err(text)?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(text)?;
        tokio::spawn(connection);
        let request = ask.request("https", false).map(|()| ask.framed());
        Ok(Open::hyper(sender.send_request(request).await.map_err(text)?))
    }

    async fn open_h3(&self, ask: &Ask) -> Result<Open, String> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client((self.ip, 0).into()).map_err(text)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        // How long silence lasts is the edge's to say, not this client's.
        transport.max_idle_timeout(None);
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        let connecting = endpoint.connect(self.https, "localhost").map_err(text)?;
        let connection = h3_quinn::Connection::new(connecting.await.map_err(text)?);
        let (mut driver, mut sender) = h3::client::new(connection).await.map_err(text)?;
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        let mut stream = sender.send_request(ask.request("https", false)).await.map_err(text)?;
        if !ask.body.is_empty() {
            stream.send_data(ask.body.clone()).await.map_err(text)?;
        }
        if !ask.trailers.is_empty() {
            stream.send_trailers(ask.trailers.clone()).await.map_err(text)?;
        }
        stream.finish().await.map_err(text)?;
        let (parts, ()) = stream.recv_response().await.map_err(text)?.into_parts();
        let body = OpenBody::H3 { stream: Box::new(stream), _keep: (sender, endpoint) };
        Ok(Open { status: parts.status, headers: parts.headers, body })
    }
}

impl Open {
    fn hyper(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: OpenBody::Hyper(body) }
    }

    /// The next bytes of the body.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, String> {
        match &mut self.body {
            OpenBody::Hyper(body) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(text(error)),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some(data));
                        }
                    }
                }
            },
            OpenBody::H3 { stream, .. } => {
                let data = stream.recv_data().await.map_err(text)?;
                Ok(data.map(|mut data| data.copy_to_bytes(data.remaining())))
            }
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn whole_body(&self) -> &Bytes {
        self.body.as_ref().unwrap_or_else(|error| panic!("{:?}: {error}", self.protocol))
    }

    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    pub(crate) fn expect_body(self, body: impl AsRef<[u8]>) -> Self {
        let (found, expected) = (self.whole_body(), body.as_ref());
        assert!(found == expected, "{} bytes instead of {}", found.len(), expected.len());
        self
    }

    pub(crate) fn expect_header(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), value, "{name} of {:?}", self.headers);
        self
    }

    /// The last member of `Cache-Status`, which is that of the edge that was asked, contains these words.
    pub(crate) fn expect_cache(self, words: &str) -> Self {
        let all = self.headers.get_all("cache-status");
        let last = all.iter().next_back().map_or("", |value| value.to_str().unwrap());
        let mut parameters = last.split("; ");
        let is_there = |word: &str| parameters.any(|parameter| parameter == word);
        assert!(words.split(' ').all(is_there), "{words:?} is not in {last:?}");
        self
    }

    pub(crate) fn ttl_s(&self) -> i64 {
        let value = self.headers.get_all("cache-status").iter().next_back().unwrap();
        let ttl = value.to_str().unwrap().split("; ").find_map(|p| p.strip_prefix("ttl="));
        ttl.unwrap_or_else(|| panic!("no ttl in {value:?}")).parse().unwrap()
    }

    pub(crate) fn expect_stale(self) -> Self {
        assert!(self.ttl_s() < 0, "{:?}", self.headers);
        self
    }

    pub(crate) fn expect_broken(self) -> Self {
        let bytes = self.body.as_ref().map(Bytes::len);
        assert!(bytes.is_err(), "{:?}: a whole body of {bytes:?}", self.protocol);
        self
    }
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
