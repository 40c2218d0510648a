//! An H1 origin whose paths say how it behaves.
//!
//! | path | behaviour |
//! |---|---|
//! | `…/bytes/N` | N bytes with content-length |
//! | `/chunked/N` | N bytes, chunked |
//! | `/echo` | the request's body, and its framing in `x-framing` |
//! | `/abort/N`, `/abort-chunked/N` | N bytes and more promised, then the connection breaks |
//! | `/wait` | nothing, until the story says so |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::pattern;

type Body = BoxBody<Bytes, std::io::Error>;

/// A running origin.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    requests: AtomicUsize,
    go_on: Notify,
    /// Requests to `/wait` that are open.
    waiting: watch::Sender<usize>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(State {
            requests: AtomicUsize::new(0),
            go_on: Notify::new(),
            waiting: watch::Sender::new(0),
        });
        tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((connection, _)) = socket.accept().await {
                    tokio::spawn(serve(connection, state.clone()));
                }
            }
        });
        Self { address, state }
    }

    /// Requests that have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Waits until that many requests to `/wait` are open.
    pub(crate) async fn expect_waiting(&self, expected: usize) {
        let mut waiting = self.state.waiting.subscribe();
        super::within(waiting.wait_for(|open| *open == expected)).await.unwrap();
    }

    /// Lets all requests to `/wait` be answered.
    pub(crate) fn go_on(&self) {
        self.state.go_on.notify_waiters();
    }
}

async fn serve(connection: tokio::net::TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    // A story may break the connection, so errors are expected.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path().to_owned();
    let (behaviour, number) = path.rsplit_once('/').unwrap();
    let number = number.parse().unwrap_or_default();
    let response = Response::builder().header("cache-control", "max-age=60");
    Ok(match behaviour {
        "/chunked" => response.body(in_pieces(pattern(number), false)).unwrap(),
        "/abort" => {
            let promised = number + 1000;
            let body = in_pieces(pattern(number), true);
            response.header(CONTENT_LENGTH, promised).body(body).unwrap()
        }
        "/abort-chunked" => response.body(in_pieces(pattern(number), true)).unwrap(),
        "" if path == "/echo" => echo(request, response).await,
        "" if path == "/wait" => {
            // Listens before it is counted, so that no word is missed.
            let go_on = state.go_on.notified();
            let open = Waiting::begin(&state);
            go_on.await;
            drop(open);
            response.body(whole(Bytes::from_static(b"at last"))).unwrap()
        }
        _ => response.body(whole(pattern(number))).unwrap(),
    })
}

async fn echo(request: Request<Incoming>, response: http::response::Builder) -> Response<Body> {
    let header =
        |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let framing = format!("{} {}", header(CONTENT_LENGTH), header(TRANSFER_ENCODING));
    let (host, early) = (header(HOST), header("early-data".parse().unwrap()));
    let response = response
        .header("x-method", request.method().as_str())
        .header("x-framing", framing)
        .header("x-host", host)
        .header("x-early-data", early);
    match request.into_body().collect().await {
        Ok(body) => response.body(whole(body.to_bytes())).unwrap(),
        Err(_) => response.status(400).body(whole(Bytes::new())).unwrap(),
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn in_pieces(bytes: Bytes, breaks: bool) -> Body {
    let pieces: Vec<_> = bytes.chunks(7_001).map(Bytes::copy_from_slice).collect();
    let pieces = futures::stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    let end = breaks.then(|| Err(std::io::Error::other("as the story asks")));
    // The break comes one turn later, so that the bytes before it are written.
    let end = futures::stream::iter(end).then(|end| async {
        tokio::task::yield_now().await;
        end
    });
    BodyExt::boxed(StreamBody::new(pieces.chain(end)))
}

struct Waiting(Arc<State>);

impl Waiting {
    fn begin(state: &Arc<State>) -> Self {
        state.waiting.send_modify(|open| *open += 1);
        Self(state.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|open| *open -= 1);
    }
}
