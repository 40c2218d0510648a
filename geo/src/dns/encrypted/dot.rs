//! DNS over TLS (RFC 7858): queries one after the other, each behind its length.
//!
//! Invariant: a client that is slow or silent holds up nobody but itself, and not for long.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    exchange::{ACCEPT_PAUSE, Desk, EXCHANGE_WAIT, QUERY_MAX},
    metrics::Ended,
};

/// Takes connections until the drain.
pub(super) async fn serve(listener: TcpListener, tls: ServerConfig, desk: Desk) -> io::Result<()> {
    let tls = TlsAcceptor::from(Arc::new(tls));
    while let Some((stream, client)) = accept(&listener, &desk).await {
        let Some(place) = desk.place(client) else { continue };
        let (tls, desk) = (tls.clone(), desk.clone());
        tokio::spawn(async move {
            if let Some(stream) = shake_hands(&tls, stream, &desk).await
                && let Err(error) = converse(stream, client, &desk).await
            {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
    Ok(())
}

/// The next connection; `None` in the drain.
pub(super) async fn accept(listener: &TcpListener, desk: &Desk) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = desk.drain.started() => return None,
        };
        match accepted {
            Ok((stream, client)) => {
                // Without it answers wait for acknowledgements; that it fails shows at the next read.
                let _ = stream.set_nodelay(true);
                return Some((stream, client));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on TCP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// TLS on a connection; `None` when it fails or takes too long.
pub(super) async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    desk: &Desk,
) -> Option<TlsStream<TcpStream>> {
    match timeout(desk.config.handshake, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(_)) | Err(_) => {
            desk.ended(Ended::Handshake);
            None
        }
    }
}

async fn converse(stream: TlsStream<TcpStream>, client: SocketAddr, desk: &Desk) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut query = Vec::new();
    let mut left = desk.config.queries_max;
    let reason = loop {
        if left == 0 {
            break Some(Ended::Queries);
        }
        left -= 1;
        let length = tokio::select! {
            length = timeout(desk.config.idle, stream.read_u16()) => match length {
                Ok(Ok(length)) => usize::from(length),
                Err(_) => break Some(Ended::Idle),
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break None,
                Ok(Err(error)) => return Err(error),
            },
            () = desk.drain.started() => break None,
        };
        if length > QUERY_MAX {
            break Some(Ended::Protocol);
        }
        query.resize(length, 0);
        timeout(EXCHANGE_WAIT, stream.read_exact(&mut query)).await??;
        let Some(answer) = desk.answer(&query, client) else { break Some(Ended::Protocol) };
        let Ok(length) = u16::try_from(answer.len()) else { break None };
        timeout(EXCHANGE_WAIT, async {
            stream.write_u16(length).await?;
            stream.write_all(&answer).await?;
            stream.flush().await
        })
        .await??;
    };
    if let Some(reason) = reason {
        desk.ended(reason);
    }
    timeout(EXCHANGE_WAIT, stream.shutdown()).await?
}
