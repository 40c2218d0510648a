//! HTTP/3: the streams of one connection, each an exchange in its own task.
//!
//! Invariant: the connection is closed only after the last response was acknowledged or given up;
//! closing a QUIC connection throws away what is still on its way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{Digest, SocketDigest, TimingDigest};
use quinn::VarInt;

use super::h3_stream::H3Stream;
use super::stream::Stream;
use super::transport::{self, Accepted, BidiStream};
use crate::listener::downstream::{Downstream, Protocol};
use crate::listener::exchanges::Exchanges;
use crate::listener::request::{self, Refusal};
use crate::listener::serving::Serving;
use crate::listener::session::StreamSession;

type H3 = h3::server::Connection<transport::Connection, Bytes>;
type Resolver = RequestResolver<transport::Connection, Bytes>;

/// Serves a connection until the client, a limit or the drain ends it.
pub(super) async fn converse<A>(quinn: quinn::Connection, serving: Arc<Serving<A>>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let frame_bytes_max =
        usize::try_from(serving.quic.frame_bytes_max.as_u64()).unwrap_or(usize::MAX);
    let (transport, accepted) = transport::Connection::new(quinn.clone(), frame_bytes_max);
    let built = h3::server::builder()
        .max_field_section_size(serving.limits.header_bytes_max.as_u64())
        .build(transport)
        .await;
    let Ok(mut h3) = built else { return };
    let _open = serving.metrics.connection(Protocol::Http3);
    let conversation = Arc::new(Conversation {
        digest: digest(&quinn),
        address: quinn.remote_address(),
        exchanges: Exchanges::new(),
        malformed: AtomicU32::new(0),
        quinn,
        serving,
    });
    conversation.run(&mut h3, &accepted).await;
    conversation.exchanges.all_done().await;
}

struct Conversation<A> {
    serving: Arc<Serving<A>>,
    quinn: quinn::Connection,
    address: SocketAddr,
    digest: Arc<Digest>,
    exchanges: Arc<Exchanges>,
    malformed: AtomicU32,
}

