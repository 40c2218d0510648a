//! HTTP/2: the streams of one connection, each an exchange in its own task.
//!
//! Invariant: a client that keeps sending malformed requests, or none at all, loses the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use pingora::apps::HttpServerApp;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;

use super::h2_stream::H2Stream;
use super::stream::EdgeStream;
use crate::listener::config::Limits;
use crate::listener::downstream::{Downstream, Protocol};
use crate::listener::exchanges::Exchanges;
use crate::listener::request::{self, Refusal};
use crate::listener::serving::Serving;
use crate::listener::session::StreamSession;

/// Serves a connection until the client, a limit or the drain ends it.
pub(super) async fn converse<A>(stream: EdgeStream, client: SocketAddr, serving: Arc<Serving<A>>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let digest = Arc::new(stream.digest());
    let handshake = settings(&serving.limits).handshake::<_, Bytes>(stream);
    let shaken = tokio::time::timeout(serving.limits.handshake_timeout, handshake).await;
    let Ok(Ok(connection)) = shaken else { return serving.metrics.refused("handshake") };
    let _open = serving.metrics.connection(Protocol::Http2);
    let conversation = Conversation {
        downstream: Downstream {
            protocol: Protocol::Http2,
            client,
            tls: digest.ssl_digest.is_some(),
            early_data: false,
        },
        digest,
        exchanges: Exchanges::new(),
        malformed: 0,
        serving,
    };
    conversation.run(connection).await;
}

struct Conversation<A> {
    serving: Arc<Serving<A>>,
    downstream: Downstream,
    digest: Arc<Digest>,
    exchanges: Arc<Exchanges>,
    malformed: u32,
}

impl<A> Conversation<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn run(mut self, mut connection: Connection<EdgeStream, Bytes>) {
        let mut is_closing = false;
        loop {
            // Once closing, what may be left is a client that does not answer GOAWAY, or the rest of
            // bodies that a slow one has not taken yet.
            let quiet = match (is_closing, connection.has_streams()) {
                (false, _) => self.serving.limits.idle_timeout,
                (true, true) => self.serving.limits.write_timeout,
                (true, false) => CLOSE_TIME,
            };
            let next = tokio::select! {
                biased;
                () = self.serving.drain.started(), if !is_closing => None,
                next = connection.accept() => Some(next),
                () = self.exchanges.idle_for(quiet) => {
                    if is_closing {
                        return;
                    }
                    None
                }
            };
            match next {
                None => {
                    connection.graceful_shutdown();
                    is_closing = true;
                }
                Some(Some(Ok((request, respond)))) => {
                    if !self.begin(request, respond) {
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        is_closing = true;
                    }
                }
                Some(Some(Err(error))) => {
                    return tracing::debug!(%error, "H2 connection ended");
                }
                Some(None) => return,
            }
        }
    }

    /// Starts one exchange; false when the client has sent too many malformed requests.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> bool {
        let (parts, body) = request.into_parts();
        let header = match request::admit(parts, self.downstream) {
            Ok(header) => header,
            Err(refusal) => return self.refuse(refusal, respond),
        };
        let session = StreamSession::new(
            header,
            H2Stream::new(body, respond),
            self.digest.clone(),
            &self.serving.limits,
        );
        let (serving, open) = (self.serving.clone(), self.exchanges.begin());
        self.serving.tasks.spawn(async move {
            let _open = open;
            let session = ServerSession::new_custom(Box::new(session));
            serving.app.process_new_http(session, &serving.shutdown).await;
        });
        true
    }

    fn refuse(&mut self, refusal: Refusal, mut respond: SendResponse<Bytes>) -> bool {
        self.serving.metrics.request_refused(Protocol::Http2, refusal.as_str());
        let mut response = Response::new(());
        *response.status_mut() = refusal.status();
        // Fails only if the client has reset the stream, which is as good an end.
        let _ = respond.send_response(response, true);
        self.malformed += u32::from(matches!(refusal, Refusal::Malformed(_)));
        self.malformed < self.serving.limits.malformed_requests_max
    }
}

/// The settings that bound a client. h2 itself guards against rapid resets (CVE-2023-44487), endless
/// CONTINUATION frames and floods of tiny DATA frames.
fn settings(limits: &Limits) -> h2::server::Builder {
    let mut settings = h2::server::Builder::new();
    settings
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(clamped(limits.header_bytes_max.as_u64()))
        .max_send_buffer_size(clamped(limits.send_buffer.as_u64()) as usize)
        .max_local_error_reset_streams(Some(limits.malformed_requests_max as usize))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    settings
}

fn clamped(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Request bytes one stream may have unread at the edge, and all streams of a connection together;
/// as for QUIC.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Time for a client to answer GOAWAY once no exchange is open.
const CLOSE_TIME: Duration = Duration::from_secs(2);
