//! The app behind the listener: what it does is said by the path.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_edge::{
    cache::fields::Fields,
    listener::stream::{App, BodyLength, Request, ResponseHead, Stream, StreamLost},
};
use tokio::sync::Notify;

use super::pattern;

/// Counts what it sees.
pub(crate) struct TestApp {
    pub(crate) requests: AtomicUsize,
    /// Exchanges that were told that the client has gone.
    pub(crate) gone: AtomicUsize,
    /// Exchanges whose stream was lost while they wrote or read.
    pub(crate) lost: AtomicUsize,
    /// Lets `/gate` answer.
    pub(crate) gate: Notify,
    stored: Fields,
    pieces: Vec<Bytes>,
}

impl Default for TestApp {
    fn default() -> Self {
        let mut stored = HeaderMap::new();
        stored.insert("content-type", HeaderValue::from_static("video/mp4"));
        stored.insert("cache-control", HeaderValue::from_static("public, max-age=31536000"));
        stored.insert("etag", HeaderValue::from_static("\"5f3e-61a\""));
        stored.insert("last-modified", HeaderValue::from_static("Mon, 01 Jun 2026 10:00:00 GMT"));
        let mut whole = pattern(MAX_LENGTH);
        let mut pieces = Vec::new();
        while !whole.is_empty() {
            pieces.push(whole.split_to(whole.len().min(PIECE)));
        }
        Self {
            requests: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            gate: Notify::new(),
            stored: Fields::new(stored),
            pieces,
        }
    }
}

impl App for TestApp {
    async fn serve<S: Stream>(&self, request: Request, mut stream: S) -> S {
        self.requests.fetch_add(1, SeqCst);
        if self.answer(request, &mut stream).await.is_err() {
            self.lost.fetch_add(1, SeqCst);
        }
        stream
    }
}

impl TestApp {
    async fn answer<S: Stream>(&self, request: Request, stream: &mut S) -> Result<(), StreamLost> {
        let path = request.target.path().to_owned();
        let (name, number) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let number: usize = number.parse().unwrap_or(0);
        match name {
            "bytes" => return self.bytes(stream, number, true).await,
            "pieces" => return self.bytes(stream, number, false).await,
            // The response says itself that it is urgent, or how it may be sent.
            "first" => return self.ranked(stream, number, "u=0").await,
            "shared" => return self.ranked(stream, number, "i").await,
            "gate" => {
                self.gate.notified().await;
                return self.bytes(stream, 5, true).await;
            }
            "hang" => {
                stream.gone().await;
                self.gone.fetch_add(1, SeqCst);
                return Ok(());
            }
            // A head and some content, then nothing until the client goes.
            "half" => {
                stream.head(&head(&[], Some(10)), false)?;
                stream.send(Bytes::from_static(b"half"), false).await?;
                stream.gone().await;
                self.gone.fetch_add(1, SeqCst);
                return Ok(());
            }
            // Less than was said, without a word.
            "short" => {
                stream.head(&head(&[], Some(10)), false)?;
                return stream.send(Bytes::from_static(b"short"), false).await;
            }
            "silent" => return Ok(()),
            "panic" => panic!("the app fails on purpose"),
            "head" => {
                stream.head(&head(&[], Some(number as u64)), true)?;
                return stream.finish().await;
            }
            "hints" => {
                let mut hints = HeaderMap::new();
                hints.insert("link", HeaderValue::from_static("</a>; rel=preload"));
                stream.inform(StatusCode::EARLY_HINTS, &hints);
                return self.bytes(stream, 5, true).await;
            }
            "trailers" => {
                stream.head(&head(&[], None), false)?;
                stream.send(Bytes::from_static(b"body"), false).await?;
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("17"));
                stream.trailers(&trailers)?;
                return stream.finish().await;
            }
            // Sends pieces and drops the future of each as soon as it waits.
            "impatient" => return self.impatient(stream, number).await,
            _ => {}
        }
        let mut body = Vec::new();
        while let Some(piece) = stream.read().await? {
            body.extend_from_slice(&piece);
        }
        let way = stream.way();
        let length = match request.body {
            BodyLength::Empty => "empty".to_owned(),
            BodyLength::Known(length) => length.to_string(),
            BodyLength::Unknown => "unknown".to_owned(),
        };
        let own: Vec<_> = [
            ("x-method", request.method.to_string()),
            ("x-authority", request.authority.clone()),
            ("x-target", request.target.to_string()),
            ("x-body", length),
            ("x-fields", request.headers.len().to_string()),
            ("x-early", request.downstream.early_data.to_string()),
            ("x-client", request.downstream.client.to_string()),
            ("x-moved", way.client.map(|client| client.to_string()).unwrap_or_default()),
            ("x-rtt", way.rtt.is_some_and(|rtt| rtt > Duration::ZERO).to_string()),
            ("x-rate", way.bits_per_second.is_some_and(|rate| rate > 1_000_000).to_string()),
        ]
        .into_iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
        })
        .collect();
        stream.head(&head(&own, Some(body.len() as u64)), body.is_empty())?;
        if !body.is_empty() {
            stream.send(body.into(), true).await?;
        }
        stream.finish().await
    }

    async fn bytes<S: Stream>(
        &self,
        stream: &mut S,
        length: usize,
        is_known: bool,
    ) -> Result<(), StreamLost> {
        let length = length.min(MAX_LENGTH);
        let head = ResponseHead {
            status: StatusCode::OK,
            stored: Some(&self.stored),
            own: &[],
            length: is_known.then_some(length as u64),
        };
        stream.head(&head, length == 0)?;
        self.content(stream, length).await
    }

    async fn ranked<S: Stream>(
        &self,
        stream: &mut S,
        length: usize,
        priority: &'static str,
    ) -> Result<(), StreamLost> {
        let own = [(HeaderName::from_static("priority"), HeaderValue::from_static(priority))];
        let length = length.min(MAX_LENGTH);
        let head = ResponseHead {
            status: StatusCode::OK,
            stored: Some(&self.stored),
            own: &own,
            length: Some(length as u64),
        };
        stream.head(&head, length == 0)?;
        self.content(stream, length).await
    }

    async fn content<S: Stream>(&self, stream: &mut S, length: usize) -> Result<(), StreamLost> {
        let mut left = length;
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            let piece = piece.slice(..piece.len().min(left));
            left -= piece.len();
            stream.send(piece, left == 0).await?;
        }
        assert_eq!(stream.sent(), length as u64);
        stream.finish().await
    }

    async fn impatient<S: Stream>(&self, stream: &mut S, length: usize) -> Result<(), StreamLost> {
        stream.head(&head(&[], Some(length as u64)), false)?;
        let mut left = length;
        for piece in self.pieces.iter().cycle() {
            let piece = piece.slice(..piece.len().min(left));
            left -= piece.len();
            let _ = futures::FutureExt::now_or_never(stream.send(piece, left == 0));
            if left == 0 {
                return stream.finish().await;
            }
        }
        Ok(())
    }
}

fn head(own: &[(HeaderName, HeaderValue)], length: Option<u64>) -> ResponseHead<'_> {
    ResponseHead { status: StatusCode::OK, stored: None, own, length }
}

/// What the tools at the end of the story of `serve` use.
pub(crate) fn shared() -> Arc<TestApp> {
    Arc::new(TestApp::default())
}

const MAX_LENGTH: usize = 8 << 20;
const PIECE: usize = 32 * 1024;