impl<A> Conversation<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn run(self: &Arc<Self>, h3: &mut H3, accepted: &Accepted) {
        let mut is_closing = false;
        loop {
            let quiet =
                if is_closing { self.round_trip() } else { self.serving.limits.idle_timeout };
            let next = tokio::select! {
                biased;
                () = self.serving.drain.started(), if !is_closing => None,
                next = h3.accept() => Some(next),
                () = self.exchanges.idle_for(quiet) => return,
            };
            match next {
                None => {
                    is_closing = true;
                    // The client learns that it should go, but nothing that is on its way is
                    // refused (RFC 9114 5.2).
                    if h3.shutdown(usize::MAX).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Some(resolver))) => self.begin(resolver, accepted.take()),
                Some(Ok(None)) => return,
                Some(Err(error)) => return tracing::debug!(%error, "H3 connection ended"),
            }
        }
    }

    /// Time in which a request that was sent before GOAWAY arrived there is here.
    fn round_trip(&self) -> Duration {
        (self.quinn.rtt() * 2).clamp(CLOSE_TIME_MIN, CLOSE_TIME_MAX)
    }

    /// Starts one exchange.
    fn begin(self: &Arc<Self>, resolver: Resolver, stream: Option<Arc<Stream>>) {
        // The transport puts it there before h3 returns the request.
        let Some(stream) = stream else { return };
        let (conversation, open) = (self.clone(), self.exchanges.begin());
        self.serving.tasks.spawn(async move {
            let _open = open;
            conversation.exchange(resolver, &stream).await;
            // Until the client has it all, the connection must not be closed under it.
            let limit = conversation.serving.limits.write_timeout;
            let _ = tokio::time::timeout(limit, stream.stopped()).await;
        });
    }

    async fn exchange(&self, resolver: Resolver, stream: &Arc<Stream>) {
        let resolving = resolver.resolve_request();
        let resolved = tokio::time::timeout(self.serving.limits.header_timeout, resolving).await;
        let (request, h3) = match resolved {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(error)) => return self.failed(&error, stream).await,
            Err(_) => return stream.reset(Code::H3_REQUEST_INCOMPLETE),
        };
        stream.allow_more();
        stream.set_priority(-i32::from(request::urgency(request.headers())));
        match self.session(request, h3, stream) {
            Ok(session) => {
                let session = ServerSession::new_custom(Box::new(session));
                self.serving.app.process_new_http(session, &self.serving.shutdown).await;
            }
            Err((refusal, h3)) => self.refuse(refusal, h3, stream).await,
        }
    }

    #[allow(clippy::result_large_err)] // the stream goes back to be answered
    fn session(
        &self,
        request: Request<()>,
        h3: RequestStream<BidiStream, Bytes>,
        stream: &Arc<Stream>,
    ) -> Result<StreamSession<H3Stream>, (Refusal, RequestStream<BidiStream, Bytes>)> {
        let (parts, ()) = request.into_parts();
        let client = self.quinn.remote_address();
        let downstream = Downstream {
            protocol: Protocol::Http3,
            client,
            tls: true,
            early_data: stream.is_early_data(),
        };
        let header = match request::admit(parts, downstream) {
            Ok(header) => header,
            Err(refusal) => return Err((refusal, h3)),
        };
        // The client may have moved to another address since the connection began.
        let digest = if client == self.address { self.digest.clone() } else { digest(&self.quinn) };
        let has_length = header.headers.contains_key(CONTENT_LENGTH);
        let carrier = H3Stream::new(h3, stream.clone(), &header.method, has_length);
        Ok(StreamSession::new(header, carrier, digest, &self.serving.limits))
    }

    async fn refuse(
        &self,
        refusal: Refusal,
        mut h3: RequestStream<BidiStream, Bytes>,
        stream: &Stream,
    ) {
        let mut response = Response::new(());
        *response.status_mut() = refusal.status();
        // Either fails only if the client is gone, and then nobody waits for the answer.
        let _ = h3.send_response(response).await;
        let _ = std::future::poll_fn(|cx| stream.poll_finish(cx)).await;
        h3.stop_sending(Code::H3_NO_ERROR);
        self.count(refusal);
    }

    /// h3 could not make a request of the stream.
    async fn failed(&self, error: &StreamError, stream: &Stream) {
        tracing::debug!(%error, "H3 request not understood");
        match error {
            // h3 has answered 431 itself, but not ended the stream.
            StreamError::HeaderTooBig { .. } => {
                let _ = std::future::poll_fn(|cx| stream.poll_finish(cx)).await;
                return self.count(Refusal::HeaderTooLarge);
            }
            StreamError::StreamError { code, .. } => stream.reset(*code),
            _ => stream.reset(Code::H3_EXCESSIVE_LOAD),
        }
        self.count(Refusal::Malformed("not understood by h3"));
    }

    fn count(&self, refusal: Refusal) {
        self.serving.metrics.request_refused(Protocol::Http3, refusal.as_str());
        if !matches!(refusal, Refusal::Malformed(_)) {
            return;
        }
        let malformed = self.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        if malformed >= self.serving.limits.malformed_requests_max {
            let code = VarInt::from_u64(Code::H3_EXCESSIVE_LOAD.value()).unwrap_or(VarInt::MAX);
            self.quinn.close(code, b"too many malformed requests");
        }
    }
}

/// What Pingora's sessions tell of a QUIC connection. There is no socket of its own, so the
/// addresses are filled in and the rest stays unknown.
fn digest(quinn: &quinn::Connection) -> Arc<Digest> {
    let socket = SocketDigest::from_raw_fd(NO_FD);
    let local = quinn.local_ip().map(|ip| PingoraAddr::Inet((ip, 0).into()));
    let _ = socket.peer_addr.set(Some(PingoraAddr::Inet(quinn.remote_address())));
    let _ = socket.local_addr.set(local);
    let _ = socket.original_dst.set(None);
    Arc::new(Digest {
        ssl_digest: Some(Arc::new(SslDigest::new("", "TLSv1.3", None, None, Vec::new()))),
        timing_digest: vec![Some(TimingDigest {
            established_ts: SystemTime::now(),
            ..TimingDigest::default()
        })],
        proxy_digest: None,
        socket_digest: Some(Arc::new(socket)),
    })
}

/// Bounds of the time between GOAWAY and the end of a connection without exchanges.
const CLOSE_TIME_MIN: Duration = Duration::from_millis(50);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// Stands for "no file descriptor".
const NO_FD: i32 = -1;
