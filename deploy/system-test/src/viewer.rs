//! One client that speaks one protocol and believes one authority.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, Method, Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::{Instant, sleep};

/// The protocols of a PoP's one authority.
pub const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Http3,
}

/// A client with connections of its own.
#[derive(Clone)]
pub struct Viewer {
    pub protocol: Protocol,
    transport: Transport,
    begun: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Transport {
    Tcp(reqwest::Client),
    Quic(quinn::Endpoint),
}

/// What came back, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Viewer {
    /// A client that trusts the authority of a PEM.
    pub fn new(protocol: Protocol, ca_pem: &str) -> Self {
        let transport = match protocol {
            Protocol::Http1 => Transport::Tcp(tcp(ca_pem, reqwest::ClientBuilder::http1_only)),
            Protocol::Http2 => {
                Transport::Tcp(tcp(ca_pem, reqwest::ClientBuilder::http2_prior_knowledge))
            }
            Protocol::Http3 => Transport::Quic(quic(ca_pem)),
        };
        Self { protocol, transport, begun: Arc::default() }
    }

    /// Whether the head of an answer has ever come.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Asks for a resource and takes all of it.
    ///
    /// # Errors
    /// When the connection breaks or the body ends early.
    pub async fn try_get(&self, authority: &str, path: &str) -> anyhow::Result<Answer> {
        self.read(authority, path, None).await
    }

    /// As [`Self::try_get`], for a story that needs the answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&self, authority: &str, path: &str) -> Answer {
        match self.try_get(authority, path).await {
            Ok(answer) => answer,
            Err(error) => panic!("{self:?} https://{authority}{path}: {error:#}"),
        }
    }

    /// Takes the body no faster than so many bytes a second.
    ///
    /// # Errors
    /// When the connection breaks or the body ends early.
    pub async fn get_slowly(
        &self,
        authority: &str,
        path: &str,
        bytes_per_second: u64,
    ) -> anyhow::Result<Answer> {
        self.read(authority, path, Some(bytes_per_second)).await
    }

    async fn read(&self, authority: &str, path: &str, rate: Option<u64>) -> anyhow::Result<Answer> {
        match &self.transport {
            Transport::Tcp(client) => over_tcp(client, authority, path, rate, &self.begun).await,
            Transport::Quic(endpoint) => {
                over_quic(endpoint, authority, path, rate, &self.begun).await
            }
        }
    }
}

impl Answer {
    /// A header as text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Viewer({:?})", self.protocol)
    }
}

fn tcp(
    ca_pem: &str,
    speak: fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    speak(reqwest::Client::builder().tls_certs_only([ca])).timeout(ANSWER_TIME_MAX).build().unwrap()
}

fn quic(ca_pem: &str) -> quinn::Endpoint {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let mut tls =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = quinn::TransportConfig::default();
    // How long silence lasts is the edge's to say.
    transport.max_idle_timeout(None);
    // As a player that reads slowly has it: little may wait unread.
    transport.stream_receive_window(QUIC_WINDOW_BYTES.into());
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

async fn over_tcp(
    client: &reqwest::Client,
    authority: &str,
    path: &str,
    rate: Option<u64>,
    begun: &AtomicBool,
) -> anyhow::Result<Answer> {
    let answer = client.get(format!("https://{authority}{path}")).send().await?;
    begun.store(true, Ordering::Relaxed);
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut chunks = answer.bytes_stream();
    let mut pace = Pace::new(rate);
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        pace.spend(chunk.len()).await;
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

async fn over_quic(
    endpoint: &quinn::Endpoint,
    authority: &str,
    path: &str,
    rate: Option<u64>,
    begun: &AtomicBool,
) -> anyhow::Result<Answer> {
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| anyhow::anyhow!("no port"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    let connection = endpoint.connect(address, host)?.await?;
    let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driving = tokio::spawn(async move { driver.wait_idle().await });
    let request =
        Request::builder().method(Method::GET).uri(format!("https://{authority}{path}")).body(())?;
    let mut stream = sender.send_request(request).await?;
    // A server may answer before it has read the end of the request, and then stops reading (RFC 9114, 4.1).
    let _ = stream.finish().await;
    let answer = stream.recv_response().await?;
    begun.store(true, Ordering::Relaxed);
    let mut pace = Pace::new(rate);
    let mut body = BytesMut::new();
    while let Some(mut chunk) = stream.recv_data().await? {
        pace.spend(chunk.remaining()).await;
        body.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    driving.abort();
    Ok(Answer { status: answer.status(), headers: answer.headers().clone(), body: body.freeze() })
}

/// Waits so that bytes do not come faster than a rate.
struct Pace {
    rate: Option<u64>,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, began: Instant::now(), bytes: 0 }
    }

    async fn spend(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        self.bytes += bytes as u64;
        let due = Duration::from_millis(self.bytes * 1000 / rate);
        sleep(due.saturating_sub(self.began.elapsed())).await;
    }
}

/// Debug builds on a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
const QUIC_WINDOW_BYTES: u32 = 256 * 1024;
