//! DNS over HTTP/2 (RFC 8484).
//!
//! Invariant: streams, headers, bodies, queries and silence of a connection have limits.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    dot::{accept, shake_hands},
    exchange::{Desk, EXCHANGE_WAIT, QUERY_MAX},
    http::{Wanted, answered, refused, wanted},
    metrics::Ended,
};

/// Takes connections until the drain.
pub(super) async fn serve(listener: TcpListener, tls: ServerConfig, desk: Desk) -> io::Result<()> {
    let tls = TlsAcceptor::from(Arc::new(tls));
    while let Some((stream, client)) = accept(&listener, &desk).await {
        let Some(place) = desk.place(client) else { continue };
        let (tls, desk) = (tls.clone(), desk.clone());
        tokio::spawn(async move {
            if let Some(stream) = shake_hands(&tls, stream, &desk).await {
                converse(stream, client, &desk).await;
            }
            drop(place);
        });
    }
    Ok(())
}

async fn converse(stream: TlsStream<TcpStream>, client: SocketAddr, desk: &Desk) {
    let (queries, asked) = (AtomicU32::new(0), Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let _ = queries.fetch_add(1, Ordering::Relaxed);
        asked.notify_one();
        respond(request, client, desk.clone())
    });
    let limits = &desk.config;
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.queries_at_once_max)
        .max_header_list_size(HEADERS_MAX)
        .initial_stream_window_size(QUERY_MAX as u32)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_MAX)
        .max_pending_accept_reset_streams(Some(RESETS_MAX))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let reason = loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = asked.notified() => {
                if queries.load(Ordering::Relaxed) >= limits.queries_max {
                    break Some(Ended::Queries);
                }
            }
            () = sleep(limits.idle) => break Some(Ended::Idle),
            () = desk.drain.started() => break None,
        }
    };
    if let Some(reason) = reason {
        desk.ended(reason);
    }
    // What was asked is answered, and nothing more is taken.
    connection.as_mut().graceful_shutdown();
    let _ = timeout(EXCHANGE_WAIT, connection).await;
}

async fn respond(
    request: Request<Incoming>,
    client: SocketAddr,
    desk: Desk,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let query = match wanted(&head) {
        Wanted::Answer(query) => Ok(Bytes::from(query)),
        Wanted::Refused(status) => Err(status),
        Wanted::AnswerToBody => {
            match timeout(EXCHANGE_WAIT, Limited::new(body, QUERY_MAX).collect()).await {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
                Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
    };
    let answer = query.and_then(|query| desk.answer(&query, client).ok_or(StatusCode::BAD_REQUEST));
    Ok(match answer {
        Ok(answer) => answered(&answer).map(|()| Full::from(answer)),
        Err(status) => refused(status).map(|()| Full::default()),
    })
}

/// The most of a request's headers: a URI with the largest query, and what browsers say of themselves.
const HEADERS_MAX: u32 = 16 * 1024;
/// What a client may send ahead on all streams.
const WINDOW: u32 = 64 * 1024;
/// What waits on a stream for a client that reads slowly: an answer.
const SEND_MAX: usize = 64 * 1024;
/// Streams that a client takes back before they were looked at.
const RESETS_MAX: usize = 20;
