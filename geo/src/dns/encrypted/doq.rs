//! DNS over QUIC (RFC 9250): a stream for each query.
//!
//! Invariant: a client that breaks the rules loses its connection; one that is slow on a stream loses that stream.

use std::net::SocketAddr;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::{task::JoinSet, time::timeout};

use super::{
    exchange::{Desk, EXCHANGE_WAIT, QUERY_MAX},
    message::{KEEPALIVE, Outline},
    metrics::Ended,
};

/// Answers the queries of a connection.
pub(super) async fn converse(connection: Connection, desk: Desk) {
    let client = connection.remote_address();
    let mut streams = JoinSet::new();
    let mut left = desk.config.queries_max;
    let reason = loop {
        let stream = tokio::select! {
            stream = timeout(desk.config.idle, connection.accept_bi()) => stream,
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                match ended {
                    Ok(Err(Fatal)) => break Some(Ended::Protocol),
                    _ => continue,
                }
            }
            () = desk.drain.started() => break None,
        };
        match stream {
            Ok(Ok((send, receive))) => {
                let desk = desk.clone();
                streams.spawn(async move { exchange(send, receive, client, &desk).await });
            }
            // The client closed it, or was not heard of.
            Ok(Err(_)) => return,
            Err(_) if !streams.is_empty() => continue,
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
    if matches!(reason, Some(Ended::Protocol)) {
        connection.close(PROTOCOL_ERROR, b"");
        return;
    }
    // What was asked is answered, and nothing more is taken.
    while streams.join_next().await.is_some() {}
    connection.close(NO_ERROR, b"");
}

/// One query and its answer.
async fn exchange(
    mut send: SendStream,
    mut receive: RecvStream,
    client: SocketAddr,
    desk: &Desk,
) -> Result<(), Fatal> {
    let Ok(Ok(bytes)) = timeout(EXCHANGE_WAIT, receive.read_to_end(LENGTH_BYTES + QUERY_MAX)).await
    else {
        // Too long, too slow, or taken back by the client.
        let _ = send.reset(INTERNAL_ERROR);
        return Ok(());
    };
    let Some(query) = query_in(&bytes) else { return Err(Fatal) };
    let Some(answer) = desk.answer(query, client) else { return Err(Fatal) };
    let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
    let written = async {
        send.write_all(&length.to_be_bytes()).await?;
        send.write_all(&answer).await
    };
    // Until it has arrived, closing the connection would take it back.
    if let Ok(Ok(())) = timeout(EXCHANGE_WAIT, written).await
        && send.finish().is_ok()
    {
        let _ = timeout(EXCHANGE_WAIT, send.stopped()).await;
    }
    Ok(())
}

/// The query of a stream: one message behind its length, with ID 0 and without the option that is for TCP (RFC 9250 4.2, 4.2.1
/// and 5.5.2). Whether it is a query at all is decided elsewhere.
fn query_in(bytes: &[u8]) -> Option<&[u8]> {
    let (length, query) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    if usize::from(u16::from_be_bytes(*length)) != query.len() || !query.starts_with(&[0, 0]) {
        return None;
    }
    let is_for_tcp =
        Outline::read(query).is_some_and(|outline| outline.has_option(query, KEEPALIVE));
    (!is_for_tcp).then_some(query)
}

/// The client broke a rule; the connection ends.
#[derive(Debug)]
struct Fatal;

const LENGTH_BYTES: usize = 2;
/// RFC 9250 8.4.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_message_of_id_0() {
        let head = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let of = |length: u16, message: &[u8]| [&length.to_be_bytes()[..], message].concat();
        assert_eq!(query_in(&of(12, &head)), Some(&head[..]));
        let keepalive =
            [&head[..11], &[1], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 11, 0, 0]].concat();
        let other =
            [&head[..11], &[1], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 0]].concat();
        assert!(query_in(&of(27, &other)).is_some());
        for bad in [
            vec![],
            vec![0],
            of(0, &[]),
            of(11, &head),
            of(13, &head),
            of(12, &[&[0, 1], &head[2..]].concat()),
            of(27, &keepalive),
        ] {
            assert_eq!(query_in(&bad), None, "{bad:?}");
        }
    }
}
