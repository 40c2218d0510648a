//! A body to a client.
//!
//! What is there goes out without a detour; only while something has to be waited for is it noticed that the client has
//! left. Invariant: a body that falls short is never ended, so that the listener cuts the stream.

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{context::Ended, multipart::Part};
use crate::{
    error::Failure,
    fetch::{Content, Lost},
    listener::stream::Stream,
};

/// Sends the rest of a body; `left` is its length, where that is known.
pub(super) async fn body<S: Stream>(
    stream: &mut S,
    content: &mut Content,
    mut left: Option<u64>,
) -> Result<(), Ended> {
    loop {
        let data = match content.at_hand() {
            Some(data) => data,
            None => match wait(stream, content).await? {
                Some(data) => data,
                None => return end(stream, content, left).await,
            },
        };
        piece(stream, data, &mut left).await?;
        if left == Some(0) {
            return Ok(stream.finish().await?);
        }
    }
}

/// Sends one piece; it is the last when nothing is left then.
pub(super) async fn piece<S: Stream>(
    stream: &mut S,
    data: Bytes,
    left: &mut Option<u64>,
) -> Result<(), Ended> {
    if let Some(left) = left {
        // More than announced cannot be: the upstream's framing and the store both say so.
        *left = left.checked_sub(data.len() as u64).ok_or(Ended(Failure::INTERNAL))?;
    }
    if data.is_empty() {
        return Ok(());
    }
    Ok(stream.send(data, *left == Some(0)).await?)
}

/// Sends parts of a body, each behind its own head, and what closes them.
pub(super) async fn parts<S: Stream>(
    stream: &mut S,
    content: &mut Content,
    parts: Vec<Part>,
    closing: Bytes,
) -> Result<(), Ended> {
    for part in parts {
        stream.send(part.head, false).await?;
        content.seek(part.span.start, part.span.end);
        let mut left = part.span.len();
        while left > 0 {
            let data = wait(stream, content).await?.ok_or(Ended(Failure::BROKEN))?;
            left = left.checked_sub(data.len() as u64).ok_or(Ended(Failure::INTERNAL))?;
            stream.send(data, false).await?;
        }
    }
    stream.send(closing, true).await?;
    Ok(stream.finish().await?)
}

/// A body of our own, whole.
pub(super) async fn own<S: Stream>(stream: &mut S, data: Bytes) -> Result<(), Ended> {
    if !data.is_empty() {
        stream.send(data, true).await?;
    }
    Ok(stream.finish().await?)
}

/// Ends a body whose source has ended.
pub(super) async fn end<S: Stream>(
    stream: &mut S,
    content: &mut Content,
    left: Option<u64>,
) -> Result<(), Ended> {
    match (left, content.trailers()) {
        (Some(1..), _) => return Err(Ended(Failure::BROKEN)),
        (None, Some(trailers)) if !trailers.is_empty() => stream.trailers(&trailers)?,
        (None, _) => stream.send(Bytes::new(), true).await?,
        (Some(0), _) => {}
    }
    Ok(stream.finish().await?)
}

/// What has to be waited for, perhaps. In a box, so that an exchange whose body is at hand stays small.
fn wait<'a, S: Stream>(
    stream: &'a mut S,
    content: &'a mut Content,
) -> BoxFuture<'a, Result<Option<Bytes>, Ended>> {
    async move {
        if let Some(ready) = content.read().now_or_never() {
            return ready.map_err(lost);
        }
        tokio::select! {
            biased;
            read = content.read() => read.map_err(lost),
            gone = stream.gone() => Err(gone.into()),
        }
    }
    .boxed()
}

fn lost(Lost(failure): Lost) -> Ended {
    Ended(failure)
}
