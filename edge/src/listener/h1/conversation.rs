//! One exchange after the other on a connection, until the client, a limit or the drain ends it.
//!
//! Invariant: no request is begun after the drain has started, and one that has begun is finished.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Instant};

use super::{
    connection::{Connection, Next, Phase},
    scan::{Limits, Scan},
    stream::H1Stream,
};
use crate::listener::{
    account::EXCHANGE,
    bell::Bell,
    downstream::{Downstream, Protocol},
    refusal::Refusal,
    serving::Serving,
    stream::{App, Request},
    tcp::Transport,
};

/// Serves a connection to its end.
pub(in crate::listener) async fn converse<A: App>(
    mut io: Transport,
    serving: Arc<Serving<A>>,
    bell: Arc<Bell>,
) {
    let _open = serving.metrics.connection(Protocol::Http1);
    let downstream = Downstream {
        protocol: Protocol::Http1,
        client: io.client(),
        tls: io.is_tls(),
        early_data: false,
    };
    io.gather_at_most(PIECE_BYTES);
    let listening = poll_fn(|cx| Poll::Ready(bell.listen(cx))).await;
    let limits = limits(&serving.limits);
    let mut connection =
        Box::new(Connection::new(io, serving.account.nothing(), listening, &serving.limits));
    let mut begun = 0;
    loop {
        let mut scan = Scan::default();
        let next = poll_fn(|cx| connection.poll_next(cx, &mut scan, &limits)).await;
        let head = match next {
            Ok(Next::Request(head)) => *head,
            Ok(Next::Refused(refusal)) => {
                serving.metrics.request_refused(Protocol::Http1, refusal.as_str());
                connection.refuse(refusal).await;
                break;
            }
            Ok(Next::End) => break,
            Err(error) => return tracing::debug!(%error, "H1 connection broke"),
        };
        if !connection.room.cover(EXCHANGE) {
            serving.metrics.request_refused(Protocol::Http1, Refusal::Busy.as_str());
            connection.refuse(Refusal::Busy).await;
            break;
        }
        begun += 1;
        connection.begin(&head, begun >= serving.limits.requests_per_connection_max);
        let request = Request {
            method: head.method,
            authority: head.authority,
            target: head.target,
            headers: head.headers,
            body: head.body,
            expects_continue: head.expects_continue,
            downstream,
            arrived_at: Instant::now(),
        };
        let stream = serving.app.serve(request, H1Stream(connection)).await;
        connection = stream.0;
        match settle(&mut connection, &serving).await {
            After::Again => connection.room.rest(),
            After::Close => break,
            After::Cut => {
                if connection.io.was_slow() {
                    serving.metrics.cut(Protocol::Http1, "slow");
                    connection.io.abort();
                }
                return;
            }
        }
    }
    connection.io.close().await;
}

/// What becomes of the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Again,
    Close,
    Cut,
}

async fn settle<A: App>(connection: &mut Connection, serving: &Serving<A>) -> After {
    if !connection.is_finished {
        let (Some(fault), Phase::Waiting) = (connection.fault, connection.phase) else {
            return After::Cut;
        };
        // The app has given up because of the body; nothing was said to the client yet.
        serving.metrics.request_refused(Protocol::Http1, fault.as_str());
        connection.refuse(fault).await;
        return After::Close;
    }
    if connection.is_last || !connection.is_body_short() || !connection.discard_body().await {
        return After::Close;
    }
    if connection.io.is_over() { After::Close } else { After::Again }
}

fn limits(limits: &crate::listener::config::Limits) -> Limits {
    let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    Limits {
        // With the longest method and the version around the target.
        line_bytes_max: bytes(limits.target_bytes_max).saturating_add(LINE_BYTES_MORE),
        bytes_max: bytes(limits.header_bytes_max),
        headers_max: limits.headers_max,
    }
}

/// Bytes that are encrypted and written at once; measured on loopback, 32 to 48 KiB is best.
const PIECE_BYTES: usize = 48 * 1024;
/// Method, version and blanks in the first line.
const LINE_BYTES_MORE: usize = 42;
