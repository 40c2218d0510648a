//! The streams of one connection, each an exchange.
//!
//! Invariant: a client that keeps sending malformed requests, frames that move nothing, or no requests at all, loses
//! the connection.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::{
    HeaderValue, Method, Request, Response,
    header::{DATE, RETRY_AFTER},
};
use tokio::time::Instant;

use super::{exchanges::Exchanges, frame_watch::Fault, gather::Gather, stream::H2Stream};
use crate::listener::{
    alarm::Alarm,
    bell::{Bell, Listening},
    config::Limits,
    downstream::{Downstream, Protocol},
    priority::Priority,
    request::{self, Refusal},
    serving::Serving,
    stream::{App, BodyLength},
    tcp::Transport,
};

/// Serves a connection to its end.
pub(in crate::listener) async fn converse<A: App>(
    io: Transport,
    serving: Arc<Serving<A>>,
    bell: Arc<Bell>,
) {
    let downstream = Downstream {
        protocol: Protocol::Http2,
        client: io.client(),
        tls: io.is_tls(),
        early_data: false,
    };
    let gather = Gather::new(io, &serving.limits);
    let shaken =
        tokio::time::timeout(serving.limits.handshake_timeout, handshake(&gather, &serving.limits))
            .await;
    let Ok(Ok(connection)) = shaken else { return serving.metrics.refused("handshake") };
    let _open = serving.metrics.connection(Protocol::Http2);
    let mut conversation = Conversation {
        connection,
        exchanges: Exchanges::new(gather.clone(), &serving.limits, serving.account.clone()),
        gather: gather.clone(),
        downstream,
        bell: poll_fn(|cx| Poll::Ready(bell.listen(cx))).await,
        malformed: 0,
        has_begun: false,
        is_hurried: false,
        is_closing: false,
        is_blocked: false,
        quiet_since: None,
        quiet: Alarm::default(),
        serving: serving.clone(),
    };
    poll_fn(|cx| conversation.poll(cx)).await;
    conversation.exchanges.order().close();
    drop(conversation);
    let Some(io) = gather.take() else { return };
    if io.was_slow() {
        serving.metrics.cut(Protocol::Http2, "slow");
        return io.abort();
    }
    io.close().await;
}

struct Conversation<A> {
    connection: Connection<Gather, Bytes>,
    gather: Gather,
    exchanges: Arc<Exchanges>,
    downstream: Downstream,
    bell: Listening,
    malformed: u32,
    /// A request has come.
    has_begun: bool,
    /// The drain has begun, and the first request has little time left.
    is_hurried: bool,
    /// No further request is taken.
    is_closing: bool,
    /// The client does not take what is ready.
    is_blocked: bool,
    /// Since when no exchange is open and everything has left.
    quiet_since: Option<Instant>,
    quiet: Alarm,
    serving: Arc<Serving<A>>,
}

