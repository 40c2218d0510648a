//! Requests that the cache is not asked for: methods that change something, bodies, properties that keep nothing.
//!
//! The bodies of request and answer go both ways at once. Invariant: what an unsafe method changed is forgotten before
//! the client learns of its success.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::{
    sync::mpsc::{self, OwnedPermit},
    time::timeout,
};

use super::{
    cache_status::Handled,
    context::{Ended, Exchange},
    edge::Edge,
    read::{INTERIM_MAX, wanted},
    respond::{self, PassedHead},
};
use crate::{
    error::Failure,
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
    while left != Some(0) {
        let read = tokio::select! {
            read = content.read() => read.map_err(|lost| Ended(lost.0))?,
            sent = more(&mut upload, stream) => {
                sent?;
                continue;
            }
        };
        let Some(data) = read else { break };
        if let Some(left) = &mut left {
            *left = left.checked_sub(data.len() as u64).ok_or(Ended(Failure::INTERNAL))?;
        }
        push(&mut upload, stream, Push::Piece(data)).await?;
    }
    match (left, content.trailers()) {
        (Some(1..), _) => return Err(Ended(Failure::BROKEN)),
        (None, Some(trailers)) if !trailers.is_empty() => stream.trailers(&trailers)?,
        // Taken at once; what it waits for is waited for below.
        _ => drop(stream.send(Bytes::new(), true)),
    }
    push(&mut upload, stream, Push::End).await
}

/// What is on its way to the client.
enum Push {
    /// A piece.
    Piece(Bytes),
    /// What waits still, until the client's transport has it.
    Room,
    /// The end.
    End,
}

impl Push {
    fn poll<S: Stream>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamLost>> {
        match std::mem::replace(self, Self::Room) {
            // The stream takes a piece at once; after that, nothing more is sent to wait for its room.
            Self::Piece(data) => pin!(stream.send(data, false)).poll(cx),
            Self::Room => pin!(stream.send(Bytes::new(), false)).poll(cx),
            Self::End => {
                *self = Self::End;
                pin!(stream.finish()).poll(cx)
            }
        }
    }
}

/// Sends to the client while its request goes on to be read: a client may send all of it before it reads anything, and
/// each would wait for the other. What is read waits only as far as upstream takes it.
async fn push<S: Stream>(
    upload: &mut Option<Upload>,
    stream: &mut S,
    mut push: Push,
) -> Result<(), Ended> {
    let mut place = None;
    loop {
        let Some(open) = upload.as_mut().filter(|upload| !upload.is_ended) else {
            // With nothing beside it, the stream's own limits of time count.
            let pushed = match push {
                Push::Piece(data) => stream.send(data, false).await,
                Push::Room => stream.send(Bytes::new(), false).await,
                Push::End => stream.finish().await,
            };
            return pushed.map_err(Ended::from);
        };
        let Some(free) = place.take() else {
            let step = async {
                tokio::select! {
                    biased;
                    pushed = poll_fn(|cx| push.poll(stream, cx)) => Err(pushed),
                    reserved = open.pieces.clone().reserve_owned() => Ok(reserved),
                }
            };
            match timeout(STILL_MAX, step).await.map_err(|_| STILL)? {
                Err(pushed) => return Ok(pushed?),
                Ok(Ok(reserved)) => place = Some(reserved),
                Ok(Err(_)) => open.is_ended = true, // upstream has heard enough
            }
            continue;
        };
        let step = poll_fn(|cx| {
            if let Poll::Ready(pushed) = push.poll(stream, cx) {
                return Poll::Ready(Err(pushed));
            }
            pin!(stream.read()).poll(cx).map(Ok)
        });
        match timeout(STILL_MAX, step).await.map_err(|_| STILL)? {
            Err(pushed) => return Ok(pushed?),
            Ok(read) => open.is_ended = pass_on(free, read)?,
        }
    }
}

/// Gives what was read of a request's body to upstream; true at its end.
fn pass_on(
    place: OwnedPermit<Result<Piece, StreamLost>>,
    read: Result<Option<Bytes>, StreamLost>,
) -> Result<bool, Ended> {
    let is_end = matches!(read, Ok(None));
    match read {
        Ok(Some(data)) => drop(place.send(Ok(Piece::Data(data)))),
        Ok(None) => drop(place.send(Ok(Piece::End(None)))),
        Err(lost) => {
            place.send(Err(lost.clone()));
            return Err(lost.into());
        }
    }
    Ok(is_end)
}

/// Moves one more piece of the request's body to upstream; never returns once it has ended or nobody takes it.
async fn more<S: Stream>(upload: &mut Option<Upload>, stream: &mut S) -> Result<(), Ended> {
    let Some(open) = upload.as_mut().filter(|upload| !upload.is_ended) else {
        return Err(stream.gone().await.into());
    };
    // The place first: what was read is never left without one.
    let Ok(place) = open.pieces.clone().reserve_owned().await else {
        open.is_ended = true; // upstream has heard enough
        return Ok(());
    };
    open.is_ended = pass_on(place, stream.read().await)?;
    Ok(())
}

/// The client neither takes nor sends.
const STILL: Ended = Ended(Failure::GONE);
/// How long neither of two bodies may move: longer than listeners and upstreams allow either of them alone.
const STILL_MAX: Duration = Duration::from_secs(60);
/// Pieces of a request's body that may wait for upstream.
const PIECES_MAX: usize = 4;
