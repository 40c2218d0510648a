//! HTTP/1.x: one request after the other on a connection, Pingora's own session for each.
//!
//! Invariant: no request is begun after the drain has started, and one that has begun is finished.

use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;

use super::header_meter::HeaderMeter;
use super::stream::EdgeStream;
use crate::listener::downstream::Protocol;
use crate::listener::serving::Serving;

/// Serves a connection until the client, a limit or the drain ends it.
pub(super) async fn converse<A>(stream: EdgeStream, serving: Arc<Serving<A>>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let _open = serving.metrics.connection(Protocol::Http1);
    let meter = stream.header_meter();
    let mut session = ServerSession::new_http1(Box::new(stream) as Stream);
    session.set_keepalive_reuses_remaining(Some(serving.limits.requests_per_connection_max));
    loop {
        meter.expect_header();
        // Every time anew: reading a request sets it to "for ever". It bounds the wait for the first
        // request too, since a client that says nothing is idle.
        session.set_keepalive(Some(serving.limits.idle_timeout.as_secs().max(1)));
        session.set_read_timeout(Some(serving.limits.body_timeout));
        let Some(reused) = exchange(session, &meter, &serving).await else { return };
        let (mut stream, settings) = reused.consume();
        if serving.drain.is_started() {
            stream.shutdown().await;
            return;
        }
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
    }
}

/// One request and its response. When the drain starts before any of the request has come, the
/// connection just ends: the client knows that it may send it again elsewhere (RFC 9110 9.2.2).
async fn exchange<A>(
    session: ServerSession,
    meter: &HeaderMeter,
    serving: &Serving<A>,
) -> Option<pingora::apps::ReusedHttpStream>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let exchange = serving.app.process_new_http(session, &serving.shutdown);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        reused = &mut exchange => reused,
        () = serving.drain.started() => {
            if meter.is_waiting() {
                return None;
            }
            exchange.await
        }
    }
}