impl<A: App> Conversation<A> {
    /// One turn: takes everything that has come, serves what need not wait, and lets everything leave together.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchanges.listen(cx);
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "H2 connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if !self.is_closing && self.bell.has_rung() {
                if self.has_begun {
                    self.close_gracefully();
                    continue;
                }
                if !self.is_hurried {
                    // A client that has just come has its first request on the way.
                    self.is_hurried = true;
                    self.quiet_since = None;
                }
            }
            if let (false, Some(fault)) = (self.is_closing, self.gather.fault()) {
                self.close_abruptly(match fault {
                    Fault::Flood => Reason::ENHANCE_YOUR_CALM,
                    Fault::Trailers => Reason::PROTOCOL_ERROR,
                });
                continue;
            }
            match self.gather.poll_push(cx) {
                Poll::Ready(Ok(())) => {
                    self.is_blocked = false;
                    if self.exchanges.order().drained() {
                        // After the streams that have room again.
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "H2 connection broke");
                    return Poll::Ready(());
                }
                Poll::Pending => self.is_blocked = true,
            }
            for (stream, priority) in self.gather.take_updates() {
                let streams_max = self.serving.limits.streams_per_connection_max as usize;
                self.exchanges.order().update(stream, priority, streams_max);
            }
            ready!(self.poll_quiet(cx));
            if self.is_closing {
                return Poll::Ready(());
            }
            self.close_gracefully();
        }
    }

    /// Ready when nothing has happened for as long as that is allowed.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.exchanges.open() > 0 || self.is_blocked {
            self.quiet_since = None;
            self.quiet.clear();
            return Poll::Pending;
        }
        let time = match (self.is_closing, self.is_hurried) {
            (true, _) => CLOSE_TIME,
            (false, true) => self.serving.limits.header_timeout.min(FIRST_REQUEST_TIME),
            (false, false) => self.serving.limits.idle_timeout,
        };
        if self.quiet_since.is_none() {
            let now = Instant::now();
            self.quiet_since = Some(now);
            self.quiet.set(now + time);
        }
        self.quiet.poll(cx)
    }

    fn close_gracefully(&mut self) {
        self.connection.graceful_shutdown();
        self.is_closing = true;
        self.quiet_since = None;
    }

    /// Ends the connection of a client that is too much.
    fn close_abruptly(&mut self, reason: Reason) {
        let is_calm = reason == Reason::ENHANCE_YOUR_CALM;
        self.serving.metrics.cut(Protocol::Http2, if is_calm { "calm" } else { "malformed" });
        self.connection.abrupt_shutdown(reason);
        self.is_closing = true;
        self.quiet_since = None;
    }

    /// Serves one request, in a task of its own only when it has to wait.
    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        self.has_begun = true;
        let (parts, body) = request.into_parts();
        let length = if body.is_end_stream() { BodyLength::Empty } else { BodyLength::Unknown };
        let priority = Priority::of(&parts.headers);
        let is_head = parts.method == Method::HEAD;
        let admitted = request::check_limits(&parts, &self.serving.limits)
            .and_then(|()| request::admit(parts, self.downstream, length));
        let request = match admitted {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal, &mut respond),
        };
        let Some(open) = self.exchanges.begin() else {
            return self.refuse(Refusal::Busy, &mut respond);
        };
        self.quiet_since = None;
        let stream = H2Stream::new(body, respond, is_head, priority, open);
        let app = self.serving.app.clone();
        let mut exchange = Box::pin(async move { drop(app.serve(request, stream).await) });
        // What waits is polled again by its own task, so nobody needs to be woken from here. A panic ends one
        // exchange, as it would in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            exchange.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        if let Ok(Poll::Pending) = polled {
            self.serving.tasks.spawn(exchange);
        }
    }

    fn refuse(&mut self, refusal: Refusal, respond: &mut SendResponse<Bytes>) {
        self.serving.metrics.request_refused(Protocol::Http2, refusal.as_str());
        let mut response = Response::new(());
        *response.status_mut() = refusal.status();
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
            response.headers_mut().insert(DATE, date);
        }
        if let Some(after) = refusal.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        // Fails only if the client has reset the stream, which is as good an end.
        let _ = respond.send_response(response, true);
        self.malformed += u32::from(matches!(refusal, Refusal::Malformed(_)));
        if self.malformed == self.serving.limits.malformed_requests_max {
            self.close_abruptly(Reason::ENHANCE_YOUR_CALM);
        }
    }
}

async fn handshake(
    gather: &Gather,
    limits: &Limits,
) -> Result<Connection<Gather, Bytes>, h2::Error> {
    let mut shaking = pin!(settings(limits).handshake::<_, Bytes>(gather.clone()));
    poll_fn(|cx| {
        let polled = shaking.as_mut().poll(cx);
        // A failure shows when the connection is read or written next.
        let _ = gather.poll_push(cx);
        polled
    })
    .await
}

/// The settings that bound a client. h2 itself guards against endless CONTINUATION frames and floods of tiny DATA
/// frames, and resets streams beyond the limit.
fn settings(limits: &Limits) -> Builder {
    let mut settings = Builder::new();
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

/// Request bytes one stream may have unread at the edge, and all streams of a connection together; as for QUIC.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// For the first request of a connection that has come when the drain begins.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);
/// Time for a client to answer GOAWAY once no exchange is open.
const CLOSE_TIME: Duration = Duration::from_secs(2);
