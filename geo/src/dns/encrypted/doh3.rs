//! DNS over HTTP/3: as [`super::doh`], over QUIC.
//!
//! Invariant: requests, headers, bodies and silence of a connection have limits.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::BidiStream;
use http::StatusCode;
use quinn::Connection;
use tokio::{task::JoinSet, time::timeout};

use super::{
    exchange::{Desk, EXCHANGE_WAIT, QUERY_MAX},
    http::{Wanted, answered, refused, wanted},
    metrics::Ended,
};

/// Answers the requests of a connection.
pub(super) async fn converse(connection: Connection, desk: Desk) {
    let client = connection.remote_address();
    let mut builder = h3::server::builder();
    let built = builder
        .max_field_section_size(HEADERS_MAX)
        .build::<_, Bytes>(h3_quinn::Connection::new(connection));
    let Ok(Ok(mut h3)) = timeout(EXCHANGE_WAIT, built).await else {
        desk.ended(Ended::Protocol);
        return;
    };
    let mut requests = JoinSet::new();
    let mut left = desk.config.queries_max;
    let reason = loop {
        let request = tokio::select! {
            request = timeout(desk.config.idle, h3.accept()) => request,
            Some(_) = requests.join_next(), if !requests.is_empty() => continue,
            () = desk.drain.started() => break None,
        };
        match request {
            Ok(Ok(Some(request))) => {
                let desk = desk.clone();
                requests.spawn(async move {
                    let served = serve(request, client, &desk);
                    // A client that is slower loses its request.
                    let _ = timeout(3 * EXCHANGE_WAIT, served).await;
                });
            }
            // The client closed it, or broke a rule, of which it has been told.
            Ok(Ok(None) | Err(_)) => break None,
            Err(_) if !requests.is_empty() => continue,
            Err(_) => break Some(Ended::Idle),
        }
        left -= 1;
        if left == 0 {
            break Some(Ended::Queries);
        }
    };
    if let Some(reason) = reason {
        desk.ended(reason);
    }
    // What was asked is answered, and nothing more is taken.
    let _ = timeout(EXCHANGE_WAIT, h3.shutdown(0)).await;
    while requests.join_next().await.is_some() {}
}

async fn serve(
    request: RequestResolver<h3_quinn::Connection, Bytes>,
    client: SocketAddr,
    desk: &Desk,
) -> Result<(), h3::error::StreamError> {
    let (request, mut stream) = request.resolve_request().await?;
    let (head, ()) = request.into_parts();
    let query = match wanted(&head) {
        Wanted::Answer(query) => Ok(query),
        Wanted::Refused(status) => Err(status),
        Wanted::AnswerToBody => body_of(&mut stream).await?,
    };
    let answer = query.and_then(|query| desk.answer(&query, client).ok_or(StatusCode::BAD_REQUEST));
    match answer {
        Ok(answer) => {
            stream.send_response(answered(&answer)).await?;
            stream.send_data(Bytes::from(answer)).await?;
        }
        Err(status) => stream.send_response(refused(status)).await?,
    }
    stream.finish().await
}

async fn body_of(
    stream: &mut RequestStream<BidiStream<Bytes>, Bytes>,
) -> Result<Result<Vec<u8>, StatusCode>, h3::error::StreamError> {
    let mut body = BytesMut::new();
    while let Some(mut data) = stream.recv_data().await? {
        if body.len() + data.remaining() > QUERY_MAX {
            return Ok(Err(StatusCode::PAYLOAD_TOO_LARGE));
        }
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    Ok(Ok(body.into()))
}

/// The most of a request's headers: a URI with the largest query, and what browsers say of themselves.
const HEADERS_MAX: u64 = 16 * 1024;
