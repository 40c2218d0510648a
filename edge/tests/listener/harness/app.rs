//! The app behind the listener; its paths say how it behaves, and its responses what it was told.
//!
//! | path | behaviour |
//! |---|---|
//! | `/bytes/N` | N bytes with content-length |
//! | `/chunked/N` | N bytes without a length, in pieces |
//! | `/echo` | the request's body, and its framing in `x-framing` |
//! | `/ignore` | an answer at once, whatever body comes |
//! | `/abort/N`, `/abort-chunked/N` | N bytes and more promised, then the stream is given back |
//! | `/wait` | nothing, until the story says so |
//! | `/status/N` | that status, without content |
//! | `/hints` | 103 twice, then an answer |
//! | `/trailers` | an answer with trailers |
//! | `/panic` | a head and a panic |
//! | `/way` | whether the way to the client is known |

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_edge::{
    cache::fields::Fields,
    listener::stream::{App, BodyLength, Request, ResponseHead, Stream, StreamLost},
};
use tokio::sync::{Notify, watch};

use super::pattern;

/// What a story sees of the app, and how it moves it.
pub(crate) struct SmallApp {
    requests: AtomicUsize,
    go_on: Notify,
    /// Requests to `/wait` that are open.
    waiting: watch::Sender<usize>,
    stored: Fields,
}

impl SmallApp {
    pub(crate) fn new() -> Self {
        let mut stored = HeaderMap::new();
        stored.insert("cache-control", HeaderValue::from_static("max-age=60"));
        Self {
            requests: AtomicUsize::new(0),
            go_on: Notify::new(),
            waiting: watch::Sender::new(0),
            stored: Fields::new(stored),
        }
    }

    /// Requests that have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until that many requests to `/wait` are open.
    pub(crate) async fn expect_waiting(&self, expected: usize) {
        let mut waiting = self.waiting.subscribe();
        super::within(waiting.wait_for(|open| *open == expected)).await.unwrap();
    }

    /// Lets all requests to `/wait` be answered.
    pub(crate) fn go_on(&self) {
        self.go_on.notify_waiters();
    }

    async fn answer<S: Stream>(&self, request: &Request, stream: &mut S) -> Result<(), StreamLost> {
        let path = request.target.path();
        let (behaviour, number) = path.rsplit_once('/').unwrap_or((path, ""));
        let number: usize = number.parse().unwrap_or_default();
        let mut own = about(request);
        match behaviour {
            "/chunked" => {
                self.head(stream, 200, &own, None, false)?;
                for piece in pattern(number).chunks(7_001) {
                    stream.send(Bytes::copy_from_slice(piece), false).await?;
                }
                stream.send(Bytes::new(), true).await?;
            }
            "/abort" | "/abort-chunked" => {
                let promised = (behaviour == "/abort").then_some(number as u64 + 1000);
                self.head(stream, 200, &own, promised, false)?;
                stream.send(pattern(number), false).await?;
                return Err(StreamLost("as the story asks".into()));
            }
            "/status" => {
                self.head(stream, number as u16, &own, None, true)?;
            }
            "" => match path {
                "/echo" => {
                    if request.expects_continue {
                        stream.inform(StatusCode::CONTINUE, &HeaderMap::new());
                    }
                    let mut body = Vec::new();
                    while let Some(piece) = stream.read().await? {
                        body.extend_from_slice(&piece);
                    }
                    self.whole(stream, &own, body.into()).await?;
                }
                "/ignore" => self.whole(stream, &own, Bytes::from_static(b"no matter")).await?,
                "/wait" => {
                    // Listens before it is counted, so that no word is missed.
                    let go_on = self.go_on.notified();
                    let _open = Waiting::begin(self);
                    tokio::select! {
                        () = go_on => {}
                        lost = stream.gone() => return Err(lost),
                    }
                    self.whole(stream, &own, Bytes::from_static(b"at last")).await?;
                }
                "/hints" => {
                    for link in ["</a.css>", "</b.css>"] {
                        let mut hints = HeaderMap::new();
                        hints.insert("link", HeaderValue::from_static(link));
                        stream.inform(StatusCode::EARLY_HINTS, &hints);
                    }
                    self.whole(stream, &own, Bytes::from_static(b"hinted")).await?;
                }
                "/trailers" => {
                    self.head(stream, 200, &own, None, false)?;
                    stream.send(Bytes::from_static(b"summed"), false).await?;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-sum", HeaderValue::from_static("7"));
                    stream.trailers(&trailers)?;
                }
                "/panic" => {
                    self.head(stream, 200, &own, None, false)?;
                    stream.send(Bytes::from_static(b"half"), false).await?;
                    panic!("as the story asks");
                }
                "/way" => {
                    let way = stream.way();
                    let known = way.rtt.is_some() && way.bits_per_second.is_some();
                    own.push(header("x-way", &known.to_string()));
                    self.whole(stream, &own, Bytes::new()).await?;
                }
                _ => self.whole(stream, &own, pattern(0)).await?,
            },
            _ => self.whole(stream, &own, pattern(number)).await?,
        }
        stream.finish().await
    }

    async fn whole<S: Stream>(
        &self,
        stream: &mut S,
        own: &Own,
        body: Bytes,
    ) -> Result<(), StreamLost> {
        self.head(stream, 200, own, Some(body.len() as u64), body.is_empty())?;
        if body.is_empty() { Ok(()) } else { stream.send(body, true).await }
    }

    fn head<S: Stream>(
        &self,
        stream: &mut S,
        status: u16,
        own: &Own,
        length: Option<u64>,
        is_last: bool,
    ) -> Result<(), StreamLost> {
        let status = StatusCode::from_u16(status).unwrap();
        stream.head(&ResponseHead { status, stored: Some(&self.stored), own, length }, is_last)
    }
}

impl App for SmallApp {
    async fn serve<S: Stream>(&self, request: Request, mut stream: S) -> S {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // A story may break the connection, so errors are expected.
        let _ = self.answer(&request, &mut stream).await;
        stream
    }
}

type Own = Vec<(HeaderName, HeaderValue)>;

/// What the app was told.
fn about(request: &Request) -> Own {
    let framing = match request.body {
        BodyLength::Empty => "empty".to_owned(),
        BodyLength::Known(length) => format!("known {length}"),
        BodyLength::Unknown => "unknown".to_owned(),
    };
    vec![
        header("x-protocol", request.downstream.protocol.as_str()),
        header("x-client", &request.downstream.client.to_string()),
        header("x-tls", &request.downstream.tls.to_string()),
        header("x-method", request.method.as_str()),
        header("x-host", &request.authority),
        header("x-target", request.target.as_str()),
        header("x-framing", &framing),
        header("x-headers", &request.headers.len().to_string()),
    ]
}

fn header(name: &'static str, value: &str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
}

struct Waiting<'a>(&'a SmallApp);

impl<'a> Waiting<'a> {
    fn begin(app: &'a SmallApp) -> Self {
        app.waiting.send_modify(|open| *open += 1);
        Self(app)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|open| *open -= 1);
    }
}
