//! Requests that the cache is not asked for: methods that change something, bodies, properties that keep nothing.
//!
//! The bodies of request and answer go both ways at once. Invariant: what an unsafe method changed is forgotten before
//! the client learns of its success.

use http::{HeaderValue, StatusCode, header};
use tokio::sync::mpsc;

use super::{
    cache_status::Handled,
    context::{Ended, Exchange},
    deliver,
    edge::Edge,
    read::{INTERIM_MAX, wanted},
    respond::{self, PassedHead},
};
use crate::{
    fetch::Content,
    listener::stream::{BodyLength, Request, Stream, StreamLost},
    upstream::{Answer, Piece},
};

/// Answers a request.
pub(super) async fn serve<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    stream: &mut S,
) -> Result<(), Ended> {
    if let Some(pass) = exchange.pass {
        exchange.handled = Handled::Pass(pass);
    }
    let mut wanted = wanted(exchange, request)?;
    if let BodyLength::Known(bytes) = request.body {
        wanted.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    let (mut upload, body) = match request.body {
        BodyLength::Empty => (None, None),
        BodyLength::Known(_) | BodyLength::Unknown => {
            let (pieces, body) = mpsc::channel(PIECES_MAX);
            (Some(Upload { pieces, is_ended: false }), Some(body))
        }
    };
    if request.expects_continue {
        stream.inform(StatusCode::CONTINUE, &http::HeaderMap::new());
    }
    let (interim, mut said) = mpsc::channel(INTERIM_MAX);
    let fetcher = &edge.parts.fetcher;
    let born = fetcher.born(&wanted.route);
    let answer = {
        let ask = fetcher.pass(&wanted, request.method.clone(), body, Some(interim));
        tokio::pin!(ask);
        loop {
            tokio::select! {
                biased;
                Some((status, headers)) = said.recv() => stream.inform(status, &headers),
                answer = &mut ask => break answer.map_err(Ended)?,
                sent = more(&mut upload, stream) => sent?,
            }
        }
    };
    while let Ok((status, headers)) = said.try_recv() {
        stream.inform(status, &headers);
    }
    fetcher.invalidate(&wanted.route, &request.method, &answer);
    match upload.filter(|upload| !upload.is_ended) {
        None => {
            let mut told = PassedHead::of(&answer);
            let content = match fetcher.keep_posted(&wanted, born, answer) {
                Ok(content) => {
                    told.forward.is_stored = true;
                    content
                }
                Err(answer) => Content::Passing(answer.body),
            };
            respond::passing(edge, exchange, request, told, content, stream).await
        }
        Some(upload) => both_ways(edge, exchange, request, answer, upload, stream).await,
    }
}

/// The rest of a request's body on its way to upstream.
pub(super) struct Upload {
    pieces: mpsc::Sender<Result<Piece, StreamLost>>,
    is_ended: bool,
}

/// Answers while the request's body is still coming.
async fn both_ways<S: Stream>(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
    answer: Answer,
    upload: Upload,
    stream: &mut S,
) -> Result<(), Ended> {
    let mut upload = Some(upload);
    let told = PassedHead::of(&answer);
    let mut content = Content::Passing(answer.body);
    let head = respond::passed_head(edge, exchange, request, told, stream)?;
    let Some(mut left) = head else { return Ok(stream.finish().await?) };
    loop {
        let read = tokio::select! {
            read = content.read() => read.map_err(|lost| Ended(lost.0))?,
            sent = more(&mut upload, stream) => {
                sent?;
                continue;
            }
        };
        match read {
            Some(data) => deliver::piece(stream, data, &mut left).await?,
            None => return deliver::end(stream, &mut content, left).await,
        }
        if left == Some(0) {
            return Ok(stream.finish().await?);
        }
    }
}

/// Moves one more piece of the request's body to upstream; never returns once it has ended or nobody takes it.
async fn more<S: Stream>(upload: &mut Option<Upload>, stream: &mut S) -> Result<(), Ended> {
    let Some(open) = upload.as_mut().filter(|upload| !upload.is_ended) else {
        return Err(stream.gone().await.into());
    };
    // The place first: what was read is never left without one.
    let Ok(place) = open.pieces.reserve().await else {
        open.is_ended = true; // upstream has heard enough
        return Ok(());
    };
    match stream.read().await {
        Ok(Some(data)) => place.send(Ok(Piece::Data(data))),
        Ok(None) => {
            place.send(Ok(Piece::End(None)));
            open.is_ended = true;
        }
        Err(lost) => {
            place.send(Err(lost.clone()));
            return Err(lost.into());
        }
    }
    Ok(())
}

/// Pieces of a request's body that may wait for upstream.
const PIECES_MAX: usize = 4;
